package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// A client that has asked the wrong broker learns which is the right one, and where that is (KIP-951).
func TestWrongBrokerNamesTheLeader(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	const other = testNode + 1
	rack := "r"
	id := ids.NewUUID()
	elsewhere := func(number int32, leader ids.NodeID) *metadata.PartitionRecord {
		p := leads(id, number, 5)
		p.Replicas, p.ISR, p.Leader = []ids.NodeID{other}, []ids.NodeID{other}, leader
		return p
	}
	b.apply(&metadata.RegisterBrokerRecord{
		BrokerID: other, IncarnationID: ids.NewUUID(), BrokerEpoch: metadata.EpochOfEntry, Rack: &rack,
		Endpoints: []metadata.Endpoint{{Listener: testListener, Host: "other.test", Port: 1234}},
	})
	b.applyTopic("t", id, leads(id, 0, 5), elsewhere(1, other), elsewhere(2, other), elsewhere(3, ids.NoNode))
	c := b.dial()
	defer c.close()

	for version := int16(9); version <= 10; version++ {
		req := produceRequest(version, 1, "t", values("a"))
		for p := int32(1); p <= 3; p++ {
			again := req.Topics[0].Partitions[0]
			again.Partition = p
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, again)
		}
		got := ask[*kmsg.ProduceResponse](c, req)
		for _, p := range got.Topics[0].Partitions {
			want := kmsg.NewProduceResponseTopicPartitionCurrentLeader()
			if p.Partition == 1 || p.Partition == 2 {
				wantCode(t, "produce", p.ErrorCode, kerr.NotLeaderForPartition)
				if version >= 10 {
					want.LeaderID, want.LeaderEpoch = int32(other), 5
				}
			}
			if p.CurrentLeader.LeaderID != want.LeaderID || p.CurrentLeader.LeaderEpoch != want.LeaderEpoch {
				t.Errorf("produce v%d: %+v", version, p)
			}
		}
		if n := len(got.Brokers); n != int(version-9) || n > 0 && (got.Brokers[0].Host != "other.test" || got.Brokers[0].Port != 1234 || *got.Brokers[0].Rack != rack) {
			t.Errorf("produce v%d: nodes %+v", version, got.Brokers)
		}
	}

	for version := int16(12); version <= 16; version += 4 {
		req := fetchRequest("t", 0, 0, 1, 2, 3)
		req.Version = version
		req.Topics[0].TopicID = id
		got := c.fetch(req)
		for _, p := range got.Topics[0].Partitions {
			if hinted := p.Partition == 1 || p.Partition == 2; hinted != (p.CurrentLeader.LeaderID == int32(other) && p.CurrentLeader.LeaderEpoch == 5) {
				t.Errorf("fetch v%d: %+v", version, p)
			}
		}
		if n := len(got.Brokers); n != int(version-12)/4 || n > 0 && (got.Brokers[0].Host != "other.test" || got.Brokers[0].NodeID != int32(other)) {
			t.Errorf("fetch v%d: nodes %+v", version, got.Brokers)
		}
	}
}
