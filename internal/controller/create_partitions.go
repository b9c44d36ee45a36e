package controller

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/metadata"
)

// CreatePartitions decides on versions 0 to 3 (Java:
// ReplicationControlManager.createPartitions). Too many partitions at once get
// UNKNOWN_SERVER_ERROR, as in Kafka, but only for the topics that go beyond the limit.
func (c *Core) CreatePartitions(req *kmsg.CreatePartitionsRequest) (*kmsg.CreatePartitionsResponse, []metadata.Record) {
	resp := kmsg.NewPtrCreatePartitionsResponse()
	topics, duplicates := withoutDuplicates(req.Topics, func(t *kmsg.CreatePartitionsRequestTopic) string { return t.Topic })
	for _, name := range duplicates {
		addCreatePartitions(resp, name, refuse(kerr.InvalidRequest, "topic %q is in the request more than once", name))
	}
	var recs []metadata.Record
	for _, t := range topics {
		made, refusal := c.createPartitions(t, len(recs))
		addCreatePartitions(resp, t.Topic, refusal)
		recs = append(recs, made...)
	}
	if req.ValidateOnly {
		recs = nil
	}
	return resp, recs
}

// createPartitions decides on one topic; before counts the records that the request
// makes for others.
func (c *Core) createPartitions(t *kmsg.CreatePartitionsRequestTopic, before int) ([]metadata.Record, *Refusal) {
	topic, ok := c.pending.Topic(t.Topic)
	if !ok {
		return nil, refuse(kerr.UnknownTopicOrPartition, "there is no topic %q", t.Topic)
	}
	have := len(topic.Partitions)
	add := int(t.Count) - have
	switch {
	case have == 0:
		return nil, refuse(kerr.UnknownServerError, "topic %q has no partition to take the replication factor from", t.Topic)
	case add == 0:
		return nil, refuse(kerr.InvalidPartitions, "topic %q already has the partition count %d", t.Topic, have)
	case add < 0:
		return nil, refuse(kerr.InvalidPartitions, "the partition count of topic %q is %d and can only grow, not become %d", t.Topic, have, t.Count)
	case t.Assignment != nil && len(t.Assignment) != add:
		return nil, refuse(kerr.InvalidReplicaAssignment, "partitions to add to topic %q: %d, but partitions assigned: %d", t.Topic, add, len(t.Assignment))
	case before+add > recordsMax:
		return nil, refuse(kerr.UnknownServerError, "the request adds %d partitions, at most %d are allowed at once: send several smaller requests", before+add, recordsMax)
	}
	parts, refusal := c.morePartitions(t, len(topic.Partitions[0].Replicas), add, before)
	if refusal != nil {
		return nil, refusal
	}
	return partitionRecords(topic.ID, have, parts), nil
}

func (c *Core) morePartitions(t *kmsg.CreatePartitionsRequestTopic, factor, add, before int) ([]metadata.Partition, *Refusal) {
	if t.Assignment == nil {
		return c.place(add, int16(factor), c.placed+before)
	}
	parts := make([]metadata.Partition, add)
	for i := range parts {
		var refusal *Refusal
		if parts[i], refusal = c.assign(t.Assignment[i].Replicas, factor); refusal != nil {
			return nil, refusal
		}
	}
	return parts, nil
}

func addCreatePartitions(resp *kmsg.CreatePartitionsResponse, name string, refusal *Refusal) {
	t := kmsg.NewCreatePartitionsResponseTopic()
	t.Topic = name
	t.ErrorCode, t.ErrorMessage = refusal.wire()
	resp.Topics = append(resp.Topics, t)
}

// CreatePartitionsRefused answers every topic of a request alike.
func CreatePartitionsRefused(req *kmsg.CreatePartitionsRequest, refusal *Refusal) *kmsg.CreatePartitionsResponse {
	resp := kmsg.NewPtrCreatePartitionsResponse()
	for i := range req.Topics {
		addCreatePartitions(resp, req.Topics[i].Topic, refusal)
	}
	return resp
}
