package group

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
)

// offsetFetch answers versions 1 to 10 in the form of version 8. An offset counts until its tombstone is written, however old
// it is. No offset is part of a transaction, so all are stable (KIP-447).
// Java: OffsetMetadataManager.fetchOffsets, fetchAllOffsets.
func (s *Shard) offsetFetch(m *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
	resp := m.ResponseKind().(*kmsg.OffsetFetchResponse)
	resp.Groups = make([]kmsg.OffsetFetchResponseGroup, 0, len(m.Groups))
	for i := range m.Groups {
		resp.Groups = append(resp.Groups, s.fetchGroup(&m.Groups[i]))
	}
	return resp
}

func (s *Shard) fetchGroup(m *kmsg.OffsetFetchRequestGroup) kmsg.OffsetFetchResponseGroup {
	answer := kmsg.NewOffsetFetchResponseGroup()
	answer.Group = m.Group
	if err := s.checkOffsetFetch(m); err != nil {
		answer.ErrorCode = errorCode(err)
		return answer
	}
	if offsets := s.offsets.groups[m.Group]; m.Topics == nil {
		answer.Topics = allOffsets(offsets)
	} else {
		answer.Topics = namedOffsets(offsets, m.Topics)
	}
	return answer
}

// checkOffsetFetch lets a member read as long as it is one. Java: OffsetMetadataManager.validateOffsetFetch.
func (s *Shard) checkOffsetFetch(m *kmsg.OffsetFetchRequestGroup) error {
	if g, ok := s.consumers[m.Group]; ok {
		return g.checkFetch(m.MemberID, m.MemberEpoch)
	}
	return nil
}

// namedOffsets mirrors what is asked for. An offset that was committed for another life of the topic is none.
func namedOffsets(offsets groupOffsets, asked []kmsg.OffsetFetchRequestGroupTopic) []kmsg.OffsetFetchResponseGroupTopic {
	topics := make([]kmsg.OffsetFetchResponseGroupTopic, 0, len(asked))
	for i := range asked {
		a := &asked[i]
		t := kmsg.NewOffsetFetchResponseGroupTopic()
		t.Topic, t.TopicID = a.Topic, a.TopicID
		t.Partitions = make([]kmsg.OffsetFetchResponseGroupTopicPartition, 0, len(a.Partitions))
		committed := offsets[a.Topic]
		for _, partition := range a.Partitions {
			c := committed[partition]
			if c != nil && !sameTopic(c.topicID, ids.TopicID(a.TopicID)) {
				c = nil
			}
			t.Partitions = append(t.Partitions, fetchedOffset(partition, c))
		}
		topics = append(topics, t)
	}
	return topics
}

// allOffsets answers by name, in order; the topics have no ids, for the caller knows the current ones.
func allOffsets(offsets groupOffsets) []kmsg.OffsetFetchResponseGroupTopic {
	topics := make([]kmsg.OffsetFetchResponseGroupTopic, 0, len(offsets))
	for _, name := range slices.Sorted(maps.Keys(offsets)) {
		t := kmsg.NewOffsetFetchResponseGroupTopic()
		t.Topic = name
		committed := offsets[name]
		t.Partitions = make([]kmsg.OffsetFetchResponseGroupTopicPartition, 0, len(committed))
		for _, partition := range slices.Sorted(maps.Keys(committed)) {
			t.Partitions = append(t.Partitions, fetchedOffset(partition, committed[partition]))
		}
		topics = append(topics, t)
	}
	return topics
}

// fetchedOffset answers for a partition; c is nil where nothing is committed, which is no error.
func fetchedOffset(partition int32, c *committedOffset) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.Partition = partition
	if c == nil {
		p.Offset, p.LeaderEpoch, p.Metadata = noOffset, noLeaderEpoch, kmsg.StringPtr("")
	} else {
		p.Offset, p.LeaderEpoch, p.Metadata = c.offset, c.leaderEpoch, kmsg.StringPtr(c.metadata)
	}
	return p
}
