package partition

import (
	"fmt"
	"slices"

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

// Core is the pure part of a partition: events go in, the high watermark comes
// out. It holds no lock, reads no clock and touches no file.
type Core struct {
	node       ids.NodeID
	state      State
	durability Durability

	// end and durable are exclusive: this replica's OS has all below end, its disk all below durable.
	// Invariant: durable <= end while this replica leads.
	end, durable ids.Offset

	// highWatermark is exclusive: all below it is what every acknowledgement of acks=all promises.
	// Invariant: highWatermark <= end; never moves back while this replica leads.
	highWatermark ids.Offset
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

// SetState takes over what the metadata says. A partition epoch older than the one
// at hand is stale and changes nothing; the answer tells whether it was taken.
func (c *Core) SetState(s State) bool {
	if s.LeaderEpoch < c.state.LeaderEpoch || s.LeaderEpoch == c.state.LeaderEpoch && s.PartitionEpoch < c.state.PartitionEpoch {
		return false
	}
	c.state = s
	return true
}

// SetDurability changes what acks=all waits for.
func (c *Core) SetDurability(d Durability) { c.durability = d }

// Leads tells whether this replica leads.
func (c *Core) Leads() bool { return c.state.Leader == c.node }

// GatedBySync tells whether records become committed only once they are synced here.
func (c *Core) GatedBySync() bool {
	switch c.durability {
	case DurabilityFsync:
		return true
	case DurabilityOS:
		return false
	}
	return len(c.state.ISR) <= 1
}

// NeedsSync tells whether records wait for a sync that nobody may have asked for yet.
func (c *Core) NeedsSync() bool { return c.Leads() && c.GatedBySync() && c.durable < c.end }

// Appended tells that the log now ends at end.
func (c *Core) Appended(end ids.Offset) { c.end = max(c.end, end) }

// Durable tells that all below end is synced.
func (c *Core) Durable(end ids.Offset) { c.durable = max(c.durable, end) }

// Advance moves the high watermark as far as the in-sync replicas allow and returns it.
func (c *Core) Advance() (ids.Offset, error) {
	if !c.Leads() {
		return c.highWatermark, nil
	}
	if len(c.state.ISR) > 0 && !slices.Contains(c.state.ISR, c.node) {
		return c.highWatermark, invariant.Check(false, "node %d leads but is not in the ISR %v", c.node, c.state.ISR)
	}
	to := c.end
	if c.GatedBySync() {
		to = min(c.end, c.durable)
	}
	c.highWatermark = max(c.highWatermark, to)
	return c.highWatermark, nil
}

// FenceLeader checks a client's or follower's leader epoch against this replica's and
// that it leads: 74 for an older epoch, 75 for a newer one, 6 where another leads (KIP-320).
// current is -1 where the request carries none.
func (c *Core) FenceLeader(current ids.LeaderEpoch) error {
	if current != ids.NoLeaderEpoch {
		if current < c.state.LeaderEpoch {
			return kerr.FencedLeaderEpoch
		}
		if current > c.state.LeaderEpoch {
			return kerr.UnknownLeaderEpoch
		}
	}
	if !c.Leads() {
		return kerr.NotLeaderForPartition
	}
	return nil
}

// EnoughInSync checks min.insync.replicas, which never asks for more than there are
// replicas (error 19).
func (c *Core) EnoughInSync(minISR int) error {
	if need := min(minISR, len(c.state.Replicas)); len(c.state.ISR) < need {
		return fmt.Errorf("%d of at least %d replicas are in sync: %w", len(c.state.ISR), need, kerr.NotEnoughReplicas)
	}
	return nil
}
