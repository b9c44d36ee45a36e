package group

import (
	"fmt"
	goruntime "runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
)

const benchOffsets = 100_000

// offsetShapes are ways to have benchOffsets offsets.
var offsetShapes = []struct {
	name                       string
	groups, topics, partitions int
}{
	{"1 group, 100 topics, 1000 partitions", 1, 100, 1000},
	{"1 group, 1 topic, 100000 partitions", 1, 1, 100_000},
	{"1000 groups, 10 topics, 10 partitions", 1000, 10, 10},
	{"10000 groups, 1 topic, 10 partitions", 10_000, 1, 10},
	{"100000 groups, 1 topic, 1 partition", 100_000, 1, 1},
}

func shapedRecords(groups, topics, partitions int) []runtime.Record {
	records := make([]runtime.Record, 0, groups*topics*partitions)
	for g := range groups {
		for t := range topics {
			for p := range partitions {
				records = append(records, offsetRecord(fmt.Sprint("group-", g), fmt.Sprint("topic-", t), int32(p), committedOffset{
					offset: int64(p), commitTimestampMs: 1, expireTimestampMs: noTimestamp, leaderEpoch: 1, topicID: topicOne,
				}))
			}
		}
	}
	return records
}

// loadOffsets replays as loading a partition does.
func loadOffsets(tb testing.TB, records []runtime.Record) *Shard {
	s := newOffsetShard()
	for _, r := range records {
		key, err := decodeKey(r.Key)
		if err != nil {
			tb.Fatal(err)
		}
		value, err := decodeOffsetValue(r.Value)
		if err != nil {
			tb.Fatal(err)
		}
		if err := s.replayOffset(key.(*kmsg.OffsetCommitKey), value, 0); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

// heapPerOffset returns how many bytes stay for each of benchOffsets offsets.
func heapPerOffset(tb testing.TB, records []runtime.Record) float64 {
	var before, after goruntime.MemStats
	goruntime.GC()
	goruntime.ReadMemStats(&before)
	s := loadOffsets(tb, records)
	goruntime.GC()
	goruntime.ReadMemStats(&after)
	goruntime.KeepAlive(s)
	goruntime.KeepAlive(records)
	return float64(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / benchOffsets
}

// BenchmarkLoadOffsets replays 100,000 committed offsets, and says how much heap each keeps.
func BenchmarkLoadOffsets(b *testing.B) {
	for _, shape := range offsetShapes {
		b.Run(shape.name, func(b *testing.B) {
			records := shapedRecords(shape.groups, shape.topics, shape.partitions)
			b.ReportAllocs()
			for b.Loop() {
				loadOffsets(b, records)
			}
			b.ReportMetric(heapPerOffset(b, records), "heapB/offset")
		})
	}
}

// Offsets cost little heap each where a group has many, which is where there are many.
func TestOffsetsAreCompact(t *testing.T) {
	const bytesMax = 130
	records := shapedRecords(10, 10, 1000)
	if got := heapPerOffset(t, records); got > bytesMax || got <= 0 {
		t.Fatalf("%.0f bytes for each of %d offsets, more than %d", got, benchOffsets, bytesMax)
	}
}

// BenchmarkExpireNothing is the check of a shard with 100,000 offsets that all stay.
func BenchmarkExpireNothing(b *testing.B) {
	s := loadOffsets(b, shapedRecords(1000, 10, 10))
	now := time.UnixMilli(2)
	for b.Loop() {
		s.offsets.nextCheck = now
		if records := s.expireOffsets(now); len(records) != 0 {
			b.Fatalf("%d records", len(records))
		}
	}
}

func BenchmarkOffsetCommit(b *testing.B) {
	s := newOffsetShard()
	m := commitOf(8, "group", map[partitionOf]int64{{"topic", 0}: 1, {"topic", 1}: 2})
	b.ReportAllocs()
	for b.Loop() {
		if _, records := s.offsetCommit(m, testStart); len(records) != 2 {
			b.Fatal(len(records))
		}
	}
}
