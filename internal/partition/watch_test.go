package partition

import (
	"slices"
	"testing"
)

func TestWatchNamesEachPartitionOnce(t *testing.T) {
	w := NewWatch()
	for _, k := range []int32{4, 2, 4, 4, 9} {
		w.note(k)
	}
	select {
	case <-w.C:
	default:
		t.Fatal("no token")
	}
	if got := w.Take(nil); !slices.Equal(got, []int32{4, 2, 9}) {
		t.Fatalf("moved %v", got)
	}
	if got := w.Take(nil); len(got) != 0 {
		t.Fatalf("moved %v after it was taken", got)
	}
	w.note(4)
	if got := w.Take(nil); !slices.Equal(got, []int32{4}) {
		t.Fatalf("moved %v", got)
	}
}

func TestWatchersTellOnlyThoseWhoAreLeft(t *testing.T) {
	var ws watchers
	a, b := NewWatch(), NewWatch()
	ws.add(a, 1)
	ws.add(b, 2)
	ws.add(a, 3)
	ws.remove(a, 1)
	ws.remove(a, 7)
	ws.tell()
	if got := a.Take(nil); !slices.Equal(got, []int32{3}) {
		t.Fatalf("a: %v", got)
	}
	if got := b.Take(nil); !slices.Equal(got, []int32{2}) {
		t.Fatalf("b: %v", got)
	}
}
