package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreateAcls: v1-v3
//
//	v1 pattern types (KIP-290); v3 users as resources (KIP-373)
func init() { register(kmsg.CreateACLs, 1, 3, createACLs, noAuthorizer) }

func createACLs(_ *Handlers, x *server.Exchange) {
	var req kmsg.CreateACLsRequest
	if !decode(x, &req) {
		return
	}
	resp := kmsg.NewPtrCreateACLsResponse()
	for i := range req.Creations {
		acl := &req.Creations[i]
		if unknownACLElement(int8(acl.ResourceType), int8(acl.ResourcePatternType), int8(acl.Operation), int8(acl.PermissionType)) {
			x.Close(errUnknownACLElement)
			return
		}
		out := kmsg.NewCreateACLsResponseResult()
		out.ErrorCode, out.ErrorMessage = kerr.SecurityDisabled.Code, kmsg.StringPtr(noAuthorizer)
		resp.Results = append(resp.Results, out)
	}
	reply(x, resp)
}
