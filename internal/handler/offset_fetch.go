package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetFetch: v1-v10
//
//	v2 all topics; v5 leader epoch (KIP-320); v7 RequireStable (KIP-447); v8 several groups (KIP-709);
//	v9 member epochs (KIP-848); v10 topic ids (KIP-848)
func init() { register(kmsg.OffsetFetch, 1, 10, offsetFetch, "") }

// manyGroupsSince is the first version of OffsetFetch that asks about several groups.
const manyGroupsSince = 8

func offsetFetch(h *Handlers, x *server.Exchange) {
	req := kmsg.NewPtrOffsetFetchRequest()
	if !decode(x, req) {
		return
	}
	if x.Version < manyGroupsSince {
		offsetFetchOne(h, x, req)
		return
	}
	x.Later()
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.Groups = make([]kmsg.OffsetFetchResponseGroup, len(req.Groups))
	all := newGather(len(req.Groups), func() { reply(x, resp) })
	for i := range req.Groups {
		h.fetchOffsets(x, &req.Groups[i], req.RequireStable, func(g kmsg.OffsetFetchResponseGroup) {
			resp.Groups[i] = g
			all.end()
		})
	}
	all.end()
}

// offsetFetchOne answers in the form of versions that know one group alone.
func offsetFetchOne(h *Handlers, x *server.Exchange, req *kmsg.OffsetFetchRequest) {
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = req.Group
	if req.Topics != nil {
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
	}
	for _, t := range req.Topics {
		out := kmsg.NewOffsetFetchRequestGroupTopic()
		out.Topic, out.Partitions = t.Topic, t.Partitions
		g.Topics = append(g.Topics, out)
	}
	x.Later()
	h.fetchOffsets(x, &g, req.RequireStable, func(g kmsg.OffsetFetchResponseGroup) {
		resp := kmsg.NewPtrOffsetFetchResponse()
		resp.ErrorCode = g.ErrorCode
		if g.ErrorCode != 0 {
			g.Topics = refuseFetchOffsets(req, x.Version, g.ErrorCode)
		}
		for _, t := range g.Topics {
			out := kmsg.NewOffsetFetchResponseTopic()
			out.Topic = t.Topic
			for _, p := range t.Partitions {
				q := kmsg.NewOffsetFetchResponseTopicPartition()
				q.Partition, q.Offset, q.LeaderEpoch, q.Metadata, q.ErrorCode = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode
				out.Partitions = append(out.Partitions, q)
			}
			resp.Topics = append(resp.Topics, out)
		}
		reply(x, resp)
	})
}

// refuseFetchOffsets says an error with each partition in version 1, which has no other place for it.
func refuseFetchOffsets(req *kmsg.OffsetFetchRequest, version, errorCode int16) []kmsg.OffsetFetchResponseGroupTopic {
	if version >= 2 {
		return nil
	}
	var topics []kmsg.OffsetFetchResponseGroupTopic
	for _, t := range req.Topics {
		out := kmsg.NewOffsetFetchResponseGroupTopic()
		out.Topic = t.Topic
		for _, n := range t.Partitions {
			out.Partitions = append(out.Partitions, noOffset(n, errorCode))
		}
		topics = append(topics, out)
	}
	return topics
}

// noOffset is the answer about a partition of which nothing has been committed.
func noOffset(partition int32, errorCode int16) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode = partition, -1, -1, kmsg.StringPtr(""), errorCode
	return p
}

// fetchOffsets asks for the offsets of one group.
func (h *Handlers) fetchOffsets(x *server.Exchange, g *kmsg.OffsetFetchRequestGroup, stable bool, answer func(kmsg.OffsetFetchResponseGroup)) {
	if h.succeeded() != nil {
		out := kmsg.NewOffsetFetchResponseGroup()
		out.Group, out.ErrorCode = g.Group, kerr.NotCoordinator.Code
		answer(out)
		return
	}
	byID := x.Version >= topicIDsSince
	var unknown []kmsg.OffsetFetchResponseGroupTopic
	if byID && g.Topics != nil {
		g.Topics, unknown = h.nameTopics(g.Topics)
	}
	message := kmsg.NewPtrOffsetFetchRequest()
	message.Version, message.RequireStable = max(x.Version, manyGroupsSince), stable
	message.Groups = []kmsg.OffsetFetchRequestGroup{*g}
	name := g.Group
	h.askGroup(x, name, message, false, func(response any, err error) {
		out := kmsg.NewOffsetFetchResponseGroup()
		out.Group, out.ErrorCode = name, code(err)
		if fetched, ok := response.(*kmsg.OffsetFetchResponse); ok && err == nil {
			out = fetched.Groups[0]
		}
		if byID && out.ErrorCode == 0 {
			out.Topics = append(unknown, h.identifyTopics(out.Topics)...)
		}
		answer(out)
	})
}

// nameTopics fills in the names of topics that are asked for by id. Partitions of ids that there are not are answered.
func (h *Handlers) nameTopics(topics []kmsg.OffsetFetchRequestGroupTopic) (known []kmsg.OffsetFetchRequestGroupTopic, unknown []kmsg.OffsetFetchResponseGroupTopic) {
	img := h.Image()
	known = []kmsg.OffsetFetchRequestGroupTopic{} // not null, which asks for all
	for _, t := range topics {
		if topic, ok := img.TopicByID(t.TopicID); ok {
			t.Topic = topic.Name
			known = append(known, t)
			continue
		}
		out := kmsg.NewOffsetFetchResponseGroupTopic()
		out.TopicID = t.TopicID
		for _, n := range t.Partitions {
			out.Partitions = append(out.Partitions, noOffset(n, kerr.UnknownTopicID.Code))
		}
		unknown = append(unknown, out)
	}
	return known, unknown
}

// identifyTopics fills in the ids of topics. One that is gone has none and is left out.
func (h *Handlers) identifyTopics(topics []kmsg.OffsetFetchResponseGroupTopic) []kmsg.OffsetFetchResponseGroupTopic {
	img := h.Image()
	known := topics[:0]
	for _, t := range topics {
		if topic, ok := img.Topic(t.Topic); ok {
			t.TopicID = topic.ID
			known = append(known, t)
		}
	}
	return known
}
