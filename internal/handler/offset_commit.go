package handler

import (
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetCommit: v2-v10
//
//	v5 without retention time (KIP-211); v6 leader epoch (KIP-320); v7 static members (KIP-345);
//	v9 member epochs (KIP-848); v10 topic ids (KIP-848)
func init() { register(kmsg.OffsetCommit, 2, 10, offsetCommit, "") }

// topicIDsSince is the first version of OffsetCommit and OffsetFetch that names topics by their ids.
const topicIDsSince = 10

func offsetCommit(h *Handlers, x *server.Exchange) {
	req := kmsg.NewPtrOffsetCommitRequest()
	if !decode(x, req) {
		return
	}
	refused := kmsg.NewPtrOffsetCommitResponse()
	known := req.Topics[:0:0]
	for i := range req.Topics {
		t := req.Topics[i]
		if t.Partitions = h.commitable(&t, x.Version, refused); len(t.Partitions) > 0 {
			known = append(known, t)
		}
	}
	if req.Topics = known; len(known) == 0 {
		reply(x, refused)
		return
	}
	toGroup(h, x, req.Group, req, func(resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			resp = kmsg.NewPtrOffsetCommitResponse()
			for i := range req.Topics {
				for j := range req.Topics[i].Partitions {
					answerCommit(resp, &req.Topics[i], req.Topics[i].Partitions[j].Partition, code(err))
				}
			}
		}
		reply(x, mergeCommits(refused, resp))
	})
}

// commitable returns the partitions of t that there are, fills its name in, and refuses the others.
func (h *Handlers) commitable(t *kmsg.OffsetCommitRequestTopic, version int16, refused *kmsg.OffsetCommitResponse) []kmsg.OffsetCommitRequestTopicPartition {
	img := h.Image()
	topic, found := img.Topic(t.Topic)
	none := kerr.UnknownTopicOrPartition.Code
	if version >= topicIDsSince {
		topic, found = img.TopicByID(t.TopicID)
		none = kerr.UnknownTopicID.Code
	}
	if found {
		t.Topic, t.TopicID = topic.Name, topic.ID
	}
	var known []kmsg.OffsetCommitRequestTopicPartition
	for _, p := range t.Partitions {
		switch {
		case !found:
			answerCommit(refused, t, p.Partition, none)
		case p.Partition < 0 || int(p.Partition) >= len(topic.Partitions):
			answerCommit(refused, t, p.Partition, kerr.UnknownTopicOrPartition.Code)
		default:
			known = append(known, p)
		}
	}
	return known
}

// answerCommit adds the answer about one partition of t.
func answerCommit(resp *kmsg.OffsetCommitResponse, t *kmsg.OffsetCommitRequestTopic, partition int32, errorCode int16) {
	p := kmsg.NewOffsetCommitResponseTopicPartition()
	p.Partition, p.ErrorCode = partition, errorCode
	if n := len(resp.Topics); n == 0 || resp.Topics[n-1].Topic != t.Topic || resp.Topics[n-1].TopicID != t.TopicID {
		out := kmsg.NewOffsetCommitResponseTopic()
		out.Topic, out.TopicID = t.Topic, t.TopicID
		resp.Topics = append(resp.Topics, out)
	}
	out := &resp.Topics[len(resp.Topics)-1]
	out.Partitions = append(out.Partitions, p)
}

// mergeCommits puts the answers of the coordinator behind those that it was not asked for, by topics, as Kafka does.
func mergeCommits(refused, resp *kmsg.OffsetCommitResponse) *kmsg.OffsetCommitResponse {
	if len(refused.Topics) == 0 {
		return resp
	}
	type key struct {
		name string
		id   ids.TopicID
	}
	at := make(map[key]int, len(refused.Topics))
	for i := range refused.Topics {
		at[key{refused.Topics[i].Topic, refused.Topics[i].TopicID}] = i
	}
	for _, t := range resp.Topics {
		if i, ok := at[key{t.Topic, t.TopicID}]; ok {
			refused.Topics[i].Partitions = append(refused.Topics[i].Partitions, t.Partitions...)
		} else {
			refused.Topics = append(refused.Topics, t)
		}
	}
	return refused
}
