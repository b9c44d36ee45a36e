package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListPartitionReassignments: v0 (KIP-455)
//
// Partitions stay where they are, so none is ever on its way, whichever topics are asked for.
// Kafka does not tell of unknown ones either.
func init() {
	register(kmsg.ListPartitionReassignments, 0, 0, listPartitionReassignments, "none is ever in progress")
}

func listPartitionReassignments(_ *Handlers, x *server.Exchange) {
	var req kmsg.ListPartitionReassignmentsRequest
	if !decode(x, &req) {
		return
	}
	reply(x, kmsg.NewPtrListPartitionReassignmentsResponse())
}
