package log

import (
	"testing"

	"github.com/moldau/moldau/internal/vfs"
)

// Whatever a recovery point says is checked has its indexes on the disk, names and all: an index
// that is made again at the next start is not durable when a second crash comes.
func TestRecoveryPointHasItsIndexesNamed(t *testing.T) {
	mem := vfs.NewMem()
	s := openedStore(t, storeConfig(mem, "/d"))
	defer closedStore(t, s)
	l := createdLog(t, s, partition("t", 0))
	appendValues(t, l, "a", "b")
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	s.checkpointAll(func(d *dataDir) *checkpointFile { return &d.recoveryPoints })
	cut := mem.CrashClone(vfs.NoUnsynced, 0)
	if m, err := readOffsetCheckpoint(cut, "/d", recoveryPointCheckpoint); err != nil || m[l.tp] != 2 {
		t.Fatal("the recovery point is not 2:", m, err)
	}
	for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix} {
		if _, err := cut.Stat("/d/t-0/" + segmentFileName(0, suffix)); err != nil {
			t.Error(err)
		}
	}
}
