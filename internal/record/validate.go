package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Limits are what Validate holds a batch against: the configuration of its topic and the
// version of the request that carried it.
type Limits struct {
	MaxMessageBytes int32 // max.message.bytes, of the whole batch as it was sent
	SegmentBytes    int32 // segment.bytes: a batch lies in one segment

	// Records outside [Now - TimestampBeforeMaxMs, Now + TimestampAfterMaxMs] are refused,
	// but for those without a timestamp.
	Now                  int64 // ms since 1970
	TimestampBeforeMaxMs int64
	TimestampAfterMaxMs  int64

	// LogAppendTime is message.timestamp.type: accepted batches get Now as the time of all
	// their records, and the bounds above do not count.
	LogAppendTime bool

	Compact        bool  // cleanup.policy has compact: every record needs a key
	ProduceVersion int16 // zstd is refused below 7
}

// zstdProduceVersion is the first version of Produce that may carry zstd (KIP-110).
const zstdProduceVersion = 7

// Error is why a batch was refused.
type Error struct {
	Code    *kerr.Error
	Message string
	Records []RecordError // those that made the batch refused; empty where none in particular did
}

// RecordError is what is wrong with one record of a refused batch (KIP-467).
type RecordError struct {
	Index   int32 // of the record in its batch, from 0
	Message string
}

func (e *Error) Error() string { return e.Code.Message + ": " + e.Message }

// Unwrap makes errors.Is find the code.
func (e *Error) Unwrap() error { return e.Code }

func refuse(code *kerr.Error, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Validate checks what a Produce request carries for one partition: one batch, as Apache Kafka's ProduceRequest, UnifiedLog and LogValidator
// want it, in their order, so that the answer to a batch with two faults is theirs;
// docs/format/batch.md lists the answers and where they differ. The checks that need a producer's state or
// its transaction are not among them.
//
// As Kafka does, it takes the records' word for the max timestamp and the topic's for
// the timestamp type: where the header says something else it is corrected in place, with
// its CRC. A batch that is not compressed costs no allocation.
func Validate(records []byte, lim *Limits) (Batch, *Error) {
	b, err := splitOne(records, lim)
	if err != nil {
		return nil, err
	}
	if err := checkHeader(b, lim); err != nil {
		return nil, err
	}
	if err := checkRecords(b, lim); err != nil {
		return nil, err
	}
	if len(b) > int(lim.SegmentBytes) {
		return nil, refuse(kerr.RecordListTooLarge, "a batch of %d bytes does not fit a segment: segment.bytes is %d", len(b), lim.SegmentBytes)
	}
	return b, nil
}

// legacyMinBytes is the smallest length field of any format there ever was. Kafka
// calls anything below corrupt, before it looks at the format.
const legacyMinBytes = 14

// splitOne returns the batch that records is.
func splitOne(records []byte, lim *Limits) (Batch, *Error) {
	size, err := sentSize(records)
	if err != nil {
		return nil, err
	}
	if size == 0 {
		return nil, refuse(kerr.InvalidRecord, "%d bytes hold no whole batch: Produce must carry one batch for each partition", len(records))
	}
	if records[magicAt] != magicV2 {
		return nil, refuse(kerr.InvalidRecord, "message format %d is no longer accepted: only %d is", records[magicAt], magicV2)
	}
	b := Batch(records[:size:size])
	if lim.ProduceVersion < zstdProduceVersion && size > attributesAt+1 && b.Attributes().Codec() == Zstd {
		return nil, refuse(kerr.UnsupportedCompressionType, "Produce version %d may not carry zstd: it takes version %d", lim.ProduceVersion, zstdProduceVersion)
	}
	// Less than a batch behind it is dropped, as Kafka drops it.
	if size, err = sentSize(records[size:]); err != nil {
		return nil, err
	}
	if size != 0 {
		return nil, refuse(kerr.InvalidRecord, "more than one batch: Produce may carry one for each partition")
	}
	return b, nil
}

// sentSize returns the size of the whole batch at the start of p, or 0 where there is no
// whole batch. Java: ByteBufferLogInputStream.
func sentSize(p []byte) (int, *Error) {
	if len(p) < lengthOverhead {
		return 0, nil
	}
	length := int(int32(binary.BigEndian.Uint32(p[lengthAt:])))
	if length < legacyMinBytes {
		return 0, refuse(kerr.CorruptMessage, "a batch cannot have length %d", length)
	}
	if len(p) <= magicAt {
		return 0, nil
	}
	if p[magicAt] > magicV2 {
		return 0, refuse(kerr.CorruptMessage, "there is no message format %d", int8(p[magicAt]))
	}
	if length > len(p)-lengthOverhead {
		return 0, nil
	}
	return lengthOverhead + length, nil
}

// checkHeader checks the header and the CRC.
func checkHeader(b Batch, lim *Limits) *Error {
	switch {
	case b.BaseOffset() != 0:
		return refuse(kerr.InvalidRecord, "base offset %d: a producer's batch must have 0", b.BaseOffset())
	case len(b) > int(lim.MaxMessageBytes):
		return refuse(kerr.MessageTooLarge, "a batch of %d bytes is larger than max.message.bytes, %d", len(b), lim.MaxMessageBytes)
	case len(b) < HeaderBytes:
		return refuse(kerr.CorruptMessage, "a batch of %d bytes is smaller than its header", len(b))
	case !b.CheckCRC():
		return refuse(kerr.CorruptMessage, "stored CRC %#08x, computed %#08x", b.CRC(), b.computeCRC())
	}
	delta, count, attributes := b.LastOffsetDelta(), b.Count(), b.Attributes()
	switch {
	case !attributes.Codec().Known():
		return refuse(kerr.UnsupportedCompressionType, "%s", attributes.Codec())
	case delta < 0 || delta == math.MaxInt32:
		return refuse(kerr.InvalidRecord, "last offset delta %d", delta)
	case count <= 0:
		return refuse(kerr.InvalidRecord, "%d records", count)
	case delta+1 != count:
		return refuse(kerr.InvalidRecord, "%d records in a range of %d offsets", count, delta+1)
	case attributes.Control():
		return refuse(kerr.InvalidRecord, "a producer may not write control records")
	case b.ProducerID() >= 0 && b.BaseSequence() < 0:
		return refuse(kerr.InvalidRecord, "producer %d without a sequence number (%d)", b.ProducerID(), b.BaseSequence())
	}
	return nil
}

// recordErrorsMax bounds what is said of a batch's records. The rest of them is refused
// with the batch, unnamed.
const recordErrorsMax = 1000

// check is the state of a walk over the records of one batch.
type check struct {
	lim           *Limits
	maxTimestamp  int64
	badTimestamps bool
	bad           []RecordError
}

// checkRecords walks the records, with what is left of the header's promises to be kept.
func checkRecords(b Batch, lim *Limits) *Error {
	codec := b.Attributes().Codec()
	if codec != None {
		wide := startInflating(codec, b.payload())
		defer stopInflating(wide)
	}
	s, err := openStream(b, inflateLimit(len(b.payload()), lim.MaxMessageBytes))
	if err != nil {
		return refuseRecords(err)
	}
	defer s.close()
	c := check{lim: lim, maxTimestamp: NoTimestamp}
	if err := c.walk(b, &s); err != nil {
		return err
	}
	if len(c.bad) > 0 {
		return c.refusal()
	}
	if lim.LogAppendTime {
		b.stampAppendTime(lim.Now)
	} else {
		b.correct(c.maxTimestamp)
	}
	return nil
}

func (c *check) walk(b Batch, s *stream) *Error {
	// The bit of LogAppendTime will be cleared, so the records' own times count from here
	// on. Kafka judges and keeps the header's instead, which then is nobody's.
	bit := b.Attributes().LogAppendTime()
	base, presumptuous := b.BaseTimestamp(), bit && (c.lim.LogAppendTime || b.MaxTimestamp() == NoTimestamp)
	for n := range b.Count() {
		r, ok := s.next()
		if !ok {
			return refuseRecords(fmt.Errorf("record %d: %w", n, s.err))
		}
		if r.offsetDelta != n {
			return refuse(kerr.InvalidRecord, "record %d has offset delta %d", n, r.offsetDelta)
		}
		timestamp := base + r.timestampDelta
		c.maxTimestamp = max(c.maxTimestamp, timestamp)
		if c.lim.Compact && r.nullKey {
			c.add(n, "a record of a compacted topic needs a key")
		} else if presumptuous {
			c.badTimestamp(n, "a producer may not choose LogAppendTime")
		} else if timestamp != NoTimestamp && !c.lim.LogAppendTime && c.outOfBounds(timestamp) {
			c.badTimestamp(n, "timestamp outside message.timestamp.before.max.ms and message.timestamp.after.max.ms")
		}
	}
	if err := s.end(); err != nil {
		return refuseRecords(err)
	}
	return nil
}

// outOfBounds wraps where Kafka's arithmetic wraps.
func (c *check) outOfBounds(timestamp int64) bool {
	age := c.lim.Now - timestamp
	return age > c.lim.TimestampBeforeMaxMs || -age > c.lim.TimestampAfterMaxMs
}

func (c *check) add(n int32, message string) {
	if len(c.bad) < recordErrorsMax {
		c.bad = append(c.bad, RecordError{n, message})
	}
}

func (c *check) badTimestamp(n int32, message string) {
	c.badTimestamps = true
	c.add(n, message)
}

func (c *check) refusal() *Error {
	code := kerr.InvalidRecord
	if c.badTimestamps {
		code = kerr.InvalidTimestamp
	}
	return &Error{code, fmt.Sprintf("record %d: %s", c.bad[0].Index, c.bad[0].Message), c.bad}
}

// refuseRecords maps what a stream failed with. A batch that grows beyond the bound gets
// the code that makes Java's producer split it and send the halves.
func refuseRecords(err error) *Error {
	code := kerr.InvalidRecord
	if errors.Is(err, errInflates) {
		code = kerr.MessageTooLarge
	}
	return refuse(code, "%s", err)
}

// stampAppendTime gives the records of the batch the time of their append.
func (b Batch) stampAppendTime(now int64) {
	binary.BigEndian.PutUint16(b[attributesAt:], uint16(b.Attributes()|logAppendTimeBit))
	binary.BigEndian.PutUint64(b[maxTimestampAt:], uint64(now))
	b.stampCRC()
}

// correct makes the header agree with the records and with the topic.
func (b Batch) correct(maxTimestamp int64) {
	attributes := b.Attributes()
	if b.MaxTimestamp() == maxTimestamp && !attributes.LogAppendTime() {
		return
	}
	binary.BigEndian.PutUint16(b[attributesAt:], uint16(attributes&^logAppendTimeBit))
	binary.BigEndian.PutUint64(b[maxTimestampAt:], uint64(maxTimestamp))
	b.stampCRC()
}
