package log

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

var testTP = ids.TopicPartition{Topic: "t", Partition: 0}

// testEnv is the store of one log: a group commit that syncs when told to, and checkpoints in memory.
type testEnv struct {
	logEnv
	tb        testing.TB
	id        ids.TopicID
	requested int   // syncs asked for
	dirErr    error // what failDir was told
	start     ids.Offset
	recovery  ids.Offset
}

func newTestEnv(tb testing.TB, fs vfs.FS) *testEnv {
	e := &testEnv{tb: tb, id: ids.UUID{1, 2, 3}}
	e.fs, e.files, e.logger, e.sync = fs, newFileCache(fs, 16), slog.New(slog.DiscardHandler), e
	e.failDir = func(_ string, err error) { e.dirErr = err }
	e.checkpointStart = func(l *Log) error { e.start = l.StartOffset(); return nil }
	e.checkpointRecovery = func(l *Log) error { e.recovery = l.recoveryPoint(); return nil }
	if err := fs.MkdirAll("/data"); err != nil {
		tb.Fatal(err)
	}
	if err := fs.SyncDir("/"); err != nil {
		tb.Fatal(err)
	}
	return e
}

func (e *testEnv) request(*Log) { e.requested++ }

func (e *testEnv) here(*Log) bool { return false }

func (e *testEnv) create(cfg Config) *Log { return newLog(&e.logEnv, "/data", testTP, e.id, cfg) }

func (e *testEnv) open(cfg Config, clean bool) (*Log, error) {
	return openLog(&e.logEnv, "/data", testTP, e.id, cfg, openOptions{recoveryPoint: e.recovery, logStart: e.start, clean: clean})
}

func (e *testEnv) mustOpen(cfg Config, clean bool) *Log {
	e.tb.Helper()
	l, err := e.open(cfg, clean)
	if err != nil {
		e.tb.Fatal(err)
	}
	return l
}

// closeClean closes the log as a store does: the recovery point goes to its checkpoint last.
func (e *testEnv) closeClean(l *Log) {
	e.tb.Helper()
	if err := l.closeClean(); err != nil {
		e.tb.Fatal(err)
	}
	e.recovery = l.EndOffset()
}

// batch returns a batch of n records with the given timestamp and about valueBytes bytes each.
func batch(ts int64, n, valueBytes int) record.Batch {
	b := record.NewBuilder()
	for i := range n {
		b.Append(ts, nil, bytes.Repeat([]byte{byte('a' + i%26)}, valueBytes))
	}
	return b.MustBuild()
}

func mustAppend(tb testing.TB, l *Log, b record.Batch) Appended {
	tb.Helper()
	a, err := l.AppendAsLeader(b, 0)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// readAll returns every batch from the log's start to its end, read with the given limit.
func readAll(tb testing.TB, l *Log, maxBytes int32) []record.Batch {
	tb.Helper()
	var out []record.Batch
	for at := l.StartOffset(); at < l.EndOffset(); {
		s, err := l.Read(at, l.EndOffset(), maxBytes, true)
		if err != nil {
			tb.Fatal(err)
		}
		bs := sliceBatches(tb, s)
		if len(bs) == 0 {
			break
		}
		if next := bs[len(bs)-1].NextOffset(); s.NextOffset() < next {
			tb.Fatalf("slice says it ends at %d, its last batch ends at %d", s.NextOffset(), next)
		}
		at = s.NextOffset()
		out = append(out, bs...)
	}
	return out
}

// sliceBatches reads and releases a slice and splits it into batches.
func sliceBatches(tb testing.TB, s Slice) []record.Batch {
	tb.Helper()
	defer s.Release()
	p := make([]byte, s.Len())
	if n, err := s.ReadInto(p); err != nil || n != len(p) {
		tb.Fatalf("ReadInto: %d of %d bytes, %v", n, len(p), err)
	}
	var out []record.Batch
	for len(p) > 0 {
		b, rest, err := record.First(p)
		if err != nil {
			tb.Fatal(err)
		}
		if !b.CheckCRC() {
			tb.Fatalf("batch at offset %d fails its checksum", b.BaseOffset())
		}
		out, p = append(out, b), rest
	}
	return out
}

func offsetsOf(bs []record.Batch) string {
	var out bytes.Buffer
	for i, b := range bs {
		if i > 0 {
			out.WriteByte(' ')
		}
		fmt.Fprintf(&out, "%d-%d", b.BaseOffset(), b.LastOffset())
	}
	return out.String()
}

// noDelay is a time at which everything that was dropped may be removed.
func noDelay() time.Time { return time.Now().Add(24 * time.Hour) }
