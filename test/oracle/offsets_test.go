package oracle

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// at sets a request's version.
func at(v int16, req kmsg.Request) kmsg.Request {
	req.SetVersion(v)
	return req
}

func (s *suite) offsetsOf(topic string, partition int32, timestamp int64) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.TimeoutMillis = -1, 10_000
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = s.topic(topic)
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition, timestamp
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// listOffsets looks up in a topic with times that go up, stand still and go back.
func (s *suite) listOffsets() {
	const topic = "offsets"
	s.make(topic, 2, "retention.ms", "-1")
	for _, b := range []batch{
		{records: simple(3).records, first: firstTime},
		{records: simple(2).records, first: firstTime + 10_000, codec: 1},
		{records: simple(2).records, first: firstTime - 60_000},
		{records: simple(3).records, first: firstTime + 20_000, codec: 3},
	} {
		s.quiet(at(9, s.produceTo(topic, b.encode())))
	}
	each(2, func(v int16) {
		for _, c := range []struct {
			what string
			at   int64
		}{
			{"the latest", -1}, {"the earliest", -2}, {"the first of all", firstTime}, {"a time between two records", firstTime + 500},
			{"a record's time", firstTime + 2000}, {"a time between batches", firstTime + 5000}, {"a time within gzip", firstTime + 10_500},
			{"a time within lz4", firstTime + 21_000}, {"time zero", 0}, {"after everything", firstTime + 90_000},
		} {
			s.good(v, c.what, s.offsetsOf(topic, 0, c.at))
		}
		for _, special := range []int64{-3, -4, -5, -6, -7, -100} { // of later versions, and of none
			s.bad(v, "timestamp "+itoa(special), s.offsetsOf(topic, 0, special))
		}
		s.good(v, "the greatest time of an empty partition", s.offsetsOf(topic, 1, -3))
		s.good(v, "a time in an empty partition", s.offsetsOf(topic, 1, firstTime))
		s.bad(v, "an unknown partition", s.offsetsOf(topic, 9, -1))
		s.bad(v, "an unknown topic", s.offsetsOf("nosuch", 0, -1))
		twice := s.offsetsOf(topic, 0, -1)
		twice.Topics[0].Partitions = append(twice.Topics[0].Partitions, twice.Topics[0].Partitions[0], s.offsetsOf(topic, 1, -1).Topics[0].Partitions[0])
		s.bad(v, "a partition twice", twice)
		if v >= 2 {
			committed := s.offsetsOf(topic, 0, -1)
			committed.IsolationLevel = 1
			s.good(v, "the latest, read committed", committed)
		}
		if v >= 4 {
			for _, epoch := range []int32{0, 5, -2} {
				req := s.offsetsOf(topic, 0, -1)
				req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
				s.bad(v, "leader epoch "+itoa(int64(epoch)), req)
			}
		}
	})
	debug := s.offsetsOf(topic, 0, -1)
	debug.ReplicaID = -2
	s.good(9, "as a debugging consumer", debug)
}

func (s *suite) leaderEpochs() {
	ask := func(topic string, partition, current, epoch int32) *kmsg.OffsetForLeaderEpochRequest {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.ReplicaID = -1
		t := kmsg.NewOffsetForLeaderEpochRequestTopic()
		t.Topic = s.topic(topic)
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = partition, current, epoch
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		return req
	}
	each(23, func(v int16) {
		s.good(v, "the present epoch", ask("offsets", 0, -1, 0))
		s.good(v, "a later epoch", ask("offsets", 0, -1, 5))
		s.good(v, "no epoch", ask("offsets", 0, -1, -1))
		s.good(v, "an empty partition", ask("offsets", 1, -1, 0))
		s.good(v, "with the present leader epoch", ask("offsets", 0, 0, 0))
		s.bad(v, "with a later leader epoch", ask("offsets", 0, 5, 0))
		s.bad(v, "with an impossible leader epoch", ask("offsets", 0, -5, 0))
		s.bad(v, "an unknown partition", ask("offsets", 9, -1, 0))
		s.bad(v, "an unknown topic", ask("nosuch", 0, -1, 0))
	})
	debug := ask("offsets", 0, -1, 0)
	debug.ReplicaID = -2
	s.good(4, "as a debugging consumer", debug)
}

func (s *suite) deleteRecords() {
	ask := func(topic string, partition int32, offset int64) *kmsg.DeleteRecordsRequest {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.TimeoutMillis = 30_000
		t := kmsg.NewDeleteRecordsRequestTopic()
		t.Topic = s.topic(topic)
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition, p.Offset = partition, offset
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		return req
	}
	each(21, func(v int16) {
		topic := "shorten" + itoa(int64(v))
		s.make(topic, 1, "retention.ms", "-1")
		s.quiet(at(9, s.produceTo(topic, simple(4).encode())))
		s.good(v, "up to the second", ask(topic, 0, 2))
		s.good(v, "up to where it begins", ask(topic, 0, 1))
		s.bad(v, "beyond the end", ask(topic, 0, 9))
		s.bad(v, "below -1", ask(topic, 0, -2))
		s.bad(v, "an unknown partition", ask(topic, 9, 0))
		s.bad(v, "an unknown topic", ask("nosuch", 0, 0))
		s.good(v, "an empty request", kmsg.NewPtrDeleteRecordsRequest())
		s.good(1+v, "the earliest after deleting from "+topic, s.offsetsOf(topic, 0, -2))
		s.bad(11, "deleted records of "+topic, s.fetchFrom(topic, 0, 1))
		s.good(11, "what is left of "+topic, s.fetchFrom(topic, 0, 2))
		s.good(v, "up to the high watermark", ask(topic, 0, -1))
		s.good(11, "an emptied partition of "+topic, s.fetchFrom(topic, 0, 4))
		s.quiet(at(9, s.produceTo(topic, simple(1).encode())))
		s.good(11, "a record after deletion in "+topic, s.fetchFrom(topic, 0, 4))
		for name, policy := range map[string]string{"shorten-c": "compact", "shorten-cd": "compact,delete"} {
			name += itoa(int64(v))
			s.make(name, 1, "cleanup.policy", policy, "retention.ms", "-1")
			s.quiet(at(9, s.produceTo(name, batch{records: []record{{key: []byte("a")}, {key: []byte("b")}}}.encode())))
			s.bad(v, "records of a topic with cleanup.policy "+policy, ask(name, 0, 1))
			s.bad(v, "beyond the end of a topic with cleanup.policy "+policy, ask(name, 0, 9))
		}
	})
}
