package vfs

import (
	"errors"
	"io/fs"
	"testing"
)

// Whatever moment the power goes at, the old or the new content is there, and after the
// call returned the new one.
func TestReplaceFileIsAtomicAndDurable(t *testing.T) {
	for _, what := range []Unsynced{SomeUnsynced, NoUnsynced, AllUnsynced} {
		for seed := range uint64(20) {
			mem := NewMem()
			fault := NewFault(mem)
			if err := errors.Join(mem.MkdirAll("d"), mem.SyncDir("."), ReplaceFile(mem, "d", "f", []byte("old"))); err != nil {
				t.Fatal(err)
			}
			left := func() string {
				b, err := ReadFile(mem.CrashClone(what, seed), "d/f", 100)
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			}
			fault.SetHook(func(e Event) {
				if got := left(); got != "old" && got != "new, and longer" {
					t.Fatalf("before %s of %s a crash leaves %q", e.Op, e.Name, got)
				}
			})
			if err := ReplaceFile(fault, "d", "f", []byte("new, and longer")); err != nil {
				t.Fatal(err)
			}
			if got := left(); got != "new, and longer" {
				t.Fatalf("after it a crash leaves %q", got)
			}
		}
	}
}

func TestReplaceFileReportsEveryFailure(t *testing.T) {
	boom := errors.New("boom")
	for _, op := range []Op{OpCreate, OpWrite, OpSync, OpRename, OpSyncDir} {
		fsys := NewFault(NewMem())
		fsys.Inject(Rule{Ops: []Op{op}, Err: boom})
		if err := errors.Join(fsys.MkdirAll("d"), ReplaceFile(fsys, "d", "f", []byte("x"))); !errors.Is(err, boom) {
			t.Errorf("%s: %v", op, err)
		}
	}
}

func TestReadFile(t *testing.T) {
	fsys := NewMem()
	if err := errors.Join(fsys.MkdirAll("d"), ReplaceFile(fsys, "d", "f", []byte("12345"))); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadFile(fsys, "d/f", 5); err != nil || string(b) != "12345" {
		t.Fatal(b, err)
	}
	if _, err := ReadFile(fsys, "d/f", 4); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	if _, err := ReadFile(fsys, "d/g", 4); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}
