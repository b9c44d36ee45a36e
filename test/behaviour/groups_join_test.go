package behaviour

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var joinScenarios = []scenario{
	{name: "a first member is told an id, which makes no group, and leads the first generation with it", run: joinWithAnID},
	{name: "two members are in one generation under one leader", run: twoMembers},
	{name: "only the leader is told of all members and their metadata", run: leaderKnowsAll},
	{name: "the protocol with the most votes wins", run: vote("b", []string{"a", "b"}, []string{"b", "a"}, []string{"b", "a"})},
	{name: "a protocol that one member lacks cannot win", run: vote("c", []string{"a", "c"}, []string{"a", "c"}, []string{"c"})},
	{name: "a vote is cast for the first protocol that all have", run: vote("b", []string{"x", "b", "a"}, []string{"b", "a"}, []string{"a", "b"})},
	{name: "a member without a common protocol is refused and disturbs nobody", run: noCommonProtocol},
	{name: "a member of another protocol type is refused and disturbs nobody", run: otherType},
	{name: "a group may be of any protocol type", run: anyType},
	{name: "a group that was emptied may change its protocol type", run: changedType},
	{name: "a member that joins during a rebalance is part of it", run: joinDuringRebalance},
	{name: "members that do not rejoin within the rebalance timeout are dropped", run: rebalanceTimeout},
	{name: "the leader that joins again begins a rebalance", run: leaderRejoins},
	{name: "a follower that joins again with the same metadata gets the generation there is", run: followerRejoins},
	{name: "a follower that joins again with other metadata begins a rebalance", run: followerChanges},
	{name: "a follower that joins again before the leader has synced gets the generation there is", run: followerRetries},
	{name: "a join with an unknown id is refused", run: joinUnknown},
	{name: "a group takes no more than group.max.size members", run: groupFull},
	{name: "a full group takes a member once another has left", run: groupFullLeave},
	{name: "a rebalance waits for a member that has its id but has not joined", run: pendingJoins},
	{name: "a member that never joins with its id is forgotten after its session timeout", run: pendingExpires},
	{name: "the generation grows with every rebalance", run: generations},
}

func joinWithAnID(b *broker) {
	m := b.members(1)[0]
	m.askID()
	same(b, "it is named after its client", strings.HasPrefix(m.id, "behaviour-"), true)
	same(b, "members so far", len(b.describeGroup(m.group).Members), 0)
	id := m.id
	m.join()
	same(b, "its id", m.id, id)
	same(b, "it leads", m.leads, true)
	same(b, "the generation", m.generation, 1)
	b.share(m)
}

func twoMembers(b *broker) {
	all := b.members(2)
	b.settle(all...)
	same(b, "the generation of one", all[0].generation, all[1].generation)
	same(b, "both lead", all[0].leads && all[1].leads, false)
	for _, m := range all {
		m.alive()
	}
}

func leaderKnowsAll(b *broker) {
	all := b.members(3)
	for i, m := range all {
		m.reads("topic-" + string(rune('a'+i)))
	}
	all[0].join()
	joins := []*pending[*kmsg.JoinGroupResponse]{all[1].joining(), all[2].joining()}
	b.sized(all[0].group, 3)
	joins = append(joins, all[0].joining())
	seen := map[string]string{}
	for _, j := range joins {
		resp := j.succeed()
		if resp.LeaderID != resp.MemberID {
			same(b, "members that a follower is told of", len(resp.Members), 0)
		}
		for _, of := range resp.Members {
			seen[of.MemberID] = string(of.ProtocolMetadata)
		}
	}
	same(b, "members that the leader is told of", len(seen), 3)
	for _, m := range all {
		same(b, "metadata of a member", seen[m.id], string(m.metadata))
	}
}

// vote makes a group of members with protocols by their preference, of which one must win.
func vote(winner string, preferences ...[]string) func(*broker) {
	return func(b *broker) {
		all := b.members(len(preferences))
		for i, p := range preferences {
			all[i].does(p...)
		}
		b.settle(all...)
		for _, m := range all {
			same(b, "the protocol", m.protocol, winner)
		}
		same(b, "the protocol that is described", b.describeGroup(all[0].group).Protocol, winner)
	}
}

// undisturbed fails the case unless members are still the stable group that they were.
func (b *broker) undisturbed(members ...*member) {
	b.Helper()
	for _, m := range members {
		m.alive()
	}
	described := b.describeGroup(members[0].group)
	same(b, "the state", described.State, "Stable")
	same(b, "the members", len(described.Members), len(members))
}

func noCommonProtocol(b *broker) {
	all := b.members(2)
	b.settle(all[0])
	all[1].does("another").joinRefused(kerr.InconsistentGroupProtocol)
	b.undisturbed(all[0])
}

func otherType(b *broker) {
	all := b.members(2)
	b.settle(all[0])
	all[1].kind = "connect"
	all[1].joinRefused(kerr.InconsistentGroupProtocol)
	b.undisturbed(all[0])
}

func anyType(b *broker) {
	all := b.members(2)
	for _, m := range all {
		m.kind, m.metadata = "anything", []byte("what only its clients understand")
	}
	b.settle(all...)
	described := b.describeGroup(all[0].group)
	same(b, "the protocol type", described.ProtocolType, "anything")
	same(b, "the state", described.State, "Stable")
}

func changedType(b *broker) {
	all := b.members(2)
	b.settle(all[0])
	b.is("leaving", all[0].leave(), nil)
	b.inState(all[0].group, "Empty")
	all[1].kind = "connect"
	b.settle(all[1])
	same(b, "the protocol type", b.describeGroup(all[0].group).ProtocolType, "connect")
}

func joinDuringRebalance(b *broker) {
	all := b.members(3)
	b.settle(all[0])
	second := all[1].joining()
	b.inState(all[0].group, "PreparingRebalance")
	third := all[2].joining()
	b.sized(all[0].group, 3)
	second.waits()
	all[0].join()
	second.succeed()
	third.succeed()
	for _, m := range all[1:] {
		same(b, "the generation", m.generation, all[0].generation)
	}
	b.share(all...)
}

func rebalanceTimeout(b *broker) {
	all := b.members(2)
	all[0].within(long, short)
	b.settle(all[0])
	all[1].within(long, short).join() // though the first does not come back
	same(b, "it leads", all[1].leads, true)
	all[0].gone()
	b.share(all[1])
	b.undisturbed(all[1])
}

func leaderRejoins(b *broker) {
	all := b.members(2)
	b.settle(all...)
	generation := all[0].generation
	j := all[0].joining()
	all[1].told()
	j.waits()
	all[1].join()
	j.succeed()
	same(b, "the generation", all[0].generation, generation+1)
	b.share(all...)
}

func followerRejoins(b *broker) {
	all := b.members(2)
	b.settle(all...)
	generation := all[1].generation
	all[1].join()
	same(b, "the generation", all[1].generation, generation)
	b.undisturbed(all...)
}

func followerChanges(b *broker) {
	all := b.members(2)
	b.settle(all...)
	generation := all[1].generation
	j := all[1].reads("another").joining()
	all[0].told()
	all[0].join()
	j.succeed()
	same(b, "the generation", all[1].generation, generation+1)
}

func followerRetries(b *broker) {
	all := b.members(2)
	all[0].join()
	b.gather(all[:1], all[1:])
	generation := all[1].generation
	all[1].join()
	same(b, "the generation", all[1].generation, generation)
	b.share(all...)
}

func joinUnknown(b *broker) {
	all := b.members(2)
	b.settle(all[0])
	all[1].id = "nobody"
	all[1].joinRefused(kerr.UnknownMemberID)
	b.undisturbed(all[0])
}

// groupMax is group.max.size of run.sh.
const groupMax = 4

func groupFull(b *broker) {
	all := b.members(groupMax + 1)
	b.settle(all[:groupMax]...)
	all[groupMax].joinRefused(kerr.GroupMaxSizeReached)
	b.undisturbed(all[:groupMax]...)
}

func groupFullLeave(b *broker) {
	all := b.members(groupMax + 1)
	b.settle(all[:groupMax]...)
	all[groupMax].joinRefused(kerr.GroupMaxSizeReached)
	b.is("leaving", all[1].leave(), nil)
	all = slices.Delete(all, 1, 2)
	last := len(all) - 1
	b.gather(all[:last], all[last:])
	b.share(all...)
}

func pendingJoins(b *broker) {
	all := b.members(2)
	b.settle(all[0])
	all[1].askID()
	first := all[0].joining() // it leads, so this begins a rebalance
	b.inState(all[0].group, "PreparingRebalance")
	first.waits()
	all[1].join()
	first.succeed()
	same(b, "the generation", all[1].generation, all[0].generation)
	b.share(all...)
}

func pendingExpires(b *broker) {
	all := b.members(2)
	b.settle(all[0])
	all[1].within(short, long).askID()
	all[0].join() // waits until the other has expired
	b.share(all[0])
	all[1].joinRefused(kerr.UnknownMemberID)
	b.undisturbed(all[0])
}

func generations(b *broker) {
	m := b.members(1)[0]
	for want := int32(1); want <= 5; want++ {
		b.settle(m)
		same(b, "the generation", m.generation, want)
	}
	b.is("leaving", m.leave(), nil)
	b.inState(m.group, "Empty")
	next := m.again()
	b.settle(next)
	same(b, "the generation after an empty one", next.generation, 7)
}
