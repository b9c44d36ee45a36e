package wire

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
)

// gap is where records belong in an encoded response.
type gap struct {
	at      int
	records []byte
}

// fill puts the records into their gaps, as a connection does when it sends them.
func fill(p []byte, gaps []gap) []byte {
	var out []byte
	at := 0
	for _, g := range gaps {
		out = append(append(out, p[at:g.at]...), g.records...)
		at = g.at
	}
	return append(out, p[at:]...)
}

func TestFetchResponseIsWhatKmsgWrites(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for version := int16(4); version <= 18; version++ {
		for range 100 {
			want := kmsg.NewPtrFetchResponse()
			want.SetVersion(version)
			want.ThrottleMillis, want.ErrorCode, want.SessionID = int32(r.Uint32()), int16(r.Uint32()), int32(r.Uint32())
			topics := r.IntN(4)
			var gaps []gap
			got := AppendFetchResponse([]byte("prefix"), version, want.ThrottleMillis, want.ErrorCode, want.SessionID, topics)
			for range topics {
				name, id, parts := string(some(r, 250)), ids.NewUUID(), r.IntN(5)
				topic := kmsg.NewFetchResponseTopic()
				topic.Topic, topic.TopicID = name, id
				got = AppendFetchTopic(got, version, name, id, parts)
				for range parts {
					ours, theirs := randomFetchPartition(r)
					got = AppendFetchPartition(got, version, ours)
					gaps = append(gaps, gap{len(got), theirs.RecordBatches})
					got = AppendFetchPartitionEnd(got, version, ours)
					topic.Partitions = append(topic.Partitions, theirs)
				}
				got = AppendFetchTopicEnd(got, version)
				want.Topics = append(want.Topics, topic)
			}
			nodes := randomNodes(r)
			got = AppendFetchResponseEnd(got, version, nodes)
			if version >= fetchNodeEndpoints { // kmsg would write them into older versions too; FetchResponse.json does not have them there
				for _, n := range nodes {
					b := kmsg.NewFetchResponseBroker()
					b.NodeID, b.Host, b.Port, b.Rack = int32(n.ID), n.Host, n.Port, n.Rack
					want.Brokers = append(want.Brokers, b)
				}
			}
			if bytes := want.AppendTo([]byte("prefix")); !slices.Equal(fill(got, gaps), bytes) {
				t.Fatalf("v%d %+v:\n got %x\nwant %x", version, want, fill(got, gaps), bytes)
			}
		}
	}
}

func randomFetchPartition(r *rand.Rand) (*FetchPartitionResponse, kmsg.FetchResponseTopicPartition) {
	ours := &FetchPartitionResponse{
		Partition: int32(r.Uint32()), ErrorCode: int16(r.Uint32()), HighWatermark: ids.Offset(r.Uint64()),
		LastStableOffset: ids.Offset(r.Uint64()), LogStartOffset: ids.Offset(r.Uint64()),
		PreferredReadReplica: ids.NodeID(r.Uint32()), RecordsBytes: -1, CurrentLeader: randomLeader(r),
	}
	theirs := kmsg.NewFetchResponseTopicPartition()
	theirs.Partition, theirs.ErrorCode, theirs.HighWatermark = ours.Partition, ours.ErrorCode, int64(ours.HighWatermark)
	theirs.LastStableOffset, theirs.LogStartOffset = int64(ours.LastStableOffset), int64(ours.LogStartOffset)
	theirs.PreferredReadReplica = int32(ours.PreferredReadReplica)
	if r.IntN(3) > 0 {
		theirs.RecordBatches = some(r, 20000)
		ours.RecordsBytes = len(theirs.RecordBatches)
	}
	if r.IntN(2) == 0 {
		ours.Aborted = []AbortedTransaction{}
		theirs.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
		for range r.IntN(3) {
			a := AbortedTransaction{ids.ProducerID(r.Uint64()), ids.Offset(r.Uint64())}
			k := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
			k.ProducerID, k.FirstOffset = int64(a.ProducerID), int64(a.FirstOffset)
			ours.Aborted = append(ours.Aborted, a)
			theirs.AbortedTransactions = append(theirs.AbortedTransactions, k)
		}
	}
	if r.IntN(3) == 0 {
		ours.DivergingEpoch = DivergingEpoch{true, ids.LeaderEpoch(r.Int32N(100)), ids.Offset(r.Int64N(1 << 40))}
		theirs.DivergingEpoch.Epoch = int32(ours.DivergingEpoch.Epoch)
		theirs.DivergingEpoch.EndOffset = int64(ours.DivergingEpoch.EndOffset)
	}
	if ours.CurrentLeader.Known {
		theirs.CurrentLeader.LeaderID = int32(ours.CurrentLeader.ID)
		theirs.CurrentLeader.LeaderEpoch = int32(ours.CurrentLeader.Epoch)
	}
	return ours, theirs
}

func TestResponsesAllocateNothing(t *testing.T) {
	dst := make([]byte, 0, 4096)
	part := &ProducePartitionResponse{CurrentLeader: LeaderIDAndEpoch{true, 1, 2}}
	fetch := &FetchPartitionResponse{RecordsBytes: 100, CurrentLeader: LeaderIDAndEpoch{true, 1, 2}}
	nodes := []NodeEndpoint{{1, "host", 9092, nil}}
	n := testing.AllocsPerRun(100, func() {
		p := AppendProduceResponse(dst, 13, 1)
		p = AppendProduceTopic(p, 13, "", ids.UUID{1}, 1)
		p = AppendProducePartition(p, 13, part)
		p = AppendProduceTopicEnd(p, 13)
		p = AppendProduceResponseEnd(p, 13, 0, nodes)
		p = AppendFetchResponse(p, 18, 0, 0, 1, 1)
		p = AppendFetchTopic(p, 18, "", ids.UUID{1}, 1)
		p = AppendFetchPartition(p, 18, fetch)
		p = AppendFetchPartitionEnd(p, 18, fetch)
		p = AppendFetchTopicEnd(p, 18)
		AppendFetchResponseEnd(p, 18, nodes)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
