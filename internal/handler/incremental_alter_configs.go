package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// IncrementalAlterConfigs: v0-v1 (KIP-339), for topics, brokers and groups
func init() {
	register(kmsg.IncrementalAlterConfigs, 0, 1, incrementalAlterConfigs, "of topics, brokers and groups")
}

func incrementalAlterConfigs(h *Handlers, x *server.Exchange) {
	var req kmsg.IncrementalAlterConfigsRequest
	if !decode(x, &req) {
		return
	}
	controller, node := h.decider(x)
	reply(x, controller.IncrementalAlterConfigs(x.Context(), node, &req))
}
