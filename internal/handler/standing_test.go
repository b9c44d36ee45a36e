package handler

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/group"
)

// A broker that others may have succeeded serves what is committed, and does not say what else it remembers.
func TestBrokerThatMayBeSucceeded(t *testing.T) {
	b, c, f := startGroups(t, func(*group.Request) (any, error) {
		return nil, errors.New("the coordinator was asked")
	})
	defer b.stop()
	defer c.close()
	b.create("t", 1)
	c.produce("t", values("x", "y"))
	b.handlers.Counts = func() bool { return false }

	wantFetch(t, "what is committed", c.fetch(fetchRequest("t", 0, 0)), "t-0:0..2")
	wantFetch(t, "beyond the end", c.fetch(fetchRequest("t", 3, 0)), "t-0=6")
	wantFetch(t, "before the start", c.fetch(fetchRequest("t", -1, 0)), "t-0=6")

	offsets := kmsg.NewPtrOffsetFetchRequest()
	offsets.Version, offsets.Groups = manyGroupsSince, []kmsg.OffsetFetchRequestGroup{{Group: "g"}}
	resp := ask[*kmsg.OffsetFetchResponse](c, offsets)
	wantCode(t, "a group's offsets", resp.Groups[0].ErrorCode, kerr.NotCoordinator)
	if resp.Groups[0].Group != "g" || len(f.asked) != 0 {
		t.Errorf("%+v, %d asked", resp, len(f.asked))
	}

	ends := kmsg.NewPtrListOffsetsRequest()
	ends.Version, ends.ReplicaID = 4, -1
	ends.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Timestamp: -1, CurrentLeaderEpoch: -1}}}}
	wantCode(t, "the end", ask[*kmsg.ListOffsetsResponse](c, ends).Topics[0].Partitions[0].ErrorCode, kerr.NotLeaderForPartition)

	epochs := kmsg.NewPtrOffsetForLeaderEpochRequest()
	epochs.Version, epochs.ReplicaID = 4, -1
	epochs.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{CurrentLeaderEpoch: -1, LeaderEpoch: 1}}}}
	wantCode(t, "the end of an epoch", ask[*kmsg.OffsetForLeaderEpochResponse](c, epochs).Topics[0].Partitions[0].ErrorCode, kerr.NotLeaderForPartition)
}
