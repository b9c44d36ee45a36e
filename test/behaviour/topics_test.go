package behaviour

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var createScenarios = []scenario{
	{name: "a topic has the partitions that it was made with, led by the broker", run: func(b *broker) {
		topic := b.topic(5)
		described := b.describeTopic(topic)
		same(b, "partitions", len(described.Partitions), 5)
		for _, p := range described.Partitions {
			b.is("a partition", p.ErrorCode, nil)
			same(b, "the leader", p.Leader, 1)
			same(b, "replicas", fmt.Sprint(p.Replicas, p.ISR), "[1] [1]")
		}
		same(b, "it has an id", described.TopicID == [16]byte{}, false)
	}},
	{name: "a topic without a number of partitions has num.partitions", run: func(b *broker) {
		name := b.name()
		made := b.create(false, newTopic(name, -1))[name]
		b.is("making", made.ErrorCode, nil)
		same(b, "partitions told", made.NumPartitions, 2)
		same(b, "replicas told", made.ReplicationFactor, 1)
		b.until("it is there", func() bool { return len(b.describeTopic(name).Partitions) == 2 })
	}},
	{name: "a topic may be made by assignments", run: func(b *broker) {
		made, name := b.assigned(0, []int32{1}, []int32{1}, []int32{1})
		b.is("making", made.ErrorCode, nil)
		b.until("it is there", func() bool { return len(b.describeTopic(name).Partitions) == 3 })
	}},
	{name: "an assignment to a broker that is not there is refused", run: badTopic(kerr.InvalidReplicaAssignment, func(t *kmsg.CreateTopicsRequestTopic) { assign(t, 0, []int32{7}) })},
	{name: "an assignment to one broker twice is refused", run: badTopic(kerr.InvalidReplicaAssignment, func(t *kmsg.CreateTopicsRequestTopic) { assign(t, 0, []int32{1, 1}) })},
	{name: "assignments that leave out a partition are refused", run: badTopic(kerr.InvalidReplicaAssignment, func(t *kmsg.CreateTopicsRequestTopic) { assign(t, 1, []int32{1}) })},
	{name: "assignments of different lengths are refused", run: badTopic(kerr.InvalidReplicaAssignment, func(t *kmsg.CreateTopicsRequestTopic) { assign(t, 0, []int32{1}, nil) })},
	{name: "assignments together with a number of partitions are refused", run: badTopic(kerr.InvalidRequest, func(t *kmsg.CreateTopicsRequestTopic) {
		assign(t, 0, []int32{1})
		t.NumPartitions = 1
	})},
	{name: "more replicas than brokers are refused", run: badTopic(kerr.InvalidReplicationFactor, func(t *kmsg.CreateTopicsRequestTopic) { t.ReplicationFactor = 2 })},
	{name: "no replicas are refused", run: badTopic(kerr.InvalidReplicationFactor, func(t *kmsg.CreateTopicsRequestTopic) { t.ReplicationFactor = 0 })},
	{name: "no partitions are refused", run: badTopic(kerr.InvalidPartitions, func(t *kmsg.CreateTopicsRequestTopic) { t.NumPartitions = 0 })},
	{name: "fewer partitions than none are refused", run: badTopic(kerr.InvalidPartitions, func(t *kmsg.CreateTopicsRequestTopic) { t.NumPartitions = -2 })},
	{name: "an empty name is refused", run: badName("")},
	{name: "the name . is refused", run: badName(".")},
	{name: "the name .. is refused", run: badName("..")},
	{name: "a name with a blank is refused", run: badName("not a name")},
	{name: "a name with a slash is refused", run: badName("a/b")},
	{name: "a name outside ASCII is refused", run: badName("größe")},
	{name: "a name of 250 letters is refused", run: badName(strings.Repeat("n", 250))},
	{name: "a name of 249 letters, digits, dots, underscores and dashes is taken", run: func(b *broker) {
		name := b.name()
		name += "._-Z9" + strings.Repeat("n", 249-5-len(name))
		b.createTopic(name, 1)
		b.append(name, recs("k=v"))
		same(b, "what is there", texts(b.read(name)), "0:k=v")
		b.deleteTopic(name)
	}},
	{name: "a name that differs from another in dot and underscore is refused", run: func(b *broker) {
		base := b.name()
		b.createTopic(base+".x_y", 1)
		for _, name := range []string{base + "_x_y", base + ".x.y", base + "_x.y"} {
			b.is("making "+name, b.create(false, newTopic(name, 1))[name].ErrorCode, kerr.InvalidTopicException)
			same(b, "it is there", b.topicExists(name), false)
		}
	}},
	{name: "a topic that is there is not made again", run: func(b *broker) {
		topic := b.topic(1)
		id := b.describeTopic(topic).TopicID
		b.append(topic, recs("k=v"))
		b.is("making it again", b.create(false, newTopic(topic, 3))[topic].ErrorCode, kerr.TopicAlreadyExists)
		same(b, "its id", b.describeTopic(topic).TopicID, id)
		same(b, "its partitions", len(b.describeTopic(topic).Partitions), 1)
		same(b, "what is there", texts(b.read(topic)), "0:k=v")
	}},
	{name: "a topic twice in one request is refused, and the others are made", run: func(b *broker) {
		twice, once := b.name(), b.name()
		got := b.create(false, newTopic(twice, 1), newTopic(once, 1), newTopic(twice, 2))
		b.is("making it twice", got[twice].ErrorCode, kerr.InvalidRequest)
		b.is("making it once", got[once].ErrorCode, nil)
		b.until("the other is there", func() bool { return b.topicExists(once) })
		same(b, "the one is there", b.topicExists(twice), false)
	}},
	{name: "one bad topic does not keep back the others of a request", run: func(b *broker) {
		good, bad := b.name(), b.name()
		got := b.create(false, newTopic(bad, 0), newTopic(good, 1))
		b.is("making the bad", got[bad].ErrorCode, kerr.InvalidPartitions)
		b.is("making the good", got[good].ErrorCode, nil)
		b.until("the good is there", func() bool { return b.topicExists(good) })
		same(b, "the bad is there", b.topicExists(bad), false)
	}},
	{name: "a topic that is only validated is not made", run: func(b *broker) {
		name := b.name()
		made := b.create(true, newTopic(name, 4, "retention.ms=5"))[name]
		b.is("validating", made.ErrorCode, nil)
		same(b, "partitions told", made.NumPartitions, 4)
		b.topic(1) // every earlier topic shows by now
		same(b, "it is there", b.topicExists(name), false)
		b.is("validating a bad one", b.create(true, newTopic(name, 0))[name].ErrorCode, kerr.InvalidPartitions)
	}},
	{name: "fifty topics are made in one request", run: func(b *broker) {
		prefix := b.name()
		var topics []kmsg.CreateTopicsRequestTopic
		for i := range 50 {
			topics = append(topics, newTopic(fmt.Sprint(prefix, "-", i), 1))
		}
		for name, made := range b.create(false, topics...) {
			b.is("making "+name, made.ErrorCode, nil)
		}
		for _, t := range topics {
			b.until(t.Topic+" is there", func() bool { return b.topicExists(t.Topic) })
		}
	}},
}

func assign(t *kmsg.CreateTopicsRequestTopic, first int32, replicas ...[]int32) {
	t.NumPartitions, t.ReplicationFactor = -1, -1
	for i, r := range replicas {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = first+int32(i), r
		t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	}
}

// assigned makes a topic by assignments of partitions from a first one on.
func (b *broker) assigned(first int32, replicas ...[]int32) (kmsg.CreateTopicsResponseTopic, string) {
	b.Helper()
	t := newTopic(b.name(), -1)
	assign(&t, first, replicas...)
	return b.create(false, t)[t.Topic], t.Topic
}

func badTopic(want *kerr.Error, change func(*kmsg.CreateTopicsRequestTopic)) func(*broker) {
	return func(b *broker) {
		t := newTopic(b.name(), 1)
		change(&t)
		made := b.create(false, t)[t.Topic]
		b.is("making", made.ErrorCode, want)
		same(b, "it says why", valueOf(made.ErrorMessage) != "null", true)
		b.topic(1) // every earlier topic shows by now
		same(b, "it is there", b.topicExists(t.Topic), false)
	}
}

// badName is a name that no request makes a topic of.
func badName(name string) func(*broker) {
	return func(b *broker) {
		b.is("making", b.create(false, newTopic(name, 1))[name].ErrorCode, kerr.InvalidTopicException)
		b.is("asking for it", b.autoCreate(name, true).ErrorCode, kerr.InvalidTopicException)
		for _, t := range b.allTopics() {
			same(b, "it is there", *t.Topic == name, false)
		}
	}
}

// autoCreate asks Metadata for a topic that it may make.
func (b *broker) autoCreate(name string, allowed bool) kmsg.MetadataResponseTopic {
	b.Helper()
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &name
	req.Topics, req.AllowAutoTopicCreation = append(req.Topics, t), allowed
	return only(b, ask(b, req).Topics)
}

func (b *broker) allTopics() []kmsg.MetadataResponseTopic {
	b.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = nil
	return ask(b, req).Topics
}

var topicScenarios = []scenario{
	{name: "a topic that a client asks for is made where the client allows it", run: func(b *broker) {
		name := b.name()
		b.is("asking without leave", b.autoCreate(name, false).ErrorCode, kerr.UnknownTopicOrPartition)
		b.topic(1)
		same(b, "it is there", b.topicExists(name), false)
		b.is("asking with leave", b.autoCreate(name, true).ErrorCode, kerr.UnknownTopicOrPartition)
		b.led(name, 2)
		b.append(name, recs("k=v"))
	}},
	{name: "a topic that many ask for at the same time is made once", run: func(b *broker) {
		name := b.name()
		done := make(chan error)
		for range 8 {
			go func(c *conn) {
				req := kmsg.NewPtrMetadataRequest()
				t := kmsg.NewMetadataRequestTopic()
				t.Topic = &name
				req.Topics, req.AllowAutoTopicCreation = append(req.Topics, t), true
				_, err := try(c, req)
				done <- err
			}(dial(b.T))
		}
		for range 8 {
			b.must("asking", <-done)
		}
		b.led(name, 2)
		p := b.produce(name, recs("a=1"), recs("b=2"))
		b.is("writing", p[0].ErrorCode, nil)
		b.is("writing", p[1].ErrorCode, nil)
	}},
	{name: "all topics are told of, and none where none is asked for", run: func(b *broker) {
		one, two := b.topic(1), b.topic(2)
		var names []string
		for _, t := range b.allTopics() {
			names = append(names, *t.Topic)
		}
		same(b, "both are there", slices.Contains(names, one) && slices.Contains(names, two), true)
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = []kmsg.MetadataRequestTopic{}
		resp := ask(b, req)
		same(b, "topics where none is asked for", len(resp.Topics), 0)
		same(b, "brokers", len(resp.Brokers), 1)
	}},
	{name: "a topic is found by its id, until it is deleted", run: func(b *broker) {
		topic := b.topic(1)
		id := b.describeTopic(topic).TopicID
		find := func() kmsg.MetadataResponseTopic {
			req := kmsg.NewPtrMetadataRequest()
			t := kmsg.NewMetadataRequestTopic()
			t.TopicID = id
			req.Topics = append(req.Topics, t)
			return only(b, ask(b, req).Topics)
		}
		found := find()
		b.is("finding", found.ErrorCode, nil)
		same(b, "the name", *found.Topic, topic)
		b.deleteTopic(topic)
		b.is("finding a deleted one", find().ErrorCode, kerr.UnknownTopicID)
	}},
	{name: "a deleted topic is gone for reading and writing", run: func(b *broker) {
		topic := b.topic(1)
		b.append(topic, recs("k=v"))
		b.deleteTopic(topic)
		b.is("writing", b.produceOne(topic, recs("k=v")).ErrorCode, kerr.UnknownTopicOrPartition)
		b.is("fetching", b.fetchOne(topic, 0).ErrorCode, kerr.UnknownTopicOrPartition)
		b.is("looking up", b.lookup(topic, 0, -1, -1).ErrorCode, kerr.UnknownTopicOrPartition)
	}},
	{name: "a topic is deleted by its id", run: func(b *broker) {
		topic := b.topic(1)
		id := b.describeTopic(topic).TopicID
		gone := b.deleteByID(id)
		b.is("deleting", gone.ErrorCode, nil)
		same(b, "the name that is told", valueOf(gone.Topic), topic)
		b.until("it is gone", func() bool { return !b.topicExists(topic) })
		b.is("deleting it again", b.deleteByID(id).ErrorCode, kerr.UnknownTopicID)
	}},
	{name: "a topic that is not there cannot be deleted", run: func(b *broker) {
		req := kmsg.NewPtrDeleteTopicsRequest()
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = kmsg.StringPtr(b.name())
		req.Topics, req.TimeoutMillis = append(req.Topics, t), 10_000
		b.is("deleting", only(b, ask(b, req).Topics).ErrorCode, kerr.UnknownTopicOrPartition)
	}},
	{name: "a topic that is made again is another one: empty, with another id", run: func(b *broker) {
		topic := b.topic(3)
		id := b.describeTopic(topic).TopicID
		b.append(topic, recs("k=old"))
		b.deleteTopic(topic)
		b.createTopic(topic, 1)
		same(b, "its id is the old one", b.describeTopic(topic).TopicID == id, false)
		same(b, "its partitions", len(b.describeTopic(topic).Partitions), 1)
		same(b, "the end of its log", b.latest(topic), 0)
		same(b, "the first offset", b.append(topic, recs("k=new")), 0)
		same(b, "what is there", texts(b.read(topic)), "0:k=new")
	}},
	{name: "the id of a deleted topic is unknown for reading and writing, though its name is there again", run: oldID},
	{name: "a topic is made and deleted twenty times", run: func(b *broker) {
		topic := b.topic(1)
		for range 20 {
			b.append(topic, recs("a=1", "b=2"))
			b.deleteTopic(topic)
			b.createTopic(topic, 1)
		}
		same(b, "the end of the log", b.latest(topic), 0)
	}},
	{name: "partitions are added, and written to", run: func(b *broker) {
		topic := b.topic(1)
		b.append(topic, recs("k=v"))
		b.is("adding", b.grow(topic, 3, false).ErrorCode, nil)
		b.led(topic, 3)
		for i, p := range b.produce(topic, recs("a=1"), recs("b=2"), recs("c=3")) {
			b.is("writing", p.ErrorCode, nil)
			same(b, "the offset", p.BaseOffset, []int64{1, 0, 0}[i])
		}
		same(b, "what is in the first", texts(b.read(topic)), "0:k=v, 1:a=1")
	}},
	{name: "partitions are not taken away", run: func(b *broker) {
		topic := b.topic(3)
		for _, count := range []int32{3, 2, 0, -1} {
			b.is("asking for another number", b.grow(topic, count, false).ErrorCode, kerr.InvalidPartitions)
		}
		same(b, "partitions", len(b.describeTopic(topic).Partitions), 3)
	}},
	{name: "partitions that are only validated are not added", run: func(b *broker) {
		topic := b.topic(1)
		b.is("validating", b.grow(topic, 3, true).ErrorCode, nil)
		b.topic(1)
		same(b, "partitions", len(b.describeTopic(topic).Partitions), 1)
	}},
	{name: "new partitions are assigned as is asked, or refused", run: func(b *broker) {
		topic := b.topic(1)
		b.is("one assignment for two", b.grow(topic, 3, false, []int32{1}).ErrorCode, kerr.InvalidReplicaAssignment)
		b.is("a broker that is not there", b.grow(topic, 2, false, []int32{7}).ErrorCode, kerr.InvalidReplicaAssignment)
		same(b, "partitions", len(b.describeTopic(topic).Partitions), 1)
		b.is("one for one", b.grow(topic, 2, false, []int32{1}).ErrorCode, nil)
		b.until("it is there", func() bool { return len(b.describeTopic(topic).Partitions) == 2 })
	}},
	{name: "a topic that is not there gets no partitions", run: func(b *broker) {
		b.is("adding", b.grow(b.name(), 3, false).ErrorCode, kerr.UnknownTopicOrPartition)
	}},
	{name: "a consumer of a topic finds its new partitions", run: func(b *broker) {
		topic := b.topic(1)
		r := b.reader(b.newGroup(), kgo.ConsumeTopics(topic), kgo.MetadataMaxAge(refresh), kgo.MetadataMinAge(refresh))
		b.until("it has the first", func() bool { return r.has(topic) == 1 })
		b.is("adding", b.grow(topic, 2, false).ErrorCode, nil)
		b.led(topic, 2)
		b.spread(topic, 2, 0, 10)
		b.until("all is read", func() bool { return r.has(topic) == 2 && len(r.values()) == 10 })
		b.counts(10, r.values())
	}},
	{name: "topics are described in pages", run: pages},
}

func (b *broker) deleteByID(id [16]byte) kmsg.DeleteTopicsResponseTopic {
	b.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.TopicID = id
	req.Topics, req.TimeoutMillis = append(req.Topics, t), 10_000
	return only(b, ask(b, req).Topics)
}

// grow asks for a number of partitions in all, and assignments of those that are new.
func (b *broker) grow(topic string, count int32, validateOnly bool, replicas ...[]int32) kmsg.CreatePartitionsResponseTopic {
	b.Helper()
	req := kmsg.NewPtrCreatePartitionsRequest()
	t := kmsg.NewCreatePartitionsRequestTopic()
	t.Topic, t.Count = topic, count
	for _, r := range replicas {
		a := kmsg.NewCreatePartitionsRequestTopicAssignment()
		a.Replicas = r
		t.Assignment = append(t.Assignment, a)
	}
	req.Topics, req.TimeoutMillis, req.ValidateOnly = append(req.Topics, t), 10_000, validateOnly
	return only(b, ask(b, req).Topics)
}

func oldID(b *broker) {
	topic := b.topic(1)
	write := func(id [16]byte) int16 {
		req := produceRequest(-1, "", recs("k=v"))
		req.Topics[0].TopicID = id
		return only(b, only(b, askAt(b, 13, req).Topics).Partitions).ErrorCode
	}
	fetch := func(id [16]byte) int16 {
		req := fetchRequest("", 0)
		req.Topics[0].TopicID = id
		return only(b, only(b, askAt(b, 13, req).Topics).Partitions).ErrorCode
	}
	old := b.describeTopic(topic).TopicID
	b.is("writing", write(old), nil)
	b.is("fetching", fetch(old), nil)
	b.deleteTopic(topic)
	b.createTopic(topic, 1)
	b.is("writing to the old", write(old), kerr.UnknownTopicID)
	b.is("fetching from the old", fetch(old), kerr.UnknownTopicID)
	same(b, "the end of the new log", b.latest(topic), 0)
	b.is("writing to the new", write(b.describeTopic(topic).TopicID), nil)
}

// pages asks for six partitions of two topics by four.
func pages(b *broker) {
	names := []string{b.topic(3), b.topic(3)}
	slices.Sort(names)
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = 4
	for _, name := range names {
		t := kmsg.NewDescribeTopicPartitionsRequestTopic()
		t.Topic = name
		req.Topics = append(req.Topics, t)
	}
	var seen []string
	page := func() *kmsg.DescribeTopicPartitionsResponse {
		resp := ask(b, req)
		for _, t := range resp.Topics {
			b.is("describing", t.ErrorCode, nil)
			for _, p := range t.Partitions {
				seen = append(seen, fmt.Sprint(*t.Topic, "-", p.Partition))
			}
		}
		return resp
	}
	first := page()
	same(b, "partitions of the first page", len(seen), 4)
	same(b, "there is more", first.NextCursor != nil, true)
	cursor := kmsg.NewDescribeTopicPartitionsRequestCursor()
	cursor.Topic, cursor.Partition = first.NextCursor.Topic, first.NextCursor.Partition
	req.Cursor = &cursor
	same(b, "there is more", page().NextCursor != nil, false)
	var want []string
	for _, name := range names {
		for p := range 3 {
			want = append(want, fmt.Sprint(name, "-", p))
		}
	}
	same(b, "partitions", list(seen...), list(want...))
}
