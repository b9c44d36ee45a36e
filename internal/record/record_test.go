package record

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/ids"
	"pgregory.net/rapid"
)

// made is what a test asked a builder for.
type made struct {
	delta      int32
	timestamp  int64
	key, value []byte
	headers    []RecordHeader
}

// drawRecords draws the records of one batch: with nulls, with what is empty, larger than
// a piece, out of the order of time, and with gaps where compacted says so.
func drawRecords(t *rapid.T, compacted bool) []made {
	size := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, 150_000))
	field := rapid.Custom(func(t *rapid.T) []byte {
		if rapid.Bool().Draw(t, "null") {
			return nil
		}
		return text(size.Draw(t, "size"))
	})
	records := make([]made, rapid.IntRange(1, 20).Draw(t, "records"))
	next := int32(0)
	for i := range records {
		if compacted {
			next += rapid.Int32Range(0, 100_000).Draw(t, "gap")
		}
		records[i] = made{delta: next, timestamp: rapid.Int64Range(-1, 1<<45).Draw(t, "timestamp"), key: field.Draw(t, "key"), value: field.Draw(t, "value")}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			h := RecordHeader{rapid.StringN(0, 20, 60).Draw(t, "header key"), field.Draw(t, "header value")}
			records[i].headers = append(records[i].headers, h)
		}
		next++
	}
	return records
}

func builderOf(records []made) *Builder {
	b := NewBuilder()
	for _, r := range records {
		b.AppendAt(r.delta, r.timestamp, r.key, r.value, r.headers...)
	}
	return b
}

// same tells whether p and q are equal, null apart from empty.
func same(p, q []byte) bool { return bytes.Equal(p, q) && (p == nil) == (q == nil) }

func checkRecord(got *Record, base ids.Offset, want *made) error {
	if got.Offset != base+ids.Offset(want.delta) || got.OffsetDelta != want.delta || got.Timestamp != want.timestamp {
		return fmt.Errorf("offset %d, delta %d, timestamp %d", got.Offset, got.OffsetDelta, got.Timestamp)
	}
	if !same(got.Key, want.key) || !same(got.Value, want.value) {
		return fmt.Errorf("key %.20q, value %.20q", got.Key, got.Value)
	}
	headers := slices.Collect(got.Headers())
	if got.HeaderCount() != len(want.headers) || !slices.EqualFunc(headers, want.headers, func(g, w RecordHeader) bool {
		return g.Key == w.Key && same(g.Value, w.Value)
	}) {
		return fmt.Errorf("%d headers: %v", got.HeaderCount(), headers)
	}
	return nil
}

// Whatever is built comes out again, through every codec.
func TestBuiltRecordsComeOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t, rapid.Bool().Draw(t, "compacted"))
		b := builderOf(records)
		b.BaseOffset = ids.Offset(rapid.Int64Range(0, 1<<60).Draw(t, "base"))
		codec := Codec(rapid.IntRange(0, 4).Draw(t, "codec"))
		batch, err := b.Build(codec)
		if err != nil {
			t.Fatal(err)
		}
		if first, rest, err := First(batch); err != nil || len(rest) != 0 || !first.CheckCRC() {
			t.Fatalf("no batch: %v", err)
		}
		n := 0
		for r, err := range batch.Records() {
			if err != nil {
				t.Fatalf("record %d, %s: %v", n, codec, err)
			}
			if err := checkRecord(&r, batch.BaseOffset(), &records[n]); err != nil {
				t.Fatalf("record %d, %s: %v, want %.200v", n, codec, err, records[n])
			}
			n++
		}
		if n != len(records) {
			t.Fatalf("%d of %d records", n, len(records))
		}
	})
}

// Every lookup by timestamp finds what a scan over the records finds.
func TestFindTimestampAgreesWithAScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t, rapid.Bool().Draw(t, "compacted"))
		b := builderOf(records)
		b.BaseOffset = 1000
		batch, err := b.Build(Codec(rapid.IntRange(0, 4).Draw(t, "codec")))
		if err != nil {
			t.Fatal(err)
		}
		from := ids.Offset(rapid.Int64Range(990, 1000+int64(batch.LastOffsetDelta())+2).Draw(t, "from"))
		around := rapid.SampledFrom(records).Draw(t, "around").timestamp
		for target := around - 1; target <= around+1; target++ {
			i := slices.IndexFunc(records, func(r made) bool { return r.timestamp >= target && 1000+ids.Offset(r.delta) >= from })
			offset, timestamp, found, err := batch.FindTimestamp(target, from)
			if err != nil || found != (i >= 0) {
				t.Fatalf("found %v, want record %d: %v", found, i, err)
			}
			if found && (offset != 1000+ids.Offset(records[i].delta) || timestamp != records[i].timestamp) {
				t.Fatalf("offset %d, timestamp %d, want record %d", offset, timestamp, i)
			}
		}
	})
}

// Readers see the time of the append, whatever the deltas say.
func TestLogAppendTimeRecordsHaveTheBatchsTime(t *testing.T) {
	b := with(build(t, LZ4, 3), attributesAt, int16(logAppendTimeBit)|int16(LZ4))
	b = with(b, maxTimestampAt, int64(77))
	for r, err := range b.Records() {
		if err != nil || r.Timestamp != 77 {
			t.Fatalf("timestamp %d: %v", r.Timestamp, err)
		}
	}
	offset, timestamp, found, err := b.FindTimestamp(77, 1)
	if err != nil || !found || offset != 1 || timestamp != 77 {
		t.Fatalf("found %v at %d with %d: %v", found, offset, timestamp, err)
	}
}

func TestIterationEndsAtDamage(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		good := build(t, codec, 5)
		for _, c := range []struct {
			name string
			b    Batch
			good int // records before the damage
		}{
			{"one record too few", with(good, countAt, int32(4)), 4},
			{"one record too many", with(good, countAt, int32(6)), 5},
			{"a codec that there is not", with(good, attributesAt, int16(7)), 0},
			{"nothing", withPayload(good, codec, nil), 0},
		} {
			n, failed := 0, error(nil)
			for _, err := range c.b.Records() {
				if failed != nil {
					t.Fatalf("%s, %s: the iteration goes on", c.name, codec)
				}
				if failed = err; err == nil {
					n++
				}
			}
			if !errors.Is(failed, ErrCorrupt) || n != c.good {
				t.Errorf("%s, %s: %d records, then %v", c.name, codec, n, failed)
			}
		}
	}
}

func TestIterationMayStop(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		for r, err := range build(t, codec, 1000).Records() {
			if err != nil {
				t.Fatal(err)
			}
			if r.OffsetDelta == 3 {
				break
			}
		}
	}
}

// A compacted batch may be empty: it keeps the producer's state and the offsets.
func TestEmptyBatch(t *testing.T) {
	b := with(withPayload(build(t, None, 3), None, nil), countAt, int32(0))
	for r, err := range b.Records() {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, _, found, err := b.FindTimestamp(0, 0); found || err != nil {
		t.Fatalf("found %v, %v", found, err)
	}
	if b.LastOffset() != 2 {
		t.Fatalf("last offset %d", b.LastOffset())
	}
}

func TestSole(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		one := mustBuild(t, NewBuilder().Append(5, []byte("k"), nil, RecordHeader{"h", []byte{}}), codec)
		r, err := one.Sole()
		if err != nil {
			t.Fatal(err)
		}
		want := made{timestamp: 5, key: []byte("k"), headers: []RecordHeader{{"h", []byte{}}}}
		if err := checkRecord(&r, 0, &want); err != nil {
			t.Errorf("%s: %v", codec, err)
		}
		for name, b := range map[string]Batch{
			"two":     build(t, codec, 2),
			"none":    with(one, countAt, int32(0)),
			"damaged": withPayload(one, codec, []byte{0x10, 0, 0}),
		} {
			if _, err := b.Sole(); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s, %s: %v", name, codec, err)
			}
		}
	}
}

func TestSoleAllocatesNothing(t *testing.T) {
	b := build(t, None, 1)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := b.Sole(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
