package record

import "github.com/moldau/moldau/internal/ids"

// FindTimestamp returns the first record of the batch whose timestamp is target or
// later and whose offset is from or larger, and whether there is one. With the batch's own
// MaxTimestamp as target it finds the first record that has it. Keys and values are
// skipped, not held. The error wraps ErrCorrupt.
func (b Batch) FindTimestamp(target int64, from ids.Offset) (offset ids.Offset, timestamp int64, found bool, err error) {
	if b.MaxTimestamp() < target || b.LastOffset() < from {
		return ids.NoOffset, NoTimestamp, false, nil
	}
	s, err := openStream(b, inflateStoredBytes)
	if err != nil {
		return ids.NoOffset, NoTimestamp, false, b.corrupt(0, err)
	}
	defer s.close()
	for n := range b.Count() {
		r, ok := s.next()
		if !ok {
			return ids.NoOffset, NoTimestamp, false, b.corrupt(n, s.err)
		}
		offset, timestamp = b.BaseOffset()+ids.Offset(r.offsetDelta), b.timestamp(r.timestampDelta)
		if timestamp >= target && offset >= from {
			return offset, timestamp, true, nil
		}
	}
	return ids.NoOffset, NoTimestamp, false, nil
}
