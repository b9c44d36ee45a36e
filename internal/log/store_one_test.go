package log

import (
	"errors"
	"syscall"
	"testing"

	"github.com/moldau/moldau/internal/vfs"
)

func oneConfig(fsys vfs.FS, dir string) OneConfig {
	return OneConfig{FS: fsys, Dir: dir, TopicPartition: partition("__cluster_metadata", 0), TopicID: testTopicID("metadata"), Config: DefaultConfig()}
}

func TestOpenOne(t *testing.T) {
	eachStoreFS(t, func(t *testing.T, fsys vfs.FS, root string) {
		for i, want := range [][]string{{"a"}, {"a", "b"}, {"a", "b", "c"}} {
			l, closer, err := OpenOne(oneConfig(fsys, root))
			if err != nil {
				t.Fatal(err)
			}
			appendValues(t, l, want[i])
			if wantValues(t, l, want...); i == 1 {
				l.closeAbrupt() // killed
				continue
			}
			if err := l.Sync(); err != nil || l.DurableEnd() != l.EndOffset() {
				t.Fatal(err)
			}
			if err := closer.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestOpenOneIsStrict(t *testing.T) {
	build := func(t *testing.T) (*vfs.Mem, int64) {
		mem := vfs.NewMem()
		l, closer, err := OpenOne(oneConfig(mem, "/"))
		if err != nil {
			t.Fatal(err)
		}
		appendValues(t, l, "a", "b", "c")
		if err := closer.Close(); err != nil {
			t.Fatal(err)
		}
		return mem, l.SizeBytes() / 3
	}
	const name = "/__cluster_metadata-0/00000000000000000000.log"
	flip := func(t *testing.T, mem *vfs.Mem, at int64) {
		f, err := mem.OpenReadWrite(name)
		if err == nil {
			_, err = f.WriteAt([]byte("!"), at)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Run("a torn tail is cut", func(t *testing.T) {
		mem, batch := build(t)
		flip(t, mem, 3*batch-1)
		l, closer, err := OpenOne(oneConfig(mem, "/"))
		if err != nil {
			t.Fatal(err)
		}
		wantValues(t, l, "a", "b")
		if err := closer.Close(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a torn tail is refused where its caller knows that it was synced", func(t *testing.T) {
		mem, batch := build(t)
		flip(t, mem, 3*batch-1)
		before := readTestFile(t, mem, name)
		cfg := oneConfig(mem, "/")
		cfg.SyncedTo = 3
		if _, _, err := OpenOne(cfg); !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		if readTestFile(t, mem, name) != before {
			t.Fatal("the damaged log was changed")
		}
	})
	t.Run("beyond what was synced, whatever follows damage is cut", func(t *testing.T) {
		mem, batch := build(t)
		flip(t, mem, 2*batch-1)
		cfg := oneConfig(mem, "/")
		cfg.SyncedTo = 1
		l, closer, err := OpenOne(cfg)
		if err != nil {
			t.Fatal(err)
		}
		wantValues(t, l, "a")
		if err := closer.Close(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("the log starts where its caller says", func(t *testing.T) {
		mem, _ := build(t)
		cfg := oneConfig(mem, "/")
		cfg.LogStart = 2
		l, closer, err := OpenOne(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if l.StartOffset() != 2 || l.EndOffset() != 3 {
			t.Fatalf("it has %d to %d", l.StartOffset(), l.EndOffset())
		}
		if err := closer.Close(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("damage before valid batches is refused", func(t *testing.T) {
		mem, batch := build(t)
		flip(t, mem, 2*batch-1)
		before := readTestFile(t, mem, name)
		if _, _, err := OpenOne(oneConfig(mem, "/")); !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		if readTestFile(t, mem, name) != before { // its indexes may have been made again
			t.Fatal("the damaged log was changed")
		}
	})
}

func TestOpenOneFailsWithItsSync(t *testing.T) {
	fsys := vfs.NewFault(vfs.NewMem())
	l, closer, err := OpenOne(oneConfig(fsys, "/"))
	if err != nil {
		t.Fatal(err)
	}
	appendValues(t, l, "a")
	fsys.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Times: 1, Err: syscall.EIO})
	for range 2 {
		if err := l.Sync(); err == nil || l.DurableEnd() != 0 {
			t.Fatalf("Sync says %v, durable to %d", err, l.DurableEnd())
		}
	}
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
}

// A log that loses its last record goes on at the same offset, wherever the power goes meanwhile: its first
// segment is emptied and not made again, so that there always is one.
func TestALogThatIsCutToItsStartKeepsIt(t *testing.T) {
	mem := vfs.NewMem()
	fault := vfs.NewFault(mem)
	l, closer, err := OpenOne(oneConfig(fault, "/"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.TruncateFullyAndStartAt(5); err != nil {
		t.Fatal(err)
	}
	appendValues(t, l, "a")
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	var cuts []*vfs.Mem
	fault.SetHook(func(vfs.Event) {
		for seed := range uint64(10) {
			cuts = append(cuts, mem.CrashClone(vfs.SomeUnsynced, seed))
		}
	})
	if err := l.TruncateTo(5); err != nil {
		t.Fatal(err)
	}
	fault.SetHook(nil)
	if l.StartOffset() != 5 || l.EndOffset() != 5 {
		t.Fatalf("it has %d to %d", l.StartOffset(), l.EndOffset())
	}
	appendValues(t, l, "b")
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	for i, cut := range append(cuts, mem) {
		again, closer, err := OpenOne(oneConfig(cut, "/"))
		if err != nil {
			t.Fatal(i, err)
		}
		if again.StartOffset() != 5 {
			t.Fatalf("after cut %d of %d it begins with %d", i, len(cuts), again.StartOffset())
		}
		if err := closer.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
