package replication

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/replica"
)

// topic is the id of the one topic that there is.
var topic = ids.TopicID{15: 200}

func keyOf(p int) replica.PartitionKey {
	return replica.PartitionKey{Topic: topic, Partition: int32(p)}
}

// host is a machine with disks, which runs a broker or does not.
type host struct {
	world *world
	node  ids.NodeID
	disks []*disk // by partition
	// lost tells that records which the broker had are gone, and that it has not registered since; lostAt is the metadata that
	// last registered it after such a loss.
	lost   bool
	lostAt int
	clean  bool // it stopped in order

	*process // nil while down
	life     int
}

// process is one run of a broker.
type process struct {
	epoch        int64 // NoBrokerEpoch before it is registered
	registeredAt int
	view         int // the metadata that it has, as an index into the controller's log
	applied      int // the metadata that its partitions have
	stopping     bool

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
}

// waiter is a produce request that waits for its records to be committed.
type waiter struct {
	from, to ids.Offset
	first    recordID
}

func (h *host) replicaOf(p int) bool {
	return slices.Contains(h.world.controller.log[0].partitions[p].Replicas, h.node)
}

// start runs the broker on what its disks have.
func (h *host) start() {
	w := h.world
	h.life++
	h.process = &process{
		epoch: partition.NoBrokerEpoch, view: h.lastView(), applied: -1,
		replicas: make([]*held, len(h.disks)), fetching: map[ids.NodeID]*fetching{}, sessions: map[int32]*session{},
	}
	for p, d := range h.disks {
		if !h.replicaOf(p) {
			continue
		}
		r := &held{number: p, disk: d, core: partition.NewCore(h.node, d.end(), d.durable, max(d.highWatermark, d.start)), judged: ids.NoLeaderEpoch, leads: ids.NoLeaderEpoch}
		r.core.SetRules(w.rules)
		r.core.SetStanding(h.standing)
		r.shown = r.core.HighWatermark()
		h.replicas[p] = r
	}
	w.tracef("node %d starts, stopped in order: %v", h.node, h.clean)
	w.incarnations++
	h.register(w.incarnations, h.clean)
	h.clean = false
	h.every(heartbeatEvery, h.heartbeat)
	h.every(h.world.pollEvery, h.poll)
	h.every(tickEvery, h.tick)
}

// lastView is where the metadata goes on that the node has on its own disk.
func (h *host) lastView() int {
	return h.world.rng.IntN(len(h.world.controller.log))
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

// call sends something to the controller, whose answers come back in this life alone.
func (h *host) call(f func(reply func(func()))) {
	w := h.world
	var then func()
	answer := h.alive(func() { then() })
	w.send(h.node, w.controllerNode(), func() {
		f(func(do func()) {
			w.send(w.controllerNode(), h.node, func() {
				then = do
				answer()
			})
		})
	})
}

// register tells the controller of this life until it has answered.
func (h *host) register(incarnation int, clean bool) {
	var try func()
	try = h.alive(func() {
		if h.epoch != partition.NoBrokerEpoch {
			return
		}
		h.call(func(reply func(func())) {
			h.world.decider.register(h.node, incarnation, clean, func(epoch int64, at int) {
				reply(func() { h.registered(epoch, at) })
			})
		})
		h.world.at(20+h.world.rng.IntN(20), try)
	})
	try()
}

func (h *host) registered(epoch int64, at int) {
	h.epoch, h.registeredAt = epoch, at
	if h.lost {
		h.lost, h.lostAt = false, at
	}
}

func (h *host) heartbeat() {
	if h.epoch == partition.NoBrokerEpoch {
		return
	}
	epoch, seen, stop := h.epoch, h.applied, h.stopping
	h.call(func(reply func(func())) {
		h.world.decider.heartbeat(h.node, epoch, seen, stop, func(mayStop bool) {
			reply(func() {
				if mayStop && h.stopping {
					h.stop()
				}
			})
		})
	})
}

// poll asks for the metadata.
func (h *host) poll() {
	h.call(func(reply func(func())) {
		at := len(h.world.controller.log) - 1
		reply(func() { h.learn(at) })
	})
}

// learn has metadata arrive.
func (h *host) learn(at int) {
	h.view = max(h.view, at)
	// What it had before it registered is of an earlier life.
	if h.epoch == partition.NoBrokerEpoch || h.view < h.registeredAt {
		return
	}
	for h.applied < h.view {
		if h.applied < 0 || h.world.rng.IntN(2) == 0 {
			h.applied = h.view
		} else {
			h.applied++
		}
		h.apply(h.world.controller.log[h.applied])
		if older := h.applied - 1 - h.world.rng.IntN(4); older >= h.registeredAt && h.world.rng.IntN(8) == 0 {
			h.apply(h.world.controller.log[older]) // which is told again, and changes nothing
		}
	}
}

// apply tells the partitions what the metadata says of them.
func (h *host) apply(m *metadata) {
	for p, r := range h.replicas {
		if r == nil {
			continue
		}
		state := m.partitions[p].State
		if !r.core.SetState(state, h.world.clock()) {
			continue
		}
		for node, f := range h.fetching {
			if node != state.Leader {
				f.fetcher.Unfollow(keyOf(p))
			}
		}
		switch {
		case r.core.Leads():
			h.lead(r, state)
		default:
			r.waiters, r.leads = nil, ids.NoLeaderEpoch
			if state.Leader != ids.NoNode {
				h.fetchingFrom(state.Leader).fetcher.Follow(keyOf(p), state.LeaderEpoch)
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

// standing is what the metadata that the partitions have says of a broker.
func (h *host) standing(node ids.NodeID) int64 {
	if h.applied < 0 {
		return partition.NoBrokerEpoch
	}
	if b := h.world.controller.log[h.applied].brokers[node]; b.epoch > 0 && b.available() {
		return b.epoch
	}
	return partition.NoBrokerEpoch
}

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
		if r.core.Leads() {
			h.isr.want(r.number)
		}
		if r.core.Leads() && h.world.rng.IntN(20) == 0 && h.world.faults {
			r.disk.raiseStart(r.core.HighWatermark() - ids.Offset(h.world.rng.IntN(2)*h.world.rng.IntN(10)))
		}
	}
	h.settle()
}

// stop ends the broker in order.
func (h *host) stop() {
	for _, r := range h.replicas {
		if r != nil {
			r.disk.durable, r.disk.highWatermark = r.disk.end(), r.core.HighWatermark()
			r.disk.reopen(r.disk.end())
		}
	}
	h.clean = true
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

func (h *host) down(what string) {
	w := h.world
	w.tracef("node %d %s", h.node, what)
	h.process = nil
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
	if s.busy || h.epoch == partition.NoBrokerEpoch {
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
	h.call(func(reply func(func())) {
		w.decider.alterPartition(req, func(resp *kmsg.AlterPartitionResponse) {
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
