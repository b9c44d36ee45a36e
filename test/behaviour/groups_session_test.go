package behaviour

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var syncScenarios = []scenario{
	{name: "a follower's sync waits for the leader's and brings what that assigned", run: syncWaits},
	{name: "a sync of a stable group brings the same assignment again", run: syncAgain},
	{name: "a member that the leader forgets gets an empty assignment", run: syncForgotten},
	{name: "a leader that never syncs is dropped after the rebalance timeout", run: syncNeverComes},
	{name: "a sync that waits ends when another member joins", run: syncInterrupted},
	{name: "a sync of an old generation is refused and changes nothing", run: syncRefused(kerr.IllegalGeneration, func(r *kmsg.SyncGroupRequest) { r.Generation-- })},
	{name: "a sync of an unknown member is refused and changes nothing", run: syncRefused(kerr.UnknownMemberID, func(r *kmsg.SyncGroupRequest) { r.MemberID = "nobody" })},
	{name: "a sync of another protocol is refused and changes nothing", run: syncRefused(kerr.InconsistentGroupProtocol, func(r *kmsg.SyncGroupRequest) { r.Protocol = kmsg.StringPtr("another") })},
	{name: "a sync of another protocol type is refused and changes nothing", run: syncRefused(kerr.InconsistentGroupProtocol, func(r *kmsg.SyncGroupRequest) { r.ProtocolType = kmsg.StringPtr("connect") })},
	{name: "a sync during a rebalance says so", run: syncDuringRebalance},
}

func syncWaits(b *broker) {
	all := b.members(2)
	all[0].join()
	b.gather(all[:1], all[1:])
	s := all[1].syncing()
	b.inState(all[0].group, "CompletingRebalance")
	s.waits()
	all[0].sync(all...)
	s.succeed()
	same(b, "the assignment", all[1].assignment, all[1].part())
}

func syncAgain(b *broker) {
	all := b.members(2)
	b.settle(all...)
	for _, m := range all {
		before := m.assignment
		m.sync()
		same(b, "the assignment", m.assignment, before)
	}
	b.undisturbed(all...)
}

func syncForgotten(b *broker) {
	all := b.members(2)
	all[0].join()
	b.gather(all[:1], all[1:])
	all[0].sync(all[0])
	all[1].sync()
	same(b, "the assignment", all[1].assignment, "")
	b.undisturbed(all...)
}

func syncNeverComes(b *broker) {
	all := b.members(2)
	all[0].join()
	all[0].within(long, short)
	all[1].within(long, short)
	b.gather(all[:1], all[1:])
	all[1].syncing().fail(kerr.RebalanceInProgress)
	all[1].join()
	same(b, "it leads", all[1].leads, true)
	all[0].gone()
	b.share(all[1])
}

func syncInterrupted(b *broker) {
	all := b.members(3)
	all[0].join()
	b.gather(all[:1], all[1:2])
	s := all[1].syncing()
	b.inState(all[0].group, "CompletingRebalance")
	third := all[2].joining()
	s.fail(kerr.RebalanceInProgress)
	first, second := all[0].joining(), all[1].joining()
	for _, j := range []*pending[*kmsg.JoinGroupResponse]{first, second, third} {
		j.succeed()
	}
	b.share(all...)
}

func syncRefused(want *kerr.Error, change func(*kmsg.SyncGroupRequest)) func(*broker) {
	return func(b *broker) {
		m := b.members(1)[0]
		m.join()
		req := m.syncRequest(m)
		change(req)
		b.is("syncing", ask(m, req).ErrorCode, want)
		same(b, "the state", b.state(m.group), "CompletingRebalance")
		b.share(m)
		b.is("syncing once stable", ask(m, req).ErrorCode, want)
		b.undisturbed(m)
	}
}

func syncDuringRebalance(b *broker) {
	all := b.members(2)
	b.settle(all[0])
	j := all[1].joining()
	all[0].told()
	b.is("syncing", ask(all[0], all[0].syncRequest()).ErrorCode, kerr.RebalanceInProgress)
	all[0].join()
	j.succeed()
	b.share(all...)
}

var sessionScenarios = []scenario{
	{name: "a heartbeat between join and sync is well", run: func(b *broker) {
		m := b.members(1)[0]
		m.join()
		m.alive()
		b.share(m)
	}},
	{name: "a heartbeat of an old generation is refused", run: func(b *broker) {
		m := b.members(1)[0]
		b.settle(m)
		m.generation--
		b.is("a heartbeat", m.heartbeat(), kerr.IllegalGeneration)
		m.generation++
		b.undisturbed(m)
	}},
	{name: "a heartbeat of an unknown member is refused", run: func(b *broker) {
		all := b.members(2)
		b.settle(all[0])
		all[1].id, all[1].generation = "nobody", all[0].generation
		all[1].gone()
		b.undisturbed(all[0])
	}},
	{name: "a heartbeat to an unknown group is refused", run: func(b *broker) {
		m := b.member(b.newGroup())
		m.id, m.generation = "nobody", 1
		m.gone()
		same(b, "the state", b.state(m.group), "Dead")
	}},
	{name: "heartbeats tell of a rebalance until the member has joined again", run: func(b *broker) {
		all := b.members(2)
		b.settle(all[0])
		j := all[1].joining()
		all[0].told()
		b.is("another heartbeat", all[0].heartbeat(), kerr.RebalanceInProgress)
		all[0].join()
		j.succeed()
		all[0].alive()
	}},
	{name: "a member that is silent for its session timeout is dropped, and the others rebalance", run: sessionExpires},
	{name: "heartbeats keep a member beyond its session timeout", run: func(b *broker) {
		m := b.members(1)[0].within(2*short, long)
		b.settle(m)
		for end := time.Now().Add(3 * short); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			m.alive()
		}
		b.undisturbed(m)
	}},
	{name: "commits keep a member beyond its session timeout", run: func(b *broker) {
		topic := b.topic(1)
		m := b.members(1)[0].within(2*short, long)
		b.settle(m)
		for end := time.Now().Add(3 * short); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			b.is("committing", m.commit(topic, 1), nil)
		}
		b.undisturbed(m)
	}},
	{name: "the last member's expiry empties the group", run: func(b *broker) {
		m := b.members(1)[0].within(short, long)
		b.settle(m)
		b.inState(m.group, "Empty")
		m.gone()
	}},
	{name: "a member that never syncs is dropped after its session timeout too", run: func(b *broker) {
		m := b.members(1)[0].within(short, long)
		m.join()
		b.inState(m.group, "Empty")
		m.gone()
	}},
	{name: "a session timeout below the least is refused", run: sessionRefused(999 * time.Millisecond)},
	{name: "a session timeout above the greatest is refused", run: sessionRefused(time.Minute + time.Millisecond)},
	{name: "the least and the greatest session timeouts are allowed", run: func(b *broker) {
		for _, session := range []time.Duration{time.Second, time.Minute} {
			m := b.members(1)[0].within(session, long)
			m.join()
		}
	}},
	{name: "a member that leaves makes the others rebalance", run: leave},
	{name: "the last member that leaves empties the group, which keeps its protocol type", run: func(b *broker) {
		m := b.members(1)[0]
		b.settle(m)
		b.is("leaving", m.leave(), nil)
		b.inState(m.group, "Empty")
		described := b.describeGroup(m.group)
		same(b, "the protocol type", described.ProtocolType, "consumer")
		same(b, "the protocol", described.Protocol, "")
		same(b, "the members", len(described.Members), 0)
	}},
	{name: "an unknown member that leaves is told so and disturbs nobody", run: func(b *broker) {
		m := b.members(1)[0]
		b.settle(m)
		resp := b.leaveGroup(m.group, leaver("nobody", nil))
		b.is("leaving", only(b, resp.Members).ErrorCode, kerr.UnknownMemberID)
		b.undisturbed(m)
	}},
	{name: "several members leave in one request, each with an answer of its own", run: leaveTogether},
	{name: "a rebalance is complete once the member that it waits for has left", run: func(b *broker) {
		all := b.members(2)
		b.settle(all[0])
		j := all[1].joining()
		all[0].told()
		j.waits()
		b.is("leaving", all[0].leave(), nil)
		j.succeed()
		same(b, "it leads", all[1].leads, true)
		b.share(all[1])
	}},
	{name: "a member that has its id but has not joined can leave", run: func(b *broker) {
		all := b.members(2)
		b.settle(all[0])
		all[1].askID()
		first := all[0].joining()
		b.inState(all[0].group, "PreparingRebalance")
		first.waits()
		b.is("leaving", all[1].leave(), nil)
		first.succeed()
		all[1].joinRefused(kerr.UnknownMemberID)
	}},
	{name: "an empty group id is refused by every request of members", run: emptyGroupID},
}

func sessionExpires(b *broker) {
	all := b.members(2)
	all[1].within(short, long)
	b.settle(all...)
	generation := all[0].generation
	all[0].told()
	all[0].join()
	same(b, "the generation", all[0].generation, generation+1)
	all[1].gone()
	b.share(all[0])
	b.undisturbed(all[0])
}

func sessionRefused(session time.Duration) func(*broker) {
	return func(b *broker) {
		m := b.member(b.newGroup()).within(session, long)
		m.joinRefused(kerr.InvalidSessionTimeout)
		same(b, "the state", b.state(m.group), "Dead")
	}
}

func leave(b *broker) {
	all := b.members(2)
	b.settle(all...)
	generation := all[0].generation
	b.is("leaving", all[1].leave(), nil)
	all[0].told()
	all[0].join()
	same(b, "the generation", all[0].generation, generation+1)
	all[1].gone()
	b.share(all[0])
}

func leaveTogether(b *broker) {
	all := b.members(3)
	b.settle(all...)
	resp := b.leaveGroup(all[0].group, leaver(all[1].id, nil), leaver("nobody", nil), leaver(all[2].id, nil))
	b.is("leaving", resp.ErrorCode, nil)
	same(b, "the answers", len(resp.Members), 3)
	for i, want := range []*kerr.Error{nil, kerr.UnknownMemberID, nil} {
		b.is("leaving", resp.Members[i].ErrorCode, want)
	}
	all[0].told()
	all[0].join()
	b.share(all[0])
	b.undisturbed(all[0])
}

func emptyGroupID(b *broker) {
	m := b.member("")
	b.is("joining", ask(m, m.joinRequest()).ErrorCode, kerr.InvalidGroupID)
	m.id, m.generation = "nobody", 1
	b.is("syncing", ask(m, m.syncRequest()).ErrorCode, kerr.InvalidGroupID)
	b.is("a heartbeat", m.heartbeat(), kerr.InvalidGroupID)
	b.is("leaving", b.leaveGroup("", leaver("nobody", nil)).ErrorCode, kerr.InvalidGroupID)
}
