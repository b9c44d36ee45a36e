package log

import (
	"fmt"

	"github.com/moldau/moldau/internal/ids"
)

// snapshotEveryBytes is how much of a segment a crash may have recovery read again, by header, to
// know the producers: a checkpoint after so much takes a snapshot.
const snapshotEveryBytes = 64 << 20

// recoveryPoint returns the offset from which on the log is to be checked after a crash, for its
// checkpoint. Everything that recovery believes below it is durable first: batches by the syncs
// before, and now the index entries and leader epochs that belong to them.
func (l *Log) recoveryPoint() ids.Offset {
	l.checkpointing.Lock()
	defer l.checkpointing.Unlock()
	c, due := l.beginCheckpoint()
	if due {
		if err := l.writeCheckpoint(&c); err != nil {
			_ = l.ioError("checkpointing", err)
			c.to = 0
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if due && c.generation == l.truncations.Load() {
		l.mu.recovery = max(l.mu.recovery, c.to)
	}
	return l.mu.recovery
}

// checkpoint is what must be durable before the recovery point may move.
type checkpoint struct {
	to         ids.Offset
	generation uint64
	epochs     []byte // nil if unchanged
	active     *segment
	snapshot   *producerSnapshot
}

func (l *Log) beginCheckpoint() (c checkpoint, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.to, c.generation, c.active = l.DurableEnd(), l.truncations.Load(), l.active()
	if l.Err() != nil || c.active == nil {
		return c, false
	}
	// A segment may have been sealed, its batches synced before, and its indexes not yet.
	segs := *l.segments.Load()
	for i := len(segs) - 2; i >= 0 && !segs[i].indexSynced; i-- {
		c.to = min(c.to, segs[i].base)
	}
	if c.to <= l.mu.recovery {
		return c, false
	}
	if err := c.active.flushIndexes(l.env.files); err != nil {
		return c, false // the next checkpoint will do it
	}
	if l.mu.epochsChanged {
		c.epochs, l.mu.epochsChanged = l.mu.epochs.encode(), false
	}
	if size := c.active.sizeBytes.Load(); size-c.active.snapshotAt >= snapshotEveryBytes {
		p := l.mu.producers.snapshot(l.EndOffset())
		c.snapshot, c.active.snapshotAt = &p, size
	}
	return c, true
}

func (l *Log) writeCheckpoint(c *checkpoint) error {
	if c.epochs != nil {
		if err := writeFileAtomic(l.env.fs, l.dir, epochCheckpoint, c.epochs); err != nil {
			l.mu.Lock()
			l.mu.epochsChanged = true
			l.mu.Unlock()
			return err
		}
	}
	if c.snapshot != nil {
		if err := c.snapshot.write(l.env.fs, l.dir); err != nil {
			return err
		}
	}
	for _, suffix := range []string{indexSuffix, timeIndexSuffix} {
		if err := l.syncNamed(c.active.path(suffix)); err != nil && !c.active.gone.Load() {
			return err
		}
	}
	// An index whose name a crash has taken would be made again, and after a second crash be there
	// with nothing of it on the disk, while the recovery point says that it can be believed.
	if err := l.env.fs.SyncDir(l.dir); err != nil {
		return fmt.Errorf("syncing directory %s: %w", l.dir, err)
	}
	return nil
}

// closeClean makes the log durable so that the next open has nothing to check, and ends it. Nobody
// may append meanwhile.
func (l *Log) closeClean() error {
	defer l.pauseCleaning()()
	if err := l.Err(); err != nil {
		l.closeAbrupt()
		return err
	}
	var err error
	if !l.isAsClosed() {
		if err = l.sealForClose(); err == nil {
			_, err = l.syncFiles()
		}
	}
	l.closeAbrupt()
	if err != nil {
		return fmt.Errorf("closing log %s: %w", l.dir, err)
	}
	return nil
}

// isAsClosed tells whether nothing has happened since a clean open.
func (l *Log) isAsClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.asClosed && !l.mu.epochsChanged && !l.mu.namesDirty
}

// sealForClose writes what is only in memory: the ends of the indexes, epochs and producers.
func (l *Log) sealForClose() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	segs := *l.segments.Load()
	if len(segs) == 0 {
		return nil
	}
	active := segs[len(segs)-1]
	if err := l.sealLocked(active, l.config.Load()); err != nil {
		return err
	}
	active.dirty, active.indexDirty = true, true
	if len(segs) > 1 || len(l.mu.producers.producers) > 0 {
		l.mu.snapshots = []producerSnapshot{l.mu.producers.snapshot(l.EndOffset())} // the only one that an open will read
	}
	if !l.mu.epochsChanged {
		return nil
	}
	l.mu.epochsChanged = false
	return l.mu.epochs.write(l.env.fs, l.dir)
}

// closeAbrupt ends the log as a killed process would. Slices that are still held stay readable.
func (l *Log) closeAbrupt() {
	_ = l.fail(errLogGone)
	l.dropFiles()
}

// dropFiles gives up the log's open files, before its directory is renamed or removed.
func (l *Log) dropFiles() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range *l.segments.Load() {
		s.closeFiles(l.env.files)
	}
	for _, d := range l.mu.dropped {
		d.closeFiles(l.env.files)
	}
}
