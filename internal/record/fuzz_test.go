package record

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// fuzzSeeds adds what Kafka, franz-go and librdkafka wrote, our own batches of every codec, and pieces
// of them.
func fuzzSeeds(f *testing.F, add func([]byte)) {
	f.Helper()
	logs, err := filepath.Glob(filepath.Join("testdata", "*", "*.log"))
	if err != nil || len(logs) == 0 {
		f.Fatalf("no segments in testdata: %v", err)
	}
	for _, name := range logs {
		p, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(p) < 4096 {
			add(p)
		}
	}
	for codec := None; codec <= Zstd; codec++ {
		b := build(f, codec, 5)
		add(b)
		add(b[:len(b)-3])
		add(with(b, countAt, int32(6)))
		add(with(with(b, attributesAt, int16(logAppendTimeBit)|int16(codec)), maxTimestampAt, int64(5)))
		add(append(append([]byte{}, b...), b...))
	}
	add(EndTxnMarker{Commit: true}.Build(1))
	add(nil)
	add(make([]byte, HeaderBytes))
}

// Invariants: First and ReadHeader never panic and agree; what is split off is as long
// as its header says, of format 2, and together with the rest is the input; where nothing is
// split off, the error is one of two and cutting bytes off does not turn
// ErrTruncated into ErrCorrupt.
func FuzzFirst(f *testing.F) {
	fuzzSeeds(f, func(p []byte) { f.Add(p) })
	f.Fuzz(func(t *testing.T, p []byte) {
		b, rest, err := First(p)
		h, headerErr := ReadHeader(p)
		if err != nil {
			if b != nil || len(rest) != len(p) || errors.Is(err, ErrTruncated) == errors.Is(err, ErrCorrupt) {
				t.Fatalf("%d bytes split off with %v", len(b), err)
			}
			if errors.Is(err, ErrTruncated) && len(p) > 0 {
				if _, _, err := First(p[:len(p)-1]); !errors.Is(err, ErrTruncated) {
					t.Fatalf("a byte less: %v", err)
				}
			}
			return
		}
		if headerErr != nil || h != b.Header() || h.SizeBytes != len(b) || b.Magic() != magicV2 {
			t.Fatalf("header %+v, %v of %d bytes", h, headerErr, len(b))
		}
		if !bytes.Equal(append(append([]byte{}, b...), rest...), p) {
			t.Fatal("bytes lost")
		}
	})
}

// Invariants: Validate never panics and never inflates beyond its bound; what it refuses
// it leaves as it was; what it accepts is one batch with a good CRC, offsets 0 to
// count-1 and the true max timestamp, which it accepts again without a change,
// and whose records iterate without an error.
func FuzzValidate(f *testing.F) {
	fuzzSeeds(f, func(p []byte) { f.Add(p, true) })
	f.Fuzz(func(t *testing.T, p []byte, goodCRC bool) {
		if b, _, err := First(p); err == nil && goodCRC {
			b.SetBaseOffset(0)
			b.stampCRC() // or no mutation would get past it
		}
		sent, lim := append([]byte{}, p...), openLimits()
		lim.MaxMessageBytes = 1 << 16
		b, refused := Validate(sent, lim)
		if refused != nil {
			if b != nil || refused.Code == nil || !bytes.Equal(sent, p) {
				t.Fatalf("refused with %v and %d bytes", refused, len(b))
			}
			return
		}
		checkAccepted(t, b)
		again := append(Batch{}, b...)
		if _, refused := Validate(again, lim); refused != nil || !bytes.Equal(again, b) {
			t.Fatalf("the second time: %v", refused)
		}
	})
}

func checkAccepted(t *testing.T, b Batch) {
	t.Helper()
	if !b.CheckCRC() || b.SizeBytes() != len(b) || b.BaseOffset() != 0 || b.Count() < 1 {
		t.Fatalf("accepted %+v, CRC good: %v", b.Header(), b.CheckCRC())
	}
	next, maxTimestamp := int32(0), NoTimestamp
	for r, err := range b.Records() {
		if err != nil || r.OffsetDelta != next {
			t.Fatalf("record %d has delta %d: %v", next, r.OffsetDelta, err)
		}
		next++
		maxTimestamp = max(maxTimestamp, r.Timestamp)
	}
	if next != b.Count() || maxTimestamp != b.MaxTimestamp() {
		t.Fatalf("%d of %d records, max timestamp %d of %d", next, b.Count(), maxTimestamp, b.MaxTimestamp())
	}
}

// Invariants: reading the records of any bytes behind a good header never panics; the
// records before an error are as many as FindTimestamp passes; every header that
// is counted is yielded; and each record, built again, reads the same.
func FuzzRecords(f *testing.F) {
	header := build(f, None, 1)
	fuzzSeeds(f, func(p []byte) {
		if len(p) >= HeaderBytes {
			f.Add(p[HeaderBytes:], int32(5), byte(Batch(p).Attributes().Codec()))
		}
	})
	f.Fuzz(func(t *testing.T, payload []byte, count int32, codec byte) {
		b := with(withPayload(header, Codec(codec%8), payload), countAt, count)
		b = with(with(b, maxTimestampAt, int64(1<<62)), lastOffsetDeltaAt, max(count-1, 0))
		for r, err := range b.Records() {
			if err != nil {
				if !errors.Is(err, ErrCorrupt) {
					t.Fatal(err)
				}
				break
			}
			checkRebuilt(t, &r)
		}
		if _, _, _, err := b.FindTimestamp(1<<62, 0); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	})
}

func checkRebuilt(t *testing.T, r *Record) {
	t.Helper()
	want := made{timestamp: r.Timestamp, key: r.Key, value: r.Value}
	for h := range r.Headers() {
		want.headers = append(want.headers, h)
	}
	if len(want.headers) != r.HeaderCount() {
		t.Fatalf("%d of %d headers", len(want.headers), r.HeaderCount())
	}
	got, err := NewBuilder().Append(want.timestamp, want.key, want.value, want.headers...).MustBuild().Sole()
	if err != nil {
		t.Fatal(err)
	}
	if err := checkRecord(&got, 0, &want); err != nil {
		t.Fatal(err)
	}
}
