package oracle

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchFrom reads one partition of a topic from an offset.
func (s *suite) fetchFrom(topic string, partition int32, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = 20, 1, 50<<20, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = s.topic(topic), s.ids[topic]
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, 1<<20
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// fetch reads what produce wrote to produce12: three records, one record, and two of zstd in partition 0; two in 1.
func (s *suite) fetch() {
	const topic = "produce12"
	each(1, func(v int16) {
		s.good(v, "from the start", s.fetchFrom(topic, 0, 0))
		s.good(v, "from within a batch", s.fetchFrom(topic, 0, 1))
		s.good(v, "from the end", s.fetchFrom(topic, 0, 6))
		s.bad(v, "beyond the end", s.fetchFrom(topic, 0, 7))
		s.bad(v, "below zero", s.fetchFrom(topic, 0, -1))
		s.bad(v, "an unknown partition", s.fetchFrom(topic, 9, 0))
		unknown := s.fetchFrom("nosuch", 0, 0)
		unknown.Topics[0].TopicID = unknownTopicID
		s.bad(v, "an unknown topic", unknown)
		committed := s.fetchFrom(topic, 0, 0)
		committed.IsolationLevel = 1
		s.good(v, "read committed", committed)
		if v >= 9 {
			for _, epoch := range []int32{0, 5, -2} {
				req := s.fetchFrom(topic, 0, 0)
				req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
				s.bad(v, "leader epoch "+itoa(int64(epoch)), req)
			}
		}
	})
	s.fetchBounds(topic)
	s.fetchDiverging(topic)
}

func (s *suite) fetchBounds(topic string) {
	both := func(maxBytes, partitionBytes int32) *kmsg.FetchRequest {
		req := s.fetchFrom(topic, 0, 0)
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, s.fetchFrom(topic, 1, 0).Topics[0].Partitions[0])
		req.MaxBytes = maxBytes
		for i := range req.Topics[0].Partitions {
			req.Topics[0].Partitions[i].PartitionMaxBytes = partitionBytes
		}
		return req
	}
	s.good(12, "two partitions", both(1<<20, 1<<20))
	s.good(12, "one byte of each partition", both(1<<20, 1))
	s.good(12, "one byte altogether", both(1, 1<<20))
	s.good(12, "no bytes of a partition", both(1<<20, 0))
	s.good(12, "no bytes altogether", both(0, 1<<20))
	s.good(12, "bytes for the first batch and a piece", both(1<<20, 100))
	reverse := both(1, 1<<20)
	p := reverse.Topics[0].Partitions
	p[0], p[1] = p[1], p[0]
	s.good(12, "one byte altogether, partitions the other way round", reverse)
	s.good(12, "a good and an unknown partition", func() *kmsg.FetchRequest {
		req := both(1<<20, 1<<20)
		req.Topics[0].Partitions[1].Partition = 9
		return req
	}())
	twice := both(1<<20, 1<<20)
	twice.Topics[0].Partitions[1].Partition = 0
	s.good(12, "a partition twice", twice)
	none := kmsg.NewPtrFetchRequest()
	none.MaxWaitMillis, none.SessionEpoch = 10, -1
	s.good(12, "no topic", none)
	debug := s.fetchFrom(topic, 0, 0)
	debug.ReplicaID = -2
	s.good(12, "as a debugging consumer", debug)
	rack := s.fetchFrom(topic, 0, 0)
	rack.Rack = "a"
	s.good(12, "from a rack", rack)
	zero := s.fetchFrom(topic, 0, 0)
	zero.Topics[0].TopicID = [16]byte{}
	s.bad(13, "no topic id", zero)
}

func (s *suite) fetchDiverging(topic string) {
	for _, c := range []struct {
		what  string
		epoch int32
		at    int64
	}{
		{"last fetched epoch 0", 0, 3}, {"last fetched epoch 0 at the end", 0, 6}, {"last fetched epoch 1", 1, 3},
		{"last fetched epoch below any", -5, 3}, {"last fetched epoch 0 beyond the end", 0, 9},
	} {
		for _, v := range []int16{12, 16} {
			req := s.fetchFrom(topic, 0, c.at)
			req.Topics[0].Partitions[0].LastFetchedEpoch = c.epoch
			req.Topics[0].Partitions[0].CurrentLeaderEpoch = 0
			s.bad(v, c.what, req)
		}
	}
}

// fetchSessions walks through a session's life (KIP-227).
func (s *suite) fetchSessions() {
	const topic = "session"
	s.make(topic, 3, "retention.ms", "-1")
	for _, v := range []int16{7, 12, 13, 18} {
		s.quiet(at(12, s.produceTo(topic, simple(2).encode())))
		third := s.produceTo(topic, simple(1).encode())
		third.Topics[0].Partitions[0].Partition = 2
		s.quiet(at(12, third))
		open := s.fetchFrom(topic, 0, 0)
		open.SessionEpoch = 0
		for _, p := range []int32{1, 2} {
			open.Topics[0].Partitions = append(open.Topics[0].Partitions, s.fetchFrom(topic, p, 0).Topics[0].Partitions[0])
		}
		resp, _ := s.good(v, "session: open", open).(*kmsg.FetchResponse)
		if resp == nil {
			continue
		}
		id := resp.SessionID
		next := func(epoch int32, change func(*kmsg.FetchRequest)) *kmsg.FetchRequest {
			req := kmsg.NewPtrFetchRequest()
			req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 20, 1, 50<<20
			req.SessionID, req.SessionEpoch = id, epoch
			if change != nil {
				change(req)
			}
			return req
		}
		s.good(v, "session: the same again", next(1, nil))
		s.good(v, "session: moved to the end", next(2, func(r *kmsg.FetchRequest) {
			for _, c := range []struct {
				partition int32
				offset    int64
			}{{0, endOf(resp, 0)}, {2, endOf(resp, 2)}} {
				t := s.fetchFrom(topic, c.partition, c.offset).Topics[0]
				if len(r.Topics) == 0 {
					r.Topics = append(r.Topics, t)
				} else {
					r.Topics[0].Partitions = append(r.Topics[0].Partitions, t.Partitions...)
				}
			}
		}))
		s.good(v, "session: nothing new", next(3, nil))
		s.quiet(at(12, s.produceTo(topic, simple(1).encode())))
		s.good(v, "session: one partition has news", next(4, nil))
		s.bad(v, "session: an epoch that was used", next(4, nil))
		s.bad(v, "session: an epoch too far", next(9, nil))
		s.good(v, "session: forgetting a partition", next(5, func(r *kmsg.FetchRequest) {
			f := kmsg.NewFetchRequestForgottenTopic()
			f.Topic, f.TopicID, f.Partitions = s.topic(topic), s.ids[topic], []int32{0}
			r.ForgottenTopics = append(r.ForgottenTopics, f)
		}))
		s.bad(v, "session: an unknown partition joins", next(6, func(r *kmsg.FetchRequest) {
			r.Topics = s.fetchFrom(topic, 9, 0).Topics
		}))
		s.bad(v, "session: and is told again", next(7, nil))
		s.good(v, "session: close", next(-1, nil))
		s.bad(v, "session: closed", next(8, nil))
		unknown := next(1, nil)
		unknown.SessionID = 2_000_000_001
		s.bad(v, "session: unknown", unknown)
	}
}

// endOf returns the high watermark that an answer named.
func endOf(resp *kmsg.FetchResponse, partition int32) int64 {
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.Partition == partition {
				return p.HighWatermark
			}
		}
	}
	return 0
}
