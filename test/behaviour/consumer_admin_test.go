package behaviour

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var consumerAdminScenarios = []scenario{
	{name: "a consumer group shows its members, what they have and what they are to have", run: describedConsumers},
	{name: "a consumer group is Stable, Reconciling and Empty in turn", run: consumerStates},
	{name: "a consumer group is no classic group, nor the other way round", run: otherKind},
	{name: "a consumer group is listed as one", run: func(b *broker) {
		c := b.consumers(1, b.topic(1))[0]
		b.gathered(c)
		of := b.listed(c.group)
		same(b, "the state", of.GroupState, "Stable")
		same(b, "the type", of.GroupType, "consumer")
		same(b, "the protocol type", of.ProtocolType, "consumer")
		b.listedUnder(nil, []string{"consumer"}, c.group, true)
		b.listedUnder(nil, []string{"classic"}, c.group, false)
		b.listedUnder([]string{"empty"}, []string{"consumer"}, c.group, false)
	}},
	{name: "a consumer group with members cannot be deleted, and one without takes its offsets along", run: consumersDeleted},
	{name: "a member commits in its epoch, and not in one before it had the partition or to come", run: consumerCommits},
	{name: "a member commits in an epoch since which it has the partition", run: commitsSinceGiven},
	{name: "a member that is gone commits nothing", run: goneCommits},
	{name: "only members commit while there are members", run: func(b *broker) {
		topic := b.topic(1)
		c := b.consumers(1, topic)[0]
		b.gathered(c)
		b.is("committing", b.commit(c.group, topic, 5), kerr.UnknownMemberID)
		same(b, "the offset", b.committed(c.group, topic), -1)
		c.leave(-1)
		b.is("committing", b.commit(c.group, topic, 5), nil)
		same(b, "the offset", b.committed(c.group, topic), 5)
	}},
	{name: "a member commits in no version that knows no epochs", run: func(b *broker) {
		topic := b.topic(1)
		c := b.consumers(1, topic)[0]
		b.gathered(c)
		req := commitRequest(c.group, commit{topic: topic, offset: 5, epoch: -1})
		req.MemberID, req.Generation = c.id, c.epoch
		b.is("committing", only(b, codes(askAt(c, 8, req))), kerr.UnsupportedVersion)
		same(b, "the offset", b.committed(c.group, topic), -1)
	}},
	{name: "a member reads offsets in its epoch alone, and anybody as nobody", run: memberFetchesOffsets},
	{name: "offsets of a topic that members read are not deleted", run: func(b *broker) {
		topic, other := b.topic(1), b.topic(1)
		c := b.consumers(1, topic)[0]
		b.gathered(c)
		b.is("committing", c.commit(topic, 5, c.epoch), nil)
		b.is("committing", c.commit(other, 6, c.epoch), nil)
		_, codes := b.deleteOffsets(c.group, topic, 0)
		b.is("deleting", only(b, codes), kerr.GroupSubscribedToTopic)
		_, codes = b.deleteOffsets(c.group, other, 0)
		b.is("deleting", only(b, codes), nil)
		same(b, "the offset", b.committed(c.group, topic), 5)
		same(b, "the other offset", b.committed(c.group, other), -1)
	}},
	{name: "offsets outlive the members, and the next ones find them", run: func(b *broker) {
		topic := b.topic(1)
		c := b.consumers(1, topic)[0]
		b.gathered(c)
		b.is("committing", c.commit(topic, 5, c.epoch), nil)
		c.leave(-1)
		next := c.again()
		b.gathered(next)
		same(b, "the offset", b.committed(c.group, topic), 5)
		b.is("committing", next.commit(topic, 6, next.epoch), nil)
		same(b, "the offset", b.committed(c.group, topic), 6)
	}},
	{name: "a group has intervals of its own", run: func(b *broker) {
		topic := b.topic(1)
		c := b.consumers(1, topic)[0]
		b.setGroup(c.group, "consumer.heartbeat.interval.ms=3000", "consumer.session.timeout.ms=20000")
		b.gathered(c)
		same(b, "the heartbeat interval", c.interval, 3000)
		other := b.consumers(1, topic)[0]
		other.join()
		same(b, "the heartbeat interval of another", other.interval, 5000)
		b.setGroup(c.group, "consumer.heartbeat.interval.ms=4000")
		c.beat()
		same(b, "the heartbeat interval later", c.interval, 4000)
	}},
	{name: "intervals that a broker does not allow its groups are refused and change nothing", run: func(b *broker) {
		group := b.newGroup()
		for _, o := range []op{
			{set, "consumer.session.timeout.ms", "1"}, {set, "consumer.session.timeout.ms", "60001"},
			{set, "consumer.heartbeat.interval.ms", "1"}, {set, "consumer.heartbeat.interval.ms", "15001"},
			{set, "consumer.heartbeat.interval.ms", "often"}, {set, "consumer.nosuch", "1"},
		} {
			b.is(o.name+"="+o.value, b.alterAll(false, resource(groupKind, group, o))[group].ErrorCode, kerr.InvalidConfig)
		}
		same(b, "the session timeout", valueOf(b.describeConfig(groupKind, group, "consumer.session.timeout.ms").Value), "45000")
		same(b, "the heartbeat interval", valueOf(b.describeConfig(groupKind, group, "consumer.heartbeat.interval.ms").Value), "5000")
	}},
}

var migrationScenarios = []scenario{
	{name: "a classic group becomes a consumer group under its members, and the way back when those are left", run: thereAndBack},
	{name: "a classic group of another kind of clients stays what it is", run: func(b *broker) {
		m := b.members(1)[0]
		m.kind = "connect"
		b.settle(m)
		c := b.consumer(m.group, b.topic(1))
		c.refused(c.joinRequest(), kerr.GroupIDNotFound)
		b.undisturbed(m)
	}},
	{name: "a classic group whose assignor leaves notes to itself stays what it is", run: func(b *broker) {
		topic := b.topic(1)
		m := b.members(1)[0].reads(topic)
		m.join()
		m.assigns(kmsg.ConsumerMemberAssignment{UserData: []byte("a note")})
		c := b.consumer(m.group, topic)
		c.refused(c.joinRequest(), kerr.GroupIDNotFound)
		b.undisturbed(m)
	}},
	{name: "a classic group that is empty becomes a consumer group with its offsets, and the way back", run: func(b *broker) {
		topic := b.topic(2)
		m := b.members(1)[0]
		b.settle(m)
		b.is("committing", m.commit(topic, 7), nil)
		b.is("leaving", m.leave(), nil)
		b.inState(m.group, "Empty")
		c := b.consumer(m.group, topic)
		b.gathered(c)
		same(b, "the type", b.listed(m.group).GroupType, "consumer")
		same(b, "the offset", b.committed(m.group, topic), 7)
		b.is("committing", c.commit(topic, 8, c.epoch), nil)
		c.leave(-1)
		next := m.again()
		b.settle(next)
		same(b, "the type", b.listed(m.group).GroupType, "classic")
		same(b, "the offset", b.committed(m.group, topic), 8)
	}},
	{name: "a consumer of the classic protocol joins a consumer group", run: classicJoins},
}

func describedConsumers(b *broker) {
	topic := b.topic(4)
	all := b.consumers(2, topic)
	all[1].static("two")
	b.gathered(all...)
	group := b.describeConsumers(all[0].group)
	b.is("describing", group.ErrorCode, nil)
	same(b, "the state", group.State, "Stable")
	same(b, "the assignor", group.AssignorName, "uniform")
	same(b, "the epoch of the assignment", group.AssignmentEpoch, group.Epoch)
	for _, c := range all {
		m := c.described()
		same(b, "the epoch", m.MemberEpoch, c.epoch)
		same(b, "the instance", valueOf(m.InstanceID), valueOf(c.instance))
		same(b, "the client", m.ClientID, "behaviour")
		same(b, "the host", m.ClientHost, "/127.0.0.1")
		same(b, "the topics", list(m.SubscribedTopics...), topic)
		same(b, "what it has", partsOf(m.Assignment).equal(c.assigned), true)
		same(b, "what it is to have", partsOf(m.TargetAssignment).equal(c.assigned), true)
		same(b, "the kind", m.MemberType, 1)
	}
}

func consumerStates(b *broker) {
	topic := b.topic(2)
	all := b.consumers(2, topic)
	b.gathered(all[0])
	same(b, "the state", b.describeConsumers(all[0].group).State, "Stable")
	all[1].join()
	b.until("the first is told to give up", func() bool { all[0].idle(); return all[0].count(topic) == 1 })
	same(b, "the state", b.describeConsumers(all[0].group).State, "Reconciling")
	b.reconciled(all...)
	for _, c := range all {
		c.leave(-1)
	}
	same(b, "the state", b.describeConsumers(all[0].group).State, "Empty")
}

func otherKind(b *broker) {
	c := b.consumers(1, b.topic(1))[0]
	b.gathered(c)
	classic := b.describeGroup(c.group)
	b.is("describing as a classic group", classic.ErrorCode, kerr.GroupIDNotFound)
	same(b, "the state", classic.State, "Dead")
	m := b.members(1)[0]
	b.settle(m)
	b.is("describing as a consumer group", b.describeConsumers(m.group).ErrorCode, kerr.GroupIDNotFound)
	b.is("describing what there is not", b.describeConsumers(b.newGroup()).ErrorCode, kerr.GroupIDNotFound)
	b.undisturbed(m)
}

func consumersDeleted(b *broker) {
	topic := b.topic(1)
	c := b.consumers(1, topic)[0]
	b.gathered(c)
	b.is("committing", c.commit(topic, 5, c.epoch), nil)
	b.is("deleting", b.deleteGroups(c.group)[0], kerr.NonEmptyGroup)
	b.reconciled(c)
	c.leave(-1)
	b.is("deleting", b.deleteGroups(c.group)[0], nil)
	b.is("describing", b.describeConsumers(c.group).ErrorCode, kerr.GroupIDNotFound)
	same(b, "the offset", b.committed(c.group, topic), -1)
	same(b, "it is listed", b.listed(c.group) == nil, true)
}

// owner returns the one of members that has a partition.
func (b *broker) owner(of []*consumer) *consumer {
	b.Helper()
	same(b, "partitions", b.apart(of...), 1)
	return of[slices.IndexFunc(of, func(c *consumer) bool { return len(c.assigned) == 1 })]
}

func consumerCommits(b *broker) {
	topic := b.topic(1)
	all := b.consumers(2, topic)
	b.gathered(all...)
	for i, c := range all { // whoever has the partition
		b.is("committing", c.commit(topic, int64(i), c.epoch), nil)
		b.is("committing in an epoch to come", c.commit(topic, 9, c.epoch+1), kerr.StaleMemberEpoch)
		if c != b.owner(all) {
			b.is("committing in an epoch before", c.commit(topic, 9, c.epoch-1), kerr.StaleMemberEpoch)
		}
	}
	same(b, "the offset", b.committed(all[0].group, topic), 1)
}

func commitsSinceGiven(b *broker) {
	topic := b.topic(1)
	all := b.consumers(3, topic)
	b.gathered(all[0])
	given := all[0].epoch
	for n := 2; n <= len(all); n++ {
		all[n-1].join()
		b.reconciled(all[:n]...)
	}
	c := b.owner(all)
	same(b, "the first keeps the partition", c == all[0], true)
	same(b, "the epoch has grown", c.epoch > given, true)
	b.is("committing", c.commit(topic, 5, given), nil)
	b.is("committing in an epoch before", c.commit(topic, 6, given-1), kerr.StaleMemberEpoch)
	same(b, "the offset", b.committed(c.group, topic), 5)
}

func goneCommits(b *broker) {
	topic := b.topic(2)
	all := b.consumers(2, topic)
	b.gathered(all...)
	all[1].leave(-1)
	b.is("committing", all[1].commit(topic, 5, all[1].epoch), kerr.UnknownMemberID)
	same(b, "the offset", b.committed(all[0].group, topic), -1)
	b.reconciled(all[0])
}

func memberFetchesOffsets(b *broker) {
	topic := b.topic(1)
	c := b.consumers(1, topic)[0]
	b.gathered(c)
	b.is("committing", c.commit(topic, 5, c.epoch), nil)
	fetch := func(member *string, epoch int32) kmsg.OffsetFetchResponseGroup {
		req := kmsg.NewPtrOffsetFetchRequest()
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.MemberID, g.MemberEpoch = c.group, member, epoch
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		t.Topic, t.Partitions = topic, []int32{0}
		g.Topics = append(g.Topics, t)
		req.Groups = append(req.Groups, g)
		return only(b, ask(b, req).Groups)
	}
	for _, good := range []kmsg.OffsetFetchResponseGroup{fetch(&c.id, c.epoch), fetch(nil, -1)} {
		b.is("fetching", good.ErrorCode, nil)
		same(b, "the offset", only(b, only(b, good.Topics).Partitions).Offset, 5)
	}
	b.is("fetching in an epoch before", fetch(&c.id, c.epoch-1).ErrorCode, kerr.StaleMemberEpoch)
	b.is("fetching in an epoch to come", fetch(&c.id, c.epoch+1).ErrorCode, kerr.StaleMemberEpoch)
	b.is("fetching as nobody's member", fetch(kmsg.StringPtr("nobody"), c.epoch).ErrorCode, kerr.UnknownMemberID)
}

// assigns has the leader and only member of a classic group give itself an assignment.
func (m *member) assigns(a kmsg.ConsumerMemberAssignment) {
	m.b.Helper()
	req := m.syncRequest(m)
	req.GroupAssignment[0].MemberAssignment = a.AppendTo(nil)
	m.b.is("syncing", ask(m, req).ErrorCode, nil)
}

// shares returns how many partitions a classic member of a consumer group is given, which it asks for anew.
func (m *member) shares() int {
	m.b.Helper()
	m.sync()
	var a kmsg.ConsumerMemberAssignment
	m.b.must("the assignment", a.ReadFrom([]byte(m.assignment)))
	n := 0
	for _, t := range a.Topics {
		n += len(t.Partitions)
	}
	return n
}

func thereAndBack(b *broker) {
	topic := b.topic(4)
	m := b.members(1)[0].reads(topic)
	m.join()
	m.assigns(kmsg.ConsumerMemberAssignment{Topics: []kmsg.ConsumerMemberAssignmentTopic{{Topic: topic, Partitions: []int32{0, 1, 2, 3}}}})
	b.is("committing", m.commit(topic, 7), nil)

	c := b.consumer(m.group, topic)
	c.join()
	same(b, "partitions before the other has given up", len(c.assigned), 0)
	same(b, "the type", b.listed(m.group).GroupType, "consumer")
	kinds := map[string]int8{}
	for _, of := range b.describeConsumers(m.group).Members {
		kinds[of.MemberID] = of.MemberType
	}
	same(b, "the kind of the classic member", kinds[m.id], 0)
	same(b, "the kind of the other", kinds[c.id], 1)
	m.told()
	generation := m.generation
	m.join()
	same(b, "the generation grows", m.generation > generation, true)
	same(b, "partitions of the classic member", m.shares(), 2)
	b.until("the other has the rest", func() bool { c.beat(); return len(c.assigned) == 2 })
	m.alive()
	same(b, "the offset", b.committed(m.group, topic), 7)

	c.leave(-1)
	same(b, "the type", b.listed(m.group).GroupType, "classic")
	m.told()
	b.settle(m)
	b.undisturbed(m)
	same(b, "the offset", b.committed(m.group, topic), 7)
	b.is("committing", m.commit(topic, 8), nil)
}

func classicJoins(b *broker) {
	topic := b.topic(4)
	c := b.consumers(1, topic)[0]
	b.gathered(c)
	m := b.member(c.group).reads(topic)
	m.join()
	b.until("the consumer is told to give up", func() bool { c.idle(); return len(c.assigned) == 2 })
	c.beat()
	b.until("the classic member has the rest", func() bool {
		if m.heartbeat() != 0 {
			m.join()
		}
		return m.shares() == 2
	})
	b.is("committing", m.commit(topic, 5), nil)
	b.is("leaving", m.leave(), nil)
	b.until("the consumer has all", func() bool { c.beat(); return len(c.assigned) == 4 })
	same(b, "the type", b.listed(c.group).GroupType, "consumer")
}
