package oracle

import (
	"encoding/binary"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// each runs f for every served version of an API.
func each(key int16, f func(v int16)) {
	for v := versions[key][0]; v <= versions[key][1]; v++ {
		f(v)
	}
}

func (s *suite) apiVersions() {
	named := func(name, version string) *kmsg.ApiVersionsRequest {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = name, version
		return req
	}
	each(18, func(v int16) {
		s.good(v, "versions", named("oracle", "1.0-x"))
		if v < 3 {
			return
		}
		for _, bad := range [][2]string{{"", "1"}, {"oracle", ""}, {"-oracle", "1"}, {"oracle.", "1"}, {"orac le", "1"}, {"oracle", "1_0"}} {
			s.bad(v, "software "+strconv.Quote(bad[0])+" "+strconv.Quote(bad[1]), named(bad[0], bad[1]))
		}
		s.good(v, "software of one letter", named("o", "1"))
	})
	// A version that is not served is answered in the form of version 0 (KIP-511).
	v0 := kmsg.NewPtrApiVersionsRequest()
	v5 := named("oracle", "4.4.0")
	v5.SetVersion(5)
	s.raw(v0, "version 5 of a present client", payload(v5, s.correl, clientID))
	cluster := "some-other-cluster-id0"
	v5.ClusterID, v5.NodeID = &cluster, 77
	s.raw(v0, "version 5 with a cluster and a node", payload(v5, s.correl, clientID))
	s.raw(v0, "version 100 with rubbish", append(header(18, 100, s.correl, clientID, true), 1, 2, 3))
	s.raw(v0, "version 32767 and nothing else", header(18, 32767, s.correl, clientID, false))
}

func (s *suite) metadata() {
	s.make("meta", 3)
	unknown, bad, internal := s.topic("nosuch"), "not a name!", "__transaction_state"
	meta := s.topic("meta")
	ask := func(v int16, auto bool, topics ...kmsg.MetadataRequestTopic) *kmsg.MetadataRequest {
		req := kmsg.NewPtrMetadataRequest()
		req.AllowAutoTopicCreation = auto
		req.Topics = append([]kmsg.MetadataRequestTopic{}, topics...)
		return req
	}
	name := func(n *string) kmsg.MetadataRequestTopic { return kmsg.MetadataRequestTopic{Topic: n} }
	each(3, func(v int16) {
		s.good(v, "one topic", ask(v, false, name(&meta)))
		if v > 0 { // none before version 1 is all, and so whatever the broker has
			s.good(v, "no topic", ask(v, false))
		}
		if v >= 4 { // before, unknown topics are created
			s.bad(v, "an unknown topic", ask(v, false, name(&unknown), name(&meta)))
			s.bad(v, "an internal topic that is not there", ask(v, false, name(&internal)))
		}
		s.bad(v, "an impossible name", ask(v, true, name(&bad)))
		if v >= 8 {
			req := ask(v, false, name(&meta))
			req.IncludeClusterAuthorizedOperations, req.IncludeTopicAuthorizedOperations = v <= 10, true
			s.good(v, "authorized operations", req)
			req = ask(v, false, name(&unknown), name(&bad))
			req.IncludeTopicAuthorizedOperations = true
			s.bad(v, "authorized operations of topics that are not there", req)
		}
		if v >= 10 {
			s.bad(v, "an id and a name", ask(v, false, kmsg.MetadataRequestTopic{TopicID: s.ids["meta"], Topic: &meta}))
			s.bad(v, "neither an id nor a name", ask(v, false, kmsg.MetadataRequestTopic{}))
			s.bad(v, "a topic by id", ask(v, false, kmsg.MetadataRequestTopic{TopicID: s.ids["meta"]})) // served from 12
			s.bad(v, "an unknown id", ask(v, false, kmsg.MetadataRequestTopic{TopicID: unknownTopicID}))
			empty := ""
			s.bad(v, "a topic by id with an empty name", ask(v, false, kmsg.MetadataRequestTopic{TopicID: s.ids["meta"], Topic: &empty})) // as Java's clients ask
		}
		s.autoCreated(v)
	})
	v0 := kmsg.NewPtrMetadataRequest()
	v0.Topics = []kmsg.MetadataRequestTopic{name(&meta), name(&meta)}
	s.good(12, "one topic twice", v0)
	for _, v := range []int16{1, 9} { // arrays that claim more than there is
		req := kmsg.NewPtrMetadataRequest()
		req.SetVersion(v)
		body := header(3, v, s.correl, clientID, v >= 9)
		if v >= 9 {
			body = append(body, 0xff, 0xff, 0xff, 0xff, 0x0f)
		} else {
			body = binary.BigEndian.AppendUint32(body, 1<<31-1)
		}
		s.raw(req, "an array of 2^31 topics", body)
	}
}

// autoCreated asks for a topic that is created behind the answer.
func (s *suite) autoCreated(v int16) {
	name := "auto" + strconv.Itoa(int(v))
	full := s.topic(name)
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = true
	req.Topics = []kmsg.MetadataRequestTopic{{Topic: &full}}
	s.good(v, "a topic to be created", req) // until it is there, it is unknown
	s.learn(name, 1)
	again := *req
	s.good(v, "a topic that was created", &again)
}

func (s *suite) describeCluster() {
	each(60, func(v int16) {
		req := kmsg.NewDescribeClusterRequest()
		s.good(v, "brokers", &req)
		ops := kmsg.NewDescribeClusterRequest()
		ops.IncludeClusterAuthorizedOperations = true
		s.good(v, "authorized operations", &ops)
		if v >= 1 {
			for _, kind := range []int8{2, 3, 0, -1} {
				bad := kmsg.NewDescribeClusterRequest()
				bad.EndpointType = kind
				s.bad(v, "endpoint type "+strconv.Itoa(int(kind)), &bad)
			}
		}
		if v >= 2 {
			fenced := kmsg.NewDescribeClusterRequest()
			fenced.IncludeFencedBrokers = true
			s.good(v, "fenced brokers too", &fenced)
		}
	})
}

func (s *suite) describeQuorum() {
	type topic = kmsg.DescribeQuorumRequestTopic
	of := func(name string, partitions ...int32) topic {
		t := topic{Topic: name}
		for _, p := range partitions {
			t.Partitions = append(t.Partitions, kmsg.DescribeQuorumRequestTopicPartition{Partition: p})
		}
		return t
	}
	ask := func(topics ...topic) *kmsg.DescribeQuorumRequest {
		req := kmsg.NewPtrDescribeQuorumRequest()
		req.Topics = topics
		return req
	}
	const name = "__cluster_metadata"
	each(55, func(v int16) {
		s.good(v, "the quorum", ask(of(name, 0)))
		s.bad(v, "another partition", ask(of(name, 1)))
		s.bad(v, "a partition below zero", ask(of(name, -1)))
		s.bad(v, "two partitions", ask(of(name, 0, 1)))
		s.bad(v, "a partition twice", ask(of(name, 0, 0)))
		s.bad(v, "no partition", ask(of(name)))
		s.bad(v, "a topic twice", ask(of(name, 0), of(name, 0)))
		s.bad(v, "another topic", ask(of(s.topic("nosuch"), 0)))
		s.bad(v, "another topic too", ask(of(name, 0), of(s.topic("nosuch"), 0)))
		s.bad(v, "no topic", ask())
	})
}

func (s *suite) describeTopicPartitions() {
	s.make("dtp-a", 3)
	s.make("dtp-b", 2)
	ask := func(limit int32, cursor *kmsg.DescribeTopicPartitionsRequestCursor, names ...string) *kmsg.DescribeTopicPartitionsRequest {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit, req.Cursor = limit, cursor
		for _, n := range names {
			req.Topics = append(req.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: n})
		}
		return req
	}
	a, b := s.topic("dtp-a"), s.topic("dtp-b")
	at := func(topic string, partition int32) *kmsg.DescribeTopicPartitionsRequestCursor {
		c := kmsg.NewDescribeTopicPartitionsRequestCursor()
		c.Topic, c.Partition = topic, partition
		return &c
	}
	s.good(0, "two topics", ask(2000, nil, b, a))
	s.good(0, "a topic twice", ask(2000, nil, a, a))
	s.good(0, "a limit of two", ask(2, nil, a, b))
	s.good(0, "a limit at a topic's end", ask(3, nil, a, b))
	s.good(0, "from a cursor", ask(2, at(a, 2), a, b))
	s.good(0, "from a cursor behind the last partition", ask(2000, at(a, 3), a, b))
	s.good(0, "from a cursor of a topic that was not asked for", ask(2000, at(s.topic("dtp-aa"), 0), a, b))
	s.good(0, "from a cursor after the last topic", ask(2000, at(s.topic("dtp-z"), 0), a, b))
	s.bad(0, "an unknown topic", ask(2000, nil, s.topic("nosuch"), a))
	s.bad(0, "an impossible name", ask(2000, nil, "not a name!"))
	s.bad(0, "a limit of zero", ask(0, nil, a))
	s.bad(0, "a limit below zero", ask(-1, nil, a))
	s.bad(0, "a cursor below zero", ask(2000, at(a, -1), a))
}

func (s *suite) initProducerID() {
	// The first producer of a new broker waits for a block of ids.
	for deadline := time.Now().Add(answerTimeout); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if s.quiet(at(0, kmsg.NewPtrInitProducerIDRequest())).(*kmsg.InitProducerIDResponse).ErrorCode == 0 {
			break
		}
	}
	each(22, func(v int16) {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionTimeoutMillis = 60_000
		s.good(v, "a new producer", req)
		empty := ""
		bad := kmsg.NewPtrInitProducerIDRequest()
		bad.TransactionalID, bad.TransactionTimeoutMillis = &empty, 60_000
		s.bad(v, "an empty transactional id", bad)
		zero := kmsg.NewPtrInitProducerIDRequest()
		s.good(v, "no timeout", zero)
		if v < 3 {
			return
		}
		for _, c := range []struct {
			what     string
			producer int64
			epoch    int16
		}{{"a producer without an epoch", 5, -1}, {"an epoch without a producer", -1, 5}, {"a producer and its epoch", 5, 5}} {
			odd := kmsg.NewPtrInitProducerIDRequest()
			odd.ProducerID, odd.ProducerEpoch = c.producer, c.epoch
			s.bad(v, c.what, odd)
		}
	})
}
