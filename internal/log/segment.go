package log

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

// Suffixes of a segment's files, Kafka's.
const (
	logSuffix       = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	txnIndexSuffix  = ".txnindex"
	snapshotSuffix  = ".snapshot"

	// After the others: the file goes once nobody reads it, is being written by a cleaning, or is
	// written and about to take the place of those it was made of.
	deletedSuffix = ".deleted"
	cleanedSuffix = ".cleaned"
	swapSuffix    = ".swap"
)

// segmentSuffixes are those of the files that make up a segment.
var segmentSuffixes = []string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix}

// errSegmentGone says that a file was not opened because its segment has left the log: another
// one's may have its name by now.
var errSegmentGone = fmt.Errorf("the segment has left the log: %w", fs.ErrNotExist)

// segmentStage is how far a segment is that a cleaning makes; the names of its files tell.
type segmentStage int32

const (
	stageNone    segmentStage = iota
	stageCleaned              // no part of the log yet
	stageSwap                 // part of the log, and durable, under names that end in .swap or, in this moment, do not any more
)

var stageSuffix = [...]string{stageNone: "", stageCleaned: cleanedSuffix, stageSwap: swapSuffix}

// noTimestamp is the largest timestamp of a segment that has none.
const noTimestamp = -1

// segment is one file of batches with its indexes. The last segment of a log is active: it
// alone is appended to. Java: LogSegment.
type segment struct {
	base ids.Offset
	dir  string // the partition's directory

	file      cachedFile
	offsets   index
	times     index
	sizeBytes atomic.Int64 // written under Log.mu; what is below it is written and does not change

	// gone is set when the segment has left the log; its files are then named otherwise. Whoever
	// opens one of them by name asks after it did.
	gone atomic.Bool

	stage atomic.Int32 // a segmentStage. Written by the cleaning, and with Log.mu held once the segment is part of the log

	// places remembers positions in the file. Cutting the segment replaces the table, so
	// that what a reader learnt before the cut is never believed after it. nil until needed.
	places atomic.Pointer[placeTable]

	// The rest is guarded by Log.mu.

	maxTimestamp     int64      // of its batches; noTimestamp while there is none
	maxTimestampLast ids.Offset // last offset of the first batch that has it
	timesLoaded      bool       // the two above are known; a sealed segment learns them when asked
	lastIndexed      int64      // timestamp of the last time index entry
	firstTimestamp   int64      // largest timestamp of the first batch, by which segment.ms counts
	createdMs        int64      // wall clock, for segment.ms where batches have no timestamps
	jitterMs         int64      // this segment's part of segment.jitter.ms
	snapshotAt       int64      // size at the last producer snapshot within the segment
	unindexedBytes   int64      // since the last entry of the offset index
	indexMissing     bool       // as found on opening
	dirty            bool       // bytes or size not synced
	indexDirty       bool       // sealed since, and its indexes not synced
	indexSynced      bool       // sealed, and its indexes synced since
	txnDirty         bool       // its transaction index has entries that are not synced
}

func newSegment(dir string, base ids.Offset) *segment {
	s := &segment{base: base, dir: dir, maxTimestamp: noTimestamp, lastIndexed: noTimestamp, firstTimestamp: noTimestamp}
	s.offsets.entryBytes, s.offsets.suffix = offsetEntryBytes, indexSuffix
	s.times.entryBytes, s.times.suffix = timeEntryBytes, timeIndexSuffix
	return s
}

// segmentFileName returns the name of a segment's file: 20 digits and the suffix.
func segmentFileName(base ids.Offset, suffix string) string {
	var b [20 + 32]byte
	digits := strconv.AppendInt(b[32:32], int64(base), 10)
	name := b[:0]
	for range 20 - len(digits) {
		name = append(name, '0')
	}
	name = append(name, digits...)
	return string(append(name, suffix...))
}

// parseSegmentFileName returns the base offset that name starts with and what follows the digits.
func parseSegmentFileName(name string) (base ids.Offset, suffix string, ok bool) {
	if len(name) < 20 || strings.ContainsAny(name[:20], "+-") {
		return 0, "", false
	}
	n, err := strconv.ParseInt(name[:20], 10, 64)
	if err != nil {
		return 0, "", false
	}
	return ids.Offset(n), name[20:], true
}

// path is where a file of the segment is. Readers use openFile.
func (s *segment) path(suffix string) string {
	return s.pathAt(segmentStage(s.stage.Load()), suffix)
}

func (s *segment) pathAt(stage segmentStage, suffix string) string {
	return filepath.Join(s.dir, segmentFileName(s.base, suffix+stageSuffix[stage]))
}

// openFile opens a file of the segment, under whichever name it has while a cleaning ends.
func (s *segment) openFile(open func(string) (vfs.File, error), suffix string) (vfs.File, error) {
	stage := segmentStage(s.stage.Load())
	f, err := open(s.pathAt(stage, suffix))
	if stage == stageSwap && errors.Is(err, fs.ErrNotExist) {
		f, err = open(s.pathAt(stageNone, suffix))
	}
	if s.gone.Load() {
		if err == nil {
			_ = f.Close() // nothing was done with it
		}
		return nil, errSegmentGone
	}
	return f, err
}

// resetActive makes the segment a new, empty one in memory.
func (s *segment) resetActive(cfg *Config, nowMs int64) {
	s.offsets.reset()
	s.times.reset()
	s.resetState(cfg, nowMs)
}

// resetState forgets what is known of the batches.
func (s *segment) resetState(cfg *Config, nowMs int64) {
	s.maxTimestamp, s.maxTimestampLast, s.timesLoaded = noTimestamp, s.base, true
	s.lastIndexed, s.firstTimestamp, s.unindexedBytes = noTimestamp, noTimestamp, 0
	s.setCreated(cfg, nowMs)
}

func (s *segment) setCreated(cfg *Config, nowMs int64) {
	s.createdMs, s.jitterMs = nowMs, 0
	if jitter := min(cfg.SegmentJitterMs, cfg.rollMs()); jitter > 0 {
		s.jitterMs = rand.Int64N(jitter)
	}
}

// open returns the log file with a reference.
func (s *segment) open(files *fileCache) (*fileHandle, error) {
	if h := s.file.cached(); h != nil {
		return h, nil
	}
	f, err := s.openFile(files.fs.OpenExisting, logSuffix)
	if err != nil {
		return nil, fmt.Errorf("opening segment: %w", err)
	}
	if err := s.checkSize(f); err != nil {
		return nil, fmt.Errorf("opening segment %s: %w", s.path(logSuffix), errors.Join(err, f.Close()))
	}
	return files.put(&s.file, f), nil
}

// checkSize refuses a file that got shorter since it was last open: it would be read, or continued, past a hole.
// Others may append to it or truncate it meanwhile. An append adds bytes before it adds to sizeBytes, a
// truncation takes from sizeBytes first: so a size that is compared must be known before the file's is, and still hold.
func (s *segment) checkSize(f vfs.File) error {
	for {
		written := s.sizeBytes.Load()
		size, err := f.Size()
		if err != nil || size >= written {
			return err
		}
		if s.sizeBytes.Load() == written {
			return fmt.Errorf("%w: it has %d bytes and %d were written", ErrCorrupt, size, written)
		}
	}
}

// fits tells whether an offset can be written relative to the segment's base.
func (s *segment) fits(last ids.Offset) bool {
	return last >= s.base && last-s.base <= math.MaxInt32
}

// indexBatch notes a batch that has been written at pos. Room in the indexes has been made.
func (s *segment) indexBatch(b record.Batch, pos int64, intervalBytes int32) {
	s.indexSpan(b.LastOffset(), b.MaxTimestamp(), pos, int64(len(b)), intervalBytes)
}

// indexHeader is indexBatch for a batch of which only the header was read.
func (s *segment) indexHeader(h *record.Header, pos int64, intervalBytes int32) {
	s.indexSpan(h.LastOffset(), h.MaxTimestamp, pos, int64(h.SizeBytes), intervalBytes)
}

// indexSpan applies Kafka's rule, that of LogSegment.append, so that its tools find what they expect.
func (s *segment) indexSpan(last ids.Offset, maxTimestamp, pos, sizeBytes int64, intervalBytes int32) {
	if maxTimestamp > s.maxTimestamp {
		s.maxTimestamp, s.maxTimestampLast = maxTimestamp, last
	}
	if pos == 0 {
		s.firstTimestamp = maxTimestamp
	}
	if s.unindexedBytes > int64(intervalBytes) {
		e := offsetEntry{uint32(last - s.base), uint32(pos)}.encode()
		s.offsets.append(e[:])
		s.indexTime()
		s.unindexedBytes = 0
	}
	s.unindexedBytes += sizeBytes
}

// indexTime adds the largest timestamp to the time index unless it is there.
func (s *segment) indexTime() {
	if s.maxTimestamp > s.lastIndexed {
		e := timeEntry{s.maxTimestamp, uint32(s.maxTimestampLast - s.base)}.encode()
		s.times.append(e[:])
		s.lastIndexed = s.maxTimestamp
	}
}

// makeIndexRoom flushes the indexes if they cannot take another n entries in memory.
func (s *segment) makeIndexRoom(files *fileCache, n int) error {
	if s.offsets.full(n) {
		if err := s.offsets.flush(files, s); err != nil {
			return err
		}
	}
	if s.times.full(n + 1) {
		return s.times.flush(files, s)
	}
	return nil
}

// sealIndexes writes what the indexes still have in memory, with a last entry of the time
// index so that its end tells the segment's largest timestamp.
func (s *segment) sealIndexes(files *fileCache) error {
	s.indexTime()
	return s.trimIndexes(files)
}

// trimIndexes writes what the indexes still have in memory and cuts their files behind the last entry.
func (s *segment) trimIndexes(files *fileCache) error {
	if err := s.offsets.seal(files, s); err != nil {
		return err
	}
	return s.times.seal(files, s)
}

// flushIndexes writes what the indexes still have in memory.
func (s *segment) flushIndexes(files *fileCache) error {
	if err := s.offsets.flush(files, s); err != nil {
		return err
	}
	return s.times.flush(files, s)
}

// closeFiles gives up the cache's references; readers keep theirs.
func (s *segment) closeFiles(files *fileCache) {
	files.drop(&s.file)
	files.drop(&s.offsets.file)
	files.drop(&s.times.file)
}

// inUse tells whether a reader holds one of the segment's files.
func (s *segment) inUse() bool { return s.file.inUse() }

// segmentList is in the order of base offsets. A list that has been published is never changed.
type segmentList []*segment

// floor returns the index of the last segment whose base offset is at most o, -1 for none.
func (l segmentList) floor(o ids.Offset) int {
	return sort.Search(len(l), func(i int) bool { return l[i].base > o }) - 1
}

func (l segmentList) sizeBytes() int64 {
	var n int64
	for _, s := range l {
		n += s.sizeBytes.Load()
	}
	return n
}
