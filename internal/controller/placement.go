package controller

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// place assigns replicas of count partitions. Leaders go round robin over the brokers
// at work, going on where the last placement ended, so that many small topics spread as
// evenly as one large one; followers go round from there, one broker further with every
// round, so that no two brokers share all their partitions. Replicas of a partition are
// in as many racks as there are. Brokers that are not at work get replicas only where
// the others do not suffice.
func (c *Core) place(count int, factor int16, placed int) ([]metadata.Partition, *Refusal) {
	var live, fenced []*metadata.Broker
	for b := range c.pending.Brokers() {
		if b.Active() {
			live = append(live, b)
		} else {
			fenced = append(fenced, b)
		}
	}
	if len(live) == 0 {
		return nil, refuse(kerr.InvalidReplicationFactor, "%d replicas of a partition cannot be placed: no broker is available", factor)
	}
	if int(factor) > len(live)+len(fenced) {
		return nil, refuse(kerr.InvalidReplicationFactor,
			"%d replicas of a partition cannot be placed: the cluster has %d brokers; ask for fewer replicas or add brokers", factor, len(live)+len(fenced))
	}
	if refusal := c.checkFactor(int(factor)); refusal != nil {
		return nil, refusal
	}
	live, fenced = alternateRacks(live), alternateRacks(fenced)
	parts := make([]metadata.Partition, count)
	for i := range parts {
		var s spread
		s.over(live, placed+i, int(factor))
		s.over(fenced, placed+i, int(factor))
		parts[i] = c.newPartition(s.replicas)
	}
	return parts, nil
}

// checkFactor refuses more replicas than this cluster can keep.
func (c *Core) checkFactor(factor int) *Refusal {
	if most := int(c.config.ReplicationMax); most > 0 && factor > most {
		return refuse(kerr.InvalidReplicationFactor, "a partition is to have %d replicas: this release keeps at most %d", factor, most)
	}
	return nil
}

// alternateRacks sorts brokers so that neighbours are in different racks: the first of
// each rack, then the second of each. With racks of equal size every broker then gets
// equally many replicas.
func alternateRacks(brokers []*metadata.Broker) []*metadata.Broker {
	racks := make(map[string][]*metadata.Broker)
	for _, b := range brokers {
		racks[rackOf(b)] = append(racks[rackOf(b)], b)
	}
	names := slices.Sorted(maps.Keys(racks))
	out := make([]*metadata.Broker, 0, len(brokers))
	for i := 0; len(out) < len(brokers); i++ {
		for _, name := range names {
			if i < len(racks[name]) {
				out = append(out, racks[name][i])
			}
		}
	}
	return out
}

// rackOf returns a broker's rack; all brokers without one are in one.
func rackOf(b *metadata.Broker) string {
	if b.Rack == nil {
		return ""
	}
	return *b.Rack
}

// spread is the replicas of one partition on their way.
type spread struct {
	replicas []ids.NodeID
	racks    []string // that have as many replicas as any
}

// over adds replicas on brokers for the i-th partition, up to factor in all: first one
// in each rack that has fewer than others.
func (s *spread) over(brokers []*metadata.Broker, i, factor int) {
	size := len(brokers)
	if size == 0 {
		return
	}
	leader, round := i%size, i/size
	left := []*metadata.Broker{brokers[leader]}
	for j := range size - 1 {
		left = append(left, brokers[(leader+1+(round+j)%(size-1))%size])
	}
	for len(s.replicas) < factor && len(left) > 0 {
		at := slices.IndexFunc(left, func(b *metadata.Broker) bool { return !slices.Contains(s.racks, rackOf(b)) })
		if at < 0 {
			s.racks = s.racks[:0]
			continue
		}
		s.replicas = append(s.replicas, left[at].ID)
		s.racks = append(s.racks, rackOf(left[at]))
		left = slices.Delete(left, at, at+1)
	}
}

// newPartition begins a partition on replicas, of which at least one is available:
// all that are available are in sync, the first of them leads.
func (c *Core) newPartition(replicas []ids.NodeID) metadata.Partition {
	p := metadata.Partition{Replicas: replicas, Directories: make([]ids.DirectoryID, len(replicas))}
	for i, id := range replicas {
		b, ok := c.pending.Broker(id)
		if ok && b.Active() {
			p.ISR = append(p.ISR, id)
		}
		// A broker with several directories chooses for itself (KIP-858).
		p.Directories[i] = metadata.UnassignedDirectory
		if ok && len(b.Dirs) == 1 {
			p.Directories[i] = b.Dirs[0]
		}
	}
	p.Leader = ids.NoNode
	if len(p.ISR) > 0 {
		p.Leader = p.ISR[0]
	}
	return p
}

// assign makes the partition that a client has assigned by hand. factor is the
// replication factor that it must have, 0 for any.
func (c *Core) assign(replicas []int32, factor int) (metadata.Partition, *Refusal) {
	nodes, refusal := c.assignable(replicas)
	if refusal != nil {
		return metadata.Partition{}, refusal
	}
	if factor != 0 && len(nodes) != factor {
		return metadata.Partition{}, refuse(kerr.InvalidReplicaAssignment,
			"a partition is assigned %d replicas where others of the topic have %d", len(nodes), factor)
	}
	if refusal := c.checkFactor(len(nodes)); refusal != nil {
		return metadata.Partition{}, refusal
	}
	p := c.newPartition(nodes)
	if p.Leader == ids.NoNode {
		return p, refuse(kerr.InvalidReplicaAssignment, "a partition is assigned to brokers %v, none of which is available", replicas)
	}
	return p, nil
}

// assignable returns the brokers of an assignment, each registered and there once.
func (c *Core) assignable(replicas []int32) ([]ids.NodeID, *Refusal) {
	if len(replicas) == 0 {
		return nil, refuse(kerr.InvalidReplicaAssignment, "a partition is assigned to no broker")
	}
	nodes := make([]ids.NodeID, len(replicas))
	for i, r := range replicas {
		nodes[i] = ids.NodeID(r)
		if slices.Contains(nodes[:i], nodes[i]) {
			return nil, refuse(kerr.InvalidReplicaAssignment, "a partition is assigned to broker %d twice", r)
		}
		if _, ok := c.pending.Broker(nodes[i]); !ok {
			return nil, refuse(kerr.InvalidReplicaAssignment, "a partition is assigned to broker %d, which is not registered", r)
		}
	}
	return nodes, nil
}

func partitionRecords(id ids.TopicID, first int, parts []metadata.Partition) []metadata.Record {
	recs := make([]metadata.Record, len(parts))
	for i := range parts {
		recs[i] = &metadata.PartitionRecord{TopicID: id, PartitionID: int32(first + i), Partition: parts[i]}
	}
	return recs
}
