package group

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumerType is the type of consumer groups in ListGroups.
const consumerType = "consumer"

// Values of MemberType in ConsumerGroupDescribe (KIP-1099).
const (
	memberTypeClassic  int8 = 0
	memberTypeConsumer int8 = 1
)

// describeConsumerGroups: v0-v1
//
//	v1 member type (KIP-1099)
//
// The authorized operations are the caller's to fill in.
func (s *Shard) describeConsumerGroups(m *kmsg.ConsumerGroupDescribeRequest) *kmsg.ConsumerGroupDescribeResponse {
	resp := kmsg.NewPtrConsumerGroupDescribeResponse()
	resp.Version = m.Version
	for _, name := range m.Groups {
		resp.Groups = append(resp.Groups, s.describeConsumerGroup(name))
	}
	return resp
}

func (s *Shard) describeConsumerGroup(name string) kmsg.ConsumerGroupDescribeResponseGroup {
	resp := kmsg.NewConsumerGroupDescribeResponseGroup()
	resp.Group = name
	g := s.consumers[name]
	if g == nil {
		message := s.notConsumer(name)
		resp.ErrorCode, resp.ErrorMessage = kerr.GroupIDNotFound.Code, &message
		return resp
	}
	resp.State, resp.Epoch, resp.AssignmentEpoch = string(g.state()), g.epoch, g.targetEpoch
	resp.AssignorName = (&groupChange{group: g}).preferredAssignor(s.assignors())
	for _, id := range slices.Sorted(maps.Keys(g.members)) {
		m := g.members[id]
		described := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		described.MemberID, described.InstanceID, described.RackID = m.id, m.instanceID, m.rackID
		described.ClientID, described.ClientHost, described.MemberEpoch = m.clientID, m.clientHost, m.epoch
		described.SubscribedTopics, described.SubscribedTopicRegex = m.topics, &m.regex
		described.Assignment = s.describeAssignment(m.assigned)
		described.TargetAssignment = s.describeAssignment(g.target[id])
		described.MemberType = memberTypeConsumer
		if m.classic != nil {
			described.MemberType = memberTypeClassic
		}
		resp.Members = append(resp.Members, described)
	}
	return resp
}

// describeAssignment leaves out topics that are no more.
func (s *Shard) describeAssignment(a assignment) kmsg.Assignment {
	out := kmsg.NewAssignment()
	img := s.image()
	for _, t := range a {
		topic, ok := img.TopicByID(t.topic)
		if !ok {
			continue
		}
		described := kmsg.NewAssignmentTopicPartition()
		described.TopicID, described.Topic, described.Partitions = t.topic, topic.Name, t.partitions
		out.TopicPartitions = append(out.TopicPartitions, described)
	}
	return out
}
