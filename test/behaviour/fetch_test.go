package behaviour

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var fetchScenarios = []scenario{
	{name: "a fetch waits until there is something", run: func(b *broker) {
		topic, other := b.topic(1), dial(b.T)
		req := fetchRequest(topic, 0)
		req.MaxWaitMillis, req.MinBytes = int32(2*patience.Milliseconds()), 1
		req.SetVersion(12)
		b.must("sending", other.send(req))
		b.append(topic, recs("k=v"))
		resp, err := other.receive(req)
		b.must("receiving", err)
		records, _ := b.records(only(b, only(b, resp.(*kmsg.FetchResponse).Topics).Partitions), 0)
		same(b, "what was read", texts(records), "0:k=v")
	}},
	{name: "a fetch for which nothing comes ends after its wait, empty", run: func(b *broker) {
		topic := b.topic(1)
		req := fetchRequest(topic, 0)
		req.MaxWaitMillis, req.MinBytes = 300, 1
		begun := time.Now()
		p := only(b, only(b, ask(b, req).Topics).Partitions)
		same(b, "it waited", time.Since(begun) >= 250*time.Millisecond, true)
		b.is("fetching", p.ErrorCode, nil)
		same(b, "bytes", len(p.RecordBatches), 0)
		same(b, "the high watermark", p.HighWatermark, 0)
	}},
	{name: "a fetch of few bytes brings the first batch whole", run: func(b *broker) {
		topic := b.topic(1)
		b.append(topic, third(), third())
		req := fetchRequest(topic, 0)
		req.MaxBytes, req.Topics[0].Partitions[0].PartitionMaxBytes = 1, 1
		records, next := b.records(only(b, only(b, ask(b, req).Topics).Partitions), 0)
		same(b, "records", len(records), 1)
		same(b, "the next offset", next, 1)
	}},
	{name: "a fetch beyond the ends of the log is out of range", run: func(b *broker) {
		topic := ten(b)
		p := b.fetchOne(topic, 11)
		b.is("beyond the end", p.ErrorCode, kerr.OffsetOutOfRange)
		b.is("below 0", b.fetchOne(topic, -5).ErrorCode, kerr.OffsetOutOfRange)
		b.is("at the end", b.fetchOne(topic, 10).ErrorCode, nil)
	}},
	{name: "a fetch of a partition that is not there does not keep back the others", run: func(b *broker) {
		topic := ten(b)
		req := fetchRequest(topic, 0)
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, fetchPartition(9, 0))
		req.Topics = append(req.Topics, fetchTopic(b.name(), fetchPartition(0, 0)))
		resp := ask(b, req)
		found := 0
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if t.Topic == topic && p.Partition == 0 {
					b.is("the one", p.ErrorCode, nil)
					same(b, "it has records", len(p.RecordBatches) > 0, true)
				} else {
					b.is("another", p.ErrorCode, kerr.UnknownTopicOrPartition)
				}
				found++
			}
		}
		same(b, "partitions", found, 3)
	}},
	{name: "writing to a partition that is not there is refused, and does not keep back the others", run: func(b *broker) {
		topic := b.topic(1)
		got := b.produce(topic, recs("a=1"), recs("b=2"))
		b.is("the one", got[0].ErrorCode, nil)
		b.is("the other", got[1].ErrorCode, kerr.UnknownTopicOrPartition)
		same(b, "what is there", texts(b.read(topic)), "0:a=1")
	}},
	{name: "a fetch with a leader epoch of the future is refused", run: func(b *broker) {
		topic := ten(b)
		req := fetchRequest(topic, 0)
		req.Topics[0].Partitions[0].CurrentLeaderEpoch = 1000
		b.is("fetching", only(b, only(b, ask(b, req).Topics).Partitions).ErrorCode, kerr.UnknownLeaderEpoch)
	}},
	{name: "a fetch behind what an epoch has is told where they part", run: func(b *broker) {
		topic := ten(b)
		epoch := b.describeTopic(topic).Partitions[0].LeaderEpoch
		from := func(offset int64, last int32) kmsg.FetchResponseTopicPartition {
			req := fetchRequest(topic, offset)
			p := &req.Topics[0].Partitions[0]
			p.CurrentLeaderEpoch, p.LastFetchedEpoch = epoch, last
			return only(b, only(b, ask(b, req).Topics).Partitions)
		}
		p := from(10, epoch)
		b.is("at the end", p.ErrorCode, nil)
		same(b, "the epoch where they part", p.DivergingEpoch.Epoch, -1)
		p = from(12, epoch)
		b.is("beyond the end", p.ErrorCode, nil)
		same(b, "the epoch where they part", p.DivergingEpoch.Epoch, epoch)
		same(b, "the offset where they part", p.DivergingEpoch.EndOffset, 10)
		b.is("after a later epoch", from(10, epoch+1).ErrorCode, kerr.OffsetOutOfRange)
	}},
	{name: "the end of the epoch there is, is the end of the log", run: func(b *broker) {
		topic := ten(b)
		epoch := b.describeTopic(topic).Partitions[0].LeaderEpoch
		p := b.epochEnd(topic, epoch)
		b.is("asking", p.ErrorCode, nil)
		same(b, "the end", p.EndOffset, 10)
		b.append(topic, recs("k=v"))
		same(b, "the end after another record", b.epochEnd(topic, epoch).EndOffset, 11)
		p = b.epochEnd(topic, epoch+1)
		b.is("asking for a later one", p.ErrorCode, nil)
		same(b, "its end", p.EndOffset, -1)
	}},
	{name: "a fetch session brings what is new, and nothing else", run: sessionNews},
	{name: "a fetch session forgets the partitions that it is told to", run: sessionForgets},
	{name: "a fetch session that is not there is refused", run: func(b *broker) {
		s := &session{b: b, id: 987654321, epoch: 5}
		b.is("fetching", s.fetch().ErrorCode, kerr.FetchSessionIDNotFound)
	}},
	{name: "a fetch session with an epoch out of order is refused, and goes on in order", run: func(b *broker) {
		topic := ten(b)
		s := b.session(fetchTopic(topic, fetchPartition(0, 0)))
		s.epoch = 7
		b.is("fetching", s.fetch().ErrorCode, kerr.InvalidFetchSessionEpoch)
		s.epoch = 1
		b.is("fetching in order", s.fetch().ErrorCode, nil)
	}},
	{name: "a fetch session that was closed is not there", run: func(b *broker) {
		topic := ten(b)
		s := b.session(fetchTopic(topic, fetchPartition(0, 0)))
		s.epoch = -1
		b.is("closing", s.fetch().ErrorCode, nil)
		s.epoch = 1
		b.is("fetching", s.fetch().ErrorCode, kerr.FetchSessionIDNotFound)
	}},
	{name: "a fetch session tells that its topic was deleted", run: func(b *broker) {
		topic := ten(b)
		s := b.session(fetchTopic(topic, fetchPartition(0, 10)))
		b.deleteTopic(topic)
		b.until("it is told", func() bool {
			resp := s.fetch()
			b.is("fetching", resp.ErrorCode, nil)
			return len(resp.Topics) == 1 && resp.Topics[0].Partitions[0].ErrorCode == kerr.UnknownTopicOrPartition.Code
		})
	}},
	{name: "a hundred fetch sessions are kept apart", run: func(b *broker) {
		topic := ten(b)
		ids := map[int32]bool{}
		var all []*session
		for range 100 {
			s := b.session(fetchTopic(topic, fetchPartition(0, 10)))
			same(b, "the id was given before", ids[s.id], false)
			ids[s.id] = true
			all = append(all, s)
		}
		b.append(topic, recs("k=v"))
		for _, s := range all {
			same(b, "what is new", len(s.fetch().Topics), 1)
		}
	}},
}

// epochEnd asks where an epoch of partition 0 ends.
func (b *broker) epochEnd(topic string, epoch int32) kmsg.OffsetForLeaderEpochResponseTopicPartition {
	b.Helper()
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = -1
	t, p := kmsg.NewOffsetForLeaderEpochRequestTopic(), kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	t.Topic, p.Partition, p.LeaderEpoch, p.CurrentLeaderEpoch = topic, 0, epoch, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return only(b, only(b, ask(b, req).Topics).Partitions)
}

// A session is a fetch session (KIP-227).
type session struct {
	b         *broker
	id, epoch int32
}

// session opens one.
func (b *broker) session(topics ...kmsg.FetchRequestTopic) *session {
	b.Helper()
	s := &session{b: b}
	resp := s.fetch(topics...)
	b.is("opening a session", resp.ErrorCode, nil)
	same(b, "the session has an id", resp.SessionID != 0, true)
	s.id = resp.SessionID
	return s
}

// fetch fetches in the session's next epoch, with partitions that are new in it or have another offset.
func (s *session) fetch(topics ...kmsg.FetchRequestTopic) *kmsg.FetchResponse {
	s.b.Helper()
	return s.fetchWithout(nil, topics...)
}

func (s *session) fetchWithout(forget []kmsg.FetchRequestForgottenTopic, topics ...kmsg.FetchRequestTopic) *kmsg.FetchResponse {
	s.b.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionID, req.SessionEpoch = 16<<20, s.id, s.epoch
	req.Topics, req.ForgottenTopics = topics, forget
	resp := ask(s.b, req)
	if resp.ErrorCode == 0 {
		s.epoch++
	}
	return resp
}

func sessionNews(b *broker) {
	quiet, busy := ten(b), ten(b)
	s := b.session(fetchTopic(quiet, fetchPartition(0, 10)), fetchTopic(busy, fetchPartition(0, 10)))
	same(b, "topics without news", len(s.fetch().Topics), 0)
	b.append(busy, recs("k=v"))
	news := only(b, s.fetch().Topics)
	same(b, "the topic with news", news.Topic, busy)
	records, _ := b.records(only(b, news.Partitions), 10)
	same(b, "what was read", texts(records), "10:k=v")
	same(b, "topics after moving on", len(s.fetch(fetchTopic(busy, fetchPartition(0, 11))).Topics), 0)
	b.is("deleting records", b.deleteRecords(quiet, 5).ErrorCode, nil)
	moved := only(b, s.fetch().Topics)
	same(b, "the topic whose log starts elsewhere", moved.Topic, quiet)
	same(b, "its start", only(b, moved.Partitions).LogStartOffset, 5)
}

func sessionForgets(b *broker) {
	one, two := ten(b), ten(b)
	s := b.session(fetchTopic(one, fetchPartition(0, 10)), fetchTopic(two, fetchPartition(0, 10)))
	forget := kmsg.NewFetchRequestForgottenTopic()
	forget.Topic, forget.Partitions = one, []int32{0}
	same(b, "topics with news", len(s.fetchWithout([]kmsg.FetchRequestForgottenTopic{forget}).Topics), 0)
	b.append(one, recs("k=v"))
	b.append(two, recs("k=v"))
	same(b, "the topic with news", only(b, s.fetch().Topics).Topic, two)
}
