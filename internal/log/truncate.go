package log

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/ids"
)

// TruncateTo removes the records from offset o on, and with them the whole batch that o may
// lie in: a follower or a raft member gives up what its leader does not have. The log then ends
// with its last batch, durably when it returns. Nobody may append meanwhile. Java: UnifiedLog.truncateTo.
func (l *Log) TruncateTo(o ids.Offset) error {
	if err := l.Err(); err != nil {
		return err
	}
	if o < 0 {
		return fmt.Errorf("truncating %s to offset %d, which is negative", l.tp, o)
	}
	if o >= l.EndOffset() {
		l.dropUnwrittenEpochs()
		return nil
	}
	defer l.pauseCleaning()()
	if o < l.StartOffset() {
		return l.truncateFully(o)
	}
	nothingLeft, err := l.truncate(o)
	if err != nil {
		return err
	}
	if nothingLeft {
		return l.truncateFully(min(o, l.StartOffset()))
	}
	l.forgetCleaned(l.active().base)
	return nil
}

// dropUnwrittenEpochs forgets the epochs in which this replica led and appended nothing: another leader's log does not
// have them, and a follower that went on asking by them would be told for ever that its log differs.
func (l *Log) dropUnwrittenEpochs() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.epochs.truncateFromEnd(l.EndOffset()) {
		l.mu.epochsChanged = l.mu.born
		l.latestEpoch.Store(int32(l.mu.epochs.latest()))
	}
}

// TruncateFullyAndStartAt removes every record; the next one gets offset o. What it did is
// durable when it returns. Nobody may append meanwhile.
func (l *Log) TruncateFullyAndStartAt(o ids.Offset) error {
	if err := l.Err(); err != nil {
		return err
	}
	if o < 0 {
		return fmt.Errorf("truncating %s to start at offset %d, which is negative", l.tp, o)
	}
	defer l.pauseCleaning()()
	return l.truncateFully(o)
}

func (l *Log) truncateFully(o ids.Offset) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if err := l.Err(); err != nil { // of a deletion that was faster
		return err
	}
	l.forgetCleaned(o)
	if err := l.lowerRecovery(0); err != nil {
		return err
	}
	// A start that rises comes first, one that falls last: should a crash leave some of the
	// segments, they lie below it, or what was deleted from them before stays so.
	rises := o >= l.StartOffset()
	segs := l.emptied(o)
	if rises {
		if err := l.saveStart("truncating"); err != nil {
			return err
		}
	}
	l.dropNewest(segs)
	if err := l.startAnew(o); err != nil {
		return l.ioError("truncating", err)
	}
	if err := l.syncTruncation(); err != nil || rises {
		return err
	}
	return l.saveStart("truncating")
}

// forgetCleaned lets what follows o count as dirty. Should a crash bring the higher offset of the
// checkpoint back, duplicates between the two stay until their keys are written again.
func (l *Log) forgetCleaned(o ids.Offset) {
	l.cleaned.Store(min(l.cleaned.Load(), int64(o)))
}

// lowerRecovery makes the recovery point at most o, in its checkpoint too before the log gets shorter:
// a log that ends below its checkpointed recovery point counts as damaged.
func (l *Log) lowerRecovery(o ids.Offset) error {
	l.mu.Lock()
	l.truncations.Add(1)
	l.mu.asClosed = false
	l.durable.Store(min(l.durable.Load(), int64(o)))
	lower := o < l.mu.recovery
	l.mu.recovery = min(l.mu.recovery, o)
	l.mu.Unlock()
	l.wakeSyncWaiters()
	if !lower || l.env.checkpointRecovery == nil {
		return nil
	}
	if err := l.env.checkpointRecovery(l); err != nil {
		return l.ioError("truncating", err)
	}
	return nil
}

// syncTruncation makes the log as it is now durable. The syncer is locked out.
func (l *Log) syncTruncation() error {
	end := l.beginSync()
	if err := l.syncRoundFiles(); err != nil {
		return l.syncError(err)
	}
	l.endSync(end)
	return nil
}

// dropNewest drops segments that the list does not have any more. syncTruncation makes it
// durable: should a crash before that leave one behind a hole, recovery drops it too.
func (l *Log) dropNewest(segs segmentList) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropLocked(segs, time.Now().UnixMilli())
}

// truncate drops the segments above o, then cuts the one that o lies in. nothingLeft says that it
// has not done so, because no batch at or above the log start would be left.
func (l *Log) truncate(o ids.Offset) (nothingLeft bool, err error) {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if err := l.Err(); err != nil { // of a deletion that was faster
		return false, err
	}
	segs := *l.segments.Load()
	n := segs.floor(o)
	if n < 0 { // retention has been faster
		return true, nil
	}
	if err := l.lowerRecovery(segs[n].base); err != nil {
		return false, err
	}
	if nothingLeft, err := l.cut(o); err != nil || nothingLeft {
		return nothingLeft, err
	}
	return false, l.syncTruncation()
}

// cut finds where the log is to be cut for it to end at or below o, and cuts it. It is one piece: retention
// and DeleteRecords, which may roll the log and take any of its segments away, come before it or after.
func (l *Log) cut(o ids.Offset) (nothingLeft bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Err(); err != nil {
		return false, err
	}
	segs := *l.segments.Load()
	n := segs.floor(o)
	if n < 0 {
		return true, nil
	}
	end, position, err := l.findCutLocked(segs[n], o)
	if err == nil && end < l.StartOffset() {
		return true, nil
	}
	if err == nil {
		err = l.cutAtLocked(segs[:n+1:n+1], segs[n+1:], end, position)
	}
	if err != nil {
		return false, l.ioError("truncating", err)
	}
	return false, nil
}

// findCutLocked returns where in a segment the log is to be cut, and where it then ends. What the
// segment knows of itself is that of this place when it returns.
func (l *Log) findCutLocked(s *segment, o ids.Offset) (end ids.Offset, position int64, err error) {
	if err := s.flushIndexes(l.env.files); err != nil {
		return 0, 0, err
	}
	ld := loader{log: l, end: s.base, nowMs: time.Now().UnixMilli()}
	if position, err = ld.trustIndexes(s, o); err == nil {
		position, err = ld.scanHeaders(s, position, o)
	}
	return ld.end, position, err
}

// cutAtLocked makes kept the log's segments, the last of them cut at position. In this order: who reads
// finds the end before the bytes go.
func (l *Log) cutAtLocked(kept, newest segmentList, end ids.Offset, position int64) error {
	l.end.Store(int64(end))
	l.lowerEndsLocked(end)
	l.segments.Store(&kept)
	l.dropLocked(newest, time.Now().UnixMilli())
	last := kept[len(kept)-1]
	if err := l.cutSegmentLocked(last, position); err != nil {
		return err
	}
	if err := truncateAborted(l.env.fs, last.path(txnIndexSuffix), end); err != nil {
		return err
	}
	ld := loader{log: l, segments: kept, end: end, nowMs: time.Now().UnixMilli(), opts: openOptions{clean: true}, replay: true, abortedBelow: math.MaxInt64}
	return ld.loadProducers()
}

// cutSegmentLocked cuts the file of the active segment, whose state is already that at pos.
func (l *Log) cutSegmentLocked(seg *segment, pos int64) error {
	h, err := seg.open(l.env.files)
	if err != nil {
		return err
	}
	defer h.release()
	seg.places.Store(nil)
	seg.sizeBytes.Store(pos)
	l.truncations.Add(1) // who begins to read from here on knows the new size
	seg.dirty, seg.indexDirty, seg.indexSynced = true, true, false
	if err := h.Truncate(pos); err != nil {
		return err
	}
	return seg.trimIndexes(l.env.files)
}

// lowerEndsLocked keeps everything that cannot be above the log's end below it.
func (l *Log) lowerEndsLocked(end ids.Offset) {
	l.durable.Store(min(l.durable.Load(), int64(end)))
	l.highWatermark.Store(min(l.highWatermark.Load(), int64(end)))
	l.mu.syncedEnd = min(l.mu.syncedEnd, end)
	if l.mu.epochs.truncateFromEnd(end) {
		l.mu.epochsChanged = true
		l.latestEpoch.Store(int32(l.mu.epochs.latest()))
	}
	above := func(p producerSnapshot) bool { return p.at > end }
	l.mu.snapshots = slices.DeleteFunc(l.mu.snapshots, above)
	l.syncing.snapshots = slices.DeleteFunc(l.syncing.snapshots, above)
	l.forgetAbortedLocked(end)
}

// emptied makes the log one without records that goes on at o, and returns the segments that it had.
func (l *Log) emptied(o ids.Offset) segmentList {
	l.mu.Lock()
	defer l.mu.Unlock()
	segs := *l.segments.Load()
	l.segments.Store(new(segmentList))
	l.start.Store(int64(o))
	l.end.Store(int64(o))
	l.truncations.Add(1)
	l.lowerEndsLocked(0)
	l.durable.Store(int64(o))
	l.highWatermark.Store(int64(o))
	l.mu.syncedEnd = o
	l.mu.producers.reset(o)
	l.updateUnstableLocked()
	return segs
}

// startAnew makes the one segment of an empty log. A log without a directory gets one only
// where o could not be told without.
func (l *Log) startAnew(o ids.Offset) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.mu.born && o == 0 {
		return nil
	}
	if _, err := l.rollLocked(o, l.config.Load(), time.Now().UnixMilli()); err != nil {
		return err
	}
	return removeProducerSnapshots(l.env.fs, l.dir, 0, math.MaxInt64)
}
