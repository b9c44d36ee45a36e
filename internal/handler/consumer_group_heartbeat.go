package handler

import (
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerGroupHeartbeat: v0-v1 (KIP-848)
//
//	v1 regular expressions, and member ids that clients make (KIP-1082)
func init() {
	register(kmsg.ConsumerGroupHeartbeat, 0, 1, consumerGroupHeartbeat, "")
}

func consumerGroupHeartbeat(h *Handlers, x *server.Exchange) {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	if !decode(x, req) {
		return
	}
	refuse := func(errorCode int16) {
		resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
		resp.ErrorCode = errorCode
		reply(x, resp)
	}
	if !h.consumerProtocol() {
		refuse(kerr.UnsupportedVersion.Code)
		return
	}
	toGroup(h, x, req.Group, req, func(resp *kmsg.ConsumerGroupHeartbeatResponse, err error) {
		if err != nil {
			refuse(code(err))
			return
		}
		reply(x, resp)
	})
}

// consumerProtocol tells whether groups of the consumer protocol are served.
func (h *Handlers) consumerProtocol() bool {
	return h.Image().Features()[metadata.GroupFeature] > 0 && h.Config().ConsumerProtocol
}
