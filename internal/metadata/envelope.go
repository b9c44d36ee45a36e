package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What an envelope may hold. Writers keep below both: a request makes at most 10,000
// records and is itself at most 8 MiB; a broker that restarts makes one small record
// for each partition that it leads alone.
const (
	MaxEnvelopeBytes   = 16 << 20
	MaxEnvelopeRecords = 500_000
)

// envelopeFormat is the first byte of every envelope.
const envelopeFormat = 1

// recordBytesMin is a record of one byte each for type, version, length and tags.
const recordBytesMin = 4

var (
	// ErrCorrupt marks bytes that no release wrote.
	ErrCorrupt = errors.New("metadata is damaged")
	// ErrNewer marks bytes that only a later release can read.
	ErrNewer = errors.New("metadata was written by a later release")
)

// EnvelopeBuilder collects the records of one envelope, so that their size is known
// as they come. The zero builder is empty.
type EnvelopeBuilder struct {
	records []byte
	body    []byte // scratch
	count   int
}

// Add puts recs behind those added before.
func (e *EnvelopeBuilder) Add(recs []Record) {
	for _, rec := range recs {
		t, v := rec.kind()
		e.body = appendNoTags(rec.appendBody(e.body[:0]))
		e.records = binary.AppendUvarint(e.records, uint64(t))
		e.records = binary.AppendUvarint(e.records, uint64(v))
		e.records = binary.AppendUvarint(e.records, uint64(len(e.body)))
		e.records = append(e.records, e.body...)
	}
	e.count += len(recs)
}

// Count returns how many records were added.
func (e *EnvelopeBuilder) Count() int { return e.count }

// SizeBytes returns how many bytes the records take, the few of the envelope's head aside.
func (e *EnvelopeBuilder) SizeBytes() int { return len(e.records) }

// EnvelopeMark is a place in a builder to go back to.
type EnvelopeMark struct{ bytes, count int }

// Mark returns where the builder stands.
func (e *EnvelopeBuilder) Mark() EnvelopeMark { return EnvelopeMark{len(e.records), e.count} }

// Rollback takes back what was added since m.
func (e *EnvelopeBuilder) Rollback(m EnvelopeMark) { e.records, e.count = e.records[:m.bytes], m.count }

// Full tells whether the envelope holds more than may be in one.
func (e *EnvelopeBuilder) Full() bool {
	return e.count > MaxEnvelopeRecords || 1+binary.MaxVarintLen32+len(e.records) > MaxEnvelopeBytes
}

// AppendTo writes the envelope behind dst.
func (e *EnvelopeBuilder) AppendTo(dst []byte) []byte {
	dst = append(dst, envelopeFormat)
	dst = binary.AppendUvarint(dst, uint64(e.count))
	return append(dst, e.records...)
}

// Reset empties the builder.
func (e *EnvelopeBuilder) Reset() { e.Rollback(EnvelopeMark{}) }

// AppendEnvelope writes recs as one envelope behind dst.
func AppendEnvelope(dst []byte, recs []Record) []byte {
	var e EnvelopeBuilder
	e.Add(recs)
	return e.AppendTo(dst)
}

// ReadEnvelope reads what AppendEnvelope wrote; b must hold nothing else. The records
// share no memory with b. Errors are ErrCorrupt or ErrNewer.
func ReadEnvelope(b []byte) ([]Record, error) {
	if len(b) > MaxEnvelopeBytes {
		return nil, fmt.Errorf("%w: an envelope of %d bytes, at most %d are allowed", ErrCorrupt, len(b), MaxEnvelopeBytes)
	}
	r := reader{b: b}
	if format := r.byte(); r.err == nil && format > envelopeFormat {
		return nil, newerError(fmt.Sprintf("envelope format %d", format))
	} else if format < envelopeFormat {
		r.fail("envelope format %d", format)
	}
	n := r.count(recordBytesMin)
	if n > MaxEnvelopeRecords {
		r.fail("an envelope of %d records, at most %d are allowed", n, MaxEnvelopeRecords)
	}
	if r.err != nil {
		return nil, r.err
	}
	recs := make([]Record, 0, n)
	for i := range n {
		rec, err := readRecord(&r)
		if err != nil {
			return nil, fmt.Errorf("record %d of %d: %w", i, n, err)
		}
		recs = append(recs, rec)
	}
	if len(r.b) > 0 {
		return nil, fmt.Errorf("%w: %d bytes follow the last record", ErrCorrupt, len(r.b))
	}
	return recs, nil
}

func readRecord(r *reader) (Record, error) {
	t, v := r.uvarint(), r.uvarint()
	body := reader{b: r.bytes(r.uvarint())}
	if r.err != nil {
		return nil, r.err
	}
	if t == 0 {
		return nil, fmt.Errorf("%w: record type 0", ErrCorrupt)
	}
	var rec Record
	if t <= uint64(typeLast) {
		rec = newRecord(recordType(t))
	}
	if rec == nil {
		return nil, newerError(fmt.Sprintf("record type %d", t))
	}
	if v > uint64(latestVersion(recordType(t))) {
		return nil, newerError(fmt.Sprintf("record type %d of version %d", t, v))
	}
	rec.readBody(&body, recordVersion(v))
	body.tags()
	if body.err == nil && len(body.b) > 0 {
		body.fail("%d bytes follow a record of type %d", len(body.b), t)
	}
	return rec, body.err
}

func newerError(what string) error {
	return fmt.Errorf("%w: %s is unknown at %s %d, the highest of this release; start a release that supports the cluster's %s",
		ErrNewer, what, VersionFeature, LatestVersion, VersionFeature)
}
