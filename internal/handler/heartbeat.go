package handler

import (
	"errors"

	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Heartbeat: v0-v4
//
//	v3 static members (KIP-345)
func init() { register(kmsg.Heartbeat, 0, 4, heartbeat, "") }

func heartbeat(h *Handlers, x *server.Exchange) {
	req := kmsg.NewPtrHeartbeatRequest()
	if !decode(x, req) {
		return
	}
	toGroup(h, x, req.Group, req, func(resp *kmsg.HeartbeatResponse, err error) {
		if err != nil {
			resp = kmsg.NewPtrHeartbeatResponse()
			if !errors.Is(err, kerr.CoordinatorLoadInProgress) { // nobody's session ends meanwhile
				resp.ErrorCode = code(err)
			}
		}
		reply(x, resp)
	})
}
