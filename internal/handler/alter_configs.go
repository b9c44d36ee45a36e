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
	reply(x, h.Controller.AlterConfigs(x.Context(), h.Node, &req))
}
