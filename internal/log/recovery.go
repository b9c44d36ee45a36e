package log

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// walk loads a synced segment that is, or may become, the active one: indexes as they are,
// then the headers behind the last index entry.
func (ld *loader) walk(s *segment) error {
	pos, err := ld.trustIndexes(s, math.MaxInt64)
	if err != nil {
		return err
	}
	pos, err = ld.scanHeaders(s, pos, math.MaxInt64)
	if err != nil {
		return ld.damaged(s, pos, err)
	}
	return s.dropStale(ld.log.env.files)
}

// dropStale cuts index files behind their last entry where that has not been done.
func (s *segment) dropStale(files *fileCache) error {
	if s.indexMissing || !s.offsets.isStale() && !s.times.isStale() {
		return nil
	}
	return s.trimIndexes(files)
}

// checkTail finds out whether a sealed, synced segment still ends with a whole batch.
func (ld *loader) checkTail(s *segment) error {
	files, size := ld.log.env.files, s.sizeBytes.Load()
	if size == 0 {
		ld.end = max(ld.end, s.base)
		return nil
	}
	h, err := s.open(files)
	if err != nil {
		return err
	}
	defer h.release()
	sc := newHeaderScan(h, size)
	defer sc.free()
	pos, ok := s.indexFloorPosition(sc, files, size)
	if !ok {
		pos = 0
	}
	for pos < size {
		head, err := sc.header(pos)
		if err != nil {
			return ld.damaged(s, pos, err)
		}
		ld.end = max(ld.end, head.NextOffset())
		pos += int64(head.SizeBytes)
	}
	return nil
}

// trustIndexes keeps of a segment's indexes the entries of batches below the given offset,
// which had been synced, and returns the position behind the last batch that they name. The
// segment's state is then that behind this batch.
func (ld *loader) trustIndexes(s *segment, below ids.Offset) (int64, error) {
	files := ld.log.env.files
	s.resetState(ld.log.config.Load(), ld.nowMs)
	if s.indexMissing || s.sizeBytes.Load() == 0 {
		s.offsets.reset()
		s.times.reset()
		return 0, nil
	}
	h, err := s.open(files)
	if err != nil {
		return 0, err
	}
	defer h.release()
	sc := newHeaderScan(h, s.sizeBytes.Load())
	defer sc.free()
	offsets, err := s.leadingOffsets(files, int64(below-s.base))
	if err != nil {
		return 0, err
	}
	var e offsetEntry
	for ; offsets > 0; offsets-- {
		if e, err = s.offsetEntryAt(files, offsets-1); err != nil {
			return 0, err
		}
		if s.confirms(sc, e) {
			break
		}
	}
	s.offsets.cut(offsets)
	if offsets == 0 && below == math.MaxInt64 {
		return 0, s.resumeTimes(files, math.MaxInt64)
	}
	if offsets == 0 {
		s.times.reset()
		return 0, nil
	}
	return ld.resumeAt(s, sc, e, below)
}

// indexedBelow returns the offset below which both indexes of a segment that reaches the recovery point can be
// believed. Until it is sealed and synced, a crash may take entries of one that the other still has, and an entry of
// the offset index does not tell the largest timestamp up to there.
func (ld *loader) indexedBelow(s *segment) (ids.Offset, error) {
	recovery := ld.opts.recoveryPoint
	if s.indexMissing {
		return recovery, nil
	}
	n, err := s.leadingTimes(ld.log.env.files, int64(recovery-s.base))
	if err != nil || n == 0 {
		return s.base, err
	}
	t, err := s.timeEntryAt(ld.log.env.files, n-1)
	return s.base + ids.Offset(t.relOffset) + 1, err
}

// resumeAt makes the segment's state that behind the batch of offset index entry e.
func (ld *loader) resumeAt(s *segment, sc *headerScan, e offsetEntry, below ids.Offset) (int64, error) {
	head, err := sc.header(int64(e.position))
	if err != nil {
		return 0, err
	}
	first, err := sc.header(0)
	if err != nil {
		return 0, ld.damaged(s, 0, err)
	}
	limit := int64(below - s.base)
	if below != math.MaxInt64 {
		limit = int64(e.relOffset) + 1
	}
	if err := s.resumeTimes(ld.log.env.files, limit); err != nil {
		return 0, err
	}
	s.firstTimestamp, s.unindexedBytes = first.MaxTimestamp, int64(head.SizeBytes)
	ld.end = max(ld.end, head.NextOffset())
	return int64(e.position) + int64(head.SizeBytes), nil
}

// resumeTimes keeps of the time index the entries below a relative offset, of which the last
// tells the largest timestamp up to there.
func (s *segment) resumeTimes(files *fileCache, below int64) error {
	n, err := s.leadingTimes(files, below)
	if err != nil {
		return err
	}
	s.times.cut(n)
	if n == 0 {
		return nil
	}
	t, err := s.timeEntryAt(files, n-1)
	s.maxTimestamp, s.maxTimestampLast, s.lastIndexed = t.timestamp, s.base+ids.Offset(t.relOffset), t.timestamp
	return err
}

// scanHeaders indexes the batches from pos on that end at or below an offset, without looking at
// their records, and returns the position behind the last.
func (ld *loader) scanHeaders(s *segment, pos int64, below ids.Offset) (int64, error) {
	files, size := ld.log.env.files, s.sizeBytes.Load()
	if pos >= size {
		ld.end = max(ld.end, s.base)
		return pos, nil
	}
	h, err := s.open(files)
	if err != nil {
		return pos, err
	}
	defer h.release()
	sc := newHeaderScan(h, size)
	defer sc.free()
	for pos < size && ld.end < below {
		head, err := sc.header(pos)
		if err == nil && (head.BaseOffset < ld.end && pos > 0 || !s.fits(head.LastOffset())) {
			err = fmt.Errorf("%w: offset %d follows %d in segment %d", ErrCorrupt, head.BaseOffset, ld.end-1, s.base)
		}
		if err != nil {
			return pos, err
		}
		if head.NextOffset() > below {
			return pos, nil
		}
		if err := s.makeIndexRoom(files, 1); err != nil {
			return pos, err
		}
		s.indexHeader(&head, pos, ld.log.config.Load().IndexIntervalBytes)
		ld.end = head.NextOffset()
		pos += int64(head.SizeBytes)
	}
	return pos, nil
}

// recoverSegment checks what a segment has past the recovery point. The log is to be cut at the
// position that it returns unless that is the segment's end.
func (ld *loader) recoverSegment(s *segment, last bool) (end int64, err error) {
	recovery := ld.opts.recoveryPoint
	var pos int64
	if s.base < recovery {
		below, err := ld.indexedBelow(s)
		if err == nil {
			pos, err = ld.trustIndexes(s, below)
		}
		if err == nil {
			pos, err = ld.scanHeaders(s, pos, recovery)
		}
		if err != nil {
			return 0, ld.damaged(s, pos, err)
		}
		if pos == s.sizeBytes.Load() && ld.end < recovery {
			return 0, fmt.Errorf("%w: segment %s ends at offset %d, and was synced up to %d", ErrCorruptBelowRecovery, s.path(logSuffix), ld.end, recovery)
		}
	} else {
		s.resetActive(ld.log.config.Load(), ld.nowMs)
		ld.end = max(ld.end, s.base)
	}
	if last && pos == s.sizeBytes.Load() && !s.indexMissing && s.base < recovery {
		return pos, s.dropStale(ld.log.env.files)
	}
	s.dirty, s.indexDirty, ld.scanned = true, true, true
	if end, err = ld.scanBatches(s, pos); err != nil {
		return 0, err
	}
	if err := truncateAborted(ld.log.env.fs, s.path(txnIndexSuffix), max(recovery, s.base)); err != nil {
		return 0, err
	}
	ld.abortedBelow = min(ld.abortedBelow, max(recovery, s.base))
	return end, s.sealIndexes(ld.log.env.files)
}

// mayEnd refuses to let the log end where it does so far.
func (ld *loader) mayEnd() error {
	if ld.end < ld.opts.syncedTo {
		return fmt.Errorf("%w: the log is whole up to offset %d, and was synced up to %d", ErrCorruptBelowRecovery, ld.end, ld.opts.syncedTo)
	}
	return nil
}

// checkTorn refuses to take what follows pos in segment i for a torn tail below syncedTo and, where strict, if it holds a valid batch.
func (ld *loader) checkTorn(i int, pos int64) error {
	if err := ld.mayEnd(); err != nil || !ld.opts.strict {
		return err
	}
	for _, s := range ld.segments[i:] {
		h, err := s.open(ld.log.env.files)
		if err != nil {
			return err
		}
		at, found, err := findBatch(h, pos, s.sizeBytes.Load(), ld.end)
		h.release()
		if err != nil {
			return err
		}
		if found {
			return fmt.Errorf("%w: the batch after offset %d is damaged, and segment %s has a valid one at position %d: this is no torn tail",
				ErrCorrupt, ld.end-1, s.path(logSuffix), at)
		}
		pos = 0
	}
	return nil
}

// cutTail cuts a segment at pos, where its first invalid batch begins. No segment follows it any more.
func (ld *loader) cutTail(s *segment, pos int64) error {
	ld.log.env.logger.Warn("cutting a torn tail off a log", "segment", s.path(logSuffix), "position", pos, "bytes", s.sizeBytes.Load()-pos, "end", ld.end)
	h, err := s.open(ld.log.env.files)
	if err != nil {
		return err
	}
	defer h.release()
	if err := h.Truncate(pos); err != nil {
		return fmt.Errorf("cutting the torn tail off segment %s: %w", s.path(logSuffix), err)
	}
	s.sizeBytes.Store(pos)
	return nil
}

// scanBatches checks and indexes the batches from pos on and returns the position behind the last valid one.
func (ld *loader) scanBatches(s *segment, pos int64) (int64, error) {
	files, size := ld.log.env.files, s.sizeBytes.Load()
	h, err := s.open(files)
	if err != nil {
		return pos, err
	}
	defer h.release()
	r := batchReader{file: h, limit: size}
	for pos < size {
		b, err := r.at(pos)
		if errors.Is(err, ErrCorrupt) {
			return pos, nil
		}
		if err != nil {
			return pos, err
		}
		if !b.CheckCRC() || b.BaseOffset() < ld.end || !s.fits(b.LastOffset()) || b.LastOffsetDelta() < 0 {
			return pos, nil
		}
		if err := s.makeIndexRoom(files, 1); err != nil {
			return pos, err
		}
		head := b.Header()
		s.indexHeader(&head, pos, ld.log.config.Load().IndexIntervalBytes)
		if ld.log.mu.epochs.assign(b.LeaderEpoch(), b.BaseOffset()) {
			ld.log.mu.epochsChanged = true
		}
		ld.end = b.NextOffset()
		pos += int64(len(b))
	}
	return pos, nil
}

// recoveryBufferBytes is what recovery reads at once; a larger batch is read in a buffer of its size.
const recoveryBufferBytes = 1 << 20

// batchReader reads whole batches one after another.
type batchReader struct {
	file  *fileHandle
	limit int64
	chunk int64 // what it reads at once; 0 is recoveryBufferBytes
	buf   []byte
	start int64 // of what buf holds
	read  int64 // bytes so far
}

// at returns the batch at pos, valid until the next call; ErrCorrupt where there is no whole one within the limit.
func (r *batchReader) at(pos int64) (record.Batch, error) {
	want := int64(record.HeaderBytes)
	for {
		if r.limit-pos < want {
			return nil, fmt.Errorf("%w: %d of %d bytes at position %d", ErrCorrupt, r.limit-pos, want, pos)
		}
		if pos < r.start || pos+want > r.start+int64(len(r.buf)) {
			if err := r.fill(pos, want); err != nil {
				return nil, err
			}
		}
		head, err := record.ReadHeader(r.buf[pos-r.start:])
		if err != nil {
			return nil, fmt.Errorf("%w: at position %d: %w", ErrCorrupt, pos, err)
		}
		if want == int64(head.SizeBytes) || int64(head.SizeBytes) <= r.start+int64(len(r.buf))-pos {
			return record.Batch(r.buf[pos-r.start:][:head.SizeBytes:head.SizeBytes]), nil
		}
		want = int64(head.SizeBytes)
	}
}

func (r *batchReader) fill(pos, want int64) error {
	chunk := r.chunk
	if chunk == 0 {
		chunk = recoveryBufferBytes
	}
	n := min(max(want, chunk), r.limit-pos)
	r.read += n
	if int64(cap(r.buf)) < n {
		r.buf = make([]byte, n)
	}
	r.start, r.buf = pos, r.buf[:n]
	err := readFull(r.file, r.buf, pos)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: the file ends before position %d", ErrCorrupt, pos+n)
	}
	if err != nil {
		r.buf = r.buf[:0]
	}
	return err
}

// findBatch looks for a valid batch at any position in [pos, size) with an offset that could follow end.
func findBatch(h *fileHandle, pos, size int64, end ids.Offset) (at int64, found bool, err error) {
	const magicAt = 16
	r := batchReader{file: h, limit: size}
	for pos+record.HeaderBytes <= size {
		if pos < r.start || pos+record.HeaderBytes > r.start+int64(len(r.buf)) {
			if err := r.fill(pos, record.HeaderBytes); err != nil {
				return 0, false, err
			}
		}
		i := bytes.IndexByte(r.buf[pos-r.start+magicAt:], 2)
		if i < 0 {
			pos = r.start + int64(len(r.buf)) - magicAt
			continue
		}
		pos += int64(i)
		b, err := r.at(pos)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return 0, false, err
		}
		if err == nil && b.BaseOffset() >= end && b.CheckCRC() {
			return pos, true, nil
		}
		pos++
	}
	return 0, false, nil
}

// loadProducers restores the producers' state: the newest snapshot, then the batches behind it.
func (ld *loader) loadProducers() error {
	l := ld.log
	start := ld.segments[0].base
	broken, err := l.mu.producers.load(l.env.fs, l.dir, start, ld.end, ld.nowMs)
	if err != nil {
		return err
	}
	for _, err := range broken {
		l.env.logger.Warn("a producer snapshot is damaged; reading the batches behind an older one", "error", err)
	}
	from := l.mu.producers.mapEnd
	if ld.opts.clean && !ld.replay && from == start && len(broken) == 0 && !ld.changed {
		return nil // a clean stop writes a snapshot unless there is nothing to say
	}
	if err := ld.restoreAborted(from); err != nil {
		return err
	}
	for _, s := range ld.segments[max(ld.segments.floor(from), 0):] {
		if err := ld.replayProducers(&l.mu.producers, s, from, math.MaxInt64); err != nil {
			return err
		}
	}
	l.updateUnstableLocked()
	return nil
}

// restoreAborted writes the entries of the transaction indexes that were cut off and whose markers lie
// below upTo, where a snapshot spares the producers' state to be made of those batches.
func (ld *loader) restoreAborted(upTo ids.Offset) error {
	if ld.abortedBelow >= upTo {
		return nil
	}
	fsys, dir, start := ld.log.env.fs, ld.log.dir, ld.segments[0].base
	all, err := listProducerSnapshots(fsys, dir)
	if err != nil {
		return err
	}
	var before producerState
	before.reset(start)
	for _, at := range slices.Backward(all) {
		if at > ld.abortedBelow || at <= start {
			continue
		}
		if err := before.loadSnapshot(fsys, dir, at); err == nil {
			break
		} else if !errors.Is(err, errDamagedFile) {
			return err
		}
	}
	from := before.mapEnd
	for _, s := range ld.segments[max(ld.segments.floor(from), 0):] {
		if s.base >= upTo {
			break
		}
		if err := ld.replayProducers(&before, s, from, upTo); err != nil {
			return err
		}
	}
	return nil
}

// replayProducers takes the batches of a segment in [from, upTo) into a producers' state. Data
// batches are seen by their header alone.
func (ld *loader) replayProducers(state *producerState, s *segment, from, upTo ids.Offset) error {
	l, size := ld.log, s.sizeBytes.Load()
	if size == 0 {
		return nil
	}
	h, err := s.open(l.env.files)
	if err != nil {
		return err
	}
	defer h.release()
	sc := newHeaderScan(h, size)
	defer sc.free()
	pos, err := s.seek(sc, l.env.files, s.placeTable(), from)
	r := batchReader{file: h, limit: size}
	for err == nil && pos < size {
		var head record.Header
		if head, err = sc.header(pos); err != nil || head.BaseOffset >= upTo {
			break
		}
		b := record.Batch(sc.window[pos-sc.at:][:record.HeaderBytes])
		if head.Attributes.Control() {
			if b, err = r.at(pos); err != nil {
				break
			}
		}
		done := state.update(b, head.BaseOffset)
		if done != nil && done.aborted && !ld.opts.clean && done.lastOffset >= ld.opts.recoveryPoint {
			if err := appendAborted(l.env.fs, s.path(txnIndexSuffix), done.abortedTxn); err != nil {
				return err
			}
			s.txnDirty = true
		}
		pos += int64(head.SizeBytes)
	}
	if err != nil {
		return ld.damaged(s, pos, err)
	}
	return nil
}
