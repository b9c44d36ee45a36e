package log

import (
	"bytes"
	"errors"
	"math"
	"path/filepath"
	"testing"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

// putLogFile makes a file of a partition's directory, durably.
func putLogFile(tb testing.TB, fs vfs.FS, name string, content []byte) {
	tb.Helper()
	if err := fs.MkdirAll("/data/t-0"); err != nil {
		tb.Fatal(err)
	}
	f, err := fs.Create(filepath.Join("/data/t-0", name))
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := f.WriteAt(content, 0); err != nil {
		tb.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		tb.Fatal(err)
	}
}

// segmentOf returns a segment file of n small batches from an offset on.
func segmentOf(base ids.Offset, n int) []byte {
	var p []byte
	for i := range n {
		b := batch(int64(1000+i*7%50), 1+i%3, 20)
		b.SetBaseOffset(base)
		b.SetLeaderEpoch(ids.LeaderEpoch(i / 4))
		base = b.NextOffset()
		p = append(p, b...)
	}
	return p
}

// validPrefix returns the batches that recovery must keep of a segment file that begins at base.
func validPrefix(p []byte, base ids.Offset) (out []record.Batch) {
	for end := base; ; {
		b, rest, err := record.First(p)
		if err != nil || !b.CheckCRC() || b.LastOffsetDelta() < 0 || b.BaseOffset() < end || b.LastOffset()-base > math.MaxInt32 {
			return out
		}
		out, p, end = append(out, b), rest, b.NextOffset()
	}
}

// FuzzRecovery opens a log whose only segment is any bytes.
//   - After a crash it opens, with the longest prefix of valid batches, and nothing behind it.
//   - It then takes appends and opens once more with the same content.
//   - As a clean log it opens or is refused; it does not panic.
//   - Strict, it refuses damage that a valid batch follows.
func FuzzRecovery(f *testing.F) {
	whole := segmentOf(0, 8)
	f.Add(whole)
	f.Add(whole[:len(whole)-5])
	f.Add(append(bytes.Clone(whole), make([]byte, 100)...))
	f.Add(append(bytes.Clone(whole[:150]), whole...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, p []byte) {
		want := validPrefix(p, 0)
		fs := vfs.NewMem()
		e := newTestEnv(t, fs)
		putLogFile(t, fs, segmentFileName(0, logSuffix), p)
		if l, err := openLog(&e.logEnv, "/data", testTP, e.id, DefaultConfig(), openOptions{clean: true}); err == nil {
			_, _ = l.Read(0, l.EndOffset(), 1<<20, true)
			l.closeAbrupt()
			return // it may have changed the files
		}
		e = newTestEnv(t, fs)
		putLogFile(t, fs, segmentFileName(0, logSuffix), p)
		l := e.mustOpen(DefaultConfig(), false)
		if got := readAll(t, l, 1000); offsetsOf(got) != offsetsOf(want) {
			t.Fatalf("recovered %s, want %s", offsetsOf(got), offsetsOf(want))
		}
		b := batch(5, 1, 10)
		if l.EndOffset() < math.MaxInt32 {
			mustAppend(t, l, b)
			want = append(want, b)
		}
		l.closeAbrupt()
		l = e.mustOpen(DefaultConfig(), false)
		if got := readAll(t, l, 1000); offsetsOf(got) != offsetsOf(want) {
			t.Fatalf("opened again %s, want %s", offsetsOf(got), offsetsOf(want))
		}
	})
}

// FuzzIndexFiles opens a whole log beside index files of any bytes. Whatever they say:
//   - every read gives what the log holds, by every offset and every limit;
//   - a timestamp that an earlier record than the index says has is still found at or after that record;
//   - nothing panics, and the log is never called damaged.
func FuzzIndexFiles(f *testing.F) {
	e1, e2 := offsetEntry{3, 150}.encode(), offsetEntry{9, 400}.encode()
	t1 := timeEntry{1020, 3}.encode()
	f.Add(append(e1[:], e2[:]...), t1[:], true)
	f.Add(make([]byte, 80), make([]byte, 60), false)
	f.Add(e2[:], append(t1[:], t1[:]...), false)
	f.Fuzz(func(t *testing.T, offsets, times []byte, clean bool) {
		fs := vfs.NewMem()
		e := newTestEnv(t, fs)
		p := segmentOf(0, 12)
		second := validPrefix(p, 0)
		end := second[len(second)-1].NextOffset()
		putLogFile(t, fs, segmentFileName(0, logSuffix), p)
		putLogFile(t, fs, segmentFileName(0, indexSuffix), offsets)
		putLogFile(t, fs, segmentFileName(0, timeIndexSuffix), times)
		putLogFile(t, fs, segmentFileName(end, logSuffix), segmentOf(end, 12))
		putLogFile(t, fs, segmentFileName(end, indexSuffix), offsets)
		putLogFile(t, fs, segmentFileName(end, timeIndexSuffix), times)
		want := append(second, validPrefix(segmentOf(end, 12), end)...)
		e.recovery = want[len(want)-1].NextOffset()
		l := e.mustOpen(DefaultConfig(), clean)
		for o := ids.Offset(0); o < l.EndOffset(); o++ {
			s, err := l.Read(o, l.EndOffset(), int32(o*29), true)
			if err != nil {
				t.Fatal(err)
			}
			if got := sliceBatches(t, s); got[0].BaseOffset() > o || got[0].NextOffset() <= o {
				t.Fatalf("reading offset %d gave %s", o, offsetsOf(got))
			}
			if s, err = l.Read(0, o, 1<<20, true); err != nil {
				t.Fatal(err)
			}
			if got := sliceBatches(t, s); len(got) > 0 && got[len(got)-1].NextOffset() > o {
				t.Fatalf("reading below offset %d gave %s", o, offsetsOf(got))
			}
		}
		if got := readAll(t, l, 300); offsetsOf(got) != offsetsOf(want) {
			t.Fatalf("the log holds %s, want %s", offsetsOf(got), offsetsOf(want))
		}
		for _, ts := range []int64{0, 1000, 1015, 1049, 5000} {
			if _, _, _, _, err := l.OffsetForTimestamp(ts, l.EndOffset()); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, _, err := l.MaxTimestamp(l.EndOffset()); err != nil {
			t.Fatal(err)
		}
	})
}
