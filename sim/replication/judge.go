package replication

import (
	"fmt"
	"slices"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/partition"
)

// judge remembers what replicas have shown, and finds what cannot be.
type judge struct {
	world      *world
	partitions []judged
	acks       int
	failure    error // the first one
}

// judged is what is known of one partition.
type judged struct {
	leaders   map[ids.LeaderEpoch]ids.NodeID
	committed []recordID        // by offset: what lay below a high watermark
	acked     []ids.LeaderEpoch // by offset: of whom acknowledged it first; NoLeaderEpoch where nobody has
	lastAck   int               // when

	// An unclean election may lose what was committed: what leaders of epochs before unclean say does not count, from
	// the moment on at which it was decided.
	unclean ids.LeaderEpoch
	begun   bool // somebody has begun to lead in it, or later
	lossy   int  // unclean elections
}

func newJudge(w *world, partitions int) *judge {
	j := &judge{world: w, partitions: make([]judged, partitions)}
	for p := range j.partitions {
		j.partitions[p] = judged{leaders: map[ids.LeaderEpoch]ids.NodeID{}, unclean: ids.NoLeaderEpoch, begun: true}
	}
	return j
}

func (j *judge) fail(format string, args ...any) {
	if j.failure == nil {
		j.failure = fmt.Errorf(format, args...)
		j.world.tracef("%v", j.failure)
	}
}

// leads is told of a replica that begins to lead in an epoch.
func (j *judge) leads(h *host, r *held) {
	known, epoch := &j.partitions[r.number], r.core.State().LeaderEpoch
	if other, found := known.leaders[epoch]; found && other != h.node {
		j.fail("partition %d: nodes %d and %d both lead in epoch %d", r.number, other, h.node, epoch)
	}
	known.leaders[epoch] = h.node
	if epoch < known.unclean {
		return
	}
	if !known.begun {
		known.begun = true
		known.giveUp(r)
	}
	for o := len(known.acked) - 1; o >= 0; o-- {
		if by := known.acked[o]; by == ids.NoLeaderEpoch || by > epoch || ids.Offset(o) < r.disk.start {
			continue // by > epoch: it begins long after it was succeeded
		}
		if got, ok := r.disk.at(ids.Offset(o)); !ok || got != known.committed[o] {
			j.fail("partition %d: node %d begins to lead in epoch %d, its log has %d to %d, and what was acknowledged at %d is %+v, not %+v", r.number, h.node, epoch, r.disk.start, r.disk.end(), o, known.committed[o], got)
			return
		}
	}
}

// giveUp forgets what an unclean leader does not have, and takes over what it calls committed.
func (k *judged) giveUp(r *held) {
	for o := range k.committed {
		if got, ok := r.disk.at(ids.Offset(o)); ids.Offset(o) >= r.disk.start && (!ok || got != k.committed[o]) {
			k.committed = k.committed[:o:o]
			k.acked = k.acked[:min(o, len(k.acked))]
			break
		}
	}
	for o := ids.Offset(len(k.committed)); o < r.core.HighWatermark(); o++ {
		got, _ := r.disk.at(o) // the zero value where it has it no more
		k.committed = append(k.committed, got)
	}
}

// counts tells whether what a replica says of its epoch counts.
func (k *judged) counts(r *held) bool { return r.core.State().LeaderEpoch >= k.unclean }

// saw looks at a replica's high watermark.
func (j *judge) saw(h *host, r *held) {
	hw, before := r.core.HighWatermark(), r.shown
	known := &j.partitions[r.number]
	r.shown = hw
	if hw > r.disk.end() {
		j.fail("partition %d: node %d has a high watermark of %d and ends at %d", r.number, h.node, hw, r.disk.end())
	}
	if !known.counts(r) {
		return
	}
	if hw < before && r.judged >= known.unclean {
		j.fail("partition %d: the high watermark of node %d goes back from %d to %d", r.number, h.node, before, hw)
	}
	if hw <= before {
		return
	}
	r.judged = r.core.State().LeaderEpoch
	if r.core.Leads() {
		j.sawAdvance(h, r)
	}
	for o := max(before, r.disk.start); o < hw; o++ {
		got, _ := r.disk.at(o)
		switch n := ids.Offset(len(known.committed)); {
		case o < n && known.committed[o] == recordID{}:
			known.committed[o] = got
		case o < n && known.committed[o] != got:
			j.fail("partition %d: at %d node %d, in epoch %d, has %+v below its high watermark, and %+v was committed there", r.number, o, h.node, r.judged, got, known.committed[o])
			return
		case o == n:
			known.committed = append(known.committed, got)
		case o > n:
			j.fail("partition %d: node %d has a high watermark of %d, and nobody one above %d", r.number, h.node, hw, n)
			return
		}
	}
}

// sawAdvance looks at a leader whose high watermark has moved.
func (j *judge) sawAdvance(h *host, r *held) {
	s, rules := r.core.State(), r.rules
	if need := min(rules.MinInSyncReplicas, len(s.Replicas)); len(s.ISR) < need {
		j.fail("partition %d: node %d commits with %v in sync, and %d have to be", r.number, h.node, s.ISR, need)
	}
	alone := rules.Durability == partition.DurabilityAuto && len(s.ISR) == 1
	if (alone || rules.Durability == partition.DurabilityFsync) && r.core.HighWatermark() > r.disk.durable {
		j.fail("partition %d: node %d commits up to %d, and has synced up to %d", r.number, h.node, r.core.HighWatermark(), r.disk.durable)
	}
}

// truncated looks at a log that was cut.
func (j *judge) truncated(h *host, r *held, lost bool) {
	known := &j.partitions[r.number]
	if lost && known.counts(r) && r.judged >= known.unclean {
		j.fail("partition %d: node %d, in epoch %d, cuts below its high watermark, to %d", r.number, h.node, r.core.State().LeaderEpoch, r.disk.end())
	}
	r.shown = r.core.HighWatermark()
}

// acknowledged looks at records that a producer is told are safe.
func (j *judge) acknowledged(h *host, r *held, a waiter) {
	known := &j.partitions[r.number]
	if !known.counts(r) || known.lossy > 0 && !known.begun {
		return
	}
	j.acks++
	known.lastAck = j.world.now
	for len(known.acked) < int(a.to) {
		known.acked = append(known.acked, ids.NoLeaderEpoch)
	}
	if got, ok := r.disk.at(a.from); ok && got != a.first {
		j.fail("partition %d: node %d acknowledges %+v at %d, where it has %+v", r.number, h.node, a.first, a.from, got)
		return
	}
	decided := j.world.partition(r.number)
	for o := a.from; o < a.to && int(o) < len(known.committed); o++ {
		if known.acked[o] == ids.NoLeaderEpoch {
			known.acked[o] = r.core.State().LeaderEpoch
		}
		copies := 0
		for _, node := range decided.Replicas {
			has := j.world.hosts[node].keeps(r.number, o, known.committed[o], h.applied)
			if has {
				copies++
			}
			if !has && slices.Contains(decided.ISR, node) {
				j.fail("partition %d: node %d, in epoch %d, acknowledges what lies at %d, and node %d, in sync as of epoch %d.%d, does not have it", r.number, h.node, r.core.State().LeaderEpoch, o, node, decided.LeaderEpoch, decided.PartitionEpoch)
				return
			}
		}
		if need := min(r.rules.MinInSyncReplicas, len(decided.Replicas)); copies < need {
			j.fail("partition %d: node %d acknowledges what lies at %d, and %d replicas have it, not %d", r.number, h.node, o, copies, need)
			return
		}
	}
}

// keeps tells whether a host has a record, as acks=all promises. One that has lost records since a leader last heard of its
// registration, with the metadata of seen, had it when that counted it.
func (h *host) keeps(p int, o ids.Offset, want recordID, seen int) bool {
	d := h.disks[p]
	got, ok := d.at(o)
	switch {
	case o < d.start:
		return true
	case h.world.rules.Durability == partition.DurabilityFsync && !h.world.emptied:
		return ok && got == want && o < d.durable
	}
	return ok && got == want || h.lost || seen < h.lostAt
}

// look is called after every event.
func (j *judge) look() {
	for _, h := range j.world.hosts {
		if h.process == nil {
			continue
		}
		for _, r := range h.replicas {
			if r == nil {
				continue
			}
			if r.core.HighWatermark() != r.shown {
				j.saw(h, r)
			}
			now := r.core.State()
			if now.LeaderEpoch < r.state.LeaderEpoch || now.PartitionEpoch < r.state.PartitionEpoch {
				j.fail("partition %d: node %d goes back from epoch %d.%d to %d.%d", r.number, h.node, r.state.LeaderEpoch, r.state.PartitionEpoch, now.LeaderEpoch, now.PartitionEpoch)
			}
			r.state = now
		}
	}
}

// ackedAfter tells whether every partition has acknowledged something since.
func (j *judge) ackedAfter(when int) bool {
	for p := range j.partitions {
		if j.partitions[p].lastAck < when {
			return false
		}
	}
	return true
}
