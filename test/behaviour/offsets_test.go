package behaviour

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A commit is one partition of an OffsetCommit request.
type commit struct {
	topic     string
	partition int32
	offset    int64
	epoch     int32
	metadata  string
}

func commitRequest(group string, commits ...commit) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = group, -1
	for _, c := range commits {
		t, p := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
		t.Topic, p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = c.topic, c.partition, c.offset, c.epoch, &c.metadata
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	return req
}

// codes are the answers to a commit, in its order.
func codes(resp *kmsg.OffsetCommitResponse) (codes []int16) {
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			codes = append(codes, p.ErrorCode)
		}
	}
	return codes
}

// commit commits an offset of partition 0 as a simple consumer, one without a group of members.
func (b *broker) commit(group, topic string, offset int64) int16 {
	b.Helper()
	return only(b, codes(ask(b, commitRequest(group, commit{topic: topic, offset: offset, epoch: -1}))))
}

// commit commits an offset of partition 0 as a member.
func (m *member) commit(topic string, offset int64) int16 {
	m.b.Helper()
	req := commitRequest(m.group, commit{topic: topic, offset: offset, epoch: -1})
	req.MemberID, req.InstanceID, req.Generation = m.id, m.instance, m.generation
	return only(m.b, codes(ask(m, req)))
}

// fetchOffsets returns what groups have committed for partitions of topics; no topic is all.
func (b *broker) fetchOffsets(stable bool, topics map[string][]int32, groups ...string) []kmsg.OffsetFetchResponseGroup {
	b.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = stable
	for _, group := range groups {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = group
		for topic, partitions := range topics {
			t := kmsg.NewOffsetFetchRequestGroupTopic()
			t.Topic, t.Partitions = topic, partitions
			g.Topics = append(g.Topics, t)
		}
		req.Groups = append(req.Groups, g)
	}
	return ask(b, req).Groups
}

// fetched returns what a group has committed for partition 0.
func (b *broker) fetched(group, topic string) kmsg.OffsetFetchResponseGroupTopicPartition {
	b.Helper()
	g := only(b, b.fetchOffsets(false, map[string][]int32{topic: {0}}, group))
	b.is("fetching offsets", g.ErrorCode, nil)
	p := only(b, only(b, g.Topics).Partitions)
	b.is("fetching an offset", p.ErrorCode, nil)
	return p
}

// committed returns the offset that a group has committed for partition 0, or -1.
func (b *broker) committed(group, topic string) int64 {
	b.Helper()
	return b.fetched(group, topic).Offset
}

// metadataMax is offset.metadata.max.bytes of run.sh.
const metadataMax = 128

var commitScenarios = []scenario{
	{name: "a committed offset is fetched with its metadata and leader epoch", run: func(b *broker) {
		group, topic := b.newGroup(), b.topic(1)
		resp := ask(b, commitRequest(group, commit{topic, 0, 42, 3, "where I was"}))
		b.is("committing", only(b, codes(resp)), nil)
		p := b.fetched(group, topic)
		same(b, "the offset", p.Offset, 42)
		same(b, "the leader epoch", p.LeaderEpoch, 3)
		same(b, "the metadata", *p.Metadata, "where I was")
	}},
	{name: "the last commit of a partition counts, forwards and back", run: func(b *broker) {
		group, topic := b.newGroup(), b.topic(1)
		for _, offset := range []int64{5, 100, 7} {
			b.is("committing", b.commit(group, topic, offset), nil)
			same(b, "the offset", b.committed(group, topic), offset)
		}
	}},
	{name: "an offset beyond the end of the log is kept as it is", run: func(b *broker) {
		group, topic := b.newGroup(), b.topic(1)
		b.is("committing", b.commit(group, topic, 1<<40), nil)
		same(b, "the offset", b.committed(group, topic), 1<<40)
	}},
	{name: "partitions without a commit have none, in any group", run: func(b *broker) {
		group, topic := b.newGroup(), b.topic(2)
		same(b, "the offset in an unknown group", b.committed(group, topic), -1)
		b.is("committing", b.commit(group, topic, 1), nil)
		g := only(b, b.fetchOffsets(false, map[string][]int32{topic: {1}}, group))
		p := only(b, only(b, g.Topics).Partitions)
		b.is("fetching", p.ErrorCode, nil)
		same(b, "the offset", p.Offset, -1)
		same(b, "the leader epoch", p.LeaderEpoch, -1)
	}},
	{name: "metadata that is too long is refused, and the other partitions are committed", run: func(b *broker) {
		group, topic := b.newGroup(), b.topic(1)
		other := b.topic(1)
		resp := ask(b, commitRequest(group,
			commit{topic, 0, 1, -1, strings.Repeat("m", metadataMax+1)}, commit{other, 0, 2, -1, strings.Repeat("m", metadataMax)}))
		got := codes(resp)
		b.is("committing", got[0], kerr.OffsetMetadataTooLarge)
		b.is("committing", got[1], nil)
		same(b, "the refused offset", b.committed(group, topic), -1)
		same(b, "the other offset", b.committed(group, other), 2)
	}},
	{name: "an unknown topic or partition is refused, and the others are committed", run: func(b *broker) {
		group, topic := b.newGroup(), b.topic(1)
		resp := ask(b, commitRequest(group, commit{b.name(), 0, 1, -1, ""}, commit{topic, 9, 2, -1, ""}, commit{topic, 0, 3, -1, ""}))
		byCode := map[int16]int{}
		for _, code := range codes(resp) {
			byCode[code]++
		}
		same(b, "refused as unknown", byCode[kerr.UnknownTopicOrPartition.Code], 2)
		same(b, "committed", byCode[0], 1)
		same(b, "the offset", b.committed(group, topic), 3)
	}},
	{name: "a fetch without topics brings all that a group has committed", run: func(b *broker) {
		group, one, two := b.newGroup(), b.topic(2), b.topic(1)
		ask(b, commitRequest(group, commit{one, 0, 1, -1, ""}, commit{one, 1, 2, -1, ""}, commit{two, 0, 3, -1, ""}))
		got := map[string]int64{}
		for _, t := range only(b, b.fetchOffsets(false, nil, group)).Topics {
			for _, p := range t.Partitions {
				got[t.Topic] += p.Offset
			}
		}
		same(b, "topics", len(got), 2)
		same(b, "the offsets of one", got[one], 3)
		same(b, "the offset of the other", got[two], 3)
	}},
	{name: "one request fetches the offsets of several groups", run: func(b *broker) {
		topic := b.topic(1)
		groups := []string{b.newGroup(), b.newGroup(), b.newGroup()}
		b.is("committing", b.commit(groups[0], topic, 10), nil)
		b.is("committing", b.commit(groups[2], topic, 12), nil)
		got := b.fetchOffsets(false, map[string][]int32{topic: {0}}, groups...)
		same(b, "groups", len(got), 3)
		for i, want := range []int64{10, -1, 12} {
			same(b, "the group", got[i].Group, groups[i])
			b.is("fetching", got[i].ErrorCode, nil)
			same(b, "the offset", got[i].Topics[0].Partitions[0].Offset, want)
		}
	}},
	{name: "stable offsets are the committed ones where there is no transaction", run: func(b *broker) {
		group, topic := b.newGroup(), b.topic(1)
		b.is("committing", b.commit(group, topic, 6), nil)
		g := only(b, b.fetchOffsets(true, map[string][]int32{topic: {0}}, group))
		p := only(b, only(b, g.Topics).Partitions)
		b.is("fetching", p.ErrorCode, nil)
		same(b, "the offset", p.Offset, 6)
	}},
	{name: "a simple consumer may commit to a group that its members have left", run: func(b *broker) {
		m, topic := b.members(1)[0], b.topic(1)
		b.settle(m)
		b.is("committing", m.commit(topic, 3), nil)
		b.is("leaving", m.leave(), nil)
		b.inState(m.group, "Empty")
		same(b, "the offset", b.committed(m.group, topic), 3)
		b.is("committing", b.commit(m.group, topic, 4), nil)
		same(b, "the offset", b.committed(m.group, topic), 4)
	}},
	{name: "a simple consumer may not commit to a group with members", run: func(b *broker) {
		m, topic := b.members(1)[0], b.topic(1)
		b.settle(m)
		b.is("committing", m.commit(topic, 3), nil)
		b.is("committing", b.commit(m.group, topic, 4), kerr.UnknownMemberID)
		same(b, "the offset", b.committed(m.group, topic), 3)
		b.undisturbed(m)
	}},
	{name: "a commit of an old generation changes nothing", run: func(b *broker) {
		m, topic := b.members(1)[0], b.topic(1)
		b.settle(m)
		b.settle(m)
		b.is("committing", m.commit(topic, 3), nil)
		m.generation--
		b.is("committing", m.commit(topic, 4), kerr.IllegalGeneration)
		same(b, "the offset", b.committed(m.group, topic), 3)
	}},
	{name: "a commit of an unknown member changes nothing", run: func(b *broker) {
		all, topic := b.members(2), b.topic(1)
		b.settle(all[0])
		all[1].id, all[1].generation = "nobody", all[0].generation
		b.is("committing", all[1].commit(topic, 4), kerr.UnknownMemberID)
		same(b, "the offset", b.committed(all[0].group, topic), -1)
	}},
	{name: "a commit of a member that left changes nothing", run: func(b *broker) {
		all, topic := b.members(2), b.topic(1)
		b.settle(all...)
		b.is("leaving", all[1].leave(), nil)
		b.is("committing", all[1].commit(topic, 4), kerr.UnknownMemberID)
		same(b, "the offset", b.committed(all[0].group, topic), -1)
	}},
	{name: "members commit during a rebalance until all have joined, and then not before they synced", run: func(b *broker) {
		all, topic := b.members(2), b.topic(1)
		b.settle(all[0])
		j := all[1].joining()
		all[0].told()
		b.is("committing while preparing", all[0].commit(topic, 4), nil)
		all[0].join()
		j.succeed()
		b.is("committing while completing", all[0].commit(topic, 5), kerr.RebalanceInProgress)
		same(b, "the offset", b.committed(all[0].group, topic), 4)
		b.share(all...)
		b.is("committing when stable", all[0].commit(topic, 5), nil)
		same(b, "the offset", b.committed(all[0].group, topic), 5)
	}},
	{name: "a commit with a generation to a group that is not there is refused", run: func(b *broker) {
		m, topic := b.member(b.newGroup()), b.topic(1)
		m.id, m.generation = "nobody", 1
		b.is("committing", m.commit(topic, 4), kerr.GroupIDNotFound)
		same(b, "the state", b.state(m.group), "Dead")
	}},
	{name: "a commit by topic id is the same as one by name", run: func(b *broker) {
		group, topic := b.newGroup(), b.topic(1)
		req := commitRequest(group, commit{topic: topic, offset: 11, epoch: -1})
		req.Topics[0].Topic, req.Topics[0].TopicID = "", b.describeTopic(topic).TopicID
		b.is("committing", only(b, codes(askAt(b, 10, req))), nil)
		same(b, "the offset", b.committed(group, topic), 11)
		req.Topics[0].TopicID[0]++
		b.is("committing to an id that is none", only(b, codes(askAt(b, 10, req))), kerr.UnknownTopicID)
	}},
	{name: "a consumer goes on from where its group has committed", run: func(b *broker) {
		group, topic := b.newGroup(), b.topic(1)
		b.spread(topic, 1, 0, 10)
		b.is("committing", b.commit(group, topic, 6), nil)
		r := b.reader(group, kgo.ConsumeTopics(topic))
		b.until("the rest is read", func() bool { return len(r.values()) >= 4 })
		same(b, "what was read", list(r.values()...), list("6", "7", "8", "9"))
	}},
}
