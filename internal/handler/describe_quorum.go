package handler

import (
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeQuorum: v0-v2 (KIP-595)
//
//	v1 times (KIP-836); v2 directories, nodes and error messages (KIP-853)
//
// The one question is for partition 0 of the metadata log; any other request is
// unknown in all its partitions.
func init() {
	register(kmsg.DescribeQuorum, 0, 2, describeQuorum, "of one voter, whose controller listener is named but not open while there is one node")
}

const metadataTopic = "__cluster_metadata"

func describeQuorum(h *Handlers, x *server.Exchange) {
	var req kmsg.DescribeQuorumRequest
	if !decode(x, &req) {
		return
	}
	resp := kmsg.NewPtrDescribeQuorumResponse()
	resp.ErrorMessage = kmsg.StringPtr("")
	proper := len(req.Topics) == 1 && req.Topics[0].Topic == metadataTopic &&
		len(req.Topics[0].Partitions) == 1 && req.Topics[0].Partitions[0].Partition == 0
	for i := range req.Topics {
		out := kmsg.NewDescribeQuorumResponseTopic()
		out.Topic = req.Topics[i].Topic
		for _, asked := range req.Topics[i].Partitions {
			p := kmsg.NewDescribeQuorumResponseTopicPartition()
			p.Partition = asked.Partition
			if proper {
				resp.Nodes = h.describeVoter(&p)
			} else {
				p.ErrorCode = kerr.UnknownTopicOrPartition.Code
				p.ErrorMessage = kmsg.StringPtr("a request describes partition 0 of " + metadataTopic + ", and that alone")
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	reply(x, resp)
}

// describeVoter describes the quorum, whose one voter is this node, and returns its nodes.
func (h *Handlers) describeVoter(p *kmsg.DescribeQuorumResponseTopicPartition) []kmsg.DescribeQuorumResponseNode {
	status := h.Quorum()
	if status.Leader != h.Node {
		p.ErrorCode = kerr.NotLeaderForPartition.Code
		p.ErrorMessage = kmsg.StringPtr("this node does not lead the metadata quorum; ask again")
		return nil
	}
	now := time.Now().UnixMilli()
	voter := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
	voter.ReplicaID, voter.ReplicaDirectoryID = int32(h.Node), h.voterDirectory()
	voter.LogEndOffset = int64(status.LogEnd)
	voter.LastFetchTimestamp, voter.LastCaughtUpTimestamp = now, now
	p.ErrorMessage = kmsg.StringPtr("")
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = int32(status.Leader), int32(status.Epoch), int64(status.HighWatermark)
	p.CurrentVoters = append(p.CurrentVoters, voter)

	node := kmsg.NewDescribeQuorumResponseNode()
	node.NodeID = int32(h.Node)
	for _, l := range h.Config().ControllerListeners {
		host := l.Host
		if b, ok := h.Image().Broker(h.Node); ok && host == "" && len(b.Endpoints) > 0 {
			host = b.Endpoints[0].Host
		}
		node.Listeners = append(node.Listeners, kmsg.DescribeQuorumResponseNodeListener{Name: l.Name, Host: host, Port: uint16(l.Port)})
	}
	return []kmsg.DescribeQuorumResponseNode{node}
}

func (h *Handlers) voterDirectory() ids.DirectoryID {
	for _, v := range h.Image().Voters() {
		if v.NodeID == h.Node {
			return v.DirectoryID
		}
	}
	return ids.ZeroUUID
}
