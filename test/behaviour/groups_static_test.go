package behaviour

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var staticScenarios = []scenario{
	{name: "a static member needs no second join for an id", run: func(b *broker) {
		m := b.members(1)[0].static("one")
		resp := ask(m, m.joinRequest())
		b.is("joining", resp.ErrorCode, nil)
		m.joined(resp)
		b.share(m)
		same(b, "the instance", *only(b, b.describeGroup(m.group).Members).InstanceID, "one")
	}},
	{name: "a static follower that comes back keeps its assignment without a rebalance", run: staticReturns},
	{name: "a static leader that comes back alone need not assign again", run: staticLeaderReturns},
	{name: "a static member that was replaced is fenced", run: staticFenced},
	{name: "a join of a static member that was replaced is fenced", run: staticJoinFenced},
	{name: "a static member that comes back with another subscription causes no rebalance", run: staticReads},
	{name: "a static member that comes back and changes the vote begins a rebalance", run: staticVotes},
	{name: "an instance that joins with the id of another is fenced", run: func(b *broker) {
		all := b.members(2)
		b.settle(all[0].static("one"), all[1].static("two"))
		thief := all[0].again()
		thief.id = all[1].id
		thief.joinRefused(kerr.FencedInstanceID)
		b.undisturbed(all...)
	}},
	{name: "an administrator removes a static member by its instance", run: staticRemoved},
	{name: "removing an unknown instance is refused and disturbs nobody", run: func(b *broker) {
		m := b.members(1)[0].static("one")
		b.settle(m)
		resp := b.leaveGroup(m.group, leaver("", kmsg.StringPtr("two")))
		b.is("leaving", only(b, resp.Members).ErrorCode, kerr.UnknownMemberID)
		b.undisturbed(m)
	}},
	{name: "a static member that is silent for its session timeout is dropped", run: func(b *broker) {
		all := b.members(2)
		all[1].static("two").within(short, long)
		b.settle(all...)
		all[0].told()
		all[0].join()
		all[1].gone()
		b.share(all[0])
	}},
	{name: "a static member that was dropped begins anew under its instance", run: func(b *broker) {
		m := b.members(1)[0].static("one").within(short, long)
		b.settle(m)
		old := m.id
		b.inState(m.group, "Empty")
		next := m.again().within(long, long)
		b.settle(next)
		same(b, "it has the id of before", next.id == old, false)
	}},
	{name: "static and other members share a group", run: func(b *broker) {
		all := b.members(3)
		all[1].static("one")
		b.settle(all...)
		b.undisturbed(all...)
		instances := 0
		for _, m := range b.describeGroup(all[0].group).Members {
			if m.InstanceID != nil {
				instances++
				same(b, "the member with an instance", m.MemberID, all[1].id)
			}
		}
		same(b, "members with an instance", instances, 1)
	}},
}

func staticReturns(b *broker) {
	all := b.members(2)
	b.settle(all[0], all[1].static("two"))
	back := all[1].again()
	resp := back.join()
	same(b, "the generation", back.generation, all[1].generation)
	same(b, "the leader", resp.LeaderID, all[0].id)
	same(b, "its id is the old one", back.id == all[1].id, false)
	back.sync()
	same(b, "the assignment", back.assignment, all[1].assignment)
	b.undisturbed(all[0], back)
}

func staticLeaderReturns(b *broker) {
	all := b.members(2)
	b.settle(all[0].static("one"), all[1])
	back := all[0].again()
	resp := back.join()
	same(b, "the generation", back.generation, all[0].generation)
	same(b, "it is told to assign nothing", resp.SkipAssignment, true)
	same(b, "it leads", back.leads, true)
	same(b, "the members that it is told of", len(resp.Members), 2)
	back.sync()
	same(b, "the assignment", back.assignment, all[0].assignment)
	b.undisturbed(back, all[1])
}

func staticFenced(b *broker) {
	topic := b.topic(1)
	old := b.members(1)[0].static("one")
	b.settle(old)
	back := old.again()
	back.join()
	b.is("a heartbeat", old.heartbeat(), kerr.FencedInstanceID)
	b.is("syncing", ask(old, old.syncRequest()).ErrorCode, kerr.FencedInstanceID)
	b.is("committing", old.commit(topic, 5), kerr.FencedInstanceID)
	b.is("leaving", old.leave(), kerr.FencedInstanceID)
	same(b, "the committed offset", b.committed(back.group, topic), -1)
	back.sync()
	b.undisturbed(back)
}

func staticJoinFenced(b *broker) {
	old := b.members(1)[0].static("one")
	b.settle(old)
	back := old.again()
	back.join()
	old.joinRefused(kerr.FencedInstanceID)
	back.sync()
	b.undisturbed(back)
}

func staticReads(b *broker) {
	all := b.members(2)
	b.settle(all[0], all[1].static("two").reads("a"))
	back := all[1].again().reads("b")
	back.join()
	same(b, "the generation", back.generation, all[1].generation)
	back.sync()
	b.undisturbed(all[0], back)
}

func staticVotes(b *broker) {
	all := b.members(2)
	b.settle(all[0].does("a", "b"), all[1].static("two").does("a", "b"))
	back := all[1].again().does("b")
	j := back.joining()
	all[0].told()
	j.waits()
	all[0].join()
	j.succeed()
	same(b, "the generation", back.generation, all[1].generation+1)
	same(b, "the protocol", back.protocol, "b")
	b.share(all[0], back)
}

func staticRemoved(b *broker) {
	all := b.members(2)
	b.settle(all[0], all[1].static("two"))
	resp := b.leaveGroup(all[0].group, leaver("", kmsg.StringPtr("two")))
	answer := only(b, resp.Members)
	b.is("leaving", answer.ErrorCode, nil)
	same(b, "the instance", *answer.InstanceID, "two")
	all[0].told()
	all[0].join()
	b.share(all[0])
	b.is("a heartbeat of the removed", all[1].heartbeat(), kerr.UnknownMemberID)
}
