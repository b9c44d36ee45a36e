package handler

import (
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetForLeaderEpoch: v2-v4 (KIP-279, KIP-320)
//
//	v3 replica id; v4 flexible
func init() { register(kmsg.OffsetForLeaderEpoch, 2, 4, offsetForLeaderEpoch, "") }

func offsetForLeaderEpoch(h *Handlers, x *server.Exchange) {
	var req kmsg.OffsetForLeaderEpochRequest
	if !decode(x, &req) {
		return
	}
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	for i := range req.Topics {
		t := &req.Topics[i]
		out := kmsg.NewOffsetForLeaderEpochResponseTopic()
		out.Topic = t.Topic
		for j := range t.Partitions {
			p := &t.Partitions[j]
			epoch, end := ids.NoLeaderEpoch, ids.NoOffset
			part, err := h.Partitions.ByName([]byte(t.Topic), p.Partition)
			if err == nil {
				err = h.succeeded()
			}
			if err == nil {
				epoch, end, err = part.EndOffsetForEpoch(ids.LeaderEpoch(p.LeaderEpoch), ids.LeaderEpoch(p.CurrentLeaderEpoch))
			}
			out.Partitions = append(out.Partitions, kmsg.OffsetForLeaderEpochResponseTopicPartition{
				ErrorCode: code(err), Partition: p.Partition, LeaderEpoch: int32(epoch), EndOffset: int64(end),
			})
		}
		resp.Topics = append(resp.Topics, out)
	}
	reply(x, resp)
}
