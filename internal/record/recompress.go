package record

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Recompress returns a batch that Validate has accepted with its records compressed by another codec, in
// memory of its own; everything else is as it was. The result is held against the same limits
// on its size, as it may be larger. A batch of that codec already is returned as it is, whatever its level.
// Java: LogValidator.buildRecordsAndAssignOffsets.
func (b Batch) Recompress(c Codec, level int, lim *Limits) (Batch, *Error) {
	if b.Attributes().Codec() == c {
		return b, nil
	}
	records, err := b.inflateAll(inflateLimit(len(b.payload()), lim.MaxMessageBytes))
	if err != nil {
		return nil, refuseRecords(err)
	}
	out, err := compress(c, level, slices.Clone(b[:HeaderBytes]), records)
	if err != nil {
		return nil, refuse(kerr.UnknownServerError, "compressing %d bytes with %s: %v", len(records), c, err)
	}
	switch {
	case len(out) > int(lim.MaxMessageBytes) || len(out)-lengthOverhead > math.MaxInt32:
		return nil, refuse(kerr.MessageTooLarge, "with compression.type %s the batch has %d bytes, more than max.message.bytes, %d", c, len(out), lim.MaxMessageBytes)
	case len(out) > int(lim.SegmentBytes):
		return nil, refuse(kerr.RecordListTooLarge, "a batch of %d bytes does not fit a segment: segment.bytes is %d", len(out), lim.SegmentBytes)
	}
	again := Batch(out)
	binary.BigEndian.PutUint32(again[lengthAt:], uint32(len(again)-lengthOverhead))
	binary.BigEndian.PutUint16(again[attributesAt:], uint16(again.Attributes()&^codecMask|Attributes(c)))
	again.stampCRC()
	return again, nil
}

// inflateAll returns all records of the batch, of at most limit bytes; a view where they are not compressed.
func (b Batch) inflateAll(limit int64) ([]byte, error) {
	codec := b.Attributes().Codec()
	if codec == None {
		return b.payload(), nil
	}
	wide := startInflating(codec, b.payload())
	defer stopInflating(wide)
	in, err := newInflater(codec, b.payload(), limit)
	if err != nil {
		return nil, err
	}
	defer in.release()
	var all []byte
	for {
		p, err := in.next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if int64(len(all)+len(p)) > limit {
			return nil, fmt.Errorf("%w: more than %d", errInflates, limit)
		}
		all = append(all, p...)
	}
}
