package record

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/moldau/moldau/internal/ids"
)

// HeaderBytes is the size of a batch's header; the records follow it.
const HeaderBytes = 61

// Where the fields of the header begin. Everything is big-endian.
const (
	baseOffsetAt      = 0
	lengthAt          = 8
	leaderEpochAt     = 12
	magicAt           = 16
	crcAt             = 17
	attributesAt      = 21 // the CRC covers everything from here on
	lastOffsetDeltaAt = 23
	baseTimestampAt   = 27
	maxTimestampAt    = 35
	producerIDAt      = 43
	producerEpochAt   = 51
	baseSequenceAt    = 53
	countAt           = 57
)

const (
	// lengthOverhead is what the length field does not count: itself and the base offset.
	lengthOverhead = 12

	// magicV2 is the only message format that Kafka 4 accepts.
	magicV2 = 2

	// NoSequence is the base sequence of a batch without one.
	NoSequence int32 = -1

	// NoTimestamp is the timestamp of a record without one.
	NoTimestamp int64 = -1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is exactly one batch of version 2, header included: a view of bytes that
// somebody else owns. First, Validate and Builder make them; a Batch is never
// shorter than HeaderBytes. Only its header has been looked at: that the records
// behind it are well formed is what CheckCRC and Validate tell.
type Batch []byte

// BaseOffset returns the offset of the first record, or of the first that there was
// before compaction.
func (b Batch) BaseOffset() ids.Offset {
	return ids.Offset(binary.BigEndian.Uint64(b[baseOffsetAt:]))
}

// LastOffset returns the offset of the last record, kept when compaction drops that record.
func (b Batch) LastOffset() ids.Offset { return b.BaseOffset() + ids.Offset(b.LastOffsetDelta()) }

// NextOffset returns the offset after the batch.
func (b Batch) NextOffset() ids.Offset { return b.LastOffset() + 1 }

// SizeBytes returns the size of the whole batch as its header gives it.
func (b Batch) SizeBytes() int {
	return lengthOverhead + int(int32(binary.BigEndian.Uint32(b[lengthAt:])))
}

// LeaderEpoch returns the epoch of the leader that appended the batch.
func (b Batch) LeaderEpoch() ids.LeaderEpoch {
	return ids.LeaderEpoch(binary.BigEndian.Uint32(b[leaderEpochAt:]))
}

// Magic returns the version of the format: 2.
func (b Batch) Magic() int8 { return int8(b[magicAt]) }

// CRC returns the stored CRC-32C.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[crcAt:]) }

// Attributes returns the flags.
func (b Batch) Attributes() Attributes {
	return Attributes(binary.BigEndian.Uint16(b[attributesAt:]))
}

// LastOffsetDelta returns the last offset less the base offset.
func (b Batch) LastOffsetDelta() int32 { return b.int32(lastOffsetDeltaAt) }

// BaseTimestamp returns what the records' timestamp deltas count from, in milliseconds.
// With HasDeleteHorizon it is the delete horizon.
func (b Batch) BaseTimestamp() int64 { return b.int64(baseTimestampAt) }

// MaxTimestamp returns the largest timestamp of the records, or with LogAppendTime
// that of every record.
func (b Batch) MaxTimestamp() int64 { return b.int64(maxTimestampAt) }

// ProducerID returns the idempotent producer's id, -1 for none.
func (b Batch) ProducerID() ids.ProducerID { return ids.ProducerID(b.int64(producerIDAt)) }

// ProducerEpoch returns the idempotent producer's epoch, -1 for none.
func (b Batch) ProducerEpoch() ids.ProducerEpoch {
	return ids.ProducerEpoch(binary.BigEndian.Uint16(b[producerEpochAt:]))
}

// BaseSequence returns the first record's sequence number, -1 for none.
func (b Batch) BaseSequence() int32 { return b.int32(baseSequenceAt) }

// LastSequence returns the last record's sequence number, -1 for none. Sequence
// numbers wrap from 2^31-1 to 0.
func (b Batch) LastSequence() int32 {
	base := b.BaseSequence()
	if base < 0 {
		return NoSequence
	}
	return AddSequence(base, b.LastOffsetDelta())
}

// AddSequence returns the sequence number n records after s, wrapping from 2^31-1 to 0.
func AddSequence(s, n int32) int32 {
	return int32((int64(s) + int64(n)) & math.MaxInt32)
}

// Count returns the number of records, which compaction may have made smaller than
// the range of offsets, or 0.
func (b Batch) Count() int32 { return b.int32(countAt) }

// payload returns what follows the header: the records, compressed where a codec says so.
func (b Batch) payload() []byte { return b[HeaderBytes:] }

func (b Batch) int32(at int) int32 { return int32(binary.BigEndian.Uint32(b[at:])) }
func (b Batch) int64(at int) int64 { return int64(binary.BigEndian.Uint64(b[at:])) }

// SetBaseOffset stamps the base offset in place. The CRC does not cover it.
func (b Batch) SetBaseOffset(o ids.Offset) {
	binary.BigEndian.PutUint64(b[baseOffsetAt:], uint64(o))
}

// SetLeaderEpoch stamps the leader epoch in place. The CRC does not cover it.
func (b Batch) SetLeaderEpoch(e ids.LeaderEpoch) {
	binary.BigEndian.PutUint32(b[leaderEpochAt:], uint32(e))
}

// CheckCRC tells whether the bytes are those that the stored CRC was made of.
func (b Batch) CheckCRC() bool { return b.computeCRC() == b.CRC() }

func (b Batch) computeCRC() uint32 { return crc32.Checksum(b[attributesAt:], castagnoli) }

// stampCRC makes the stored CRC that of the bytes. Only whoever changes bytes that
// the CRC covers may call it: it hides every earlier damage.
func (b Batch) stampCRC() { binary.BigEndian.PutUint32(b[crcAt:], b.computeCRC()) }
