package controller

import (
	"bytes"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/deferred"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

const (
	// entriesInFlightMax bounds what is proposed and not yet applied. Requests that
	// come meanwhile wait, and then share an entry.
	entriesInFlightMax = 8
	// An entry takes no further request once it has this much.
	entryRecordsFull = 2000
	entryBytesFull   = 512 << 10
	// operationsAtOnce bounds how long the loop decides without listening to the quorum.
	operationsAtOnce = 1000
	// looksPerSession is how often the loop looks for silent brokers in a session time.
	looksPerSession = 10
)

// loopState belongs to the goroutine of loop.
type loopState struct {
	core *Core
	next *operation // received and not yet served

	// This node leads in epoch, and has applied everything that earlier leaders committed.
	leading bool
	epoch   ids.LeaderEpoch
	// draining is set when the quorum refused an entry: pending then holds decisions
	// that will not be. Nothing is decided until what is in flight is applied.
	draining bool

	inFlight [][]byte // envelopes proposed and not yet applied, in order
	// proposed counts the entries ever proposed. waiting is indexed by it: a request
	// waits for the count at which its entry was proposed.
	proposed, applied ids.Offset
	waiting           deferred.Queue
	appliedAtLook     ids.Offset // what applied was at the last look for silent brokers

	entry   metadata.EnvelopeBuilder // the entry being filled
	waiters []*operation             // of the entry being filled
}

// loop runs until Stop. What the quorum told before a request came is taken before it.
func (c *Controller) loop() {
	defer close(c.stopped)
	look := time.NewTicker(c.config.SessionTimeout / looksPerSession)
	defer look.Stop()
	for {
		c.takeEvents()
		if c.next != nil && c.mayServe() {
			o := c.next
			c.next = nil
			c.serve(o)
			continue
		}
		requests := c.requests
		if c.next != nil || !c.mayServe() {
			requests = nil
		}
		select {
		case <-c.stopping:
			c.lose("the controller stops")
			if c.next != nil {
				c.decide(c.next)
			}
			return
		case <-c.wake:
		case <-look.C:
			c.look()
		case c.next = <-requests:
		}
	}
}

// mayServe tells whether a request is taken now: to be decided, or to be told that
// this node does not lead.
func (c *Controller) mayServe() bool {
	return !c.leading || !c.draining && len(c.inFlight) < entriesInFlightMax
}

// serve decides on o and on everything else that waits already, and proposes it.
func (c *Controller) serve(o *operation) {
	for n := 1; o != nil; n++ {
		c.decide(o)
		o = nil
		if n < operationsAtOnce && len(c.inFlight) < entriesInFlightMax {
			select {
			case o = <-c.requests:
			default:
			}
		}
	}
	c.propose()
}

func (c *Controller) decide(o *operation) {
	if !o.taken.CompareAndSwap(false, true) {
		return
	}
	if !c.leading || c.draining {
		close(o.decided)
		o.done <- refuseNotController()
		return
	}
	if c.entry.Count() >= entryRecordsFull || c.entry.SizeBytes() >= entryBytesFull {
		if c.propose(); c.draining {
			close(o.decided)
			o.done <- refuseNotController()
			return
		}
	}
	recs := o.decide(c.core)
	close(o.decided)
	if err := c.accept(recs, o.why); err != nil {
		o.done <- err
		return
	}
	if c.entry.Count() > 0 {
		c.waiters = append(c.waiters, o)
		return
	}
	// Nothing to commit. Yet the decision was made on what is in flight, so it is
	// told only when that is committed.
	c.await(o)
}

// look decides on what nobody asks for: brokers that fell silent, leaders that are not
// the preferred ones. While the quorum stands still, so that answers to heartbeats wait
// too, no time passes for the brokers.
func (c *Controller) look() {
	stuck := len(c.inFlight) > 0 && c.applied == c.appliedAtLook
	c.appliedAtLook = c.applied
	if !c.leading || !c.mayServe() || stuck {
		return
	}
	now := time.Now()
	c.core.Look(now)
	c.expire(now)
	for c.decideUnasked(c.core.Relieve()) {
	}
	c.decideUnasked(c.core.Balance(now))
	c.propose()
}

// expire fences who is gone or silent.
func (c *Controller) expire(now time.Time) {
	for c.decideUnasked(c.core.Expire(now)) {
	}
}

// decideUnasked tells whether there was something to decide and it was accepted.
func (c *Controller) decideUnasked(d Decision) bool {
	if len(d.Records) == 0 {
		return false
	}
	err := c.accept(d.Records, d.Why)
	if err != nil {
		c.deps.Logger.Error("controller cannot do what it decided", "why", d.Why, "err", err)
	}
	return err == nil
}

// accept makes recs part of the pending image and of the entry being filled, and logs
// what they mean for brokers and leaders.
func (c *Controller) accept(recs []metadata.Record, why string) error {
	if len(recs) == 0 {
		return nil
	}
	mark := c.entry.Mark()
	c.entry.Add(recs)
	if c.entry.Full() {
		size := c.entry.SizeBytes()
		c.entry.Rollback(mark)
		return refuse(kerr.PolicyViolation, "the request makes %d changes of %d bytes, too much for one entry of the metadata log: send several smaller requests",
			len(recs), size)
	}
	offset := c.core.committed.Offset + ids.Offset(len(c.inFlight)) + 1
	before := c.core.pending
	if err := c.core.Accept(recs, offset, c.epoch); err != nil {
		c.entry.Rollback(mark)
		c.deps.Logger.Error("controller decided what cannot be, and refused the request", "err", err)
		return refuse(kerr.UnknownServerError, "the decision was inconsistent and was dropped: %v", err)
	}
	explain(c.deps.Logger, before, recs, why)
	return nil
}

// await has o told when every entry proposed so far is applied.
func (c *Controller) await(o *operation) {
	c.waiting.Add(c.proposed, deferred.Func(func(err error) {
		if err == nil && o.committed != nil {
			o.committed(c.core.committed)
		}
		o.done <- err
	}))
}

// propose hands the entry being filled to the quorum.
func (c *Controller) propose() {
	if c.entry.Count() == 0 {
		return
	}
	data := c.entry.AppendTo(nil)
	waiters := c.waiters
	c.entry.Reset()
	c.waiters = nil
	if err := c.deps.Quorum.Propose(c.epoch, data); err != nil {
		c.deps.Logger.Warn("quorum refused an entry of the controller", "epoch", c.epoch, "err", err)
		for _, o := range waiters {
			o.done <- refuseNotController()
		}
		c.draining = true
		c.settle()
		return
	}
	c.inFlight = append(c.inFlight, data)
	c.proposed++
	for _, o := range waiters {
		c.await(o)
	}
}

// settle ends draining once nothing is in flight.
func (c *Controller) settle() {
	if c.draining && len(c.inFlight) == 0 {
		c.draining = false
		c.core.Reset(c.core.committed)
	}
}

func (c *Controller) takeEvents() {
	c.mu.Lock()
	events := c.mu.events
	c.mu.events = nil
	c.mu.Unlock()
	for i := range events {
		switch e := &events[i]; {
		case e.gone != nil:
			c.takeGone(e.gone)
		case e.image != nil:
			c.takeImage(e.image, e.data)
		default:
			c.takeLeader(e.leader, e.epoch)
		}
	}
}

// takeGone fences a broker at once; where nothing can be decided now, the next look does.
func (c *Controller) takeGone(b *goneBroker) {
	if !c.leading {
		return
	}
	now := time.Now()
	c.core.Gone(b.node, b.epoch, now)
	if c.mayServe() {
		c.expire(now)
		c.propose()
	}
}

func (c *Controller) takeLeader(leader bool, epoch ids.LeaderEpoch) {
	if c.leading && (!leader || epoch != c.epoch) {
		c.lose("another epoch began")
	}
	if !leader || c.leading {
		return
	}
	c.leading, c.epoch = true, epoch
	c.mu.Lock()
	close(c.mu.ready)
	c.mu.Unlock()
	c.deps.Logger.Info("controller leads", "epoch", epoch, "offset", c.core.committed.Offset)
	c.core.Lead(time.Now())
	if err := c.accept(c.core.Bootstrap(c.config.Founding()), "the cluster begins"); err == nil {
		c.propose()
	}
}

// lose drops everything that is not applied yet, and tells whoever waits for it.
func (c *Controller) lose(why string) {
	if !c.leading {
		return
	}
	c.deps.Logger.Info("controller resigned", "epoch", c.epoch, "why", why, slog.Int("in flight", len(c.inFlight)))
	c.mu.Lock()
	c.mu.ready = make(chan struct{})
	c.mu.Unlock()
	c.leading, c.draining = false, false
	c.inFlight = nil
	c.waiting.Fail(refuseNotController())
	c.applied = c.proposed
	c.waiting.Reset(c.applied)
	c.core.Reset(c.core.committed)
}

// takeImage follows the log. While this node leads, the only entries with records are
// its own, in the order in which it proposed them.
func (c *Controller) takeImage(img *metadata.Image, data []byte) {
	if c.leading && img.Epoch > c.epoch {
		c.lose("another leader's entry was applied")
	}
	switch {
	case !c.leading:
		c.core.Reset(img)
	case len(data) == 0:
		c.core.Commit(img, len(c.inFlight) == 0)
	case len(c.inFlight) > 0 && bytes.Equal(data, c.inFlight[0]):
		c.inFlight = c.inFlight[1:]
		c.core.Commit(img, len(c.inFlight) == 0)
		c.applied++
		c.waiting.CompleteUpTo(c.applied)
		c.settle()
	default:
		c.deps.Logger.Error("the metadata log has an entry that this controller did not propose next", "offset", img.Offset, "epoch", c.epoch)
		c.core.Commit(img, true)
		c.lose("the log has an entry that it did not propose")
	}
}
