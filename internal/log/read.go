package log

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// Read returns whole batches from the one that holds offset from, below bound, of at most
// maxBytes, all in one segment; with minOneBatch the first batch comes whole however large it
// is. At the end, or at bound, the slice is empty. Outside [start, end] the error wraps
// kerr.OffsetOutOfRange.
//
// Read takes no lock of the log and decodes nothing but batch headers, and of these only as
// many as it needs to find the two ends.
func (l *Log) Read(from, bound ids.Offset, maxBytes int32, minOneBatch bool) (Slice, error) {
	for {
		if err := l.Err(); err != nil {
			return Slice{}, err
		}
		before := l.view()
		end := l.EndOffset()
		if start := l.StartOffset(); from < start || from > end {
			return Slice{}, fmt.Errorf("reading offset %d of %s, which has %d to %d: %w", from, l.tp, start, end, kerr.OffsetOutOfRange)
		}
		s, err := l.readSegments(*before.segments, readRequest{from, min(bound, end), maxBytes, minOneBatch})
		if before.truncations != l.truncations.Load() {
			s.Release()
			continue
		}
		if err != nil && before.outdated(l, err) {
			continue
		}
		if err != nil {
			return Slice{}, l.readError(err)
		}
		return s, nil
	}
}

// ReadCommitted is Read with the aborted transactions that a consumer of the slice has to know. Both
// are of one state of the log: a cleaning takes aborted records away together with what is known of them.
func (l *Log) ReadCommitted(from, bound ids.Offset, maxBytes int32, minOneBatch bool) (Slice, []AbortedTxn, error) {
	for {
		before := l.segments.Load()
		s, err := l.Read(from, bound, maxBytes, minOneBatch)
		if err != nil || s.Len() == 0 {
			return s, nil, err
		}
		aborted, err := l.AbortedTxns(from, bound)
		if err == nil && l.segments.Load() == before {
			return s, aborted, nil
		}
		s.Release()
		if err != nil {
			return Slice{}, nil, err
		}
	}
}

// logView is what a read goes by. It takes no lock, so that what it finds may be gone meanwhile.
type logView struct {
	segments    *segmentList
	truncations uint64
}

func (l *Log) view() logView {
	n := l.truncations.Load()
	return logView{l.segments.Load(), n}
}

// outdated tells whether an error of a read is no more than a sign that retention, a cleaning or a truncation was faster.
func (v logView) outdated(l *Log, err error) bool {
	return v.truncations != l.truncations.Load() || l.segments.Load() != v.segments && errors.Is(err, fs.ErrNotExist)
}

// readError judges an error of a read: damage takes the log offline, a failing disk its directory.
func (l *Log) readError(err error) error {
	if err := l.Err(); err != nil {
		return err
	}
	if errors.Is(err, errDamagedFile) || errors.Is(err, record.ErrCorrupt) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return l.ioError("reading", err)
}

// Verify checks every batch of a slice of this log by its checksum. Damage takes the log offline.
func (l *Log) Verify(s Slice) error {
	buf := make([]byte, s.Len())
	if _, err := s.ReadInto(buf); err != nil {
		return l.readError(fmt.Errorf("checking what was read: %w", err))
	}
	for rest := buf; len(rest) > 0; {
		b, after, err := record.First(rest)
		if err == nil && !b.CheckCRC() {
			err = fmt.Errorf("%w: the batch at offset %d fails its checksum", record.ErrCorrupt, b.BaseOffset())
		}
		if err != nil {
			return l.readError(err)
		}
		rest = after
	}
	return nil
}

type readRequest struct {
	from, bound ids.Offset // bound is at most the log's end
	maxBytes    int32
	minOneBatch bool
}

// readSegments reads from the first segment that has a batch at or after req.from.
func (l *Log) readSegments(segs segmentList, req readRequest) (Slice, error) {
	if req.from >= req.bound {
		return Slice{}, nil
	}
	for i := max(segs.floor(req.from), 0); i < len(segs) && segs[i].base < req.bound; i++ {
		upTo := req.bound
		whole := i+1 < len(segs) && segs[i+1].base <= req.bound
		if whole {
			upTo = segs[i+1].base
		}
		s, found, err := segs[i].slice(l.env.files, req, upTo, whole)
		if err != nil || found {
			return s, err
		}
	}
	return Slice{}, nil
}

// slice returns the batches of the segment from the one that holds req.from to the last that ends
// at or below upTo; whole tells that this is the segment's end. found is false where there is no such batch.
func (s *segment) slice(files *fileCache, req readRequest, upTo ids.Offset, whole bool) (out Slice, found bool, err error) {
	places := s.placeTable() // before anything is learnt that a cut could make wrong
	size := s.sizeBytes.Load()
	if size == 0 {
		return Slice{}, false, nil
	}
	h, err := s.open(files)
	if err != nil {
		return Slice{}, false, err
	}
	defer func() {
		if out.file == nil {
			h.release()
		}
	}()
	sc := newHeaderScan(h, size)
	defer sc.free()
	pos, err := s.seek(sc, files, places, req.from)
	if err != nil || pos >= size {
		return Slice{}, false, err
	}
	end := size
	if !whole {
		if end, err = s.seekEnd(sc, files, places, upTo, pos); err != nil || end <= pos {
			return Slice{}, false, err
		}
	}
	next := upTo
	if end-pos > int64(req.maxBytes) {
		if end, next, err = s.seekLimit(sc, files, pos, end, req); err != nil {
			return Slice{}, false, err
		}
		if end == pos {
			return Slice{}, true, nil // not even the first batch may go
		}
	}
	places.readTo(next, end)
	return Slice{file: h, position: pos, bytes: int(end - pos), next: next}, true, nil
}
