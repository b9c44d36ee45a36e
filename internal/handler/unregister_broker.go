package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// UnregisterBroker: v0 (KIP-631)
//
// Gaps: a broker at work is refused.
func init() {
	register(kmsg.UnregisterBroker, 0, 0, unregisterBroker, "a broker at work is refused with error 42; Kafka forgets it")
}

func unregisterBroker(h *Handlers, x *server.Exchange) {
	var req kmsg.UnregisterBrokerRequest
	if !decode(x, &req) {
		return
	}
	controller, _ := h.decider(x)
	reply(x, controller.UnregisterBroker(x.Context(), &req))
}
