package group

import (
	"container/heap"
	"time"
)

// timerKind says what a timer is for.
type timerKind uint8

const (
	// sessionTimer: a member, or one that was given an id and has not joined with it, is gone. Name: the member id.
	sessionTimer timerKind = iota
	// joinTimer: a rebalance waits no longer for members to join.
	joinTimer
	// syncTimer: a generation waits no longer for members to sync.
	syncTimer
	// revocationTimer: a member of a consumer group has not given up what it was told to.
	revocationTimer
	// regexTimer: the resolution of the regular expressions of a consumer group goes on.
	regexTimer
)

// timerKey names a timer. There is at most one of a key.
type timerKey struct {
	kind   timerKind
	group  string
	member string // of timers for one member
}

// timers is a heap of deadlines. The zero value is empty.
type timers struct {
	heap  timerHeap
	byKey map[timerKey]*timer
	set   uint64 // how many were set: those of one deadline go off in the order in which they were set
}

type timer struct {
	key   timerKey
	at    time.Time
	seq   uint64
	index int // in the heap
}

// schedule sets the timer of key to go off after a timeout, and not before. A timeout of zero or
// less is a millisecond, so that a timer that sets itself again cannot hold up a Tick forever.
func (ts *timers) schedule(key timerKey, now time.Time, timeoutMs int64) {
	at := now.Add(time.Duration(max(timeoutMs, 1)) * time.Millisecond)
	ts.set++
	if t, ok := ts.byKey[key]; ok {
		t.at, t.seq = at, ts.set
		heap.Fix(&ts.heap, t.index)
		return
	}
	if ts.byKey == nil {
		ts.byKey = make(map[timerKey]*timer)
	}
	t := &timer{key: key, at: at, seq: ts.set}
	ts.byKey[key] = t
	heap.Push(&ts.heap, t)
}

// has tells whether the timer of key is set.
func (ts *timers) has(key timerKey) bool { return ts.byKey[key] != nil }

func (ts *timers) cancel(key timerKey) {
	if t, ok := ts.byKey[key]; ok {
		heap.Remove(&ts.heap, t.index)
		delete(ts.byKey, key)
	}
}

// due returns the earliest deadline, or the zero time.
func (ts *timers) due() time.Time {
	if len(ts.heap) == 0 {
		return time.Time{}
	}
	return ts.heap[0].at
}

// pop takes away the earliest timer whose deadline is not after now.
func (ts *timers) pop(now time.Time) (timerKey, bool) {
	if len(ts.heap) == 0 || ts.heap[0].at.After(now) {
		return timerKey{}, false
	}
	key := ts.heap[0].key
	ts.cancel(key)
	return key, true
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }

func (h timerHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].seq < h[j].seq
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}
