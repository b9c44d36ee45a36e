package replication

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// seat is a node that may be the active controller. It does around controller.Core what controller.Controller does: requests that
// come together share an entry, entries are in flight, and an answer waits until everything is committed that it was decided on.
type seat struct {
	world    *world
	node     ids.NodeID // in the network
	core     *controller.Core
	epoch    ids.LeaderEpoch // in which it leads, as far as it knows; NoLeaderEpoch
	image    *metadata.Image // that the core has as committed
	since    int             // it leads
	queue    []*operation    // to be decided
	serving  bool            // serve is planned
	inFlight []*proposal     // in order
	lastAt   int             // when the last of them will be committed

	shifted bool // something else was committed before what is in flight: epochs that were guessed are wrong

	commits, commitsAtLook int
}

const inFlightMax = 8 // as in package controller

// operation is a request to a seat.
type operation struct {
	decide  func(*controller.Core) []metadata.Record
	answer  func(*metadata.Image) // with what is committed then; nil where the seat does not lead, or not any more
	unclean bool                  // it may ask for what loses records
}

// proposal is an entry on its way.
type proposal struct {
	envelope metadata.EnvelopeBuilder
	data     []byte
	decided  []decision
	waiting  []func(*metadata.Image)
}

// decision is what one request, or none, has changed.
type decision struct {
	records []metadata.Record
	unclean bool // by request
}

func newSeat(w *world, node ids.NodeID) *seat {
	s := &seat{world: w, node: node, epoch: ids.NoLeaderEpoch}
	s.core = controller.NewCore(w.coreConfig, w.schema, func() ids.UUID { return topic })
	return s
}

// lead begins an epoch.
func (s *seat) lead(epoch ids.LeaderEpoch) {
	s.lose()
	s.epoch, s.since = epoch, s.world.now
	s.image = s.world.quorum.image()
	s.core.Reset(s.image)
	s.core.Lead(s.world.clock())
	p := &proposal{}
	s.accept(p, s.core.Bootstrap(clusterID, nil), false)
	s.propose(p)
	s.lookLater()
}

// lose ends it: what is in flight is dropped, and nobody is told what became of it.
func (s *seat) lose() {
	if s.epoch == ids.NoLeaderEpoch {
		return
	}
	inFlight, queue := s.inFlight, s.queue
	s.epoch, s.inFlight, s.queue, s.lastAt, s.shifted = ids.NoLeaderEpoch, nil, nil, 0, false
	s.core.Reset(s.image)
	for _, p := range inFlight {
		p.answer(nil)
	}
	for _, o := range queue {
		o.answer(nil)
	}
}

// request has an operation decided and answered, some time later.
func (s *seat) request(o *operation) {
	if s.epoch == ids.NoLeaderEpoch {
		o.answer(nil)
		return
	}
	s.queue = append(s.queue, o)
	s.serveLater()
}

func (s *seat) serveLater() {
	if !s.serving && len(s.queue) > 0 && s.mayServe() {
		s.serving = true
		s.world.at(s.world.rng.IntN(3), s.serve)
	}
}

func (s *seat) mayServe() bool { return len(s.inFlight) < inFlightMax }

func (s *seat) serve() {
	s.serving = false
	if !s.mayServe() {
		return // the next commit comes back here
	}
	p := &proposal{}
	queue := s.queue
	s.queue = nil
	for _, o := range queue {
		s.accept(p, o.decide(s.core), o.unclean)
		switch n := len(s.inFlight); {
		case p.envelope.Count() > 0:
			p.waiting = append(p.waiting, o.answer)
		case n > 0:
			s.inFlight[n-1].waiting = append(s.inFlight[n-1].waiting, o.answer)
		default:
			o.answer(s.image)
		}
	}
	s.propose(p)
}

func (s *seat) accept(p *proposal, recs []metadata.Record, unclean bool) bool {
	if len(recs) == 0 {
		return false
	}
	if err := s.core.Accept(recs, s.image.Offset+ids.Offset(len(s.inFlight))+1, s.epoch); err != nil {
		s.world.judge.fail("the controller decides what cannot be: %w", err)
		return false
	}
	p.envelope.Add(recs)
	p.decided = append(p.decided, decision{recs, unclean})
	return true
}

func (s *seat) propose(p *proposal) {
	if p.envelope.Count() == 0 {
		return
	}
	w := s.world
	p.data = p.envelope.AppendTo(nil)
	s.inFlight = append(s.inFlight, p)
	s.lastAt = max(s.lastAt, w.now) + 1 + w.rng.IntN(w.commitMax)
	epoch := s.epoch
	w.at(s.lastAt-w.now, func() { s.commit(epoch) })
}

// commit makes the first entry in flight part of the log, unless another leader has come.
func (s *seat) commit(epoch ids.LeaderEpoch) {
	q := s.world.quorum
	if q.epoch != epoch {
		return
	}
	if s.world.rng.IntN(16) == 0 { // one of the quorum's own comes before it
		s.image = q.append(epoch, nil)
		s.core.Commit(s.image, false)
		s.shifted = true
	}
	p := s.inFlight[0]
	s.inFlight = s.inFlight[1:]
	s.image = q.append(epoch, p)
	last := len(s.inFlight) == 0
	if last && !s.shifted {
		s.world.judge.caughtUp(s)
	}
	s.shifted = s.shifted && !last
	s.core.Commit(s.image, last)
	s.commits++
	p.answer(s.image)
	s.serveLater()
}

func (p *proposal) answer(img *metadata.Image) {
	for _, answer := range p.waiting {
		answer(img)
	}
}

// looksPerSession is how often a seat looks for silent brokers in a session time, as in package controller.
const looksPerSession = 10

func (s *seat) lookLater() {
	epoch, after := s.epoch, sessionTimeout/looksPerSession
	if s.world.faults && s.world.rng.IntN(50) == 0 {
		after += s.world.rng.IntN(2 * sessionTimeout) // the process stood still
	}
	s.world.at(after, func() {
		if s.epoch == epoch {
			s.look()
			s.lookLater()
		}
	})
}

// look decides what nobody asks for. While the quorum stands still no time passes for brokers.
func (s *seat) look() {
	stuck := len(s.inFlight) > 0 && s.commits == s.commitsAtLook
	s.commitsAtLook = s.commits
	if stuck || !s.mayServe() {
		return
	}
	now := s.world.clock()
	s.core.Look(now)
	p := &proposal{}
	s.expire(p)
	s.accept(p, s.core.Balance(now).Records, false)
	s.propose(p)
	s.world.judge.looked(s)
}

func (s *seat) expire(p *proposal) {
	for s.accept(p, s.core.Expire(s.world.clock()).Records, false) {
	}
}

// gone is told that the connection of a broker has ended for good.
func (s *seat) gone(node ids.NodeID, epoch int64) {
	if s.epoch == ids.NoLeaderEpoch {
		return
	}
	s.core.Gone(node, epoch, s.world.clock())
	if s.mayServe() {
		p := &proposal{}
		s.expire(p)
		s.propose(p)
	}
}

// notController is what a seat says that does not lead.
var notController = &controller.Refusal{Code: kerr.NotController, Message: "another node decides"}
