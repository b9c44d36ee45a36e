package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestListPartitionReassignments: none is in progress, whatever is asked for.
func TestListPartitionReassignments(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("a", 2)
	c := b.dial()
	defer c.close()
	for _, topics := range [][]kmsg.ListPartitionReassignmentsRequestTopic{
		nil, {}, {{Topic: "a", Partitions: []int32{0, 1, 2, -1}}}, {{Topic: "a"}, {Topic: "nosuch", Partitions: []int32{0}}},
	} {
		req := kmsg.NewPtrListPartitionReassignmentsRequest()
		req.Topics = topics
		got := ask[*kmsg.ListPartitionReassignmentsResponse](c, req)
		if got.ErrorCode != 0 || got.ErrorMessage != nil || len(got.Topics) != 0 {
			t.Errorf("%v: %+v", topics, got)
		}
	}
}
