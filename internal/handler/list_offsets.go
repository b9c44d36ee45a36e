package handler

import (
	"fmt"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListOffsets: v1-v11
//
//	v2 isolation level (KIP-98); v4 leader epoch (KIP-320); v7 largest timestamp (KIP-734);
//	v8 earliest local (KIP-405), v9 latest tiered (KIP-1005), v11 earliest pending upload (KIP-1023)
//
// Nothing is tiered, so the last two find nothing and earliest local is earliest.
func init() {
	register(kmsg.ListOffsets, 1, 11, listOffsets,
		"nothing is tiered: latest tiered and pending upload find nothing, earliest local is earliest")
}

// The isolation levels of fetches and offset look-ups.
const (
	readUncommitted int8 = 0
	readCommitted   int8 = 1
)

// timestampSince gives the first version that knows each special timestamp.
var timestampSince = map[int64]int16{
	partition.TimestampLatest:        1,
	partition.TimestampEarliest:      1,
	partition.TimestampMax:           7,
	partition.TimestampEarliestLocal: 8,
	timestampLatestTiered:            9,
	timestampPendingUpload:           11,
}

const (
	timestampLatestTiered  int64 = -5
	timestampPendingUpload int64 = -6
)

func listOffsets(h *Handlers, x *server.Exchange) {
	var req kmsg.ListOffsetsRequest
	if !decode(x, &req) {
		return
	}
	resp := kmsg.NewPtrListOffsetsResponse()
	asked := countPartitions(&req)
	for i := range req.Topics {
		t := &req.Topics[i]
		out := kmsg.NewListOffsetsResponseTopic()
		out.Topic = t.Topic
		for j := range t.Partitions {
			p := &t.Partitions[j]
			tp := ids.TopicPartition{Topic: t.Topic, Partition: p.Partition}
			times := asked[tp]
			if times == 0 {
				continue // answered once already
			}
			found, err := partition.Found{Offset: ids.NoOffset, Timestamp: -1, Epoch: ids.NoLeaderEpoch}, error(kerr.InvalidRequest)
			if times == 1 {
				found, err = h.findOffset(t.Topic, p, x.Version, req.IsolationLevel == readCommitted)
			}
			asked[tp] = 0
			out.Partitions = append(out.Partitions, kmsg.ListOffsetsResponseTopicPartition{
				Partition: p.Partition, ErrorCode: code(err),
				Timestamp: found.Timestamp, Offset: int64(found.Offset), LeaderEpoch: int32(found.Epoch),
			})
		}
		resp.Topics = append(resp.Topics, out)
	}
	reply(x, resp)
}

// countPartitions returns how often a request names each partition. One that is named
// more than once is refused, and answered once.
func countPartitions(req *kmsg.ListOffsetsRequest) map[ids.TopicPartition]int {
	times := map[ids.TopicPartition]int{}
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			times[ids.TopicPartition{Topic: req.Topics[i].Topic, Partition: req.Topics[i].Partitions[j].Partition}]++
		}
	}
	return times
}

func (h *Handlers) findOffset(topic string, p *kmsg.ListOffsetsRequestTopicPartition, version int16, committed bool) (partition.Found, error) {
	none := partition.Found{Offset: ids.NoOffset, Timestamp: -1, Epoch: ids.NoLeaderEpoch}
	if since, special := timestampSince[p.Timestamp]; p.Timestamp < 0 && (!special || version < since) {
		return none, fmt.Errorf("timestamp %d in version %d: %w", p.Timestamp, version, kerr.UnsupportedVersion)
	}
	part, err := h.Partitions.ByName([]byte(topic), p.Partition)
	if err != nil {
		return none, err
	}
	if p.Timestamp == timestampLatestTiered || p.Timestamp == timestampPendingUpload {
		return none, nil
	}
	if err := h.succeeded(); err != nil {
		return none, err
	}
	found, err := part.FindOffset(p.Timestamp, ids.LeaderEpoch(p.CurrentLeaderEpoch), committed)
	if err != nil {
		return none, err
	}
	return found, nil
}
