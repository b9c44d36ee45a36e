package replication

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/sim/schedule"
)

// Times are in ms.
const (
	partitions = 2
	seats      = 2 // that may be the active controller
	topicName  = "simulated"
	minISR     = "min.insync.replicas"

	second         = 1000
	forever        = 1 << 40
	foundWithin    = 10 * second
	writesFor      = 5 * second // after healing
	healFor        = 30 * second
	sessionTimeout = 150
	stopWithin     = second // a stop in order, though nobody takes over
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
	quorum     *quorum
	coreConfig controller.CoreConfig
	schema     *config.Schema
	judge      *judge
	assigned   [][]ids.NodeID  // the replicas of each partition
	rules      partition.Rules // but for MinInSyncReplicas, which changes
	unclean    bool            // unclean.leader.election.enable
	emptied    bool            // a disk was lost whole

	// What differs from world to world, in ms.
	lateMax      int // how late a message is at most, beside its usual delay
	pollEvery    int // how often a broker asks for metadata that it may have missed
	alterTimeout int // how long AlterPartition is waited for
	commitMax    int // how long the controller takes to commit
	produceEvery int

	faults bool // still
	writes bool // still

	incarnations int
	requests     int
	produced     int64
	cuts         int
	trace        []string
}

func newWorld(seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 2))
	w := &world{rng: rng}
	nodes := 3 + rng.IntN(6)/3 // 3 or 4
	replicas := 3
	if rng.IntN(5) == 0 {
		replicas = 2
	}
	w.lateMax, w.pollEvery, w.produceEvery = 20+rng.IntN(400), 20+rng.IntN(300), 1+rng.IntN(10)
	w.commitMax, w.alterTimeout = 1+rng.IntN(60), 10+rng.IntN(100)
	w.rules = partition.Rules{
		Durability: []partition.Durability{partition.DurabilityAuto, partition.DurabilityFsync, partition.DurabilityOS}[rng.IntN(3)],
		// No AlterPartition may be on its way for longer.
		LagMax: time.Duration(w.lateMax+2*delayMax+rng.IntN(200)) * time.Millisecond,
	}
	w.unclean = rng.IntN(10) == 0
	w.coreConfig = controller.CoreConfig{SessionTimeout: sessionTimeout * time.Millisecond, BalanceInterval: time.Duration(200+rng.IntN(3*second)) * time.Millisecond}
	w.judge = newJudge(w, partitions)
	broker, err := config.New([]config.Entry{{Name: "node.id", Value: "0"}})
	if err != nil {
		w.judge.fail("the configuration: %w", err)
		return w
	}
	w.schema = config.NewSchema(func() *config.Broker { return broker })
	w.net = newNetwork(nodes+seats, w.lateMax)
	w.quorum = newQuorum(w, ids.NodeID(nodes), seats)
	for p := range partitions {
		var to []ids.NodeID
		for i := range replicas {
			to = append(to, ids.NodeID((p+i)%nodes))
		}
		w.assigned = append(w.assigned, to)
	}
	for n := range nodes {
		h := &host{world: w, node: ids.NodeID(n), term: ids.NoLeaderEpoch, closed: partition.NoBrokerEpoch}
		w.hosts = append(w.hosts, h)
		for range partitions {
			h.disks = append(h.disks, &disk{})
		}
		h.newDirectory()
		w.at(rng.IntN(100), h.start)
	}
	return w
}

// found lets the cluster begin, with a topic.
func (w *world) found() {
	w.quorum.elect()
	atWork := func() bool {
		for _, h := range w.hosts {
			if b, ok := w.quorum.image().Broker(h.node); !ok || !b.Active() {
				return false
			}
		}
		return true
	}
	created := func() bool { return w.quorum.image().TopicCount() > 0 }
	if w.run(foundWithin, atWork) {
		w.quorum.leader.createTopic()
	}
	if !w.run(foundWithin, created) {
		w.judge.fail("no cluster begins")
		return
	}
	w.happened, w.faults, w.writes = 0, true, true
	w.at(0, w.produce)
	w.at(w.rng.IntN(second), w.disturbNetwork)
	w.at(w.rng.IntN(second), w.disturbHosts)
	w.at(w.rng.IntN(2*second), w.administer)
}

// partition is what is decided of one.
func (w *world) partition(p int) *metadata.Partition {
	known, _ := w.quorum.image().Partition(topicPartition(p))
	return known
}

// rulesAt is what the configs of the topic ask of its replicas.
func (w *world) rulesAt(img *metadata.Image) partition.Rules {
	rules := w.rules
	rules.MinInSyncReplicas = w.schema.MinISR(img.Config(metadata.ConfigResource{Type: metadata.ResourceTopic, Name: topicName}), len(w.assigned[0]))
	return rules
}

// clock is what the cores take for the time.
func (w *world) clock() time.Time { return time.UnixMilli(int64(1_000_000 + w.now)) }

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
func (w *world) committed(end int) {
	from := w.quorum.leader
	for _, h := range w.hosts {
		if from != nil && h.process != nil {
			w.send(from.node, h.node, h.alive(func() { h.learn(end) }))
		}
	}
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
	switch w.rng.IntN(13) {
	case 0, 1:
		h.kill(false)
	case 2, 3, 4:
		h.kill(true)
	case 5, 6:
		h.leave()
	case 7, 10:
		w.quorum.elect()
	case 11:
		if w.rng.IntN(8) == 0 {
			h.empty()
		}
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
	if w.quorum.leader == nil {
		w.quorum.elect()
	}
	w.at(second, w.rescue)
	begun := w.now
	acked := w.run(begun+writesFor, func() bool { return w.judge.ackedAfter(begun) })
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

// whole tells whether every replica is in sync and equal to the others, and the preferred one leads.
func (w *world) whole() bool {
	for p := range partitions {
		a := w.partition(p)
		if a.Leader != a.Replicas[0] || len(a.ISR) != len(a.Replicas) {
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
	b, _ := w.quorum.image().Broker(h.node)
	w.tracef("node %d: epoch %d, applied %d of %d, hears leader %d of %d, broker %+v", h.node, h.epoch, h.applied, w.quorum.end(), h.term, w.quorum.epoch, b)
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
