package log

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

// kindsFS leaves out the syncs of the files with a suffix, and counts what is read of segments.
type kindsFS struct {
	vfs.FS
	unsynced string       // "" syncs all
	future   bool         // of copies that are being moved to alone
	logRead  atomic.Int64 // bytes
}

func (k *kindsFS) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &kindsFile{f, k, strings.TrimSuffix(name, vfs.TmpSuffix)}, nil
}

func (k *kindsFS) Open(name string) (vfs.File, error) {
	f, err := k.FS.Open(name)
	return k.wrap(name, f, err)
}

func (k *kindsFS) OpenReadWrite(name string) (vfs.File, error) {
	f, err := k.FS.OpenReadWrite(name)
	return k.wrap(name, f, err)
}

func (k *kindsFS) OpenExisting(name string) (vfs.File, error) {
	f, err := k.FS.OpenExisting(name)
	return k.wrap(name, f, err)
}

func (k *kindsFS) Create(name string) (vfs.File, error) {
	f, err := k.FS.Create(name)
	return k.wrap(name, f, err)
}

type kindsFile struct {
	vfs.File
	fs   *kindsFS
	name string
}

func (f *kindsFile) Sync() error {
	if f.fs.unsynced != "" && strings.HasSuffix(f.name, f.fs.unsynced) && strings.Contains(f.name, futureSuffix+"/") == f.fs.future {
		return nil
	}
	return f.File.Sync()
}

func (f *kindsFile) ReadAt(p []byte, off int64) (int, error) {
	if filepath.Ext(f.name) == logSuffix {
		f.fs.logRead.Add(int64(len(p)))
	}
	return f.File.ReadAt(p, off)
}

// TestEveryKindOfSyncIsNeeded has the files whose loss no record shows: what they are for is
// lost without their sync, after a power cut, and never with it.
func TestEveryKindOfSyncIsNeeded(t *testing.T) {
	for _, kind := range []struct {
		suffix string
		future bool
		write  func(t *testing.T, s *Store)
		judge  func(s *Store, fsys *kindsFS) error
	}{
		{indexSuffix, false, writeManyBatches, findNear},
		{producerSnapshotSuffix, false, writeThenDelete, knowDeleted},
		{indexSuffix + cleanedSuffix, false, writeThenCompact, findNear},
		{timeIndexSuffix + cleanedSuffix, false, writeThenCompact, findTimes},
		{indexSuffix, true, writeThenMove, findNear},
		{timeIndexSuffix, true, writeThenMove, findTimes},
		{producerSnapshotSuffix, true, moveThenDelete, knowDeleted},
	} {
		name := kind.suffix[1:]
		if kind.future {
			name += futureSuffix
		}
		t.Run(name, func(t *testing.T) {
			if seed, err := afterCuts(t, &kindsFS{}, kind.write, kind.judge); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
			seed, err := afterCuts(t, &kindsFS{unsynced: kind.suffix, future: kind.future}, kind.write, kind.judge)
			if err == nil {
				t.Fatalf("without the sync of *%s nothing is lost", kind.suffix)
			}
			t.Logf("without it, seed %d: %v", seed, err)
		})
	}
}

// afterCuts cuts the power once what write wrote was synced, in many ways, and returns the first complaint.
func afterCuts(t *testing.T, on *kindsFS, write func(*testing.T, *Store), judge func(*Store, *kindsFS) error) (seed uint64, complaint error) {
	t.Helper()
	mem := vfs.NewMem()
	on.FS = mem
	s := openedStore(t, crashConfig(on))
	defer killed(s)
	write(t, s)
	s.checkpointAll(func(d *dataDir) *checkpointFile { return &d.recoveryPoints })
	for seed := range uint64(50) {
		fsys := &kindsFS{FS: mem.CrashClone(vfs.SomeUnsynced, seed)}
		again := openedStore(t, crashConfig(fsys))
		err := judge(again, fsys)
		killed(again)
		if err != nil {
			return seed, err
		}
	}
	return 0, nil
}

// manyBatches fill one segment that has index entries every few batches.
const manyBatches = 1000

func writeManyBatches(t *testing.T, s *Store) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.IndexIntervalBytes = 500
	l, err := s.Create(partition("t", 0), testTopicID("t"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for n := range manyBatches {
		appendValues(t, l, fmt.Sprint(n))
	}
	cfg.SegmentBytes = 1 // the next one rolls
	l.SetConfig(cfg)
	appendValues(t, l, "last")
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
}

// findNear: neither the next start nor a lookup walks through a segment that is closed and synced.
func findNear(s *Store, fsys *kindsFS) error {
	const nearBytes = 4 * windowBytes
	if n := fsys.logRead.Load(); n > nearBytes {
		return fmt.Errorf("the start read %d bytes of segments", n)
	}
	l := s.Log(partition("t", 0))
	for o := ids.Offset(0); o < manyBatches; o += manyBatches / 7 {
		before := fsys.logRead.Load()
		slice, err := l.Read(o, l.EndOffset(), 1, true)
		if err != nil {
			return err
		}
		slice.Release()
		if n := fsys.logRead.Load() - before; n > nearBytes {
			return fmt.Errorf("looking for offset %d read %d bytes of segments", o, n)
		}
	}
	return nil
}

// writeThenDelete writes a batch of an idempotent producer, others after it, and deletes the first.
func writeThenDelete(t *testing.T, s *Store) {
	t.Helper()
	l := writeToDelete(t, s)
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := l.AdvanceStart(10); err != nil {
		t.Fatal(err)
	}
	if (*l.segments.Load())[0].base == 0 {
		t.Fatal("the first segment is still there")
	}
}

// writeToDelete is the writing alone.
func writeToDelete(t *testing.T, s *Store) *Log {
	t.Helper()
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.FileDeleteDelayMs = 400, 0
	l, err := s.Create(partition("t", 0), testTopicID("t"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, idempotent(9, 0, 2))
	for n := range 20 {
		appendValues(t, l, fmt.Sprint(n, strings.Repeat(".", 100)))
	}
	return l
}

// knowDeleted: what a producer sends once more is known, though the records have been deleted. Otherwise
// consumers would read them a second time.
func knowDeleted(s *Store, _ *kindsFS) error {
	l := s.Log(partition("t", 0))
	a, err := l.AppendAsLeader(idempotent(9, 0, 2), 0)
	if err != nil {
		return err
	}
	if !a.Duplicate || a.BaseOffset != 0 {
		return fmt.Errorf("a retry of offset 0 was appended at %d", a.BaseOffset)
	}
	return nil
}

// writeThenMove is writeManyBatches with a time of its own for each, in a log that has moved since.
func writeThenMove(t *testing.T, s *Store) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.IndexIntervalBytes, cfg.SegmentBytes = 500, 60_000 // two segments
	l, err := s.Create(partition("t", 0), testTopicID("t"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for n := range manyBatches {
		mustAppend(t, l, record.NewBuilder().Append(int64(1000+n), nil, []byte(fmt.Sprint(n))).MustBuild())
	}
	movedTo(t, s, l.tp, "/b")
}

// moveThenDelete is writeThenDelete, but that the log has moved before records of it are deleted.
func moveThenDelete(t *testing.T, s *Store) {
	t.Helper()
	moved := movedTo(t, s, writeToDelete(t, s).tp, "/b")
	if err := moved.AdvanceStart(10); err != nil {
		t.Fatal(err)
	}
}

// writeThenCompact is writeManyBatches with a key in each, of which nothing can go.
func writeThenCompact(t *testing.T, s *Store) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.IndexIntervalBytes, cfg.CompactPolicy, cfg.FileDeleteDelayMs = 500, true, 0
	l, err := s.Create(partition("t", 0), testTopicID("t"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for n := range manyBatches {
		mustAppend(t, l, record.NewBuilder().Append(int64(1000+n), []byte(fmt.Sprint(n)), nil).MustBuild())
	}
	seal(t, l)
	mustAppend(t, l, kv("last=last"))
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	mustClean(t, l)
}

// findTimes: records of a closed and synced segment are found by their time.
func findTimes(s *Store, _ *kindsFS) error {
	l := s.Log(partition("t", 0))
	for o := ids.Offset(0); o < manyBatches; o += manyBatches / 7 {
		if got, _, _, _, err := l.OffsetForTimestamp(int64(1000+o), l.EndOffset()); err != nil || got != o {
			return fmt.Errorf("the time of offset %d is found at %d: %v", o, got, err)
		}
	}
	return nil
}
