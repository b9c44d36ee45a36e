package handler

import (
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteRecords: v0-v2 (KIP-107). The new log start is on disk before the answer.
func init() {
	register(kmsg.DeleteRecords, 0, 2, deleteRecords, "the new start is on disk before the answer")
}

func deleteRecords(h *Handlers, x *server.Exchange) {
	var req kmsg.DeleteRecordsRequest
	if !decode(x, &req) {
		return
	}
	resp := kmsg.NewPtrDeleteRecordsResponse()
	for i := range req.Topics {
		t := &req.Topics[i]
		out := kmsg.NewDeleteRecordsResponseTopic()
		out.Topic = t.Topic
		for j := range t.Partitions {
			p := &t.Partitions[j]
			low := ids.NoOffset
			part, err := h.Partitions.ByName([]byte(t.Topic), p.Partition)
			if err == nil {
				low, err = part.DeleteRecords(ids.Offset(p.Offset))
			}
			out.Partitions = append(out.Partitions, kmsg.DeleteRecordsResponseTopicPartition{
				Partition: p.Partition, LowWatermark: int64(low), ErrorCode: code(err),
			})
		}
		resp.Topics = append(resp.Topics, out)
	}
	reply(x, resp)
}
