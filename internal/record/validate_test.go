package record

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/twmb/franz-go/pkg/kerr"
)

// validateCase is one row: what was sent, and Kafka 4.3's answer to it, nil for none.
// All were put to Apache Kafka 4.3.1; where the answer here is another on purpose,
// differs says so.
type validateCase struct {
	name    string
	records []byte
	lim     func(*Limits)
	want    *kerr.Error
	bad     []int32 // indexes of RecordErrors
	differs string
}

func (c *validateCase) run(t *testing.T) {
	lim := openLimits()
	if c.lim != nil {
		c.lim(lim)
	}
	sent := append([]byte{}, c.records...)
	b, err := Validate(sent, lim)
	if c.want == nil {
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		if !b.CheckCRC() || b.SizeBytes() != len(b) {
			t.Fatalf("accepted with %d bytes, size %d, CRC good: %v", len(b), b.SizeBytes(), b.CheckCRC())
		}
		return
	}
	if err == nil {
		t.Fatalf("accepted, want %s", c.want.Message)
	}
	if err.Code != c.want || !errors.Is(err, c.want) || b != nil || err.Message == "" {
		t.Fatalf("refused with %v and batch of %d bytes, want %s", err, len(b), c.want.Message)
	}
	var bad []int32
	for _, r := range err.Records {
		bad = append(bad, r.Index)
	}
	if len(bad) != len(c.bad) {
		t.Fatalf("blames records %v, want %v", bad, c.bad)
	}
	for i := range bad {
		if bad[i] != c.bad[i] {
			t.Fatalf("blames records %v, want %v", bad, c.bad)
		}
	}
	if !bytes.Equal(sent, c.records) {
		t.Fatal("a refused batch was changed")
	}
}

func runValidateCases(t *testing.T, cases []validateCase) {
	for _, c := range cases {
		t.Run(c.name, c.run)
	}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// ProduceRequest.validateRecords: what there is at all.
func TestValidateOneBatch(t *testing.T) {
	ok := build(t, None, 3)
	runValidateCases(t, []validateCase{
		{name: "one batch", records: ok},
		{name: "no bytes", want: kerr.InvalidRecord},
		{name: "less than a length", records: make([]byte, 11), want: kerr.InvalidRecord},
		{name: "length but no magic", records: ok[:16], want: kerr.InvalidRecord},
		{name: "zeros", records: make([]byte, 12), want: kerr.CorruptMessage},
		{name: "cut short", records: ok[:100], want: kerr.InvalidRecord},
		{name: "two batches", records: join(ok, ok), want: kerr.InvalidRecord},
		{name: "bytes behind it that are no batch are dropped", records: join(ok, []byte{1, 2, 3, 4, 5})},
		{name: "a batch behind it that is cut short is dropped", records: join(ok, ok[:70])},
		{name: "zeros behind it", records: join(ok, make([]byte, 12)), want: kerr.CorruptMessage},
		{name: "an impossible format behind it", records: join(ok, with(ok, magicAt, uint8(9))[:24]), want: kerr.CorruptMessage},
		{name: "format 0", records: with(ok, magicAt, uint8(0)), want: kerr.InvalidRecord},
		{name: "format 1", records: with(ok, magicAt, uint8(1)), want: kerr.InvalidRecord},
		{name: "format 3", records: with(ok, magicAt, uint8(3)), want: kerr.CorruptMessage},
		{name: "format 255", records: with(ok, magicAt, uint8(255)), want: kerr.CorruptMessage},
		{name: "negative length", records: with(ok, lengthAt, int32(-1)), want: kerr.CorruptMessage},
		{name: "length 13", records: with(ok, lengthAt, int32(13))[:25], want: kerr.CorruptMessage},
		{name: "length 14", records: with(ok, lengthAt, int32(14))[:26], want: kerr.CorruptMessage, differs: "Kafka fails with -1"},
		{name: "length 48", records: with(ok, lengthAt, int32(48))[:60], want: kerr.CorruptMessage},
		{name: "zstd by Produce 6", records: build(t, Zstd, 3), lim: func(l *Limits) { l.ProduceVersion = 6 }, want: kerr.UnsupportedCompressionType},
		{name: "zstd by Produce 7", records: build(t, Zstd, 3), lim: func(l *Limits) { l.ProduceVersion = 7 }},
		{name: "lz4 by Produce 3", records: build(t, LZ4, 3), lim: func(l *Limits) { l.ProduceVersion = 3 }},
	})
}

// UnifiedLog.analyzeAndValidateRecords and LogValidator.validateBatch.
func TestValidateHeader(t *testing.T) {
	ok := build(t, None, 3)
	flipped := with(ok, crcAt, int32(0))
	flipped[crcAt] ^= 1
	small := func(l *Limits) { l.MaxMessageBytes = int32(len(ok)) - 1 }
	runValidateCases(t, []validateCase{
		{name: "base offset", records: with(ok, baseOffsetAt, int64(1)), want: kerr.InvalidRecord},
		{name: "as large as max.message.bytes", records: ok, lim: func(l *Limits) { l.MaxMessageBytes = int32(len(ok)) }},
		{name: "larger than max.message.bytes", records: ok, lim: small, want: kerr.MessageTooLarge},
		{name: "larger than max.message.bytes, CRC wrong too", records: flipped, lim: small, want: kerr.MessageTooLarge},
		{name: "as large as segment.bytes", records: ok, lim: func(l *Limits) { l.SegmentBytes = int32(len(ok)) }},
		{name: "larger than segment.bytes", records: ok, lim: func(l *Limits) { l.SegmentBytes = int32(len(ok)) - 1 }, want: kerr.RecordListTooLarge},
		{name: "CRC", records: flipped, want: kerr.CorruptMessage},
		{name: "base offset, CRC wrong too", records: func() []byte {
			b := append(Batch{}, flipped...)
			b.SetBaseOffset(9)
			return b
		}(), want: kerr.InvalidRecord},
		{name: "no records", records: with(with(ok, countAt, int32(0)), lastOffsetDeltaAt, int32(-1)), want: kerr.InvalidRecord},
		{name: "count 0", records: with(ok, countAt, int32(0)), want: kerr.InvalidRecord},
		{name: "count -1", records: with(ok, countAt, int32(-1)), want: kerr.InvalidRecord},
		{name: "count below the offsets", records: with(ok, countAt, int32(2)), want: kerr.InvalidRecord},
		{name: "count above the offsets", records: with(ok, countAt, int32(4)), want: kerr.InvalidRecord},
		{name: "last offset delta overflows", records: with(with(ok, lastOffsetDeltaAt, int32(math.MaxInt32)), countAt, int32(math.MinInt32)), want: kerr.InvalidRecord},
		{name: "control batch", records: with(ok, attributesAt, int16(controlBit)), want: kerr.InvalidRecord},
		{name: "producer without sequence", records: with(ok, producerIDAt, int64(5)), want: kerr.InvalidRecord},
		{name: "producer 0 without sequence", records: with(ok, producerIDAt, int64(0)), want: kerr.InvalidRecord},
		{name: "producer with sequence", records: with(with(ok, producerIDAt, int64(5)), baseSequenceAt, int32(0))},
		{name: "sequence without producer", records: with(ok, baseSequenceAt, int32(5))},
		{name: "producer -2 without sequence", records: with(ok, producerIDAt, int64(-2))},
		{name: "transactional bit is judged elsewhere", records: with(ok, attributesAt, int16(transactionalBit))},
		{name: "delete horizon bit", records: with(ok, attributesAt, int16(deleteHorizonBit))},
		{name: "unused bits", records: with(ok, attributesAt, int16(-128))},
		{name: "codec 5", records: with(ok, attributesAt, int16(5)), want: kerr.UnsupportedCompressionType, differs: "Kafka fails with -1"},
		{name: "codec 7", records: with(ok, attributesAt, int16(7)), want: kerr.UnsupportedCompressionType, differs: "Kafka fails with -1"},
	})
}

// DefaultRecord.readFrom and DefaultRecordBatch's iterators.
func TestValidateRecordStructure(t *testing.T) {
	header := build(t, None, 1)
	one := func(record ...byte) []byte { return withPayload(header, None, record) }
	cases := []validateCase{
		{name: "null key and value", records: one(12, 0, 0, 0, 1, 1, 0)},
		{name: "size one too large", records: one(14, 0, 0, 0, 1, 1, 0), want: kerr.InvalidRecord},
		{name: "size one too small", records: one(10, 0, 0, 0, 1, 1, 0), want: kerr.InvalidRecord},
		{name: "negative size", records: one(1, 0, 0, 0, 1, 1, 0), want: kerr.InvalidRecord},
		{name: "size of too many bytes", records: one(0x8c, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 0, 0, 0, 1, 1, 0), want: kerr.InvalidRecord, differs: "Kafka fails with -1"},
		{name: "size in more bytes than needed", records: one(0x8c, 0, 0, 0, 0, 1, 1, 0)},
		{name: "key length below -1 is null", records: one(12, 0, 0, 0, 9, 1, 0)},
		{name: "value longer than the record", records: one(12, 0, 0, 0, 1, 100, 0), want: kerr.InvalidRecord},
		{name: "key longer than the record", records: one(12, 0, 0, 0, 100, 1, 0), want: kerr.InvalidRecord},
		{name: "negative header count", records: one(12, 0, 0, 0, 1, 1, 1), want: kerr.InvalidRecord},
		{name: "more headers than bytes", records: one(14, 0, 0, 0, 1, 1, 0xc8, 1), want: kerr.InvalidRecord},
		{name: "2^31 headers", records: one(20, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f), want: kerr.InvalidRecord},
		{name: "header", records: one(20, 0, 0, 0, 1, 1, 2, 2, 'k', 2, 'v')},
		{name: "header with null key", records: one(16, 0, 0, 0, 1, 1, 2, 1, 1), want: kerr.InvalidRecord},
		{name: "header with null value", records: one(16, 0, 0, 0, 1, 1, 2, 0, 1)},
		{name: "header cut short", records: one(14, 0, 0, 0, 1, 1, 2, 0), want: kerr.InvalidRecord},
		{name: "bytes behind the headers", records: one(14, 0, 0, 0, 1, 1, 0, 0), want: kerr.InvalidRecord},
		{name: "record attributes mean nothing", records: one(12, 0xff, 0, 0, 1, 1, 0)},
		{name: "byte behind the last record", records: one(12, 0, 0, 0, 1, 1, 0, 0), want: kerr.InvalidRecord},
		{name: "no payload", records: one(), want: kerr.InvalidRecord},
	}
	for codec := None; codec <= Zstd; codec++ {
		three := build(t, codec, 3)
		odd := mustBuild(t, NewBuilder().Append(1, nil, nil).AppendAt(5, 1, nil, nil), codec)
		cases = append(cases,
			validateCase{name: "offset deltas with a gap, " + codec.String(), records: with(odd, lastOffsetDeltaAt, int32(1)), want: kerr.InvalidRecord,
				differs: "Kafka stores them uncompressed and fails with -1 otherwise"},
			validateCase{name: "fewer records than bytes, " + codec.String(), records: with(with(three, countAt, int32(2)), lastOffsetDeltaAt, int32(1)), want: kerr.InvalidRecord},
			validateCase{name: "more records than bytes, " + codec.String(), records: with(with(three, countAt, int32(4)), lastOffsetDeltaAt, int32(3)), want: kerr.InvalidRecord},
		)
	}
	runValidateCases(t, cases)
}

// Kafka fails with -1, a bug in its log, on whatever its decompressors throw: here
// that is the client's fault like any other record that cannot be read.
func TestValidateDamagedPayload(t *testing.T) {
	const differs = "Kafka fails with -1"
	var cases []validateCase
	for codec := Gzip; codec <= Zstd; codec++ {
		ok := build(t, codec, 30)
		payload := ok.payload()
		flip := append([]byte{}, payload...)
		flip[len(flip)/2] ^= 0xff
		cases = append(cases,
			validateCase{name: "flipped, " + codec.String(), records: withPayload(ok, codec, flip), want: kerr.InvalidRecord, differs: differs},
			validateCase{name: "half, " + codec.String(), records: withPayload(ok, codec, payload[:len(payload)/2]), want: kerr.InvalidRecord, differs: differs},
			validateCase{name: "all but a byte, " + codec.String(), records: withPayload(ok, codec, payload[:len(payload)-1]), want: kerr.InvalidRecord, differs: differs},
			validateCase{name: "garbage, " + codec.String(), records: withPayload(ok, codec, []byte("garbage, garbage, garbage")), want: kerr.InvalidRecord, differs: differs},
			validateCase{name: "nothing, " + codec.String(), records: withPayload(ok, codec, nil), want: kerr.InvalidRecord, differs: differs},
		)
	}
	plain := build(t, None, 30)
	trailing := func(codec Codec) []byte {
		return withPayload(plain, codec, append(append([]byte{}, build(t, codec, 30).payload()...), "garbage, garbage"...))
	}
	cases = append(cases,
		validateCase{name: "garbage behind the gzip member is ignored", records: trailing(Gzip)},
		validateCase{name: "garbage behind the snappy frame", records: trailing(Snappy), want: kerr.InvalidRecord, differs: differs},
		validateCase{name: "garbage behind the lz4 frame is ignored", records: trailing(LZ4)},
		validateCase{name: "garbage behind the zstd frame", records: trailing(Zstd), want: kerr.InvalidRecord, differs: differs},
		validateCase{name: "snappy without a frame", records: withPayload(plain, Snappy, s2.EncodeSnappy(nil, plain.payload()))},
		validateCase{name: "S2 is not snappy", records: withPayload(plain, Snappy, s2.Encode(nil, plain.payload())), want: kerr.InvalidRecord, differs: differs},
	)
	runValidateCases(t, cases)
}

// LogValidator.validateTimestamp, for a topic with CreateTime.
func TestValidateTimestamps(t *testing.T) {
	const hour = 3_600_000
	now := openLimits().Now
	at := func(codec Codec, timestamps ...int64) Batch {
		b := NewBuilder()
		for _, ts := range timestamps {
			b.Append(ts, []byte("k"), nil)
		}
		return mustBuild(t, b, codec)
	}
	recent := func(l *Limits) { l.TimestampBeforeMaxMs = 1000 }
	runValidateCases(t, []validateCase{
		{name: "none", records: at(None, -1)},
		{name: "none among others", records: at(None, now, -1, now), lim: recent},
		{name: "before 1970", records: at(None, -2)},
		{name: "smallest", records: at(None, math.MinInt64), want: kerr.InvalidTimestamp, bad: []int32{0}},
		{name: "largest", records: at(None, math.MaxInt64), want: kerr.InvalidTimestamp, bad: []int32{0}},
		{name: "at the end of the bounds", records: at(None, now+hour)},
		{name: "past the end of the bounds", records: at(None, now+hour+1), want: kerr.InvalidTimestamp, bad: []int32{0}},
		{name: "at the start of the bounds", records: at(None, now-1000), lim: recent},
		{name: "before the start of the bounds", records: at(None, now-1001), lim: recent, want: kerr.InvalidTimestamp, bad: []int32{0}},
		{name: "some", records: at(None, now, now+2*hour, now, now+2*hour), want: kerr.InvalidTimestamp, bad: []int32{1, 3}},
		{name: "some, compressed", records: at(LZ4, now, now+2*hour, now, now+2*hour), want: kerr.InvalidTimestamp, bad: []int32{1, 3}},
		{name: "LogAppendTime bit", records: with(at(None, now), attributesAt, int16(logAppendTimeBit))},
		{name: "LogAppendTime bit over records out of bounds", records: with(with(at(None, now+2*hour), attributesAt, int16(logAppendTimeBit)), maxTimestampAt, now), want: kerr.InvalidTimestamp, bad: []int32{0}},
		{name: "LogAppendTime bit without a time", records: with(with(at(None, now), attributesAt, int16(logAppendTimeBit)), maxTimestampAt, int64(-1)), want: kerr.InvalidTimestamp, bad: []int32{0}},
	})
}

// KIP-467 answers with the records that a compacted topic cannot keep.
func TestValidateKeys(t *testing.T) {
	now := openLimits().Now
	compact := func(l *Limits) { l.Compact = true }
	nulls := mustBuild(t, NewBuilder().Append(now, nil, []byte("x")).Append(now, []byte("k"), nil).Append(now, nil, nil), Zstd)
	mixed := mustBuild(t, NewBuilder().Append(now, nil, nil).Append(now*2, []byte("k"), nil), None)
	both := mustBuild(t, NewBuilder().Append(now*2, nil, nil), None)
	runValidateCases(t, []validateCase{
		{name: "null keys", records: nulls},
		{name: "null keys, compacted", records: nulls, lim: compact, want: kerr.InvalidRecord, bad: []int32{0, 2}},
		{name: "keys, compacted", records: build(t, None, 3), lim: compact},
		{name: "null key and another's timestamp", records: mixed, lim: compact, want: kerr.InvalidTimestamp, bad: []int32{0, 1}},
		{name: "null key before its own timestamp", records: both, lim: compact, want: kerr.InvalidRecord, bad: []int32{0}},
	})
}

// As Kafka's, the leader's log never believes a header about its own records.
func TestValidateCorrectsTheHeader(t *testing.T) {
	now := openLimits().Now
	for codec := None; codec <= Zstd; codec++ {
		good := build(t, codec, 3)
		for _, c := range []struct {
			name string
			sent Batch
			max  int64
		}{
			{"max timestamp too large", with(good, maxTimestampAt, now+50), now + 2},
			{"max timestamp missing", with(good, maxTimestampAt, int64(-1)), now + 2},
			{"LogAppendTime bit", with(good, attributesAt, int16(logAppendTimeBit)|int16(codec)), now + 2},
			{"LogAppendTime bit with another time", with(with(good, attributesAt, int16(logAppendTimeBit)|int16(codec)), maxTimestampAt, int64(5)), now + 2},
		} {
			b, err := Validate(c.sent, openLimits())
			if err != nil {
				t.Fatalf("%s, %s: %v", c.name, codec, err)
			}
			if b.MaxTimestamp() != c.max || b.Attributes().LogAppendTime() || b.Attributes().Codec() != codec || !b.CheckCRC() {
				t.Errorf("%s, %s: max timestamp %d, attributes %#x, CRC good: %v", c.name, codec, b.MaxTimestamp(), b.Attributes(), b.CheckCRC())
			}
		}
	}
}

// What is said of a batch's records is bounded, however many are bad.
func TestValidateBoundsRecordErrors(t *testing.T) {
	b := NewBuilder()
	for range 5 * recordErrorsMax {
		b.Append(1, nil, nil)
	}
	lim := openLimits()
	lim.Compact = true
	_, err := Validate(mustBuild(t, b, Zstd), lim)
	if err == nil || len(err.Records) != recordErrorsMax {
		t.Fatalf("want %d record errors: %v", recordErrorsMax, err)
	}
}

// One bit changed anywhere in what the CRC covers is found, and outside of it nothing
// but the fields that the leader stamps anyway gets through.
func TestValidateFindsEveryFlippedBit(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		good := build(t, codec, 2)
		for bit := range 8 * len(good) {
			b := append(Batch{}, good...)
			b[bit/8] ^= 1 << (bit % 8)
			_, err := Validate(b, openLimits())
			stamped := bit/8 >= leaderEpochAt && bit/8 < magicAt
			if (err == nil) != stamped {
				t.Fatalf("%s, bit %d of byte %d: %v", codec, bit%8, bit/8, err)
			}
		}
	}
}

func TestValidateAllocatesNothing(t *testing.T) {
	b, lim := halfRandom(t, 1000, 1024, None), openLimits()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := Validate(b, lim); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// Pooled: only what the collector took away is allocated again.
func TestValidateCompressedReusesItsBuffers(t *testing.T) {
	skipUnderRace(t) // which makes pools drop what they are given
	for codec := Gzip; codec <= Zstd; codec++ {
		b, lim := halfRandom(t, 1000, 1024, codec), openLimits()
		n := testing.AllocsPerRun(50, func() {
			if _, err := Validate(b, lim); err != nil {
				t.Fatal(err)
			}
		})
		if n > 2 {
			t.Errorf("%s: %v allocations", codec, n)
		}
	}
}

func TestErrorSaysWhatAndWhy(t *testing.T) {
	_, err := Validate(with(build(t, None, 1), baseOffsetAt, int64(7)), openLimits())
	if want := "INVALID_RECORD: base offset 7: a producer's batch must have 0"; err == nil || err.Error() != want {
		t.Fatalf("%q, want %q", err, want)
	}
}

func TestXXH32(t *testing.T) {
	for _, c := range []struct {
		in   []byte
		want uint32
	}{
		{nil, 0x02cc5d05},
		{[]byte("a"), 0x550d7456},
		{[]byte("abc"), 0x32d153ff},
		{[]byte("Nobody inspects the spammish repetition"), 0xe2293b2f},
	} {
		if got := xxh32(c.in); got != c.want {
			t.Errorf("xxh32(%q) = %#08x, want %#08x", c.in, got, c.want)
		}
	}
}
