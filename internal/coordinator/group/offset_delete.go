package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
)

// offsetDelete decides on version 0 (KIP-496). What is not there is deleted without a record.
// Java: OffsetMetadataManager.deleteOffsets.
func (s *Shard) offsetDelete(m *kmsg.OffsetDeleteRequest) (*kmsg.OffsetDeleteResponse, []runtime.Record) {
	resp := m.ResponseKind().(*kmsg.OffsetDeleteResponse)
	g, refusal := s.groupToDeleteFrom(m.Group)
	if refusal != nil {
		resp.ErrorCode = refusal.Code
		return resp, nil
	}
	resp.Topics = make([]kmsg.OffsetDeleteResponseTopic, 0, len(m.Topics))
	var records []runtime.Record
	for i := range m.Topics {
		t := &m.Topics[i]
		answer := kmsg.NewOffsetDeleteResponseTopic()
		answer.Topic = t.Topic
		answer.Partitions = make([]kmsg.OffsetDeleteResponseTopicPartition, 0, len(t.Partitions))
		reads := readsTopic(g, t.Topic)
		for _, p := range t.Partitions {
			a := kmsg.OffsetDeleteResponseTopicPartition{Partition: p.Partition}
			if reads {
				a.ErrorCode = kerr.GroupSubscribedToTopic.Code
			} else if s.offsets.get(m.Group, t.Topic, p.Partition) != nil {
				records = append(records, offsetTombstone(m.Group, t.Topic, p.Partition))
			}
			answer.Partitions = append(answer.Partitions, a)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return resp, records
}

func (s *Shard) groupToDeleteFrom(name string) (anyGroup, *kerr.Error) {
	g, ok := s.group(name)
	switch {
	case name == "":
		return nil, kerr.InvalidGroupID
	case !ok:
		return nil, kerr.GroupIDNotFound
	case !g.isEmpty() && g.protocolType() != consumerProtocolType:
		return nil, kerr.NonEmptyGroup
	}
	return g, nil
}

// readsTopic tells whether members may be reading a topic: those of a consumer group whose subscriptions are not known, or
// cannot be read, may read any.
func readsTopic(g anyGroup, topic string) bool {
	if g.isEmpty() {
		return false
	}
	subscribed, known := g.subscribed(topic)
	return subscribed || !known && g.protocolType() == consumerProtocolType
}
