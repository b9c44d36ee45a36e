package log

import (
	"testing"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// Whatever a recovery point says is checked has its indexes on the disk, names and all: an index
// that is made again at the next start is not durable when a second crash comes.
func TestRecoveryPointHasItsIndexesNamed(t *testing.T) {
	mem := vfs.NewMem()
	s := openedStore(t, storeConfig(mem, "/d"))
	defer closedStore(t, s)
	l := createdLog(t, s, partition("t", 0))
	checkpointed := func(value string) {
		t.Helper()
		appendValues(t, l, value)
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		s.checkpointAll(func(d *dataDir) *checkpointFile { return &d.recoveryPoints })
	}
	checkpointed("a") // writes the leader epochs, which syncs the directory too; the next one does not
	cfg := DefaultConfig()
	cfg.SegmentBytes = 1
	l.SetConfig(cfg)
	checkpointed("b")
	cut := mem.CrashClone(vfs.NoUnsynced, 0)
	if m, err := readOffsetCheckpoint(cut, "/d", recoveryPointCheckpoint); err != nil || m[l.tp] != 2 {
		t.Fatal("the recovery point is not 2:", m, err)
	}
	for _, base := range []ids.Offset{0, 1} {
		for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix} {
			if _, err := cut.Stat("/d/t-0/" + segmentFileName(base, suffix)); err != nil {
				t.Error(err)
			}
		}
	}
}

// The entries of the two indexes of a segment that was not synced can be lost apart: a time index that ends before the
// offset index does says nothing of the batches between.
func TestTimeIndexThatEndsBeforeTheOffsetIndex(t *testing.T) {
	cfg := DefaultConfig()
	cfg.IndexIntervalBytes = 0
	const batches = 8
	for kept := range batches {
		mem := vfs.NewMem()
		env := newTestEnv(t, mem)
		l := env.create(cfg)
		for i := range batches {
			mustAppend(t, l, batch(int64(1000+i), 1, 10))
		}
		rolling := cfg
		rolling.SegmentBytes = 1
		l.SetConfig(rolling)
		mustAppend(t, l, batch(500, 1, 10))
		if _, err := l.syncFiles(); err != nil {
			t.Fatal(err)
		}
		times, err := mem.OpenExisting(l.dir + "/" + segmentFileName(0, timeIndexSuffix))
		if err != nil {
			t.Fatal(err)
		}
		if err := times.Truncate(int64(kept * timeEntryBytes)); err != nil {
			t.Fatal(err)
		}
		env.recovery = batches
		l = env.mustOpen(cfg, false)
		for i := range batches {
			off, _, _, found, err := l.OffsetForTimestamp(int64(1000+i), l.EndOffset())
			if err != nil || !found || off != ids.Offset(i) {
				t.Errorf("%d entries left: time %d is found at %d, %v, %v", kept, 1000+i, off, found, err)
			}
		}
	}
}
