package metadata

import (
	"encoding/binary"
	"fmt"

	"github.com/moldau/moldau/internal/ids"
)

// snapshotFormat is the first byte of every snapshot.
const snapshotFormat = 1

// snapshotEnvelopeRecords keeps the envelopes of a snapshot small.
const snapshotEnvelopeRecords = 1000

// AppendSnapshot writes the whole image behind dst, as envelopes of its Records.
// Offset and Epoch are not in it: who keeps the snapshot knows them.
func (img *Image) AppendSnapshot(dst []byte) []byte {
	dst = append(dst, snapshotFormat)
	var envelope []byte
	recs := make([]Record, 0, snapshotEnvelopeRecords)
	flush := func() {
		envelope = AppendEnvelope(envelope[:0], recs)
		dst = binary.AppendUvarint(dst, uint64(len(envelope)))
		dst = append(dst, envelope...)
		recs = recs[:0]
	}
	for rec := range img.Records() {
		if recs = append(recs, rec); len(recs) == cap(recs) {
			flush()
		}
	}
	if len(recs) > 0 {
		flush()
	}
	return dst
}

// ReadSnapshot makes the image that AppendSnapshot wrote, as of offset and epoch.
// Errors are ErrCorrupt, ErrNewer or ErrInconsistent.
func ReadSnapshot(b []byte, offset ids.Offset, epoch ids.LeaderEpoch) (*Image, error) {
	r := reader{b: b}
	if format := r.byte(); r.err == nil && format > snapshotFormat {
		return nil, newerError(fmt.Sprintf("snapshot format %d", format))
	} else if format < snapshotFormat {
		r.fail("snapshot format %d", format)
	}
	d := NewDelta(nil)
	for len(r.b) > 0 && r.err == nil {
		at := len(b) - len(r.b)
		envelope := r.bytes(r.uvarint())
		if r.err != nil {
			break
		}
		recs, err := ReadEnvelope(envelope)
		for i := 0; i < len(recs) && err == nil; i++ {
			err = d.Replay(recs[i])
		}
		if err != nil {
			return nil, fmt.Errorf("metadata snapshot of offset %d, envelope at byte %d: %w", offset, at, err)
		}
	}
	if r.err != nil {
		return nil, fmt.Errorf("metadata snapshot of offset %d: %w", offset, r.err)
	}
	return d.Apply(offset, epoch), nil
}
