package group

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// expireAt makes the check at a time, however long ago the last one was.
func expireAt(s *Shard, now time.Time) []string {
	s.offsets.nextCheck = now
	var lines []string
	for _, r := range s.expireOffsets(now) {
		key, err := decodeKey(r.Key)
		switch k := key.(type) {
		case *kmsg.OffsetCommitKey:
			lines = append(lines, fmt.Sprintf("%s-%d", k.Topic, k.Partition))
		case *kmsg.GroupMetadataKey:
			lines = append(lines, "group")
		default:
			lines = append(lines, err.Error())
		}
		if r.Value != nil {
			lines = append(lines, "not a tombstone")
		}
	}
	return lines
}

// From when on offsets age, by the state of their group. The offset of topic a is committed at the start, that of b
// an hour later; both checks are made to the millisecond.
func TestOffsetsExpire(t *testing.T) {
	const hour = time.Hour
	both := []string{"a-0", "b-0", "group"}
	for _, c := range []struct {
		name  string
		group *testGroup
		after time.Duration // from the start, in addition to the retention
		want  []string
	}{
		{"simple group: the first", nil, 0, []string{"a-0"}},
		{"simple group: both, and the group", nil, hour, both},
		{"empty since before the commits: from that time on", &testGroup{protocol: "consumer", emptySince: testStart.Add(-hour)}, -hour, both},
		{"empty since after the commits", &testGroup{protocol: "consumer", emptySince: testStart.Add(2 * hour)}, 2 * hour, both},
		{"empty of another type", &testGroup{protocol: "connect", emptySince: testStart.Add(2 * hour)}, 2 * hour, both},
		{"empty since nobody knows when: from each commit", &testGroup{protocol: "consumer"}, 0, []string{"a-0"}},
		{"stable: only what is not read", &testGroup{protocol: "consumer", member: "m", stable: true, topics: []string{"a"}}, hour, []string{"b-0"}},
		{"stable: nothing is read any more", &testGroup{protocol: "consumer", member: "m", stable: true, topics: []string{"x"}}, hour, []string{"a-0", "b-0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newOffsetShard()
			mustCommit(t, s, commitOf(8, "g", map[partitionOf]int64{{"a", 0}: 1}), testStart)
			mustCommit(t, s, commitOf(8, "g", map[partitionOf]int64{{"b", 0}: 1}), testStart.Add(hour))
			if c.group != nil {
				putGroup(s, "g", *c.group)
			}
			at := testStart.Add(testRetention + c.after)
			equalLines(t, "a millisecond early", expireAt(s, at.Add(-time.Millisecond)), earlier(c.want, c.after))
			equalLines(t, "in time", expireAt(s, at), c.want)
		})
	}
}

// earlier is what goes a millisecond before: where the first commit's offset has gone an hour before, it goes then too.
func earlier(want []string, after time.Duration) []string {
	if after == time.Hour && want[0] == "a-0" {
		return []string{"a-0"}
	}
	return nil
}

// What never expires, however old it is.
func TestOffsetsDoNotExpire(t *testing.T) {
	for _, c := range []struct {
		name  string
		group testGroup
	}{
		{"stable, read", testGroup{protocol: "consumer", member: "m", stable: true, topics: []string{"a"}}},
		{"stable, unknown what is read", testGroup{protocol: "consumer", member: "m", stable: true}},
		{"in a rebalance", testGroup{protocol: "consumer", member: "m", topics: []string{"x"}}},
		{"members of another type", testGroup{protocol: "connect", member: "m", stable: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newOffsetShard()
			mustCommit(t, s, commitOf(8, "g", map[partitionOf]int64{{"a", 0}: 1}), testStart)
			custom := commitOf(3, "g", map[partitionOf]int64{{"a", 1}: 1})
			custom.RetentionTimeMillis = 1000
			mustCommit(t, s, custom, testStart)
			putGroup(s, "g", c.group)
			equalLines(t, "check", expireAt(s, testStart.Add(100*testRetention)), nil)
		})
	}
}

// A time of expiry that came with the commit decides alone, be it before or after the broker's retention.
func TestOffsetsExpireAtTheirOwnTime(t *testing.T) {
	for _, retention := range []time.Duration{0, time.Minute, 3 * testRetention} {
		for _, group := range []testGroup{{}, {protocol: "consumer", emptySince: testStart}} {
			s := newOffsetShard()
			m := commitOf(4, "g", map[partitionOf]int64{{"a", 0}: 1})
			m.RetentionTimeMillis = retention.Milliseconds()
			mustCommit(t, s, m, testStart)
			putGroup(s, "g", group)
			equalLines(t, "early", expireAt(s, testStart.Add(retention-time.Millisecond)), nil)
			equalLines(t, "in time", expireAt(s, testStart.Add(retention)), []string{"a-0", "group"})
		}
	}
}

// Groups without members and offsets go, others stay.
func TestEmptyGroupsExpire(t *testing.T) {
	s := newOffsetShard()
	putGroup(s, "empty", testGroup{protocol: "consumer", emptySince: testStart})
	putGroup(s, "full", testGroup{protocol: "consumer", member: "m", stable: true, topics: []string{}})
	putGroup(s, "simple", testGroup{})
	mustCommit(t, s, commitOf(8, "offsets", map[partitionOf]int64{{"a", 0}: 1}), testStart)
	equalLines(t, "check", expireAt(s, testStart), []string{"group", "group"})
	s.offsets.nextCheck = testStart
	replayAll(t, s, s.expireOffsets(testStart))
	if len(s.groups) != 2 || s.groups["full"] == nil || s.groups["offsets"] == nil {
		t.Fatalf("left %v", s.groups)
	}
}

// What expires together goes by name and number, so that a check writes the same wherever it is made.
func TestOffsetsExpireInOrder(t *testing.T) {
	s := newOffsetShard()
	offsets := make(map[partitionOf]int64)
	var want []string
	for _, topic := range []string{"a", "b"} {
		for p := range int32(12) {
			offsets[partitionOf{topic, p}] = 1
			want = append(want, fmt.Sprintf("%s-%d", topic, p))
		}
	}
	mustCommit(t, s, commitOf(8, "g", offsets), testStart)
	equalLines(t, "check", expireAt(s, testStart.Add(testRetention)), append(want, "group"))
}

// When the shard is due: never while it has nothing, and an interval after it has something or after a check.
func TestExpiryDue(t *testing.T) {
	s := newOffsetShard()
	if due := s.expiryDue(); !due.IsZero() {
		t.Fatalf("a shard without groups is due at %v", due)
	}
	mustCommit(t, s, commitOf(8, "g", map[partitionOf]int64{{"a", 0}: 1}), testStart)
	now := testStart.Add(100 * testRetention)
	if due := s.expiryDue(); due.IsZero() || due.After(now) {
		t.Fatalf("the first group is due at %v, not at once, to begin the interval", due)
	}
	if records := s.expireOffsets(now); len(records) != 0 {
		t.Fatalf("the first call removes %d", len(records))
	}
	for range 2 {
		if due := s.expiryDue(); !due.Equal(now.Add(testInterval)) {
			t.Fatalf("due at %v, not %v", due, now.Add(testInterval))
		}
		if records := s.expireOffsets(now.Add(testInterval - 1)); len(records) != 0 {
			t.Fatalf("a call before it is due removes %d", len(records))
		}
		now = now.Add(testInterval)
		if records := s.expireOffsets(now); len(records) != 2 {
			t.Fatalf("%d records, want 2; those of before were not replayed", len(records))
		}
	}
	now = now.Add(testInterval)
	replayAll(t, s, s.expireOffsets(now))
	if due := s.expiryDue(); !due.IsZero() {
		t.Fatalf("due at %v with nothing left", due)
	}
	mustCommit(t, s, commitOf(8, "h", map[partitionOf]int64{{"a", 0}: 1}), testStart)
	if records := s.expireOffsets(now.Add(testInterval)); len(records) != 0 {
		t.Fatalf("a new group has no interval before its first check: %q", printRecords(t, records))
	}
}

// A configuration that sets no interval has nothing checked, rather than all the time.
func TestExpiryWithoutAnInterval(t *testing.T) {
	s := newOffsetShard()
	s.cfg = func() Config { return Config{} }
	mustCommit(t, s, commitOf(8, "g", map[partitionOf]int64{{"a", 0}: 1}), testStart)
	if due := s.expiryDue(); !due.IsZero() {
		t.Fatalf("due at %v", due)
	}
}

// A check of very many is cut into batches, a second apart, and ends with everything removed.
func TestExpiryIsCutIntoBatches(t *testing.T) {
	s := newOffsetShard()
	topic := strings.Repeat("t", 200)
	for i := range 4 {
		offsets := make(map[partitionOf]int64)
		for p := range int32(1000) {
			offsets[partitionOf{topic, p}] = 1
		}
		mustCommit(t, s, commitOf(8, fmt.Sprint("g", i), offsets), testStart)
	}
	now := testStart.Add(2 * testRetention)
	s.expireOffsets(now)
	now = now.Add(testInterval)
	passes, removed := 0, 0
	for ; !s.expiryDue().IsZero(); passes++ {
		records := s.expireOffsets(now)
		size := 0
		for _, r := range records {
			size += len(r.Key)
		}
		if size > expiryBytesMax+1000 || len(records) == 0 {
			t.Fatalf("pass %d: %d records of %d bytes", passes, len(records), size)
		}
		replayAll(t, s, records)
		removed += len(records)
		if due := s.expiryDue(); !due.IsZero() && !due.Equal(now.Add(expiryPause)) {
			t.Fatalf("pass %d: due %v later", passes, due.Sub(now))
		}
		now = now.Add(expiryPause)
	}
	if removed != 4*1000+4 || passes < 3 {
		t.Fatalf("%d records in %d passes", removed, passes)
	}
}
