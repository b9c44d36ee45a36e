package oracle

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeProducers asks for the producers of the topic of produceIdempotent, and of others.
func (s *suite) describeProducers() {
	ask := func(topic string, partitions ...int32) *kmsg.DescribeProducersRequest {
		req := kmsg.NewPtrDescribeProducersRequest()
		t := kmsg.NewDescribeProducersRequestTopic()
		t.Topic, t.Partitions = topic, partitions
		req.Topics = append(req.Topics, t)
		return req
	}
	idem := s.topic("idem")
	s.make("producers", 2)
	several := ask(s.topic("producers"), 1, 0)
	several.Topics = append(several.Topics, ask(idem, 0).Topics[0], ask(s.topic("nosuch"), 0).Topics[0])
	s.good(0, "four producers", ask(idem, 0))
	s.good(0, "nothing was written", ask(s.topic("producers"), 0, 1))
	s.good(0, "records without a producer id", ask(s.topic("offsets"), 0))
	s.good(0, "no topic", kmsg.NewPtrDescribeProducersRequest())
	s.good(0, "no partition", ask(idem))
	s.good(0, "a partition twice", ask(idem, 0, 0))
	s.bad(0, "an unknown topic", ask(s.topic("nosuch"), 0, 1))
	s.bad(0, "an unknown partition", ask(idem, 0, 1))
	s.bad(0, "a partition below zero", ask(idem, -1))
	s.bad(0, "an impossible name", ask("not a name!", 0))
	s.bad(0, "no name", ask("", 0))
	s.bad(0, "several topics", several)
	first := batch{records: simple(3).records, producer: 4250, epoch: 2, sequence: 5}
	s.quiet(at(9, s.produceTo("producers", first.encode())))
	s.good(0, "a producer in the midst of things", ask(s.topic("producers"), 0))
	first.sequence, first.first = 9, firstTime+10_000
	s.quiet(at(9, s.produceTo("producers", first.encode())))
	s.good(0, "after a gap, which is refused", ask(s.topic("producers"), 0))
	first.sequence, first.first = 8, firstTime-60_000
	s.quiet(at(9, s.produceTo("producers", first.encode())))
	s.good(0, "an earlier time", ask(s.topic("producers"), 0))
}
