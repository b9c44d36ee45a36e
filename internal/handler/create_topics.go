package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreateTopics: v2-v7
//
//	v4 -1 partitions or replicas for the defaults (KIP-464); v5 the configs in the answer (KIP-525); v7 topic id (KIP-516)
func init() { register(kmsg.CreateTopics, 2, 7, createTopics, "") }

func createTopics(h *Handlers, x *server.Exchange) {
	var req kmsg.CreateTopicsRequest
	if !decode(x, &req) {
		return
	}
	ctx, cancel := within(x, req.TimeoutMillis)
	defer cancel()
	controller, _ := h.decider(x)
	reply(x, controller.CreateTopics(ctx, &req))
}
