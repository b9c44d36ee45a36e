package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AssignReplicasToDirs: v0 (KIP-858), for nodes
func init() { registerInternal(kmsg.AssignReplicasToDirs, 0, assignReplicasToDirs) }

func assignReplicasToDirs(h *Handlers, x *server.Exchange) {
	var req kmsg.AssignReplicasToDirsRequest
	if !decode(x, &req) || !forItself(x, req.BrokerID) {
		return
	}
	reply(x, h.Nodes.AssignReplicasToDirs(x.Context(), &req))
}
