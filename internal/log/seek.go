package log

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// headerScan walks the batch headers of a segment's file, reading a small window at a time.
type headerScan struct {
	file   *fileHandle
	limit  int64 // nothing at or after this position is looked at
	at     int64 // of the window
	filled int
	window *[windowBytes]byte
}

var scans = sync.Pool{New: func() any { return &headerScan{window: new([windowBytes]byte)} }}

func newHeaderScan(file *fileHandle, limit int64) *headerScan {
	sc := scans.Get().(*headerScan)
	sc.file, sc.limit, sc.filled = file, limit, 0
	return sc
}

func (sc *headerScan) free() {
	sc.file = nil
	scans.Put(sc)
}

// header returns the header of the batch at pos, which the caller knows to begin one. Bytes that
// cannot be a batch within the limit are ErrCorrupt.
func (sc *headerScan) header(pos int64) (record.Header, error) {
	if sc.limit-pos < record.HeaderBytes {
		return record.Header{}, fmt.Errorf("%w: %d bytes at position %d are less than a batch", ErrCorrupt, sc.limit-pos, pos)
	}
	if pos < sc.at || pos+record.HeaderBytes > sc.at+int64(sc.filled) {
		n := min(windowBytes, sc.limit-pos)
		if err := readFull(sc.file, sc.window[:n], pos); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = fmt.Errorf("%w: the file ends before position %d", ErrCorrupt, pos+n)
			}
			return record.Header{}, err
		}
		sc.at, sc.filled = pos, int(n)
	}
	h, err := record.ReadHeader(sc.window[pos-sc.at : sc.filled])
	if err != nil {
		return record.Header{}, fmt.Errorf("%w: at position %d: %w", ErrCorrupt, pos, err)
	}
	if int64(h.SizeBytes) > sc.limit-pos || h.LastOffsetDelta < 0 || h.BaseOffset < 0 {
		return record.Header{}, fmt.Errorf("%w: the batch at position %d says %d bytes and an offset delta of %d", ErrCorrupt, pos, h.SizeBytes, h.LastOffsetDelta)
	}
	return h, nil
}

// seek returns the position of the first batch that ends above offset o; the limit of the scan where there is none.
func (s *segment) seek(sc *headerScan, files *fileCache, places *placeTable, o ids.Offset) (int64, error) {
	if o <= s.base {
		return 0, nil
	}
	if pos, ok := places.find(o); ok {
		return pos, nil
	}
	pos, err := s.indexFloor(sc, files, o)
	for err == nil && pos < sc.limit {
		var h record.Header
		if h, err = sc.header(pos); err != nil || h.LastOffset() >= o {
			break
		}
		pos += int64(h.SizeBytes)
	}
	return pos, err
}

// seekEnd returns the position behind the last batch, from the one at pos on, that ends at or below bound.
func (s *segment) seekEnd(sc *headerScan, files *fileCache, places *placeTable, bound ids.Offset, pos int64) (int64, error) {
	if end, ok := places.find(bound); ok {
		return end, nil
	}
	from, err := s.indexFloor(sc, files, bound)
	if err != nil {
		return 0, err
	}
	pos = max(pos, from)
	for pos < sc.limit {
		h, err := sc.header(pos)
		if err != nil {
			return 0, err
		}
		if h.NextOffset() > bound {
			break
		}
		pos += int64(h.SizeBytes)
	}
	return pos, nil
}

// seekLimit returns the end of the last batch that ends within req.maxBytes of pos, and the
// offset after it. It is pos where the first batch is too large, unless that one is wanted anyway.
func (s *segment) seekLimit(sc *headerScan, files *fileCache, pos, end int64, req readRequest) (int64, ids.Offset, error) {
	first, err := sc.header(pos)
	if err != nil {
		return 0, 0, err
	}
	limit := pos + int64(req.maxBytes)
	at, next := pos+int64(first.SizeBytes), first.NextOffset()
	if at > limit {
		if req.minOneBatch {
			return at, next, nil
		}
		return pos, req.from, nil
	}
	// Some large batches are walked; many small ones are jumped over with the index.
	if int64(first.SizeBytes)*8 < limit-pos {
		if jump, ok := s.indexFloorPosition(sc, files, limit-int64(first.SizeBytes)); ok && jump > at {
			at = jump
		}
	}
	for at < end {
		h, err := sc.header(at)
		if err != nil {
			return 0, 0, err
		}
		if at+int64(h.SizeBytes) > limit {
			return at, h.BaseOffset, nil
		}
		at, next = at+int64(h.SizeBytes), h.NextOffset()
	}
	return at, next, nil
}

// indexFloor returns the position of a batch at which to begin to scan for offset o: none that
// lies before it ends above o. Where the offset index says nothing that the log confirms, that is 0.
func (s *segment) indexFloor(sc *headerScan, files *fileCache, o ids.Offset) (int64, error) {
	e, found, err := s.lookup(files, int64(o-s.base), offsetEntryOffset, 1, 1)
	if err != nil || !found || !s.confirms(sc, e) {
		return 0, err
	}
	return int64(e.position), nil
}

// indexFloorPosition returns the position of the last indexed batch that begins at or before pos.
func (s *segment) indexFloorPosition(sc *headerScan, files *fileCache, pos int64) (int64, bool) {
	e, found, err := s.lookup(files, pos, offsetEntryPosition, pos, sc.limit)
	return int64(e.position), err == nil && found && s.confirms(sc, e)
}

// confirms tells whether the log has at the entry's position the batch that the entry says.
func (s *segment) confirms(sc *headerScan, e offsetEntry) bool {
	if int64(e.position) >= sc.limit {
		return false
	}
	h, err := sc.header(int64(e.position))
	return err == nil && h.LastOffset() == s.base+ids.Offset(e.relOffset)
}

// lookup finds the last entry of the offset index whose key is at most target; it is expected
// part/of of the way from the first. An index that is missing or too short finds nothing.
func (s *segment) lookup(files *fileCache, target int64, key indexKey, part, of int64) (offsetEntry, bool, error) {
	x := &s.offsets
	h, err := x.openToRead(files, s)
	if err != nil {
		return offsetEntry{}, false, err
	}
	if h != nil {
		defer h.release()
	}
	var b [offsetEntryBytes]byte
	guess := int(int64(x.count()) * part / of)
	i, err := x.floor(h, target, key, guess, b[:])
	return decodeOffsetEntry(b[:]), i >= 0, err
}
