package log

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/ids"
)

// roomCheckInterval is how often the free space of each directory is looked at.
const roomCheckInterval = time.Second

// firstRetentionAfter is when retention runs first, as in Kafka: not in the rush of a start.
const firstRetentionAfter = 30 * time.Second

// retentionsMax bounds how many logs retention is applied to at a time.
const retentionsMax = 8

// housekeeping does what has to be done now and then, on one goroutine for the whole store.
type housekeeping struct {
	mu struct {
		sync.Mutex // leaf
		removals   []removal
	}
	wake    chan struct{} // a removal was added, or a disk is full
	quit    chan struct{} // nil before Start
	stopped sync.WaitGroup
}

// removal is a renamed directory that has to go.
type removal struct {
	dir  *dataDir
	name string
	tp   ids.TopicPartition // whose it was
	due  time.Time
}

// chore is something to do again and again.
type chore struct {
	every time.Duration
	due   time.Time
	run   func(now time.Time)
}

// Start begins the housekeeping.
func (s *Store) Start() {
	h := &s.housekeeping
	h.quit = make(chan struct{})
	now := time.Now()
	var chores []*chore
	add := func(every, first time.Duration, run func(time.Time)) {
		if every > 0 {
			chores = append(chores, &chore{every, now.Add(min(first, every)), run})
		}
	}
	c := &s.cfg
	add(c.RetentionCheckInterval, firstRetentionAfter, s.retainAll)
	add(c.FlushCheckInterval, c.FlushCheckInterval, s.flushDue)
	add(c.RecoveryCheckpointInterval, c.RecoveryCheckpointInterval, func(time.Time) {
		s.checkpointAll(func(d *dataDir) *checkpointFile { return &d.recoveryPoints })
	})
	add(c.StartOffsetCheckpointInterval, c.StartOffsetCheckpointInterval, func(time.Time) {
		s.checkpointAll(func(d *dataDir) *checkpointFile { return &d.logStarts })
	})
	add(roomCheckInterval, 0, s.checkRoom)
	cleaning := &chore{due: now}
	cleaning.run = func(now time.Time) { cleaning.every = s.cleaner.look(now) }
	chores = append(chores, cleaning)
	h.stopped.Go(func() { s.keepHouse(chores) })
}

// stop returns when the housekeeping has ended.
func (h *housekeeping) stop() {
	if h.quit != nil {
		close(h.quit)
		h.stopped.Wait()
	}
}

func (h *housekeeping) wakeUp() {
	select {
	case h.wake <- struct{}{}:
	default: // it will look
	}
}

// keepHouse sleeps until something is due and does it.
func (s *Store) keepHouse(chores []*chore) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.housekeeping.quit:
			return
		case <-s.housekeeping.wake:
			s.checkRoom(time.Now())
		case <-timer.C:
		}
		next := s.removeDue(time.Now())
		for _, c := range chores {
			if now := time.Now(); !now.Before(c.due) {
				c.run(now)
				c.due = now.Add(c.every)
			}
			if next.IsZero() || c.due.Before(next) {
				next = c.due
			}
		}
		timer.Reset(time.Until(next))
	}
}

// removeLater has a directory removed after the delay.
func (h *housekeeping) removeLater(d *dataDir, name string, tp ids.TopicPartition, delayMs int64) {
	due := time.Now().Add(time.Duration(min(delayMs, int64(24*time.Hour/time.Millisecond))) * time.Millisecond)
	h.mu.Lock()
	h.mu.removals = append(h.mu.removals, removal{d, name, tp, due})
	h.mu.Unlock()
	h.wakeUp()
}

// removeDue removes what is due and returns when the next is; zero for never.
func (s *Store) removeDue(now time.Time) (next time.Time) {
	h := &s.housekeeping
	h.mu.Lock()
	var due []removal
	kept := h.mu.removals[:0]
	for _, r := range h.mu.removals {
		if !now.Before(r.due) {
			due = append(due, r)
			continue
		}
		kept = append(kept, r)
		if next.IsZero() || r.due.Before(next) {
			next = r.due
		}
	}
	h.mu.removals = kept
	h.mu.Unlock()
	for _, d := range s.dirs {
		d.removeAll(slices.DeleteFunc(slices.Clone(due), func(r removal) bool { return r.dir != d }))
	}
	return next
}

// removeAll removes directories, once no checkpoint has a line about them.
func (d *dataDir) removeAll(due []removal) {
	if len(due) == 0 || d.err() != nil {
		return
	}
	tps := make([]ids.TopicPartition, len(due))
	for i, r := range due {
		tps[i] = r.tp
	}
	if err := d.forgetFormer(tps...); err != nil && d.err() == nil {
		d.store.cfg.Logger.Warn("checkpoints of deleted partitions failed and will be tried again", "dir", d.path, "cause", err)
	}
	for _, r := range due {
		if err := d.env.fs.RemoveAll(filepath.Join(d.path, r.name)); err != nil {
			d.fail(fmt.Errorf("removing %s: %w", r.name, err))
		}
	}
}

// retainAll applies retention. A log judges its errors by itself and fails its directory where it must.
func (s *Store) retainAll(now time.Time) {
	logs := s.all(nil)
	// Several at a time, so that those which drop segments share writes of the log starts.
	inParallel(retentionsMax, len(logs), func(i int) {
		if l := logs[i]; l.Err() == nil {
			if err := l.retain(now); err != nil {
				s.cfg.Logger.Warn("retention failed and will be tried again", "partition", l.tp.String(), "cause", err)
			}
		}
	})
}

// flushDue asks for the syncs that flush.ms wants.
func (s *Store) flushDue(now time.Time) {
	for l := range s.All() {
		if l.flushDue(now) {
			l.RequestSync()
		}
	}
}

func (s *Store) checkpointAll(which func(*dataDir) *checkpointFile) {
	for _, d := range s.dirs {
		if d.err() != nil {
			continue
		}
		c := which(d)
		if err := c.write(); err != nil && d.err() == nil {
			s.cfg.Logger.Warn("checkpoint failed and will be tried again", "dir", d.path, "file", c.name, "cause", err)
		}
	}
}

func (s *Store) checkRoom(time.Time) {
	for _, d := range s.dirs {
		if d.err() == nil {
			d.room.check(d)
		}
	}
}
