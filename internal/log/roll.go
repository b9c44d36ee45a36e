package log

import (
	"fmt"
	"slices"

	"github.com/moldau/moldau/internal/ids"
)

// mustRoll tells whether the run has to go to a new segment: size, time between batch
// timestamps, full index or an offset too far from the base. Java: LogSegment.shouldRoll.
func (s *segment) mustRoll(cfg *Config, r *run, nowMs int64) bool {
	if !s.fits(r.last) {
		return true
	}
	size := s.sizeBytes.Load()
	if size == 0 {
		return false
	}
	return size > int64(cfg.SegmentBytes)-int64(len(r.bytes)) ||
		s.waitedMs(r.maxTimestamp, nowMs) > cfg.rollMs()-s.jitterMs ||
		s.offsets.count() >= offsetEntriesMax(cfg.IndexBytes) ||
		s.times.count() >= timeEntriesMax(cfg.IndexBytes)
}

// waitedMs is the time between the segment's first batch and one with the given timestamp,
// or since the segment was made where batches have no timestamps.
func (s *segment) waitedMs(timestamp, nowMs int64) int64 {
	if s.firstTimestamp >= 0 {
		return timestamp - s.firstTimestamp
	}
	return nowMs - s.createdMs
}

// rollLocked seals the active segment and makes a new one that begins at base. After an error the log
// is as it was: the sealed segment may be appended to again.
func (l *Log) rollLocked(base ids.Offset, cfg *Config, nowMs int64) (*segment, error) {
	if err := l.bornLocked(); err != nil {
		return nil, err
	}
	l.mu.asClosed = false
	old := l.active()
	if old != nil && old.base == base {
		return nil, l.fail(fmt.Errorf("%w: segment %d would be made a second time", ErrCorrupt, base))
	}
	if old != nil {
		if err := l.sealLocked(old, cfg); err != nil {
			return nil, err
		}
	}
	seg, err := l.createSegmentLocked(base, cfg, nowMs)
	if err != nil {
		return nil, err
	}
	segs := *l.segments.Load()
	if old != nil && old.sizeBytes.Load() == 0 {
		// An empty segment whose base is too far below the first offset to hold it.
		l.dropLocked(segs[len(segs)-1:], nowMs)
		segs = segs[:len(segs)-1]
	} else if old != nil {
		old.indexDirty, old.indexSynced = true, false
		l.mu.snapshots = append(l.mu.snapshots, l.mu.producers.snapshot(base))
	}
	segs = append(slices.Clip(segs), seg)
	l.segments.Store(&segs)
	if old != nil {
		l.RequestSync() // Kafka, too, flushes what it seals
	}
	return seg, nil
}

// sealLocked writes what the segment still has in memory and trims its files.
func (l *Log) sealLocked(seg *segment, cfg *Config) error {
	if err := seg.sealIndexes(l.env.files); err != nil {
		return l.ioError("rolling", err)
	}
	l.mu.namesDirty = true // the indexes may just have been made
	if !cfg.Preallocate {
		return nil
	}
	h, err := seg.open(l.env.files)
	if err == nil {
		err = h.Truncate(seg.sizeBytes.Load())
		h.release()
	}
	if err != nil {
		return l.ioError("rolling", err)
	}
	seg.dirty = true // its size
	return nil
}

// createSegmentLocked makes the log file of a new segment. It is not in the list yet.
func (l *Log) createSegmentLocked(base ids.Offset, cfg *Config, nowMs int64) (*segment, error) {
	seg := newSegment(l.dir, base)
	seg.resetActive(cfg, nowMs)
	f, err := l.env.fs.Create(seg.path(logSuffix))
	if err != nil {
		return nil, l.ioError("rolling", err)
	}
	if cfg.Preallocate {
		if err := f.Truncate(int64(cfg.SegmentBytes)); err != nil {
			_ = f.Close()
			_ = l.env.fs.Remove(seg.path(logSuffix)) // the next try may begin elsewhere
			return nil, l.ioError("rolling", err)
		}
	}
	l.env.files.put(&seg.file, f).release()
	l.mu.namesDirty = true
	return seg, nil
}
