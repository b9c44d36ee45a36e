package handler

import (
	"context"
	"net"
	"strconv"

	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeQuorum: v0-v2 (KIP-595)
//
//	v1 times (KIP-836); v2 directories, nodes and error messages (KIP-853)
//
// The one question is for partition 0 of the metadata log; any other request is
// unknown in all its partitions. The leader of the quorum answers, whichever broker is asked.
func init() {
	register(kmsg.DescribeQuorum, 0, 2, describeQuorum, "")
}

const metadataTopic = "__cluster_metadata"

// Quorum is this node's part in the metadata quorum.
type Quorum interface {
	Describe(context.Context) (quorum.Description, error)
}

func describeQuorum(h *Handlers, x *server.Exchange) {
	var req kmsg.DescribeQuorumRequest
	if !decode(x, &req) {
		return
	}
	proper := len(req.Topics) == 1 && req.Topics[0].Topic == metadataTopic &&
		len(req.Topics[0].Partitions) == 1 && req.Topics[0].Partitions[0].Partition == 0
	if !proper {
		reply(x, quorumUnknown(&req))
		return
	}
	d, err := h.Quorum.Describe(x.Context())
	if _, node := x.Conn.Node(); err == nil && d.Leader != h.Node && !node {
		if resp, err := h.ToController(x.Context(), &req); err == nil {
			reply(x, resp)
			return
		}
	}
	p := kmsg.NewDescribeQuorumResponseTopicPartition()
	p.ErrorMessage = kmsg.StringPtr("")
	resp := quorumAnswer(metadataTopic, &p)
	switch {
	case err != nil:
		p.ErrorCode, p.ErrorMessage = kerr.NotLeaderForPartition.Code, kmsg.StringPtr(err.Error())
	case d.Leader != h.Node:
		p.ErrorCode = kerr.NotLeaderForPartition.Code
		p.ErrorMessage = kmsg.StringPtr("the metadata quorum has no leader that this node could ask; a majority of its voters has to run")
	default:
		h.describeLeading(&d, &p)
		resp.Nodes = h.quorumNodes(&d)
	}
	resp.Topics[0].Partitions[0] = p
	reply(x, resp)
}

func quorumAnswer(topic string, p *kmsg.DescribeQuorumResponseTopicPartition) *kmsg.DescribeQuorumResponse {
	resp := kmsg.NewPtrDescribeQuorumResponse()
	resp.ErrorMessage = kmsg.StringPtr("")
	out := kmsg.NewDescribeQuorumResponseTopic()
	out.Topic, out.Partitions = topic, []kmsg.DescribeQuorumResponseTopicPartition{*p}
	resp.Topics = append(resp.Topics, out)
	return resp
}

// quorumUnknown answers what is not the one question.
func quorumUnknown(req *kmsg.DescribeQuorumRequest) *kmsg.DescribeQuorumResponse {
	resp := kmsg.NewPtrDescribeQuorumResponse()
	resp.ErrorMessage = kmsg.StringPtr("")
	for i := range req.Topics {
		out := kmsg.NewDescribeQuorumResponseTopic()
		out.Topic = req.Topics[i].Topic
		for _, asked := range req.Topics[i].Partitions {
			p := kmsg.NewDescribeQuorumResponseTopicPartition()
			p.Partition, p.ErrorCode = asked.Partition, kerr.UnknownTopicOrPartition.Code
			p.ErrorMessage = kmsg.StringPtr("a request describes partition 0 of " + metadataTopic + ", and that alone")
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// describeLeading describes the quorum that this node leads.
func (h *Handlers) describeLeading(d *quorum.Description, p *kmsg.DescribeQuorumResponseTopicPartition) {
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = int32(d.Leader), int32(d.Epoch), int64(d.HighWatermark)
	p.CurrentVoters, p.Observers = replicaStates(d, d.Voters), replicaStates(d, d.Observers)
}

// replicaStates says how far members are. A member that has all is caught up as of when it was last heard of.
func replicaStates(d *quorum.Description, members []quorum.Replica) (out []kmsg.DescribeQuorumResponseTopicPartitionReplicaState) {
	for i := range members {
		m := &members[i]
		state := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
		state.ReplicaID, state.ReplicaDirectoryID, state.LogEndOffset = int32(m.Node), m.Directory, int64(m.LogEnd)
		state.LastFetchTimestamp, state.LastCaughtUpTimestamp = -1, -1
		if !m.Heard.IsZero() {
			state.LastFetchTimestamp = m.Heard.UnixMilli()
		}
		if m.LogEnd >= d.HighWatermark {
			state.LastCaughtUpTimestamp = state.LastFetchTimestamp
		}
		out = append(out, state)
	}
	return out
}

// quorumNodes says where the voters are reached: all call their first controller listener as this node does.
func (h *Handlers) quorumNodes(d *quorum.Description) (out []kmsg.DescribeQuorumResponseNode) {
	for i := range d.Voters {
		node := kmsg.NewDescribeQuorumResponseNode()
		node.NodeID = int32(d.Voters[i].Node)
		if node.Listeners = h.listenerAt(d.Voters[i].Endpoint); node.Listeners == nil {
			node.Listeners = h.namedListeners()
		}
		out = append(out, node)
	}
	return out
}

// listenerAt returns the listener of a voter's endpoint, HOST:PORT; a lone voter has none.
func (h *Handlers) listenerAt(endpoint string) []kmsg.DescribeQuorumResponseNodeListener {
	host, text, err := net.SplitHostPort(endpoint)
	port, portErr := strconv.ParseUint(text, 10, 16)
	names := h.Config().ControllerListeners
	if err != nil || portErr != nil || len(names) == 0 {
		return nil
	}
	return []kmsg.DescribeQuorumResponseNodeListener{{Name: names[0].Name, Host: host, Port: uint16(port)}}
}

// namedListeners returns the listeners that a lone node's config names.
func (h *Handlers) namedListeners() (out []kmsg.DescribeQuorumResponseNodeListener) {
	for _, l := range h.Config().ControllerListeners {
		host := l.Host
		if b, ok := h.Image().Broker(h.Node); ok && host == "" && len(b.Endpoints) > 0 {
			host = b.Endpoints[0].Host
		}
		out = append(out, kmsg.DescribeQuorumResponseNodeListener{Name: l.Name, Host: host, Port: uint16(l.Port)})
	}
	return out
}
