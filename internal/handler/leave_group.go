package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// LeaveGroup: v0-v5
//
//	v3 several members, static ones too (KIP-345); v5 reason (KIP-800)
func init() { register(kmsg.LeaveGroup, 0, 5, leaveGroup, "") }

func leaveGroup(h *Handlers, x *server.Exchange) {
	req := kmsg.NewPtrLeaveGroupRequest()
	if !decode(x, req) {
		return
	}
	toGroup(h, x, req.Group, req, func(resp *kmsg.LeaveGroupResponse, err error) {
		if err != nil {
			resp = kmsg.NewPtrLeaveGroupResponse()
			resp.ErrorCode = code(err)
		}
		reply(x, resp)
	})
}
