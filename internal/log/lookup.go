package log

import (
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// OffsetForTimestamp finds the first record below bound whose timestamp is ts or later, with its
// timestamp and leader epoch. Segments go by their largest timestamp, batches by theirs;
// the record is found by reading its batch. Java: UnifiedLog.fetchOffsetByTimestamp.
func (l *Log) OffsetForTimestamp(ts int64, bound ids.Offset) (off ids.Offset, foundTs int64, epoch ids.LeaderEpoch, found bool, err error) {
	f, err := l.find(func(segs segmentList) (foundRecord, error) { return l.findTimestamp(segs, ts, l.StartOffset()) })
	if err != nil || !f.found || f.offset >= min(bound, l.EndOffset()) {
		return ids.NoOffset, noTimestamp, ids.NoLeaderEpoch, false, err
	}
	return f.offset, f.timestamp, f.epoch, true, nil
}

// MaxTimestamp finds the first record with the largest timestamp of the log's segments, -1 where
// there is none or it lies at bound or above (KIP-734). As in Kafka it may lie below the log start.
func (l *Log) MaxTimestamp(bound ids.Offset) (off ids.Offset, ts int64, epoch ids.LeaderEpoch, err error) {
	f, err := l.find(l.findMaxTimestamp)
	if err != nil || !f.found || f.offset >= min(bound, l.EndOffset()) {
		return ids.NoOffset, noTimestamp, ids.NoLeaderEpoch, err
	}
	return f.offset, f.timestamp, f.epoch, nil
}

type foundRecord struct {
	offset    ids.Offset
	timestamp int64
	epoch     ids.LeaderEpoch
	found     bool
}

// find looks through the segments, once more where retention took them away meanwhile.
func (l *Log) find(look func(segmentList) (foundRecord, error)) (foundRecord, error) {
	for {
		if err := l.Err(); err != nil {
			return foundRecord{}, err
		}
		before := l.view()
		f, err := look(*before.segments)
		if before.truncations != l.truncations.Load() || err != nil && before.outdated(l, err) {
			continue
		}
		if err != nil {
			return foundRecord{}, l.readError(err)
		}
		return f, nil
	}
}

// segmentTimes returns the largest timestamp of a segment and the last offset of the first batch that has it.
func (l *Log) segmentTimes(s *segment) (timestamp int64, last ids.Offset, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err = s.loadTimes(l.env.files)
	return s.maxTimestamp, s.maxTimestampLast, err
}

func (l *Log) findTimestamp(segs segmentList, ts int64, from ids.Offset) (foundRecord, error) {
	for _, s := range segs {
		largest, _, err := l.segmentTimes(s)
		if err != nil {
			return foundRecord{}, err
		}
		if largest < ts {
			continue
		}
		start, err := s.timeFloor(l.env.files, ts)
		if err != nil {
			return foundRecord{}, err
		}
		f, err := s.findRecord(l.env.files, ts, start, from)
		if err != nil || f.found {
			return f, err
		}
	}
	return foundRecord{}, nil
}

func (l *Log) findMaxTimestamp(segs segmentList) (foundRecord, error) {
	var in *segment
	largest, last := int64(noTimestamp), ids.NoOffset
	for _, s := range segs {
		ts, o, err := l.segmentTimes(s)
		if err != nil {
			return foundRecord{}, err
		}
		if ts > largest {
			in, largest, last = s, ts, o
		}
	}
	if in == nil {
		return foundRecord{}, nil
	}
	return in.findRecord(l.env.files, largest, last, in.base)
}

// timeFloor returns an offset below which no batch of the segment has a timestamp of ts or later.
func (s *segment) timeFloor(files *fileCache, ts int64) (ids.Offset, error) {
	h, err := s.times.openToRead(files, s)
	if err != nil {
		return 0, err
	}
	if h != nil {
		defer h.release()
	}
	var b [timeEntryBytes]byte
	// An entry holds the largest timestamp so far: with ts-1 everything up to it is too old.
	i, err := s.times.floor(h, ts-1, timeEntryTimestamp, s.times.count(), b[:])
	if err != nil || i < 0 {
		return s.base, err
	}
	return s.base + ids.Offset(decodeTimeEntry(b[:]).relOffset), nil
}

// findRecord returns the first record at or above offset from whose timestamp is ts or later,
// looking from the batch that holds offset start.
func (s *segment) findRecord(files *fileCache, ts int64, start, from ids.Offset) (foundRecord, error) {
	size := s.sizeBytes.Load()
	if size == 0 {
		return foundRecord{}, nil
	}
	h, err := s.open(files)
	if err != nil {
		return foundRecord{}, err
	}
	defer h.release()
	sc := newHeaderScan(h, size)
	defer sc.free()
	pos, err := s.seek(sc, files, s.placeTable(), start)
	for err == nil && pos < size {
		var head record.Header
		if head, err = sc.header(pos); err != nil {
			break
		}
		if head.MaxTimestamp >= ts && head.LastOffset() >= from {
			f, err := findInBatch(h, pos, &head, ts, from)
			if err != nil || f.found {
				return f, err
			}
		}
		pos += int64(head.SizeBytes)
	}
	return foundRecord{}, err
}

func findInBatch(h *fileHandle, pos int64, head *record.Header, ts int64, from ids.Offset) (foundRecord, error) {
	buf := make([]byte, head.SizeBytes)
	if err := readFull(h, buf, pos); err != nil {
		return foundRecord{}, err
	}
	b := record.Batch(buf)
	off, found, ok, err := b.FindTimestamp(ts, from)
	return foundRecord{off, found, head.LeaderEpoch, ok}, err
}
