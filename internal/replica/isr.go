package replica

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/partition"
)

// alterPartitionVersion is that of ISRs whose members have broker epochs (KIP-903).
const alterPartitionVersion = 3

// Alteration is the ISR that the leader of a partition asks for.
type Alteration struct {
	Key PartitionKey
	partition.ISRChange
}

// errUnanswered says that the controller's answer leaves a partition out.
var errUnanswered = errors.New("the controller's answer does not name the partition")

// AlterPartitionRequest asks the controller for changes, those of a topic together.
func AlterPartitionRequest(node ids.NodeID, brokerEpoch int64, changes []Alteration) *kmsg.AlterPartitionRequest {
	req := kmsg.NewPtrAlterPartitionRequest()
	req.Version, req.BrokerID, req.BrokerEpoch = alterPartitionVersion, int32(node), brokerEpoch
	topics := make(map[ids.TopicID]int)
	for i := range changes {
		c := &changes[i]
		at, ok := topics[c.Key.Topic]
		if !ok {
			t := kmsg.NewAlterPartitionRequestTopic()
			t.TopicID = c.Key.Topic
			at = len(req.Topics)
			topics[c.Key.Topic] = at
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewAlterPartitionRequestTopicPartition()
		p.Partition, p.LeaderEpoch, p.PartitionEpoch = c.Key.Partition, int32(c.LeaderEpoch), c.PartitionEpoch
		for _, m := range c.ISR {
			in := kmsg.NewAlterPartitionRequestTopicPartitionNewEpochISR()
			in.BrokerID, in.BrokerEpoch = int32(m.Node), m.Epoch
			p.NewEpochISR = append(p.NewEpochISR, in)
		}
		req.Topics[at].Partitions = append(req.Topics[at].Partitions, p)
	}
	return req
}

// AlterPartitionAnswers returns what the controller says to each change, nil where it agreed.
func AlterPartitionAnswers(changes []Alteration, resp *kmsg.AlterPartitionResponse) []error {
	whole := kerr.ErrorForCode(resp.ErrorCode)
	said := make(map[PartitionKey]error)
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			said[PartitionKey{t.TopidID, t.Partitions[j].Partition}] = kerr.ErrorForCode(t.Partitions[j].ErrorCode)
		}
	}
	answers := make([]error, len(changes))
	for i := range changes {
		err, ok := said[changes[i].Key]
		switch {
		case whole != nil:
			err = whole
		case !ok:
			err = errUnanswered
		}
		answers[i] = err
	}
	return answers
}
