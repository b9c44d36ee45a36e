package replication

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/replica"
)

// topic is the id of the one topic that there is.
var topic = ids.TopicID{15: 200}

func keyOf(p int) replica.PartitionKey {
	return replica.PartitionKey{Topic: topic, Partition: int32(p)}
}

func topicPartition(p int) ids.TopicPartition {
	return ids.TopicPartition{Topic: topicName, Partition: int32(p)}
}

// host is a machine with disks, which runs a broker or does not.
type host struct {
	world *world
	node  ids.NodeID
	disks []*disk // by partition
	dir   ids.DirectoryID
	term  ids.LeaderEpoch // the latest leader of the quorum that it has heard of
	// lost tells that records which the broker had are gone, and that it has not registered since; lostAt is the offset of what
	// last registered it after such a loss.
	lost   bool
	lostAt int
	closed int64 // the broker epoch up to whose end it has stopped in order ever since; NoBrokerEpoch where it has not
	downAt int   // when it last ended

	*process // nil while down
	life     int
}

// process is one run of a broker.
type process struct {
	lifecycle
	view     int  // the offset up to which it has heard of metadata
	applied  int  // up to which it has applied it
	caughtUp bool // its partitions are shown the metadata, which has its registration
	epoch    int64

	replicas []*held
	fetching map[ids.NodeID]*fetching
	sessions map[int32]*session
	parked   []*fetch
	isr      isrSender
}

// held is one replica while its broker runs.
type held struct {
	number  int
	disk    *disk
	core    partition.Core
	waiters []waiter // acks=all, by offset
	syncing bool
	// judged is the leader epoch in which the high watermark was last seen to be right.
	judged ids.LeaderEpoch
	shown  ids.Offset // the high watermark as the judge last saw it
	leads  ids.LeaderEpoch
	rules  partition.Rules // as of the metadata at hand
	state  partition.State // as the judge last saw it
}

// waiter is a produce request that waits for its records to be committed.
type waiter struct {
	from, to ids.Offset
	first    recordID
}

func (h *host) replicaOf(p int) bool { return slices.Contains(h.world.assigned[p], h.node) }

// start runs the broker on what its disks have.
func (h *host) start() {
	w := h.world
	h.life++
	h.process = &process{
		epoch: partition.NoBrokerEpoch, replicas: make([]*held, len(h.disks)), fetching: map[ids.NodeID]*fetching{}, sessions: map[int32]*session{},
	}
	h.applied = w.rng.IntN(w.quorum.end() + 1) // its own log of the metadata goes on there
	h.view = h.applied
	for p, d := range h.disks {
		if !h.replicaOf(p) {
			continue
		}
		r := &held{number: p, disk: d, core: partition.NewCore(h.node, d.end(), d.durable, max(d.highWatermark, d.start)), judged: ids.NoLeaderEpoch, leads: ids.NoLeaderEpoch}
		r.core.SetStanding(func(node ids.NodeID) int64 { return h.standing(p, node) })
		r.shown, r.state = r.core.HighWatermark(), r.core.State()
		h.replicas[p] = r
	}
	w.tracef("node %d starts, stopped in order in epoch %d", h.node, h.closed)
	w.incarnations++
	h.lifecycle = lifecycle{incarnation: numbered(2, w.incarnations), previous: h.closed, registered: partition.NoBrokerEpoch}
	h.closed = partition.NoBrokerEpoch
	h.every(heartbeatEvery, h.live)
	h.every(w.pollEvery, h.poll)
	h.every(tickEvery, h.tick)
}

// every has f called again and again until the broker ends.
func (h *host) every(ms int, f func()) {
	life := h.life
	var again func()
	again = func() {
		if h.process == nil || h.life != life {
			return
		}
		f()
		h.world.at(1+h.world.rng.IntN(2*ms), again)
	}
	h.world.at(h.world.rng.IntN(ms), again)
}

// alive has f called in this life of the broker alone, and what follows from it carried out.
func (h *host) alive(f func()) func() {
	life := h.life
	return func() {
		if h.process == nil || h.life != life {
			return
		}
		if f(); h.process != nil {
			h.settle()
		}
	}
}

// call sends something to the controller, as far as it is known who that is; answers come back in this life alone.
func (h *host) call(f func(s *seat, reply func(func()))) {
	w := h.world
	s := w.quorum.leaders[h.term]
	if s == nil {
		return
	}
	var then func()
	answer := h.alive(func() { then() })
	w.send(h.node, s.node, func() {
		f(s, func(do func()) {
			w.send(s.node, h.node, func() {
				then = do
				answer()
			})
		})
	})
}

// hears tells the machine of a leader of the quorum.
func (h *host) hears(term ids.LeaderEpoch) { h.term = max(h.term, term) }

// poll asks for the metadata, whoever leads the quorum.
func (h *host) poll() {
	w := h.world
	from := w.quorum.leader
	if from == nil {
		return
	}
	asked := h.alive(func() { h.current = true })
	w.send(h.node, from.node, func() {
		end, term := w.quorum.end(), w.quorum.epoch
		if w.quorum.leader != from {
			return
		}
		w.send(from.node, h.node, h.alive(func() {
			h.hears(term)
			h.learn(end)
			asked()
		}))
	})
}

// learn has metadata arrive.
func (h *host) learn(end int) {
	h.view = max(h.view, end)
	q := h.world.quorum
	for h.applied < h.view {
		next, delta := h.applied+1, q.log[h.applied+1].delta
		if h.world.rng.IntN(2) == 0 { // a snapshot
			next = h.view
			delta = metadata.Between(q.log[h.applied].image, q.log[next].image)
		}
		h.applied = next
		h.apply(delta, q.log[next].image)
		if older := h.applied - 1 - h.world.rng.IntN(4); h.caughtUp && older >= int(h.epoch) && h.world.rng.IntN(8) == 0 {
			h.show(metadata.Between(nil, q.log[older].image)) // which is told again, and changes nothing
		}
	}
}

// apply takes over one image. What is of an earlier life is kept from the partitions.
func (h *host) apply(delta *metadata.Delta, img *metadata.Image) {
	h.hears(img.Epoch)
	if b, ok := img.Broker(h.node); !h.caughtUp && ok && b.Incarnation == h.incarnation {
		h.caughtUp, h.epoch = true, b.Epoch
		delta = metadata.Between(nil, img)
	}
	if !h.caughtUp {
		return
	}
	rules := h.world.rulesAt(img)
	for _, r := range h.replicas {
		if r != nil {
			r.rules = rules
			r.core.SetRules(rules)
		}
	}
	h.show(delta)
	if delta.BrokersChanged() {
		h.wantAll()
	}
}

// show tells the partitions what the metadata says of them.
func (h *host) show(delta *metadata.Delta) {
	changes := delta.LocalChanges(h.node)
	for _, local := range slices.Concat(changes.Leaders, changes.Followers) {
		r := h.replicas[local.TP.Partition]
		state := partition.State{Leader: local.Leader, LeaderEpoch: local.LeaderEpoch, PartitionEpoch: local.PartitionEpoch, Replicas: local.Replicas, ISR: local.ISR}
		if !r.core.SetState(state, h.world.clock()) {
			continue
		}
		for node, f := range h.fetching {
			if node != state.Leader {
				f.fetcher.Unfollow(keyOf(r.number))
			}
		}
		switch {
		case r.core.Leads():
			h.lead(r, state)
		default:
			r.waiters, r.leads = nil, ids.NoLeaderEpoch
			if state.Leader != ids.NoNode {
				h.fetchingFrom(state.Leader).fetcher.Follow(keyOf(r.number), state.LeaderEpoch)
			}
		}
	}
}

// lead begins an epoch, or goes on in it.
func (h *host) lead(r *held, state partition.State) {
	if r.leads == state.LeaderEpoch {
		return
	}
	r.leads = state.LeaderEpoch
	r.disk.startEpoch(state.LeaderEpoch)
	h.world.tracef("node %d leads %d in epoch %d from %d, high watermark %d, in sync %v", h.node, r.number, state.LeaderEpoch, r.disk.end(), r.core.HighWatermark(), state.ISR)
	h.world.judge.leads(h, r)
}

// standing is what the metadata that the partitions have says of a broker's replica.
func (h *host) standing(number int, node ids.NodeID) int64 {
	img := h.image()
	b, ok := img.Broker(node)
	p, known := img.Partition(topicPartition(number))
	if !ok || !b.Active() || known && !img.MayJoin(b, p) {
		return partition.NoBrokerEpoch
	}
	return b.Epoch
}

func (h *host) image() *metadata.Image { return h.world.quorum.log[h.applied].image }

// settle carries out what an event made due, and has the judge look.
func (h *host) settle() {
	for moved := true; moved; {
		for _, r := range h.replicas {
			if r != nil {
				h.settleReplica(r)
			}
		}
		h.answerParked()
		moved = slices.ContainsFunc(h.replicas, func(r *held) bool { return r != nil && r.core.HighWatermark() != r.shown })
	}
	h.fetchAll()
	h.isr.send(h)
}

func (h *host) settleReplica(r *held) {
	hw, err := r.core.Advance()
	if err != nil {
		h.world.judge.fail("node %d: %w", h.node, err)
		return
	}
	h.world.judge.saw(h, r)
	n := 0
	for n < len(r.waiters) && r.waiters[n].to <= hw {
		h.world.judge.acknowledged(h, r, r.waiters[n])
		n++
	}
	r.waiters = r.waiters[n:]
	if r.core.NeedsSync() && !r.syncing {
		h.sync(r)
	}
}

// sync has everything be durable that the log has now, some time later.
func (h *host) sync(r *held) {
	r.syncing = true
	end, generation := r.disk.end(), r.disk.truncations
	h.world.at(1+h.world.rng.IntN(12), h.alive(func() {
		r.syncing = false
		if generation == r.disk.truncations {
			r.disk.durable = max(r.disk.durable, end)
		}
		r.core.Durable(r.disk.durable)
	}))
}

// tick is what a broker does now and then.
func (h *host) tick() {
	for _, r := range h.replicas {
		if r == nil {
			continue
		}
		r.disk.highWatermark = r.core.HighWatermark()
		if h.world.rng.IntN(8) == 0 && !r.syncing {
			h.sync(r) // the system's own
		}
		if r.core.Leads() && h.world.rng.IntN(20) == 0 && h.world.faults {
			r.disk.raiseStart(r.core.HighWatermark() - ids.Offset(h.world.rng.IntN(2)*h.world.rng.IntN(10)))
		}
	}
	h.wantAll()
	h.settle()
}

// wantAll has every partition that the broker leads asked who should be in sync.
func (h *host) wantAll() {
	for _, r := range h.replicas {
		if r != nil && r.core.Leads() {
			h.isr.want(r.number)
		}
	}
}

// stop ends the broker in order.
func (h *host) stop() {
	for _, r := range h.replicas {
		if r != nil {
			r.disk.durable, r.disk.highWatermark = r.disk.end(), r.core.HighWatermark()
			r.disk.reopen(r.disk.end())
		}
	}
	h.closed = h.previous
	h.down("stops in order")
}

// kill ends the process; powerCut loses what its disks had not synced, too.
func (h *host) kill(powerCut bool) {
	if h.process == nil && !powerCut {
		return
	}
	for p, d := range h.disks {
		if !h.replicaOf(p) {
			continue
		}
		if powerCut {
			h.lost = d.powerCut(h.world.rng) || h.lost
		} else {
			d.reopen(d.end())
		}
	}
	if h.process == nil {
		return
	}
	what := "is killed"
	if powerCut {
		what = "loses power"
	}
	h.down(what)
}

// empty has all disks be replaced after a stop in order.
func (h *host) empty() {
	if h.process == nil {
		return
	}
	for _, d := range h.disks {
		*d = disk{truncations: d.truncations + 1}
	}
	h.newDirectory()
	h.lost, h.closed, h.world.emptied = true, h.previous, true // as another directory, which it still has, says
	h.down("gets empty disks")
}

func (h *host) newDirectory() {
	h.world.incarnations++
	h.dir = numbered(3, h.world.incarnations)
}

func (h *host) down(what string) {
	w := h.world
	w.tracef("node %d %s", h.node, what)
	h.toldGone(h.epoch)
	h.process = nil
	h.downAt = w.now
	after := 1 + w.rng.IntN(10)
	if w.rng.IntN(2) == 0 {
		after = 1 + w.rng.IntN(downMax)
	}
	life := h.life
	w.at(after, func() {
		if h.life == life && h.process == nil {
			h.start()
		}
	})
}

// produce appends records at a broker that leads, as far as it knows.
func (h *host) produce(p int, acksAll bool) {
	r := h.replicas[p]
	if r == nil || !r.core.Leads() || acksAll && r.core.EnoughInSync() != nil {
		return
	}
	from := r.disk.end()
	h.world.produced++
	r.disk.appendAsLeader(newBatch(h.world.produced, 1+h.world.rng.IntN(3)), r.core.State().LeaderEpoch)
	r.core.Appended(r.disk.end())
	if acksAll {
		first, _ := r.disk.at(from)
		r.waiters = append(r.waiters, waiter{from, r.disk.end(), first})
	}
	h.settle()
}

// isrSender has one AlterPartition request on its way at a time.
type isrSender struct {
	wanted []int // partitions
	busy   bool
}

func (s *isrSender) want(p int) {
	if !slices.Contains(s.wanted, p) {
		s.wanted = append(s.wanted, p)
	}
}

func (s *isrSender) send(h *host) {
	if s.busy || !h.caughtUp {
		return
	}
	var changes []replica.Alteration
	for _, p := range s.wanted {
		if change, ok := h.replicas[p].core.ChangeISR(h.world.clock()); ok {
			changes = append(changes, replica.Alteration{Key: keyOf(p), ISRChange: change})
		}
	}
	s.wanted = nil
	if len(changes) == 0 {
		return
	}
	s.busy = true
	w, answered := h.world, false
	done := func(answer func(i int) (again bool)) {
		if answered {
			return
		}
		answered, s.busy = true, false
		for i := range changes {
			if answer(i) {
				s.want(int(changes[i].Key.Partition))
			}
		}
	}
	req := replica.AlterPartitionRequest(h.node, h.epoch, changes)
	h.call(func(seat *seat, reply func(func())) {
		seat.alterPartition(req, func(resp *kmsg.AlterPartitionResponse) {
			reply(func() {
				answers := replica.AlterPartitionAnswers(changes, resp)
				done(func(i int) bool {
					return h.replicas[changes[i].Key.Partition].core.ISRAnswered(&changes[i].ISRChange, answers[i], w.clock())
				})
			})
		})
	})
	w.at(w.alterTimeout, h.alive(func() { done(func(int) bool { return true }) }))
}
