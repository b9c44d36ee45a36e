package log

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// AppendAsLeader appends one batch that record.Validate has accepted, and stamps its base
// offset and leader epoch in place. The bytes are the caller's again when it returns.
//
// When it returns an error the log is as it was. One that wraps a Kafka error of the producer's
// state (45, 47, 48) is the producer's fault; others wrap kerr.KafkaStorageError.
func (l *Log) AppendAsLeader(b record.Batch, epoch ids.LeaderEpoch) (Appended, error) {
	nowMs := time.Now().UnixMilli()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Err(); err != nil {
		return Appended{}, err
	}
	if b.ProducerID() != ids.NoProducerID {
		dup, isDup, err := l.mu.producers.check(b, nowMs, true)
		if err != nil {
			return Appended{}, fmt.Errorf("appending to %s: %w", l.tp, err)
		}
		if isDup {
			dup.LogStart, dup.Duplicate = l.StartOffset(), true
			return dup, nil
		}
	}
	if l.Full() {
		return Appended{}, fmt.Errorf("appending to %s: %w", l.tp, errDiskFull)
	}
	b.SetBaseOffset(l.EndOffset())
	b.SetLeaderEpoch(epoch)
	r := run{bytes: b}
	r.add(b)
	if err := l.appendRunLocked(&r, nowMs); err != nil {
		return Appended{}, err
	}
	l.requestFlushLocked()
	return Appended{BaseOffset: b.BaseOffset(), LastOffset: b.LastOffset(), LogStart: l.StartOffset(), TimestampMs: b.MaxTimestamp()}, nil
}

// AppendAsFollower appends whole batches as their leader wrote them: offsets and epochs stay.
// They must continue at the log's end, or after a gap that compaction left in the leader's log.
// A disk that runs full may leave the first of the batches appended; EndOffset tells.
func (l *Log) AppendAsFollower(batches []byte) (Appended, error) {
	if err := checkFollowerBatches(batches, l.EndOffset()); err != nil {
		return Appended{}, fmt.Errorf("appending to %s: %w", l.tp, err)
	}
	nowMs := time.Now().UnixMilli()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Err(); err != nil {
		return Appended{}, err
	}
	if l.Full() {
		return Appended{}, fmt.Errorf("appending to %s: %w", l.tp, errDiskFull)
	}
	first := record.Batch(batches).BaseOffset()
	if first < l.EndOffset() {
		return Appended{}, fmt.Errorf("appending to %s: %w: offset %d, the log ends at %d", l.tp, ErrOutOfOrder, first, l.EndOffset())
	}
	for rest := batches; len(rest) > 0; {
		r := l.cutRunLocked(rest)
		if err := l.appendRunLocked(&r, nowMs); err != nil {
			return Appended{}, err
		}
		rest = rest[len(r.bytes):]
	}
	l.requestFlushLocked()
	return Appended{BaseOffset: first, LastOffset: l.EndOffset() - 1, LogStart: l.StartOffset()}, nil
}

// checkFollowerBatches refuses bytes that are not whole, undamaged batches with rising offsets from end on.
func checkFollowerBatches(p []byte, end ids.Offset) error {
	if len(p) == 0 {
		return fmt.Errorf("%w: there are none", ErrOutOfOrder)
	}
	for len(p) > 0 {
		b, rest, err := record.First(p)
		if err != nil {
			return err
		}
		if !b.CheckCRC() || b.LastOffsetDelta() < 0 {
			return fmt.Errorf("%w: the batch at offset %d fails its checksum", record.ErrCorrupt, b.BaseOffset())
		}
		if b.BaseOffset() < end || b.BaseOffset() > math.MaxInt64-1-math.MaxInt32 {
			return fmt.Errorf("%w: offset %d follows %d", ErrOutOfOrder, b.BaseOffset(), end)
		}
		p, end = rest, b.NextOffset()
	}
	return nil
}

// run is whole batches that go into one segment with one write.
type run struct {
	bytes        []byte
	batches      int
	maxTimestamp int64
	first, last  ids.Offset
}

func (r *run) add(b record.Batch) {
	if r.batches == 0 {
		r.first, r.maxTimestamp = b.BaseOffset(), b.MaxTimestamp()
	}
	r.last, r.maxTimestamp = b.LastOffset(), max(r.maxTimestamp, b.MaxTimestamp())
	r.batches++
}

// cutRunLocked takes from p, checked before, as many batches as the active segment still
// holds, or a new one would.
func (l *Log) cutRunLocked(p []byte) run {
	var used int64
	base := record.Batch(p).BaseOffset()
	segmentBytes := int64(l.config.Load().SegmentBytes)
	if a := l.active(); a != nil && a.sizeBytes.Load()+int64(record.Batch(p).SizeBytes()) <= segmentBytes {
		used, base = a.sizeBytes.Load(), a.base
	}
	var r run
	n := 0
	for rest := p; len(rest) > 0; {
		b := record.Batch(rest[:record.Batch(rest).SizeBytes()])
		if r.batches > 0 && (used+int64(n+len(b)) > segmentBytes || b.LastOffset()-base > math.MaxInt32) {
			break
		}
		r.add(b)
		n += len(b)
		rest = rest[len(b):]
	}
	r.bytes = p[:n]
	return r
}

// appendRunLocked makes the run the end of the log, or returns an error and has changed nothing.
func (l *Log) appendRunLocked(r *run, nowMs int64) error {
	seg, err := l.segmentForLocked(r, nowMs)
	if err != nil {
		return err
	}
	err = seg.makeIndexRoom(l.env.files, r.batches)
	if err == nil {
		err = l.flushAbortedLocked()
	}
	if err != nil {
		return l.ioError("appending", err)
	}
	pos := seg.sizeBytes.Load()
	if err := l.writeLocked(seg, r.bytes, pos); err != nil {
		return err
	}
	l.mu.producers.nowMs = nowMs // a follower does not check
	for p := r.bytes; len(p) > 0; {
		b := record.Batch(p[:record.Batch(p).SizeBytes()])
		seg.indexBatch(b, pos, l.config.Load().IndexIntervalBytes)
		l.noteBatchLocked(seg, b)
		p = p[len(b):]
		pos += int64(len(b))
	}
	// An entry that finds no room now is tried again before the next write and the next sync.
	if err := l.flushAbortedLocked(); err != nil && !exhausted(err) {
		return l.ioError("appending", err)
	}
	seg.dirty = true
	l.mu.asClosed = false
	if l.mu.unflushedSince == 0 {
		l.mu.unflushedSince = nowMs
	}
	// In this order: who sees the end finds its place and its bytes.
	seg.sizeBytes.Store(pos)
	seg.placeTable().appendedTo(r.last+1, pos)
	l.end.Store(int64(r.last + 1))
	return nil
}

// writeLocked writes p at the end of the active segment. A write that fails half way is cut back.
func (l *Log) writeLocked(seg *segment, p []byte, pos int64) error {
	h, err := seg.open(l.env.files)
	if err != nil {
		return l.ioError("appending", err)
	}
	defer h.release()
	_, err = h.WriteAt(p, pos)
	if err == nil {
		return nil
	}
	if cut := h.Truncate(pos); cut != nil && exhausted(err) {
		err = fmt.Errorf("cutting back a write that failed (%v): %w", err, cut)
	}
	return l.ioError("appending", err)
}

// noteBatchLocked brings what the log knows beside the bytes up to date with a batch that has been written.
func (l *Log) noteBatchLocked(seg *segment, b record.Batch) {
	if l.mu.epochs.assign(b.LeaderEpoch(), b.BaseOffset()) {
		l.mu.epochsChanged = true
		l.latestEpoch.Store(int32(l.mu.epochs.latest()))
	}
	l.noteProducerLocked(seg, b)
}

// segmentForLocked returns the segment that the run goes to, rolling to a new one where it must.
func (l *Log) segmentForLocked(r *run, nowMs int64) (*segment, error) {
	cfg := l.config.Load()
	seg := l.active()
	if seg != nil && !seg.mustRoll(cfg, r, nowMs) {
		return seg, nil
	}
	// A segment begins where the one before it ends, whatever gap the batches have: recovery
	// knows by that when the end of a segment was lost and the next one was not.
	base := l.EndOffset()
	if r.last-base > math.MaxInt32 {
		base = r.first
	}
	return l.rollLocked(base, cfg, nowMs)
}

// Full tells whether appends are refused for want of room.
func (l *Log) Full() bool { return l.env.full.Load() }

// requestFlushLocked asks for the sync that flush.messages wants.
func (l *Log) requestFlushLocked() {
	if int64(l.EndOffset()-l.mu.syncedEnd) >= l.config.Load().FlushMessages {
		l.RequestSync()
	}
}

// bornLocked makes the partition's directory with its partition.metadata, which the first
// sync makes durable with the first batch.
func (l *Log) bornLocked() error {
	if l.mu.born {
		return nil
	}
	if err := l.env.fs.MkdirAll(l.dir); err != nil {
		return l.ioError("creating the directory", err)
	}
	l.mu.rootDirty, l.mu.namesDirty = true, true
	if !l.id.IsZero() {
		if err := l.writeMetadata(); err != nil {
			return l.ioError("creating the directory", err)
		}
		l.mu.metadataDirty = true
	}
	l.mu.born = true
	return nil
}

// writeMetadata writes partition.metadata without waiting for the disk.
func (l *Log) writeMetadata() error {
	f, err := l.env.fs.Create(filepath.Join(l.dir, partitionMetadataFile))
	if err != nil {
		return err
	}
	_, err = f.WriteAt(encodePartitionMetadata(l.id), 0)
	return errors.Join(err, f.Close())
}

// removeIfThere removes a file that may be missing.
func (l *Log) removeIfThere(name string) error {
	if err := l.env.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", name, err)
	}
	return nil
}
