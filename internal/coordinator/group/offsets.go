package group

import (
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
	"github.com/moldau/moldau/internal/ids"
)

const (
	noOffset      int64 = -1
	noLeaderEpoch int32 = -1
	noTimestamp   int64 = -1
)

// offsetStore has the committed offsets of a shard. Only replayed records change them. The zero value has none.
type offsetStore struct {
	groups    map[string]groupOffsets // no entry is empty
	nextCheck time.Time               // when offsets expire next; zero until expireOffsets says
	deleted   []DeletedTopic          // those of which offsets are left
}

// groupOffsets has the offsets of a group by topic. No entry is empty.
type groupOffsets map[string]topicOffsets

// topicOffsets has the offsets of a topic by partition. They are pointers because a map makes room
// for eight entries at once, and most groups read few partitions of a topic.
type topicOffsets map[int32]*committedOffset

// committedOffset is what a group has committed for a partition. Java: OffsetAndMetadata.
type committedOffset struct {
	offset            int64
	commitTimestampMs int64
	expireTimestampMs int64 // noTimestamp where the broker's retention decides
	metadata          string
	topicID           ids.TopicID // zero where the commit did not say
	leaderEpoch       int32       // noLeaderEpoch where the commit did not say
}

func (s *offsetStore) get(group, topic string, partition int32) *committedOffset {
	return s.groups[group][topic][partition]
}

func (s *offsetStore) put(group, topic string, partition int32, c committedOffset) {
	if s.groups == nil {
		s.groups = make(map[string]groupOffsets)
	}
	topics, ok := s.groups[group]
	if !ok {
		topics = make(groupOffsets)
		s.groups[group] = topics
	}
	partitions, ok := topics[topic]
	if !ok {
		partitions = make(topicOffsets)
		topics[topic] = partitions
	}
	if old, ok := partitions[partition]; ok {
		*old = c
	} else {
		partitions[partition] = &c
	}
}

func (s *offsetStore) remove(group, topic string, partition int32) {
	topics := s.groups[group]
	partitions := topics[topic]
	delete(partitions, partition)
	if len(partitions) == 0 {
		delete(topics, topic)
	}
	if len(topics) == 0 {
		delete(s.groups, group)
	}
}

func (s *Shard) hasOffsets(group string) bool { return len(s.offsets.groups[group]) > 0 }

// replayOffset takes a record of a committed offset; value is nil for a tombstone. Who commits without being a
// member has no other record of its group: the group begins here.
func (s *Shard) replayOffset(key *kmsg.OffsetCommitKey, value *kmsg.OffsetCommitValue, _ int64) error {
	if value == nil {
		s.offsets.remove(key.Group, key.Topic, key.Partition)
		return nil
	}
	s.ensureGroup(key.Group)
	s.offsets.put(key.Group, key.Topic, key.Partition, committedOffset{
		offset:            value.Offset,
		commitTimestampMs: value.CommitTimestamp,
		expireTimestampMs: value.ExpireTimestamp,
		metadata:          value.Metadata,
		topicID:           value.TopicID,
		leaderEpoch:       value.LeaderEpoch,
	})
	return nil
}

// offsetTombstones returns the records that remove every offset of a group.
func (s *Shard) offsetTombstones(group string) []runtime.Record {
	topics := s.offsets.groups[group]
	var records []runtime.Record
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		for _, partition := range slices.Sorted(maps.Keys(topics[topic])) {
			records = append(records, offsetTombstone(group, topic, partition))
		}
	}
	return records
}

// topicsDeleted returns the records that remove the offsets of topics in every group, or as many of them as one batch
// should have: expireOffsets returns the others. An offset that was committed for another life of the topic stays; one that
// does not say which is taken to be of this one.
func (s *Shard) topicsDeleted(t *TopicsDeleted) []runtime.Record {
	s.offsets.deleted = append(s.offsets.deleted, t.Topics...)
	return s.removeDeleted()
}

func (s *Shard) removeDeleted() []runtime.Record {
	var records []runtime.Record
	bytes := 0
	for _, group := range slices.Sorted(maps.Keys(s.offsets.groups)) {
		for _, deleted := range s.offsets.deleted {
			partitions := s.offsets.groups[group][deleted.Name]
			for _, partition := range slices.Sorted(maps.Keys(partitions)) {
				if !sameTopic(partitions[partition].topicID, deleted.ID) {
					continue
				}
				r := offsetTombstone(group, deleted.Name, partition)
				if bytes += len(r.Key); bytes > expiryBytesMax {
					return records
				}
				records = append(records, r)
			}
		}
	}
	s.offsets.deleted = nil
	return records
}

// sameTopic tells whether two ids of one name can be of one topic; the zero id can be of any.
func sameTopic(a, b ids.TopicID) bool { return a == b || a.IsZero() || b.IsZero() }
