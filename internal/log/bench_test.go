package log

import (
	"fmt"
	"testing"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

// benchLog returns a log on the real disk.
func benchLog(tb testing.TB, e *testEnv) *Log {
	l := newLog(&e.logEnv, tb.TempDir(), testTP, e.id, DefaultConfig())
	tb.Cleanup(l.closeAbrupt)
	return l
}

func BenchmarkAppend(b *testing.B) {
	for _, bytes := range []int{100, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(bytes), func(b *testing.B) {
			p := sizedBatch(bytes)
			l := benchLog(b, newTestEnv(b, vfs.OS))
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				if l.SizeBytes() > 512<<20 {
					b.StopTimer()
					if err := l.TruncateFullyAndStartAt(0); err != nil {
						b.Fatal(err)
					}
					if err := l.removeDropped(noDelay()); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				if _, err := l.AppendAsLeader(p, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// sizedBatch returns a batch of records of at most 1 KiB with the given size in all.
func sizedBatch(bytes int) record.Batch {
	b := record.NewBuilder()
	for b.SizeBytes() < bytes-1100 {
		b.Append(1000, nil, make([]byte, 1000))
	}
	if left := bytes - b.SizeBytes() - 12; left > 0 {
		b.Append(1000, nil, make([]byte, left))
	}
	return b.MustBuild()
}

func BenchmarkRead(b *testing.B) {
	for _, c := range []struct {
		name            string
		batch, maxBytes int
		tail            bool
	}{
		{"sequential 1 MB of 1 MB batches", 1 << 20, 1 << 20, false},
		{"sequential 1 MB of 16 KB batches", 16 << 10, 1 << 20, false},
		{"sequential 1 MB of 100 B batches", 100, 1 << 20, false},
		{"tail of 1 MB batches", 1 << 20, 1 << 20, true},
		{"tail of 100 B batches", 100, 1 << 20, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			l := benchLog(b, newTestEnv(b, vfs.OS))
			p := sizedBatch(c.batch)
			for l.SizeBytes() < 128<<20 {
				mustAppend(b, l, p)
			}
			from := ids.Offset(0)
			b.ReportAllocs()
			for b.Loop() {
				if c.tail {
					from = l.EndOffset() - ids.Offset(p.Count())
				} else if from >= l.EndOffset() {
					from = 0
				}
				s, err := l.Read(from, l.EndOffset(), int32(c.maxBytes), true)
				if err != nil || s.Len() == 0 {
					b.Fatal(s.Len(), err)
				}
				from = s.NextOffset()
				s.Release()
			}
		})
	}
}
