package record

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/ids"
)

var (
	// ErrTruncated says that the bytes end before the batch does: a torn tail, or a read
	// that must be made longer.
	ErrTruncated = errors.New("the batch is cut short")

	// ErrCorrupt says that the bytes cannot be a batch, however many follow.
	ErrCorrupt = errors.New("not a record batch")
)

// First splits the first whole batch off buf. Where there is none the error is
// ErrTruncated, if more bytes could complete it, or ErrCorrupt; rest is then all of buf.
// The header's length and magic have been checked, the CRC has not.
func First(buf []byte) (b Batch, rest []byte, err error) {
	size, err := batchSize(buf)
	if err != nil {
		return nil, buf, err
	}
	if size > len(buf) {
		return nil, buf, fmt.Errorf("%w: %d of %d bytes", ErrTruncated, len(buf), size)
	}
	return Batch(buf[:size:size]), buf[size:], nil
}

// batchSize returns the size that the batch at the start of p says it has, which may be
// more than len(p). It refuses as early as the bytes allow.
func batchSize(p []byte) (int, error) {
	if len(p) < lengthOverhead {
		return 0, fmt.Errorf("%w: %d bytes hold no length", ErrTruncated, len(p))
	}
	size := lengthOverhead + int(int32(binary.BigEndian.Uint32(p[lengthAt:])))
	if size < HeaderBytes {
		return 0, fmt.Errorf("%w: a size of %d bytes is less than a header's %d", ErrCorrupt, size, HeaderBytes)
	}
	if len(p) > magicAt && p[magicAt] != magicV2 {
		return 0, fmt.Errorf("%w: magic %d instead of %d", ErrCorrupt, int8(p[magicAt]), magicV2)
	}
	if len(p) < HeaderBytes {
		return 0, fmt.Errorf("%w: %d bytes of the header's %d", ErrTruncated, len(p), HeaderBytes)
	}
	return size, nil
}

// Header is a decoded header, for scanners that read the headers of a segment and
// skip the records.
type Header struct {
	BaseOffset      ids.Offset
	SizeBytes       int // of the whole batch, this header included
	LeaderEpoch     ids.LeaderEpoch
	CRC             uint32
	Attributes      Attributes
	LastOffsetDelta int32
	BaseTimestamp   int64
	MaxTimestamp    int64
	ProducerID      ids.ProducerID
	ProducerEpoch   ids.ProducerEpoch
	BaseSequence    int32
	Count           int32
}

// LastOffset returns the offset of the batch's last record.
func (h *Header) LastOffset() ids.Offset { return h.BaseOffset + ids.Offset(h.LastOffsetDelta) }

// NextOffset returns the offset after the batch.
func (h *Header) NextOffset() ids.Offset { return h.LastOffset() + 1 }

// ReadHeader decodes the header at the start of p, of which no more than HeaderBytes
// are needed. Its errors are those of First.
func ReadHeader(p []byte) (Header, error) {
	size, err := batchSize(p)
	if err != nil {
		return Header{}, err
	}
	h := Batch(p[:HeaderBytes]).Header()
	h.SizeBytes = size
	return h, nil
}

// Header decodes the batch's header.
func (b Batch) Header() Header {
	return Header{
		BaseOffset:      b.BaseOffset(),
		SizeBytes:       b.SizeBytes(),
		LeaderEpoch:     b.LeaderEpoch(),
		CRC:             b.CRC(),
		Attributes:      b.Attributes(),
		LastOffsetDelta: b.LastOffsetDelta(),
		BaseTimestamp:   b.BaseTimestamp(),
		MaxTimestamp:    b.MaxTimestamp(),
		ProducerID:      b.ProducerID(),
		ProducerEpoch:   b.ProducerEpoch(),
		BaseSequence:    b.BaseSequence(),
		Count:           b.Count(),
	}
}
