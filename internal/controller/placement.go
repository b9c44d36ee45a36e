package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// place assigns replicas of count partitions. Leaders go round robin over the
// unfenced brokers, going on where the last placement ended, so that many small topics
// spread as evenly as one large one; followers go round from there, one broker further
// with every round, so that no two brokers share all their partitions. Fenced brokers
// get replicas only where the unfenced ones do not suffice.
func (c *Core) place(count int, factor int16, placed int) ([]metadata.Partition, *Refusal) {
	var live, fenced []ids.NodeID
	for b := range c.pending.Brokers() {
		if b.Fenced {
			fenced = append(fenced, b.ID)
		} else {
			live = append(live, b.ID)
		}
	}
	if len(live) == 0 {
		return nil, refuse(kerr.InvalidReplicationFactor, "%d replicas of a partition cannot be placed: no broker is available", factor)
	}
	if int(factor) > len(live)+len(fenced) {
		return nil, refuse(kerr.InvalidReplicationFactor,
			"%d replicas of a partition cannot be placed: the cluster has %d brokers; ask for fewer replicas or add brokers", factor, len(live)+len(fenced))
	}
	parts := make([]metadata.Partition, count)
	for i := range parts {
		replicas := spread(live, placed+i, min(int(factor), len(live)))
		if missing := int(factor) - len(replicas); missing > 0 {
			replicas = append(replicas, spread(fenced, placed+i, missing)...)
		}
		parts[i] = c.newPartition(replicas)
	}
	return parts, nil
}

// spread takes n of the brokers for the i-th partition.
func spread(brokers []ids.NodeID, i, n int) []ids.NodeID {
	size := len(brokers)
	leader, round := i%size, i/size
	replicas := make([]ids.NodeID, 1, n)
	replicas[0] = brokers[leader]
	for j := range n - 1 {
		replicas = append(replicas, brokers[(leader+1+(round+j)%(size-1))%size])
	}
	return replicas
}

// newPartition begins a partition on replicas, of which at least one is available:
// all that are available are in sync, the first of them leads.
func (c *Core) newPartition(replicas []ids.NodeID) metadata.Partition {
	p := metadata.Partition{Replicas: replicas, Directories: make([]ids.DirectoryID, len(replicas))}
	for i, id := range replicas {
		b, ok := c.pending.Broker(id)
		if ok && !b.Fenced {
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
