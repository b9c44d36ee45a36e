package group

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

const (
	testRetention = 24 * time.Hour
	testInterval  = 10 * time.Minute
)

var (
	testStart = time.UnixMilli(1_000_000_000)
	topicOne  = ids.TopicID{15: 101}
	topicTwo  = ids.TopicID{15: 102}
)

// testGroup is a group for tests of offsets. Without members it is Empty; a protocol of "" makes it simple.
type testGroup struct {
	protocol   string
	member     string // its only one
	generation int32
	stable     bool
	topics     []string  // what the member reads; nil while that is not known
	emptySince time.Time // zero where that is not known
}

func putGroup(s *Shard, name string, g testGroup) {
	c := s.newGroup(name, g.emptySince)
	c.typ, c.generation = g.protocol, g.generation
	if g.member != "" {
		m := &member{id: g.member, sessionTimeoutMs: 30_000}
		c.state = statePreparingRebalance
		c.members, c.byID[m.id] = []*member{m}, m
	}
	if g.stable {
		c.state = stateStable
	}
	if g.topics != nil {
		c.topics = make(topicSet)
		for _, topic := range g.topics {
			c.topics[topic] = struct{}{}
		}
	}
	s.groups[name] = c
}

func newOffsetShard() *Shard {
	return New(func() Config {
		return Config{
			OffsetMetadataMaxBytes: 8,
			OffsetsRetentionMs:     testRetention.Milliseconds(),
			OffsetsCheckIntervalMs: testInterval.Milliseconds(),
		}
	}, func() *metadata.Image { return nil }, slog.New(slog.DiscardHandler), 0)
}

// testFatal is what testing.TB and rapid.TB have in common.
type testFatal interface {
	Helper()
	Fatalf(format string, args ...any)
}

// replayAll replays the records of a decision.
func replayAll(t testFatal, s *Shard, records []runtime.Record) {
	t.Helper()
	for _, r := range records {
		if err := s.Replay(r.Key, r.Value, 0); err != nil {
			t.Fatalf("record %x %x: %v", r.Key, r.Value, err)
		}
	}
}

// printRecord writes a record of an offset, or a tombstone, on one line.
func printRecord(t testFatal, r runtime.Record) string {
	t.Helper()
	key, err := decodeKey(r.Key)
	if err != nil {
		t.Fatalf("key %x: %v", r.Key, err)
	}
	k, ok := key.(*kmsg.OffsetCommitKey)
	if !ok {
		return fmt.Sprintf("tombstone of group %s", key.(*kmsg.GroupMetadataKey).Group)
	}
	if r.Value == nil {
		return fmt.Sprintf("tombstone of %s %s-%d", k.Group, k.Topic, k.Partition)
	}
	v, err := decodeOffsetValue(r.Value)
	if err != nil {
		t.Fatalf("value %x: %v", r.Value, err)
	}
	out := fmt.Sprintf("%s %s-%d: v%d offset %d epoch %d %q at %s", k.Group, k.Topic, k.Partition, v.Version, v.Offset, v.LeaderEpoch, v.Metadata, sinceStart(v.CommitTimestamp))
	if v.ExpireTimestamp != noTimestamp {
		out += " until " + sinceStart(v.ExpireTimestamp)
	}
	if id := ids.TopicID(v.TopicID); !id.IsZero() {
		out += fmt.Sprintf(" id %d", id[15])
	}
	return out
}

func sinceStart(ms int64) string { return time.UnixMilli(ms).Sub(testStart).String() }

func printRecords(t testFatal, records []runtime.Record) []string {
	t.Helper()
	var lines []string
	for _, r := range records {
		lines = append(lines, printRecord(t, r))
	}
	return lines
}

// partitionOf names a partition in tests.
type partitionOf struct {
	topic     string
	partition int32
}

func comparePartitions(a, b partitionOf) int {
	return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
}

// commitOf makes a commit, of the topics in order, of who is no member.
func commitOf(version int16, group string, offsets map[partitionOf]int64) *kmsg.OffsetCommitRequest {
	m := kmsg.NewPtrOffsetCommitRequest()
	m.Version, m.Group = version, group
	for _, p := range slices.SortedFunc(maps.Keys(offsets), comparePartitions) {
		if n := len(m.Topics); n == 0 || m.Topics[n-1].Topic != p.topic {
			topic := kmsg.NewOffsetCommitRequestTopic()
			topic.Topic = p.topic
			m.Topics = append(m.Topics, topic)
		}
		partition := kmsg.NewOffsetCommitRequestTopicPartition()
		partition.Partition, partition.Offset = p.partition, offsets[p]
		topic := &m.Topics[len(m.Topics)-1]
		topic.Partitions = append(topic.Partitions, partition)
	}
	return m
}

// mustCommit commits and replays.
func mustCommit(t testing.TB, s *Shard, m *kmsg.OffsetCommitRequest, now time.Time) {
	t.Helper()
	resp, records := s.offsetCommit(m, now)
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			if p.ErrorCode != 0 {
				t.Fatalf("commit to %s %s-%d: error %d", m.Group, topic.Topic, p.Partition, p.ErrorCode)
			}
		}
	}
	replayAll(t, s, records)
}

func fetchOf(version int16, group string) *kmsg.OffsetFetchRequest {
	m := kmsg.NewPtrOffsetFetchRequest()
	m.Version = version
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	m.Groups = append(m.Groups, g)
	return m
}

func askFor(m *kmsg.OffsetFetchRequest, topic string, id ids.TopicID, partitions ...int32) *kmsg.OffsetFetchRequest {
	t := kmsg.NewOffsetFetchRequestGroupTopic()
	t.Topic, t.TopicID, t.Partitions = topic, id, partitions
	m.Groups[0].Topics = append(m.Groups[0].Topics, t)
	return m
}

func printFetch(resp *kmsg.OffsetFetchResponse) []string {
	var lines []string
	for _, g := range resp.Groups {
		if g.ErrorCode != 0 {
			lines = append(lines, fmt.Sprintf("%s: error %d", g.Group, g.ErrorCode))
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				line := fmt.Sprintf("%s-%d: %d epoch %d %q", t.Topic, p.Partition, p.Offset, p.LeaderEpoch, *p.Metadata)
				if id := ids.TopicID(t.TopicID); !id.IsZero() {
					line += fmt.Sprintf(" id %d", id[15])
				}
				if p.ErrorCode != 0 {
					line += fmt.Sprintf(" error %d", p.ErrorCode)
				}
				lines = append(lines, line)
			}
		}
	}
	return lines
}

func deleteOf(group string, topic string, partitions ...int32) *kmsg.OffsetDeleteRequest {
	m := kmsg.NewPtrOffsetDeleteRequest()
	m.Group = group
	t := kmsg.NewOffsetDeleteRequestTopic()
	t.Topic = topic
	for _, p := range partitions {
		t.Partitions = append(t.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: p})
	}
	m.Topics = append(m.Topics, t)
	return m
}

func equalLines(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func writtenAgain(k *kmsg.OffsetCommitKey, c *committedOffset) []runtime.Record {
	return []runtime.Record{offsetRecord(k.Group, k.Topic, k.Partition, *c)}
}
