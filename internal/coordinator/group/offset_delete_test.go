package group

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
)

func printDelete(resp *kmsg.OffsetDeleteResponse) []string {
	var lines []string
	if resp.ErrorCode != 0 {
		lines = append(lines, fmt.Sprint("error ", resp.ErrorCode))
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			lines = append(lines, fmt.Sprintf("%s-%d: %d", t.Topic, p.Partition, p.ErrorCode))
		}
	}
	return lines
}

func TestOffsetDelete(t *testing.T) {
	consumer := func(stable bool, topics ...string) *testGroup {
		return &testGroup{protocol: "consumer", member: "m", stable: stable, topics: topics}
	}
	for _, c := range []struct {
		name    string
		group   *testGroup
		m       *kmsg.OffsetDeleteRequest
		want    []string
		records []string
	}{
		{"unknown group", nil, deleteOf("x", "a", 0), []string{"error 69"}, nil},
		{"no group id", nil, deleteOf("", "a", 0), []string{"error 24"}, nil},
		{"simple group", nil, deleteOf("g", "a", 1, 0), []string{"a-1: 0", "a-0: 0"}, []string{"tombstone of g a-1", "tombstone of g a-0"}},
		{"what is not there", nil, deleteOf("g", "a", 7), []string{"a-7: 0"}, nil},
		{"a topic that is not there", nil, deleteOf("g", "x", 0), []string{"x-0: 0"}, nil},
		{"empty group", &testGroup{protocol: "consumer", topics: []string{}}, deleteOf("g", "a", 0), []string{"a-0: 0"}, []string{"tombstone of g a-0"}},
		{"empty group of another type", &testGroup{protocol: "connect"}, deleteOf("g", "a", 0), []string{"a-0: 0"}, []string{"tombstone of g a-0"}},
		{"members that read the topic", consumer(true, "a"), deleteOf("g", "a", 0, 1), []string{"a-0: 86", "a-1: 86"}, nil},
		{"members that read another", consumer(true, "b"), deleteOf("g", "a", 0), []string{"a-0: 0"}, []string{"tombstone of g a-0"}},
		{"members in a rebalance that read another", consumer(false, "b"), deleteOf("g", "a", 0), []string{"a-0: 0"}, []string{"tombstone of g a-0"}},
		{"members that read who knows what", consumer(false), deleteOf("g", "a", 0), []string{"a-0: 86"}, nil},
		{"members of another type", &testGroup{protocol: "connect", member: "m", stable: true}, deleteOf("g", "a", 0), []string{"error 68"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newOffsetShard()
			mustCommit(t, s, commitOf(8, "g", map[partitionOf]int64{{"a", 0}: 1, {"a", 1}: 2, {"b", 0}: 3}), testStart)
			if c.group != nil {
				putGroup(s, "g", *c.group)
			}
			resp, records := s.offsetDelete(c.m)
			equalLines(t, "answer", printDelete(resp), c.want)
			equalLines(t, "records", printRecords(t, records), c.records)
			replayAll(t, s, records)
			for _, topic := range resp.Topics {
				for _, p := range topic.Partitions {
					if left := s.offsets.get("g", topic.Topic, p.Partition) != nil; left != (p.ErrorCode != 0) {
						t.Fatalf("%s-%d answered %d, is there: %v", topic.Topic, p.Partition, p.ErrorCode, left)
					}
				}
			}
		})
	}
}

// The tombstones of a whole group are in order and leave nothing.
func TestOffsetTombstones(t *testing.T) {
	s := newOffsetShard()
	offsets, want := map[partitionOf]int64{{"a", 0}: 3}, []string{"tombstone of g a-0"}
	for p := range int32(12) {
		offsets[partitionOf{"b", p}] = 1
		want = append(want, fmt.Sprint("tombstone of g b-", p))
	}
	mustCommit(t, s, commitOf(8, "g", offsets), testStart)
	mustCommit(t, s, commitOf(8, "h", map[partitionOf]int64{{"a", 0}: 4}), testStart)
	records := s.offsetTombstones("g")
	equalLines(t, "records", printRecords(t, records), want)
	replayAll(t, s, records)
	if s.hasOffsets("g") || !s.hasOffsets("h") || len(s.offsetTombstones("x")) != 0 {
		t.Fatalf("left: %v", s.offsets.groups)
	}
}

func TestTopicsDeleted(t *testing.T) {
	s := newOffsetShard()
	named := func(group, topic string, id byte) {
		m := commitOf(10, group, map[partitionOf]int64{{topic, 0}: 1})
		m.Topics[0].TopicID[15] = id
		mustCommit(t, s, m, testStart)
	}
	named("g1", "a", 101)
	named("g2", "a", 102)
	named("g3", "a", 0)
	named("g3", "b", 103)
	named("g4", "c", 104)
	for _, c := range []struct {
		topic DeletedTopic
		want  []string
	}{
		{DeletedTopic{"a", topicOne}, []string{"tombstone of g1 a-0", "tombstone of g3 a-0"}},
		{DeletedTopic{Name: "a"}, []string{"tombstone of g1 a-0", "tombstone of g2 a-0", "tombstone of g3 a-0"}},
		{DeletedTopic{"b", topicOne}, nil},
		{DeletedTopic{"x", topicOne}, nil},
	} {
		equalLines(t, c.topic.Name, printRecords(t, s.topicsDeleted(&TopicsDeleted{Topics: []DeletedTopic{c.topic}})), c.want)
	}
	records := s.topicsDeleted(&TopicsDeleted{Topics: []DeletedTopic{{Name: "c"}, {Name: "b"}}})
	equalLines(t, "several", printRecords(t, records), []string{"tombstone of g3 b-0", "tombstone of g4 c-0"})
}

// The records of a large deletion come in batches that the topic takes, and nothing is forgotten.
func TestLargeDeletionComesInPieces(t *testing.T) {
	s := newOffsetShard()
	var records []runtime.Record
	for group := range 4 {
		for p := range int32(5000) {
			key := kmsg.NewOffsetCommitKey()
			key.Version, key.Group, key.Topic, key.Partition = offsetKeyVersion, fmt.Sprint("g", group), "a topic with a name", p
			value := kmsg.NewOffsetCommitValue()
			value.Version = offsetValueVersion
			records = append(records, runtime.Record{Key: key.AppendTo(nil), Value: value.AppendTo(nil)})
		}
	}
	replayAll(t, s, records)
	now := testStart
	pieces := [][]runtime.Record{s.topicsDeleted(&TopicsDeleted{Topics: []DeletedTopic{{Name: "a topic with a name"}}})}
	for ; ; pieces = append(pieces, s.expireOffsets(now)) {
		last := pieces[len(pieces)-1]
		bytes := 0
		for _, r := range last {
			bytes += len(r.Key)
		}
		if bytes > expiryBytesMax {
			t.Fatalf("a piece of %d bytes of keys", bytes)
		}
		replayAll(t, s, last)
		if due := s.expiryDue(); due.After(now) || due.IsZero() || len(last) == 0 {
			break
		}
	}
	if len(pieces) < 4 || len(s.offsets.groups) > 0 || s.offsets.deleted != nil {
		t.Errorf("%d pieces leave offsets of %d groups", len(pieces), len(s.offsets.groups))
	}
}
