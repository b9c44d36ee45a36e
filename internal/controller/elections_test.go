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

// TestElectionsRefused: an answer for the whole request goes to each of its partitions too.
func TestElectionsRefused(t *testing.T) {
	elect := kmsg.NewPtrElectLeadersRequest()
	elect.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "a", Partitions: []int32{3}}}
	elected := ElectLeadersRefused(elect, refuseNotController())
	if p := elected.Topics[0].Partitions[0]; elected.ErrorCode != kerr.NotController.Code || p.ErrorCode != kerr.NotController.Code || p.Partition != 3 {
		t.Errorf("%+v", elected)
	}
}
