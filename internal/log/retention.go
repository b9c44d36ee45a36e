package log

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
)

// droppedFiles is a segment that has left the log: its files are renamed, and removed once the
// delay is over and nobody reads them.
type droppedFiles struct {
	*segment
	sinceMs int64
}

// retain drops the segments that retention does not want any more, oldest first and only below
// the high watermark, forgets silent producers and removes what was dropped long enough ago.
// Java: UnifiedLog.deleteOldSegments.
func (l *Log) retain(now time.Time) error {
	if err := l.Err(); err != nil {
		return err
	}
	nowMs := now.UnixMilli()
	cfg := l.config.Load()
	l.mu.Lock()
	l.mu.producers.expire(nowMs, cfg.ProducerExpirationMs)
	l.mu.Unlock()
	n, start, err := l.outlived(cfg, nowMs)
	if err == nil && n > 0 {
		l.env.logger.Debug("dropping old segments", "log", l.tp, "segments", n, "start", start)
		err = l.dropBelow(start, cfg, nowMs)
	}
	if err != nil && !errors.Is(err, kerr.OffsetOutOfRange) { // of a truncation that was faster
		return err
	}
	return l.removeDropped(now)
}

// dropBelow moves the log start and drops the segments that lie whole below it. The start is durable before the
// first file goes, so that a crash which keeps some of the files and not others leaves no hole in the log.
func (l *Log) dropBelow(start ids.Offset, cfg *Config, nowMs int64) error {
	if err := l.advanceStart(start, cfg, nowMs); err != nil {
		return err
	}
	return l.dropBelowStart(nowMs)
}

// outlived returns how many of the oldest segments may go and where the log then starts.
func (l *Log) outlived(cfg *Config, nowMs int64) (n int, start ids.Offset, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	segs := *l.segments.Load()
	start = l.StartOffset()
	excess := l.SizeBytes() - cfg.RetentionBytes
	for i, s := range segs {
		next, last := l.EndOffset(), i == len(segs)-1
		if !last {
			next = segs[i+1].base
		}
		if next > l.HighWatermark() || last && s.sizeBytes.Load() == 0 {
			break
		}
		gone := !last && next <= l.StartOffset()
		if cfg.DeletePolicy && !gone && cfg.RetentionBytes >= 0 {
			gone = excess-s.sizeBytes.Load() >= 0
		}
		if cfg.DeletePolicy && !gone && cfg.RetentionMs >= 0 {
			newest, err := l.newestLocked(s)
			if err != nil {
				return 0, 0, err
			}
			gone = nowMs-newest > cfg.RetentionMs
		}
		if !gone {
			break
		}
		excess -= s.sizeBytes.Load()
		n, start = n+1, max(start, next)
	}
	return n, start, nil
}

// newestLocked returns the largest timestamp of a segment, or where it has none when its file was last written.
func (l *Log) newestLocked(s *segment) (int64, error) {
	if err := s.loadTimes(l.env.files); err != nil {
		return 0, err
	}
	if s.maxTimestamp >= 0 {
		return s.maxTimestamp, nil
	}
	info, err := l.env.fs.Stat(s.path(logSuffix))
	if err != nil {
		return 0, fmt.Errorf("reading the age of a segment: %w", err)
	}
	return info.ModTime().UnixMilli(), nil
}

// advanceStart raises the log start, to the high watermark at most, and makes it durable. A log that is to keep no
// record keeps an empty segment, which is how the next start knows where it ended.
func (l *Log) advanceStart(o ids.Offset, cfg *Config, nowMs int64) error {
	l.mu.Lock()
	if err := l.Err(); err != nil || o <= l.StartOffset() {
		l.mu.Unlock()
		return err
	}
	if hw := l.HighWatermark(); o > hw { // a truncation may have lowered it since the caller looked
		l.mu.Unlock()
		return fmt.Errorf("deleting records of %s below offset %d, its high watermark is %d: %w", l.tp, o, hw, kerr.OffsetOutOfRange)
	}
	if a := l.active(); a != nil && o >= l.EndOffset() && a.sizeBytes.Load() > 0 {
		if _, err := l.rollLocked(l.EndOffset(), cfg, nowMs); err != nil {
			l.mu.Unlock()
			return err
		}
	}
	l.start.Store(int64(o))
	if l.mu.epochs.truncateFromStart(o) {
		l.mu.epochsChanged = true
	}
	l.mu.producers.advanceStart(o)
	l.mu.Unlock()
	return l.saveStart("raising the log start")
}

// saveStart makes the log start durable.
func (l *Log) saveStart(doing string) error {
	if l.env.checkpointStart == nil {
		return nil
	}
	if err := l.env.checkpointStart(l); err != nil {
		return l.ioError(doing, err)
	}
	return nil
}

// AdvanceStart deletes the records below o: it raises the log start, durably by the time it
// returns, and drops the segments that lie whole below it; their files go at once where
// file.delete.delay.ms is 0. Above the high watermark the error wraps kerr.OffsetOutOfRange. Java: UnifiedLog.maybeIncrementLogStartOffset.
func (l *Log) AdvanceStart(o ids.Offset) error {
	if err := l.Err(); err != nil {
		return err
	}
	if o < 0 {
		return fmt.Errorf("deleting records of %s below offset %d: %w", l.tp, o, kerr.OffsetOutOfRange)
	}
	nowMs, cfg := time.Now().UnixMilli(), l.config.Load()
	if err := l.dropBelow(o, cfg, nowMs); err != nil || cfg.FileDeleteDelayMs > 0 {
		return err
	}
	return l.removeDropped(time.Now())
}

// dropBelowStart takes the segments that lie whole below the log start off the list.
func (l *Log) dropBelowStart(nowMs int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	segs := *l.segments.Load()
	if n := segs.floor(l.StartOffset()); n > 0 {
		kept := segs[n:]
		l.segments.Store(&kept)
		l.dropLocked(segs[:n], nowMs)
	}
	return nil
}

// dropLocked renames the files of segments that have left the list.
func (l *Log) dropLocked(segs segmentList, nowMs int64) {
	for _, s := range segs {
		s.gone.Store(true)
		l.env.files.drop(&s.offsets.file)
		l.env.files.drop(&s.times.file)
		for _, suffix := range segmentSuffixes {
			// A name that cannot be changed stays until removeDropped or the next start: what lies
			// below the log start is never read again.
			_ = l.env.fs.Rename(s.path(suffix), s.path(suffix)+deletedSuffix)
		}
		l.mu.dropped = append(l.mu.dropped, &droppedFiles{s, nowMs})
	}
	l.mu.namesDirty = l.mu.namesDirty || len(segs) > 0
}

// removeDropped removes the files of segments that left the log long enough ago and that nobody
// reads any more, with the producer snapshots from before the first segment that is left.
func (l *Log) removeDropped(now time.Time) error {
	due := l.takeDropped(now.UnixMilli() - l.config.Load().FileDeleteDelayMs)
	if len(due) == 0 {
		return nil
	}
	for _, d := range due {
		l.env.files.drop(&d.file)
		for _, suffix := range segmentSuffixes {
			if err := l.removeIfThere(d.path(suffix) + deletedSuffix); err != nil {
				return l.ioError("removing old segments", err)
			}
		}
	}
	if segs := *l.segments.Load(); len(segs) > 0 {
		if err := removeProducerSnapshots(l.env.fs, l.dir, 0, segs[0].base); err != nil {
			return l.ioError("removing old segments", err)
		}
	}
	return nil
}

// takeDropped takes out of the list what was dropped by the given time and is not read.
func (l *Log) takeDropped(byMs int64) (due []*droppedFiles) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var wait []*droppedFiles
	for _, d := range l.mu.dropped {
		if d.sinceMs <= byMs && !d.inUse() {
			due = append(due, d)
		} else {
			wait = append(wait, d)
		}
	}
	l.mu.dropped = wait
	return due
}
