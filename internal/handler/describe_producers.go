package handler

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeProducers: v0 (KIP-664). Every replica answers, not the leader alone.
func init() { register(kmsg.DescribeProducers, 0, 0, describeProducers, "") }

func describeProducers(h *Handlers, x *server.Exchange) {
	var req kmsg.DescribeProducersRequest
	if !decode(x, &req) {
		return
	}
	resp := kmsg.NewPtrDescribeProducersResponse()
	for i := range req.Topics {
		t := &req.Topics[i]
		out := kmsg.NewDescribeProducersResponseTopic()
		out.Topic = t.Topic
		for _, number := range t.Partitions {
			p := kmsg.NewDescribeProducersResponseTopicPartition()
			p.Partition = number
			producers, err := h.activeProducers(t.Topic, number)
			p.ActiveProducers, p.ErrorCode = producers, code(err)
			if err != nil {
				p.ErrorMessage = kmsg.StringPtr(err.Error())
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	reply(x, resp)
}

// activeProducers returns what the log of a partition knows of its producers, by producer id.
func (h *Handlers) activeProducers(topic string, number int32) ([]kmsg.DescribeProducersResponseTopicPartitionActiveProducer, error) {
	if !validTopicName(topic) {
		return nil, fmt.Errorf("%q is not a topic name: %w", topic, kerr.InvalidTopicException)
	}
	part, err := h.Partitions.ByName([]byte(topic), number)
	if err != nil {
		if t, ok := h.Image().Topic(topic); ok && number >= 0 && int(number) < len(t.Partitions) {
			return nil, fmt.Errorf("partition %s-%d is on other brokers: %w", topic, number, kerr.NotLeaderForPartition)
		}
		return nil, err
	}
	if err := part.Log().Err(); err != nil {
		return nil, err
	}
	var out []kmsg.DescribeProducersResponseTopicPartitionActiveProducer
	for _, p := range part.Log().ActiveProducers() {
		out = append(out, kmsg.DescribeProducersResponseTopicPartitionActiveProducer{
			ProducerID: int64(p.ID), ProducerEpoch: int32(p.Epoch),
			LastSequence: p.LastSequence, LastTimestamp: p.LastTimestamp,
			CoordinatorEpoch: p.CoordinatorEpoch, CurrentTxnStartOffset: int64(p.CurrentTxnFirstOffset),
		})
	}
	slices.SortFunc(out, func(a, b kmsg.DescribeProducersResponseTopicPartitionActiveProducer) int {
		return cmp.Compare(a.ProducerID, b.ProducerID)
	})
	return out, nil
}
