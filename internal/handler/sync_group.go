package handler

import (
	"bytes"

	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// SyncGroup: v0-v5
//
//	v3 static members (KIP-345); v5 protocol type and name (KIP-559)
func init() { register(kmsg.SyncGroup, 0, 5, syncGroup, "") }

func syncGroup(h *Handlers, x *server.Exchange) {
	req := kmsg.NewPtrSyncGroupRequest()
	if !decode(x, req) {
		return
	}
	if x.Version >= 5 && (req.ProtocolType == nil || req.Protocol == nil) {
		reply(x, syncGroupRefused(kerr.InconsistentGroupProtocol))
		return
	}
	for i := range req.GroupAssignment {
		req.GroupAssignment[i].MemberAssignment = bytes.Clone(req.GroupAssignment[i].MemberAssignment) // it outlives the request
	}
	toGroup(h, x, req.Group, req, func(resp *kmsg.SyncGroupResponse, err error) {
		if err != nil {
			resp = syncGroupRefused(err)
		}
		reply(x, resp)
	})
}

func syncGroupRefused(err error) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.ErrorCode, resp.MemberAssignment = code(err), []byte{}
	return resp
}
