// Package deferred holds what waits until an offset is reached.
//
// It is the one mechanism of waiting for a commit: acks=all answers wait for a
// high watermark, and so do the answers of coordinators and of the controller.
// Kafka counterpart: DeferredEventQueue and the produce purgatory.
//
// Goroutines: none. Locks: Queue.mu, a leaf.
package deferred

import (
	"sync"

	"github.com/moldau/moldau/internal/ids"
)

// Waiter is told once how its wait ended. Done runs on the goroutine that moved
// the offset or failed the queue, without a lock of the queue held; it must not block.
type Waiter interface {
	Done(err error)
}

// Func makes a function a Waiter.
type Func func(error)

// Done calls f.
func (f Func) Done(err error) { f(err) }

type entry struct {
	offset ids.Offset
	waiter Waiter
}

// Queue keeps waiters in the order of the offsets that they wait for. The zero
// Queue is ready to use and has reached offset 0.
type Queue struct {
	mu struct {
		sync.Mutex
		reached ids.Offset // every waiter for it or less has been told
		entries []entry    // sorted by offset; equal offsets in order of arrival
		err     error      // set by Fail: nothing waits any more
	}
}

// Add has w told as soon as everything below offset (exclusive) is reached: at
// once where it already is, or where the queue has failed.
func (q *Queue) Add(offset ids.Offset, w Waiter) {
	q.mu.Lock()
	err := q.mu.err
	if err != nil || offset <= q.mu.reached {
		q.mu.Unlock()
		w.Done(err)
		return
	}
	// Appends come nearly in order, so the place is found from the end.
	i := len(q.mu.entries)
	for i > 0 && q.mu.entries[i-1].offset > offset {
		i--
	}
	q.mu.entries = append(q.mu.entries, entry{})
	copy(q.mu.entries[i+1:], q.mu.entries[i:])
	q.mu.entries[i] = entry{offset, w}
	q.mu.Unlock()
}

// CompleteUpTo tells every waiter whose offset is hw or less. A smaller hw than
// before has no effect.
func (q *Queue) CompleteUpTo(hw ids.Offset) {
	q.mu.Lock()
	if hw <= q.mu.reached || q.mu.err != nil {
		q.mu.Unlock()
		return
	}
	q.mu.reached = hw
	n := 0
	for n < len(q.mu.entries) && q.mu.entries[n].offset <= hw {
		n++
	}
	if n == 0 {
		q.mu.Unlock()
		return
	}
	// Few wait at a time, so the ready ones fit an array on the stack and the rest moves up.
	var few [16]entry
	ready := append(few[:0], q.mu.entries[:n]...)
	rest := copy(q.mu.entries, q.mu.entries[n:])
	clear(q.mu.entries[rest:])
	q.mu.entries = q.mu.entries[:rest]
	q.mu.Unlock()
	for i := range ready {
		ready[i].waiter.Done(nil)
	}
}

// Fail tells every waiter, and each that comes later, that what it waits for will
// not happen, until Reset.
func (q *Queue) Fail(err error) {
	q.mu.Lock()
	q.mu.err = err
	waiting := q.mu.entries
	q.mu.entries = nil
	q.mu.Unlock()
	for i := range waiting {
		waiting[i].waiter.Done(err)
	}
}

// Reset makes a failed queue usable again, with everything below reached done, which may
// be less than before. It leaves a queue that has not failed alone.
func (q *Queue) Reset(reached ids.Offset) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.err != nil {
		q.mu.err = nil
		q.mu.reached = reached
	}
}

// Len returns how many wait.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.mu.entries)
}
