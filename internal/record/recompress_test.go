package record

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Whatever a batch was compressed with, and whatever it is compressed with then, it has the same records
// and the same header but for the codec, the length and the CRC.
func TestRecompress(t *testing.T) {
	lim := openLimits()
	for from := None; from <= Zstd; from++ {
		for to := None; to <= Zstd; to++ {
			b := build(t, from, 7)
			b.SetBaseOffset(0)
			again, err := b.Recompress(to, DefaultLevel(to), lim)
			if err != nil {
				t.Fatalf("%s to %s: %v", from, to, err)
			}
			if from == to {
				if &again[0] != &b[0] {
					t.Errorf("%s was compressed once more", from)
				}
				continue
			}
			if !again.CheckCRC() || again.SizeBytes() != len(again) || again.Attributes().Codec() != to {
				t.Fatalf("%s to %s: %+v", from, to, again.Header())
			}
			want, got := b.Header(), again.Header()
			got.SizeBytes, got.Attributes, got.CRC = want.SizeBytes, want.Attributes, want.CRC
			if got != want || !slices.Equal(recordsOf(t, again), recordsOf(t, b)) {
				t.Errorf("%s to %s: %+v, want %+v", from, to, got, want)
			}
			if _, err := Validate(append([]byte{}, again...), lim); err != nil {
				t.Errorf("%s to %s: %v", from, to, err)
			}
		}
	}
}

func recordsOf(t *testing.T, b Batch) (all []string) {
	t.Helper()
	for r, err := range b.Records() {
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%d %d %q %q", r.OffsetDelta, r.Timestamp, r.Key, r.Value)
		for h := range r.Headers() {
			line += fmt.Sprintf(" %s=%q", h.Key, h.Value)
		}
		all = append(all, line)
	}
	return all
}

// Every level that a config may have works, and a higher one does not do worse on what compresses well.
func TestRecompressLevels(t *testing.T) {
	text := bytes.Repeat([]byte("the quick brown fox jumps over the lazy dog, and so on; "), 2000)
	plain := mustBuild(t, NewBuilder().Append(1, nil, text), None)
	for codec, levels := range map[Codec][]int{
		Gzip: {-1, 1, 5, 9}, LZ4: {1, 3, 9, 12, 17}, Zstd: {-131072, -5, 1, 3, 10, 22},
	} {
		for _, level := range levels {
			b, err := plain.Recompress(codec, level, openLimits())
			if err != nil || len(b) > len(text)/10 || !slices.Equal(recordsOf(t, b), recordsOf(t, plain)) {
				t.Errorf("%s at level %d: %d bytes, %v", codec, level, len(b), err)
			}
		}
	}
}

// What grows beyond the limits when it is taken apart, or put together, is refused.
func TestRecompressLimits(t *testing.T) {
	zeros := make([]byte, 100_000)
	small := mustBuild(t, NewBuilder().Append(1, nil, zeros), Zstd)
	lim := openLimits()
	lim.MaxMessageBytes = 10_000
	if _, err := small.Recompress(None, 0, lim); err == nil || err.Code != kerr.MessageTooLarge {
		t.Errorf("beyond max.message.bytes: %v", err)
	}
	lim = openLimits()
	lim.SegmentBytes = 10_000
	if _, err := small.Recompress(None, 0, lim); err == nil || err.Code != kerr.RecordListTooLarge {
		t.Errorf("beyond segment.bytes: %v", err)
	}
	bomb := mustBuild(t, NewBuilder().Append(1, nil, make([]byte, 20<<20)), Zstd)
	lim = openLimits()
	lim.MaxMessageBytes = 1000
	if _, err := bomb.Recompress(Gzip, -1, lim); err == nil || err.Code != kerr.MessageTooLarge {
		t.Errorf("a bomb: %v", err)
	}
}

// With LogAppendTime every accepted batch has the time of its append, whatever its records say; a producer that
// chooses it himself is refused.
func TestValidateLogAppendTime(t *testing.T) {
	lim := openLimits()
	lim.LogAppendTime, lim.TimestampBeforeMaxMs, lim.TimestampAfterMaxMs = true, 0, 0
	for codec := None; codec <= Zstd; codec++ {
		sent := build(t, codec, 3)
		b, err := Validate(append([]byte{}, sent...), lim)
		if err != nil {
			t.Fatalf("%s: %v", codec, err)
		}
		if b.MaxTimestamp() != lim.Now || !b.Attributes().LogAppendTime() || b.Attributes().Codec() != codec || !b.CheckCRC() {
			t.Errorf("%s: %+v", codec, b.Header())
		}
		for r, err := range b.Records() {
			if err != nil || r.Timestamp != lim.Now {
				t.Errorf("%s: record at %d, %v", codec, r.Timestamp, err)
			}
		}
		if b.BaseTimestamp() != sent.BaseTimestamp() {
			t.Errorf("%s: the records' own times have changed", codec)
		}
		_, err = Validate(with(sent, attributesAt, int16(logAppendTimeBit)|int16(codec)), lim)
		if err == nil || err.Code != kerr.InvalidTimestamp || len(err.Records) != 3 {
			t.Errorf("%s with the bit: %v", codec, err)
		}
	}
}
