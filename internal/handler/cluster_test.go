package handler

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/quorum"
)

// TestListPartitionReassignments: none is in progress, whatever is asked for.
func TestListPartitionReassignments(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("a", 2)
	c := b.dial()
	defer c.close()
	for _, topics := range [][]kmsg.ListPartitionReassignmentsRequestTopic{
		nil, {}, {{Topic: "a", Partitions: []int32{0, 1, 2, -1}}}, {{Topic: "a"}, {Topic: "nosuch", Partitions: []int32{0}}},
	} {
		req := kmsg.NewPtrListPartitionReassignmentsRequest()
		req.Topics = topics
		got := ask[*kmsg.ListPartitionReassignmentsResponse](c, req)
		if got.ErrorCode != 0 || got.ErrorMessage != nil || len(got.Topics) != 0 {
			t.Errorf("%v: %+v", topics, got)
		}
	}
}

func quorumRequest(version int16, topic string, partitions ...int32) *kmsg.DescribeQuorumRequest {
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Version = version
	asked := kmsg.DescribeQuorumRequestTopic{Topic: topic}
	for _, p := range partitions {
		asked.Partitions = append(asked.Partitions, kmsg.DescribeQuorumRequestTopicPartition{Partition: p})
	}
	req.Topics = append(req.Topics, asked)
	return req
}

func TestDescribeQuorum(t *testing.T) {
	b := startBroker(t, "listeners", "PLAINTEXT://:9092,CONTROLLER://:9093,OTHER://ctl.test:9094",
		"controller.listener.names", "CONTROLLER,OTHER", "listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,OTHER:PLAINTEXT")
	defer b.stop()
	heard := time.Now()
	b.quorum.Status = quorum.Status{Leader: testNode, Epoch: 3, HighWatermark: 17, LogEnd: 19}
	self := quorum.Peer{Identity: quorum.Identity{Node: testNode, Directory: testVoterDirectory}}
	b.quorum.Voters = []quorum.Replica{{Peer: self, LogEnd: 19, Heard: heard}}
	c := b.dial()
	defer c.close()
	for version := int16(0); version <= 2; version++ {
		got := ask[*kmsg.DescribeQuorumResponse](c, quorumRequest(version, metadataTopic, 0))
		p := got.Topics[0].Partitions[0]
		if got.ErrorCode != 0 || p.ErrorCode != 0 || p.LeaderID != int32(testNode) || p.LeaderEpoch != 3 || p.HighWatermark != 17 || len(p.CurrentVoters) != 1 || len(p.Observers) != 0 {
			t.Fatalf("v%d: %+v", version, got)
		}
		v := p.CurrentVoters[0]
		if v.ReplicaID != int32(testNode) || v.LogEndOffset != 19 {
			t.Errorf("v%d: %+v", version, v)
		}
		if timed := v.LastFetchTimestamp == heard.UnixMilli() && v.LastCaughtUpTimestamp == heard.UnixMilli(); timed != (version >= 1) {
			t.Errorf("v%d: times %+v", version, v)
		}
		if version < 2 {
			continue
		}
		if v.ReplicaDirectoryID != testVoterDirectory || *got.ErrorMessage != "" || *p.ErrorMessage != "" {
			t.Errorf("v%d: %+v", version, got)
		}
		if len(got.Nodes) != 1 || got.Nodes[0].NodeID != int32(testNode) || len(got.Nodes[0].Listeners) != 2 {
			t.Fatalf("v%d: nodes %+v", version, got.Nodes)
		}
		for i, want := range []kmsg.DescribeQuorumResponseNodeListener{{Name: "CONTROLLER", Host: testHost, Port: 9093}, {Name: "OTHER", Host: "ctl.test", Port: 9094}} {
			if l := got.Nodes[0].Listeners[i]; l.Name != want.Name || l.Host != want.Host || l.Port != want.Port {
				t.Errorf("listener %+v, want %+v", l, want)
			}
		}
	}
}

func TestDescribeQuorumRefuses(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.quorum.Status = quorum.Status{Leader: testNode}
	c := b.dial()
	defer c.close()
	twice := quorumRequest(2, metadataTopic, 0)
	twice.Topics = append(twice.Topics, twice.Topics[0])
	for _, req := range []*kmsg.DescribeQuorumRequest{
		quorumRequest(2, metadataTopic, 1), quorumRequest(2, metadataTopic, -1), quorumRequest(2, metadataTopic, 0, 0),
		quorumRequest(2, metadataTopic), quorumRequest(2, "a", 0), twice, {Version: 2},
	} {
		got := ask[*kmsg.DescribeQuorumResponse](c, req)
		if got.ErrorCode != 0 || len(got.Nodes) != 0 || len(got.Topics) != len(req.Topics) {
			t.Errorf("%+v: %+v", req, got)
		}
		for i, topic := range got.Topics {
			if len(topic.Partitions) != len(req.Topics[i].Partitions) {
				t.Errorf("%+v: %+v", req, got)
			}
			for _, p := range topic.Partitions {
				wantCode(t, "describe quorum", p.ErrorCode, kerr.UnknownTopicOrPartition)
				if p.ErrorMessage == nil || *p.ErrorMessage == "" || len(p.CurrentVoters) != 0 {
					t.Errorf("%+v", p)
				}
			}
		}
	}
	b.quorum.Status = quorum.Status{Leader: ids.NoNode}
	got := ask[*kmsg.DescribeQuorumResponse](c, quorumRequest(2, metadataTopic, 0))
	wantCode(t, "without a leader", got.Topics[0].Partitions[0].ErrorCode, kerr.NotLeaderForPartition)
}

var testVoterDirectory = ids.NewUUID()

var testVoters = []metadata.Voter{{NodeID: testNode, DirectoryID: testVoterDirectory}}

// Who does not lead the quorum has the leader describe it.
func TestDescribeQuorumOfAnotherLeader(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.quorum.Status = quorum.Status{Leader: testNode + 1}
	b.controller = func(req kmsg.Request) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.DescribeQuorumResponse)
		topic := kmsg.DescribeQuorumResponseTopic{Topic: req.(*kmsg.DescribeQuorumRequest).Topics[0].Topic}
		topic.Partitions = append(topic.Partitions, kmsg.DescribeQuorumResponseTopicPartition{LeaderID: int32(testNode + 1), LeaderEpoch: 7})
		resp.Topics = append(resp.Topics, topic)
		return resp
	}
	c := b.dial()
	defer c.close()
	for version := int16(0); version <= 2; version++ {
		got := ask[*kmsg.DescribeQuorumResponse](c, quorumRequest(version, metadataTopic, 0))
		if p := got.Topics[0].Partitions[0]; p.ErrorCode != 0 || p.LeaderID != int32(testNode+1) || p.LeaderEpoch != 7 {
			t.Errorf("v%d: %+v", version, got)
		}
	}
}
