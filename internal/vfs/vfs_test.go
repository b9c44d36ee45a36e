package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"
)

// everyFS runs a test over each implementation, in an empty directory of it.
func everyFS(t *testing.T, test func(t *testing.T, fsys FS, dir string)) {
	mem := func(wrap func(FS) FS) func(*testing.T) {
		return func(t *testing.T) {
			fsys := wrap(NewMem())
			must(t, fsys.MkdirAll("/a/dir"))
			test(t, fsys, "/a/dir")
		}
	}
	t.Run("os", func(t *testing.T) { test(t, OS, t.TempDir()) })
	t.Run("mem", mem(func(f FS) FS { return f }))
	t.Run("fault", mem(func(f FS) FS { return NewFault(f) }))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

func put(t testing.TB, fsys FS, name, text string) {
	t.Helper()
	f, err := fsys.Create(name)
	must(t, err)
	_, err = f.WriteAt([]byte(text), 0)
	must(t, err)
	must(t, f.Close())
}

func get(t testing.TB, fsys FS, name string) string {
	t.Helper()
	f, err := fsys.Open(name)
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		t.Fatalf("%s: read %d of %d bytes: %v", name, n, size, err)
	}
	return string(b)
}

func TestFileReadsWhatWasWritten(t *testing.T) {
	everyFS(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		f, err := fsys.OpenReadWrite(name)
		must(t, err)
		big := bytes.Repeat([]byte("0123456789"), 1000)
		_, err = f.WriteAt(big, 5000)
		must(t, err)
		got := make([]byte, 20)
		n, err := f.ReadAt(got, 4990)
		if n != 20 || err != nil || string(got) != "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x000123456789" {
			t.Fatalf("a hole and what follows it read as %q, %v", got[:n], err)
		}
		if n, err := f.ReadAt(got, 14995); n != 5 || err != io.EOF {
			t.Fatalf("read over the end gave %d, %v", n, err)
		}
		must(t, f.Truncate(5001))
		must(t, f.Truncate(5003))
		if n, _ := f.ReadAt(got, 4999); string(got[:n]) != "\x000\x00\x00" {
			t.Fatalf("after a cut and growth: %q", got[:n])
		}
		if size, err := f.Size(); size != 5003 || err != nil {
			t.Fatal(size, err)
		}
		must(t, f.Sync())
		must(t, f.Close())
		wantErr(t, f.Close(), fs.ErrClosed)
		_, err = f.WriteAt(got, 0)
		wantErr(t, err, fs.ErrClosed)
		info, err := fsys.Stat(name)
		if err != nil || info.Size() != 5003 || info.IsDir() {
			t.Fatal(info, err)
		}
	})
}

func TestOpenModes(t *testing.T) {
	everyFS(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		_, err := fsys.Open(name)
		wantErr(t, err, fs.ErrNotExist)
		_, err = fsys.Create(filepath.Join(dir, "none", "f"))
		wantErr(t, err, fs.ErrNotExist)
		_, err = fsys.OpenReadWrite(dir)
		if err == nil {
			t.Fatal("a directory opened for writing")
		}
		put(t, fsys, name, "hello")
		f, err := fsys.Open(name)
		must(t, err)
		if _, err := f.WriteAt([]byte("x"), 0); err == nil {
			t.Fatal("a file opened for reading was written")
		}
		must(t, f.Close())
		f, err = fsys.OpenReadWrite(name)
		must(t, err)
		must(t, f.Close())
		if got := get(t, fsys, name); got != "hello" {
			t.Fatalf("OpenReadWrite left %q", got)
		}
		f, err = fsys.OpenExisting(name)
		must(t, err)
		_, err = f.WriteAt([]byte("j"), 0)
		must(t, err)
		must(t, f.Close())
		if got := get(t, fsys, name); got != "jello" {
			t.Fatalf("OpenExisting left %q", got)
		}
		_, err = fsys.OpenExisting(filepath.Join(dir, "missing"))
		wantErr(t, err, fs.ErrNotExist)
		_, err = fsys.Stat(filepath.Join(dir, "missing"))
		wantErr(t, err, fs.ErrNotExist)
		f, err = fsys.Create(name)
		must(t, err)
		must(t, f.Close())
		if got := get(t, fsys, name); got != "" {
			t.Fatalf("Create left %q", got)
		}
	})
}

func TestNames(t *testing.T) {
	everyFS(t, func(t *testing.T, fsys FS, dir string) {
		at := func(name string) string { return filepath.Join(dir, name) }
		must(t, fsys.MkdirAll(at("d/e")))
		must(t, fsys.MkdirAll(at("d/e")))
		put(t, fsys, at("d/b"), "b")
		put(t, fsys, at("d/a"), "a")
		names, err := fsys.List(at("d"))
		if err != nil || !slices.Equal(names, []string{"a", "b", "e"}) {
			t.Fatal(names, err)
		}
		must(t, fsys.Rename(at("d/a"), at("d/b")))
		if got := get(t, fsys, at("d/b")); got != "a" {
			t.Fatalf("after the rename b holds %q", got)
		}
		wantErr(t, fsys.Rename(at("d/a"), at("d/c")), fs.ErrNotExist)
		wantErr(t, fsys.Remove(at("d/a")), fs.ErrNotExist)
		if err := fsys.Remove(at("d")); err == nil {
			t.Fatal("a directory with files in it was removed")
		}
		must(t, fsys.Rename(at("d"), at("moved")))
		if got := get(t, fsys, at("moved/b")); got != "a" {
			t.Fatalf("in the moved directory b holds %q", got)
		}
		must(t, fsys.SyncDir(at("moved")))
		must(t, fsys.RemoveAll(at("moved")))
		must(t, fsys.RemoveAll(at("moved")))
		_, err = fsys.Stat(at("moved"))
		wantErr(t, err, fs.ErrNotExist)
		_, err = fsys.List(at("moved"))
		wantErr(t, err, fs.ErrNotExist)
		put(t, fsys, at("x"), "x")
		must(t, fsys.Remove(at("x")))
	})
}

func TestRemovedFileStaysReadableWhileOpen(t *testing.T) {
	everyFS(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "f")
		put(t, fsys, name, "hello")
		f, err := fsys.Open(name)
		must(t, err)
		defer f.Close()
		must(t, fsys.Remove(name))
		got := make([]byte, 5)
		if _, err := f.ReadAt(got, 0); err != nil || string(got) != "hello" {
			t.Fatal(string(got), err)
		}
	})
}

func TestLockHasOneHolder(t *testing.T) {
	everyFS(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, ".lock")
		l, err := fsys.Lock(name)
		must(t, err)
		_, err = fsys.Lock(name)
		wantErr(t, err, ErrLocked)
		must(t, fsys.MkdirAll(filepath.Join(dir, "other")))
		other, err := fsys.Lock(filepath.Join(dir, "other", ".lock"))
		must(t, err)
		must(t, other.Close())
		must(t, l.Close())
		l, err = fsys.Lock(name)
		must(t, err)
		must(t, l.Close())
	})
}

func TestSyncFS(t *testing.T) {
	everyFS(t, func(t *testing.T, fsys FS, dir string) {
		put(t, fsys, filepath.Join(dir, "f"), "hello")
		lock, err := fsys.Lock(filepath.Join(dir, ".lock"))
		must(t, err)
		defer lock.Close()
		if err := fsys.SyncFS(dir); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Fatal(err)
		}
		wantErr(t, fsys.SyncFS(filepath.Join(dir, "none")), fs.ErrNotExist)
	})
}

func TestUsage(t *testing.T) {
	everyFS(t, func(t *testing.T, fsys FS, dir string) {
		free, total, err := fsys.Usage(dir)
		if err != nil || free == 0 || free > total {
			t.Fatal(free, total, err)
		}
	})
}

func TestOSFile(t *testing.T) {
	everyFS(t, func(t *testing.T, fsys FS, dir string) {
		put(t, fsys, filepath.Join(dir, "f"), "hello")
		f, err := fsys.Open(filepath.Join(dir, "f"))
		must(t, err)
		defer f.Close()
		if got := OSFile(f) != nil; got != (fsys == OS) {
			t.Fatalf("OSFile gives a file: %v", got)
		}
	})
}
