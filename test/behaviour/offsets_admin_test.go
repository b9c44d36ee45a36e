package behaviour

import (
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var offsetAdminScenarios = []scenario{
	{name: "deleting offsets deletes those that are named", run: func(b *broker) {
		group, topic := b.newGroup(), b.topic(2)
		ask(b, commitRequest(group, commit{topic, 0, 1, -1, ""}, commit{topic, 1, 2, -1, ""}))
		code, resp := b.deleteOffsets(group, topic, 0)
		b.is("deleting", code, nil)
		b.is("deleting", resp[0], nil)
		same(b, "the deleted offset", b.committed(group, topic), -1)
		left := only(b, only(b, only(b, b.fetchOffsets(false, nil, group)).Topics).Partitions)
		same(b, "the partition that is left", left.Partition, 1)
		same(b, "the offset that is left", left.Offset, 2)
	}},
	{name: "offsets of a topic that members read cannot be deleted, those of another can", run: func(b *broker) {
		read, unread := b.topic(1), b.topic(1)
		m := b.members(1)[0].reads(read)
		b.settle(m)
		b.is("committing", m.commit(read, 1), nil)
		b.is("committing", m.commit(unread, 2), nil)
		_, codes := b.deleteOffsets(m.group, read, 0)
		b.is("deleting", codes[0], kerr.GroupSubscribedToTopic)
		_, codes = b.deleteOffsets(m.group, unread, 0)
		b.is("deleting", codes[0], nil)
		same(b, "the offset of the one that is read", b.committed(m.group, read), 1)
		same(b, "the offset of the other", b.committed(m.group, unread), -1)
		b.undisturbed(m)
	}},
	{name: "offsets of a group that members have left can be deleted", run: func(b *broker) {
		topic := b.topic(1)
		m := b.members(1)[0].reads(topic)
		b.settle(m)
		b.is("committing", m.commit(topic, 1), nil)
		b.is("leaving", m.leave(), nil)
		b.inState(m.group, "Empty")
		code, codes := b.deleteOffsets(m.group, topic, 0)
		b.is("deleting", code, nil)
		b.is("deleting", codes[0], nil)
		same(b, "the offset", b.committed(m.group, topic), -1)
	}},
	{name: "offsets of a group that is not there cannot be deleted", run: func(b *broker) {
		code, _ := b.deleteOffsets(b.newGroup(), b.topic(1), 0)
		b.is("deleting", code, kerr.GroupIDNotFound)
	}},
	{name: "offsets of members of another protocol type than consumer cannot be deleted", run: func(b *broker) {
		m, topic := b.members(1)[0], b.topic(1)
		m.kind = "connect"
		b.settle(m)
		b.is("committing", m.commit(topic, 1), nil)
		code, _ := b.deleteOffsets(m.group, topic, 0)
		b.is("deleting", code, kerr.NonEmptyGroup)
		same(b, "the offset", b.committed(m.group, topic), 1)
	}},
	{name: "an administrator resets offsets once the group has no members", run: func(b *broker) {
		topic := b.topic(1)
		b.spread(topic, 1, 0, 10)
		m := b.members(1)[0].reads(topic)
		b.settle(m)
		b.is("committing", m.commit(topic, 10), nil)
		reset := kadm.Offsets{}
		reset.AddOffset(topic, 0, 2, -1)
		resp, err := b.admin().CommitOffsets(b.context(), m.group, reset)
		b.must("resetting", err)
		same(b, "it is refused", resp.Error() != nil, true)
		same(b, "the offset", b.committed(m.group, topic), 10)
		b.is("leaving", m.leave(), nil)
		b.inState(m.group, "Empty")
		b.must("resetting", b.admin().CommitAllOffsets(b.context(), m.group, reset))
		same(b, "the offset", b.committed(m.group, topic), 2)
	}},
	{name: "the lag of a group is what its members have not read", run: func(b *broker) {
		topic := b.topic(2)
		b.spread(topic, 2, 0, 20)
		m := b.members(1)[0].reads(topic)
		b.settle(m)
		b.is("committing", m.commit(topic, 4), nil)
		lags, err := b.admin().Lag(b.context(), m.group)
		b.must("asking for the lag", err)
		lag, ok := lags[m.group].Lag.Lookup(topic, 0)
		same(b, "it is there", ok, true)
		same(b, "the lag", lag.Lag, 6)
		b.spread(topic, 2, 20, 10)
		lags, err = b.admin().Lag(b.context(), m.group)
		b.must("asking for the lag", err)
		lag, _ = lags[m.group].Lag.Lookup(topic, 0)
		same(b, "the lag after more records", lag.Lag, 11)
	}},
	{name: "the offsets of a deleted topic are gone, and do not come back with its name", run: func(b *broker) {
		group, topic, other := b.newGroup(), b.topic(1), b.topic(1)
		b.is("committing", b.commit(group, topic, 5), nil)
		b.is("committing", b.commit(group, other, 6), nil)
		b.deleteTopic(topic)
		b.until("its offsets are gone", func() bool { return len(only(b, b.fetchOffsets(false, nil, group)).Topics) == 1 })
		b.createTopic(topic, 1)
		same(b, "the offset in the new topic", b.committed(group, topic), -1)
		same(b, "the offset of the other", b.committed(group, other), 6)
	}},
	{name: "a consumer whose offset was deleted from the log begins where its policy says", run: func(b *broker) {
		group, topic := b.newGroup(), b.topic(1)
		b.spread(topic, 1, 0, 10)
		b.is("committing", b.commit(group, topic, 2), nil)
		b.is("deleting records", b.deleteRecords(topic, 7).ErrorCode, nil)
		r := b.reader(group, kgo.ConsumeTopics(topic))
		b.until("the rest is read", func() bool { return len(r.values()) >= 3 })
		same(b, "what was read", list(r.values()...), list("7", "8", "9"))
	}},
	{name: "the topic of committed offsets is internal and closed to clients", run: func(b *broker) {
		b.newGroup()
		const topic = offsetsTopic
		described := b.describeTopic(topic)
		same(b, "it is internal", described.IsInternal, true)
		same(b, "the partitions", len(described.Partitions), 4)
		b.is("writing", b.produceOne(topic, recs("k=v")).ErrorCode, kerr.InvalidTopicException)
	}},
}

const offsetsTopic = "__consumer_offsets"

// deleteOffsets deletes what a group has committed for partitions of a topic.
func (b *broker) deleteOffsets(group, topic string, partitions ...int32) (code int16, codes []int16) {
	b.Helper()
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = group
	t := kmsg.NewOffsetDeleteRequestTopic()
	t.Topic = topic
	for _, id := range partitions {
		p := kmsg.NewOffsetDeleteRequestTopicPartition()
		p.Partition = id
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	resp := ask(b, req)
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			codes = append(codes, p.ErrorCode)
		}
	}
	return resp.ErrorCode, codes
}

var offsetExpiryScenarios = []scenario{
	{name: "a commit with a retention time of its own expires after it", run: func(b *broker) {
		group, topic := b.newGroup(), b.topic(1)
		b.is("committing", b.commitFor(group, topic, short.Milliseconds()), nil)
		same(b, "the offset", b.committed(group, topic), 5)
		b.until("it expires", func() bool { return b.committed(group, topic) == -1 })
	}},
	{name: "a commit that replaces one with a retention time stays", run: func(b *broker) {
		group, topic, sentinel := b.newGroup(), b.topic(1), b.topic(1)
		b.is("committing", b.commitFor(group, topic, 1), nil)
		b.is("committing", b.commit(group, topic, 6), nil)
		for range 2 {
			b.is("committing", b.commitFor(group, sentinel, 1), nil)
			b.until("another expires", func() bool { return b.committed(group, sentinel) == -1 })
		}
		same(b, "the offset", b.committed(group, topic), 6)
	}},
	{name: "a group whose last offset expires is gone", run: func(b *broker) {
		group, topic := b.newGroup(), b.topic(1)
		b.is("committing", b.commitFor(group, topic, 1), nil)
		b.inState(group, "Dead")
		same(b, "it is listed", b.listed(group) == nil, true)
	}},
	{name: "offsets of a topic that members read do not expire, those of another do", run: func(b *broker) {
		read, unread := b.topic(1), b.topic(1)
		m := b.members(1)[0].reads(read)
		b.settle(m)
		b.is("committing", m.commitFor(read, 1), nil)
		for range 2 {
			b.is("committing", m.commitFor(unread, 1), nil)
			b.until("the other's expires", func() bool { return b.committed(m.group, unread) == -1 })
		}
		same(b, "the offset of the one that is read", b.committed(m.group, read), 5)
		b.undisturbed(m)
	}},
	{name: "offsets of a simple consumer expire after offsets.retention.minutes", run: func(b *broker) {
		group, topic := b.newGroup(), b.topic(1)
		b.is("committing", b.commit(group, topic, 5), nil)
		b.expires(group, topic)
	}},
	{name: "offsets of a group that its members have left expire after offsets.retention.minutes", run: func(b *broker) {
		topic := b.topic(1)
		m := b.members(1)[0].reads(topic)
		b.settle(m)
		b.is("committing", m.commit(topic, 5), nil)
		b.is("leaving", m.leave(), nil)
		b.expires(m.group, topic)
	}},
	{name: "offsets of a group with members stay beyond offsets.retention.minutes", run: func(b *broker) {
		topic, gone := b.topic(1), b.newGroup()
		m := b.members(1)[0].reads(topic)
		b.settle(m)
		b.is("committing", m.commit(topic, 5), nil)
		b.is("committing as another", b.commit(gone, topic, 5), nil)
		b.lasting("the other's expires", func() bool { m.alive(); return b.committed(gone, topic) == -1 })
		same(b, "the offset", b.committed(m.group, topic), 5)
	}},
}

// commitFor commits offset 5 with a retention time, as clients did before version 5.
func (b *broker) commitFor(group, topic string, ms int64) int16 {
	b.Helper()
	req := commitRequest(group, commit{topic: topic, offset: 5, epoch: -1})
	req.RetentionTimeMillis = ms
	return only(b, codes(askAt(b, 2, req)))
}

func (m *member) commitFor(topic string, ms int64) int16 {
	m.b.Helper()
	req := commitRequest(m.group, commit{topic: topic, offset: 5, epoch: -1})
	req.MemberID, req.Generation, req.RetentionTimeMillis = m.id, m.generation, ms
	return only(m.b, codes(askAt(m, 2, req)))
}

// expires waits for an offset and its group to be gone.
func (b *broker) expires(group, topic string) {
	b.Helper()
	same(b, "the offset", b.committed(group, topic), 5)
	b.lasting("it expires", func() bool { return b.committed(group, topic) == -1 })
	b.inState(group, "Dead")
}

// lasting is until for what offsets.retention.minutes, one at the least, keeps for a minute.
func (b *broker) lasting(what string, done func() bool) {
	b.Helper()
	b.untilWithin(2*patience, what, done)
}
