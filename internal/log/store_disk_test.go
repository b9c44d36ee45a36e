package log

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/datadriven"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// uniqueName is the random part of the name of a directory that has been set aside.
var uniqueName = regexp.MustCompile("[0-9a-f]{32}")

// TestDiskOperations runs the scripts of testdata/store: each command shows every change of the
// disk that it made, in order. A sync more or less than before is seen here first.
func TestDiskOperations(t *testing.T) {
	datadriven.Walk(t, "testdata/store", func(t *testing.T, path string) {
		// In a bubble: what an index needs depends on the batches' timestamps.
		synctest.Test(t, func(t *testing.T) { runStoreScript(t, path) })
	})
}

func runStoreScript(t *testing.T, path string) {
	fsys := vfs.NewFault(vfs.NewMem())
	var lines []string
	fsys.SetHook(func(e vfs.Event) { lines = append(lines, fmt.Sprintf("%s %s", e.Op, e.Name)) })
	cfg := storeConfig(fsys, "/data")
	cfg.RecoveryThreads = 1
	var s *Store
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		s = runStoreCommand(t, d, s, cfg)
		s.dirs[0].commit.wait()
		out := uniqueName.ReplaceAllString(strings.Join(lines, "\n")+"\n", "UNIQUE")
		if lines = nil; out == "\n" {
			return "nothing\n"
		}
		return out
	})
	closedStore(t, s)
}

func runStoreCommand(t *testing.T, d *datadriven.TestData, s *Store, cfg StoreConfig) *Store {
	tp := func() ids.TopicPartition {
		p, ok := parsePartitionDir(d.CmdArgs[0].Key)
		if !ok {
			t.Fatalf("%s: no partition", d.Pos)
		}
		return p
	}
	var err error
	switch d.Cmd {
	case "open":
		return openedStore(t, cfg)
	case "close":
		err = s.Close()
	case "kill":
		killed(s)
	case "create":
		createdLog(t, s, tp())
	case "append":
		appendValues(t, s.Log(tp()), strings.Fields(d.Input)...)
	case "sync":
		err = s.Log(tp()).Sync()
	case "delete-records":
		var to int
		d.ScanArgs(t, "to", &to)
		err = s.Log(tp()).AdvanceStart(ids.Offset(to))
	case "truncate":
		var to int
		d.ScanArgs(t, "to", &to)
		err = s.Log(tp()).TruncateTo(ids.Offset(to))
	case "checkpoint":
		s.checkpointAll(func(d *dataDir) *checkpointFile { return &d.recoveryPoints })
		err = s.CheckpointHighWatermarks()
	case "delete":
		err = s.Delete(tp())
	case "file-delete-delay-passes":
		s.removeDue(testLongAfter)
	default:
		t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
	}
	if err != nil {
		t.Fatalf("%s: %v", d.Pos, err)
	}
	return s
}

// TestManyLogsShareASyncFS: where more than syncFSAbove logs of a directory wait, syncfs serves
// them, and what Sync promised survives a power cut.
func TestManyLogsShareASyncFS(t *testing.T) {
	const n = 300
	mem := vfs.NewMem()
	fsys := vfs.NewFault(mem)
	s := openedStore(t, storeConfig(fsys, "/a"))
	defer s.Close()
	logs := make([]*Log, n)
	for i := range logs {
		logs[i] = createdLog(t, s, partition("t", int32(i)))
		appendValues(t, logs[i], fmt.Sprint(i))
	}
	// The first syncs wait until everybody has asked.
	var asked sync.WaitGroup
	asked.Add(n)
	var wholes int
	var mu sync.Mutex
	fsys.SetHook(func(e vfs.Event) {
		if e.Op == vfs.OpSync || e.Op == vfs.OpSyncFS {
			asked.Wait()
		}
		mu.Lock()
		defer mu.Unlock()
		if e.Op == vfs.OpSyncFS {
			wholes++
		}
	})
	var done sync.WaitGroup
	for _, l := range logs {
		done.Go(func() {
			l.RequestSync()
			asked.Done()
			if err := l.Sync(); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	fsys.SetHook(nil)
	if wholes == 0 {
		t.Error("no syncfs")
	}
	after := openedStore(t, storeConfig(mem.CrashClone(vfs.NoUnsynced, 1), "/a"))
	defer after.Close()
	for i := range logs {
		wantValues(t, after.Log(partition("t", int32(i))), fmt.Sprint(i))
	}
}
