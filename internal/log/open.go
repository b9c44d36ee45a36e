package log

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moldau/moldau/internal/ids"
)

// openOptions is what the checkpoints of a data directory say about one log.
type openOptions struct {
	recoveryPoint ids.Offset // everything below was synced, with its index entries and epochs
	logStart      ids.Offset // at least; the first segment may begin later
	highWatermark ids.Offset
	cleaned       ids.Offset // what compaction had come up to
	clean         bool       // closed in order: nothing needs to be checked
	// strict refuses damage that is followed by a valid batch, which a torn tail is not.
	strict bool
	// syncedTo refuses, whatever the checkpoints say, to give up a record below it. Unlike the
	// recovery point it promises nothing of indexes and epochs.
	syncedTo ids.Offset
	// foreign says that Apache Kafka wrote the segments, where compaction may leave gaps between
	// them. Otherwise a gap past the recovery point is where a crash took the end of a segment.
	foreign bool
}

// openLog opens what is on the disk for a partition. A clean log is believed; of another one the
// part past the recovery point is checked and cut behind its last valid batch. Damage below
// the recovery point is ErrCorruptBelowRecovery and nothing has been changed.
//
// When it returns everything that the log holds is durable.
func openLog(env *logEnv, root string, tp ids.TopicPartition, id ids.TopicID, cfg Config, opts openOptions) (*Log, error) {
	l := newLog(env, root, tp, id, cfg)
	if err := l.load(opts); err != nil {
		return nil, fmt.Errorf("opening log %s: %w", l.dir, err)
	}
	return l, nil
}

func (l *Log) load(opts openOptions) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if opts.recoveryPoint <= opts.logStart {
		opts.recoveryPoint = 0 // nothing of what was synced is still wanted: none of it can be missing
	}
	names, err := l.env.fs.List(l.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l.mu.born = err == nil
	if l.mu.born && !opts.clean {
		// A crash says nothing about the names: the next sync makes them durable.
		l.mu.namesDirty, l.mu.rootDirty = true, true
		if err := l.restoreMetadata(); err != nil {
			return err
		}
	}
	if names, err = l.finishSwaps(names); err != nil {
		return err
	}
	segs, err := l.loadSegments(names, opts)
	if err != nil {
		return err
	}
	if l.mu.epochs, err = l.loadEpochs(opts); err != nil {
		return err
	}
	ld := loader{log: l, opts: opts, segments: segs, nowMs: time.Now().UnixMilli(), abortedBelow: math.MaxInt64}
	if err := ld.run(); err != nil {
		return err
	}
	for _, s := range ld.segments {
		s.indexSynced = true
		s.closeFiles(l.env.files)
	}
	return nil
}

// restoreMetadata writes partition.metadata again where a crash took it. It had not been synced
// then, nor had anything else of the log.
func (l *Log) restoreMetadata() error {
	if l.id.IsZero() {
		return nil
	}
	l.mu.metadataDirty = true
	_, found, err := readPartitionMetadata(l.env.fs, l.dir)
	if err == nil && !found || errors.Is(err, errDamagedFile) {
		return l.writeMetadata()
	}
	return err
}

// loadSegments removes what an interrupted deletion left behind and returns the segments that
// reach above the log start, with their sizes.
func (l *Log) loadSegments(names []string, opts openOptions) (segmentList, error) {
	var segs segmentList
	present := make(map[string]bool, len(names))
	for _, name := range names {
		present[name] = true
		if base, suffix, ok := parseSegmentFileName(name); ok && suffix == logSuffix {
			segs = append(segs, newSegment(l.dir, base))
		}
	}
	first := max(segs.floor(opts.logStart), 0) // those before lie whole below the log start
	for _, name := range names {
		base, suffix, ok := parseSegmentFileName(name)
		switch {
		case strings.HasSuffix(name, deletedSuffix), strings.HasSuffix(name, tmpSuffix):
		case !ok || suffix == snapshotSuffix:
			continue
		case len(segs) > 0 && base < segs[first].base:
		case !present[segmentFileName(base, logSuffix)]:
		default:
			continue
		}
		if err := l.removeIfThere(filepath.Join(l.dir, name)); err != nil {
			return nil, err
		}
	}
	segs = slices.Clone(segs[min(first, len(segs)):])
	for _, s := range segs {
		info, err := l.env.fs.Stat(s.path(logSuffix))
		if err != nil {
			return nil, err
		}
		s.sizeBytes.Store(info.Size())
		s.indexMissing = !present[segmentFileName(s.base, indexSuffix)] || !present[segmentFileName(s.base, timeIndexSuffix)]
	}
	return segs, nil
}

// loadEpochs reads the epoch checkpoint. After a crash what a damaged one said is learnt from the batches.
func (l *Log) loadEpochs(opts openOptions) (epochCache, error) {
	c, err := readEpochCache(l.env.fs, l.dir)
	if err == nil && !opts.clean {
		c.truncateFromEnd(opts.recoveryPoint)
	}
	return c, err
}

// loader brings a log from its files into memory.
type loader struct {
	log      *Log
	opts     openOptions
	segments segmentList
	nowMs    int64
	end      ids.Offset // of what has been loaded so far
	changed  bool       // files were repaired
	replay   bool       // producers from the batches where there is no snapshot, even if clean
	scanned  bool       // batches past the recovery point are not known to be durable

	// abortedBelow is where the transaction indexes end: what they said of markers from there on was cut off.
	abortedBelow ids.Offset
}

func (ld *loader) run() error {
	l := ld.log
	if err := ld.dropBehindLostStart(); err != nil {
		return err
	}
	if len(ld.segments) == 0 {
		ld.end = max(ld.opts.logStart, 0)
		if ld.end < ld.opts.recoveryPoint {
			return fmt.Errorf("%w: no segment is left, and the log was synced up to offset %d", ErrCorruptBelowRecovery, ld.opts.recoveryPoint)
		}
		ld.publish()
		l.mu.recovery = ld.end
		return nil
	}
	ld.end = ld.segments[0].base
	if err := ld.loadAll(); err != nil {
		return err
	}
	if ld.end < ld.opts.recoveryPoint {
		return fmt.Errorf("%w: the log ends at offset %d, and was synced up to %d", ErrCorruptBelowRecovery, ld.end, ld.opts.recoveryPoint)
	}
	if err := ld.mayEnd(); err != nil {
		return err
	}
	if ld.end < ld.opts.logStart {
		if err := ld.startOver(); err != nil {
			return err
		}
	}
	ld.publish()
	if err := ld.loadProducers(); err != nil {
		return err
	}
	if ld.scanned || ld.changed {
		return ld.makeDurable()
	}
	l.mu.recovery = ld.end
	l.mu.asClosed = ld.opts.clean
	return nil
}

// dropBehindLostStart drops everything where a crash took the first segment, unsynced like all
// that follows it. A log start that was raised is durable before any segment goes.
func (ld *loader) dropBehindLostStart() error {
	if ld.opts.clean || ld.opts.foreign || ld.log.env.checkpointStart == nil || len(ld.segments) == 0 ||
		ld.segments[0].base <= max(ld.opts.logStart, ld.opts.recoveryPoint) {
		return nil
	}
	if ld.opts.recoveryPoint > 0 {
		return fmt.Errorf("%w: the first segment begins at offset %d, and the log at %d",
			ErrCorruptBelowRecovery, ld.segments[0].base, max(ld.opts.logStart, 0))
	}
	return ld.dropFrom(0)
}

// publish makes what was loaded the state of the log.
func (ld *loader) publish() {
	l := ld.log
	start := max(ld.opts.logStart, 0)
	if len(ld.segments) > 0 {
		start = max(start, ld.segments[0].base)
	}
	l.segments.Store(&ld.segments)
	l.start.Store(int64(start))
	l.end.Store(int64(ld.end))
	l.durable.Store(int64(ld.end))
	l.mu.syncedEnd = ld.end
	if ld.opts.cleaned <= ld.end { // else the log was cut since
		l.cleaned.Store(int64(ld.opts.cleaned))
	}
	l.highWatermark.Store(int64(max(start, min(ld.opts.highWatermark, ld.end))))
	if l.mu.epochs.truncateFromEnd(ld.end) {
		l.mu.epochsChanged = true
	}
	if l.mu.epochs.truncateFromStart(start) {
		l.mu.epochsChanged = true
	}
	l.latestEpoch.Store(int32(l.mu.epochs.latest()))
}

// loadAll loads the segments in order. Where the log is to be cut, what follows goes first. A
// segment that ends at the recovery point may have been sealed after the checkpoint: its
// batches were synced, the ends of its indexes were not.
func (ld *loader) loadAll() error {
	for i, s := range ld.segments {
		last := i == len(ld.segments)-1
		end, err := int64(0), error(nil)
		if ld.opts.clean || !last && ld.segments[i+1].base < ld.opts.recoveryPoint {
			end, err = s.sizeBytes.Load(), ld.loadSynced(s, last)
		} else {
			end, err = ld.recoverSegment(s, last)
		}
		if err != nil {
			return err
		}
		if end < s.sizeBytes.Load() {
			if err := ld.checkTorn(i, end); err != nil {
				return err
			}
			if err := ld.dropFrom(i + 1); err != nil {
				return err
			}
			return ld.cutTail(s, end)
		}
		if last {
			break
		}
		next := ld.segments[i+1]
		synced := ld.opts.clean || next.base <= ld.opts.recoveryPoint
		if next.base < ld.end && synced {
			return fmt.Errorf("%w: segment %s reaches over the beginning of the next one", ErrCorruptBelowRecovery, s.path(logSuffix))
		}
		if next.base < ld.end || next.base > ld.end && !synced && !ld.opts.foreign {
			if err := ld.checkTorn(i, end); err != nil {
				return err
			}
			return ld.dropFrom(i + 1)
		}
	}
	return nil
}

// dropFrom removes the segments from i on, which follow a place where the log is to be cut,
// durably: a name that comes back could fit what is appended next.
func (ld *loader) dropFrom(i int) error {
	l := ld.log
	if i >= len(ld.segments) {
		return nil
	}
	for _, s := range ld.segments[i:] {
		l.env.logger.Warn("removing a segment behind the end of the log", "segment", s.path(logSuffix), "bytes", s.sizeBytes.Load())
		s.closeFiles(l.env.files)
		for _, suffix := range segmentSuffixes {
			if err := l.removeIfThere(s.path(suffix)); err != nil {
				return err
			}
		}
	}
	if err := l.env.fs.SyncDir(l.dir); err != nil {
		return fmt.Errorf("syncing directory %s: %w", l.dir, err)
	}
	ld.segments = ld.segments[:i]
	ld.changed = true
	return nil
}

// startOver begins the log anew at the log start, which a crash has left above the end: what
// was there had been deleted, and only that deletion was durable.
func (ld *loader) startOver() error {
	if err := ld.dropFrom(0); err != nil {
		return err
	}
	ld.end = ld.opts.logStart
	seg, err := ld.log.createSegmentLocked(ld.end, ld.log.config.Load(), ld.nowMs)
	if err != nil {
		return err
	}
	ld.segments = segmentList{seg}
	return nil
}

// makeDurable syncs what was found or repaired past the recovery point.
func (ld *loader) makeDurable() error {
	l := ld.log
	r := &l.syncing
	for _, s := range ld.segments {
		r.take(s)
	}
	r.names, r.root, r.metadata = true, true, l.mu.metadataDirty
	if err := l.syncRoundFiles(); err != nil {
		return err
	}
	r.segments, r.names, r.root, r.metadata = nil, false, false, false
	l.mu.namesDirty, l.mu.rootDirty, l.mu.metadataDirty = false, false, false
	if l.mu.epochsChanged {
		if err := l.mu.epochs.write(l.env.fs, l.dir); err != nil {
			return err
		}
		l.mu.epochsChanged = false
	}
	l.mu.recovery = ld.end
	return nil
}

// loadSynced loads a segment of which every byte is to be believed. Of a sealed one after a
// clean stop not even the end is looked for.
func (ld *loader) loadSynced(s *segment, last bool) error {
	switch {
	case s.indexMissing:
		return ld.rebuild(s)
	case last:
		return ld.walk(s)
	case ld.opts.clean:
		ld.end = max(ld.end, s.base)
		return nil
	default:
		return ld.checkTail(s)
	}
}

// rebuild makes the indexes of a synced segment again from all its batch headers.
func (ld *loader) rebuild(s *segment) error {
	ld.log.env.logger.Warn("rebuilding the missing index of a segment", "segment", s.path(logSuffix))
	s.resetActive(ld.log.config.Load(), ld.nowMs)
	pos, err := ld.scanHeaders(s, 0, math.MaxInt64)
	if err != nil || pos != s.sizeBytes.Load() {
		return ld.damaged(s, pos, err)
	}
	s.indexDirty, ld.changed = true, true
	return s.sealIndexes(ld.log.env.files)
}

// damaged is the error for bytes at pos that cannot be what was synced there.
func (ld *loader) damaged(s *segment, pos int64, err error) error {
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return err
	}
	return fmt.Errorf("%w: segment %s at position %d: %w; restore the file from a copy, or remove the partition's directory to give its records up",
		ErrCorruptBelowRecovery, s.path(logSuffix), pos, err)
}
