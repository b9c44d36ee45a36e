package behaviour

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A part is a partition of a topic.
type part struct {
	topic  [16]byte
	number int32
}

type parts map[part]bool

// of returns how many of them are of a topic.
func (p parts) of(topic [16]byte) (n int) {
	for at := range p {
		if at.topic == topic {
			n++
		}
	}
	return n
}

// request is how a member says that it has them.
func (p parts) request() []kmsg.ConsumerGroupHeartbeatRequestTopic {
	topics := []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for at := range p {
		i := slices.IndexFunc(topics, func(t kmsg.ConsumerGroupHeartbeatRequestTopic) bool { return t.TopicID == at.topic })
		if i < 0 {
			i, topics = len(topics), append(topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: at.topic})
		}
		topics[i].Partitions = append(topics[i].Partitions, at.number)
	}
	return topics
}

// A consumer is a member of a consumer group (KIP-848), with a connection of its own.
type consumer struct {
	*conn
	b         *broker
	group     string
	id        string
	instance  *string // of a static member
	topics    []string
	regex     *string
	assignor  *string
	rebalance time.Duration

	// What the broker said.
	epoch    int32
	interval int32
	assigned parts // as it was last told
}

// consumer returns a member that has not joined yet.
func (b *broker) consumer(group string, topics ...string) *consumer {
	return &consumer{conn: dial(b.T), b: b, group: group, id: b.name(), topics: append([]string{}, topics...), rebalance: long, assigned: parts{}}
}

// consumers returns n members to be of one new group. It has a committed offset, as those of members have.
func (b *broker) consumers(n int, topics ...string) []*consumer {
	b.Helper()
	group := b.newGroup()
	b.is("committing", b.commit(group, offsetsTopic, 0), nil)
	var all []*consumer
	for range n {
		all = append(all, b.consumer(group, topics...))
	}
	return all
}

func (c *consumer) static(instance string) *consumer { c.instance = &instance; return c }
func (c *consumer) matches(regex string) *consumer   { c.regex = &regex; return c }
func (c *consumer) asks(assignor string) *consumer   { c.assignor = &assignor; return c }

// again is another process with the same settings, which knows nothing.
func (c *consumer) again() *consumer {
	other := *c
	other.conn, other.id, other.epoch, other.assigned = dial(c.t), c.b.name(), 0, parts{}
	return &other
}

// joinRequest is the first heartbeat of a member: it says everything.
func (c *consumer) joinRequest() *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.InstanceID, req.ServerAssignor = c.group, c.id, c.instance, c.assignor
	req.RebalanceTimeoutMillis = int32(c.rebalance.Milliseconds())
	req.SubscribedTopicNames, req.SubscribedTopicRegex = c.topics, c.regex
	req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	return req
}

// beatRequest is a later heartbeat. What it does not say has not changed.
func (c *consumer) beatRequest() *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.InstanceID, req.MemberEpoch = c.group, c.id, c.instance, c.epoch
	return req
}

// said takes over what the broker answers, which must be no error.
func (c *consumer) said(what string, resp *kmsg.ConsumerGroupHeartbeatResponse) {
	c.b.Helper()
	c.b.is(what, resp.ErrorCode, nil)
	c.epoch, c.interval = resp.MemberEpoch, resp.HeartbeatIntervalMillis
	if resp.Assignment == nil {
		return
	}
	c.assigned = parts{}
	for _, t := range resp.Assignment.Topics {
		for _, p := range t.Partitions {
			c.assigned[part{t.TopicID, p}] = true
		}
	}
}

func (c *consumer) join() {
	c.b.Helper()
	c.said("joining", ask(c, c.joinRequest()))
}

// beat sends a heartbeat of a member that has given up what it was told to.
func (c *consumer) beat() {
	c.b.Helper()
	req := c.beatRequest()
	req.Topics = c.assigned.request()
	c.said("a heartbeat", ask(c, req))
}

// idle sends a heartbeat that says nothing, as one that is not done with giving up does.
func (c *consumer) idle() {
	c.b.Helper()
	c.said("a heartbeat", ask(c, c.beatRequest()))
}

// refused sends a heartbeat, which must fail.
func (c *consumer) refused(req *kmsg.ConsumerGroupHeartbeatRequest, want *kerr.Error) *kmsg.ConsumerGroupHeartbeatResponse {
	c.b.Helper()
	resp := ask(c, req)
	c.b.is("a heartbeat", resp.ErrorCode, want)
	same(c.b, "it says why", valueOf(resp.ErrorMessage) != "null", true)
	return resp
}

// gone fails the case unless the broker does not know the member any more.
func (c *consumer) gone() { c.b.Helper(); c.refused(c.beatRequest(), kerr.UnknownMemberID) }

// leave leaves with an epoch: -1 for good, -2 to come back.
func (c *consumer) leave(epoch int32) {
	c.b.Helper()
	req := c.beatRequest()
	req.MemberEpoch = epoch
	resp := ask(c, req)
	c.b.is("leaving", resp.ErrorCode, nil)
	same(c.b, "the epoch of who leaves", resp.MemberEpoch, epoch)
}

// count returns how many partitions of a topic the member was last told that it has.
func (c *consumer) count(topic string) int {
	c.b.Helper()
	return c.assigned.of(c.b.describeTopic(topic).TopicID)
}

// commit commits an offset of partition 0 in an epoch.
func (c *consumer) commit(topic string, offset int64, epoch int32) int16 {
	c.b.Helper()
	req := commitRequest(c.group, commit{topic: topic, offset: offset, epoch: -1})
	req.MemberID, req.InstanceID, req.Generation = c.id, c.instance, epoch
	return only(c.b, codes(ask(c, req)))
}

// apart fails the case where two members have a partition, and returns how many partitions they have in all.
func (b *broker) apart(members ...*consumer) int {
	b.Helper()
	owners := map[part]string{}
	for _, c := range members {
		for at := range c.assigned {
			if other, taken := owners[at]; taken {
				b.Fatalf("partition %d is with %s and with %s", at.number, other, c.id)
			}
			owners[at] = c.id
		}
	}
	return len(owners)
}

// reconciled has members send heartbeats until the group is stable and each is in its epoch.
func (b *broker) reconciled(members ...*consumer) {
	b.Helper()
	b.until("the group is stable", func() bool {
		for _, c := range members {
			c.beat()
			b.apart(members...)
		}
		group := b.describeConsumers(members[0].group)
		if group.State != "Stable" || len(group.Members) != len(members) {
			return false
		}
		for _, c := range members {
			if c.epoch != group.Epoch {
				return false
			}
		}
		return true
	})
}

// gathered joins members to their group and lets them share.
func (b *broker) gathered(members ...*consumer) {
	b.Helper()
	for _, c := range members {
		c.join()
	}
	b.reconciled(members...)
}

// describeConsumers returns a consumer group.
func (b *broker) describeConsumers(group string) kmsg.ConsumerGroupDescribeResponseGroup {
	b.Helper()
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = []string{group}
	return only(b, ask(b, req).Groups)
}

// described returns the member of a group as the group describes it.
func (c *consumer) described() kmsg.ConsumerGroupDescribeResponseGroupMember {
	c.b.Helper()
	group := c.b.describeConsumers(c.group)
	c.b.is("describing", group.ErrorCode, nil)
	for _, m := range group.Members {
		if m.MemberID == c.id {
			return m
		}
	}
	c.b.Fatalf("%s is not a member of %s", c.id, c.group)
	panic("unreachable")
}

// partsOf are the partitions that a description speaks of.
func partsOf(a kmsg.Assignment) parts {
	all := parts{}
	for _, t := range a.TopicPartitions {
		for _, p := range t.Partitions {
			all[part{t.TopicID, p}] = true
		}
	}
	return all
}

// equal tells whether the partitions are the same.
func (p parts) equal(other parts) bool {
	for at := range p {
		if !other[at] {
			return false
		}
	}
	return len(p) == len(other)
}

const groupKind = kmsg.ConfigResourceTypeGroupConfig

// setGroup sets configs, name=value, of a group and waits until they are described so.
func (b *broker) setGroup(group string, configs ...string) {
	b.Helper()
	var ops []op
	for _, config := range configs {
		name, value, _ := strings.Cut(config, "=")
		ops = append(ops, op{set, name, value})
	}
	b.is(fmt.Sprint("setting ", configs), b.alterAll(false, resource(groupKind, group, ops...))[group].ErrorCode, nil)
	for _, o := range ops {
		b.until(o.name+" is "+o.value, func() bool { return valueOf(b.describeConfig(groupKind, group, o.name).Value) == o.value })
	}
}

// shortSession has members of a group be let go soon.
func (b *broker) shortSession(group string) {
	b.Helper()
	b.setGroup(group, "consumer.heartbeat.interval.ms=500", "consumer.session.timeout.ms=3000")
}
