package vfs

import (
	"syscall"
	"testing"
)

func TestRuleFailsTheNthMatchingOperation(t *testing.T) {
	f := NewFault(NewMem())
	r := f.Inject(Rule{Ops: []Op{OpSync}, Path: "*.log", Skip: 1, Times: 2, Err: syscall.EIO})
	sync := func(name string) error {
		file, err := f.OpenReadWrite(name)
		must(t, err)
		defer file.Close()
		return file.Sync()
	}
	must(t, sync("/a.log"))
	must(t, sync("/a.index"))
	wantErr(t, sync("/b.log"), syscall.EIO)
	wantErr(t, sync("/a.log"), syscall.EIO)
	must(t, sync("/a.log"))
	if r.Hits() != 2 {
		t.Fatal(r.Hits())
	}
	all := f.Inject(Rule{Err: syscall.ENOSPC})
	_, err := f.Create("/c")
	wantErr(t, err, syscall.ENOSPC)
	wantErr(t, f.SyncFS("/"), syscall.ENOSPC)
	all.Remove()
	must(t, f.SyncFS("/"))
}

func TestPartialWrite(t *testing.T) {
	f := NewFault(NewMem())
	f.Inject(Rule{Ops: []Op{OpWrite}, Err: syscall.ENOSPC, Partial: true})
	file, err := f.Create("/f")
	must(t, err)
	n, err := file.WriteAt([]byte("abcd"), 0)
	if wantErr(t, err, syscall.ENOSPC); n != 2 || get(t, f, "/f") != "ab" {
		t.Fatal(n, get(t, f, "/f"))
	}
}

func TestHookSeesEachChangeBeforeItHappens(t *testing.T) {
	m := NewMem()
	f := NewFault(m)
	var seen []Op
	f.SetHook(func(e Event) {
		if seen = append(seen, e.Op); e.N != int64(len(seen)) {
			t.Errorf("event %d is numbered %d", len(seen), e.N)
		}
		if e.Op == OpRename && (held(t, m, "/a") != "x" || held(t, m, "/b") != "-") {
			t.Error("the rename came before its hook")
		}
	})
	put(t, f, "/a", "x")
	must(t, f.Rename("/a", "/b"))
	must(t, f.SyncDir("/"))
	if len(seen) != 4 || seen[0] != OpCreate || seen[1] != OpWrite || seen[2] != OpRename || seen[3] != OpSyncDir {
		t.Fatal(seen)
	}
	if f.Events() != 4 {
		t.Fatal(f.Events())
	}
}

func syncOnce(file File) error { return file.Sync() }

func TestSuppressedSiteSyncsNothing(t *testing.T) {
	m := NewMem()
	f := NewFault(m)
	put(t, f, "/f", "x")
	must(t, f.SyncDir("/"))
	file, err := f.OpenReadWrite("/f")
	must(t, err)
	must(t, syncOnce(file))
	sites := f.SyncSites()
	if len(sites) != 2 || sites[0].Func != "vfs.syncOnce" || sites[0].File != "vfs/fault_test.go" || sites[0].Op != OpSync {
		t.Fatal(sites)
	}
	f.Suppress(sites[0])
	_, err = file.WriteAt([]byte("y"), 0)
	must(t, err)
	must(t, syncOnce(file))
	if got := held(t, m.CrashClone(NoUnsynced, 0), "/f"); got != "x" {
		t.Fatalf("the suppressed sync made %q durable", got)
	}
	must(t, file.Sync())
	if got := held(t, m.CrashClone(NoUnsynced, 0), "/f"); got != "y" {
		t.Fatalf("another site's sync left %q durable", got)
	}
}
