package oracle

import (
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// elected tells whether a line of an ElectLeaders answer is of a topic of electLeaders: an answer to all topics names
// whatever the broker has.
func elected(path string) bool {
	return !strings.HasPrefix(path, "Topics{") || strings.HasPrefix(path, "Topics{~elect")
}

func (s *suite) electLeaders() {
	s.make("elect", 2)
	ask := func(kind int8, topics ...kmsg.ElectLeadersRequestTopic) *kmsg.ElectLeadersRequest {
		req := kmsg.NewPtrElectLeadersRequest()
		req.ElectionType, req.Topics = kind, append([]kmsg.ElectLeadersRequestTopic{}, topics...)
		return req
	}
	of := func(name string, partitions ...int32) kmsg.ElectLeadersRequestTopic {
		return kmsg.ElectLeadersRequestTopic{Topic: s.topic(name), Partitions: partitions}
	}
	all := func(kind int8) *kmsg.ElectLeadersRequest {
		req := ask(kind)
		req.Topics = nil
		return req
	}
	each(43, func(v int16) {
		kinds := []int8{0, 1}
		if v == 0 {
			kinds = kinds[:1]
		}
		for _, kind := range kinds {
			named := func(what string) string { return what + " of type " + strconv.Itoa(int(kind)) }
			s.good(v, named("elections"), ask(kind, of("elect", 1, 0)))
			s.good(v, named("all elections"), all(kind))
			s.good(v, named("no election"), ask(kind))
			s.good(v, named("elections for no partition"), ask(kind, of("elect")))
			s.good(v, named("an election twice"), ask(kind, of("elect", 0, 0), of("elect", 0)))
			s.bad(v, named("elections for unknown topics and partitions"), ask(kind, of("elect-nosuch", 0), of("elect", 2, 0, -1)))
		}
		if v == 0 {
			return
		}
		for _, kind := range []int8{2, -1} {
			named := func(what string) string { return what + " of type " + strconv.Itoa(int(kind)) }
			s.bad(v, named("elections"), ask(kind, of("elect", 1, 0), of("elect-nosuch", 0)))
			s.bad(v, named("all elections"), all(kind))
			s.bad(v, named("no election"), ask(kind))
		}
	})
}

func (s *suite) alterReassignments() {
	s.make("move", 2)
	node := s.d.node
	type partition = kmsg.AlterPartitionAssignmentsRequestTopicPartition
	of := func(name string, partitions ...partition) kmsg.AlterPartitionAssignmentsRequestTopic {
		return kmsg.AlterPartitionAssignmentsRequestTopic{Topic: s.topic(name), Partitions: partitions}
	}
	to := func(number int32, replicas ...int32) partition {
		return partition{Partition: number, Replicas: append([]int32{}, replicas...)}
	}
	each(45, func(v int16) {
		for _, factor := range []bool{true, false} {
			if v == 0 && !factor {
				continue
			}
			named := func(what string) string {
				if factor {
					return what
				}
				return what + ", the factor fixed"
			}
			ask := func(topics ...kmsg.AlterPartitionAssignmentsRequestTopic) *kmsg.AlterPartitionAssignmentsRequest {
				req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
				req.AllowReplicationFactorChange, req.Topics = factor, topics
				return req
			}
			s.good(v, named("to the same broker"), ask(of("move", to(1, node), to(0, node))))
			s.good(v, named("no topic"), ask())
			s.good(v, named("no partition"), ask(of("move")))
			s.good(v, named("a partition twice"), ask(of("move", to(0, node), to(0, node)), of("move", to(0, node))))
			s.bad(v, named("nothing to cancel"), ask(of("move", partition{Partition: 1})))
			s.bad(v, named("an unknown topic"), ask(of("nosuch", to(0, node)), of("move", to(0, node))))
			s.bad(v, named("an unknown topic to cancel"), ask(of("nosuch", partition{})))
			s.bad(v, named("unknown partitions"), ask(of("move", to(2, node), to(0, node), to(-1, node), partition{Partition: 2})))
			s.bad(v, named("to no broker"), ask(of("move", to(0))))
			s.bad(v, named("to an unknown broker"), ask(of("move", to(0, node+70), to(1, node))))
			s.bad(v, named("to a broker below zero"), ask(of("move", to(0, -1))))
			s.bad(v, named("to one broker twice"), ask(of("move", to(0, node, node))))
			s.bad(v, named("to an unknown broker too"), ask(of("move", to(0, node, node+70))))
		}
	})
}

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
