package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteAcls: v1-v3
//
//	v1 pattern types (KIP-290); v3 users as resources (KIP-373)
func init() { register(kmsg.DeleteACLs, 1, 3, deleteACLs, noAuthorizer) }

func deleteACLs(_ *Handlers, x *server.Exchange) {
	var req kmsg.DeleteACLsRequest
	if !decode(x, &req) {
		return
	}
	resp := kmsg.NewPtrDeleteACLsResponse()
	for i := range req.Filters {
		filter := &req.Filters[i]
		if unknownACLElement(int8(filter.ResourceType), int8(filter.ResourcePatternType), int8(filter.Operation), int8(filter.PermissionType)) {
			x.Close(errUnknownACLElement)
			return
		}
		out := kmsg.NewDeleteACLsResponseResult()
		out.ErrorCode, out.ErrorMessage = kerr.SecurityDisabled.Code, kmsg.StringPtr(noAuthorizer)
		resp.Results = append(resp.Results, out)
	}
	reply(x, resp)
}
