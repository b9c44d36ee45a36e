package oracle

import "github.com/twmb/franz-go/pkg/kmsg"

func (s *suite) listReassignments() {
	s.make("moving", 2)
	ask := func(topics ...kmsg.ListPartitionReassignmentsRequestTopic) *kmsg.ListPartitionReassignmentsRequest {
		req := kmsg.NewPtrListPartitionReassignmentsRequest()
		req.Topics = append([]kmsg.ListPartitionReassignmentsRequestTopic{}, topics...)
		return req
	}
	of := func(name string, partitions ...int32) kmsg.ListPartitionReassignmentsRequestTopic {
		return kmsg.ListPartitionReassignmentsRequestTopic{Topic: s.topic(name), Partitions: partitions}
	}
	s.good(0, "all", kmsg.NewPtrListPartitionReassignmentsRequest())
	s.good(0, "no topic", ask())
	s.good(0, "a topic", ask(of("moving", 0, 1)))
	s.good(0, "no partition", ask(of("moving")))
	s.bad(0, "an unknown topic", ask(of("nosuch", 0), of("moving", 0)))
	s.bad(0, "unknown partitions", ask(of("moving", 2, -1)))
}
