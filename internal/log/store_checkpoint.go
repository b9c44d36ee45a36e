package log

import (
	"fmt"
	"hash/maphash"
	"slices"
	"sync"

	"github.com/moldau/moldau/internal/ids"
)

// sharedRun makes concurrent callers share the runs of a function that one goroutine at
// a time may run. A caller gets the result of a run that began after it called.
type sharedRun struct {
	run func() error // set before use

	mu struct {
		sync.Mutex // leaf; not held while run runs
		running    bool
		next       *runRound // those who came during this run; nil for nobody
	}
}

type runRound struct {
	done chan struct{}
	err  error // set before done is closed
}

func (s *sharedRun) do() error {
	s.mu.Lock()
	if s.mu.running {
		if s.mu.next == nil {
			s.mu.next = &runRound{done: make(chan struct{})}
		}
		mine := s.mu.next
		s.mu.Unlock()
		<-mine.done
		return mine.err
	}
	s.mu.running = true
	s.mu.Unlock()
	err := s.run()
	s.passOn()
	return err
}

// passOn ends a run, and begins the next one, on a goroutine of its own, for those who came meanwhile.
func (s *sharedRun) passOn() {
	s.mu.Lock()
	round := s.mu.next
	s.mu.next = nil
	s.mu.running = round != nil
	s.mu.Unlock()
	if round == nil {
		return
	}
	go func() {
		round.err = s.run()
		close(round.done)
		s.passOn()
	}()
}

// checkpointFile is one of the files of a directory that hold an offset for each of its partitions.
type checkpointFile struct {
	dir  *dataDir
	name string
	of   func(*Log) ids.Offset        // what it says of a log
	left func(openOptions) ids.Offset // and of a directory that no log has open

	shared sharedRun

	// Owned by the run of shared.
	seed    maphash.Seed
	written uint64 // what sum gives for the content of the file, 0 where there is none
}

func (c *checkpointFile) init(d *dataDir, name string, of func(*Log) ids.Offset, left func(openOptions) ids.Offset) {
	c.dir, c.name, c.of, c.left = d, name, of, left
	c.seed = maphash.MakeSeed()
	c.shared.run = c.writeIfChanged
}

// write makes what the logs say now durable.
func (c *checkpointFile) write() error { return c.shared.do() }

// checkpointEntry is a line of a checkpoint.
type checkpointEntry struct {
	tp     ids.TopicPartition
	offset ids.Offset
}

// entries asks every log for its offset, several at a time: a recovery point has to be made
// durable first. Those of 0 need no line.
func (c *checkpointFile) entries() []checkpointEntry {
	logs := c.dir.store.all(c.dir)
	entries := make([]checkpointEntry, len(logs))
	inParallel(syncsMax, len(logs), func(i int) { entries[i] = checkpointEntry{logs[i].tp, c.of(logs[i])} })
	for tp, left := range c.dir.store.leftIn(c.dir) {
		entries = append(entries, checkpointEntry{tp, c.left(left.offsets)})
	}
	return slices.DeleteFunc(entries, func(e checkpointEntry) bool { return e.offset <= 0 })
}

// sum is of hashes, so that the order does not matter.
func (c *checkpointFile) sum(entries []checkpointEntry) (sum uint64) {
	for _, e := range entries {
		sum += maphash.Comparable(c.seed, e)
	}
	return sum
}

// read returns what the file says, and remembers that it says so. Before the first write.
func (c *checkpointFile) read() (map[ids.TopicPartition]ids.Offset, error) {
	offsets, err := readOffsetCheckpoint(c.dir.env.fs, c.dir.path, c.name)
	if err != nil {
		return nil, err
	}
	entries := make([]checkpointEntry, 0, len(offsets))
	for tp, o := range offsets {
		entries = append(entries, checkpointEntry{tp, o})
	}
	c.written = c.sum(entries)
	return offsets, nil
}

func (c *checkpointFile) writeIfChanged() error {
	entries := c.entries()
	if err := c.dir.err(); err != nil {
		return err
	}
	sum := c.sum(entries)
	if sum == c.written {
		return nil
	}
	offsets := make(map[ids.TopicPartition]ids.Offset, len(entries))
	for _, e := range entries {
		offsets[e.tp] = e.offset
	}
	if err := writeOffsetCheckpoint(c.dir.env.fs, c.dir.path, c.name, offsets); err != nil {
		return c.dir.writeFailed(fmt.Errorf("checkpoint: %w", err))
	}
	c.written = sum
	return nil
}

// writeFailed judges an error of writing to the directory: want of room passes, anything else takes it offline.
func (d *dataDir) writeFailed(err error) error {
	if exhausted(err) {
		d.noRoom()
		return err
	}
	d.fail(err)
	return err
}
