package record

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/moldau/moldau/internal/ids"
)

// Builder makes one batch: set its fields, append records, call Build. It is for
// whoever writes batches of his own, the metadata log, coordinators, the command line, tests;
// what producers send is never rebuilt. Not safe for concurrent use.
type Builder struct {
	BaseOffset    ids.Offset
	LeaderEpoch   ids.LeaderEpoch
	ProducerID    ids.ProducerID
	ProducerEpoch ids.ProducerEpoch
	BaseSequence  int32
	Transactional bool

	control    bool
	buf        []byte // room for the header, then the records
	count      int32
	lastDelta  int32 // offset delta of the last record; -1 before the first
	baseTime   int64
	maxTime    int64
	recordHead []byte // scratch: what precedes the key of a record
}

// NewBuilder returns a builder of a batch at offset 0, without a leader epoch and
// without a producer.
func NewBuilder() *Builder {
	return &Builder{
		LeaderEpoch:   ids.NoLeaderEpoch,
		ProducerID:    ids.NoProducerID,
		ProducerEpoch: ids.NoProducerEpoch,
		BaseSequence:  NoSequence,
		lastDelta:     -1,
	}
}

// Append adds a record at the offset after the last one. A nil key or value is null.
// It returns the builder, for chains.
func (b *Builder) Append(timestamp int64, key, value []byte, headers ...RecordHeader) *Builder {
	return b.AppendAt(b.lastDelta+1, timestamp, key, value, headers...)
}

// AppendAt adds a record at the base offset plus delta, which must be larger than that
// of the record before: compacted batches have gaps.
func (b *Builder) AppendAt(delta int32, timestamp int64, key, value []byte, headers ...RecordHeader) *Builder {
	if b.buf == nil {
		b.buf = make([]byte, HeaderBytes, HeaderBytes+32+len(key)+len(value))
	}
	if b.count == 0 {
		b.baseTime, b.maxTime = timestamp, timestamp
	}
	head := append(b.recordHead[:0], 0) // attributes
	head = appendVarint(head, timestamp-b.baseTime)
	head = appendVarint(head, int64(delta))
	size := len(head) + fieldBytes(key) + fieldBytes(value) + varintBytes(int64(len(headers)))
	for _, h := range headers {
		size += varintBytes(int64(len(h.Key))) + len(h.Key) + fieldBytes(h.Value)
	}
	b.buf = appendVarint(b.buf, int64(size))
	b.buf = append(b.buf, head...)
	b.buf = appendField(b.buf, key)
	b.buf = appendField(b.buf, value)
	b.buf = appendVarint(b.buf, int64(len(headers)))
	for _, h := range headers {
		b.buf = appendVarint(b.buf, int64(len(h.Key)))
		b.buf = append(b.buf, h.Key...)
		b.buf = appendField(b.buf, h.Value)
	}
	b.recordHead, b.lastDelta, b.maxTime = head, delta, max(b.maxTime, timestamp)
	b.count++
	return b
}

// Count returns the number of records so far.
func (b *Builder) Count() int { return int(b.count) }

// SizeBytes returns the size of the batch so far, before compression.
func (b *Builder) SizeBytes() int { return max(len(b.buf), HeaderBytes) }

// Build returns the batch, in memory of its own, and leaves the builder empty with its
// fields as they are.
func (b *Builder) Build(codec Codec) (Batch, error) {
	if b.count == 0 {
		return nil, fmt.Errorf("a batch needs a record")
	}
	batch := Batch(b.buf)
	if codec != None {
		var err error
		if batch, err = compress(codec, DefaultLevel(codec), make([]byte, HeaderBytes, len(b.buf)), b.buf[HeaderBytes:]); err != nil {
			return nil, fmt.Errorf("compress a batch of %d bytes with %s: %w", len(b.buf), codec, err)
		}
	}
	if len(batch)-lengthOverhead > math.MaxInt32 {
		return nil, fmt.Errorf("a batch of %d bytes is too large for its length field", len(batch))
	}
	b.putHeader(batch, codec)
	b.buf, b.count, b.lastDelta = nil, 0, -1
	return batch, nil
}

// MustBuild is Build for batches without compression, of records that the program made
// itself: nothing can fail but the program.
func (b *Builder) MustBuild() Batch {
	batch, err := b.Build(None)
	if err != nil {
		panic(err)
	}
	return batch
}

func (b *Builder) putHeader(p Batch, codec Codec) {
	attributes := Attributes(codec)
	if b.Transactional {
		attributes |= transactionalBit
	}
	if b.control {
		attributes |= controlBit
	}
	p.SetBaseOffset(b.BaseOffset)
	binary.BigEndian.PutUint32(p[lengthAt:], uint32(len(p)-lengthOverhead))
	p.SetLeaderEpoch(b.LeaderEpoch)
	p[magicAt] = magicV2
	binary.BigEndian.PutUint16(p[attributesAt:], uint16(attributes))
	binary.BigEndian.PutUint32(p[lastOffsetDeltaAt:], uint32(b.lastDelta))
	binary.BigEndian.PutUint64(p[baseTimestampAt:], uint64(b.baseTime))
	binary.BigEndian.PutUint64(p[maxTimestampAt:], uint64(b.maxTime))
	binary.BigEndian.PutUint64(p[producerIDAt:], uint64(b.ProducerID))
	binary.BigEndian.PutUint16(p[producerEpochAt:], uint16(b.ProducerEpoch))
	binary.BigEndian.PutUint32(p[baseSequenceAt:], uint32(b.BaseSequence))
	binary.BigEndian.PutUint32(p[countAt:], uint32(b.count))
	p.stampCRC()
}

// appendField appends a key or value behind its length, which is -1 for nil.
func appendField(dst, p []byte) []byte {
	if p == nil {
		return appendVarint(dst, -1)
	}
	dst = appendVarint(dst, int64(len(p)))
	return append(dst, p...)
}

// fieldBytes returns what appendField appends.
func fieldBytes(p []byte) int {
	if p == nil {
		return 1
	}
	return varintBytes(int64(len(p))) + len(p)
}

// varintBytes returns the size of what appendVarint appends.
func varintBytes(v int64) int {
	u := uint64(v)<<1 ^ uint64(v>>63)
	n := 1
	for ; u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
