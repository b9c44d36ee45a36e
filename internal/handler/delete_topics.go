package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteTopics: v1-v6
//
//	v5 error messages (KIP-599); v6 by topic id (KIP-516)
func init() { register(kmsg.DeleteTopics, 1, 6, deleteTopics, "") }

func deleteTopics(h *Handlers, x *server.Exchange) {
	var req kmsg.DeleteTopicsRequest
	if !decode(x, &req) {
		return
	}
	ctx, cancel := within(x, req.TimeoutMillis)
	defer cancel()
	controller, _ := h.decider(x)
	reply(x, controller.DeleteTopics(ctx, &req))
}
