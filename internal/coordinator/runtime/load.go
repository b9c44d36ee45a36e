package runtime

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/record"
	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	// loadBytes is how much of a log is read at a time; each partition that loads has a buffer of it.
	loadBytes = 512 << 10

	// refusedLogged is how many of the records that a shard refuses are logged one by one.
	refusedLogged = 3
)

// errEnded says that the life has ended before it was loaded.
var errEnded = errors.New("discarded while loading")

// load replays the log into a new shard and makes it active.
func (l *life) load() {
	defer l.runtime.background.Done()
	began := time.Now()
	logger := l.runtime.cfg.Logger.With("partition", l.name, "epoch", l.epoch)
	ld := loader{life: l, shard: l.runtime.cfg.NewShard(l.number)}
	err := ld.run()
	if ld.refused > 0 {
		logger.Error("coordinator: records were left out that the shard refuses", "count", ld.refused, "first", errors.Join(ld.refusals...))
	}
	switch {
	case err != nil:
		if l.abandon() {
			logger.Error("coordinator: a partition cannot be read, its requests are refused until the next election", "err", err)
		}
	case l.activate(ld.shard, ld.next):
		logger.Info("coordinator: loaded a partition", "records", ld.records, "bytes", ld.bytes, "duration", time.Since(began))
	}
}

// abandon ends a life that cannot be loaded, unless it has ended already.
func (l *life) abandon() bool {
	l.enter()
	defer l.leave()
	if l.mu.state != loading {
		return false
	}
	l.discardLocked(nil)
	return true
}

// loading tells whether the life has neither ended nor been loaded.
func (l *life) loading() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.state == loading
}

// loader is one replay of a log. It belongs to one goroutine.
type loader struct {
	life  *life
	shard Shard
	buf   []byte
	next  ids.Offset // everything below has been replayed, or is gone

	records, bytes int64
	refused        int
	refusals       []error // the first of them
}

// run replays the log to its end, which moves only where a client writes to the topic by itself.
func (ld *loader) run() error {
	for {
		l := ld.life.partition.Log()
		ld.next = max(ld.next, l.StartOffset())
		if ld.next >= l.EndOffset() {
			return nil
		}
		before := ld.next
		err := ld.read(l)
		if errors.Is(err, kerr.OffsetOutOfRange) && before < l.StartOffset() {
			continue // deleted in this moment
		}
		if err != nil && ld.life.partition.Log() != l {
			continue // moved to another data directory
		}
		if err != nil {
			return err
		}
		if ld.next <= before {
			return fmt.Errorf("reading %s at offset %d gave nothing", ld.life.name, before)
		}
	}
}

// read replays the batches of one read.
func (ld *loader) read(l *log.Log) error {
	s, err := l.Read(ld.next, l.EndOffset(), loadBytes, true)
	if err != nil {
		return err
	}
	ld.buf = slices.Grow(ld.buf[:0], s.Len())[:s.Len()]
	_, err = s.ReadInto(ld.buf)
	s.Release()
	if err != nil && err != io.EOF {
		return fmt.Errorf("reading %s at offset %d: %w", ld.life.name, ld.next, err)
	}
	for rest := ld.buf; len(rest) > 0; {
		if !ld.life.loading() {
			return errEnded
		}
		var b record.Batch
		if b, rest, err = record.First(rest); err == nil {
			err = ld.replay(b)
		}
		if err != nil {
			return fmt.Errorf("replaying %s at offset %d: %w", ld.life.name, ld.next, err)
		}
	}
	return nil
}

// replay gives the records of a batch to the shard, but for those of control batches, which are no coordinator's.
func (ld *loader) replay(b record.Batch) error {
	if !b.CheckCRC() {
		return fmt.Errorf("the batch at offset %d fails its checksum: %w", b.BaseOffset(), record.ErrCorrupt)
	}
	if !b.Attributes().Control() {
		for r, err := range b.Records() {
			if err != nil {
				return err
			}
			if r.Offset < ld.next { // deleted, or replayed
				continue
			}
			ld.records++
			key, value := owned(r.Key, r.Value)
			if err := ld.shard.Replay(key, value, r.Timestamp); err != nil {
				ld.refuse(r.Offset, err)
			}
		}
	}
	ld.bytes += int64(len(b))
	ld.next = b.NextOffset()
	return nil
}

func (ld *loader) refuse(o ids.Offset, err error) {
	ld.refused++
	if ld.refused <= refusedLogged {
		ld.refusals = append(ld.refusals, fmt.Errorf("offset %d: %w", o, err))
	}
}

// owned copies a key and a value, of which nil stays nil, into memory of their own.
func owned(key, value []byte) (k, v []byte) {
	both := append(append(make([]byte, 0, len(key)+len(value)), key...), value...)
	if key != nil {
		k = both[:len(key):len(key)]
	}
	if value != nil {
		v = both[len(key):]
	}
	return k, v
}
