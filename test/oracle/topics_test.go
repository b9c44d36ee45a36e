package oracle

import (
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func createTopics(topics ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis, req.Topics = 30_000, topics
	return req
}

// assigned describes a topic whose replicas are given, a list a partition.
func assigned(name string, partitions int32, replicas int16, lists ...[]int32) kmsg.CreateTopicsRequestTopic {
	t := newTopic(name, partitions, replicas)
	for i, list := range lists {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = int32(i), list
		t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	}
	return t
}

func (s *suite) createTopics() {
	s.make("there", 1)
	each(19, func(v int16) {
		name := s.topic("create" + strconv.Itoa(int(v)))
		s.good(v, "a topic", createTopics(newTopic(name, 2, 1, "retention.ms", "123456")))
		s.bad(v, "a topic that exists", createTopics(newTopic(name, 2, 1)))
		only := createTopics(newTopic(name+"-only", 2, 1))
		only.ValidateOnly = true
		s.good(v, "validate only", only)
		if v >= 4 {
			s.good(v, "the broker's defaults", createTopics(newTopic(name+"-default", -1, -1)))
		}
		s.bad(v, "no partitions", createTopics(newTopic(name+"-x", 0, 1)))
	})
	s.createTopicsRefused()
	s.createTopicsConfigs()
}

// createTopicsRefused has a case a reason, at the newest version.
func (s *suite) createTopicsRefused() {
	const v = 7
	n := s.topic("refused")
	node := s.d.node
	for _, c := range []struct {
		what   string
		topics []kmsg.CreateTopicsRequestTopic
	}{
		{"no topic", nil},
		{"a bad topic beside a good one", []kmsg.CreateTopicsRequestTopic{newTopic(n+"-good", 1, 1), newTopic(n+"-bad", 1, 2)}},
		{"an empty name", []kmsg.CreateTopicsRequestTopic{newTopic("", 1, 1)}},
		{"a name with a blank", []kmsg.CreateTopicsRequestTopic{newTopic("not a name!", 1, 1)}},
		{"the name .", []kmsg.CreateTopicsRequestTopic{newTopic(".", 1, 1)}},
		{"the name ..", []kmsg.CreateTopicsRequestTopic{newTopic("..", 1, 1)}},
		{"a name of 250 letters", []kmsg.CreateTopicsRequestTopic{newTopic(strings.Repeat("x", 250), 1, 1)}},
		{"fewer than -1 partitions", []kmsg.CreateTopicsRequestTopic{newTopic(n, -2, 1)}},
		{"no replicas", []kmsg.CreateTopicsRequestTopic{newTopic(n, 1, 0)}},
		{"fewer than -1 replicas", []kmsg.CreateTopicsRequestTopic{newTopic(n, 1, -2)}},
		{"more replicas than brokers", []kmsg.CreateTopicsRequestTopic{newTopic(n, 1, 2)}},
		{"more partitions than a request may make", []kmsg.CreateTopicsRequestTopic{newTopic(n, 10_001, 1)}},
		{"a topic twice", []kmsg.CreateTopicsRequestTopic{newTopic(n, 1, 1), newTopic(n, 1, 1)}},
		{"an assignment and a count", []kmsg.CreateTopicsRequestTopic{assigned(n, 1, -1, []int32{node})}},
		{"an assignment and a factor", []kmsg.CreateTopicsRequestTopic{assigned(n, -1, 1, []int32{node})}},
		{"an assignment to an unknown broker", []kmsg.CreateTopicsRequestTopic{assigned(n, -1, -1, []int32{node + 70})}},
		{"an assignment to one broker twice", []kmsg.CreateTopicsRequestTopic{assigned(n, -1, -1, []int32{node, node})}},
		{"an assignment without replicas", []kmsg.CreateTopicsRequestTopic{assigned(n, -1, -1, []int32{})}},
		{"assignments of unequal length", []kmsg.CreateTopicsRequestTopic{assigned(n, -1, -1, []int32{node}, []int32{})}},
		{"an unknown config", []kmsg.CreateTopicsRequestTopic{newTopic(n, 1, 1, "no.such.config", "1")}},
		{"a config that is no number", []kmsg.CreateTopicsRequestTopic{newTopic(n, 1, 1, "retention.ms", "soon")}},
		{"a config below its range", []kmsg.CreateTopicsRequestTopic{newTopic(n, 1, 1, "segment.bytes", "13")}},
		{"a config out of its list", []kmsg.CreateTopicsRequestTopic{newTopic(n, 1, 1, "cleanup.policy", "shred")}},
		{"a config twice", []kmsg.CreateTopicsRequestTopic{newTopic(n+"-twice", 1, 1, "retention.ms", "1000", "retention.ms", "2000")}},
		{"down-conversion, which is gone", []kmsg.CreateTopicsRequestTopic{newTopic(n, 1, 1, "message.downconversion.enable", "true")}},
		{"a partition missing from an assignment", []kmsg.CreateTopicsRequestTopic{withGap(assigned(n, -1, -1, []int32{node}, []int32{node}))}},
	} {
		s.bad(v, c.what, createTopics(c.topics...))
	}
	s.good(v, "an assignment", createTopics(assigned(s.topic("assigned"), -1, -1, []int32{node}, []int32{node})))
	null := newTopic(n, 1, 1, "retention.ms", "1")
	null.Configs[0].Value = nil
	s.bad(v, "a config without a value", createTopics(null))
	s.good(v, "a name with a dot", createTopics(newTopic(s.topic("dot.name"), 1, 1)))
	s.bad(v, "a name that differs by dot and underscore", createTopics(newTopic(s.topic("dot_name"), 1, 1)))
	only := createTopics(newTopic(n, 1, 2))
	only.ValidateOnly = true
	s.bad(v, "validate only, with more replicas than brokers", only)
}

// withGap renumbers the last partition of an assignment.
func withGap(t kmsg.CreateTopicsRequestTopic) kmsg.CreateTopicsRequestTopic {
	t.ReplicaAssignment[len(t.ReplicaAssignment)-1].Partition += 5
	return t
}

// createTopicsConfigs sets every kind of topic config once.
func (s *suite) createTopicsConfigs() {
	for _, c := range [][2]string{
		{"cleanup.policy", "compact"}, {"cleanup.policy", "delete"}, {"cleanup.policy", "compact,delete"}, {"cleanup.policy", ""},
		{"compression.type", "producer"}, {"compression.type", "zstd"}, {"compression.type", "lzma"},
		{"message.timestamp.type", "CreateTime"}, {"message.timestamp.type", "LogAppendTime"}, {"message.timestamp.type", "Never"},
		{"min.insync.replicas", "2"}, {"min.insync.replicas", "0"}, {"segment.bytes", "1048576"}, {"segment.bytes", "1048575"},
		{"retention.ms", "-1"}, {"retention.ms", "-2"}, {"retention.bytes", "-1"}, {"flush.messages", "0"}, {"flush.messages", "1"},
		{"unclean.leader.election.enable", "maybe"}, {"unclean.leader.election.enable", "true"}, {"preallocate", "TRUE"},
		{"segment.ms", "0"}, {"segment.ms", "1"}, {"segment.jitter.ms", "-1"}, {"index.interval.bytes", "-1"}, {"segment.index.bytes", "3"},
		{"max.message.bytes", "0"}, {"max.message.bytes", "-1"}, {"max.message.bytes", "2147483648"}, {"max.message.bytes", " 1000 "},
		{"min.cleanable.dirty.ratio", "1.5"}, {"min.cleanable.dirty.ratio", "0.25"}, {"file.delete.delay.ms", "0"},
		{"message.timestamp.after.max.ms", "-1"}, {"message.timestamp.before.max.ms", "0"}, {"max.compaction.lag.ms", "0"},
		{"min.compaction.lag.ms", "-1"}, {"delete.retention.ms", "-1"}, {"follower.replication.throttled.replicas", "*"},
		{"leader.replication.throttled.replicas", "nonsense"}, {"remote.storage.enable", "true"}, {"local.retention.ms", "1000"},
	} {
		req := createTopics(newTopic(s.topic("conf"), 1, 1, c[0], c[1]))
		req.ValidateOnly = true
		s.bad(4, "config "+c[0]+"="+strconv.Quote(c[1]), req)
	}
}

func (s *suite) createPartitions() {
	node := s.d.node
	ask := func(count int32, name string, lists ...[]int32) *kmsg.CreatePartitionsRequest {
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.TimeoutMillis = 30_000
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = s.topic(name), count
		for _, list := range lists {
			a := kmsg.NewCreatePartitionsRequestTopicAssignment()
			a.Replicas = list
			t.Assignment = append(t.Assignment, a)
		}
		req.Topics = append(req.Topics, t)
		return req
	}
	each(37, func(v int16) {
		name := "grow" + strconv.Itoa(int(v))
		s.make(name, 1)
		only := ask(3, name)
		only.ValidateOnly = true
		s.good(v, "validate only", only)
		s.good(v, "one more", ask(2, name))
		s.learn(name, 2)
		s.bad(v, "as many as there are", ask(2, name))
		s.bad(v, "fewer than there are", ask(1, name))
		s.bad(v, "an unknown topic", ask(2, "nosuch"))
	})
	const v = 3
	s.good(v, "two more, assigned", ask(4, "grow3", []int32{node}, []int32{node}))
	s.learn("grow3", 4)
	s.bad(v, "no partitions", ask(0, "grow3"))
	s.bad(v, "fewer than none", ask(-1, "grow3"))
	s.bad(v, "too few assignments", ask(6, "grow3", []int32{node}))
	s.bad(v, "an assignment to an unknown broker", ask(5, "grow3", []int32{node + 70}))
	s.bad(v, "an assignment to one broker twice", ask(5, "grow3", []int32{node, node}))
	s.bad(v, "an empty assignment", ask(5, "grow3", []int32{}))
	twice := ask(5, "grow3")
	twice.Topics = append(twice.Topics, twice.Topics[0])
	s.bad(v, "a topic twice", twice)
	s.good(v, "no topic", kmsg.NewPtrCreatePartitionsRequest())
}

func (s *suite) deleteTopics() {
	named := func(v int16, names ...string) *kmsg.DeleteTopicsRequest {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.TimeoutMillis = 30_000
		for _, n := range names {
			if v < 6 {
				req.TopicNames = append(req.TopicNames, n)
			} else {
				req.Topics = append(req.Topics, kmsg.DeleteTopicsRequestTopic{Topic: &n})
			}
		}
		return req
	}
	each(20, func(v int16) {
		name := "delete" + strconv.Itoa(int(v))
		s.make(name, 2)
		s.good(v, "a topic", named(v, s.topic(name)))
		s.gone(name)
		s.bad(v, "a topic that is gone", named(v, s.topic(name)))
		s.bad(v, "an impossible name", named(v, "not a name!"))
	})
	const v = 6
	s.make("delete-id", 1)
	byID := func(ids ...[16]byte) *kmsg.DeleteTopicsRequest {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.TimeoutMillis = 30_000
		for _, id := range ids {
			req.Topics = append(req.Topics, kmsg.DeleteTopicsRequestTopic{TopicID: id})
		}
		return req
	}
	both := byID(s.ids["delete-id"])
	name := s.topic("delete-id")
	both.Topics[0].Topic = &name
	s.bad(v, "an id and a name", both)
	s.bad(v, "an unknown id", byID(unknownTopicID))
	s.bad(v, "neither an id nor a name", byID([16]byte{}))
	s.bad(v, "an id twice", byID(s.ids["delete-id"], s.ids["delete-id"]))
	s.bad(v, "a name twice", named(v, name, name))
	mixed := named(v, name)
	mixed.Topics = append(mixed.Topics, byID(s.ids["delete-id"]).Topics...)
	s.bad(v, "a topic by name and by id", mixed)
	s.good(v, "a topic by id", byID(s.ids["delete-id"]))
	s.gone("delete-id")
	s.good(v, "no topic", named(v))
}
