package log

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/vfs"
)

func TestAppendReadReopen(t *testing.T) {
	cfg := DefaultConfig()
	cfg.SegmentBytes = 4000
	cfg.IndexIntervalBytes = 300
	e := newTestEnv(t, vfs.NewMem())
	l := e.create(cfg)
	for i := range 50 {
		mustAppend(t, l, batch(int64(1000+i), 1+i%3, 100))
	}
	want := offsetsOf(readAll(t, l, 1<<20))
	for _, maxBytes := range []int32{1, 200, 1000, 3000} {
		if got := offsetsOf(readAll(t, l, maxBytes)); got != want {
			t.Fatalf("read with %d bytes at once:\n%s\nwant\n%s", maxBytes, got, want)
		}
	}
	if n := len(*l.segments.Load()); n < 2 {
		t.Fatalf("%d segments", n)
	}
	if _, err := l.syncFiles(); err != nil {
		t.Fatal(err)
	}
	if l.DurableEnd() != l.EndOffset() {
		t.Fatalf("durable end %d, end %d", l.DurableEnd(), l.EndOffset())
	}
	for _, clean := range []bool{true, false} {
		end := l.EndOffset()
		if clean {
			e.closeClean(l)
		} else {
			l.closeAbrupt()
			e.recovery = 17
		}
		l = e.mustOpen(cfg, clean)
		if l.EndOffset() != end || l.DurableEnd() != end {
			t.Fatalf("clean %t: end %d, durable %d, want %d", clean, l.EndOffset(), l.DurableEnd(), end)
		}
		if got := offsetsOf(readAll(t, l, 1000)); got != want {
			t.Fatalf("clean %t: %s\nwant %s", clean, got, want)
		}
	}
	if _, err := l.Read(l.EndOffset()+1, l.EndOffset(), 1, true); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Fatal(err)
	}
}
