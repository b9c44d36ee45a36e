package behaviour

import (
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var memberScenarios = []scenario{
	{name: "a first member has every partition in its first answer, and is told how often to come", run: firstConsumer},
	{name: "nothing is given to a member before whoever had it has given it up", run: givenUpFirst},
	{name: "a member that gives up too slowly is let go after its rebalance timeout", run: neverGivesUp},
	{name: "a member that is silent for its session is let go, and one that comes stays", run: silentConsumer},
	{name: "what a member had that leaves goes to the others", run: consumerLeaves},
	{name: "members that come and go never share a partition, and in the end have them all", run: comeAndGo},
	{name: "members have as many partitions each, whoever comes", run: evenShares},
	{name: "an assignment is told once, and again to a member that says everything", run: toldOnce},
	{name: "a member that joins once more keeps what it has", run: joinsOnceMore},
	{name: "the epochs of a group go on where it was left by all", run: epochsGoOn},
	{name: "a member may subscribe to more and to less", run: subscribesAnew},
	{name: "a topic that is made later is given to those who wait for it", run: topicMadeLater},
	{name: "new partitions of a topic are given to its group", run: partitionsAdded},
	{name: "a topic that is deleted under a group is taken from its members", run: topicGone},
	{name: "a topic that is made again is another one, and is given anew", run: topicAgain},
	{name: "a regular expression stands for the topics that there are and for those to come", run: regexConsumer},
	{name: "range gives the same numbers of all topics to one member", run: rangeAssignor},
	{name: "the assignor that most members ask for makes the assignment", run: assignorVotes},
}

var fencingScenarios = []scenario{
	{name: "a member of an epoch to come is fenced, and may join again", run: epochToCome},
	{name: "a member of an epoch long past is fenced", run: epochLongPast},
	{name: "the epoch before is let through with what the member has, as the answer may be lost", run: epochBefore},
	{name: "a member that nobody knows is told so and disturbs nobody", run: unknownConsumer},
	{name: "a heartbeat to a group that there is not makes none", run: func(b *broker) {
		c := b.consumer(b.newGroup(), b.topic(1))
		c.epoch = 1
		c.refused(c.beatRequest(), kerr.GroupIDNotFound)
		b.is("describing", b.describeConsumers(c.group).ErrorCode, kerr.GroupIDNotFound)
	}},
	{name: "an empty group id is refused", run: refusedJoin(kerr.InvalidRequest, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = "" })},
	{name: "an empty member id is refused where members make their own", run: refusedJoin(kerr.InvalidRequest, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = "" })},
	{name: "a first heartbeat that does not say everything is refused", run: refusedJoin(kerr.InvalidRequest, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = -1 })},
	{name: "a first heartbeat of a member that has something is refused", run: refusedJoin(kerr.InvalidRequest, func(r *kmsg.ConsumerGroupHeartbeatRequest) {
		r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: [16]byte{1}, Partitions: []int32{0}}}
	})},
	{name: "an assignor that the broker has not is refused", run: refusedJoin(kerr.UnsupportedAssignor, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = kmsg.StringPtr("nosuch") })},
	{name: "a regular expression that is none is refused", run: refusedJoin(kerr.InvalidRegularExpression, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicRegex = kmsg.StringPtr("(a") })},
	{name: "an expression that is none changes no subscription", run: regexRefusedLater},
	{name: "a member without an id is given one in version 0", run: func(b *broker) {
		c := b.consumers(1, b.topic(2))[0]
		req := c.joinRequest()
		req.MemberID = ""
		resp := askAt(c, 0, req)
		c.said("joining", resp)
		same(b, "it is given an id", valueOf(resp.MemberID) != "" && resp.MemberID != nil, true)
		c.id = *resp.MemberID
		b.reconciled(c)
		same(b, "partitions", len(c.assigned), 2)
	}},
	{name: "a group takes no more than group.consumer.max.size members, until one leaves", run: consumerGroupFull},
}

var instanceScenarios = []scenario{
	{name: "an instance that is in use is not released", run: unreleased},
	{name: "a static member that is away keeps its partitions and has them when it is back", run: staticAway},
	{name: "a static member that stays away for its session is let go", run: staticStaysAway},
	{name: "a static member that leaves for good gives everything up", run: staticForGood},
	{name: "the run before of a static member is fenced", run: staticRunBefore},
	{name: "an instance that nobody has is unknown", run: func(b *broker) {
		c := b.consumers(1, b.topic(2))[0].static("one")
		b.gathered(c)
		req := c.beatRequest()
		req.InstanceID = kmsg.StringPtr("two")
		c.refused(req, kerr.UnknownMemberID)
		b.reconciled(c)
	}},
	{name: "only a member with an instance leaves for a while", run: func(b *broker) {
		c := b.consumers(1, b.topic(2))[0]
		b.gathered(c)
		req := c.beatRequest()
		req.MemberEpoch = -2
		c.refused(req, kerr.InvalidRequest)
		b.reconciled(c)
	}},
}

func firstConsumer(b *broker) {
	topic := b.topic(4)
	c := b.consumers(1, topic)[0]
	c.join()
	same(b, "partitions", c.count(topic), 4)
	same(b, "it has an epoch", c.epoch > 0, true)
	same(b, "the heartbeat interval", c.interval, 5000)
	b.reconciled(c)
	same(b, "partitions", c.count(topic), 4)
}

func givenUpFirst(b *broker) {
	topic := b.topic(4)
	all := b.consumers(2, topic)
	one, two := all[0], all[1]
	b.gathered(one)
	epoch := one.epoch
	two.join()
	b.until("the first is told to give up", func() bool { one.idle(); return one.count(topic) == 2 })
	for range 3 {
		two.beat()
		one.idle()
	}
	same(b, "partitions of the second", len(two.assigned), 0)
	same(b, "the epoch of the first", one.epoch, epoch)
	same(b, "the state", b.describeConsumers(one.group).State, "Reconciling")
	same(b, "what the first is to have", partsOf(one.described().TargetAssignment).equal(one.assigned), true)
	one.beat()
	same(b, "the first is in a new epoch", one.epoch > epoch, true)
	two.beat()
	same(b, "partitions of the second", two.count(topic), 2)
	b.apart(one, two)
	b.reconciled(one, two)
}

func neverGivesUp(b *broker) {
	topic := b.topic(4)
	all := b.consumers(2, topic)
	one, two := all[0], all[1]
	one.rebalance = short
	b.gathered(one)
	two.join()
	b.until("the first is told to give up", func() bool { one.idle(); return one.count(topic) == 2 })
	b.until("the second has all", func() bool {
		ask(one, one.beatRequest()) // it comes, but gives nothing up
		two.beat()
		return two.count(topic) == 4
	})
	one.gone()
	b.reconciled(two)
}

func silentConsumer(b *broker) {
	topic := b.topic(4)
	all := b.consumers(2, topic)
	b.shortSession(all[0].group)
	b.gathered(all...)
	b.until("the other has all", func() bool { all[0].beat(); return all[0].count(topic) == 4 })
	all[1].gone()
	b.reconciled(all[0])
}

func consumerLeaves(b *broker) {
	topic := b.topic(4)
	all := b.consumers(3, topic)
	b.gathered(all...)
	all[1].leave(-1)
	all[1].gone()
	b.reconciled(all[0], all[2])
	same(b, "partitions", all[0].count(topic)+all[2].count(topic), 4)
	all[0].leave(-1)
	all[2].leave(-1)
	group := b.describeConsumers(all[0].group)
	same(b, "the state", group.State, "Empty")
	same(b, "members", len(group.Members), 0)
}

func comeAndGo(b *broker) {
	topics := []string{b.topic(5), b.topic(3)}
	all := b.consumers(groupMax, topics...)
	b.setGroup(all[0].group, "consumer.assignment.interval.ms=0")
	chance := rand.New(rand.NewPCG(1, 2))
	var here, away []*consumer
	away = append(away, all...)
	for range 120 {
		switch i := chance.IntN(8); {
		case i == 0 && len(away) > 0:
			c := away[0].again()
			away = away[1:]
			c.join()
			here = append(here, c)
		case i == 1 && len(here) > 1:
			j := chance.IntN(len(here))
			here[j].leave(-1)
			away = append(away, here[j])
			here = slices.Delete(here, j, j+1)
		case len(here) > 0:
			here[chance.IntN(len(here))].beat()
		}
		b.apart(here...)
	}
	b.reconciled(here...)
	same(b, "partitions", b.apart(here...), 8)
}

func evenShares(b *broker) {
	topic := b.topic(6)
	all := b.consumers(3, topic)
	for n := 1; n <= len(all); n++ {
		all[n-1].join()
		b.reconciled(all[:n]...)
		for _, c := range all[:n] {
			same(b, "partitions", c.count(topic), 6/n)
		}
	}
}

func toldOnce(b *broker) {
	c := b.consumers(1, b.topic(2))[0]
	b.gathered(c)
	same(b, "it is told again", ask(c, c.beatRequest()).Assignment != nil, false)
	owning := c.beatRequest()
	owning.Topics = c.assigned.request()
	same(b, "it is told again", ask(c, owning).Assignment != nil, false)
	everything := c.joinRequest()
	everything.MemberEpoch, everything.Topics = c.epoch, c.assigned.request()
	resp := ask(c, everything)
	same(b, "it is told everything", resp.Assignment != nil, true)
	had := c.assigned
	c.said("a heartbeat", resp)
	same(b, "the same as before", c.assigned.equal(had), true)
}

func joinsOnceMore(b *broker) {
	all := b.consumers(2, b.topic(4))
	b.gathered(all...)
	had, epoch := all[0].assigned, all[0].epoch
	all[0].join()
	same(b, "the same as before", all[0].assigned.equal(had), true)
	same(b, "the epoch", all[0].epoch, epoch)
	b.reconciled(all...)
	same(b, "the epoch of the group", b.describeConsumers(all[0].group).Epoch, epoch)
}

func epochsGoOn(b *broker) {
	c := b.consumers(1, b.topic(1))[0]
	b.gathered(c)
	epoch := c.epoch
	c.leave(-1)
	left := b.describeConsumers(c.group)
	same(b, "the state", left.State, "Empty")
	same(b, "the epoch grows when it is left", left.Epoch > epoch, true)
	next := c.again()
	b.gathered(next)
	same(b, "the epoch grows when somebody comes", next.epoch > left.Epoch, true)
}

// subscribe sends a heartbeat with other topics.
func (c *consumer) subscribe(topics ...string) {
	c.b.Helper()
	c.topics = topics
	req := c.beatRequest()
	req.SubscribedTopicNames, req.Topics = append([]string{}, topics...), c.assigned.request()
	c.said("subscribing", ask(c, req))
}

func subscribesAnew(b *broker) {
	first, second := b.topic(2), b.topic(3)
	c := b.consumers(1, first)[0]
	b.gathered(c)
	c.subscribe(first, second)
	b.reconciled(c)
	same(b, "partitions", list(count(c, first), count(c, second)), "2, 3")
	c.subscribe(second)
	b.reconciled(c)
	same(b, "partitions", list(count(c, first), count(c, second)), "0, 3")
	c.subscribe()
	b.reconciled(c)
	same(b, "partitions", len(c.assigned), 0)
}

func count(c *consumer, topic string) string {
	c.b.Helper()
	return string(rune('0' + c.count(topic)))
}

func topicMadeLater(b *broker) {
	name := b.name()
	c := b.consumers(1, name)[0]
	b.gathered(c)
	same(b, "partitions", len(c.assigned), 0)
	b.createTopic(name, 3)
	b.until("it has the topic", func() bool { c.beat(); return c.count(name) == 3 })
	b.reconciled(c)
}

func partitionsAdded(b *broker) {
	topic := b.topic(1)
	all := b.consumers(2, topic)
	b.gathered(all...)
	b.is("growing", b.grow(topic, 4, false).ErrorCode, nil)
	b.until("they have all", func() bool {
		for _, c := range all {
			c.beat()
		}
		return b.apart(all...) == 4
	})
	b.reconciled(all...)
}

func topicGone(b *broker) {
	stays, goes := b.topic(2), b.topic(2)
	c := b.consumers(1, stays, goes)[0]
	b.gathered(c)
	same(b, "partitions", len(c.assigned), 4)
	b.deleteTopic(goes)
	b.until("it is taken away", func() bool { c.beat(); return len(c.assigned) == 2 })
	same(b, "partitions of the other", c.count(stays), 2)
	b.reconciled(c)
}

func topicAgain(b *broker) {
	name := b.topic(2)
	c := b.consumers(1, name)[0]
	b.gathered(c)
	old := b.describeTopic(name).TopicID
	b.deleteTopic(name)
	b.createTopic(name, 3)
	b.until("it has the new one alone", func() bool { c.beat(); return c.count(name) == 3 && c.assigned.of(old) == 0 })
	b.reconciled(c)
}

func regexConsumer(b *broker) {
	prefix := b.name()
	b.createTopic(prefix+"-1", 2)
	b.createTopic("not-"+prefix+"-1", 2)
	c := b.consumers(1)[0].matches(prefix + "-[0-9]+")
	c.join()
	b.until("it has the first", func() bool { c.beat(); return c.count(prefix+"-1") == 2 })
	b.createTopic(prefix+"-2", 3)
	b.until("it has the second", func() bool { c.beat(); return c.count(prefix+"-2") == 3 })
	same(b, "partitions", len(c.assigned), 5)
	same(b, "the expression", valueOf(c.described().SubscribedTopicRegex), prefix+"-[0-9]+")
	b.reconciled(c)
}

func rangeAssignor(b *broker) {
	topics := []string{b.topic(4), b.topic(4)}
	all := b.consumers(2, topics...)
	for _, c := range all {
		c.asks("range")
	}
	b.gathered(all...)
	for _, c := range all {
		same(b, "partitions", len(c.assigned), 4)
		for at := range c.assigned {
			for _, name := range topics {
				same(b, "the same number of the other topic", c.assigned[part{b.describeTopic(name).TopicID, at.number}], true)
			}
		}
	}
	same(b, "the assignor", b.describeConsumers(all[0].group).AssignorName, "range")
}

func assignorVotes(b *broker) {
	all := b.consumers(3, b.topic(3))
	all[0].asks("uniform")
	b.gathered(all[0])
	same(b, "the assignor", b.describeConsumers(all[0].group).AssignorName, "uniform")
	all[1].asks("range").join()
	all[2].asks("range").join()
	b.reconciled(all...)
	same(b, "the assignor", b.describeConsumers(all[0].group).AssignorName, "range")
}

func epochToCome(b *broker) {
	topic := b.topic(2)
	c := b.consumers(1, topic)[0]
	b.gathered(c)
	req := c.beatRequest()
	req.MemberEpoch = c.epoch + 1
	c.refused(req, kerr.FencedMemberEpoch)
	c.join()
	same(b, "partitions", c.count(topic), 2)
	b.reconciled(c)
}

// rebalanced takes the first of two members through an epoch, and returns the one that it was in.
func (b *broker) rebalanced(one, two *consumer) int32 {
	b.Helper()
	epoch := one.epoch
	two.join()
	b.reconciled(one, two)
	return epoch
}

func epochLongPast(b *broker) {
	all := b.consumers(3, b.topic(6))
	b.gathered(all[0])
	past := b.rebalanced(all[0], all[1])
	all[2].join()
	b.reconciled(all...)
	req := all[0].beatRequest()
	req.MemberEpoch, req.Topics = past, all[0].assigned.request()
	all[0].refused(req, kerr.FencedMemberEpoch)
	b.reconciled(all...)
}

func epochBefore(b *broker) {
	topic := b.topic(4)
	all := b.consumers(2, topic)
	one := all[0]
	b.gathered(one)
	before := b.rebalanced(one, all[1])
	req := one.beatRequest()
	req.MemberEpoch = before
	one.refused(req, kerr.FencedMemberEpoch) // it says nothing of what it has
	more := parts{}
	for n := range int32(4) {
		more[part{b.describeTopic(topic).TopicID, n}] = true
	}
	req.Topics = more.request()
	one.refused(req, kerr.FencedMemberEpoch)
	req.Topics = one.assigned.request()
	epoch := one.epoch
	one.said("a heartbeat of the epoch before", ask(one, req))
	same(b, "the epoch", one.epoch, epoch)
	b.reconciled(all...)
}

func unknownConsumer(b *broker) {
	all := b.consumers(2, b.topic(2))
	b.gathered(all[0])
	all[1].epoch = all[0].epoch
	all[1].gone()
	leaving := all[1].beatRequest()
	leaving.MemberEpoch = -1
	all[1].refused(leaving, kerr.UnknownMemberID)
	b.reconciled(all[0])
}

// refusedJoin changes the first heartbeat of a member, which must be refused: it makes no group, and changes none.
func refusedJoin(want *kerr.Error, change func(*kmsg.ConsumerGroupHeartbeatRequest)) func(*broker) {
	return func(b *broker) {
		topic := b.topic(2)
		alone := b.consumer(b.newGroup(), topic)
		req := alone.joinRequest()
		change(req)
		alone.refused(req, want)
		b.is("describing", b.describeConsumers(alone.group).ErrorCode, kerr.GroupIDNotFound)

		all := b.consumers(2, topic)
		b.gathered(all[0])
		req = all[1].joinRequest()
		change(req)
		all[1].refused(req, want)
		epoch := all[0].epoch
		b.reconciled(all[0])
		same(b, "the epoch", all[0].epoch, epoch)
	}
}

func regexRefusedLater(b *broker) {
	c := b.consumers(1, b.topic(2))[0]
	b.gathered(c)
	req := c.beatRequest()
	req.SubscribedTopicRegex = kmsg.StringPtr("[")
	c.refused(req, kerr.InvalidRegularExpression)
	b.reconciled(c)
	same(b, "partitions", len(c.assigned), 2)
	same(b, "the expression", strings.TrimSpace(valueOf(c.described().SubscribedTopicRegex)) != "[", true)
}

func consumerGroupFull(b *broker) {
	all := b.consumers(groupMax+1, b.topic(groupMax))
	b.gathered(all[:groupMax]...)
	last := all[groupMax]
	last.refused(last.joinRequest(), kerr.GroupMaxSizeReached)
	b.reconciled(all[:groupMax]...)
	all[0].leave(-1)
	last.join()
	b.reconciled(all[1:]...)
	same(b, "partitions of the last", len(last.assigned), 1)
}

func unreleased(b *broker) {
	c := b.consumers(1, b.topic(2))[0].static("one")
	b.gathered(c)
	other := c.again()
	other.refused(other.joinRequest(), kerr.UnreleasedInstanceID)
	b.reconciled(c)
	same(b, "partitions", len(c.assigned), 2)
}

func staticAway(b *broker) {
	all := b.consumers(2, b.topic(4))
	all[0].static("one")
	all[1].static("two")
	b.gathered(all...)
	had := all[0].assigned
	all[0].leave(-2)
	for range 3 {
		all[1].beat()
	}
	same(b, "partitions of the other", len(all[1].assigned), 2)
	same(b, "members", len(b.describeConsumers(all[0].group).Members), 2)
	back := all[0].again()
	back.join()
	same(b, "the same as before", back.assigned.equal(had), true)
	b.reconciled(back, all[1])
}

func staticStaysAway(b *broker) {
	all := b.consumers(2, b.topic(4))
	b.shortSession(all[0].group)
	all[0].static("one")
	b.gathered(all...)
	all[0].leave(-2)
	b.until("the other has all", func() bool { all[1].beat(); return len(all[1].assigned) == 4 })
	back := all[0].again()
	back.join()
	b.reconciled(all[1], back)
}

func staticForGood(b *broker) {
	all := b.consumers(2, b.topic(4))
	all[0].static("one")
	b.gathered(all...)
	all[0].leave(-1)
	all[0].gone()
	b.reconciled(all[1])
	same(b, "partitions", len(all[1].assigned), 4)
	back := all[0].again()
	back.join()
	b.reconciled(all[1], back)
}

func staticRunBefore(b *broker) {
	old := b.consumers(1, b.topic(2))[0].static("one")
	b.gathered(old)
	old.leave(-2)
	back := old.again()
	b.gathered(back)
	old.refused(old.beatRequest(), kerr.FencedInstanceID)
	leaving := old.beatRequest()
	leaving.MemberEpoch = -2
	old.refused(leaving, kerr.FencedInstanceID)
	without := old.beatRequest()
	without.InstanceID = nil
	old.refused(without, kerr.UnknownMemberID)
	b.reconciled(back)
}
