package partition

import (
	"fmt"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/invariant"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Durability is the topic config ack.durability: what acks=all waits for on a replica.
type Durability int8

// The values of ack.durability.
const (
	DurabilityAuto  Durability = iota // the OS has it; synced too while one replica alone is in sync
	DurabilityFsync                   // synced on every in-sync replica
	DurabilityOS                      // the OS has it, as in Apache Kafka
)

// State is what the cluster metadata says of a partition.
type State struct {
	Leader         ids.NodeID
	LeaderEpoch    ids.LeaderEpoch
	PartitionEpoch int32
	Replicas, ISR  []ids.NodeID
}

// Rules are what configs ask of a partition's replication.
type Rules struct {
	Durability        Durability
	MinInSyncReplicas int
	LagMax            time.Duration // replica.lag.time.max.ms
}

// NoBrokerEpoch is the broker epoch of a broker that is not known.
const NoBrokerEpoch int64 = -1

// Standing returns the broker epoch under which a broker may be in sync as of the metadata at hand: NoBrokerEpoch
// where it is not registered, fenced or shutting down (KIP-841). It must not block.
type Standing func(ids.NodeID) int64

// Core is the pure part of a partition: events go in, the high watermark and changes of the ISR come
// out. It holds no lock, reads no clock and touches no file. core_leader.go has what a leader knows of
// its followers, core_follower.go what a follower makes of its leader's answers.
type Core struct {
	node     ids.NodeID
	standing Standing // nil: no other broker is known
	state    State
	rules    Rules

	// end and durable are exclusive: this replica's OS has all below end, its disk all below durable.
	// Invariant: durable <= end.
	end, durable ids.Offset

	// highWatermark is exclusive: all below it is what every acknowledgement of acks=all promises.
	// Invariant: highWatermark <= end; never moves back but for a truncation, and never while this replica leads.
	highWatermark ids.Offset

	leader leaderState // meaningful while this replica leads
}

// NewCore returns the core of a replica on node whose log ends at end, is durable
// below durable, and was committed up to hw when it was last open.
func NewCore(node ids.NodeID, end, durable, hw ids.Offset) Core {
	return Core{
		node:          node,
		state:         State{Leader: ids.NoNode, LeaderEpoch: ids.NoLeaderEpoch},
		end:           end,
		durable:       durable,
		highWatermark: min(hw, end),
	}
}

// SetStanding has the core ask s who may join the ISR. To be set before the first state.
func (c *Core) SetStanding(s Standing) { c.standing = s }

// SetState takes over what the metadata says at now; the core must have been told how far the log goes. A partition epoch
// older than the one at hand is stale and changes nothing; the answer tells whether it was taken.
func (c *Core) SetState(s State, now time.Time) bool {
	if s.LeaderEpoch < c.state.LeaderEpoch || s.LeaderEpoch == c.state.LeaderEpoch && s.PartitionEpoch < c.state.PartitionEpoch {
		return false
	}
	before := c.state
	c.state = s
	switch {
	case !c.Leads():
		c.leader = leaderState{}
	case s.LeaderEpoch > before.LeaderEpoch:
		c.beginToLead(now)
	case s.PartitionEpoch > before.PartitionEpoch:
		c.leader.change, c.leader.answered = nil, time.Time{} // it is part of s, or came too late for the controller
		c.leader.followers = c.followersOf(now)
	}
	return true
}

// SetRules changes what the configs ask.
func (c *Core) SetRules(r Rules) { c.rules = r }

// State returns what the metadata last said.
func (c *Core) State() State { return c.state }

// Leads tells whether this replica leads.
func (c *Core) Leads() bool { return c.state.Leader == c.node }

// End returns where this replica's log ends.
func (c *Core) End() ids.Offset { return c.end }

// HighWatermark returns how far records are committed, as far as this replica knows.
func (c *Core) HighWatermark() ids.Offset { return c.highWatermark }

// GatedBySync tells whether records become committed only once they are synced here. Where this replica
// may be the only one in sync already, because it asked for that, it counts as such.
func (c *Core) GatedBySync() bool {
	switch c.rules.Durability {
	case DurabilityFsync:
		return true
	case DurabilityOS:
		return false
	}
	return len(c.state.ISR) <= 1 || c.leader.change != nil && len(c.leader.change.ISR) <= 1
}

// NeedsSync tells whether records wait for a sync that nobody may have asked for yet: for their commit here, or
// for the leader to hear of them.
func (c *Core) NeedsSync() bool {
	if c.Leads() {
		return c.GatedBySync() && c.durable < c.end
	}
	return !c.MayFetch()
}

// Appended tells that the log now ends at end.
func (c *Core) Appended(end ids.Offset) { c.end = max(c.end, end) }

// Durable tells that all below end is synced. It must hold at the time of the call: a truncation takes it back.
func (c *Core) Durable(end ids.Offset) { c.durable = max(c.durable, min(end, c.end)) }

// Advance moves the high watermark as far as the in-sync replicas allow and returns it. It stays
// where it is while fewer than min.insync.replicas are in sync (KIP-966): whoever leaves the ISR then has
// everything that is committed, and may be elected.
func (c *Core) Advance() (ids.Offset, error) {
	if !c.Leads() {
		return c.highWatermark, nil
	}
	if len(c.state.ISR) > 0 && !slices.Contains(c.state.ISR, c.node) {
		return c.highWatermark, invariant.Check(false, "node %d leads but is not in the ISR %v", c.node, c.state.ISR)
	}
	if len(c.state.ISR) < c.inSyncMin() {
		return c.highWatermark, nil
	}
	to := c.end
	if c.GatedBySync() {
		to = min(c.end, c.durable)
	}
	for i := range c.leader.followers {
		if f := &c.leader.followers[i]; f.end < to && c.counts(f) {
			to = f.end
		}
	}
	c.highWatermark = max(c.highWatermark, to)
	return c.highWatermark, nil
}

// inSyncMin is the effective min.insync.replicas, which never asks for more than there are replicas.
func (c *Core) inSyncMin() int { return min(c.rules.MinInSyncReplicas, len(c.state.Replicas)) }

// FenceLeader checks a client's or follower's leader epoch against this replica's and
// that it leads: 74 for an older epoch, 75 for a newer one, 6 where another leads (KIP-320).
// current is -1 where the request carries none.
func (c *Core) FenceLeader(current ids.LeaderEpoch) error {
	if err := c.FenceEpoch(current); err != nil {
		return err
	}
	if !c.Leads() {
		return kerr.NotLeaderForPartition
	}
	return nil
}

// FenceEpoch is FenceLeader for who reads of any replica.
func (c *Core) FenceEpoch(current ids.LeaderEpoch) error {
	switch {
	case current == ids.NoLeaderEpoch || current == c.state.LeaderEpoch:
		return nil
	case current < c.state.LeaderEpoch:
		return kerr.FencedLeaderEpoch
	default:
		return kerr.UnknownLeaderEpoch
	}
}

// EnoughInSync checks min.insync.replicas (error 19).
func (c *Core) EnoughInSync() error {
	if need := c.inSyncMin(); len(c.state.ISR) < need {
		return fmt.Errorf("%d of at least %d replicas are in sync: %w", len(c.state.ISR), need, kerr.NotEnoughReplicas)
	}
	return nil
}
