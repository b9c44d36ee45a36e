package record

import (
	"fmt"
	"iter"

	"github.com/moldau/moldau/internal/ids"
)

// Record is one record of a batch. Key, Value and what Headers yields are views: of the
// batch itself where it is not compressed, else of a buffer that the next step of
// the iteration overwrites.
type Record struct {
	Offset         ids.Offset // the batch's base offset plus OffsetDelta
	Timestamp      int64      // in ms; with LogAppendTime the batch's max timestamp; -1 for none
	OffsetDelta    int32
	TimestampDelta int64  // to the batch's base timestamp, whatever the timestamp type
	Key            []byte // nil for null, as opposed to empty
	Value          []byte // nil for null, as opposed to empty

	headerCount int32
	headers     []byte
}

// RecordHeader is one header of a record. Several may have the same key.
type RecordHeader struct {
	Key   string
	Value []byte // nil for null
}

// HeaderCount returns how many headers Headers yields.
func (r *Record) HeaderCount() int { return int(r.headerCount) }

// Headers yields the record's headers in order.
func (r *Record) Headers() iter.Seq[RecordHeader] {
	return func(yield func(RecordHeader) bool) {
		i := 0
		for range r.headerCount {
			var key, value []byte
			key, i = field(r.headers, i)
			value, i = field(r.headers, i)
			if i < 0 || !yield(RecordHeader{string(key), value}) {
				return
			}
		}
	}
}

// Records yields the records of the batch in order, decompressing as it goes. An
// error, wrapping ErrCorrupt, ends the iteration; the records before it were intact.
func (b Batch) Records() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		s, err := openStream(b, inflateStoredBytes)
		if err != nil {
			yield(Record{}, b.corrupt(0, err))
			return
		}
		defer s.close()
		count := b.Count()
		for n := range count {
			body, ok := s.nextWhole()
			if !ok {
				yield(Record{}, b.corrupt(n, s.err))
				return
			}
			r, ok := b.record(body)
			if !ok {
				yield(Record{}, b.corrupt(n, errMalformed))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
		if err := s.end(); err != nil {
			yield(Record{}, b.corrupt(count, err))
		}
	}
}

// Sole returns the record of a batch that must have exactly one.
func (b Batch) Sole() (Record, error) {
	if n := b.Count(); n != 1 {
		return Record{}, fmt.Errorf("%w: batch at offset %d has %d records instead of one", ErrCorrupt, b.BaseOffset(), n)
	}
	if b.Attributes().Codec() != None {
		return b.soleCompressed()
	}
	p := b.payload()
	size, at := varint(p, 0)
	if at < 0 || int(size) != len(p)-at {
		return Record{}, b.corrupt(0, errMalformed)
	}
	r, ok := b.record(p[at:])
	if !ok {
		return Record{}, b.corrupt(0, errMalformed)
	}
	return r, nil
}

// soleCompressed returns a record in memory of its own.
func (b Batch) soleCompressed() (sole Record, err error) {
	for r, err := range b.Records() {
		if err != nil {
			return Record{}, err
		}
		sole = r.clone()
	}
	return sole, nil
}

func (r Record) clone() Record {
	r.Key, r.Value, r.headers = cloneBytes(r.Key), cloneBytes(r.Value), cloneBytes(r.headers)
	return r
}

// cloneBytes keeps apart what is nil and what is empty.
func cloneBytes(p []byte) []byte {
	if p == nil {
		return nil
	}
	return append([]byte{}, p...)
}

// record reads the record of which body is everything behind its size.
func (b Batch) record(body []byte) (r Record, ok bool) {
	var i int
	r.TimestampDelta, i = varlong(body, 1)
	r.OffsetDelta, i = varint(body, i)
	r.Key, i = field(body, i)
	r.Value, i = field(body, i)
	r.headerCount, i = varint(body, i)
	if i < 0 || skipHeaders(body, i, r.headerCount) != len(body) {
		return Record{}, false
	}
	r.headers = body[i:]
	r.Offset = b.BaseOffset() + ids.Offset(r.OffsetDelta)
	r.Timestamp = b.timestamp(r.TimestampDelta)
	return r, true
}

// timestamp returns the timestamp of a record.
func (b Batch) timestamp(delta int64) int64 {
	if b.Attributes().LogAppendTime() {
		return b.MaxTimestamp()
	}
	return b.BaseTimestamp() + delta
}

// field reads a length and as many bytes at body[i:], and returns where they end or -1.
// A negative length stands for nil.
func field(body []byte, i int) ([]byte, int) {
	size, i := varint(body, i)
	end := skipBytes(body, i, size)
	if end < 0 || size < 0 {
		return nil, end
	}
	return body[i:end:end], end
}

// corrupt wraps what is wrong with the n-th record.
func (b Batch) corrupt(n int32, err error) error {
	return fmt.Errorf("%w: batch at offset %d, record %d of %d: %w", ErrCorrupt, b.BaseOffset(), n, b.Count(), err)
}
