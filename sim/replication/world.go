package replication

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/sim/schedule"
)

// Times are in ms.
const (
	second         = 1000
	faultsFor      = 15 * second
	writesFor      = 5 * second // after healing
	healFor        = 30 * second
	sessionTimeout = 150
	heartbeatEvery = 20
	tickEvery      = 50
	fetchTimeout   = 80
	downMax        = 1500
	delayMax       = 30 // how long a message usually takes at most
	traceMax       = 300

	fetchWait    = 20 * time.Millisecond
	fetchBackoff = 60 * time.Millisecond
)

// world is all of it.
type world struct {
	rng        *rand.Rand
	now        int
	events     schedule.Agenda[func()]
	happened   int
	net        *network
	hosts      []*host
	controller *controller
	decider    decider
	judge      *judge
	rules      partition.Rules
	unclean    bool // unclean.leader.election.enable

	// What differs from world to world, in ms.
	lateMax      int // how late a message is at most, beside its usual delay
	pollEvery    int // how often a broker asks for metadata that it may have missed
	alterTimeout int // how long AlterPartition is waited for
	commitMax    int // how long the controller takes to commit
	produceEvery int

	faults bool // still
	writes bool // still

	incarnations int
	epochs       int64
	requests     int
	produced     int64
	cuts         int
	trace        []string
}

func newWorld(seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 2))
	w := &world{rng: rng, faults: true, writes: true}
	nodes := 3 + rng.IntN(6)/3 // 3 or 4
	replicas := 3
	if rng.IntN(5) == 0 {
		replicas = 2
	}
	w.lateMax, w.pollEvery, w.produceEvery = 20+rng.IntN(400), 20+rng.IntN(300), 1+rng.IntN(10)
	w.commitMax, w.alterTimeout = 1+rng.IntN(60), 10+rng.IntN(100)
	w.rules = partition.Rules{
		Durability:        []partition.Durability{partition.DurabilityAuto, partition.DurabilityFsync, partition.DurabilityOS}[rng.IntN(3)],
		MinInSyncReplicas: 1 + rng.IntN(4)/2 + rng.IntN(12)/11,
		// No AlterPartition may be on its way for longer.
		LagMax: time.Duration(w.lateMax+2*delayMax+rng.IntN(200)) * time.Millisecond,
	}
	w.unclean = rng.IntN(10) == 0
	w.net = newNetwork(nodes+1, w.lateMax)
	var partitions []assignment
	for p := range 2 {
		a := assignment{lastKnown: ids.NoNode}
		for i := range replicas {
			a.Replicas = append(a.Replicas, ids.NodeID((p+i)%nodes))
		}
		a.ISR, a.Leader = a.Replicas, ids.NoNode
		partitions = append(partitions, a)
	}
	w.controller = newController(w, partitions)
	w.decider = w.controller
	w.judge = newJudge(w, len(partitions))
	for n := range nodes {
		h := &host{world: w, node: ids.NodeID(n), clean: true}
		for range partitions {
			h.disks = append(h.disks, &disk{})
		}
		w.hosts = append(w.hosts, h)
		w.at(rng.IntN(100), h.start)
	}
	w.at(0, w.produce)
	w.at(rng.IntN(second), w.disturbNetwork)
	w.at(rng.IntN(second), w.disturbHosts)
	w.at(1, w.fence)
	return w
}

// clock is what the cores take for the time.
func (w *world) clock() time.Time { return time.UnixMilli(int64(1_000_000 + w.now)) }

func (w *world) controllerNode() ids.NodeID { return ids.NodeID(len(w.hosts)) }

func (w *world) nextEpoch() int64 {
	w.epochs++
	return w.epochs
}

func (w *world) at(after int, happen func()) {
	w.events.Add(w.now+after, happen)
}

func (w *world) tracef(format string, args ...any) {
	if len(w.trace) >= 2*traceMax {
		w.trace = append(w.trace[:0], w.trace[traceMax:]...)
	}
	w.trace = append(w.trace, fmt.Sprintf("%7.3f ", float64(w.now)/second)+fmt.Sprintf(format, args...))
}

// Trace returns the last events.
func (w *world) Trace() string { return strings.Join(w.trace[max(0, len(w.trace)-traceMax):], "\n") }

// run lets time pass until a moment, a failure, or until a condition holds.
func (w *world) run(until int, holds func() bool) bool {
	for w.judge.failure == nil {
		next, ok := w.events.Next()
		if !ok {
			return false
		}
		if next > until {
			w.now = until
			return false
		}
		when, happen := w.events.Take()
		w.now = when
		w.happened++
		happen()
		w.judge.look()
		if holds != nil && holds() {
			return true
		}
	}
	return false
}

// committed tells everybody of new metadata.
func (w *world) committed(at int) {
	m := w.controller.log[at]
	for p := range m.partitions {
		if now, before := &m.partitions[p], &w.controller.log[at-1].partitions[p]; now.PartitionEpoch != before.PartitionEpoch {
			w.tracef("controller: partition %d has leader %d, epoch %d.%d, in sync %v, eligible %v, last %d, unclean %v", p, now.Leader, now.LeaderEpoch, now.PartitionEpoch, now.ISR, now.elr, now.lastKnown, now.unclean)
		}
	}
	w.judge.decided(m)
	for _, h := range w.hosts {
		if h.process != nil {
			w.send(w.controllerNode(), h.node, h.alive(func() { h.learn(at) }))
		}
	}
}

func (w *world) fence() {
	w.controller.fenceSilent()
	w.at(10, w.fence)
}

// produce has a client write.
func (w *world) produce() {
	if w.writes {
		h := w.hosts[w.rng.IntN(len(w.hosts))]
		if h.process != nil {
			h.produce(w.rng.IntN(len(h.disks)), w.rng.IntN(5) > 0)
		}
	}
	w.at(1+w.rng.IntN(w.produceEvery), w.produce)
}

func (w *world) disturbNetwork() {
	if w.faults {
		w.tracef("network: %s", w.net.disturb(w.rng))
		w.at(1+w.rng.IntN(second), w.disturbNetwork)
	}
}

// disturbHosts does something to a machine, or to the controller.
func (w *world) disturbHosts() {
	if !w.faults {
		return
	}
	h := w.hosts[w.rng.IntN(len(w.hosts))]
	switch w.rng.IntN(12) {
	case 0, 1:
		h.kill(false)
	case 2, 3, 4:
		h.kill(true)
	case 5, 6:
		if h.process != nil {
			h.stopping = true
			w.tracef("node %d is to stop", h.node)
		}
	case 7, 10:
		w.tracef("another controller")
		w.controller.fail()
	case 8:
		for _, h := range w.hosts {
			h.kill(true)
		}
	case 9:
		other := w.hosts[w.rng.IntN(len(w.hosts))]
		h.kill(true)
		other.kill(w.rng.IntN(2) == 0)
	}
	w.at(1+w.rng.IntN(second), w.disturbHosts)
}

// heal ends all faults and lets the cluster recover: every replica has the same and is in sync, and something new is acknowledged.
func (w *world) heal() {
	w.tracef("everything heals")
	w.faults = false
	w.net.heal()
	begun := w.now
	w.run(begun+writesFor, nil)
	acked := w.judge.ackedAfter(begun)
	w.writes = false
	if !w.run(begun+healFor, w.whole) || !acked {
		if w.judge.failure == nil {
			for _, h := range w.hosts {
				w.traceHost(h)
			}
			w.judge.fail("after healing not everything is equal and in sync, or nothing new is acknowledged (%v)", acked)
		}
	}
}

// whole tells whether every replica is in sync and equal to the others.
func (w *world) whole() bool {
	for p := range w.controller.committed().partitions {
		a := &w.controller.committed().partitions[p]
		if a.Leader == ids.NoNode || len(a.ISR) != len(a.Replicas) {
			return false
		}
		leader := w.hosts[a.Leader]
		for _, node := range a.Replicas {
			h := w.hosts[node]
			if h.process == nil || leader.process == nil {
				return false
			}
			one, other := h.replicas[p], leader.replicas[p]
			if one.disk.end() != other.disk.end() || one.core.HighWatermark() != one.disk.end() {
				return false
			}
			for o := max(one.disk.start, other.disk.start); o < one.disk.end(); o++ {
				x, _ := one.disk.at(o)
				if y, _ := other.disk.at(o); x != y {
					w.judge.fail("partition %d: nodes %d and %d differ at %d for good", p, node, a.Leader, o)
				}
			}
		}
	}
	return true
}

func (w *world) traceHost(h *host) {
	if h.process == nil {
		w.tracef("node %d is down", h.node)
		return
	}
	w.tracef("node %d: epoch %d registered at %d, applied %d of %d, broker %+v", h.node, h.epoch, h.registeredAt, h.applied, len(w.controller.log)-1, w.controller.committed().brokers[h.node])
	for p, r := range h.replicas {
		if r != nil {
			w.tracef("  %d: %d to %d, durable %d, high watermark %d, %+v", p, r.disk.start, r.disk.end(), r.disk.durable, r.core.HighWatermark(), r.core.State())
		}
	}
}

// codeOf is the error code that a leader answers with.
func codeOf(err error) int16 {
	var e *kerr.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return kerr.UnknownServerError.Code
}
