package log

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/invariant"
)

// CleanerConfig is what the broker says of compaction; the names are Kafka's.
type CleanerConfig struct {
	Enable            bool    // log.cleaner.enable
	Threads           int     // log.cleaner.threads: logs cleaned at a time
	DedupeBufferBytes int64   // log.cleaner.dedupe.buffer.size, of all threads: keys that are looked at at once
	LoadFactor        float64 // log.cleaner.io.buffer.load.factor: how much of it is used
	IOBufferBytes     int     // log.cleaner.io.buffer.size, of all threads
	IOBytesPerSecond  float64 // log.cleaner.io.max.bytes.per.second, read and written
	Backoff           time.Duration
}

// DefaultCleanerConfig returns Kafka's defaults.
func DefaultCleanerConfig() CleanerConfig {
	return CleanerConfig{
		Enable:            true,
		Threads:           1,
		DedupeBufferBytes: 128 << 20,
		LoadFactor:        0.9,
		IOBufferBytes:     512 << 10,
		IOBytesPerSecond:  math.MaxFloat64,
		Backoff:           15 * time.Second,
	}
}

// backoffMin keeps housekeeping from looking through the logs all the time.
const backoffMin = 10 * time.Millisecond

// ioBufferMin is what a cleaning reads and writes at once at least.
const ioBufferMin = 4096

// limits is each thread's part.
func (c *CleanerConfig) limits() cleaningLimits {
	threads := max(1, c.Threads)
	return cleaningLimits{
		mapBytes: c.DedupeBufferBytes / int64(threads),
		mapLoad:  min(1, max(0.01, c.LoadFactor)),
		ioBytes:  max(ioBufferMin, c.IOBufferBytes/threads/2),
	}
}

// logCleaner compacts the logs of a store in the background. Java: LogCleaner, LogCleanerManager.
//
// Goroutines: up to log.cleaner.threads while there is a log to clean, none else. Buffers are theirs.
// Locks: mu, a leaf but for choosing, which looks at logs and so takes their locks.
type logCleaner struct {
	store *Store
	ctx   context.Context // ends with the store
	stop  context.CancelFunc
	pace  pace

	working sync.WaitGroup
	mu      struct {
		sync.Mutex // held while one log is chosen: no two workers compare the same logs
		workers    int
	}
}

func newLogCleaner(s *Store) *logCleaner {
	c := &logCleaner{store: s}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c
}

// close stops what is being cleaned.
func (c *logCleaner) close() {
	c.stop()
	c.working.Wait()
}

// look begins to clean if a log is dirty enough, and returns when to look again.
func (c *logCleaner) look(now time.Time) time.Duration {
	cfg := c.store.cfg.Cleaner()
	if !cfg.Enable || c.ctx.Err() != nil {
		return max(cfg.Backoff, backoffMin)
	}
	for c.addWorker(cfg.Threads) {
		w := &cleaningWorker{cleaner: c, cfg: cfg}
		l, end := w.choose(now)
		if l == nil {
			c.removeWorker()
			break
		}
		c.working.Go(func() {
			defer c.removeWorker()
			w.work(l, end)
		})
	}
	return max(cfg.Backoff, backoffMin)
}

func (c *logCleaner) addWorker(most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.workers >= most {
		return false
	}
	c.mu.workers++
	return true
}

func (c *logCleaner) removeWorker() {
	c.mu.Lock()
	c.mu.workers--
	c.mu.Unlock()
}

// cleaningWorker cleans one log after the other until none is dirty enough.
type cleaningWorker struct {
	cleaner *logCleaner
	cfg     CleanerConfig
	given   map[*Log]bool // up until the next look
}

// chosenLog is a log whose cleaning has begun.
type chosenLog struct {
	log  *Log
	ctx  context.Context
	plan cleaningPlan
	why  string
	end  func()
}

// candidate is a log that could be cleaned.
type candidate struct {
	log   *Log
	ratio float64
}

// choose begins the cleaning of the log that is dirtiest by ratio, nil where none is due.
func (w *cleaningWorker) choose(now time.Time) (*chosenLog, func()) {
	c := w.cleaner
	c.mu.Lock()
	defer c.mu.Unlock()
	var due []candidate
	for l := range c.store.All() {
		if !l.config.Load().CompactPolicy || l.uncleanable.Load() || w.given[l] || l.Err() != nil {
			continue
		}
		p, empty, err := l.planCleaning(now)
		if err != nil {
			w.giveUp(l, cleaningStats{}, err)
			continue
		}
		if empty {
			continue
		}
		if _, ok := p.due(l.config.Load()); ok {
			due = append(due, candidate{l, p.ratio()})
		}
	}
	slices.SortFunc(due, func(a, b candidate) int { return cmp.Compare(b.ratio, a.ratio) })
	for _, d := range due {
		if chosen := w.begin(d.log, now); chosen != nil {
			return chosen, chosen.end
		}
	}
	return nil, nil
}

// begin takes a log, and looks again now that it does not get shorter any more.
func (w *cleaningWorker) begin(l *Log, now time.Time) *chosenLog {
	ctx, end, ok := l.beginCleaning(w.cleaner.ctx)
	if !ok {
		return nil
	}
	if p, empty, err := l.planCleaning(now); err == nil && !empty {
		if why, due := p.due(l.config.Load()); due {
			return &chosenLog{l, ctx, p, why, end}
		}
	}
	end()
	return nil
}

func (w *cleaningWorker) work(chosen *chosenLog, end func()) {
	for chosen != nil {
		w.clean(chosen)
		end()
		if w.cleaner.ctx.Err() != nil {
			return
		}
		w.cfg = w.cleaner.store.cfg.Cleaner()
		if !w.cfg.Enable {
			return
		}
		chosen, end = w.choose(time.Now())
	}
}

func (w *cleaningWorker) clean(chosen *chosenLog) {
	l, s := chosen.log, w.cleaner.store
	limits := w.cfg.limits()
	limits.throttle = func(ctx context.Context, n int64) error {
		return w.cleaner.pace.wait(ctx, n, w.cfg.IOBytesPerSecond)
	}
	limits.freeBytes = func() int64 { return s.freeForCleaning(l) }
	stats, err := l.clean(chosen.ctx, chosen.plan, &limits)
	if err != nil {
		w.giveUp(l, stats, err)
		return
	}
	if err := s.dirOf(l).cleanedOffsets.write(); err != nil && l.Err() == nil {
		s.cfg.Logger.Warn("checkpoint failed and will be tried again", "dir", l.root, "file", cleanedCheckpoint, "cause", err)
	}
	s.cfg.Logger.Info("log compacted", "partition", l.tp.String(), "why", chosen.why,
		"dirty_from", stats.from, "dirty_to", stats.to, "keys", stats.keys,
		"records", stats.records, "records_kept", stats.kept,
		"bytes", stats.bytesRead, "bytes_kept", stats.bytesWritten, "dirty_bytes", stats.mapBytes,
		"segments", stats.segments, "segments_kept", stats.made, "took", stats.took.Round(time.Millisecond))
	if stats.keyless > 0 {
		s.cfg.Logger.Warn("records without a key were removed: they have no place in a compacted log", "partition", l.tp.String(), "records", stats.keyless)
	}
}

// giveUp judges why a cleaning did not end.
func (w *cleaningWorker) giveUp(l *Log, stats cleaningStats, err error) {
	if w.given == nil {
		w.given = make(map[*Log]bool)
	}
	w.given[l] = true
	logger := w.cleaner.store.cfg.Logger
	switch {
	case l.Err() != nil: // told when it failed, or it was deleted
	case errors.Is(err, errCleaningStopped), errors.Is(err, errSegmentGone):
		logger.Debug("compaction stopped and will be tried again", "partition", l.tp.String(), "cause", err)
	case exhausted(err):
		logger.Warn("compaction gave up for want of room and will be tried again", "partition", l.tp.String(), "cause", err)
	case isDiskFault(err):
		_ = l.ioError("compacting", err) // fails the directory, which tells
	default:
		l.uncleanable.Store(true)
		logger.Error("partition cannot be compacted and is left alone until this broker starts again; others go on. Restore its directory from a backup or another replica",
			"partition", l.tp.String(), "dir", l.dir, "dirty_from", stats.from, "cause", err)
		if l.env.damaged != nil && errors.Is(err, ErrCorrupt) {
			l.env.damaged(l, err)
		}
	}
}

// isDiskFault tells an error of the file system from one about what files hold.
func isDiskFault(err error) bool {
	var broken *invariant.Violation
	if errors.As(err, &broken) || errors.Is(err, ErrCorrupt) {
		return false
	}
	var path *fs.PathError
	var link *os.LinkError
	return errors.As(err, &path) || errors.As(err, &link)
}

// freeForCleaning returns how much a cleaning may write without taking the directory's last room.
func (s *Store) freeForCleaning(l *Log) int64 {
	free, _, err := s.cfg.FS.Usage(l.root)
	if err != nil {
		return math.MaxInt64 // what is wrong with the disk shows where it is written
	}
	return int64(min(free, math.MaxInt64)) - roomAgain*max(0, s.cfg.ReservedBytes)
}

// pace keeps what all cleanings read and write below so many bytes a second.
type pace struct {
	mu struct {
		sync.Mutex           // leaf
		free       time.Time // when the bytes that were counted so far have had their time
	}
}

// wait returns when n more bytes may have been read or written.
func (p *pace) wait(ctx context.Context, n int64, bytesPerSecond float64) error {
	if n <= 0 || !(bytesPerSecond > 0) || bytesPerSecond >= math.MaxInt64 {
		return ctx.Err()
	}
	took := time.Duration(min(float64(n)/bytesPerSecond*float64(time.Second), float64(time.Hour)))
	p.mu.Lock()
	now := time.Now()
	if p.mu.free.Before(now) {
		p.mu.free = now
	}
	p.mu.free = p.mu.free.Add(took)
	until := p.mu.free
	p.mu.Unlock()
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errCleaningStopped, ctx.Err())
	}
}
