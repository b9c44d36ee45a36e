package group

import (
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
	"github.com/moldau/moldau/internal/ids"
)

// The first version of OffsetCommit that is told GROUP_ID_NOT_FOUND and knows member epochs, and the span of those that say how long to keep
// offsets (KIP-211).
const (
	commitMemberEpochs     = 9
	commitRetentionFirst   = 2
	commitRetentionLast    = 4
	commitDefaultRetention = -1
)

// offsetCommit decides on versions 2 to 10. What the group refuses is refused for every partition; metadata that is too
// long for its own partition alone. Java: OffsetMetadataManager.commitOffset.
func (s *Shard) offsetCommit(m *kmsg.OffsetCommitRequest, now time.Time) (*kmsg.OffsetCommitResponse, []runtime.Record) {
	resp := m.ResponseKind().(*kmsg.OffsetCommitResponse)
	resp.Topics = make([]kmsg.OffsetCommitResponseTopic, 0, len(m.Topics))
	check, err := s.checkOffsetCommit(m, now)
	c := offsetCommit{
		group:       m.Group,
		refusal:     errorCode(err),
		check:       check,
		metadataMax: int(s.cfg().OffsetMetadataMaxBytes),
		nowMs:       now.UnixMilli(),
		expireMs:    expireTimestampMs(m, now),
	}
	for i := range m.Topics {
		t := &m.Topics[i]
		answer := kmsg.NewOffsetCommitResponseTopic()
		answer.Topic, answer.TopicID = t.Topic, t.TopicID
		answer.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, 0, len(t.Partitions))
		for j := range t.Partitions {
			p := kmsg.NewOffsetCommitResponseTopicPartition()
			p.Partition, p.ErrorCode = t.Partitions[j].Partition, c.partition(t, &t.Partitions[j])
			answer.Partitions = append(answer.Partitions, p)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return resp, c.records
}

// offsetCommit is the decision on one request.
type offsetCommit struct {
	group       string
	refusal     int16       // of the group; 0 for none
	check       commitCheck // nil where all partitions may be committed
	metadataMax int
	nowMs       int64
	expireMs    int64 // noTimestamp where the broker's retention decides
	records     []runtime.Record
}

// partition returns the error code of a partition, or adds its record.
func (c *offsetCommit) partition(t *kmsg.OffsetCommitRequestTopic, p *kmsg.OffsetCommitRequestTopicPartition) int16 {
	switch {
	case c.refusal != 0:
		return c.refusal
	case longerThan(p.Metadata, c.metadataMax):
		return kerr.OffsetMetadataTooLarge.Code
	}
	if c.check != nil {
		if err := c.check(t.Topic, t.TopicID, p.Partition); err != nil {
			return errorCode(err)
		}
	}
	o := committedOffset{
		offset:            p.Offset,
		commitTimestampMs: c.nowMs,
		expireTimestampMs: c.expireMs,
		topicID:           t.TopicID,
		leaderEpoch:       p.LeaderEpoch,
	}
	if p.Metadata != nil {
		o.metadata = *p.Metadata
	}
	c.records = append(c.records, offsetRecord(c.group, t.Topic, p.Partition, o))
	return 0
}

// commitCheck tells whether a partition may be committed; the id of the topic is zero where the client gave its name alone.
type commitCheck func(topic string, id ids.TopicID, partition int32) error

// checkOffsetCommit asks the group. One that there is not takes a commit from who is no member: it becomes a simple
// group, which is nothing but its offsets.
func (s *Shard) checkOffsetCommit(m *kmsg.OffsetCommitRequest, now time.Time) (commitCheck, error) {
	if g, ok := s.consumers[m.Group]; ok {
		return g.checkCommit(m, s.image())
	}
	g, ok := s.groups[m.Group]
	if !ok {
		switch {
		case m.Generation < 0:
			g = s.simpleGroup(m.Group)
		case m.Version >= commitMemberEpochs:
			return nil, kerr.GroupIDNotFound
		default:
			return nil, kerr.IllegalGeneration
		}
	}
	return nil, g.checkCommit(m.MemberID, m.InstanceID, m.Generation, now)
}

// expireTimestampMs returns when the offsets of a commit expire, where it says so itself. A client that means forever
// asks for more than fits; Apache Kafka lets that sum turn negative, which is at once.
func expireTimestampMs(m *kmsg.OffsetCommitRequest, now time.Time) int64 {
	if m.Version < commitRetentionFirst || m.Version > commitRetentionLast || m.RetentionTimeMillis == commitDefaultRetention {
		return noTimestamp
	}
	if nowMs := now.UnixMilli(); m.RetentionTimeMillis <= math.MaxInt64-max(nowMs, 0) {
		return nowMs + m.RetentionTimeMillis
	}
	return math.MaxInt64
}

// longerThan counts as Kafka does: in UTF-16 code units, although the setting is named for bytes.
func longerThan(s *string, unitsMax int) bool {
	if s == nil || len(*s) <= unitsMax {
		return false
	}
	units := 0
	for _, r := range *s {
		units++
		if r > 0xffff {
			units++
		}
	}
	return units > unitsMax
}
