package runtime

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
)

// call is a request on its way: until its shard replies, and then until the reply is committed.
type call struct {
	of     *calls
	ticket Ticket
	answer func(response any, err error)

	// Guarded by of.mu while the call is open, then of whoever answers.
	replied  bool
	response any
	err      error
}

// Done implements deferred.Waiter: the reply is committed, or will never be.
func (c *call) Done(err error) {
	if err != nil {
		err = fmt.Errorf("%w (%v)", kerr.NotCoordinator, err)
	}
	c.of.settle(c, err)
}

// calls is the requests of one life that have no answer yet. Each gets one: by settle or by failAll, whichever
// comes first.
//
// An append may move the high watermark and so end the wait of earlier replies, on the goroutine that holds the lock of
// the life. So nothing is answered while anybody is between enter and leave; who leaves, without a lock by then, answers
// what became ready.
type calls struct {
	mu struct {
		sync.Mutex
		open    map[Ticket]*call
		last    Ticket // given out; the first is 1
		entered int    // between enter and leave
		ready   []*call
	}
}

// enter has answers wait for leave.
func (cs *calls) enter() {
	cs.mu.Lock()
	cs.mu.entered++
	cs.mu.Unlock()
}

// leave gives the answers that became ready, those of others among them: with one event after another there may never be
// a moment in which nobody has entered.
func (cs *calls) leave() {
	cs.mu.Lock()
	cs.mu.entered--
	var few [16]*call
	ready := append(few[:0], cs.mu.ready...)
	clear(cs.mu.ready)
	cs.mu.ready = cs.mu.ready[:0]
	cs.mu.Unlock()
	for _, c := range ready {
		c.answer(c.response, c.err)
	}
}

// add opens a call.
func (cs *calls) add(answer func(response any, err error)) Ticket {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.mu.open == nil {
		cs.mu.open = map[Ticket]*call{}
	}
	cs.mu.last++
	cs.mu.open[cs.mu.last] = &call{of: cs, ticket: cs.mu.last, answer: answer}
	return cs.mu.last
}

// reply takes over what the shard replied, and returns nil where the ticket waits for no reply.
func (cs *calls) reply(r Reply) *call {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.mu.open[r.To]
	if c == nil || c.replied {
		return nil
	}
	c.replied, c.response = true, r.Response
	return c
}

// settle ends a call, with an error instead of the response where err is not nil. A call that was ended already
// stays as it is.
func (cs *calls) settle(c *call, err error) {
	cs.mu.Lock()
	if cs.mu.open[c.ticket] != c {
		cs.mu.Unlock()
		return
	}
	delete(cs.mu.open, c.ticket)
	c.end(err)
	if cs.mu.entered > 0 {
		cs.mu.ready = append(cs.mu.ready, c)
		cs.mu.Unlock()
		return
	}
	cs.mu.Unlock()
	c.answer(c.response, c.err)
}

// failAll ends every call in order of their tickets. The caller has entered.
func (cs *calls) failAll(err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, t := range slices.Sorted(maps.Keys(cs.mu.open)) {
		c := cs.mu.open[t]
		c.end(err)
		cs.mu.ready = append(cs.mu.ready, c)
	}
	cs.mu.open = nil
}

func (c *call) end(err error) {
	if err != nil {
		c.response, c.err = nil, err
	}
}
