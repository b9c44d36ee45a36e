package controller

import (
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// elect reads lines of a topic and its partitions; the version is the type of the election.
func (s *script) elect(t *testing.T, kind int16, all bool, lines []string) {
	req := kmsg.NewPtrElectLeadersRequest()
	req.ElectionType = int8(kind)
	if !all {
		req.Topics = []kmsg.ElectLeadersRequestTopic{}
	}
	for _, line := range lines {
		name, partitions, _ := strings.Cut(line, " ")
		req.Topics = append(req.Topics, kmsg.ElectLeadersRequestTopic{Topic: name, Partitions: nodeList(t, partitions)})
	}
	resp, recs := s.core.ElectLeaders(req)
	s.printf("elections: %d\n", resp.ErrorCode)
	for _, topic := range resp.Topics {
		s.printf("topic %s\n", topic.Topic)
		for _, p := range topic.Partitions {
			s.result("  "+strconv.Itoa(int(p.Partition)), p.ErrorCode, p.ErrorMessage)
		}
	}
	s.accept(recs)
}

// change changes partition 0 of a topic as events of a larger cluster would.
func (s *script) change(t *testing.T, lines []string) {
	for _, line := range lines {
		name, args := fields(t, line)
		topic, ok := s.core.pending.Topic(name)
		if !ok {
			t.Fatalf("no topic %s", name)
		}
		rec := &metadata.PartitionChangeRecord{TopicID: topic.ID, Leader: ids.NodeID(number(t, args, "leader", -1))}
		for _, id := range nodeList(t, strings.Join(args["isr"], "")) {
			rec.ISR = append(rec.ISR, ids.NodeID(id))
		}
		s.accept([]metadata.Record{rec})
	}
}

// reassign reads lines of a topic and its partitions with their new replicas, as in 0:1,2 or 0:cancel.
func (s *script) reassign(t *testing.T, version int16, factorFixed bool, lines []string) {
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.Version, req.AllowReplicationFactorChange = version, !factorFixed
	for _, line := range lines {
		words := strings.Fields(line)
		topic := kmsg.AlterPartitionAssignmentsRequestTopic{Topic: words[0]}
		for _, word := range words[1:] {
			partition, replicas, _ := strings.Cut(word, ":")
			n, err := strconv.Atoi(partition)
			if err != nil {
				t.Fatal(err)
			}
			p := kmsg.AlterPartitionAssignmentsRequestTopicPartition{Partition: int32(n)}
			if replicas != "cancel" {
				p.Replicas = nodeList(t, replicas)
			}
			topic.Partitions = append(topic.Partitions, p)
		}
		req.Topics = append(req.Topics, topic)
	}
	resp := s.core.AlterPartitionReassignments(req)
	s.printf("factor may change: %v\n", resp.AllowReplicationFactorChange)
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			s.result(topic.Topic+" "+strconv.Itoa(int(p.Partition)), p.ErrorCode, p.ErrorMessage)
		}
	}
}

// TestElectionsRefused: an answer for the whole request goes to each of its partitions too.
func TestElectionsRefused(t *testing.T) {
	elect := kmsg.NewPtrElectLeadersRequest()
	elect.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "a", Partitions: []int32{3}}}
	elected := ElectLeadersRefused(elect, refuseNotController())
	if p := elected.Topics[0].Partitions[0]; elected.ErrorCode != kerr.NotController.Code || p.ErrorCode != kerr.NotController.Code || p.Partition != 3 {
		t.Errorf("%+v", elected)
	}
	move := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	move.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "a", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: 3}}}}
	moved := AlterPartitionReassignmentsRefused(move, refuseTimedOut())
	if p := moved.Topics[0].Partitions[0]; moved.ErrorCode != kerr.RequestTimedOut.Code || moved.ErrorMessage == nil || p.ErrorCode != kerr.RequestTimedOut.Code {
		t.Errorf("%+v", moved)
	}
}
