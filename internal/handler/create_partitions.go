package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreatePartitions: v0-v3 (KIP-195)
func init() { register(kmsg.CreatePartitions, 0, 3, createPartitions, "") }

func createPartitions(h *Handlers, x *server.Exchange) {
	var req kmsg.CreatePartitionsRequest
	if !decode(x, &req) {
		return
	}
	ctx, cancel := within(x, req.TimeoutMillis)
	defer cancel()
	controller, _ := h.decider(x)
	reply(x, controller.CreatePartitions(ctx, &req))
}
