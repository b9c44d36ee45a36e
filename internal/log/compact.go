package log

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/invariant"
	"github.com/moldau/moldau/internal/record"
)

// errCleaningStopped says that somebody wanted the log more than the cleaner did.
var errCleaningStopped = errors.New("the cleaning was stopped")

// cleaningLimits bounds what one cleaning takes.
type cleaningLimits struct {
	mapBytes  int64   // of the offset map
	mapLoad   float64 // of its slots
	ioBytes   int     // read, and written, at once; a larger batch needs its size
	freeBytes func() int64
	throttle  func(ctx context.Context, bytes int64) error
}

// cleaningStats is what one cleaning did.
type cleaningStats struct {
	from, to            ids.Offset // the dirty range it has been over
	segments, made      int
	bytesRead, mapBytes int64 // of the second reading, and of the first, which fills the map
	bytesWritten        int64
	records, kept       int64
	keyless             int64
	keys                int
	took                time.Duration
}

// beginCleaning lets the caller clean the log, unless somebody else does, or has it truncated or
// deleted. What it returns ends that; ctx ends when somebody wants the log.
func (l *Log) beginCleaning(ctx context.Context) (cleaning context.Context, end func(), ok bool) {
	if !l.cleaning.TryLock() {
		return nil, nil, false
	}
	cleaning, cancel := context.WithCancel(ctx)
	l.mu.Lock()
	l.mu.stopCleaning = cancel
	paused := l.mu.cleanPauses > 0
	l.mu.Unlock()
	end = func() {
		l.mu.Lock()
		l.mu.stopCleaning = nil
		l.mu.Unlock()
		cancel()
		l.cleaning.Unlock()
	}
	if paused || l.Err() != nil {
		end()
		return nil, nil, false
	}
	return cleaning, end, true
}

// pauseCleaning stops a cleaning that is under way and lets none begin until the function that it returns is called.
func (l *Log) pauseCleaning() (resume func()) {
	l.mu.Lock()
	l.mu.cleanPauses++
	if l.mu.stopCleaning != nil {
		l.mu.stopCleaning()
	}
	l.mu.Unlock()
	l.cleaning.Lock()
	return func() {
		l.endPause()
		l.cleaning.Unlock()
	}
}

// holdCleaning is pauseCleaning without being in the way of a truncation or the deletion meanwhile.
func (l *Log) holdCleaning() (resume func()) {
	l.pauseCleaning()
	l.cleaning.Unlock()
	return l.endPause
}

func (l *Log) endPause() {
	l.mu.Lock()
	l.mu.cleanPauses--
	l.mu.Unlock()
}

// planCleaning looks at the log; empty tells that there is nothing that could be cleaned, ever so far.
func (l *Log) planCleaning(now time.Time) (p cleaningPlan, empty bool, err error) {
	segs, cfg := *l.segments.Load(), l.config.Load()
	if len(segs) < 2 {
		return p, true, nil
	}
	st := cleaningState{
		segments: make([]segmentState, len(segs)),
		start:    l.StartOffset(), end: l.EndOffset(), cleaned: l.CleanedOffset(),
		stable: l.LastStableOffset(), durable: l.DurableEnd(),
		nowMs: now.UnixMilli(),
	}
	dirty := max(0, segs.floor(max(st.cleaned, st.start)))
	for i, s := range segs {
		st.segments[i] = segmentState{base: s.base, sizeBytes: s.sizeBytes.Load()}
		if i < dirty || i == len(segs)-1 {
			continue
		}
		if cfg.MinCompactionLagMs > 0 {
			if st.segments[i].newestMs, _, err = l.segmentTimes(s); err != nil {
				return p, false, err
			}
		}
		if cfg.MaxCompactionLagMs < math.MaxInt64 {
			if st.segments[i].firstMs, err = l.firstBatchMs(s); err != nil {
				return p, false, err
			}
		}
	}
	return planCleaning(&st, cfg), false, nil
}

// firstBatchMs returns the timestamp by which segment.ms counts, of any segment.
func (l *Log) firstBatchMs(s *segment) (int64, error) {
	l.mu.Lock()
	ms := s.firstTimestamp
	l.mu.Unlock()
	if size := s.sizeBytes.Load(); ms != noTimestamp || size == 0 {
		return ms, nil
	} else if h, err := s.open(l.env.files); err != nil {
		return 0, err
	} else {
		defer h.release()
		sc := newHeaderScan(h, size)
		defer sc.free()
		head, err := sc.header(0)
		if err != nil {
			return 0, err
		}
		l.mu.Lock()
		s.firstTimestamp = head.MaxTimestamp
		l.mu.Unlock()
		return head.MaxTimestamp, nil
	}
}

// cleaner is one cleaning of one log. It belongs to one goroutine, which holds Log.cleaning.
type cleaner struct {
	log     *Log
	ctx     context.Context // ends when the cleaning is to be given up
	limits  *cleaningLimits
	cfg     *Config
	nowMs   int64
	reader  batchReader
	sieve   sieve
	filter  record.Filter
	batch   record.Batch // that the filter has in hand
	emitted ids.Offset   // exclusive end of what has been written
	asked   ids.Offset   // aborted transactions that begin below are known to the sieve
	out     []byte       // to be written
	stats   cleaningStats
}

// clean carries out a plan. Segments that have been replaced before an error stay so: what is
// left of the log is whole at any time.
func (l *Log) clean(ctx context.Context, p cleaningPlan, limits *cleaningLimits) (cleaningStats, error) {
	began := time.Now()
	c := &cleaner{log: l, ctx: ctx, limits: limits, cfg: l.config.Load(), nowMs: began.UnixMilli()}
	c.stats.from, c.stats.to = p.dirty, p.dirty
	err := c.run(p)
	c.stats.keyless, c.stats.took = c.sieve.keyless, time.Since(began)
	return c.stats, err
}

func (c *cleaner) run(p cleaningPlan) error {
	l := c.log
	l.mu.Lock()
	err := l.flushAbortedLocked()
	l.mu.Unlock()
	if err != nil {
		return err
	}
	// What an earlier cleaning has left has its own names for good before this one makes a file. A power cut that
	// kept a .cleaned of now and gave a segment its .swap back would look like one that was being renamed.
	if err := l.env.fs.SyncDir(l.dir); err != nil {
		return fmt.Errorf("syncing directory %s: %w", l.dir, err)
	}
	if err := c.fillMap(p); err != nil {
		return err
	}
	if c.sieve.until <= l.StartOffset() {
		return errOvertaken // there is nothing left to clean
	}
	if err := invariant.Check(c.sieve.until > p.dirty && c.sieve.until <= p.end, "a cleaning of %s came from offset %d to %d, and may not go beyond %d",
		l.tp, p.dirty, c.sieve.until, p.end); err != nil {
		return err
	}
	segs := *l.segments.Load()
	segs = segs[:segs.floor(c.sieve.until-1)+1]
	c.filter = record.Filter{DeleteHorizonMs: addMs(c.nowMs, c.cfg.DeleteRetentionMs), MaxMessageBytes: c.cfg.MaxMessageBytes}
	c.filter.Keep = func(r *record.Record) bool { return c.sieve.keeps(c.batch, r) }
	counts, err := l.groupsToClean(segs, p.end, c.cfg)
	if err != nil {
		return err
	}
	for _, n := range counts {
		if err := c.cleanGroup(segs[:n], segs[n:], p.end); err != nil {
			return err
		}
		segs = segs[n:]
	}
	c.stats.to = c.sieve.until
	l.cleaned.Store(int64(c.sieve.until))
	return nil
}

// addMs is a sum that does not wrap.
func addMs(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// groupsToClean returns how many of the segments become one, one number for each that is made.
func (l *Log) groupsToClean(segs segmentList, end ids.Offset, cfg *Config) ([]int, error) {
	sizes := make([]segmentSize, len(segs))
	for i, s := range segs {
		sizes[i] = segmentSize{base: s.base, logBytes: s.sizeBytes.Load()}
		for _, x := range []struct {
			index *index
			bytes *int64
		}{{&s.offsets, &sizes[i].offsetIndexBytes}, {&s.times, &sizes[i].timeIndexBytes}} {
			h, err := x.index.openToRead(l.env.files, s)
			if err != nil {
				return nil, err
			}
			if h != nil {
				h.release()
			}
			*x.bytes = int64(x.index.count() * x.index.entryBytes)
		}
	}
	return groupSegments(sizes, end, cfg), nil
}

// fillMap reads the keys of the dirty range, as many as the map takes.
func (c *cleaner) fillMap(p cleaningPlan) error {
	l := c.log
	c.sieve = sieve{nowMs: c.nowMs, offsets: newOffsetMap(offsetMapSlots(c.limits.mapBytes, int64(p.end-p.dirty), c.limits.mapLoad), c.limits.mapLoad), until: p.dirty}
	var txns cleanedTxns
	segs := *l.segments.Load()
	aborted, err := l.abortedIn(segs, p.dirty, p.end)
	if err != nil {
		return err
	}
	txns.expect(aborted)
	for i := max(0, segs.floor(p.dirty)); i < len(segs)-1 && segs[i].base < p.end; i++ {
		full, err := c.mapSegment(segs[i], p.dirty, &txns)
		if err != nil || full {
			c.stats.keys = c.sieve.offsets.keys
			return err
		}
		c.sieve.until = max(c.sieve.until, segs[i+1].base)
	}
	c.stats.keys = c.sieve.offsets.keys
	return nil
}

// mapSegment adds the keys of a segment to the map, but for those of aborted transactions.
func (c *cleaner) mapSegment(s *segment, from ids.Offset, txns *cleanedTxns) (full bool, err error) {
	h, err := s.open(c.log.env.files)
	if err != nil {
		return false, err
	}
	defer h.release()
	size := s.sizeBytes.Load()
	sc := newHeaderScan(h, size)
	defer sc.free()
	pos, err := s.seek(sc, c.log.env.files, s.placeTable(), from)
	if err != nil {
		return false, err
	}
	for pos < size {
		b, err := c.next(h, pos, size)
		if err != nil {
			return false, err
		}
		pos += int64(len(b))
		c.stats.mapBytes += int64(len(b))
		if full, err := c.mapBatch(b, from, txns); err != nil || full {
			return full, err
		}
		c.sieve.until = max(c.sieve.until, b.NextOffset())
	}
	return false, nil
}

func (c *cleaner) mapBatch(b record.Batch, from ids.Offset, txns *cleanedTxns) (full bool, err error) {
	if b.Attributes().Control() {
		_, err := txns.seeMarker(b)
		return false, err
	}
	if txns.seeData(b) {
		return false, nil
	}
	for r, err := range b.Records() {
		if err != nil {
			return false, err
		}
		if r.Key == nil || r.Offset < from {
			continue
		}
		if !c.sieve.offsets.put(r.Key, r.Offset) {
			c.sieve.until = max(c.sieve.until, r.Offset)
			return true, nil
		}
	}
	return false, nil
}

// next reads the batch at pos, whole and undamaged. It is valid until the next call.
func (c *cleaner) next(h *fileHandle, pos, size int64) (record.Batch, error) {
	if c.ctx.Err() != nil || c.log.Err() != nil {
		return nil, errCleaningStopped
	}
	if c.reader.file != h {
		buf := c.reader.buf[:0]
		if cap(buf) > c.limits.ioBytes { // of a large batch
			buf = nil
		}
		c.reader = batchReader{file: h, limit: size, chunk: int64(c.limits.ioBytes), buf: buf}
	}
	had := c.reader.read
	b, err := c.reader.at(pos)
	if err != nil {
		return nil, err
	}
	if err := c.limits.throttle(c.ctx, c.reader.read-had); err != nil {
		return nil, errCleaningStopped
	}
	if !b.CheckCRC() || b.LastOffsetDelta() < 0 {
		return nil, fmt.Errorf("%w: the batch at offset %d fails its checksum", ErrCorrupt, b.BaseOffset())
	}
	return b, nil
}

// expectAborted has the sieve told of the aborted transactions that reach into [from, to), which follows what it was told of before.
func (c *cleaner) expectAborted(from, to ids.Offset) error {
	aborted, err := c.log.abortedIn(*c.log.segments.Load(), from, to)
	c.sieve.txns.expect(slices.DeleteFunc(aborted, func(t abortedTxn) bool { return t.firstOffset < c.asked }))
	c.asked = to
	return err
}

// cleanGroup puts one segment in the place of some. rest is the segments after them that are cleaned, which end at end.
func (c *cleaner) cleanGroup(group, rest segmentList, end ids.Offset) error {
	l := c.log
	if len(rest) > 0 {
		end = rest[0].base
	}
	if free := c.limits.freeBytes(); free < group.sizeBytes() {
		return fmt.Errorf("%w: cleaning %d bytes may need as much room, and %d are free", errDiskFull, group.sizeBytes(), free)
	}
	made := newSegment(l.dir, group[0].base)
	made.stage.Store(int32(stageCleaned))
	if err := l.removeStage(made.base, stageCleaned); err != nil {
		return err
	}
	c.sieve.producers = l.lastWrites()
	err := c.write(made, group, end)
	made.closeFiles(l.env.files)
	if err == nil {
		err = l.swapIn(made, group, end)
	}
	if err != nil && made.stage.Load() == int32(stageCleaned) {
		// They stay no longer than until the next cleaning, or the next start.
		_ = l.removeStage(made.base, stageCleaned)
	}
	if err != nil {
		return err
	}
	c.stats.segments += len(group)
	c.stats.made++
	return nil
}

// removeStage removes the files of a segment that a cleaning was to make.
func (l *Log) removeStage(base ids.Offset, stage segmentStage) error {
	s := newSegment(l.dir, base)
	for _, suffix := range segmentSuffixes {
		if err := l.removeIfThere(s.pathAt(stage, suffix)); err != nil {
			return err
		}
	}
	return nil
}

// lastWrites returns where each producer that is remembered wrote last.
func (l *Log) lastWrites() map[ids.ProducerID]lastWrite {
	l.mu.Lock()
	defer l.mu.Unlock()
	writes := make(map[ids.ProducerID]lastWrite, len(l.mu.producers.producers))
	for id, e := range l.mu.producers.producers {
		w := lastWrite{offset: ids.NoOffset, epoch: e.epoch}
		if e.kept > 0 {
			w.offset = e.batches[e.newest].lastOffset
		}
		writes[id] = w
	}
	return writes
}

// write makes the files of a segment, durable but for their names, of what stays of a group.
func (c *cleaner) write(made *segment, group segmentList, end ids.Offset) error {
	l := c.log
	made.resetActive(c.cfg, c.nowMs)
	f, err := l.env.fs.Create(made.path(logSuffix))
	if err != nil {
		return fmt.Errorf("making a cleaned segment: %w", err)
	}
	h := l.env.files.put(&made.file, f)
	defer h.release()
	for i, s := range group {
		next := end
		if i+1 < len(group) {
			next = group[i+1].base
		}
		if err := c.expectAborted(s.base, next); err != nil {
			return err
		}
		if err := c.sift(made, h, s, i == len(group)-1); err != nil {
			return err
		}
	}
	if err := c.flush(made, h); err != nil {
		return err
	}
	if err := made.sealIndexes(l.env.files); err != nil {
		return err
	}
	if kept := c.sieve.txns.takeKept(); len(kept) > 0 {
		if err := writeAborted(l.env.fs, made.path(txnIndexSuffix), kept); err != nil {
			return err
		}
	}
	if err := h.Sync(); err != nil {
		return err
	}
	for _, suffix := range []string{indexSuffix, timeIndexSuffix} {
		if err := l.syncNamed(made.path(suffix)); err != nil {
			return err
		}
	}
	made.indexSynced = true
	return nil
}

// sift writes what stays of one segment. last says that it is the last of its group.
func (c *cleaner) sift(made *segment, to *fileHandle, s *segment, last bool) error {
	h, err := s.open(c.log.env.files)
	if err != nil {
		return err
	}
	defer h.release()
	size := s.sizeBytes.Load()
	for pos := int64(0); pos < size; {
		b, err := c.next(h, pos, size)
		if err != nil {
			return err
		}
		pos += int64(len(b))
		c.stats.bytesRead += int64(len(b))
		v, err := c.sieve.judge(b, last && pos == size)
		if err != nil {
			return err
		}
		left, err := c.left(b, v)
		if err == nil && left != nil {
			err = c.emit(made, to, left)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// left returns what stays of a batch, nil for nothing.
func (c *cleaner) left(b record.Batch, v verdict) (record.Batch, error) {
	c.stats.records += int64(b.Count())
	if !v.drop {
		c.batch = b
		f, err := c.filter.Apply(b, v.stamp)
		if err != nil || f.Batch != nil {
			c.stats.kept += int64(f.Kept)
			return f.Batch, err
		}
	}
	if v.stay {
		return b.Emptied(), nil
	}
	return nil, nil
}

// emit adds a batch to the segment that is being made.
func (c *cleaner) emit(made *segment, to *fileHandle, b record.Batch) error {
	pos := made.sizeBytes.Load() + int64(len(c.out))
	if err := invariant.Check(made.fits(b.LastOffset()) && b.BaseOffset() >= c.emitted, "cleaning %s writes offsets %d to %d after %d into segment %d",
		c.log.tp, b.BaseOffset(), b.LastOffset(), c.emitted-1, made.base); err != nil {
		return err
	}
	if pos+int64(len(b)) > math.MaxInt32 {
		return fmt.Errorf("what stays of segment %d is larger than a segment can be", made.base)
	}
	if err := made.makeIndexRoom(c.log.env.files, 1); err != nil {
		return err
	}
	made.indexBatch(b, pos, c.cfg.IndexIntervalBytes)
	c.emitted = b.NextOffset()
	c.out = append(c.out, b...)
	if len(c.out) < c.limits.ioBytes {
		return nil
	}
	return c.flush(made, to)
}

func (c *cleaner) flush(made *segment, to *fileHandle) error {
	n := int64(len(c.out))
	if err := c.limits.throttle(c.ctx, n); err != nil {
		return errCleaningStopped
	}
	if _, err := to.WriteAt(c.out, made.sizeBytes.Load()); err != nil {
		return fmt.Errorf("writing a cleaned segment: %w", err)
	}
	made.sizeBytes.Add(n)
	c.stats.bytesWritten += n
	if c.out = c.out[:0]; cap(c.out) > 2*c.limits.ioBytes {
		c.out = nil
	}
	return nil
}
