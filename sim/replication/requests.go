package replication

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// registerBroker answers the broker epoch, or why there is none.
func (s *seat) registerBroker(req *kmsg.BrokerRegistrationRequest, answer func(epoch int64, refusal *controller.Refusal)) {
	var refusal *controller.Refusal
	s.request(&operation{
		decide: func(c *controller.Core) (recs []metadata.Record) {
			recs, refusal = c.BrokerRegistration(req, s.world.clock())
			return recs
		},
		answer: func(img *metadata.Image) {
			if img == nil {
				refusal = notController
			}
			if refusal != nil {
				answer(0, refusal)
				return
			}
			b, ok := img.Broker(ids.NodeID(req.BrokerID))
			if !ok || b.Incarnation != ids.UUID(req.IncarnationID) {
				answer(0, &controller.Refusal{Code: kerr.DuplicateBrokerRegistration, Message: "another process has come in between"})
				return
			}
			answer(b.Epoch, nil)
		},
	})
}

func (s *seat) brokerHeartbeat(req *kmsg.BrokerHeartbeatRequest, answer func(*kmsg.BrokerHeartbeatResponse)) {
	var resp *kmsg.BrokerHeartbeatResponse
	s.request(&operation{
		decide: func(c *controller.Core) (recs []metadata.Record) {
			resp, recs = c.BrokerHeartbeat(req, s.world.clock())
			s.world.judge.heartbeat(s.image, req, resp, recs)
			return recs
		},
		answer: func(img *metadata.Image) {
			if img == nil {
				resp = controller.BrokerHeartbeatRefused(req, notController)
			}
			answer(resp)
		},
	})
}

func (s *seat) alterPartition(req *kmsg.AlterPartitionRequest, answer func(*kmsg.AlterPartitionResponse)) {
	var resp *kmsg.AlterPartitionResponse
	s.request(&operation{
		decide: func(c *controller.Core) (recs []metadata.Record) {
			before := c.Pending()
			resp, recs = c.AlterPartition(req)
			s.world.judge.altered(s.image, before, req, recs)
			return recs
		},
		answer: func(img *metadata.Image) {
			if img == nil {
				resp = controller.AlterPartitionRefused(req, notController)
			}
			answer(resp)
		},
	})
}

// assignReplicas answers nobody: a broker tells again until the metadata says so.
func (s *seat) assignReplicas(req *kmsg.AssignReplicasToDirsRequest) {
	s.client(false, func(c *controller.Core) []metadata.Record {
		_, recs := c.AssignReplicasToDirs(req)
		return recs
	})
}

// createTopic makes the topic that there is.
func (s *seat) createTopic() {
	w := s.world
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topicName, -1, -1
	for p, to := range w.assigned {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition = int32(p)
		for _, node := range to {
			a.Replicas = append(a.Replicas, int32(node))
		}
		t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	}
	for name, value := range map[string]string{minISR: strconv.Itoa(1 + w.rng.IntN(4)/2 + w.rng.IntN(12)/11), "unclean.leader.election.enable": strconv.FormatBool(w.unclean)} {
		t.Configs = append(t.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: name, Value: &value})
	}
	s.client(false, func(c *controller.Core) []metadata.Record {
		_, recs := c.CreateTopics(&kmsg.CreateTopicsRequest{Version: 7, Topics: []kmsg.CreateTopicsRequestTopic{t}})
		return recs
	})
}

// administer has a client change something of the cluster now and then.
func (w *world) administer() {
	if !w.faults {
		return
	}
	w.at(1+w.rng.IntN(2*second), w.administer)
	s := w.quorum.leader
	if s == nil {
		return
	}
	switch w.rng.IntN(6) {
	case 0:
		s.elect(1) // unclean
	case 1, 2:
		s.elect(0) // of the preferred
	case 3:
		s.unregister(ids.NodeID(w.rng.IntN(len(w.hosts))))
	default:
		s.setMinISR(1 + w.rng.IntN(3))
	}
}

// rescue has an operator give up the records of partitions that nobody is eligible to lead any more: the disks of who was are gone.
func (w *world) rescue() {
	w.at(second, w.rescue)
	for p := range w.judge.partitions {
		a := w.partition(p)
		if s := w.quorum.leader; s != nil && a.Leader == ids.NoNode && len(a.ISR) == 0 && len(a.ELR) == 0 && len(a.LastKnownELR) == 0 {
			s.elect(1)
			return
		}
	}
}

// client has something decided for somebody who does not wait for the answer.
func (s *seat) client(unclean bool, decide func(*controller.Core) []metadata.Record) {
	s.request(&operation{unclean: unclean, decide: decide, answer: func(*metadata.Image) {}})
}

func (s *seat) elect(kind int8) {
	req := kmsg.NewPtrElectLeadersRequest()
	req.ElectionType = kind
	s.client(kind == 1, func(c *controller.Core) []metadata.Record {
		_, recs := c.ElectLeaders(req)
		return recs
	})
}

func (s *seat) unregister(node ids.NodeID) {
	s.client(false, func(c *controller.Core) []metadata.Record {
		_, recs := c.UnregisterBroker(&kmsg.UnregisterBrokerRequest{BrokerID: int32(node)})
		return recs
	})
}

func (s *seat) setMinISR(n int) {
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceType(metadata.ResourceTopic), topicName
	value := strconv.Itoa(n)
	r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: minISR, Value: &value})
	s.client(false, func(c *controller.Core) []metadata.Record {
		_, recs := c.IncrementalAlterConfigs(ids.NoNode, &kmsg.IncrementalAlterConfigsRequest{Resources: []kmsg.IncrementalAlterConfigsRequestResource{r}})
		return recs
	})
}
