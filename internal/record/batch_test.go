package record

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/ids"
)

// build returns a batch of n small records, a millisecond apart.
func build(t testing.TB, codec Codec, n int) Batch {
	t.Helper()
	b := NewBuilder()
	for i := range n {
		b.Append(openLimits().Now+int64(i), []byte("key"), []byte("a value, a value, a value"))
	}
	return mustBuild(t, b, codec)
}

func mustBuild(t testing.TB, b *Builder, codec Codec) Batch {
	t.Helper()
	batch, err := b.Build(codec)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// with returns a copy of b with a field of the header, or any other bytes, replaced and
// the CRC made to fit.
func with[T int16 | int32 | int64 | uint8](b Batch, at int, v T) Batch {
	c := append(Batch{}, b...)
	if _, err := binary.Encode(c[at:], binary.BigEndian, v); err != nil {
		panic(err)
	}
	if len(c) >= HeaderBytes {
		c.stampCRC()
	}
	return c
}

// withPayload returns a copy of b's header over other records.
func withPayload(b Batch, codec Codec, payload []byte) Batch {
	c := append(append(Batch{}, b[:HeaderBytes]...), payload...)
	c = with(c, lengthAt, int32(len(c)-lengthOverhead))
	return with(c, attributesAt, int16(codec))
}

func TestHeaderFields(t *testing.T) {
	b := NewBuilder()
	b.BaseOffset, b.LeaderEpoch, b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = 1<<40, 7, 1<<33, 9, 100, true
	b.Append(1000, nil, []byte("x")).Append(999, nil, nil).Append(1002, []byte{}, nil)
	batch := mustBuild(t, b, Gzip)
	want := Header{
		BaseOffset: 1 << 40, SizeBytes: len(batch), LeaderEpoch: 7, CRC: batch.CRC(), Attributes: 0x11, LastOffsetDelta: 2,
		BaseTimestamp: 1000, MaxTimestamp: 1002, ProducerID: 1 << 33, ProducerEpoch: 9, BaseSequence: 100, Count: 3,
	}
	if got := batch.Header(); got != want {
		t.Errorf("Header() = %+v, want %+v", got, want)
	}
	got, err := ReadHeader(batch[:HeaderBytes])
	if err != nil || got != want {
		t.Errorf("ReadHeader() = %+v, %v, want %+v", got, err, want)
	}
	if batch.LastOffset() != 1<<40+2 || batch.NextOffset() != 1<<40+3 || got.LastOffset() != 1<<40+2 || got.NextOffset() != 1<<40+3 {
		t.Errorf("the batch ends at %d, the next is %d", batch.LastOffset(), batch.NextOffset())
	}
	if batch.LastSequence() != 102 || batch.Magic() != 2 || !batch.CheckCRC() {
		t.Errorf("last sequence %d, magic %d, CRC good: %v", batch.LastSequence(), batch.Magic(), batch.CheckCRC())
	}
	a := batch.Attributes()
	if a.Codec() != Gzip || !a.Transactional() || a.Control() || a.LogAppendTime() || a.HasDeleteHorizon() {
		t.Errorf("attributes %#x", a)
	}
}

// The leader stamps what it knows without reading the batch again.
func TestStampingIsOutsideTheCRC(t *testing.T) {
	b := build(t, LZ4, 5)
	b.SetBaseOffset(math.MaxInt64 - 10)
	b.SetLeaderEpoch(math.MaxInt32)
	if !b.CheckCRC() || b.BaseOffset() != math.MaxInt64-10 || b.LeaderEpoch() != math.MaxInt32 || b.LastOffset() != math.MaxInt64-6 {
		t.Fatalf("offset %d, epoch %d, CRC good: %v", b.BaseOffset(), b.LeaderEpoch(), b.CheckCRC())
	}
	for at := range len(b) {
		b[at] ^= 0x40
		covered := at >= attributesAt || at >= crcAt && at < attributesAt
		if b.CheckCRC() == covered {
			t.Fatalf("byte %d changed, CRC good: %v", at, b.CheckCRC())
		}
		b[at] ^= 0x40
	}
}

func TestLastSequence(t *testing.T) {
	for _, c := range []struct{ base, delta, want int32 }{
		{-1, 4, -1},
		{0, 0, 0},
		{10, 4, 14},
		{math.MaxInt32, 0, math.MaxInt32},
		{math.MaxInt32, 1, 0},
		{math.MaxInt32 - 1, 4, 2},
	} {
		b := with(with(build(t, None, 1), baseSequenceAt, c.base), lastOffsetDeltaAt, c.delta)
		if got := b.LastSequence(); got != c.want {
			t.Errorf("from %d, %d further: %d, want %d", c.base, c.delta, got, c.want)
		}
	}
}

func TestFirst(t *testing.T) {
	one, two := build(t, None, 1), build(t, Snappy, 20)
	whole := append(append([]byte{}, one...), two...)
	b, rest, err := First(whole)
	if err != nil || string(b) != string(one) || string(rest) != string(two) {
		t.Fatalf("First split %d of %d bytes off, error %v", len(b), len(whole), err)
	}
	if cap(b) != len(b) {
		t.Errorf("appending to the batch would overwrite the one behind it")
	}
	for _, c := range []struct {
		name string
		buf  []byte
		want error
	}{
		{"nothing", nil, ErrTruncated},
		{"no length", one[:11], ErrTruncated},
		{"no magic", one[:16], ErrTruncated},
		{"header but for a byte", one[:HeaderBytes-1], ErrTruncated},
		{"header only", one[:HeaderBytes], ErrTruncated},
		{"all but a byte", one[:len(one)-1], ErrTruncated},
		{"zeros, as a preallocated file has", make([]byte, 100), ErrCorrupt},
		{"length smaller than a header", with(one, lengthAt, int32(HeaderBytes-lengthOverhead-1)), ErrCorrupt},
		{"negative length", with(one, lengthAt, int32(-1)), ErrCorrupt},
		{"smallest length", with(one, lengthAt, int32(math.MinInt32)), ErrCorrupt},
		{"largest length", with(one, lengthAt, int32(math.MaxInt32)), ErrTruncated},
		{"format 1", with(one, magicAt, uint8(1)), ErrCorrupt},
		{"format 3", with(one, magicAt, uint8(3)), ErrCorrupt},
	} {
		b, rest, err := First(c.buf)
		if b != nil || len(rest) != len(c.buf) || !errors.Is(err, c.want) {
			t.Errorf("%s: %d bytes split off, error %v, want %v", c.name, len(b), err, c.want)
		}
		if _, err := ReadHeader(c.buf); !errors.Is(err, c.want) && len(c.buf) < HeaderBytes {
			t.Errorf("%s: ReadHeader says %v, want %v", c.name, err, c.want)
		}
	}
}

func TestCodecNames(t *testing.T) {
	for c := None; c <= Zstd; c++ {
		if got, err := ParseCodec(c.String()); err != nil || got != c {
			t.Errorf("ParseCodec(%q) = %v, %v", c.String(), got, err)
		}
	}
	if c, err := ParseCodec("lzma"); err == nil {
		t.Errorf("ParseCodec(lzma) = %v", c)
	}
	if Codec(5).Known() || Codec(5).String() != "codec 5" {
		t.Errorf("codec 5 is known, or called %q", Codec(5))
	}
}

func TestBuilderRefusesNoRecords(t *testing.T) {
	if b, err := NewBuilder().Build(None); err == nil {
		t.Fatalf("a batch without records: % x", []byte(b))
	}
}

// A builder's batch is the caller's: what the builder does next leaves it alone.
func TestBuilderGivesItsBatchAway(t *testing.T) {
	b := NewBuilder()
	b.BaseOffset = 5
	one := mustBuild(t, b.Append(1, nil, []byte("one")), None)
	b.BaseOffset = one.NextOffset()
	two := mustBuild(t, b.Append(2, nil, []byte("two")), None)
	for i, c := range []struct {
		batch Batch
		value string
	}{{one, "one"}, {two, "two"}} {
		r, err := c.batch.Sole()
		if err != nil || string(r.Value) != c.value || r.Offset != ids.Offset(5+i) || r.Timestamp != int64(i+1) {
			t.Errorf("batch %d holds %q at %d, %d: %v", i, r.Value, r.Offset, r.Timestamp, err)
		}
	}
}

// The example in the page on the format is one.
func TestDocumentedExample(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "format", "batch.md"))
	if err != nil {
		t.Fatal(err)
	}
	var documented []byte
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "000000") || len(line) < 58 {
			continue
		}
		p, err := hex.DecodeString(strings.ReplaceAll(line[10:58], " ", ""))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		documented = append(documented, p...)
	}
	built := NewBuilder().Append(1700000000000, []byte("k"), []byte("v")).MustBuild()
	if string(documented) != string(built) {
		t.Fatalf("documented\n%sbuilt\n%s", hex.Dump(documented), hex.Dump(built))
	}
}
