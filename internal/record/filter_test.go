package record

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/ids"
	"pgregory.net/rapid"
)

// What stays of a batch has the offsets, timestamps, keys, values and headers that it had, and the
// batch its range of offsets, its producer and its codec; once more, and once more after that.
func TestFilterKeepsWhatItIsTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t, true)
		codec := Codec(rapid.IntRange(int(None), int(Zstd)).Draw(t, "codec"))
		builder := builderOf(records)
		builder.BaseOffset, builder.LeaderEpoch = 1_000_000, 3
		builder.ProducerID, builder.ProducerEpoch, builder.BaseSequence = 7, 8, 9
		b, err := builder.Build(codec)
		if err != nil {
			t.Fatal(err)
		}
		first := b.Header()
		horizon := int64(0)
		var f Filter
		for round := int64(1); round <= 3; round++ {
			var kept []made
			stay := make(map[ids.Offset]bool)
			tombstones := false
			for _, r := range records {
				if rapid.Bool().Draw(t, "stays") {
					kept, stay[b.BaseOffset()+ids.Offset(r.delta)] = append(kept, r), true
					tombstones = tombstones || r.value == nil
				}
			}
			f.Keep, f.DeleteHorizonMs, f.MaxMessageBytes = func(r *Record) bool { return stay[r.Offset] }, 5000*round, 1<<20
			stamp := rapid.Bool().Draw(t, "stamp")
			out, err := f.Apply(b, stamp)
			if err != nil {
				t.Fatal(err)
			}
			if out.Read != len(records) || out.Kept != len(kept) {
				t.Fatalf("%d of %d records, want %d of %d", out.Kept, out.Read, len(kept), len(records))
			}
			if len(kept) == 0 {
				if out.Batch != nil {
					t.Fatal("a batch without records")
				}
				return
			}
			if horizon == 0 && (tombstones || stamp) {
				horizon = f.DeleteHorizonMs
			}
			b, records = slices.Clone(out.Batch), kept
			if err := checkFiltered(b, first, records, horizon); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// checkFiltered compares a filtered batch with the header that it had first and the records that it must have.
func checkFiltered(b Batch, first Header, records []made, horizon int64) error {
	if !b.CheckCRC() || b.SizeBytes() != len(b) {
		return fmt.Errorf("%d bytes, header %+v", len(b), b.Header())
	}
	want := first
	want.Count, want.MaxTimestamp = int32(len(records)), NoTimestamp
	for _, r := range records {
		want.MaxTimestamp = max(want.MaxTimestamp, r.timestamp)
	}
	if horizon > 0 {
		want.BaseTimestamp, want.Attributes = horizon, want.Attributes|deleteHorizonBit
	}
	got := b.Header()
	want.SizeBytes, want.CRC = got.SizeBytes, got.CRC
	if len(records) < int(first.Count) && got != want || got.MaxTimestamp != want.MaxTimestamp || got.LastOffsetDelta != want.LastOffsetDelta {
		return fmt.Errorf("header %+v, want %+v", got, want)
	}
	i := 0
	for r, err := range b.Records() {
		if err == nil {
			err = checkRecord(&r, first.BaseOffset, &records[i])
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
		i++
	}
	return nil
}

// A batch of which nothing has to change is not touched, and one that has its delete horizon keeps that.
func TestFilterLeavesWholeBatchesAlone(t *testing.T) {
	all := &Filter{Keep: func(*Record) bool { return true }, DeleteHorizonMs: 99}
	for codec := None; codec <= Zstd; codec++ {
		b := build(t, codec, 4)
		out, err := all.Apply(b, false)
		if err != nil || &out.Batch[0] != &b[0] {
			t.Errorf("%s: another batch, %v", codec, err)
		}
		stamped, err := all.Apply(b, true)
		if err != nil {
			t.Fatal(err)
		}
		b = slices.Clone(stamped.Batch)
		if ms, set := b.DeleteHorizon(); !set || ms != 99 || !b.CheckCRC() {
			t.Errorf("%s: delete horizon %d, %v", codec, ms, set)
		}
		again := &Filter{Keep: all.Keep, DeleteHorizonMs: 100}
		if out, err = again.Apply(b, true); err != nil || &out.Batch[0] != &b[0] {
			t.Errorf("%s: the horizon has moved: %v", codec, err)
		}
	}
}

// The time of LogAppendTime records is the header's, whatever becomes of their deltas.
func TestFilterKeepsLogAppendTime(t *testing.T) {
	b := with(with(build(t, None, 3), attributesAt, int16(logAppendTimeBit)), maxTimestampAt, int64(77))
	f := &Filter{Keep: func(r *Record) bool { return r.OffsetDelta > 0 }, DeleteHorizonMs: 1 << 50}
	out, err := f.Apply(b, true)
	if err != nil || out.Kept != 2 {
		t.Fatal(out, err)
	}
	for r, err := range out.Batch.Records() {
		if err != nil || r.Timestamp != 77 {
			t.Errorf("timestamp %d: %v", r.Timestamp, err)
		}
	}
}

// What stays must fit the memory that a producer's batch may take.
func TestFilterIsBounded(t *testing.T) {
	value := []byte(strings.Repeat("0", 8<<20))
	b := mustBuild(t, NewBuilder().Append(1, []byte("a"), value).Append(1, []byte("b"), value).Append(1, []byte("c"), value), Zstd)
	f := &Filter{Keep: func(r *Record) bool { return r.OffsetDelta == 0 }, MaxMessageBytes: 1000}
	if out, err := f.Apply(b, false); err != nil || out.Kept != 1 {
		t.Fatal(out.Kept, err)
	}
	f.Keep = func(r *Record) bool { return true }
	if _, err := f.Apply(b, false); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("24 MB of %d bytes: %v", len(b), err)
	}
}

func TestFilterFindsDamage(t *testing.T) {
	f := &Filter{Keep: func(*Record) bool { return true }}
	for codec := None; codec <= Zstd; codec++ {
		good := build(t, codec, 5)
		for _, b := range []Batch{with(good, countAt, int32(4)), with(good, countAt, int32(6)), withPayload(good, codec, nil)} {
			if _, err := f.Apply(b, false); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s, %d records, %d bytes: %v", codec, b.Count(), len(b), err)
			}
		}
	}
}

func TestEmptied(t *testing.T) {
	builder := NewBuilder()
	builder.BaseOffset, builder.LeaderEpoch, builder.ProducerID, builder.ProducerEpoch, builder.BaseSequence, builder.Transactional = 50, 2, 7, 8, 9, true
	b := mustBuild(t, builder.AppendAt(3, 1000, []byte("k"), nil).AppendAt(5, 999, []byte("l"), nil), LZ4)
	want := b.Header()
	want.SizeBytes, want.Count, want.BaseTimestamp, want.Attributes = HeaderBytes, 0, NoTimestamp, transactionalBit
	e := b.Emptied()
	got := e.Header()
	want.CRC = got.CRC
	if got != want || !e.CheckCRC() || len(e) != HeaderBytes {
		t.Fatalf("%+v, want %+v", got, want)
	}
	if out, err := (&Filter{}).Apply(e, true); err != nil || out.Batch != nil || out.Read != 0 {
		t.Fatal(out, err)
	}
	if m := (EndTxnMarker{ProducerID: 7, Commit: true}).Build(5).Emptied(); !m.Attributes().Control() || m.Count() != 0 {
		t.Fatalf("%+v", m.Header())
	}
}
