package controller

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// The kinds of elections that a client may ask for.
const (
	electPreferred int8 = 0
	electUnclean   int8 = 1
)

// ElectLeaders decides on versions 0 to 2 (Java:
// ReplicationControlManager.electLeaders). No topics, as opposed to an empty list of
// them, stands for every partition; then those with nothing to elect are left out of
// the answer, though their topics are not. An election that is one of too many gets
// POLICY_VIOLATION.
func (c *Core) ElectLeaders(req *kmsg.ElectLeadersRequest) (*kmsg.ElectLeadersResponse, []metadata.Record) {
	resp := kmsg.NewPtrElectLeadersResponse()
	if req.Topics != nil && len(req.Topics) == 0 {
		return resp, nil
	}
	if req.ElectionType != electPreferred && req.ElectionType != electUnclean {
		return ElectLeadersRefused(req, refuse(kerr.InvalidRequest, "election type %d is neither 0, preferred, nor 1, unclean", req.ElectionType)), nil
	}
	e := election{core: c, unclean: req.ElectionType == electUnclean, decided: make(map[*metadata.Partition]bool)}
	if req.Topics == nil {
		for t := range c.pending.Topics() {
			resp.Topics = append(resp.Topics, e.all(t))
		}
		return resp, e.recs
	}
	for i := range req.Topics {
		asked := &req.Topics[i]
		out := kmsg.NewElectLeadersResponseTopic()
		out.Topic = asked.Topic
		for _, p := range asked.Partitions {
			addElection(&out, p, e.named(asked.Topic, p))
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, e.recs
}

// election is one request on its way.
type election struct {
	core    *Core
	unclean bool
	recs    []metadata.Record
	decided map[*metadata.Partition]bool // those of recs
}

func (e *election) all(t *metadata.Topic) kmsg.ElectLeadersResponseTopic {
	out := kmsg.NewElectLeadersResponseTopic()
	out.Topic = t.Name
	for i := range t.Partitions {
		if refusal := e.elect(t, int32(i)); refusal == nil || refusal.Code != kerr.ElectionNotNeeded {
			addElection(&out, int32(i), refusal)
		}
	}
	return out
}

func (e *election) named(topic string, number int32) *Refusal {
	t, ok := e.core.pending.Topic(topic)
	if !ok {
		return refuse(kerr.UnknownTopicOrPartition, "there is no topic %q", topic)
	}
	if number < 0 || int(number) >= len(t.Partitions) {
		return refuse(kerr.UnknownTopicOrPartition, "topic %q has no partition %d", topic, number)
	}
	return e.elect(t, number)
}

// elect decides on one partition that exists.
func (e *election) elect(t *metadata.Topic, number int32) *Refusal {
	p := &t.Partitions[number]
	if !e.unclean && p.Leader == p.Replicas[0] || e.unclean && p.Leader != ids.NoNode || e.decided[p] {
		return refuse(kerr.ElectionNotNeeded, "partition %d of topic %q has the leader that it needs", number, t.Name)
	}
	ch := e.core.change(t, p)
	ch.preferred, ch.unclean = !e.unclean, e.unclean
	recs := ch.appendTo(nil, t, int(number))
	elected := len(recs) > 0 && recs[0].(*metadata.PartitionChangeRecord).Leader >= 0
	switch {
	case !elected && e.unclean:
		return refuse(kerr.EligibleLeadersNotAvailable, "none of the replicas %v of partition %d of topic %q is available", p.Replicas, number, t.Name)
	case !elected:
		return refuse(kerr.PreferredLeaderNotAvailable, "broker %d, preferred for partition %d of topic %q, is not available or not in sync", p.Replicas[0], number, t.Name)
	case len(e.recs) >= recordsMax:
		return refuseTooMany(len(e.recs) + 1)
	}
	e.recs = append(e.recs, recs...)
	e.decided[p] = true
	return nil
}

func addElection(t *kmsg.ElectLeadersResponseTopic, number int32, refusal *Refusal) {
	p := kmsg.NewElectLeadersResponseTopicPartition()
	p.Partition = number
	p.ErrorCode, p.ErrorMessage = refusal.wire()
	t.Partitions = append(t.Partitions, p)
}

// ElectLeadersRefused answers a request and each of its partitions alike.
func ElectLeadersRefused(req *kmsg.ElectLeadersRequest, refusal *Refusal) *kmsg.ElectLeadersResponse {
	resp := kmsg.NewPtrElectLeadersResponse()
	resp.ErrorCode, _ = refusal.wire()
	for i := range req.Topics {
		out := kmsg.NewElectLeadersResponseTopic()
		out.Topic = req.Topics[i].Topic
		for _, p := range req.Topics[i].Partitions {
			addElection(&out, p, refusal)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}
