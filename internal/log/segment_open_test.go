package log

import (
	"errors"
	"testing"

	"github.com/moldau/moldau/internal/vfs"
)

// sizeFS has something happen once around the moment in which a file tells its size.
type sizeFS struct {
	vfs.FS
	before, after func()
}

type sizeFile struct {
	vfs.File
	fs *sizeFS
}

func (s *sizeFS) OpenExisting(name string) (vfs.File, error) {
	f, err := s.FS.OpenExisting(name)
	if err != nil {
		return nil, err
	}
	return sizeFile{f, s}, nil
}

func (f sizeFile) Size() (int64, error) {
	run := func(what *func()) {
		if now := *what; now != nil {
			*what = nil
			now()
		}
	}
	run(&f.fs.before)
	n, err := f.File.Size()
	run(&f.fs.after)
	return n, err
}

// A segment is opened while others change it: that is no damage.
func TestOpenWhileTheSegmentChanges(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*testing.T, *Log)
		after  bool // the size is told
	}{
		"append before":     {func(t *testing.T, l *Log) { appendValues(t, l, "more") }, false},
		"append after":      {func(t *testing.T, l *Log) { appendValues(t, l, "more") }, true},
		"truncation before": {truncateToTwo, false},
		"truncation after":  {truncateToTwo, true},
	} {
		t.Run(name, func(t *testing.T) {
			fs := &sizeFS{FS: vfs.NewMem()}
			e := newTestEnv(t, fs)
			l := e.create(crashLogConfig())
			appendValues(t, l, "a", "b", "c", "d")
			l.SetHighWatermark(2)
			l.env.files.drop(&l.active().file)
			change := func() { c.change(t, l) }
			if c.after {
				fs.after = change
			} else {
				fs.before = change
			}
			h, err := l.active().open(l.env.files)
			if err != nil {
				t.Fatal(err)
			}
			h.release()
			if fs.before != nil || fs.after != nil {
				t.Error("nothing was opened")
			}
		})
	}
}

func truncateToTwo(t *testing.T, l *Log) {
	if err := l.TruncateTo(2); err != nil {
		t.Error(err)
	}
}

// A file that got shorter by itself is damage.
func TestOpenAShorterSegment(t *testing.T) {
	e := newTestEnv(t, vfs.NewMem())
	l := e.create(crashLogConfig())
	appendValues(t, l, "a", "b")
	l.SetHighWatermark(2)
	l.env.files.drop(&l.active().file)
	f, err := e.fs.OpenExisting(l.active().path(logSuffix))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(10), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(0, 2, 1<<20, true); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%v", err)
	}
}
