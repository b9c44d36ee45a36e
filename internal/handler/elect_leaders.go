package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ElectLeaders: v0-v2 (KIP-183)
//
//	v1 unclean elections (KIP-460)
func init() { register(kmsg.ElectLeaders, 0, 2, electLeaders, "") }

func electLeaders(h *Handlers, x *server.Exchange) {
	var req kmsg.ElectLeadersRequest
	if !decode(x, &req) {
		return
	}
	ctx, cancel := within(x, req.TimeoutMillis)
	defer cancel()
	controller, _ := h.decider(x)
	reply(x, controller.ElectLeaders(ctx, &req))
}
