package behaviour

import (
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// refresh is how often consumers of the suite ask for metadata.
const refresh = time.Second

var clusterScenarios = []scenario{
	{name: "the cluster and its broker are the same whoever asks", run: func(b *broker) {
		cluster := ask(b, kmsg.NewPtrDescribeClusterRequest())
		b.is("describing", cluster.ErrorCode, nil)
		metadata := ask(dial(b.T), kmsg.NewPtrMetadataRequest())
		same(b, "the cluster's id", valueOf(metadata.ClusterID), cluster.ClusterID)
		same(b, "it has an id", len(cluster.ClusterID), 22)
		same(b, "the broker", only(b, cluster.Brokers).NodeID, only(b, metadata.Brokers).NodeID)
		address := only(b, metadata.Brokers)
		same(b, "its host", address.Host, "127.0.0.1")
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.CoordinatorKeys = []string{b.newGroup()}
		at := only(b, ask(b, find).Coordinators)
		same(b, "the coordinator's port", at.Port, address.Port)
	}},
	{name: "a version that the broker does not have closes the connection", run: func(b *broker) {
		other := dial(b.T)
		req := kmsg.NewPtrHeartbeatRequest()
		b.must("sending", other.send(&raised{req, 99}))
		same(b, "the connection is closed", other.closed(), true)
		b.topic(1) // others go on
	}},
	{name: "a request that the broker does not know closes the connection", run: func(b *broker) {
		other := dial(b.T)
		_, err := other.socket.Write([]byte{0, 0, 0, 10, 0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff})
		b.must("sending", err)
		same(b, "the connection is closed", other.closed(), true)
	}},
	{name: "a version of ApiVersions that the broker does not have is answered with those that it has", run: func(b *broker) {
		other := dial(b.T)
		req := kmsg.NewPtrApiVersionsRequest()
		req.SetVersion(3) // how a request of a later one begins
		req.ClientSoftwareName, req.ClientSoftwareVersion = "behaviour", "1"
		b.must("sending", other.send(&raised{req, 99}))
		req.SetVersion(0) // in which it is answered
		resp, err := other.receive(req)
		b.must("receiving", err)
		versions := resp.(*kmsg.ApiVersionsResponse)
		b.is("asking", versions.ErrorCode, kerr.UnsupportedVersion)
		same(b, "the API", only(b, versions.ApiKeys).ApiKey, 18)
		same(b, "it goes on", len(b.versions(other).ApiKeys) > 30, true)
	}},
	{name: "every version of Metadata that is advertised is served", run: func(b *broker) {
		resp := b.versions(b)
		for _, k := range resp.ApiKeys {
			if k.ApiKey != 3 {
				continue
			}
			for v := k.MinVersion; v <= k.MaxVersion; v++ {
				req := kmsg.NewPtrMetadataRequest()
				req.Topics = []kmsg.MetadataRequestTopic{}
				same(b, "brokers", len(askAt(b, v, req).Brokers), 1)
			}
		}
	}},
	{name: "features that are finalized are supported", run: func(b *broker) {
		resp := b.versions(b)
		same(b, "there is an epoch", resp.FinalizedFeaturesEpoch >= 0, true)
		supported := map[string]int16{}
		for _, f := range resp.SupportedFeatures {
			supported[f.Name] = f.MaxVersion
		}
		same(b, "there are some", len(resp.FinalizedFeatures) > 0, true)
		for _, f := range resp.FinalizedFeatures {
			same(b, f.Name+" is at most what is supported", f.MaxVersionLevel <= supported[f.Name], true)
		}
	}},
	{name: "a feature that nobody knows is refused and changes nothing", run: func(b *broker) {
		before := b.versions(b).FinalizedFeatures
		req := kmsg.NewPtrUpdateFeaturesRequest()
		u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		u.Feature, u.MaxVersionLevel, u.UpgradeType = "no.such.feature", 1, 1
		req.FeatureUpdates, req.TimeoutMillis = append(req.FeatureUpdates, u), 10_000
		b.is("updating", ask(b, req).ErrorCode, kerr.InvalidUpdateVersion)
		same(b, "finalized features", len(b.versions(b).FinalizedFeatures), len(before))
	}},
	{name: "the size of a partition in its directory grows with what is written", run: func(b *broker) {
		topic := b.topic(1)
		b.append(topic, recs("k=v"))
		before := b.size(topic)
		b.append(topic, third())
		same(b, "it grew by the batch", b.size(topic)-before >= 300<<10, true)
	}},
	{name: "the directories have room, and no partition of a deleted topic", run: func(b *broker) {
		topic := b.topic(1)
		b.append(topic, recs("k=v"))
		dir := only(b, ask(b, kmsg.NewPtrDescribeLogDirsRequest()).Dirs)
		b.is("the directory", dir.ErrorCode, nil)
		same(b, "there is room", dir.UsableBytes > 0 && dir.UsableBytes <= dir.TotalBytes, true)
		b.deleteTopic(topic)
		b.until("its partition is gone", func() bool {
			for _, t := range only(b, ask(b, kmsg.NewPtrDescribeLogDirsRequest()).Dirs).Topics {
				if t.Topic == topic {
					return false
				}
			}
			return true
		})
	}},
	{name: "a partition is not moved to a broker that is not there", run: func(b *broker) {
		topic := b.topic(1)
		b.is("moving", b.reassign(topic, 0, []int32{7}), kerr.InvalidReplicaAssignment)
		b.is("moving to none", b.reassign(topic, 0, []int32{}), kerr.InvalidReplicaAssignment)
		b.is("cancelling", b.reassign(topic, 0, nil), kerr.NoReassignmentInProgress)
		b.is("moving what is not there", b.reassign(topic, 5, []int32{1}), kerr.UnknownTopicOrPartition)
		same(b, "reassignments", len(ask(b, kmsg.NewPtrListPartitionReassignmentsRequest()).Topics), 0)
		b.append(topic, recs("k=v"))
	}},
	{name: "a partition may be moved to where it is", run: func(b *broker) {
		topic := b.topic(1)
		b.append(topic, recs("k=v"))
		b.is("moving", b.reassign(topic, 0, []int32{1}), nil)
		same(b, "what is there", texts(b.read(topic)), "0:k=v")
	}},
	{name: "a partition whose preferred replica leads needs no election", run: func(b *broker) {
		topic := b.topic(1)
		req := kmsg.NewPtrElectLeadersRequest()
		t := kmsg.NewElectLeadersRequestTopic()
		t.Topic, t.Partitions = topic, []int32{0}
		req.Topics, req.TimeoutMillis = append(req.Topics, t), 10_000
		p := only(b, only(b, ask(b, req).Topics).Partitions)
		b.is("electing", p.ErrorCode, kerr.ElectionNotNeeded)
		same(b, "the leader", b.describeTopic(topic).Partitions[0].Leader, 1)
	}},
	{name: "a thousand requests on one connection are answered in their order", run: func(b *broker) {
		topic := b.topic(1)
		other := dial(b.T)
		for i := range 1000 {
			req := produceRequest(-1, topic, recs(strings.Repeat("k", 1+i%7)+"=v"))
			req.SetVersion(9)
			b.must("sending", other.send(req))
		}
		other.correlation = 0
		for i := range int64(1000) {
			other.correlation++
			req := produceRequest(-1, topic)
			req.SetVersion(9)
			resp, err := other.receive(req)
			b.must("receiving", err)
			p := only(b, only(b, resp.(*kmsg.ProduceResponse).Topics).Partitions)
			b.is("writing", p.ErrorCode, nil)
			same(b, "the offset", p.BaseOffset, i)
		}
	}},
}

// raised is a request in a version that it does not have.
type raised struct {
	kmsg.Request
	version int16
}

func (r *raised) GetVersion() int16 { return r.version }

// versions asks which APIs and features there are.
func (b *broker) versions(on asker) *kmsg.ApiVersionsResponse {
	b.Helper()
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "behaviour", "1"
	resp := ask(on, req)
	b.is("asking for versions", resp.ErrorCode, nil)
	return resp
}

// size returns the bytes of partition 0 in its directory.
func (b *broker) size(topic string) int64 {
	b.Helper()
	req := kmsg.NewPtrDescribeLogDirsRequest()
	t := kmsg.NewDescribeLogDirsRequestTopic()
	t.Topic, t.Partitions = topic, []int32{0}
	req.Topics = append(req.Topics, t)
	return only(b, only(b, only(b, ask(b, req).Dirs).Topics).Partitions).Size
}

// reassign asks for other replicas of a partition; nil cancels.
func (b *broker) reassign(topic string, partition int32, replicas []int32) int16 {
	b.Helper()
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	t, p := kmsg.NewAlterPartitionAssignmentsRequestTopic(), kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
	t.Topic, p.Partition, p.Replicas = topic, partition, replicas
	t.Partitions = append(t.Partitions, p)
	req.Topics, req.TimeoutMillis = append(req.Topics, t), 10_000
	resp := ask(b, req)
	b.is("reassigning", resp.ErrorCode, nil)
	return only(b, only(b, resp.Topics).Partitions).ErrorCode
}
