package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetDelete: v0 (KIP-496)
func init() { register(kmsg.OffsetDelete, 0, 0, offsetDelete, "") }

func offsetDelete(h *Handlers, x *server.Exchange) {
	req := kmsg.NewPtrOffsetDeleteRequest()
	if !decode(x, req) {
		return
	}
	img := h.Image()
	refused := kmsg.NewPtrOffsetDeleteResponse()
	known := req.Topics[:0:0]
	for _, t := range req.Topics {
		topic, found := img.Topic(t.Topic)
		out := kmsg.NewOffsetDeleteResponseTopic()
		out.Topic = t.Topic
		partitions := t.Partitions
		t.Partitions = nil
		for _, p := range partitions {
			if found && p.Partition >= 0 && int(p.Partition) < len(topic.Partitions) {
				t.Partitions = append(t.Partitions, p)
				continue
			}
			out.Partitions = append(out.Partitions, kmsg.OffsetDeleteResponseTopicPartition{Partition: p.Partition, ErrorCode: kerr.UnknownTopicOrPartition.Code})
		}
		if len(out.Partitions) > 0 {
			refused.Topics = append(refused.Topics, out)
		}
		if len(t.Partitions) > 0 {
			known = append(known, t)
		}
	}
	if req.Topics = known; len(known) == 0 {
		reply(x, refused)
		return
	}
	toGroup(h, x, req.Group, req, func(resp *kmsg.OffsetDeleteResponse, err error) {
		if err != nil {
			resp = kmsg.NewPtrOffsetDeleteResponse()
			resp.ErrorCode = code(err)
		}
		if resp.ErrorCode == 0 {
			resp.Topics = mergeDeleted(refused.Topics, resp.Topics)
		}
		reply(x, resp)
	})
}

// mergeDeleted puts the answers of the coordinator behind those that it was not asked for, by topics, as Kafka does.
func mergeDeleted(refused, topics []kmsg.OffsetDeleteResponseTopic) []kmsg.OffsetDeleteResponseTopic {
	at := make(map[string]int, len(refused))
	for i := range refused {
		at[refused[i].Topic] = i
	}
	for _, t := range topics {
		if i, ok := at[t.Topic]; ok {
			refused[i].Partitions = append(refused[i].Partitions, t.Partitions...)
		} else {
			refused = append(refused, t)
		}
	}
	return refused
}
