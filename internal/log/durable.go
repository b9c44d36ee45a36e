package log

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/ids"
)

// syncRound is what one sync has to make durable. What a round that did not finish has left is
// part of the next.
type syncRound struct {
	sync.Mutex // held by the syncer while it uses the rest, and by truncations

	end        ids.Offset
	generation uint64
	segments   []syncSegment // oldest first
	snapshots  []producerSnapshot
	err        error // of what had to be written first
	metadata   bool
	names      bool
	root       bool
}

type syncSegment struct {
	*segment
	log, indexes, txn bool
}

// take makes what is dirty of a segment part of the round. Log.mu is held.
func (r *syncRound) take(s *segment) {
	if s.needsSync() {
		r.segments = append(r.segments, syncSegment{s, s.dirty, s.indexDirty, s.txnDirty})
		s.dirty, s.indexDirty, s.txnDirty = false, false, false
	}
}

func (s *segment) needsSync() bool { return s.dirty || s.indexDirty || s.txnDirty }

// syncFiles makes everything appended before the call durable, tells whoever waits for it,
// and returns the durable end. An error takes the data directory offline: what a failed sync
// has lost is not known, so it is never tried again.
func (l *Log) syncFiles() (ids.Offset, error) {
	l.syncing.Lock()
	if err := l.Err(); err != nil {
		l.syncing.Unlock()
		return l.DurableEnd(), err
	}
	end := l.beginSync()
	err := l.syncRoundFiles()
	if err != nil {
		err = l.syncError(err)
	} else {
		l.endSync(end)
	}
	l.syncing.Unlock()
	l.tellDurable(end)
	return l.DurableEnd(), err
}

// dirtyEnd begins a sync: it returns the end that is durable once everything written so far is.
// A sync of the whole file system and markDurable follow. The syncer alone calls these two and
// syncFiles, one at a time.
func (l *Log) dirtyEnd() ids.Offset {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if l.Err() != nil {
		return l.DurableEnd()
	}
	return l.beginSync()
}

// markDurable finishes a sync begun with dirtyEnd, now that the whole file system has been synced.
func (l *Log) markDurable(end ids.Offset) {
	l.syncing.Lock()
	if l.Err() != nil {
		l.syncing.Unlock()
		return
	}
	err := l.syncing.err
	if err == nil {
		err = l.writeSnapshots()
	}
	if err != nil {
		_ = l.syncError(err)
	} else {
		l.endSync(end)
	}
	l.syncing.Unlock()
	l.tellDurable(end)
}

// syncError is ioError, but that running out of room is no excuse: the bytes were accepted before.
func (l *Log) syncError(err error) error {
	if l.gone() {
		return l.Err()
	}
	err = l.fail(fmt.Errorf("syncing: %w", err))
	if l.env.failDir != nil {
		l.env.failDir(l.root, err)
	}
	return err
}

// beginSync makes everything that is not durable part of the round.
func (l *Log) beginSync() ids.Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.syncing
	r.end, r.generation = l.EndOffset(), l.truncations.Load()
	r.err = l.flushAbortedLocked()
	l.mu.syncedEnd, l.mu.unflushedSince = r.end, 0
	r.snapshots = append(r.snapshots, l.mu.snapshots...)
	l.mu.snapshots = nil
	r.metadata = r.metadata || l.mu.metadataDirty
	r.names = r.names || l.mu.namesDirty
	r.root = r.root || l.mu.rootDirty
	l.mu.metadataDirty, l.mu.namesDirty, l.mu.rootDirty = false, false, false
	// What is dirty is the end of the list: it became dirty in order.
	segs := *l.segments.Load()
	first := len(segs) - 1
	for ; first > 0 && segs[first-1].needsSync(); first-- {
	}
	for _, s := range segs[max(first, 0):] {
		r.take(s)
	}
	return r.end
}

// endSync empties the round and raises the durable end, unless a truncation came between.
func (l *Log) endSync(end ids.Offset) {
	r := &l.syncing
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range r.segments {
		s.indexSynced = s.indexSynced || s.indexes
	}
	clear(r.segments)
	r.segments, r.snapshots = r.segments[:0], nil
	r.metadata, r.names, r.root = false, false, false
	if r.generation == l.truncations.Load() && end > l.DurableEnd() {
		l.durable.Store(int64(end))
	}
}

// tellDurable wakes who waits for the durable end, and calls the hook, if it has reached end.
func (l *Log) tellDurable(end ids.Offset) {
	if l.DurableEnd() < end {
		return
	}
	l.wakeSyncWaiters()
	if l.onDurable != nil {
		l.onDurable(l.DurableEnd())
	}
}

// syncRoundFiles syncs the files and then the names of the round.
func (l *Log) syncRoundFiles() error {
	r := &l.syncing
	if r.err != nil {
		return r.err
	}
	if r.metadata && !l.env.rescanned {
		if err := l.syncNamed(filepath.Join(l.dir, partitionMetadataFile)); err != nil {
			return err
		}
	}
	for _, s := range r.segments {
		if err := l.syncSegment(s); err != nil {
			return err
		}
	}
	if err := l.writeSnapshots(); err != nil {
		return err
	}
	if r.names {
		if err := l.env.fs.SyncDir(l.dir); err != nil {
			return fmt.Errorf("syncing directory %s: %w", l.dir, err)
		}
	}
	if r.root {
		if err := l.env.fs.SyncDir(l.root); err != nil {
			return fmt.Errorf("syncing directory %s: %w", l.root, err)
		}
	}
	return nil
}

// writeSnapshots writes the producer snapshots of the round's rolls, durably.
func (l *Log) writeSnapshots() error {
	for i := range l.syncing.snapshots {
		if err := l.syncing.snapshots[i].write(l.env.fs, l.dir); err != nil {
			return err
		}
	}
	l.syncing.snapshots = nil
	return nil
}

// syncSegment syncs what is dirty of a segment. One that retention or a truncation has dropped
// meanwhile promises nothing.
func (l *Log) syncSegment(s syncSegment) error {
	var err error
	if s.log {
		var h *fileHandle
		if h, err = s.open(l.env.files); err == nil {
			err = h.Sync()
			h.release()
		}
	}
	for _, suffix := range []string{indexSuffix, timeIndexSuffix} {
		if err == nil && s.indexes && !l.env.rescanned {
			err = l.syncNamed(s.path(suffix))
		}
	}
	if err == nil && s.txn {
		err = l.syncNamed(s.path(txnIndexSuffix))
	}
	if err != nil && s.gone.Load() && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("syncing segment %s: %w", s.path(logSuffix), err)
	}
	return nil
}

// syncNamed syncs a file of the log that is not kept open.
func (l *Log) syncNamed(name string) error {
	f, err := l.env.fs.OpenExisting(name)
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}

// OnDurable has f called with the new durable end after each successful sync, by the
// syncer, without locks held. To be set before the log is used.
func (l *Log) OnDurable(f func(end ids.Offset)) { l.onDurable = f }

// RequestSync asks the group commit to make durable what has been appended, and does not wait.
func (l *Log) RequestSync() { l.env.sync.request(l) }

// SyncHere makes durable what has been appended, as RequestSync does, but on the caller's goroutine
// if no sync of this log is running and no other log waits for one. Otherwise it does not wait.
func (l *Log) SyncHere() {
	if !l.env.sync.here(l) {
		l.RequestSync()
	}
}

// Sync returns once everything appended before the call is durable.
func (l *Log) Sync() error {
	target, generation := l.syncTarget()
	for {
		moved := l.durableMoves() // before looking, so that no move is missed
		if err := l.Err(); err != nil {
			return err
		}
		if _, now := l.syncTarget(); now != generation || l.DurableEnd() >= target {
			return nil // a truncation took what was to be synced, or it is
		}
		l.RequestSync()
		<-moved
	}
}

func (l *Log) syncTarget() (end ids.Offset, generation uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.EndOffset(), l.truncations.Load()
}

// durableMoves returns a channel that is closed when the durable end moves next, or the log fails.
func (l *Log) durableMoves() <-chan struct{} {
	l.waiting.Lock()
	defer l.waiting.Unlock()
	if l.waiting.moved == nil {
		l.waiting.moved = make(chan struct{})
	}
	return l.waiting.moved
}

func (l *Log) wakeSyncWaiters() {
	l.waiting.Lock()
	defer l.waiting.Unlock()
	if l.waiting.moved != nil {
		close(l.waiting.moved)
		l.waiting.moved = nil
	}
}

// flushDue tells whether flush.ms wants a sync now.
func (l *Log) flushDue(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	since := l.mu.unflushedSince
	return since != 0 && now.UnixMilli()-since >= l.config.Load().FlushMs
}
