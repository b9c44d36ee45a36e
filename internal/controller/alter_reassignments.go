package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterPartitionReassignments decides on versions 0 and 1 (Java:
// ReplicationControlManager.alterPartitionReassignments). A partition is where it is
// told to be, or the request is refused: no reassignment is ever in progress, and no
// record follows.
func (c *Core) AlterPartitionReassignments(req *kmsg.AlterPartitionAssignmentsRequest) *kmsg.AlterPartitionAssignmentsResponse {
	if len(req.Topics) == 0 {
		resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
		resp.ErrorMessage = kmsg.StringPtr("")
		return resp
	}
	return answerReassignments(req, func(topic string, p *kmsg.AlterPartitionAssignmentsRequestTopicPartition) *Refusal {
		return c.reassign(topic, p, req.Version == 0 || req.AllowReplicationFactorChange)
	})
}

func (c *Core) reassign(topic string, asked *kmsg.AlterPartitionAssignmentsRequestTopicPartition, factorMayChange bool) *Refusal {
	t, ok := c.pending.Topic(topic)
	if !ok {
		return refuse(kerr.UnknownTopicOrPartition, "there is no topic %q", topic)
	}
	if asked.Partition < 0 || int(asked.Partition) >= len(t.Partitions) {
		return refuse(kerr.UnknownTopicOrPartition, "topic %q has no partition %d", topic, asked.Partition)
	}
	if asked.Replicas == nil {
		return refuse(kerr.NoReassignmentInProgress, "partition %d of topic %q is not being reassigned", asked.Partition, topic)
	}
	nodes, refusal := c.assignable(asked.Replicas)
	if refusal != nil {
		return refusal
	}
	have := t.Partitions[asked.Partition].Replicas
	if !factorMayChange && len(nodes) != len(have) {
		return refuse(kerr.InvalidReplicationFactor, "partition %d of topic %q has %d replicas, not %d, and the request does not allow to change that",
			asked.Partition, topic, len(have), len(nodes))
	}
	if !slices.Equal(nodes, have) {
		return refuse(kerr.UnsupportedVersion, "partition %d of topic %q is on brokers %v and cannot be moved to %v: this release does not move replicas between brokers",
			asked.Partition, topic, have, nodes)
	}
	return nil
}

// answerReassignments answers every partition of a request with what judge says.
func answerReassignments(req *kmsg.AlterPartitionAssignmentsRequest, judge func(string, *kmsg.AlterPartitionAssignmentsRequestTopicPartition) *Refusal) *kmsg.AlterPartitionAssignmentsResponse {
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	for i := range req.Topics {
		asked := &req.Topics[i]
		out := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		out.Topic = asked.Topic
		for j := range asked.Partitions {
			p := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			p.Partition = asked.Partitions[j].Partition
			p.ErrorCode, p.ErrorMessage = judge(asked.Topic, &asked.Partitions[j]).wire()
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// AlterPartitionReassignmentsRefused answers a request and each of its partitions alike.
func AlterPartitionReassignmentsRefused(req *kmsg.AlterPartitionAssignmentsRequest, refusal *Refusal) *kmsg.AlterPartitionAssignmentsResponse {
	resp := answerReassignments(req, func(string, *kmsg.AlterPartitionAssignmentsRequestTopicPartition) *Refusal { return refusal })
	resp.ErrorCode, resp.ErrorMessage = refusal.wire()
	return resp
}
