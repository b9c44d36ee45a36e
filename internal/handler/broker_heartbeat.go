package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// BrokerHeartbeat: v1 (KIP-631), for nodes
//
//	v1 data directories that have failed (KIP-858)
func init() { registerInternal(kmsg.BrokerHeartbeat, 1, brokerHeartbeat) }

func brokerHeartbeat(h *Handlers, x *server.Exchange) {
	var req kmsg.BrokerHeartbeatRequest
	if !decode(x, &req) || !forItself(x, req.BrokerID) {
		return
	}
	reply(x, h.Nodes.BrokerHeartbeat(x.Context(), &req))
}
