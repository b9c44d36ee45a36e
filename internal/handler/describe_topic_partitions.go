package handler

import (
	"slices"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeTopicPartitions: v0 (KIP-966): topics in order of their names, page by page.
func init() { register(kmsg.DescribeTopicPartitions, 0, 0, describeTopicPartitions, "") }

// partitionsPerPage bounds an answer (max.request.partition.size.limit).
const partitionsPerPage = 2000

func describeTopicPartitions(h *Handlers, x *server.Exchange) {
	var req kmsg.DescribeTopicPartitionsRequest
	if !decode(x, &req) {
		return
	}
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	page := topicPage{resp: resp, left: max(1, min(partitionsPerPage, int(req.ResponsePartitionLimit)))}
	if req.Cursor != nil {
		if !validCursor(&req) {
			for i := range req.Topics {
				t := kmsg.NewDescribeTopicPartitionsResponseTopic()
				t.Topic, t.ErrorCode = &req.Topics[i].Topic, kerr.InvalidRequest.Code
				resp.Topics = append(resp.Topics, t)
			}
			reply(x, resp)
			return
		}
		page.from, page.fromPartition = req.Cursor.Topic, int(req.Cursor.Partition)
	}
	img := h.Image()
	if len(req.Topics) == 0 {
		for t := range img.TopicsFrom(page.from) {
			if !page.add(img, t) {
				break
			}
		}
	} else {
		page.addNamed(img, req.Topics)
	}
	reply(x, resp)
}

// validCursor tells whether the cursor stands at a partition that can be, of a topic that is asked for.
func validCursor(req *kmsg.DescribeTopicPartitionsRequest) bool {
	return req.Cursor.Partition >= 0 && (len(req.Topics) == 0 ||
		slices.ContainsFunc(req.Topics, func(t kmsg.DescribeTopicPartitionsRequestTopic) bool { return t.Topic == req.Cursor.Topic }))
}

// topicPage fills one answer up to its limit of partitions.
type topicPage struct {
	resp          *kmsg.DescribeTopicPartitionsResponse
	left          int    // partitions that still fit
	from          string // the cursor: topics before it, and its partitions before fromPartition, are on earlier pages
	fromPartition int
}

func (p *topicPage) addNamed(img *metadata.Image, asked []kmsg.DescribeTopicPartitionsRequestTopic) {
	names := make([]string, 0, len(asked))
	for i := range asked {
		if asked[i].Topic >= p.from {
			names = append(names, asked[i].Topic)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if t, ok := img.Topic(name); ok {
			if !p.add(img, t) {
				return
			}
			continue
		}
		out := kmsg.NewDescribeTopicPartitionsResponseTopic()
		out.Topic, out.AuthorizedOperations = &name, topicOperations
		out.ErrorCode = kerr.UnknownTopicOrPartition.Code
		if !validTopicName(name) {
			out.ErrorCode = kerr.InvalidTopicException.Code
		}
		p.resp.Topics = append(p.resp.Topics, out)
	}
}

// add appends t, or as much as fits; false where the page is full and the cursor set.
func (p *topicPage) add(img *metadata.Image, t *metadata.Topic) bool {
	start := 0
	if t.Name == p.from {
		start = min(p.fromPartition, len(t.Partitions))
	}
	if p.left == 0 {
		p.resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: t.Name, Partition: int32(start)}
		return false
	}
	end := min(len(t.Partitions), start+p.left)
	p.left -= end - start
	out := kmsg.NewDescribeTopicPartitionsResponseTopic()
	out.Topic, out.TopicID, out.AuthorizedOperations = &t.Name, t.ID, topicOperations
	out.IsInternal = isInternal(t.Name)
	for i := start; i < end; i++ {
		out.Partitions = append(out.Partitions, describePartition(img, int32(i), &t.Partitions[i]))
	}
	p.resp.Topics = append(p.resp.Topics, out)
	if end < len(t.Partitions) {
		p.resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: t.Name, Partition: int32(end)}
		return false
	}
	return true
}

func describePartition(img *metadata.Image, index int32, p *metadata.Partition) kmsg.DescribeTopicPartitionsResponseTopicPartition {
	out := kmsg.DescribeTopicPartitionsResponseTopicPartition{
		Partition:              index,
		LeaderID:               int32(p.Leader),
		LeaderEpoch:            int32(p.LeaderEpoch),
		Replicas:               nodes(p.Replicas),
		ISR:                    nodes(p.ISR),
		EligibleLeaderReplicas: nodes(p.ELR),
		LastKnownELR:           nodes(p.LastKnownELR),
		OfflineReplicas:        offline(img, p),
	}
	if p.Leader == ids.NoNode {
		out.ErrorCode = kerr.LeaderNotAvailable.Code
	}
	return out
}
