//go:build !race

package log

import (
	"testing"

	"github.com/moldau/moldau/internal/vfs"
)

// An append and a read in the steady state allocate nothing: 0 is what the hot paths are built for.
func TestAllocations(t *testing.T) {
	e := newTestEnv(t, vfs.OS)
	l := benchLog(t, e)
	b := batch(1000, 10, 100)
	ts := int64(1000)
	pin(t, "append", func() {
		ts++
		b := b
		mustAppend(t, l, b)
	})
	from := l.StartOffset()
	pin(t, "read", func() {
		s, err := l.Read(from, l.EndOffset(), 64<<10, true)
		if err != nil {
			t.Fatal(err)
		}
		if from = s.NextOffset(); s.Len() == 0 {
			from = l.StartOffset()
		}
		s.Release()
	})
	pin(t, "read at random", func() {
		from = (from*7919 + 13) % l.EndOffset()
		s, err := l.Read(from, l.EndOffset(), 4<<10, true)
		if err != nil {
			t.Fatal(err)
		}
		s.Release()
	})
}

func pin(t *testing.T, what string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(3000, f); n != 0 {
		t.Errorf("%s: %v allocations", what, n)
	}
}
