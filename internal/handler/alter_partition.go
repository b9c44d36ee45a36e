package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterPartition: v3 (KIP-497), for nodes: a leader's in-sync replicas
//
//	v2 topic ids (KIP-841); v3 the epochs of the replicas' brokers (KIP-903)
func init() { registerInternal(kmsg.AlterPartition, 3, alterPartition) }

func alterPartition(h *Handlers, x *server.Exchange) {
	var req kmsg.AlterPartitionRequest
	if !decode(x, &req) || !forItself(x, req.BrokerID) {
		return
	}
	reply(x, h.Nodes.AlterPartition(x.Context(), &req))
}
