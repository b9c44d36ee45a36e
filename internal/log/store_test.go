package log

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

func TestReopenAfterCleanClose(t *testing.T) {
	eachStoreFS(t, func(t *testing.T, fsys vfs.FS, root string) {
		dirs := []string{filepath.Join(root, "a"), filepath.Join(root, "b")}
		s := openedStore(t, storeConfig(fsys, dirs...))
		if !s.CleanShutdown() || len(s.Found()) != 0 {
			t.Fatal("new directories hold logs, or were not closed cleanly")
		}
		for n := range int32(4) {
			l := createdLog(t, s, partition("t", n))
			appendValues(t, l, "x", "y", fmt.Sprint(n))
		}
		if err := s.Log(partition("t", 1)).AdvanceStart(2); err != nil {
			t.Fatal(err)
		}
		ids := []any{s.Dirs()[0].ID, s.Dirs()[1].ID}
		closedStore(t, s)

		s = openedStore(t, storeConfig(fsys, dirs...))
		defer s.Close()
		if !s.CleanShutdown() || len(s.Found()) != 4 {
			t.Fatalf("clean %v, found %d logs", s.CleanShutdown(), len(s.Found()))
		}
		if s.Dirs()[0].Logs != 2 || s.Dirs()[1].Logs != 2 || s.Dirs()[0].ID != ids[0] || s.Dirs()[1].ID != ids[1] {
			t.Fatalf("directories %+v", s.Dirs())
		}
		for n := range int32(4) {
			l := s.Log(partition("t", n))
			if l.TopicID() != testTopicID("t") || l.DurableEnd() != 3 || l.HighWatermark() != 3 {
				t.Fatalf("topic id %s, durable %d, high watermark %d", l.TopicID(), l.DurableEnd(), l.HighWatermark())
			}
			if n == 1 {
				wantValues(t, l, "1")
			} else {
				wantValues(t, l, "x", "y", fmt.Sprint(n))
			}
			appendValues(t, l, "more")
		}
	})
}

func TestReopenAfterKill(t *testing.T) {
	eachStoreFS(t, func(t *testing.T, fsys vfs.FS, root string) {
		var logged bytes.Buffer
		s := openedStore(t, storeConfig(fsys, root))
		appendValues(t, createdLog(t, s, partition("t", 0)), "x", "y")
		killed(s)
		s = openedStore(t, loggedTo(storeConfig(fsys, root), &logged))
		defer s.Close()
		if s.CleanShutdown() {
			t.Fatal("the killed broker's directory counts as closed cleanly")
		}
		wantValues(t, s.Log(partition("t", 0)), "x", "y")
		if !strings.Contains(logged.String(), "checking logs after an unclean stop") {
			t.Fatalf("log says %s", logged.String())
		}
	})
}

// killed gives up the locks of a store and leaves its files as a killed process does.
func killed(s *Store) {
	s.housekeeping.stop()
	for _, d := range s.dirs {
		d.commit.wait()
	}
	s.abandon()
}

func TestCreateTouchesNoDisk(t *testing.T) {
	fsys := vfs.NewFault(vfs.NewMem())
	s := openedStore(t, storeConfig(fsys, "/a", "/b"))
	fsys.Inject(vfs.Rule{Err: syscall.EIO})
	before := fsys.Events()
	for n := range int32(5) {
		createdLog(t, s, partition("t", n))
	}
	if fsys.Events() != before {
		t.Fatalf("%d changes of the disk", fsys.Events()-before)
	}
	if d := s.Dirs(); d[0].Logs != 3 || d[1].Logs != 2 {
		t.Fatalf("5 logs are spread %d and %d", d[0].Logs, d[1].Logs)
	}
}

func TestCreateAgain(t *testing.T) {
	s := openedStore(t, storeConfig(vfs.NewMem(), "/a"))
	defer s.Close()
	l := createdLog(t, s, partition("t", 0))
	if again := createdLog(t, s, partition("t", 0)); again != l {
		t.Fatal("the same topic id made another log")
	}
	_, err := s.Create(partition("t", 0), ids.NewUUID(), DefaultConfig())
	if err == nil || !strings.Contains(err.Error(), "delete that first") {
		t.Fatalf("another topic id: %v", err)
	}
}

func TestLogWithoutTopicIDGetsOne(t *testing.T) {
	mem := vfs.NewMem()
	s := openedStore(t, storeConfig(mem, "/a"))
	appendValues(t, createdLog(t, s, partition("t", 0)), "x")
	closedStore(t, s)
	if err := mem.Remove("/a/t-0/" + partitionMetadataFile); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s = openedStore(t, storeConfig(mem, "/a"))
		l := createdLog(t, s, partition("t", 0))
		if wantValues(t, l, "x"); l.TopicID() != testTopicID("t") {
			t.Fatal(l.TopicID())
		}
		closedStore(t, s)
	}
	if id, found, err := readPartitionMetadata(mem, "/a/t-0"); !found || err != nil || id != testTopicID("t") {
		t.Fatal(id, found, err)
	}
}

func TestForgottenLogStaysOnDisk(t *testing.T) {
	mem := vfs.NewMem()
	s := openedStore(t, storeConfig(mem, "/a"))
	tp := partition("t", 0)
	appendValues(t, createdLog(t, s, tp), "old")
	if err := s.Forget(tp); err != nil || s.Log(tp) != nil {
		t.Fatal(err, s.Log(tp))
	}
	if err := s.Forget(tp); !errors.Is(err, ErrUnknownPartition) {
		t.Fatal(err)
	}
	closedStore(t, s)
	s = openedStore(t, storeConfig(mem, "/a"))
	wantValues(t, s.Found()[0], "old")
	if err := s.Forget(tp); err != nil {
		t.Fatal(err)
	}
	l, err := s.Create(tp, ids.NewUUID(), DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	appendValues(t, l, "new")
	wantValues(t, l, "new")
	closedStore(t, s)
	names, _ := mem.List("/a")
	if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "t-0.") && strings.HasSuffix(n, straySuffix) }) {
		t.Fatalf("the forgotten directory is not among %q", names)
	}
}

func TestDeletedLogGoesAfterItsDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		s := openedStore(t, storeConfig(mem, "/a"))
		s.Start()
		tp := partition("t", 0)
		appendValues(t, createdLog(t, s, tp), "x")
		createdLog(t, s, partition("never-appended", 0))
		reader, err := s.Log(tp).Read(0, 1, 1000, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, gone := range []ids.TopicPartition{tp, partition("never-appended", 0), partition("unknown", 0)} {
			if err := s.Delete(gone); err != nil || s.Log(gone) != nil {
				t.Fatal(err, s.Log(gone))
			}
		}
		p := make([]byte, reader.Len())
		if _, err := reader.ReadInto(p); err != nil {
			t.Fatalf("a reader of a deleted log: %v", err)
		}
		reader.Release()
		deleted := func() int {
			names, err := mem.List("/a")
			if err != nil {
				t.Fatal(err)
			}
			return len(slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, deleteSuffix) }))
		}
		appendValues(t, createdLog(t, s, tp), "new") // the name is free at once
		time.Sleep(59 * time.Second)
		if deleted() != 1 {
			t.Fatalf("%d directories wait for their removal before file.delete.delay.ms", deleted())
		}
		time.Sleep(2 * time.Second)
		if deleted() != 0 {
			t.Fatal("the directory outlived file.delete.delay.ms")
		}
		if err := s.Delete(tp); err != nil {
			t.Fatal(err)
		}
		closedStore(t, s)
		s = openedStore(t, storeConfig(mem, "/a"))
		s.Start()
		time.Sleep(61 * time.Second)
		if len(s.Found()) != 0 || deleted() != 0 {
			t.Fatal("a directory that was to be removed when the broker stopped is still there")
		}
		closedStore(t, s)
	})
}

func TestAsideNamesFit(t *testing.T) {
	long := partition(strings.Repeat("t", 249), 1<<31-1)
	if name := asideName(long, deleteSuffix); len(name) != nameBytesMax || !strings.HasSuffix(name, deleteSuffix) {
		t.Fatalf("%d bytes: %s", len(name), name)
	}
	if got := partitionOfDeleted(asideName(partition("a.b-1", 3), deleteSuffix)); got != partition("a.b-1", 3) {
		t.Fatal(got)
	}
}

func TestParsePartitionDir(t *testing.T) {
	for name, want := range map[string]string{
		"t-0": "t/0", "a-b-12": "a-b/12", "-0": "", "t-": "", "t": "", "t-00": "", "t-+1": "", "t-2147483647": "t/2147483647",
		"t-2147483648": "", "t-99999999999": "", "t-0.0123456789abcdef0123456789abcdef-delete": "", "t-0-delete": "",
	} {
		got := ""
		if tp, ok := parsePartitionDir(name); ok {
			got = fmt.Sprintf("%s/%d", tp.Topic, tp.Partition)
		}
		if got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

func TestCheckpointsAreWrittenWhenTheyChange(t *testing.T) {
	fsys := vfs.NewFault(vfs.NewMem())
	s := openedStore(t, storeConfig(fsys, "/a"))
	defer s.Close()
	l := createdLog(t, s, partition("t", 0))
	appendValues(t, l, "x", "y")
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	write := func() int64 {
		before := fsys.Events()
		s.checkpointAll(func(d *dataDir) *checkpointFile { return &d.recoveryPoints })
		s.checkpointAll(func(d *dataDir) *checkpointFile { return &d.logStarts })
		if err := s.CheckpointHighWatermarks(); err != nil {
			t.Fatal(err)
		}
		return fsys.Events() - before
	}
	if write() == 0 {
		t.Fatal("nothing was written")
	}
	for name, want := range map[string]string{recoveryPointCheckpoint: "0\n1\nt 0 2\n", highWatermarkCheckpoint: "0\n1\nt 0 2\n"} {
		if got := readTestFile(t, fsys, "/a/"+name); got != want {
			t.Errorf("%s holds %q", name, got)
		}
	}
	if n := write(); n != 0 {
		t.Fatalf("%d changes of the disk for nothing new", n)
	}
	appendValues(t, l, "z")
	if write() == 0 {
		t.Fatal("a moved high watermark was not written")
	}
}

func TestFailedSyncTakesItsDirectoryOfflineOnce(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpSync, vfs.OpSyncDir} {
		t.Run(string(op), func(t *testing.T) {
			fsys := vfs.NewFault(vfs.NewMem())
			told := make(chan error, 10)
			cfg := storeConfig(fsys, "/a", "/b")
			cfg.OnDirFailure = func(dir string, id ids.DirectoryID, err error) {
				if dir != "/a" || id.IsZero() {
					t.Errorf("told of %s %s", dir, id)
				}
				told <- err
			}
			s := openedStore(t, cfg)
			bad, good := createdLog(t, s, partition("t", 0)), createdLog(t, s, partition("t", 1))
			idle := createdLog(t, s, partition("t", 2))
			appendValues(t, bad, "x")
			appendValues(t, good, "x")
			failing := fsys.Inject(vfs.Rule{Ops: []vfs.Op{op}, Path: "/a/t-0*", Err: syscall.EIO})
			fsys.Inject(vfs.Rule{Ops: []vfs.Op{op}, Path: "/a/t-0/*", Err: syscall.EIO})
			if err := bad.Sync(); !errors.Is(err, kerr.KafkaStorageError) {
				t.Fatalf("Sync says %v", err)
			}
			if err := <-told; !errors.Is(err, syscall.EIO) {
				t.Fatalf("told of %v", err)
			}
			failing.Remove()
			if err := bad.Sync(); !errors.Is(err, kerr.KafkaStorageError) {
				t.Fatalf("the second Sync says %v", err)
			}
			if _, err := idle.AppendAsLeader(storeBatch("x"), 1); !errors.Is(err, kerr.KafkaStorageError) {
				t.Fatalf("another log of the directory says %v", err)
			}
			if err := good.Sync(); err != nil {
				t.Fatalf("a log of the other directory says %v", err)
			}
			if l := createdLog(t, s, partition("t", 3)); !strings.HasPrefix(l.Dir(), "/b") {
				t.Fatal("a log was created in the directory that is offline")
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if len(told) != 0 {
				t.Fatal("told again")
			}
			// It was not left clean: what had been acknowledged is checked, what was not may be gone.
			s = openedStore(t, storeConfig(fsys, "/a", "/b"))
			defer s.Close()
			if s.dirs[0].clean || !s.dirs[1].clean {
				t.Fatal("only the other directory was closed cleanly")
			}
		})
	}
}

func TestDirectoryThatFailsAtOpenLeavesTheOthers(t *testing.T) {
	for _, rule := range []vfs.Rule{
		{Ops: []vfs.Op{vfs.OpMkdirAll}, Path: "/a"},
		{Ops: []vfs.Op{vfs.OpLock}, Path: "/a/*"},
		{Ops: []vfs.Op{vfs.OpList}, Path: "/a"},
		{Ops: []vfs.Op{vfs.OpOpen}, Path: "/a/*"},
		{Ops: []vfs.Op{vfs.OpRead}, Path: "/a/t-0/*.log"},
		{Ops: []vfs.Op{vfs.OpRemove}, Path: "/a/*"},
		{Ops: []vfs.Op{vfs.OpSyncDir}, Path: "/a"},
	} {
		t.Run(string(rule.Ops[0])+rule.Path, func(t *testing.T) {
			fsys := vfs.NewFault(vfs.NewMem())
			s := openedStore(t, storeConfig(fsys, "/a", "/b"))
			for n := range int32(4) {
				appendValues(t, createdLog(t, s, partition("t", n)), "x")
			}
			closedStore(t, s)
			rule.Err = syscall.EIO
			hit := fsys.Inject(rule)
			s = openedStore(t, storeConfig(fsys, "/a", "/b"))
			if hit.Hits() == 0 {
				t.Fatal("the rule matched nothing")
			}
			d := s.Dirs()
			if d[0].Err == nil || d[1].Err != nil || d[0].Logs != 0 || d[1].Logs != 2 || len(s.Found()) != 2 {
				t.Fatalf("directories %+v", d)
			}
			closedStore(t, s)
			fsys.Inject(vfs.Rule{Ops: rule.Ops, Path: strings.Replace(rule.Path, "/a", "/b", 1), Err: syscall.EIO})
			if slices.Contains([]vfs.Op{vfs.OpRead, vfs.OpRemove, vfs.OpSyncDir}, rule.Ops[0]) {
				return // nothing of the kind happens a second time
			}
			if _, err := OpenStore(storeConfig(fsys, "/a", "/b")); err == nil || !strings.Contains(err.Error(), "no data directory can be used") {
				t.Fatalf("with both failing: %v", err)
			}
		})
	}
}

func TestDamagedLogIsThatPartitionsAlone(t *testing.T) {
	mem := vfs.NewMem()
	s := openedStore(t, storeConfig(mem, "/a"))
	for n := range int32(2) {
		l := createdLog(t, s, partition("t", n))
		appendValues(t, l, "x", "y", "z")
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	s.checkpointAll(func(d *dataDir) *checkpointFile { return &d.recoveryPoints })
	killed(s)
	f, err := mem.OpenReadWrite("/a/t-0/00000000000000000000.log")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(100); err != nil {
		t.Fatal(err)
	}
	for range 2 { // its entry in the checkpoint stays, so the next start refuses it too
		s = openedStore(t, storeConfig(mem, "/a"))
		wantValues(t, s.Log(partition("t", 1)), "x", "y", "z")
		if err := s.Damaged()[partition("t", 0)]; !errors.Is(err, ErrCorruptBelowRecovery) {
			t.Fatalf("damage is %v", err)
		}
		if _, err := s.Create(partition("t", 0), testTopicID("t"), DefaultConfig()); !errors.Is(err, kerr.KafkaStorageError) {
			t.Fatalf("Create says %v", err)
		}
		appendValues(t, s.Log(partition("t", 1)), "more")
		if err := s.Log(partition("t", 1)).Sync(); err != nil {
			t.Fatal(err)
		}
		s.checkpointAll(func(d *dataDir) *checkpointFile { return &d.recoveryPoints })
		killed(s)
		s = openedStore(t, storeConfig(mem, "/a"))
		if err := s.Log(partition("t", 1)).TruncateTo(3); err != nil {
			t.Fatal(err)
		}
		killed(s)
	}
	s = openedStore(t, storeConfig(mem, "/a"))
	defer s.Close()
	if err := s.Delete(partition("t", 0)); err != nil {
		t.Fatal(err)
	}
	appendValues(t, createdLog(t, s, partition("t", 0)), "again")
}

func TestRetentionAndFlushTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openedStore(t, storeConfig(vfs.NewMem(), "/a"))
		s.Start()
		defer s.Close()
		cfg := DefaultConfig()
		cfg.RetentionMs, cfg.FlushMs = 1000, 2000
		l, err := s.Create(partition("t", 0), testTopicID("t"), cfg)
		if err != nil {
			t.Fatal(err)
		}
		appendValues(t, l, "x")
		time.Sleep(1500 * time.Millisecond)
		if l.DurableEnd() != 0 {
			t.Fatal("synced before flush.ms")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if l.DurableEnd() != 1 {
			t.Fatal("flush.ms has passed and nothing was synced")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if l.StartOffset() != 1 {
			t.Fatal("retention.ms has passed and the record is still there")
		}
	})
}

// TestIdlePartitionsAreLight pins what 10,000 partitions without traffic cost: design.md section 4.
func TestIdlePartitionsAreLight(t *testing.T) {
	const n = 10_000
	dir := t.TempDir()
	cfg := storeConfig(vfs.OS, dir)
	s := openedStore(t, cfg)
	s.Start()
	goroutines, heap := runtime.NumGoroutine(), heapBytes()
	for i := range int32(n) {
		createdLog(t, s, partition("t", i))
	}
	check := func(what string, per uint64, files int) {
		t.Helper()
		if got := (heapBytes() - heap) / n; got > per {
			t.Errorf("%s: %d bytes of heap for each log, more than %d", what, got, per)
		}
		if got := runtime.NumGoroutine(); got > goroutines {
			t.Errorf("%s: %d goroutines more", what, got-goroutines)
		}
		if got := s.files.open(); got > files {
			t.Errorf("%s: %d open files", what, got)
		}
	}
	check("never appended", 2048, 0)
	if testing.Short() {
		closedStore(t, s)
		return
	}
	for l := range s.All() {
		appendValues(t, l, "x")
	}
	closedStore(t, s)
	goroutines, heap = runtime.NumGoroutine(), 0
	s = nil
	heap = heapBytes()
	began := time.Now()
	s = openedStore(t, cfg)
	t.Logf("%d logs opened in %v", n, time.Since(began))
	check("opened after a clean stop", 2048, 0)
	began = time.Now()
	closedStore(t, s)
	t.Logf("and closed in %v", time.Since(began))
}

func heapBytes() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestVolume(t *testing.T) {
	mem := vfs.NewMem()
	mem.SetCapacity(8 << 20)
	fsys := vfs.NewFault(mem)
	s := openedStore(t, storeConfig(fsys, "/a", "/b"))
	defer s.Close()
	if total, usable := s.Volume("/b"); total != 8<<20 || usable <= 0 || usable >= total {
		t.Errorf("%d of %d bytes are usable", usable, total)
	}
	fsys.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpUsage}, Err: errors.ErrUnsupported})
	if total, usable := s.Volume("/b"); total != -1 || usable != -1 {
		t.Errorf("%d of %d bytes, of a system that does not tell", usable, total)
	}
}

func TestDataDir(t *testing.T) {
	s := openedStore(t, storeConfig(vfs.NewMem(), "/a", "/b"))
	defer s.Close()
	for i, want := range []string{"/a", "/b", "/a"} {
		l := createdLog(t, s, partition("t", int32(i)))
		if l.DataDir() != want || filepath.Dir(l.Dir()) != want {
			t.Errorf("log %d is in %s, its directory in %s; want %s", i, l.DataDir(), l.Dir(), want)
		}
	}
}

// TestWhatACleanCloseVouchesFor: the registration of the broker that has written everything that is there. A crash after it is not
// undone by a later close in good order.
func TestWhatACleanCloseVouchesFor(t *testing.T) {
	eachStoreFS(t, func(t *testing.T, fsys vfs.FS, root string) {
		dirs := []string{filepath.Join(root, "a"), filepath.Join(root, "b")}
		open := func(dirs []string, want int64) *Store {
			t.Helper()
			s := openedStore(t, storeConfig(fsys, dirs...))
			if got := s.PreviousBrokerEpoch(); got != want {
				t.Fatalf("broker epoch %d, want %d", got, want)
			}
			return s
		}
		s := open(dirs, -1)
		for n := range int32(2) {
			appendValues(t, createdLog(t, s, partition("t", n)), "x")
		}
		s.SetBrokerEpoch(7)
		closedStore(t, s)
		closedStore(t, open(dirs, 7)) // before it could register
		s = open(dirs, 7)
		s.SetBrokerEpoch(9)
		killed(s)
		closedStore(t, open(dirs, -1)) // before it could register
		s = open(dirs, -1)
		s.SetBrokerEpoch(12)
		closedStore(t, s)
		closedStore(t, open(append(dirs, filepath.Join(root, "new")), 12))
		s = open(dirs[:1], 12)
		s.SetBrokerEpoch(13)
		closedStore(t, s)
		closedStore(t, open(dirs, -1))
	})
}
