package record

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Filter takes records out of batches that are in a log, for compaction. What stays keeps its
// offset and timestamp, and the batch its base and last offset, its sequences, its producer and
// its codec: gaps are all that shows. Java: MemoryRecords.filterTo.
//
// A Filter reuses its memory. Not safe for concurrent use.
type Filter struct {
	// Keep tells whether a record stays. The record is valid during the call.
	Keep func(r *Record) bool

	// DeleteHorizonMs becomes the delete horizon of a batch that has none yet and keeps a
	// tombstone (KIP-534).
	DeleteHorizonMs int64

	// MaxMessageBytes bounds what the records that stay of one batch may take in memory, as it
	// bounds what a producer's batch may decompress to.
	MaxMessageBytes int32

	kept    []byte // the records that stay, each behind its size
	rebased []byte // the same with other timestamp deltas
	out     []byte
	head    []byte // scratch: what precedes the key of a record
}

// Filtered is what a Filter has left of a batch.
type Filtered struct {
	// Batch is the batch itself where nothing had to change, nil where no record stays, else in
	// memory of the Filter: valid until its next use.
	Batch      Batch
	Read, Kept int // records
}

// Apply takes out of b the records that Keep does not want. With stamp the batch gets a delete
// horizon though it keeps no tombstone, unless it has one. The error wraps ErrCorrupt where the
// records cannot be read.
func (f *Filter) Apply(b Batch, stamp bool) (Filtered, error) {
	var out Filtered
	if b.Count() == 0 {
		return out, nil // emptied before
	}
	maxTimestamp, tombstones, err := f.sift(b, &out)
	if err != nil || out.Kept == 0 {
		return out, err
	}
	stamp = (stamp || tombstones) && !b.Attributes().HasDeleteHorizon()
	if out.Kept == out.Read && !stamp {
		out.Batch = b
		return out, nil
	}
	out.Batch, err = f.rebuild(b, out.Kept, maxTimestamp, stamp)
	return out, err
}

// sift collects the records that stay.
func (f *Filter) sift(b Batch, out *Filtered) (maxTimestamp int64, tombstones bool, err error) {
	s, err := openStream(b, inflateStoredBytes)
	if err != nil {
		return 0, false, b.corrupt(0, err)
	}
	defer s.close()
	limit := inflateLimit(len(b.payload()), f.MaxMessageBytes)
	f.kept, maxTimestamp = f.kept[:0], NoTimestamp
	for n := range b.Count() {
		body, ok := s.nextWhole()
		if !ok {
			return 0, false, b.corrupt(n, s.err)
		}
		r, ok := b.record(body)
		if !ok {
			return 0, false, b.corrupt(n, errMalformed)
		}
		out.Read++
		if !f.Keep(&r) {
			continue
		}
		if int64(len(f.kept)+len(body)) > limit {
			return 0, false, b.corrupt(n, fmt.Errorf("%w: more than %d", errInflates, limit))
		}
		out.Kept++
		tombstones = tombstones || r.Value == nil
		maxTimestamp = max(maxTimestamp, r.Timestamp)
		f.kept = append(appendVarint(f.kept, int64(len(body))), body...)
	}
	if err := s.end(); err != nil {
		return 0, false, b.corrupt(b.Count(), err)
	}
	return maxTimestamp, tombstones, nil
}

// rebuild makes a batch of the records that stay.
func (f *Filter) rebuild(b Batch, kept int, maxTimestamp int64, stamp bool) (Batch, error) {
	base, attributes, records := b.BaseTimestamp(), b.Attributes(), f.kept
	if stamp {
		base, attributes = f.DeleteHorizonMs, attributes|deleteHorizonBit
		records = f.rebase(b, base)
	}
	codec := attributes.Codec()
	out, err := compress(codec, DefaultLevel(codec), append(f.out[:0], b[:HeaderBytes]...), records)
	if err != nil {
		return nil, fmt.Errorf("compressing what stays of the batch at offset %d: %w", b.BaseOffset(), err)
	}
	if len(out)-lengthOverhead > math.MaxInt32 {
		return nil, b.corrupt(0, errInflates)
	}
	f.out = out
	again := Batch(out)
	binary.BigEndian.PutUint32(again[lengthAt:], uint32(len(again)-lengthOverhead))
	binary.BigEndian.PutUint16(again[attributesAt:], uint16(attributes))
	binary.BigEndian.PutUint64(again[baseTimestampAt:], uint64(base))
	binary.BigEndian.PutUint64(again[maxTimestampAt:], uint64(maxTimestamp))
	binary.BigEndian.PutUint32(again[countAt:], uint32(kept))
	again.stampCRC()
	return again, nil
}

// rebase writes the records that stay with timestamp deltas that count from another base.
func (f *Filter) rebase(b Batch, base int64) []byte {
	f.rebased = f.rebased[:0]
	for p := f.kept; len(p) > 0; {
		size, at := varint(p, 0)
		body := p[at : at+int(size)]
		p = p[at+int(size):]
		delta, i := varlong(body, 1)
		offsetDelta, i := varint(body, i)
		head := append(f.head[:0], body[0])
		head = appendVarint(head, b.timestamp(delta)-base)
		head = appendVarint(head, int64(offsetDelta))
		f.rebased = appendVarint(f.rebased, int64(len(head)+len(body)-i))
		f.rebased = append(append(f.rebased, head...), body[i:]...)
		f.head = head
	}
	return f.rebased
}

// Emptied returns b without a record, in memory of its own: what compaction keeps of a batch for
// its offsets, or for its producer's epoch and sequence. Java: DefaultRecordBatch.writeEmptyHeader.
func (b Batch) Emptied() Batch {
	e := append(Batch(nil), b[:HeaderBytes]...)
	binary.BigEndian.PutUint32(e[lengthAt:], HeaderBytes-lengthOverhead)
	binary.BigEndian.PutUint16(e[attributesAt:], uint16(b.Attributes()&(logAppendTimeBit|transactionalBit|controlBit)))
	noTimestamp := NoTimestamp
	binary.BigEndian.PutUint64(e[baseTimestampAt:], uint64(noTimestamp))
	binary.BigEndian.PutUint32(e[countAt:], 0)
	e.stampCRC()
	return e
}

// DeleteHorizon returns the time from which on the log cleaner may drop the batch's tombstones
// and markers (KIP-534), and whether one has been set.
func (b Batch) DeleteHorizon() (ms int64, set bool) {
	return b.BaseTimestamp(), b.Attributes().HasDeleteHorizon()
}
