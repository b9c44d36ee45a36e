package log

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

// txnBatch returns two records of a producer's transaction.
func txnBatch(id ids.ProducerID, seq int32) record.Batch {
	b := record.NewBuilder()
	b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = id, 0, seq, true
	return b.Append(1000, nil, []byte("a")).Append(1000, nil, []byte("b")).MustBuild()
}

func endTxn(id ids.ProducerID, commit bool) record.Batch {
	return record.EndTxnMarker{ProducerID: id, Commit: commit}.Build(1000)
}

// lives runs check on a log, then on the same log after each way to stop it.
func lives(t *testing.T, e *testEnv, l *Log, check func(t *testing.T, l *Log)) *Log {
	t.Helper()
	t.Run("running", func(t *testing.T) { check(t, l) })
	for _, how := range []string{"closed", "killed", "power cut", "closed"} {
		switch how {
		case "closed":
			e.closeClean(l)
		case "killed":
			l.closeAbrupt()
		case "power cut":
			if _, err := l.syncFiles(); err != nil {
				t.Fatal(err)
			}
			l.closeAbrupt()
			mem := e.fs.(*vfs.Mem).CrashClone(vfs.NoUnsynced, 0)
			e.fs, e.files = mem, newFileCache(mem, 16)
		}
		l = e.mustOpen(l.Config(), how == "closed")
		t.Run(how, func(t *testing.T) { check(t, l) })
	}
	return l
}

// A transaction holds the last stable offset at its beginning until its marker lies below the
// high watermark. Aborted ones are in the transaction index, also of a marker in a later segment.
func TestTransactions(t *testing.T) {
	cfg := DefaultConfig()
	cfg.SegmentBytes = 300
	e := newTestEnv(t, vfs.NewMem())
	l := e.create(cfg)
	for _, b := range []record.Batch{
		txnBatch(1, 0),      // 0-1
		txnBatch(2, 0),      // 2-3
		batch(1000, 2, 10),  // 4-5
		endTxn(1, false),    // 6: aborts 0-1
		txnBatch(1, 2),      // 7-8
		endTxn(2, true),     // 9: commits 2-3
		batch(1000, 10, 10), // 10-19
		endTxn(1, false),    // 20: aborts 7-8
		txnBatch(3, 0),      // 21-22, stays open
		batch(1000, 1, 10),  // 23
	} {
		mustAppend(t, l, b)
	}
	if n := len(*l.segments.Load()); n < 3 {
		t.Fatalf("%d segments", n)
	}
	lives(t, e, l, func(t *testing.T, l *Log) {
		for _, c := range []struct{ hw, lso ids.Offset }{{24, 21}, {21, 21}} {
			l.SetHighWatermark(c.hw)
			if got := l.LastStableOffset(); got != c.lso {
				t.Errorf("high watermark %d: last stable offset %d, want %d", c.hw, got, c.lso)
			}
		}
		for _, c := range []struct {
			from, to ids.Offset
			want     string
		}{
			{0, 24, "[{1 0} {1 7}]"}, {0, 1, "[{1 0}]"}, {2, 4, "[{1 0}]"}, {7, 9, "[{1 7}]"}, {10, 12, "[{1 7}]"}, {21, 24, "[]"},
		} {
			got, err := l.AbortedTxns(c.from, c.to)
			if err != nil || fmt.Sprint(got) != c.want {
				t.Errorf("aborted in %d to %d: %v, %v, want %s", c.from, c.to, got, err, c.want)
			}
		}
		if n := len(l.ActiveProducers()); n != 3 {
			t.Errorf("%d producers", n)
		}
	})
}

// Until the marker itself is replicated its transaction is not stable.
func TestMarkerAboveHighWatermarkIsNotStable(t *testing.T) {
	e := newTestEnv(t, vfs.NewMem())
	l := e.create(DefaultConfig())
	mustAppend(t, l, txnBatch(1, 0))
	mustAppend(t, l, endTxn(1, true))
	for _, c := range []struct{ hw, lso ids.Offset }{{0, 0}, {2, 0}, {3, 3}} {
		l.SetHighWatermark(c.hw)
		if got := l.LastStableOffset(); got != c.lso {
			t.Errorf("high watermark %d: last stable offset %d, want %d", c.hw, got, c.lso)
		}
	}
}

// A retry of one of the last five batches is answered with its first offsets, whatever
// happened to the broker between; a gap in the sequence is refused.
func TestDuplicatesAreKnownAfterRestart(t *testing.T) {
	cfg := DefaultConfig()
	cfg.SegmentBytes = 400
	e := newTestEnv(t, vfs.NewMem())
	l := e.create(cfg)
	for i := range 6 {
		mustAppend(t, l, idempotent(9, int32(2*i), 2))
	}
	end := l.EndOffset()
	lives(t, e, l, func(t *testing.T, l *Log) {
		a, err := l.AppendAsLeader(idempotent(9, 10, 2), 0)
		if err != nil || !a.Duplicate || a.BaseOffset != 10 || a.LastOffset != 11 {
			t.Errorf("the last batch once more: %+v, %v", a, err)
		}
		if _, err := l.AppendAsLeader(idempotent(9, 14, 2), 0); !errors.Is(err, kerr.OutOfOrderSequenceNumber) {
			t.Errorf("a gap in the sequence: %v", err)
		}
		if l.EndOffset() != end {
			t.Errorf("the log ends at %d", l.EndOffset())
		}
	})
}

// A producer whose records came from a leader is as alive as one that wrote here: when this replica leads, its retries are known.
func TestFollowersDoNotForgetProducersThatWrite(t *testing.T) {
	e := newTestEnv(t, vfs.NewMem())
	l := e.create(DefaultConfig())
	b := idempotent(9, 0, 2)
	if _, err := l.AppendAsFollower(b); err != nil {
		t.Fatal(err)
	}
	if err := l.retain(time.Now()); err != nil {
		t.Fatal(err)
	}
	if a, err := l.AppendAsLeader(idempotent(9, 0, 2), 1); err != nil || !a.Duplicate || a.BaseOffset != 0 {
		t.Errorf("the same batch once more: %+v, %v", a, err)
	}
}

// A truncation takes back what producers wrote: the same batch is no duplicate then.
func TestTruncationForgetsProducers(t *testing.T) {
	cfg := DefaultConfig()
	cfg.SegmentBytes = 400
	e := newTestEnv(t, vfs.NewMem())
	l := e.create(cfg)
	for i := range 6 {
		mustAppend(t, l, idempotent(9, int32(2*i), 2))
	}
	if err := l.TruncateTo(7); err != nil {
		t.Fatal(err)
	}
	if a := mustAppend(t, l, idempotent(9, 6, 2)); a.Duplicate || a.BaseOffset != 6 {
		t.Fatalf("after a truncation to offset 6: %+v", a)
	}
	mustAppend(t, l, txnBatch(5, 0))
	if err := l.TruncateTo(8); err != nil {
		t.Fatal(err)
	}
	l.SetHighWatermark(8)
	if lso := l.LastStableOffset(); lso != 8 {
		t.Fatalf("last stable offset %d after its transaction was cut off", lso)
	}
}

// A snapshot of the producers spares recovery to read what lies below it, but the transaction indexes
// that recovery makes again need those batches.
func TestAbortedTransactionsBelowASnapshotAreKnownAfterRecovery(t *testing.T) {
	e := newTestEnv(t, vfs.NewMem())
	cfg := DefaultConfig()
	cfg.SegmentBytes = 300
	l := e.create(cfg)
	mustAppend(t, l, txnBatch(1, 0))
	mustAppend(t, l, endTxn(1, false))
	for range 4 {
		mustAppend(t, l, batch(1000, 1, 100))
	}
	if _, err := l.syncFiles(); err != nil {
		t.Fatal(err)
	}
	if all, err := listProducerSnapshots(e.fs, l.Dir()); err != nil || len(all) == 0 {
		t.Fatalf("snapshots %v, %v", all, err)
	}
	l.closeAbrupt()
	l = e.mustOpen(cfg, false)
	if got, err := l.AbortedTxns(0, l.EndOffset()); err != nil || len(got) != 1 || got[0] != (AbortedTxn{1, 0}) {
		t.Errorf("aborted: %v, %v", got, err)
	}
}
