package log

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// Appenders, readers that hold their slices for a while, a syncer, checkpoints and retention,
// all at once over two open files: every batch read is whole and where it should be, every append gets
// offsets of its own, and at the end the disk has what was appended.
func TestConcurrentUse(t *testing.T) {
	const appenders, each = 4, 300
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes, cfg.FileDeleteDelayMs = 3000, 100, 0
	e := newTestEnv(t, vfs.OS)
	e.files.openMax = 2
	var requested atomic.Int64
	e.sync = countingSync{&requested}
	e.checkpointStart = nil
	l := newLog(&e.logEnv, t.TempDir(), testTP, e.id, cfg)
	var all, background sync.WaitGroup
	var done atomic.Bool
	for range appenders {
		all.Go(func() {
			for range each {
				if _, err := l.AppendAsLeader(batch(1000, 2, 40), 0); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 3 {
		background.Go(func() { readUntil(t, l, &done) })
	}
	background.Go(func() {
		for !done.Load() {
			if _, err := l.syncFiles(); err != nil {
				t.Error(err)
			}
			l.SetHighWatermark(l.DurableEnd())
			if l.recoveryPoint() > l.DurableEnd() {
				t.Error("recovery point above the durable end")
			}
		}
	})
	background.Go(func() {
		for !done.Load() {
			if err := l.AdvanceStart(l.HighWatermark() / 2); err != nil {
				t.Error(err)
			}
			if err := l.retain(time.Now()); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	done.Store(true)
	background.Wait()
	if l.EndOffset() != appenders*each*2 {
		t.Fatalf("the log ends at %d", l.EndOffset())
	}
	start := l.StartOffset()
	l.closeAbrupt()
	again, err := openLog(&e.logEnv, l.root, testTP, e.id, cfg, openOptions{logStart: start})
	if err != nil || again.EndOffset() != l.EndOffset() || again.StartOffset() != start {
		t.Fatalf("opened again: %v, %v", again, err)
	}
	readAll(t, again, 1000)
}

type countingSync struct{ n *atomic.Int64 }

func (c countingSync) request(*Log) { c.n.Add(1) }

func (c countingSync) here(*Log) bool { return false }

// readUntil reads from the start to the end, over and over, holding some slices back.
func readUntil(t *testing.T, l *Log, done *atomic.Bool) {
	var held []Slice
	from := l.StartOffset()
	for !done.Load() {
		s, err := l.Read(from, l.EndOffset(), 900, true)
		if errors.Is(err, kerr.OffsetOutOfRange) {
			from = l.StartOffset()
			continue
		}
		if err != nil {
			t.Error(err)
			return
		}
		if s.Len() == 0 {
			runtime.Gosched()
			from = l.StartOffset()
			continue
		}
		if held = append(held, s); len(held) > 10 {
			checkHeld(t, held[0], ids.NoOffset)
			held = held[1:]
		}
		from = s.NextOffset()
	}
	for _, s := range held {
		checkHeld(t, s, ids.NoOffset)
	}
}

func checkHeld(t *testing.T, s Slice, from ids.Offset) {
	bs := sliceBatches(t, s)
	for _, b := range bs {
		if from >= 0 && b.BaseOffset() != from {
			t.Errorf("batch at offset %d, expected %d", b.BaseOffset(), from)
		}
		from = b.NextOffset()
	}
	if from != s.NextOffset() {
		t.Errorf("slice ends at %d and says %d", from, s.NextOffset())
	}
}

// A follower that truncates under its readers: a read is made again rather than taken for damage.
func TestReadsDuringTruncations(t *testing.T) {
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 3000, 100
	e := newTestEnv(t, vfs.NewMem())
	var requested atomic.Int64
	e.sync, e.checkpointStart, e.checkpointRecovery = countingSync{&requested}, nil, nil
	l := e.create(cfg)
	var done atomic.Bool
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for n := ids.Offset(0); !done.Load(); n++ {
				from := n * 7919 % (l.EndOffset() + 1)
				s, err := l.Read(from, l.EndOffset(), 900, true)
				if err != nil && !errors.Is(err, kerr.OffsetOutOfRange) {
					t.Errorf("reading at %d: %v", from, err)
					return
				}
				s.Release()
				if _, _, _, _, err := l.OffsetForTimestamp(1000+int64(n)%100, l.EndOffset()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 150 {
		for j := range 10 {
			mustAppend(t, l, batch(int64(1000+i+j), 1+j%3, 40+i%50))
		}
		if err := l.TruncateTo(l.EndOffset() - ids.Offset(i%19)); err != nil {
			t.Fatal(err)
		}
	}
	done.Store(true)
	readers.Wait()
	readAll(t, l, 1000)
}

// A truncation in the very moment before a read looks at a header, which is gone then.
func TestReadOvertakenByTruncation(t *testing.T) {
	fs := &readHookFS{FS: vfs.NewMem()}
	e := newTestEnv(t, fs)
	l := e.create(DefaultConfig())
	for range 10 {
		mustAppend(t, l, batch(1000, 2, 40))
	}
	for _, read := range []func() error{
		func() error { _, err := l.Read(13, 17, 200, true); return err },
		func() error { _, _, _, _, err := l.OffsetForTimestamp(999, 17); return err },
	} {
		to := l.EndOffset() / 2
		fs.before = func() {
			fs.before = nil
			if err := l.TruncateTo(to); err != nil {
				t.Error(err)
			}
		}
		l.active().places.Store(nil) // or the read would know where to look
		if err := read(); err != nil && !errors.Is(err, kerr.OffsetOutOfRange) {
			t.Error(err)
		}
		if fs.before != nil {
			t.Error("the read looked at no file")
		}
		if err := l.Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// readHookFS calls before ahead of a read of a file.
type readHookFS struct {
	vfs.FS
	before func()
}

func (fs *readHookFS) OpenReadWrite(name string) (vfs.File, error) {
	f, err := fs.FS.OpenReadWrite(name)
	return readHookFile{f, fs}, err
}

func (fs *readHookFS) OpenExisting(name string) (vfs.File, error) {
	f, err := fs.FS.OpenExisting(name)
	return readHookFile{f, fs}, err
}

func (fs *readHookFS) Create(name string) (vfs.File, error) {
	f, err := fs.FS.Create(name)
	return readHookFile{f, fs}, err
}

type readHookFile struct {
	vfs.File
	fs *readHookFS
}

func (f readHookFile) ReadAt(p []byte, off int64) (int, error) {
	if f.fs.before != nil {
		f.fs.before()
	}
	return f.File.ReadAt(p, off)
}
