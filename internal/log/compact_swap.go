package log

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moldau/moldau/internal/ids"
)

// A cleaned segment takes the place of others in steps, so that a crash leaves the old ones or
// the new one, and never some of both (Java: LocalLog.replaceSegments):
//
//  1. its bytes are durable, under names that end in .cleaned; after a crash they are removed;
//  2. it is durable under names that end in .swap; from here on a crash ends in the new segment,
//     and whatever lies in its range of offsets is removed;
//  3. it is in the list in the place of the old ones, whose names end in .deleted, durably;
//  4. it has its own names.
//
// A power cut may keep any of the renamings that no sync has covered. An index that got lost between
// two names is made again; what a transaction index says of a cleaned segment nobody misses, because
// the records of aborted transactions have gone with the cleaning.

// errOvertaken says that segments left the log while they were being cleaned.
var errOvertaken = fmt.Errorf("records were deleted while they were being cleaned: %w", errCleaningStopped)

// swapIn puts a cleaned segment, which is durable but for its names, in the place of those it was
// made of, which end at end. The caller holds cleaning.
func (l *Log) swapIn(made *segment, old segmentList, end ids.Offset) error {
	err := l.restage(made, stageSwap)
	if err == nil {
		if err = l.env.fs.SyncDir(l.dir); err != nil {
			err = fmt.Errorf("syncing directory %s: %w", l.dir, err)
		}
	}
	if err != nil {
		return errors.Join(err, l.takeBack(made))
	}
	if err := l.replace(made, old); errors.Is(err, errOvertaken) {
		return errors.Join(err, l.takeBack(made))
	} else if err != nil {
		return l.swapFailed(err)
	}
	// The old names are gone for good before the new segment has one like theirs, or the next
	// start could find both.
	if err := l.env.fs.SyncDir(l.dir); err != nil {
		return l.swapFailed(fmt.Errorf("syncing directory %s: %w", l.dir, err))
	}
	if err := l.settle(made); err != nil {
		return l.swapFailed(err)
	}
	// A snapshot at the beginning of a segment that is no more helps nobody: there is a newer one.
	if err := removeProducerSnapshots(l.env.fs, l.dir, made.base+1, end); err != nil {
		return l.swapFailed(err)
	}
	return nil
}

// swapFailed takes the directory offline: which names its files have is in doubt, until the next start.
func (l *Log) swapFailed(err error) error {
	if l.gone() {
		return l.Err()
	}
	err = l.fail(fmt.Errorf("putting a cleaned segment in its place: %w", err))
	if l.env.failDir != nil {
		l.env.failDir(l.root, err)
	}
	return err
}

// restage renames the files of a segment that nobody else knows of.
func (l *Log) restage(s *segment, to segmentStage) error {
	for _, suffix := range segmentSuffixes {
		err := l.env.fs.Rename(s.path(suffix), s.pathAt(to, suffix))
		if err != nil && !(suffix == txnIndexSuffix && errors.Is(err, fs.ErrNotExist)) {
			return fmt.Errorf("renaming a cleaned segment: %w", err)
		}
	}
	s.stage.Store(int32(to))
	return nil
}

// takeBack removes a segment that is not to be swapped in after all. Should a crash bring it back, it has what its
// range of offsets has, until the next cleaning or truncation; both sync the directory, a cleaning before it makes a file.
func (l *Log) takeBack(made *segment) error {
	if err := errors.Join(l.removeStage(made.base, stageSwap), l.removeStage(made.base, stageCleaned)); err != nil {
		return l.swapFailed(fmt.Errorf("removing a cleaned segment: %w", err))
	}
	l.mu.Lock()
	l.mu.namesDirty = true
	l.mu.Unlock()
	return nil
}

// replace puts the segment into the list and renames the files of the old ones.
func (l *Log) replace(made *segment, old segmentList) error {
	nowMs := time.Now().UnixMilli()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	segs := *l.segments.Load()
	i := slices.Index(segs, old[0])
	if i < 0 || len(segs) < i+len(old) || !slices.Equal(segs[i:i+len(old)], old) {
		return errOvertaken
	}
	next := slices.Concat(segs[:i], segmentList{made}, segs[i+len(old):])
	l.segments.Store(&next)
	l.mu.namesDirty, l.mu.asClosed = true, false
	for _, s := range old {
		s.gone.Store(true)
		l.env.files.drop(&s.offsets.file)
		l.env.files.drop(&s.times.file)
		l.mu.dropped = append(l.mu.dropped, &droppedFiles{s, nowMs})
		for _, suffix := range segmentSuffixes {
			if err := l.env.fs.Rename(s.path(suffix), s.path(suffix)+deletedSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("renaming a segment that was cleaned: %w", err)
			}
		}
	}
	return nil
}

// settle gives the segment its own names, unless it has left the log since.
func (l *Log) settle(made *segment) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if made.gone.Load() {
		return nil
	}
	made.closeFiles(l.env.files)
	return l.restage(made, stageNone)
}

// finishSwaps takes up what a crash has left of a cleaning, ours or Apache Kafka's, and returns
// the names that are there then.
func (l *Log) finishSwaps(names []string) ([]string, error) {
	minCleaned, found := ids.Offset(-1), false
	var swaps []string
	for _, name := range names {
		base, _, ok := parseSegmentFileName(name)
		switch {
		case !ok:
		case strings.HasSuffix(name, cleanedSuffix):
			if !found || base < minCleaned {
				minCleaned = base
			}
			found = true
		case strings.HasSuffix(name, swapSuffix):
			swaps = append(swaps, name)
		}
	}
	if !found && len(swaps) == 0 {
		return names, nil
	}
	// A cleaning that was still being renamed has not taken the place of anything. Kafka may have made
	// several segments of one; those are renamed from the last to the first.
	unfinished := func(name string) bool {
		base, _, ok := parseSegmentFileName(name)
		return ok && (strings.HasSuffix(name, cleanedSuffix) || found && base >= minCleaned && strings.HasSuffix(name, swapSuffix))
	}
	if err := l.removeNames(names, unfinished); err != nil {
		return nil, err
	}
	if err := l.completeSwaps(names, slices.DeleteFunc(swaps, unfinished)); err != nil {
		return nil, err
	}
	return l.env.fs.List(l.dir)
}

// removeNames removes the files that chosen picks, durably.
func (l *Log) removeNames(names []string, chosen func(string) bool) error {
	any := false
	for _, name := range names {
		if !chosen(name) {
			continue
		}
		any = true
		if err := l.removeIfThere(filepath.Join(l.dir, name)); err != nil {
			return err
		}
	}
	if !any {
		return nil
	}
	if err := l.env.fs.SyncDir(l.dir); err != nil {
		return fmt.Errorf("syncing directory %s: %w", l.dir, err)
	}
	return nil
}

// completeSwaps removes the segments whose place was about to be taken, and gives the new ones their names.
func (l *Log) completeSwaps(names, swaps []string) error {
	if len(swaps) == 0 {
		return nil
	}
	from, to := ids.Offset(-1), ids.Offset(-1)
	for _, name := range swaps {
		base, suffix, _ := parseSegmentFileName(name)
		if suffix != logSuffix+swapSuffix {
			continue
		}
		l.env.logger.Info("finishing a compaction that a crash interrupted", "segment", filepath.Join(l.dir, name))
		end, err := l.endOfSwap(base)
		if err != nil {
			return err
		}
		if from < 0 || base < from {
			from = base
		}
		to = max(to, end)
	}
	// Where the log file has its own name already, so may the others: then the old ones are gone.
	if err := l.removeNames(names, func(name string) bool {
		base, suffix, ok := parseSegmentFileName(name)
		return ok && slices.Contains(segmentSuffixes, suffix) && base >= from && base < to &&
			(slices.Contains(names, segmentFileName(base, logSuffix)) || !slices.Contains(names, segmentFileName(base, logSuffix+swapSuffix)))
	}); err != nil {
		return err
	}
	for _, name := range swaps {
		path, base := filepath.Join(l.dir, name), strings.TrimSuffix(name, swapSuffix)
		if begun, _, _ := parseSegmentFileName(name); !slices.Contains(names, segmentFileName(begun, logSuffix+swapSuffix)) {
			// Its log file has another name: that of the new segment, or still that of the old one.
			if err := l.removeIfThere(path); err != nil {
				return err
			}
		} else if err := l.env.fs.Rename(path, filepath.Join(l.dir, base)); err != nil {
			return fmt.Errorf("finishing a compaction: %w", err)
		}
	}
	l.mu.namesDirty = true
	return nil
}

// endOfSwap returns the offset after the last batch of a segment that is about to be swapped in.
func (l *Log) endOfSwap(base ids.Offset) (ids.Offset, error) {
	s := newSegment(l.dir, base)
	s.stage.Store(int32(stageSwap))
	h, err := s.open(l.env.files)
	if err != nil {
		return 0, err
	}
	defer s.closeFiles(l.env.files)
	defer h.release()
	size, err := h.Size()
	if err != nil {
		return 0, err
	}
	sc := newHeaderScan(h, size)
	defer sc.free()
	end := base
	for pos := int64(0); pos < size; {
		head, err := sc.header(pos)
		if err != nil {
			return 0, fmt.Errorf("segment %s: %w", s.path(logSuffix), err)
		}
		end = head.NextOffset()
		pos += int64(head.SizeBytes)
	}
	return end, nil
}
