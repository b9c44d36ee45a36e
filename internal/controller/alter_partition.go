package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// AlterPartition decides on version 3: the leader of a partition says who is in sync
// (KIP-497, KIP-841, KIP-903; Java: ReplicationControlManager.alterPartition).
func (c *Core) AlterPartition(req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, []metadata.Record) {
	leader := ids.NodeID(req.BrokerID)
	if refusal := c.checkBrokerEpoch(leader, req.BrokerEpoch); refusal != nil {
		return AlterPartitionRefused(req, refusal), nil
	}
	if !c.replicates() {
		return AlterPartitionRefused(req, refuse(kerr.UnsupportedVersion, "the cluster's %s is %d, in-sync replicas change from %d on",
			metadata.VersionFeature, c.level(), metadata.ReplicationVersion)), nil
	}
	resp := kmsg.NewPtrAlterPartitionResponse()
	var recs []metadata.Record
	decided := make(map[*metadata.Partition]bool)
	for i := range req.Topics {
		topic := &req.Topics[i]
		out := kmsg.NewAlterPartitionResponseTopic()
		out.TopidID = topic.TopicID
		for j := range topic.Partitions {
			asked := &topic.Partitions[j]
			answer := kmsg.NewAlterPartitionResponseTopicPartition()
			answer.Partition = asked.Partition
			if t, p, refusal := c.alterable(leader, topic.TopicID, asked); refusal != nil {
				answer.ErrorCode = refusal.Code.Code
			} else if decided[p] {
				answer.ErrorCode = kerr.InvalidUpdateVersion.Code
			} else {
				decided[p] = true
				recs = c.alter(recs, t, p, asked, &answer)
			}
			out.Partitions = append(out.Partitions, answer)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, recs
}

// alterable returns the partition that the leader asks to change, where it may.
func (c *Core) alterable(leader ids.NodeID, id ids.TopicID, asked *kmsg.AlterPartitionRequestTopicPartition) (*metadata.Topic, *metadata.Partition, *Refusal) {
	t, ok := c.pending.TopicByID(id)
	if !ok {
		return nil, nil, refuse(kerr.UnknownTopicID, "no topic has id %s", id)
	}
	if asked.Partition < 0 || int(asked.Partition) >= len(t.Partitions) {
		return nil, nil, refuse(kerr.UnknownTopicOrPartition, "topic %q has no partition %d", t.Name, asked.Partition)
	}
	p := &t.Partitions[asked.Partition]
	epoch := ids.LeaderEpoch(asked.LeaderEpoch)
	switch {
	case epoch > p.LeaderEpoch || asked.PartitionEpoch > p.PartitionEpoch:
		return nil, nil, refuse(kerr.NotController, "partition %d of topic %q is newer than this controller knows", asked.Partition, t.Name)
	case epoch < p.LeaderEpoch:
		return nil, nil, refuse(kerr.FencedLeaderEpoch, "partition %d of topic %q has leader epoch %d, not %d", asked.Partition, t.Name, p.LeaderEpoch, epoch)
	case p.Leader != leader:
		return nil, nil, refuse(kerr.InvalidRequest, "broker %d does not lead partition %d of topic %q", leader, asked.Partition, t.Name)
	case asked.PartitionEpoch < p.PartitionEpoch:
		return nil, nil, refuse(kerr.InvalidUpdateVersion, "partition %d of topic %q has partition epoch %d, not %d", asked.Partition, t.Name, p.PartitionEpoch, asked.PartitionEpoch)
	case asked.LeaderRecoveryState != 0:
		return nil, nil, refuse(kerr.InvalidRequest, "partition %d of topic %q has no leader that recovers", asked.Partition, t.Name)
	}
	return t, p, c.checkISR(p, asked.NewEpochISR)
}

// checkISR judges who is to be in sync: replicas, each once and at work, the leader among them.
func (c *Core) checkISR(p *metadata.Partition, isr []kmsg.AlterPartitionRequestTopicPartitionNewEpochISR) *Refusal {
	nodes := isrNodes(isr)
	if !slices.Contains(nodes, p.Leader) {
		return refuse(kerr.InvalidRequest, "the leader, %d, is not among the in-sync replicas %v", p.Leader, nodes)
	}
	for i, id := range nodes {
		if !slices.Contains(p.Replicas, id) || slices.Contains(nodes[:i], id) {
			return refuse(kerr.InvalidRequest, "in-sync replicas %v are not some of the replicas %v, each once", nodes, p.Replicas)
		}
	}
	for i, id := range nodes {
		b, ok := c.settled(id)
		if !ok || !b.Active() || isr[i].BrokerEpoch != -1 && isr[i].BrokerEpoch != b.Epoch {
			return refuse(kerr.IneligibleReplica, "broker %d of epoch %d is not at work", id, isr[i].BrokerEpoch)
		}
		if !slices.Contains(p.ISR, id) && !c.pending.MayJoin(b, p) {
			return refuse(kerr.IneligibleReplica, "the directory of broker %d's replica is offline or full", id)
		}
	}
	return nil
}

func isrNodes(isr []kmsg.AlterPartitionRequestTopicPartitionNewEpochISR) []ids.NodeID {
	nodes := make([]ids.NodeID, len(isr))
	for i := range isr {
		nodes[i] = ids.NodeID(isr[i].BrokerID)
	}
	return nodes
}

// alter changes one partition, and answers with what it is afterwards.
func (c *Core) alter(recs []metadata.Record, t *metadata.Topic, p *metadata.Partition, asked *kmsg.AlterPartitionRequestTopicPartition,
	answer *kmsg.AlterPartitionResponseTopicPartition,
) []metadata.Record {
	ch := c.change(t, p)
	ch.isr = isrNodes(asked.NewEpochISR)
	answer.LeaderID, answer.LeaderEpoch, answer.PartitionEpoch = int32(p.Leader), int32(p.LeaderEpoch), p.PartitionEpoch
	for _, id := range ch.isr {
		answer.ISR = append(answer.ISR, int32(id))
	}
	made := ch.appendTo(recs, t, int(asked.Partition))
	if len(made) > len(recs) {
		answer.PartitionEpoch++
	}
	return made
}

// AlterPartitionRefused answers a request of which nothing is granted.
func AlterPartitionRefused(_ *kmsg.AlterPartitionRequest, refusal *Refusal) *kmsg.AlterPartitionResponse {
	resp := kmsg.NewPtrAlterPartitionResponse()
	resp.ErrorCode, _ = refusal.wire()
	return resp
}
