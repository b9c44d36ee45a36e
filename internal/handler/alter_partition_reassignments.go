package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterPartitionReassignments: v0-v1 (KIP-455)
//
//	v1 the replication factor may be held fixed (KIP-860)
func init() {
	register(kmsg.AlterPartitionAssignments, 0, 1, alterPartitionReassignments, "to the brokers that a partition is on; anything else answers 35 until replicas can be moved")
}

func alterPartitionReassignments(h *Handlers, x *server.Exchange) {
	var req kmsg.AlterPartitionAssignmentsRequest
	if !decode(x, &req) {
		return
	}
	ctx, cancel := within(x, req.TimeoutMillis)
	defer cancel()
	controller, _ := h.decider(x)
	reply(x, controller.AlterPartitionReassignments(ctx, &req))
}
