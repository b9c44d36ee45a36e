package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// BrokerRegistration: v4 (KIP-631), for nodes
//
//	v2 data directories (KIP-858); v3 the epoch before a clean stop (KIP-966); v4 features whose minimum is 0 (KAFKA-17011)
func init() { registerInternal(kmsg.BrokerRegistration, 4, brokerRegistration) }

func brokerRegistration(h *Handlers, x *server.Exchange) {
	var req kmsg.BrokerRegistrationRequest
	if !decode(x, &req) || !forItself(x, req.BrokerID) {
		return
	}
	reply(x, h.Nodes.BrokerRegistration(x.Context(), &req))
}
