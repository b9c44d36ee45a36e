package log

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

// faultLog is a log with small segments over a disk that fails when told to.
func faultLog(t *testing.T) (*testEnv, *vfs.Fault, *Log) {
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 1500, 150
	f := vfs.NewFault(vfs.NewMem())
	e := newTestEnv(t, f)
	return e, f, e.create(cfg)
}

// A disk that runs full in the middle of a write refuses that batch, keeps what there was, and
// takes batches again when there is room. The producer may send the refused batch once more.
func TestDiskFullRefusesOneBatch(t *testing.T) {
	e, f, l := faultLog(t)
	mustAppend(t, l, idempotent(7, 0, 2))
	full := f.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpWrite}, Path: "*.log", Err: syscall.ENOSPC, Partial: true})
	for range 3 {
		_, err := l.AppendAsLeader(idempotent(7, 2, 2), 0)
		if !errors.Is(err, kerr.KafkaStorageError) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	if l.Err() != nil || e.dirErr != nil {
		t.Fatalf("a full disk took the log offline: %v, %v", l.Err(), e.dirErr)
	}
	if got := offsetsOf(readAll(t, l, 1<<20)); got != "0-1" {
		t.Fatalf("the log holds %s", got)
	}
	full.Remove()
	if a := mustAppend(t, l, idempotent(7, 2, 2)); a.Duplicate || a.BaseOffset != 2 {
		t.Fatalf("the refused batch went to %+v", a)
	}
	l.closeAbrupt()
	if got := offsetsOf(readAll(t, e.mustOpen(l.Config(), false), 1<<20)); got != "0-1 2-3" {
		t.Fatalf("the log holds %s", got)
	}
}

// Whichever operation of an append, a roll included, finds the disk full: the batch is refused,
// and the next one that is accepted continues the log.
func TestDiskFullAtEveryOperation(t *testing.T) {
	ops := []vfs.Op{vfs.OpCreate, vfs.OpOpenReadWrite, vfs.OpWrite, vfs.OpMkdirAll, vfs.OpRename}
	for skip := 0; ; skip++ {
		e, f, l := faultLog(t)
		fault := f.Inject(vfs.Rule{Ops: ops, Skip: skip, Times: 1, Err: syscall.ENOSPC})
		want := ""
		for i := range 30 {
			b := batch(1000, 2, 50)
			a, err := l.AppendAsLeader(b, 0)
			if err != nil {
				if !errors.Is(err, kerr.KafkaStorageError) || l.Err() != nil {
					t.Fatalf("operation %d, append %d: %v, log %v", skip, i, err, l.Err())
				}
				continue
			}
			want += fmt.Sprintf("%d-%d ", a.BaseOffset, a.LastOffset)
		}
		if fault.Hits() == 0 {
			if skip < 10 {
				t.Fatalf("only %d operations", skip)
			}
			return
		}
		check := func(l *Log) {
			t.Helper()
			if got := offsetsOf(readAll(t, l, 1<<20)) + " "; got != want {
				t.Fatalf("operation %d: the log holds %s, accepted were %s", skip, got, want)
			}
		}
		check(l)
		if _, err := l.syncFiles(); err != nil {
			t.Fatalf("operation %d: %v", skip, err)
		}
		l.closeAbrupt()
		check(e.mustOpen(l.Config(), false))
	}
}

// Any other failure of a write says that the disk cannot be relied on.
func TestWriteErrorTakesTheDirectoryOffline(t *testing.T) {
	e, f, l := faultLog(t)
	mustAppend(t, l, batch(1000, 2, 50))
	f.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpWrite}, Path: "*.log", Err: syscall.EIO, Times: 1})
	for range 2 {
		if _, err := l.AppendAsLeader(batch(1000, 2, 50), 0); !errors.Is(err, kerr.KafkaStorageError) || !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
	}
	if !errors.Is(e.dirErr, syscall.EIO) {
		t.Fatalf("the directory's owner was told %v", e.dirErr)
	}
	if _, err := l.Read(0, 2, 1000, true); !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatalf("reading an offline log: %v", err)
	}
}

// A failed sync is never tried again, be it for want of room: the kernel may have dropped the page.
func TestSyncErrorIsFinal(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		e, f, l := faultLog(t)
		mustAppend(t, l, batch(1000, 2, 50))
		done := make(chan error)
		go func() { done <- l.Sync() }()
		f.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "*.log", Err: cause, Times: 1})
		if _, err := l.syncFiles(); !errors.Is(err, cause) {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, kerr.KafkaStorageError) {
			t.Fatalf("Sync returned %v", err)
		}
		if end, err := l.syncFiles(); err == nil || end != 0 || e.dirErr == nil {
			t.Fatalf("after a failed sync: durable end %d, %v, directory %v", end, err, e.dirErr)
		}
	}
}

// A log whose file got shorter behind its back says so instead of reading past a hole.
func TestShortFileIsDamage(t *testing.T) {
	e, _, l := faultLog(t)
	mustAppend(t, l, batch(1000, 2, 50))
	(*l.segments.Load())[0].closeFiles(e.files)
	h, err := e.fs.OpenReadWrite((*l.segments.Load())[0].path(logSuffix))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.Truncate(10), h.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(0, 2, 1000, true); !errors.Is(err, ErrCorrupt) || !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatal(err)
	}
	if e.dirErr != nil {
		t.Fatalf("one damaged file took the directory offline: %v", e.dirErr)
	}
}

// idempotent returns a batch of n records of a producer from a sequence number on.
func idempotent(id ids.ProducerID, seq int32, n int) record.Batch {
	b := record.NewBuilder()
	b.ProducerID, b.ProducerEpoch, b.BaseSequence = id, 0, seq
	for range n {
		b.Append(1000, nil, make([]byte, 50))
	}
	return b.MustBuild()
}
