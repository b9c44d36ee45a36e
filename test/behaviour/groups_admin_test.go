package behaviour

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var groupAdminScenarios = []scenario{
	{name: "a group that nobody made is Dead", run: func(b *broker) {
		group := b.newGroup()
		described := b.describeGroup(group)
		same(b, "the state", described.State, "Dead")
		b.is("describing", described.ErrorCode, kerr.GroupIDNotFound)
		same(b, "it is listed", b.listed(group) == nil, true)
	}},
	{name: "a group of offsets alone is Empty", run: func(b *broker) {
		group := b.newGroup()
		b.is("committing", b.commit(group, b.topic(1), 1), nil)
		same(b, "the state", b.state(group), "Empty")
		same(b, "the protocol type", b.listed(group).ProtocolType, "")
	}},
	{name: "a group whose members are awaited is PreparingRebalance and shows the assignments of before, without metadata", run: func(b *broker) {
		all := b.members(2)
		b.settle(all[0])
		j := all[1].joining()
		b.inState(all[0].group, "PreparingRebalance")
		b.sized(all[0].group, 2)
		for _, m := range b.describeGroup(all[0].group).Members {
			want := ""
			if m.MemberID == all[0].id {
				want = all[0].assignment
			}
			same(b, "the assignment", string(m.MemberAssignment), want)
			same(b, "metadata", len(m.ProtocolMetadata), 0)
		}
		all[0].join()
		j.succeed()
	}},
	{name: "a group whose leader is to sync is CompletingRebalance and shows no assignments", run: func(b *broker) {
		m := b.members(1)[0]
		m.join()
		described := b.describeGroup(m.group)
		same(b, "the state", described.State, "CompletingRebalance")
		of := only(b, described.Members)
		same(b, "metadata and assignment", len(of.ProtocolMetadata)+len(of.MemberAssignment), 0)
	}},
	{name: "a stable group shows the metadata and assignment of each member", run: func(b *broker) {
		all := b.members(2)
		b.settle(all[0].reads("a"), all[1].reads("b"))
		described := b.describeGroup(all[0].group)
		same(b, "the protocol", described.Protocol, "range")
		for _, m := range all {
			i := slices.IndexFunc(described.Members, func(of kmsg.DescribeGroupsResponseGroupMember) bool { return of.MemberID == m.id })
			same(b, "it is there", i >= 0, true)
			same(b, "the metadata", string(described.Members[i].ProtocolMetadata), string(m.metadata))
			same(b, "the assignment", string(described.Members[i].MemberAssignment), m.part())
			same(b, "the client", described.Members[i].ClientID, "behaviour")
			same(b, "the host", strings.Contains(described.Members[i].ClientHost, "127.0.0.1"), true)
		}
	}},
	{name: "groups are listed by their states", run: func(b *broker) {
		stable, empty := b.members(1)[0], b.members(1)[0]
		b.settle(stable)
		b.settle(empty)
		b.is("leaving", empty.leave(), nil)
		b.inState(empty.group, "Empty")
		b.listedUnder([]string{"Stable"}, nil, stable.group, true)
		b.listedUnder([]string{"Stable"}, nil, empty.group, false)
		b.listedUnder([]string{"empty"}, nil, empty.group, true)
		b.listedUnder([]string{"Stable", "Empty"}, nil, stable.group, true)
		b.listedUnder([]string{"PreparingRebalance"}, nil, stable.group, false)
	}},
	{name: "groups are listed by their types", run: func(b *broker) {
		m := b.members(1)[0]
		b.settle(m)
		b.listedUnder(nil, []string{"classic"}, m.group, true)
		b.listedUnder(nil, []string{"consumer"}, m.group, false)
		b.listedUnder([]string{"Stable"}, []string{"Classic", "share"}, m.group, true)
		b.listedUnder([]string{"Empty"}, []string{"classic"}, m.group, false)
	}},
	{name: "a listed group has its state, type and protocol type", run: func(b *broker) {
		m := b.members(1)[0]
		b.settle(m)
		of := b.listed(m.group)
		same(b, "the state", of.GroupState, "Stable")
		same(b, "the type", of.GroupType, "classic")
		same(b, "the protocol type", of.ProtocolType, "consumer")
	}},
	{name: "deleting an empty group deletes its offsets", run: func(b *broker) {
		group, topic := b.newGroup(), b.topic(1)
		b.is("committing", b.commit(group, topic, 7), nil)
		b.is("deleting", b.deleteGroups(group)[0], nil)
		same(b, "the committed offset", b.committed(group, topic), -1)
		same(b, "the state", b.state(group), "Dead")
		same(b, "it is listed", b.listed(group) == nil, true)
	}},
	{name: "a group with members cannot be deleted and goes on", run: func(b *broker) {
		topic := b.topic(1)
		m := b.members(1)[0]
		b.settle(m)
		b.is("committing", m.commit(topic, 7), nil)
		b.is("deleting", b.deleteGroups(m.group)[0], kerr.NonEmptyGroup)
		b.undisturbed(m)
		same(b, "the committed offset", b.committed(m.group, topic), 7)
	}},
	{name: "several groups are deleted in one request, each with an answer of its own", run: func(b *broker) {
		topic, empty := b.topic(1), b.newGroup()
		b.is("committing", b.commit(empty, topic, 7), nil)
		m := b.members(1)[0]
		b.settle(m)
		codes := b.deleteGroups(m.group, empty, b.newGroup())
		for i, want := range []*kerr.Error{kerr.NonEmptyGroup, nil, kerr.GroupIDNotFound} {
			b.is("deleting", codes[i], want)
		}
	}},
	{name: "a deleted group begins again with generation 1", run: func(b *broker) {
		m := b.members(1)[0]
		b.settle(m)
		b.settle(m)
		b.is("leaving", m.leave(), nil)
		b.inState(m.group, "Empty")
		b.is("deleting", b.deleteGroups(m.group)[0], nil)
		b.is("committing", b.commit(m.group, offsetsTopic, 0), nil) // or it may be forgotten while it is joined
		next := m.again()
		b.settle(next)
		same(b, "the generation", next.generation, 1)
	}},
}

// listed returns how a group is listed, or nil.
func (b *broker) listed(group string) *kmsg.ListGroupsResponseGroup {
	b.Helper()
	return b.listedBy(nil, nil, group)
}

func (b *broker) listedBy(states, types []string, group string) *kmsg.ListGroupsResponseGroup {
	b.Helper()
	req := kmsg.NewPtrListGroupsRequest()
	req.StatesFilter, req.TypesFilter = states, types
	resp := ask(b, req)
	b.is("listing", resp.ErrorCode, nil)
	for _, of := range resp.Groups {
		if of.Group == group {
			return &of
		}
	}
	return nil
}

func (b *broker) listedUnder(states, types []string, group string, want bool) {
	b.Helper()
	if got := b.listedBy(states, types, group) != nil; got != want {
		b.Fatalf("listed under states %v and types %v: %v, not %v", states, types, got, want)
	}
}

// deleteGroups returns the code of each group, in their order.
func (b *broker) deleteGroups(groups ...string) []int16 {
	b.Helper()
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = groups
	codes := make([]int16, len(groups))
	for _, of := range ask(b, req).Groups {
		codes[slices.Index(groups, of.Group)] = of.ErrorCode
	}
	return codes
}
