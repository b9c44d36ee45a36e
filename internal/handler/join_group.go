package handler

import (
	"bytes"

	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// JoinGroup: v0-v9
//
//	v1 rebalance timeout; v4 MEMBER_ID_REQUIRED (KIP-394); v5 static members (KIP-345); v7 protocol type;
//	v8 reason (KIP-800); v9 SkipAssignment (KIP-814)
func init() { register(kmsg.JoinGroup, 0, 9, joinGroup, "") }

func joinGroup(h *Handlers, x *server.Exchange) {
	req := kmsg.NewPtrJoinGroupRequest()
	if !decode(x, req) {
		return
	}
	for i := range req.Protocols {
		req.Protocols[i].Metadata = bytes.Clone(req.Protocols[i].Metadata) // it outlives the request
	}
	toGroup(h, x, req.Group, req, func(resp *kmsg.JoinGroupResponse, err error) {
		if err != nil {
			resp = kmsg.NewPtrJoinGroupResponse()
			resp.ErrorCode, resp.MemberID = code(err), req.MemberID
			if x.Version < 7 {
				resp.Protocol = kmsg.StringPtr("")
			}
		}
		reply(x, resp)
	})
}
