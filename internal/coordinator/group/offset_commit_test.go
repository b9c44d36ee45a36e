package group

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func printCommit(resp *kmsg.OffsetCommitResponse) []string {
	var lines []string
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			lines = append(lines, fmt.Sprintf("%s-%d: %d", t.Topic, p.Partition, p.ErrorCode))
		}
	}
	return lines
}

// Whom a group takes commits from, and what the others are told for each partition.
func TestOffsetCommitAsksTheGroup(t *testing.T) {
	member := testGroup{protocol: "consumer", member: "m", generation: 3, stable: true, topics: []string{"a"}}
	for _, c := range []struct {
		name       string
		group      *testGroup
		version    int16
		member     string
		generation int32
		want       *kerr.Error
	}{
		{"no group, no member", nil, 8, "", -1, nil},
		{"no group, generation, old version", nil, 8, "m", 3, kerr.IllegalGeneration},
		{"no group, generation 0, old version", nil, 2, "m", 0, kerr.IllegalGeneration},
		{"no group, generation, version 9", nil, 9, "m", 3, kerr.GroupIDNotFound},
		{"no group, no member, version 10", nil, 10, "", -1, nil},
		{"simple group", &testGroup{}, 8, "", -1, nil},
		{"empty group", &testGroup{protocol: "consumer"}, 8, "", -1, nil},
		{"member", &member, 8, "m", 3, nil},
		{"unknown member", &member, 8, "x", 3, kerr.UnknownMemberID},
		{"no member of a group that has some", &member, 8, "", -1, kerr.UnknownMemberID},
		{"old generation", &member, 8, "m", 2, kerr.IllegalGeneration},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newOffsetShard()
			if c.group != nil {
				putGroup(s, "g", *c.group)
			}
			m := commitOf(c.version, "g", map[partitionOf]int64{{"a", 0}: 10, {"a", 2}: 12, {"b", 1}: 21})
			m.MemberID, m.Generation = c.member, c.generation
			resp, records := s.offsetCommit(m, testStart)
			code, want := int16(0), 3
			if c.want != nil {
				code, want = c.want.Code, 0
			}
			equalLines(t, "answer", printCommit(resp), []string{fmt.Sprint("a-0: ", code), fmt.Sprint("a-2: ", code), fmt.Sprint("b-1: ", code)})
			if len(records) != want {
				t.Fatalf("%d records, want %d", len(records), want)
			}
			if resp.Version != c.version {
				t.Fatalf("answer of version %d to %d", resp.Version, c.version)
			}
			if s.hasOffsets("g") || c.group == nil && len(s.groups) != 0 {
				t.Fatal("a decision changed the shard before its records were replayed")
			}
		})
	}
}

func TestOffsetCommitMakesASimpleGroup(t *testing.T) {
	s := newOffsetShard()
	mustCommit(t, s, commitOf(8, "g", map[partitionOf]int64{{"a", 0}: 1}), testStart)
	g, ok := s.groups["g"]
	if !ok || g.protocolType() != "" || !g.isEmpty() || !s.hasOffsets("g") {
		t.Fatalf("group %+v, known %v", g, ok)
	}
}

// What a commit writes, field by field and version by version.
func TestOffsetCommitRecords(t *testing.T) {
	for _, c := range []struct {
		name    string
		version int16
		change  func(*kmsg.OffsetCommitRequest, *kmsg.OffsetCommitRequestTopicPartition)
		want    string
	}{
		{"plain", 8, nil, `g a-0: v4 offset 10 epoch -1 "" at 0s`},
		{"leader epoch", 8, func(_ *kmsg.OffsetCommitRequest, p *kmsg.OffsetCommitRequestTopicPartition) { p.LeaderEpoch = 7 }, `g a-0: v4 offset 10 epoch 7 "" at 0s`},
		{"metadata", 8, func(_ *kmsg.OffsetCommitRequest, p *kmsg.OffsetCommitRequestTopicPartition) {
			p.Metadata = kmsg.StringPtr("note")
		}, `g a-0: v4 offset 10 epoch -1 "note" at 0s`},
		{"topic id", 10, func(m *kmsg.OffsetCommitRequest, _ *kmsg.OffsetCommitRequestTopicPartition) {
			m.Topics[0].TopicID = topicOne
		}, `g a-0: v4 offset 10 epoch -1 "" at 0s id 101`},
		{"retention", 3, func(m *kmsg.OffsetCommitRequest, _ *kmsg.OffsetCommitRequestTopicPartition) {
			m.RetentionTimeMillis = 5000
		}, `g a-0: v1 offset 10 epoch -1 "" at 0s until 5s`},
		{"retention of 0", 4, func(m *kmsg.OffsetCommitRequest, _ *kmsg.OffsetCommitRequestTopicPartition) {
			m.RetentionTimeMillis = 0
		}, `g a-0: v1 offset 10 epoch -1 "" at 0s until 0s`},
		{"default retention", 2, func(m *kmsg.OffsetCommitRequest, _ *kmsg.OffsetCommitRequestTopicPartition) {
			m.RetentionTimeMillis = -1
		}, `g a-0: v4 offset 10 epoch -1 "" at 0s`},
		{"retention in a version without it", 5, func(m *kmsg.OffsetCommitRequest, _ *kmsg.OffsetCommitRequestTopicPartition) {
			m.RetentionTimeMillis = 5000
		}, `g a-0: v4 offset 10 epoch -1 "" at 0s`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newOffsetShard()
			m := commitOf(c.version, "g", map[partitionOf]int64{{"a", 0}: 10})
			if c.change != nil {
				c.change(m, &m.Topics[0].Partitions[0])
			}
			resp, records := s.offsetCommit(m, testStart)
			equalLines(t, "records", printRecords(t, records), []string{c.want})
			if resp.Topics[0].TopicID != m.Topics[0].TopicID {
				t.Fatalf("the answer names the topic %v", resp.Topics[0].TopicID)
			}
		})
	}
}

func TestOffsetCommitRetentionOfForever(t *testing.T) {
	m := commitOf(2, "g", nil)
	m.RetentionTimeMillis = math.MaxInt64
	if got := expireTimestampMs(m, testStart); got != math.MaxInt64 {
		t.Fatalf("expires at %d", got)
	}
}

// Metadata that is too long is refused for its partition; the others are written. Its length is
// counted in UTF-16 units.
func TestOffsetCommitMetadataTooLarge(t *testing.T) {
	for _, c := range []struct {
		metadata string
		tooLong  bool
	}{
		{"12345678", false},
		{"123456789", true},
		{strings.Repeat("é", 8), false},
		{strings.Repeat("é", 9), true},
		{strings.Repeat("🙂", 4), false},
		{strings.Repeat("🙂", 4) + "x", true},
	} {
		s := newOffsetShard()
		m := commitOf(8, "g", map[partitionOf]int64{{"a", 0}: 10, {"a", 1}: 11})
		m.Topics[0].Partitions[0].Metadata = &c.metadata
		resp, records := s.offsetCommit(m, testStart)
		want, n := []string{"a-0: 0", "a-1: 0"}, 2
		if c.tooLong {
			want[0], n = fmt.Sprint("a-0: ", kerr.OffsetMetadataTooLarge.Code), 1
		}
		equalLines(t, c.metadata, printCommit(resp), want)
		if len(records) != n {
			t.Fatalf("%q: %d records, want %d", c.metadata, len(records), n)
		}
	}
}

// A response mirrors its request: topics and partitions in order, even those that are there twice.
func TestOffsetCommitMirrorsTheRequest(t *testing.T) {
	s := newOffsetShard()
	m := commitOf(8, "g", map[partitionOf]int64{{"z", 3}: 1})
	m.Topics = append(m.Topics, commitOf(8, "g", map[partitionOf]int64{{"a", 1}: 2}).Topics...)
	m.Topics = append(m.Topics, commitOf(8, "g", map[partitionOf]int64{{"z", 3}: 3}).Topics...)
	resp, records := s.offsetCommit(m, testStart)
	equalLines(t, "answer", printCommit(resp), []string{"z-3: 0", "a-1: 0", "z-3: 0"})
	replayAll(t, s, records)
	equalLines(t, "fetched", printFetch(s.offsetFetch(fetchOf(8, "g"))), []string{`a-1: 2 epoch -1 ""`, `z-3: 3 epoch -1 ""`})
}

func TestOffsetCommitCostsNoStateUntilReplayed(t *testing.T) {
	s := newOffsetShard()
	mustCommit(t, s, commitOf(8, "g", map[partitionOf]int64{{"a", 0}: 1}), testStart)
	s.offsetCommit(commitOf(8, "g", map[partitionOf]int64{{"a", 0}: 2}), testStart.Add(time.Second))
	equalLines(t, "fetched", printFetch(s.offsetFetch(fetchOf(8, "g"))), []string{`a-0: 1 epoch -1 ""`})
}
