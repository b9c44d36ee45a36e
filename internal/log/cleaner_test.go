package log

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

// cleanedStore is a store whose cleaner works, in a bubble, and what it logs.
type cleanedStore struct {
	*Store
	mem   *vfs.Mem
	fault *vfs.Fault
	said  *bytes.Buffer // only to be read while nobody works
	told  CleanerConfig
}

func newCleanedStore(t *testing.T, change func(*CleanerConfig)) *cleanedStore {
	c := &cleanedStore{mem: vfs.NewMem(), said: new(bytes.Buffer), told: DefaultCleanerConfig()}
	c.fault = vfs.NewFault(c.mem)
	if change != nil {
		change(&c.told)
	}
	cfg := loggedTo(storeConfig(c.fault, "/a"), c.said)
	cfg.Cleaner = func() CleanerConfig { return c.told }
	c.Store = openedStore(t, cfg)
	c.Start()
	synctest.Wait() // its first look is over, and the next is a backoff away
	return c
}

// dirtyLog returns a log that can be cleaned, the dirtier the more rounds it has.
func (c *cleanedStore) dirtyLog(t *testing.T, topic string, cfg Config, rounds int) *Log {
	t.Helper()
	l, err := c.Create(partition(topic, 0), testTopicID(topic), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rounds {
		mustAppend(t, l, kv(fmt.Sprintf("k%d=%d%s", i%5, i, strings.Repeat(".", 50))))
	}
	seal(t, l)
	return l
}

// aWhile lets the cleaner look, and what it does then end.
func aWhile() {
	time.Sleep(DefaultCleanerConfig().Backoff)
	synctest.Wait()
}

func TestCleanerFindsDirtyLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleanedStore(t, func(c *CleanerConfig) { c.Threads = 2 })
		defer closedStore(t, c.Store)
		var compacted []*Log
		for i := range 5 {
			compacted = append(compacted, c.dirtyLog(t, fmt.Sprint("compacted", i), compactConfig(), 30))
		}
		kept := c.dirtyLog(t, "kept", crashLogConfig(), 30)
		half := compactConfig()
		half.MinCleanableRatio = 0.5
		lazy := c.dirtyLog(t, "lazy", half, 30)
		aWhile()
		for _, l := range append(compacted, lazy) {
			if got, err := visible(l, 1<<20); err != nil || len(got) != 5 || l.CleanedOffset() != 30 {
				t.Errorf("%s is cleaned up to %d: %v, %v", l.tp, l.CleanedOffset(), got, err)
			}
		}
		if kept.CleanedOffset() != 0 {
			t.Error("a log was cleaned that is not to be")
		}
		for _, want := range []string{"partition=compacted3-0", `why="100 % of it is dirty, more than min.cleanable.dirty.ratio"`, "dirty_to=30", "records=30 records_kept=5"} {
			if !strings.Contains(c.said.String(), want) {
				t.Errorf("the log does not say %s:\n%s", want, c.said)
			}
		}
		if got := readTestFile(t, c.mem, "/a/"+cleanedCheckpoint); !strings.HasPrefix(got, "0\n6\ncompacted0 0 30\n") {
			t.Errorf("checkpoint %q", got)
		}
		if c.cleaner.mu.workers != 0 {
			t.Errorf("%d workers have nothing to do", c.cleaner.mu.workers)
		}
		// Little that is new leaves a log alone until the lag is over.
		c.said.Reset()
		more(t, lazy)
		aWhile()
		if lazy.CleanedOffset() != 30 {
			t.Errorf("cleaned up to %d", lazy.CleanedOffset())
		}
		half.MaxCompactionLagMs = 60_000
		lazy.SetConfig(half)
		time.Sleep(time.Minute)
		aWhile()
		if lazy.CleanedOffset() != 31 || !strings.Contains(c.said.String(), "max.compaction.lag.ms is exceeded") {
			t.Errorf("cleaned up to %d:\n%s", lazy.CleanedOffset(), c.said)
		}
	})
}

func TestCleanerCanBeOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleanedStore(t, func(c *CleanerConfig) { c.Enable = false })
		defer closedStore(t, c.Store)
		l := c.dirtyLog(t, "t", compactConfig(), 30)
		aWhile()
		if l.CleanedOffset() != 0 {
			t.Errorf("cleaned up to %d", l.CleanedOffset())
		}
	})
}

// A damaged log is left alone, others go on, and it serves what it can.
func TestUncleanableLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleanedStore(t, nil)
		defer closedStore(t, c.Store)
		bad, good := c.dirtyLog(t, "bad", compactConfig(), 100), c.dirtyLog(t, "good", compactConfig(), 30)
		f, err := c.mem.OpenExisting((*bad.segments.Load())[1].path(logSuffix))
		if err == nil {
			_, err = f.WriteAt([]byte{0xff}, record.HeaderBytes+3)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		aWhile()
		aWhile()
		if good.CleanedOffset() != 30 || bad.CleanedOffset() != 0 || !bad.uncleanable.Load() || bad.Err() != nil || c.dirs[0].err() != nil {
			t.Errorf("good is cleaned up to %d, bad to %d; %v, %v", good.CleanedOffset(), bad.CleanedOffset(), bad.Err(), c.dirs[0].err())
		}
		if n := strings.Count(c.said.String(), "partition cannot be compacted"); n != 1 || !strings.Contains(c.said.String(), "fails its checksum") {
			t.Errorf("said %d times:\n%s", n, c.said)
		}
		mustAppend(t, bad, kv("still=there"))
		if names, err := c.mem.List(bad.Dir()); err != nil || strings.Contains(fmt.Sprint(names), cleanedSuffix) {
			t.Errorf("%v, %v", names, err)
		}
	})
}

// A failing disk fails its directory; a full one does not, and produce goes on.
func TestCleanerOnBadDisks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleanedStore(t, nil)
		l := c.dirtyLog(t, "t", compactConfig(), 30)
		full := c.fault.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpWrite}, Path: "*" + cleanedSuffix, Err: syscall.ENOSPC})
		aWhile()
		if full.Hits() == 0 || l.CleanedOffset() != 0 || c.Dirs()[0].Full || c.Dirs()[0].Err != nil || !strings.Contains(c.said.String(), "gave up for want of room") {
			t.Errorf("%d hits, cleaned up to %d, %+v\n%s", full.Hits(), l.CleanedOffset(), c.Dirs()[0], c.said)
		}
		mustAppend(t, l, kv("k=more"))
		full.Remove()
		failing := c.fault.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "*" + cleanedSuffix, Err: syscall.EIO})
		aWhile()
		if failing.Hits() == 0 || c.Dirs()[0].Err == nil || !errors.Is(l.Err(), kerr.KafkaStorageError) {
			t.Errorf("%d hits: %v, %v", failing.Hits(), c.Dirs()[0].Err, l.Err())
		}
		_ = c.Close() // its directory is offline
	})
}

// Reading and writing take their time where that is bounded, and a deletion does not wait for it.
func TestCleanerIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleanedStore(t, func(c *CleanerConfig) { c.IOBytesPerSecond = 1000 })
		defer closedStore(t, c.Store)
		l := c.dirtyLog(t, "t", compactConfig(), 100)
		other := c.dirtyLog(t, "other", compactConfig(), 100)
		size := l.SizeBytes()
		began := time.Now()
		for l.CleanedOffset() == 0 {
			time.Sleep(time.Second)
		}
		// Both are read twice at least, one after the other: the first of them alone takes that long.
		if took := time.Since(began); took < time.Duration(2*size)*time.Millisecond {
			t.Errorf("%d bytes read twice in %s", size, took)
		}
		for other.cleaning.TryLock() {
			other.cleaning.Unlock()
			more(t, other)
			time.Sleep(time.Second)
		}
		began = time.Now()
		if err := c.Delete(other.tp); err != nil || time.Since(began) > 0 {
			t.Errorf("deleted in %s: %v", time.Since(began), err)
		}
	})
}

// Appends, reads of every kind, retention, deletions of records, truncations and cleanings, all at once: what a
// read_committed consumer reads is whole and in order, and the last value of each key is there at the end.
func TestCleaningBesideEverythingElse(t *testing.T) {
	cfg := compactConfig()
	cfg.SegmentBytes, cfg.DeleteRetentionMs = 4000, 0
	e := newTestEnv(t, vfs.OS)
	e.files.openMax = 4
	var requested atomic.Int64
	e.sync = countingSync{&requested}
	e.checkpointStart, e.checkpointRecovery = nil, nil
	l := newLog(&e.logEnv, t.TempDir(), testTP, e.id, cfg)
	// Nobody appends, deletes or raises the high watermark while the log is cut: what is above it alone may be.
	var appending sync.Mutex
	var writers, background sync.WaitGroup
	var done atomic.Bool
	for w := range 3 {
		writers.Go(func() { writeKeys(t, l, w, &appending) })
	}
	loop := func(f func() error) {
		background.Go(func() {
			for !done.Load() {
				if err := f(); err != nil && !errors.Is(err, kerr.OffsetOutOfRange) {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 2 {
		loop(func() error { _, err := visible(l, 700); return err })
	}
	loop(func() error {
		_, _, _, _, err := l.OffsetForTimestamp(time.Now().UnixMilli()-rand.Int64N(100), l.EndOffset())
		return err
	})
	loop(func() error {
		_, err := l.syncFiles()
		appending.Lock()
		l.SetHighWatermark(l.DurableEnd())
		appending.Unlock()
		l.recoveryPoint()
		return err
	})
	loop(func() error {
		_, _, err := cleanOnce(l, plenty())
		if errors.Is(err, errCleaningStopped) || errors.Is(err, errSegmentGone) {
			err = nil
		}
		return err
	})
	loop(func() error {
		appending.Lock()
		defer appending.Unlock()
		if err := l.AdvanceStart(min(l.HighWatermark(), l.StartOffset()+3)); err != nil {
			return err
		}
		return l.retain(noDelay())
	})
	loop(func() error {
		appending.Lock()
		defer appending.Unlock()
		return l.TruncateTo(max(l.HighWatermark(), l.EndOffset()-2))
	})
	writers.Wait()
	done.Store(true)
	background.Wait()
	for _, p := range l.ActiveProducers() { // what a truncation may have taken
		if p.CurrentTxnFirstOffset >= 0 {
			mustAppend(t, l, endTxn(p.ID, false))
		}
	}
	for w := range 3 {
		for k := range 5 {
			mustAppend(t, l, kv(fmt.Sprintf("%d-%d=last", w, k)))
		}
	}
	seal(t, l)
	mustClean(t, l)
	got, err := visible(l, 1<<20)
	if err != nil || len(got) != 15 {
		t.Errorf("%d records are left: %v, %v", len(got), got, err)
	}
	start := l.StartOffset()
	l.closeAbrupt()
	again, err := openLog(&e.logEnv, l.root, testTP, e.id, cfg, openOptions{logStart: start})
	if err != nil || again.EndOffset() != l.EndOffset() {
		t.Fatalf("opened again: %v", err)
	}
	again.SetHighWatermark(again.EndOffset())
	wantVisible(t, again, got...)
}

// writeKeys writes some keys again and again, in transactions that are committed or aborted now and then.
func writeKeys(t *testing.T, l *Log, writer int, appending *sync.Mutex) {
	rng := rand.New(rand.NewPCG(uint64(writer), 9))
	one := func(b record.Batch) bool {
		appending.Lock()
		defer appending.Unlock()
		_, err := l.AppendAsLeader(b, 0)
		if err != nil {
			t.Error(err)
		}
		return err == nil
	}
	for i := range 250 {
		value := fmt.Sprintf("%d%s", i, strings.Repeat(".", rng.IntN(80)))
		if rng.IntN(5) == 0 {
			value = "-"
		}
		b := record.NewBuilder()
		id := ids.ProducerID(1000*writer + i)
		txn := rng.IntN(8) == 0
		if txn {
			b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = id, 0, 0, true
		}
		if !one(kvOf(b, fmt.Sprintf("%d-%d=%s", writer, rng.IntN(5), value))) || txn && !one(endTxn(id, rng.IntN(2) == 0)) {
			return
		}
	}
}
