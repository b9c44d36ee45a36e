package deferred

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/ids"
)

func TestToldInOrderOfOffsets(t *testing.T) {
	var q Queue
	var told []ids.Offset
	offsets := []ids.Offset{5, 9, 7, 7, 1, 30, 12}
	for _, o := range offsets {
		q.Add(o, Func(func(err error) {
			if err != nil {
				t.Errorf("offset %d: %v", o, err)
			}
			told = append(told, o)
		}))
	}
	q.CompleteUpTo(8)
	if want := []ids.Offset{1, 5, 7, 7}; !slices.Equal(told, want) {
		t.Fatalf("told %v at 8, want %v", told, want)
	}
	q.CompleteUpTo(3) // never back
	q.CompleteUpTo(12)
	if want := []ids.Offset{1, 5, 7, 7, 9, 12}; !slices.Equal(told, want) {
		t.Fatalf("told %v at 12, want %v", told, want)
	}
	q.Add(12, Func(func(error) { told = append(told, 12) }))
	if len(told) != 7 || q.Len() != 1 {
		t.Fatalf("an offset already reached must be told at once: %v, %d left", told, q.Len())
	}
}

func TestFailTellsAllAndLater(t *testing.T) {
	var q Queue
	gone := errors.New("gone")
	var got []error
	note := Func(func(err error) { got = append(got, err) })
	q.Add(1, note)
	q.Add(2, note)
	q.Fail(gone)
	q.Add(3, note)
	q.CompleteUpTo(9)
	if want := []error{gone, gone, gone}; !slices.Equal(got, want) {
		t.Fatalf("got %v", got)
	}
	q.Reset(4)
	q.Add(4, note)
	if got[3] != nil {
		t.Fatalf("after Reset: %v", got[3])
	}
}

func TestEachToldOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var q Queue
	told := map[int]int{}
	var hw ids.Offset
	for i := range 5000 {
		at := hw + ids.Offset(rng.IntN(40)) - 5
		q.Add(at, Func(func(error) {
			told[i]++
			if at > hw {
				t.Errorf("told at %d for %d", hw, at)
			}
		}))
		if rng.IntN(3) == 0 {
			hw += ids.Offset(rng.IntN(20))
			q.CompleteUpTo(hw)
		}
	}
	hw += 100
	q.CompleteUpTo(hw)
	for i := range 5000 {
		if told[i] != 1 {
			t.Fatalf("waiter %d was told %d times", i, told[i])
		}
	}
}

type counter struct{ n int }

func (c *counter) Done(error) { c.n++ }

func TestAddAndCompleteDoNotAllocate(t *testing.T) {
	var q Queue
	var c counter
	var o ids.Offset
	q.Add(1, &c)
	q.CompleteUpTo(1)
	if n := testing.AllocsPerRun(1000, func() {
		o += 2
		q.Add(o, &c)
		q.CompleteUpTo(o)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// TestResetKeepsThoseWhoWait: a queue that has not failed may be reset to where its offset
// already is, before whoever moved it there comes to tell.
func TestResetKeepsThoseWhoWait(t *testing.T) {
	var q Queue
	told := 0
	q.Add(5, Func(func(error) { told++ }))
	q.Reset(5)
	q.CompleteUpTo(5)
	if told != 1 {
		t.Fatalf("told %d times", told)
	}
	q.Reset(4)
	q.Add(5, Func(func(error) { told++ }))
	if told != 2 {
		t.Fatal("a reset took back what was reached")
	}
}
