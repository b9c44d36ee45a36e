package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterConfigs: v0-v2, for topics and brokers
func init() {
	register(kmsg.AlterConfigs, 0, 2, alterConfigs, "of topics and brokers")
}

func alterConfigs(h *Handlers, x *server.Exchange) {
	var req kmsg.AlterConfigsRequest
	if !decode(x, &req) {
		return
	}
	controller, node := h.decider(x)
	reply(x, controller.AlterConfigs(x.Context(), node, &req))
}
