package replication

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/partition"
)

// decider is the controller as brokers know it. What it decides it commits some time later, or never; then it answers, or never does.
type decider interface {
	register(node ids.NodeID, incarnation int, clean bool, answer func(epoch int64, at int))
	heartbeat(node ids.NodeID, epoch int64, seen int, stop bool, answer func(mayStop bool))
	alterPartition(req *kmsg.AlterPartitionRequest, answer func(*kmsg.AlterPartitionResponse))
}

// metadata is one state of it. It never changes.
type metadata struct {
	brokers    map[ids.NodeID]broker
	partitions []assignment
}

type broker struct {
	epoch        int64
	registeredAt int
	incarnation  int
	fenced       bool
	stopping     bool
}

func (b broker) available() bool { return !b.fenced && !b.stopping }

// assignment is what the controller knows of a partition.
type assignment struct {
	partition.State
	elr       []ids.NodeID
	lastKnown ids.NodeID // who led last, once nobody is eligible
	unclean   bool       // the leader was elected without being eligible
}

func (m *metadata) clone() *metadata {
	next := &metadata{brokers: maps.Clone(m.brokers), partitions: slices.Clone(m.partitions)}
	for i := range next.partitions {
		p := &next.partitions[i]
		p.ISR, p.elr = slices.Clone(p.ISR), slices.Clone(p.elr)
	}
	return next
}

// controller decides by the rules that controller.Core has to follow.
type controller struct {
	world   *world
	log     []*metadata // committed
	pending *metadata   // with what is decided and not committed
	term    int
	waiting int                // decisions
	lastAt  int                // when the last of them will be committed
	heard   map[ids.NodeID]int // when a broker was last heard
}

func newController(w *world, partitions []assignment) *controller {
	first := &metadata{brokers: map[ids.NodeID]broker{}, partitions: partitions}
	return &controller{world: w, log: []*metadata{first}, pending: first, heard: map[ids.NodeID]int{}}
}

func (c *controller) committed() *metadata { return c.log[len(c.log)-1] }

// decide changes the metadata, and calls then once it is committed; it is not called where another controller came first.
func (c *controller) decide(change func(*metadata), then func(at int)) {
	next := c.pending.clone()
	change(next)
	for i := range next.partitions {
		c.settle(next, &next.partitions[i], &c.pending.partitions[i])
	}
	c.pending = next
	c.waiting++
	term := c.term
	commit := func() {
		if term != c.term {
			return
		}
		c.waiting--
		c.log = append(c.log, next)
		c.world.committed(len(c.log) - 1)
		if then != nil {
			then(len(c.log) - 1)
		}
	}
	c.lastAt = max(c.lastAt, c.world.now) + 1 + c.world.rng.IntN(c.world.commitMax) // in order
	c.world.at(c.lastAt-c.world.now, commit)
}

// fail has another controller take over, which knows what was committed and has heard nobody yet.
func (c *controller) fail() {
	c.term++
	c.pending, c.waiting = c.committed(), 0
	for node := range c.heard {
		c.heard[node] = c.world.now
	}
}

// settle makes p what the rules make of a change: who leads, and who may be elected.
func (c *controller) settle(m *metadata, p, before *assignment) {
	eligibleBefore := append(slices.Clone(before.ISR), before.elr...)
	if len(p.ISR) >= min(c.world.rules.MinInSyncReplicas, len(p.Replicas)) {
		p.elr = nil
	} else {
		for _, n := range eligibleBefore {
			if !slices.Contains(p.ISR, n) && !slices.Contains(p.elr, n) && !m.brokers[n].lostTrust(c.pending.brokers[n]) {
				p.elr = append(p.elr, n)
			}
		}
	}
	if len(p.ISR)+len(p.elr) == 0 && len(eligibleBefore) > 0 {
		p.lastKnown = before.Leader
		if p.lastKnown == ids.NoNode {
			p.lastKnown = before.lastKnown
		}
		if p.lastKnown == ids.NoNode {
			p.lastKnown = eligibleBefore[0]
		}
	}
	if len(p.ISR) > 0 {
		p.lastKnown = ids.NoNode
	}
	if p.Leader == ids.NoNode || !m.brokers[p.Leader].available() || !slices.Contains(p.ISR, p.Leader) {
		c.elect(m, p)
	}
	if p.Leader != before.Leader || p.LeaderEpoch != before.LeaderEpoch || !slices.Equal(p.ISR, before.ISR) || !slices.Equal(p.elr, before.elr) || p.lastKnown != before.lastKnown {
		p.PartitionEpoch = before.PartitionEpoch + 1
	}
}

// lostTrust tells whether the broker was started since, without having stopped in order.
func (b broker) lostTrust(before broker) bool { return b.epoch != before.epoch && b.incarnation < 0 }

func (c *controller) elect(m *metadata, p *assignment) {
	old := p.Leader
	available := func(from []ids.NodeID) ids.NodeID {
		for _, n := range p.Replicas {
			if slices.Contains(from, n) && m.brokers[n].available() {
				return n
			}
		}
		return ids.NoNode
	}
	leader, alone, unclean := available(p.ISR), false, false
	if leader == ids.NoNode && len(p.ISR) == 0 {
		leader, alone = available(p.elr), true
	}
	if leader == ids.NoNode && len(p.ISR) == 0 && len(p.elr) == 0 && p.lastKnown != ids.NoNode {
		leader, unclean = available([]ids.NodeID{p.lastKnown}), c.world.rules.Durability != partition.DurabilityFsync
	}
	if leader == ids.NoNode && c.world.unclean {
		leader, alone, unclean = available(p.Replicas), true, true
	}
	if leader == old && leader == ids.NoNode {
		return
	}
	p.Leader = leader
	p.LeaderEpoch++
	p.unclean = unclean && leader != ids.NoNode
	if leader != ids.NoNode && (alone || unclean || len(p.ISR) == 0) {
		if unclean {
			p.elr = nil
		}
		p.ISR = []ids.NodeID{leader}
		p.elr = slices.DeleteFunc(p.elr, func(n ids.NodeID) bool { return n == leader })
		p.lastKnown = ids.NoNode
	}
}

// leave takes a broker out of every ISR.
func leave(m *metadata, node ids.NodeID) {
	for i := range m.partitions {
		p := &m.partitions[i]
		p.ISR = slices.DeleteFunc(p.ISR, func(n ids.NodeID) bool { return n == node })
	}
}

func (c *controller) register(node ids.NodeID, incarnation int, clean bool, answer func(epoch int64, at int)) {
	known := c.pending.brokers[node]
	if known.incarnation == incarnation || known.incarnation == -incarnation {
		if term := c.term; known.epoch > 0 {
			c.world.at(10, func() {
				if term == c.term && c.committed().brokers[node].epoch == known.epoch {
					answer(known.epoch, known.registeredAt)
				}
			})
		}
		return
	}
	if incarnation < max(known.incarnation, -known.incarnation) {
		return // of a process that has ended: its connection would have
	}
	c.heard[node] = c.world.now
	c.decide(func(m *metadata) {
		next := broker{epoch: c.world.nextEpoch(), registeredAt: len(c.log) + c.waiting, incarnation: incarnation, fenced: true}
		if !clean {
			next.incarnation = -incarnation
			for i := range m.partitions {
				p := &m.partitions[i]
				p.elr = slices.DeleteFunc(p.elr, func(n ids.NodeID) bool { return n == node })
			}
		}
		m.brokers[node] = next
		leave(m, node)
	}, func(at int) {
		b := c.committed().brokers[node]
		answer(b.epoch, b.registeredAt)
	})
}

func (c *controller) heartbeat(node ids.NodeID, epoch int64, seen int, stop bool, answer func(mayStop bool)) {
	b := c.pending.brokers[node]
	if b.epoch != epoch || epoch == 0 {
		return
	}
	c.heard[node] = c.world.now
	switch {
	case stop && !b.stopping && !b.fenced:
		c.decide(func(m *metadata) {
			b.stopping = true
			m.brokers[node] = b
			for i := range m.partitions { // but where it is the last
				p := &m.partitions[i]
				if others := slices.DeleteFunc(slices.Clone(p.ISR), func(n ids.NodeID) bool { return n == node }); len(others) > 0 {
					p.ISR = others
				}
			}
		}, nil)
	case stop:
		leads := slices.ContainsFunc(c.committed().partitions, func(p assignment) bool { return p.Leader == node })
		answer(!leads)
	case b.fenced && seen >= b.registeredAt:
		c.decide(func(m *metadata) {
			b.fenced = false
			m.brokers[node] = b
		}, nil)
	}
}

// fenceSilent fences who was not heard for a session.
func (c *controller) fenceSilent() {
	for _, node := range slices.Sorted(maps.Keys(c.pending.brokers)) {
		if b := c.pending.brokers[node]; !b.fenced && c.world.now-c.heard[node] > sessionTimeout {
			c.world.tracef("controller: fences node %d", node)
			c.decide(func(m *metadata) {
				b.fenced, b.stopping = true, false
				m.brokers[node] = b
				leave(m, node)
			}, nil)
		}
	}
}

func (c *controller) alterPartition(req *kmsg.AlterPartitionRequest, answer func(*kmsg.AlterPartitionResponse)) {
	resp := kmsg.NewPtrAlterPartitionResponse()
	if c.pending.brokers[ids.NodeID(req.BrokerID)].epoch != req.BrokerEpoch {
		resp.ErrorCode = kerr.StaleBrokerEpoch.Code
		answer(resp)
		return
	}
	var changes []func(*metadata)
	for i := range req.Topics {
		t := &req.Topics[i]
		out := kmsg.NewAlterPartitionResponseTopic()
		out.TopidID = t.TopicID
		for j := range t.Partitions {
			said := kmsg.NewAlterPartitionResponseTopicPartition()
			said.Partition = t.Partitions[j].Partition
			if err := c.checkISR(ids.NodeID(req.BrokerID), &t.Partitions[j]); err != nil {
				said.ErrorCode = err.Code
			} else {
				changes = append(changes, isrChange(&t.Partitions[j]))
			}
			out.Partitions = append(out.Partitions, said)
		}
		resp.Topics = append(resp.Topics, out)
	}
	if len(changes) == 0 {
		answer(resp)
		return
	}
	c.decide(func(m *metadata) {
		for _, change := range changes {
			change(m)
		}
	}, func(int) { answer(resp) })
}

func (c *controller) checkISR(from ids.NodeID, asked *kmsg.AlterPartitionRequestTopicPartition) *kerr.Error {
	p := &c.pending.partitions[asked.Partition]
	switch {
	case p.Leader != from || ids.LeaderEpoch(asked.LeaderEpoch) < p.LeaderEpoch:
		return kerr.FencedLeaderEpoch
	case asked.PartitionEpoch != p.PartitionEpoch:
		return kerr.InvalidUpdateVersion
	}
	for _, m := range asked.NewEpochISR {
		node := ids.NodeID(m.BrokerID)
		if !slices.Contains(p.Replicas, node) {
			return kerr.InvalidRequest
		}
		b := c.pending.brokers[node]
		if !b.available() || m.BrokerEpoch != partition.NoBrokerEpoch && m.BrokerEpoch != b.epoch {
			return kerr.IneligibleReplica
		}
	}
	return nil
}

func isrChange(asked *kmsg.AlterPartitionRequestTopicPartition) func(*metadata) {
	return func(m *metadata) {
		var isr []ids.NodeID
		for _, member := range asked.NewEpochISR {
			isr = append(isr, ids.NodeID(member.BrokerID))
		}
		m.partitions[asked.Partition].ISR = isr
	}
}
