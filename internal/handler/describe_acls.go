package handler

import (
	"errors"
	"slices"

	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeAcls: v1-v3
//
//	v1 pattern types (KIP-290); v3 users as resources (KIP-373)
func init() { register(kmsg.DescribeACLs, 1, 3, describeACLs, noAuthorizer) }

// noAuthorizer is the remark and the answer of the three APIs of ACLs.
const noAuthorizer = "no authorizer is configured"

// errUnknownACLElement closes a connection as Kafka does, which checks while it parses.
var errUnknownACLElement = errors.New("a resource type, pattern type, operation or permission of an ACL is 0, UNKNOWN")

func describeACLs(_ *Handlers, x *server.Exchange) {
	var req kmsg.DescribeACLsRequest
	if !decode(x, &req) {
		return
	}
	if unknownACLElement(int8(req.ResourceType), int8(req.ResourcePatternType), int8(req.Operation), int8(req.PermissionType)) {
		x.Close(errUnknownACLElement)
		return
	}
	resp := kmsg.NewPtrDescribeACLsResponse()
	resp.ErrorCode, resp.ErrorMessage = kerr.SecurityDisabled.Code, kmsg.StringPtr(noAuthorizer)
	reply(x, resp)
}

// unknownACLElement tells whether one of an ACL's enumerations is UNKNOWN. Numbers that nobody knows are not.
func unknownACLElement(elements ...int8) bool { return slices.Contains(elements, 0) }
