package handler

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

func TestApiVersions(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	c := b.dial()
	defer c.close()
	for version := int16(0); version <= 6; version++ {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version = min(version, 4)
		if version > 4 {
			req.Version = version // a client of the future
		}
		req.ClientSoftwareName, req.ClientSoftwareVersion = "moldau-test", "1.0"
		asked := *req
		if version > 4 {
			asked.Version = 0 // the form of the answer
			c.send(req)
			got := answer[*kmsg.ApiVersionsResponse](c, &asked)
			wantCode(t, "a version of the future", got.ErrorCode, kerr.UnsupportedVersion)
			if len(got.ApiKeys) != 1 || got.ApiKeys[0].ApiKey != 18 || got.ApiKeys[0].MaxVersion != 4 {
				t.Errorf("v%d: %+v", version, got.ApiKeys)
			}
			continue
		}
		got := ask[*kmsg.ApiVersionsResponse](c, req)
		wantCode(t, "api versions", got.ErrorCode, nil)
		if len(got.ApiKeys) != len(APIs()) {
			t.Errorf("v%d: %d keys, want %d", version, len(got.ApiKeys), len(APIs()))
		}
		for i, a := range APIs() {
			if k := got.ApiKeys[i]; k.ApiKey != int16(a.Key) || k.MinVersion != a.Min || k.MaxVersion != a.Max {
				t.Errorf("v%d: %+v, registered %s", version, k, a)
			}
		}
		if version >= 3 && (got.FinalizedFeaturesEpoch < 0 || len(got.FinalizedFeatures) != 1) {
			t.Errorf("v%d: features %+v of epoch %d", version, got.FinalizedFeatures, got.FinalizedFeaturesEpoch)
		}
		for _, f := range got.SupportedFeatures {
			if f.MinVersion == 0 && version < 4 {
				t.Errorf("v%d must not tell of feature %s, whose minimum is 0", version, f.Name)
			}
		}
	}
	for _, name := range []string{"", "-x", "x-", "x y", "é"} {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 3, name, "1"
		got := ask[*kmsg.ApiVersionsResponse](c, req)
		wantCode(t, "software name "+name, got.ErrorCode, kerr.InvalidRequest)
	}
}

// TestUnservedCloses: a key or version that is not served ends the connection.
func TestUnservedCloses(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	for _, a := range APIs() {
		if a.Key == kmsg.ApiVersions {
			continue
		}
		for _, version := range []int16{a.ServedFirst - 1, a.Max + 1} {
			req := a.Key.Request()
			if version < 0 || version > req.MaxVersion() {
				continue
			}
			req.SetVersion(version)
			c := b.dial()
			c.send(req)
			c.wantClosed()
			c.close()
		}
	}
	c := b.dial()
	defer c.close()
	c.send(kmsg.NewPtrAddPartitionsToTxnRequest())
	c.wantClosed()
}

func metadataRequest(version int16, topics ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = version
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	return req
}

// topicsOf lists the topics of an answer as NAME(PARTITIONS), or NAME=ERROR.
func topicsOf(resp *kmsg.MetadataResponse) string {
	var out []string
	for i := range resp.Topics {
		t, name := &resp.Topics[i], ""
		if t.Topic != nil {
			name = *t.Topic
		}
		if t.ErrorCode != 0 {
			out = append(out, fmt.Sprintf("%s=%d", name, t.ErrorCode))
		} else {
			out = append(out, fmt.Sprintf("%s(%d)", name, len(t.Partitions)))
		}
	}
	return strings.Join(out, " ")
}

func TestMetadata(t *testing.T) {
	b := startBroker(t, "auto.create.topics.enable", "false")
	defer b.stop()
	id := b.create("b", 2)
	b.create("a", 1)
	b.create("__consumer_offsets", 1)
	c := b.dial()
	defer c.close()
	all := func(version int16) *kmsg.MetadataRequest {
		req := metadataRequest(version)
		if version > 0 {
			req.Topics = nil
		}
		return req
	}
	byID := metadataRequest(12)
	byID.Topics = []kmsg.MetadataRequestTopic{{TopicID: id}}
	unknownID := metadataRequest(12)
	unknownID.Topics = []kmsg.MetadataRequestTopic{{TopicID: ids.NewUUID()}}
	neither := metadataRequest(12)
	neither.Topics = []kmsg.MetadataRequestTopic{{}}
	idTooEarly := metadataRequest(10, "a")
	idTooEarly.Topics[0].TopicID = id
	const everything = "__consumer_offsets(1) a(1) b(2)"
	for _, tc := range []struct {
		name string
		req  *kmsg.MetadataRequest
		want string
	}{
		{"all in version 0", all(0), everything},
		{"all in version 1", all(1), everything},
		{"all in version 13", all(13), everything},
		{"none in version 1", metadataRequest(1), ""},
		{"none in version 13", metadataRequest(13), ""},
		{"named", metadataRequest(13, "b", "a"), "b(2) a(1)"},
		{"named twice", metadataRequest(13, "b", "b"), "b(2)"},
		{"unknown", metadataRequest(13, "nobody", "a"), "nobody=3 a(1)"},
		{"invalid", metadataRequest(13, "a b", "..", ""), "a b=17 ..=17 =17"},
		{"by id", byID, "b(2)"},
		{"unknown id", unknownID, "=100"},
		{"neither name nor id", neither, "=42"},
		{"id before version 12", idTooEarly, "a=42"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp := ask[*kmsg.MetadataResponse](c, tc.req)
			if got := topicsOf(resp); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
			if strings.Contains(tc.want, "=42") {
				return
			}
			if len(resp.Brokers) != 1 || resp.Brokers[0].Host != testHost || resp.Brokers[0].Port != testPort || resp.Brokers[0].NodeID != int32(testNode) {
				t.Errorf("brokers %+v", resp.Brokers)
			}
		})
	}
	t.Run("details", func(t *testing.T) {
		req := metadataRequest(10, "b", "__consumer_offsets")
		req.IncludeTopicAuthorizedOperations, req.IncludeClusterAuthorizedOperations = true, true
		resp := ask[*kmsg.MetadataResponse](c, req)
		topic := &resp.Topics[0]
		p := &topic.Partitions[1]
		if topic.TopicID != id || topic.IsInternal || !resp.Topics[1].IsInternal || p.Leader != int32(testNode) || p.LeaderEpoch != 0 ||
			!slices.Equal(p.Replicas, []int32{int32(testNode)}) || !slices.Equal(p.ISR, p.Replicas) || len(p.OfflineReplicas) != 0 {
			t.Errorf("%+v", resp.Topics)
		}
		if topic.AuthorizedOperations != topicOperations || resp.AuthorizedOperations != clusterOperations || *resp.ClusterID != testCluster || resp.ControllerID != int32(testNode) {
			t.Errorf("%+v", resp)
		}
		got := ask[*kmsg.MetadataResponse](c, metadataRequest(10, "b"))
		if got.Topics[0].AuthorizedOperations != operationsNotAsked || got.AuthorizedOperations != operationsNotAsked {
			t.Error("operations that nobody asked for")
		}
	})
}

// The answer that has a topic created does not know it yet.
func TestMetadataCreatesOnDemand(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("there", 1)
	c := b.dial()
	defer c.close()
	for _, tc := range []struct {
		name    string
		version int16
		allow   bool
		topics  []string
		want    string
		created string // the one that is there afterwards
	}{
		{"not allowed", 4, false, []string{"a"}, "a=3", ""},
		{"allowed", 4, true, []string{"a"}, "a=3", "a"},
		{"always before version 4", 3, false, []string{"b"}, "b=3", "b"},
		{"oldest version", 0, false, []string{"c", "there"}, "c=3 there(1)", "c"},
		{"exists", 13, true, []string{"there"}, "there(1)", ""},
		{"invalid name", 13, true, []string{"a/b"}, "a/b=17", ""},
		{"newest version, twice", 13, true, []string{"d", "d", "a/b"}, "d=3 a/b=17", "d"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := metadataRequest(tc.version, tc.topics...)
			req.AllowAutoTopicCreation = tc.allow
			if got := topicsOf(ask[*kmsg.MetadataResponse](c, req)); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
			if tc.created == "" {
				return
			}
			b.untilTopic(tc.created)
			if got, want := topicsOf(ask[*kmsg.MetadataResponse](c, metadataRequest(tc.version, tc.created))), tc.created+"(1)"; got != want {
				t.Errorf("afterwards %q, want %q", got, want)
			}
		})
	}
	asked := make(map[string]bool) // one twice where it was there before the second mention was read
	for _, topic := range b.requested() {
		asked[topic.Topic] = true
	}
	if len(asked) != 4 {
		t.Errorf("asked for %v", asked)
	}
}

func TestDescribeTopicPartitions(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	for _, name := range []string{"a", "b", "c"} {
		b.create(name, 3)
	}
	c := b.dial()
	defer c.close()
	page := func(limit int32, cursor *kmsg.DescribeTopicPartitionsRequestCursor, topics ...string) *kmsg.DescribeTopicPartitionsResponse {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit, req.Cursor = limit, cursor
		for _, name := range topics {
			req.Topics = append(req.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: name})
		}
		return ask[*kmsg.DescribeTopicPartitionsResponse](c, req)
	}
	list := func(resp *kmsg.DescribeTopicPartitionsResponse) string {
		var out []string
		for i := range resp.Topics {
			t := &resp.Topics[i]
			item := *t.Topic
			if t.ErrorCode != 0 {
				item += fmt.Sprintf("=%d", t.ErrorCode)
			}
			for _, p := range t.Partitions {
				item += fmt.Sprintf(" %d", p.Partition)
			}
			out = append(out, item)
		}
		if n := resp.NextCursor; n != nil {
			out = append(out, fmt.Sprintf("next %s %d", n.Topic, n.Partition))
		}
		return strings.Join(out, ", ")
	}
	at := func(topic string, partition int32) *kmsg.DescribeTopicPartitionsRequestCursor {
		return &kmsg.DescribeTopicPartitionsRequestCursor{Topic: topic, Partition: partition}
	}
	for _, tc := range []struct{ name, got, want string }{
		{"all", list(page(2000, nil)), "a 0 1 2, b 0 1 2, c 0 1 2"},
		{"named, sorted, unknown", list(page(2000, nil, "c", "nobody", "a", "a b", "c")), "a 0 1 2, a b=17, c 0 1 2, nobody=3"},
		{"first page", list(page(4, nil)), "a 0 1 2, b 0, next b 1"},
		{"second page", list(page(4, at("b", 1))), "b 1 2, c 0 1, next c 2"},
		{"last page", list(page(4, at("c", 2))), "c 2"},
		{"page ends with a topic", list(page(3, nil)), "a 0 1 2, next b 0"},
		{"cursor of a topic that is gone", list(page(2000, at("aa", 1))), "b 0 1 2, c 0 1 2"},
		{"cursor not asked for", list(page(2000, at("b", 0), "a", "c")), "a=42, c=42"},
		{"negative cursor", list(page(2000, at("a", -1), "a")), "a=42"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, tc.got, tc.want)
		}
	}
}

func TestDescribeCluster(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.apply(&metadata.RegisterBrokerRecord{
		BrokerID: 9, IncarnationID: ids.NewUUID(), BrokerEpoch: metadata.EpochOfEntry, Fenced: true,
		Endpoints: []metadata.Endpoint{{Listener: testListener, Host: "other", Port: 1}},
	})
	c := b.dial()
	defer c.close()
	for _, tc := range []struct {
		version  int16
		endpoint int8
		fenced   bool
		want     *kerr.Error
		brokers  int
	}{
		{0, 1, false, nil, 1},
		{1, 1, false, nil, 1},
		{2, 1, true, nil, 2},
		{2, 1, false, nil, 1},
		{1, 2, false, kerr.MismatchedEndpointType, 0},
		{1, 3, false, kerr.UnsupportedEndpointType, 0},
	} {
		req := kmsg.NewPtrDescribeClusterRequest()
		req.Version, req.EndpointType, req.IncludeFencedBrokers = tc.version, tc.endpoint, tc.fenced
		req.IncludeClusterAuthorizedOperations = true
		got := ask[*kmsg.DescribeClusterResponse](c, req)
		wantCode(t, "describe cluster", got.ErrorCode, tc.want)
		if len(got.Brokers) != tc.brokers || tc.want == nil && (got.ClusterID != testCluster || got.ClusterAuthorizedOperations != clusterOperations) {
			t.Errorf("v%d type %d: %+v", tc.version, tc.endpoint, got)
		}
	}
}

func TestDescribeConfigs(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("t", 1, "max.message.bytes", "2000")
	c := b.dial()
	defer c.close()
	describe := func(kind kmsg.ConfigResourceType, name string, names ...string) *kmsg.DescribeConfigsResponseResource {
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.Version, req.IncludeSynonyms, req.IncludeDocumentation = 4, true, true
		req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: name, ConfigNames: names}}
		return &ask[*kmsg.DescribeConfigsResponse](c, req).Resources[0]
	}
	const topic, broker, logger = kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger
	for _, tc := range []struct {
		name string
		kind kmsg.ConfigResourceType
		of   string
		want *kerr.Error
	}{
		{"topic", topic, "t", nil},
		{"unknown topic", topic, "nobody", kerr.UnknownTopicOrPartition},
		{"invalid topic", topic, "a b", kerr.InvalidTopicException},
		{"this broker", broker, fmt.Sprint(testNode), nil},
		{"all brokers", broker, "", nil},
		{"another broker", broker, "99", kerr.InvalidRequest},
		{"no broker", broker, "x", kerr.InvalidRequest},
		{"loggers", logger, "1", kerr.InvalidRequest},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := describe(tc.kind, tc.of)
			wantCode(t, "describe configs", got.ErrorCode, tc.want)
			if (len(got.Configs) > 0) != (tc.want == nil) && tc.of != "" {
				t.Errorf("%d configs", len(got.Configs))
			}
		})
	}
	got := describe(topic, "t", "max.message.bytes", "retention.ms", "nonsense")
	if len(got.Configs) != 2 {
		t.Fatalf("%+v", got.Configs)
	}
	for _, config := range got.Configs {
		if config.Name == "max.message.bytes" && (*config.Value != "2000" || config.Source != 1 || len(config.ConfigSynonyms) == 0 || config.Documentation == nil) {
			t.Errorf("%+v", config)
		}
		if config.Name == "retention.ms" && config.Source != 5 {
			t.Errorf("%+v", config)
		}
	}
}

// TestAdminRequestsReachTheController: what changes the metadata is the controller's, in
// every version.
func TestAdminRequestsReachTheController(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	c := b.dial()
	defer c.close()
	for version := int16(2); version <= 7; version++ {
		name := fmt.Sprint("t", version)
		create := kmsg.NewPtrCreateTopicsRequest()
		create.Version = version
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
		create.Topics = append(create.Topics, topic)
		if got := ask[*kmsg.CreateTopicsResponse](c, create); len(got.Topics) != 1 || got.Topics[0].Topic != name || got.Topics[0].ErrorCode != 0 {
			t.Errorf("v%d: %+v", version, got)
		}
		c.produce(name, values("x"))
		remove := kmsg.NewPtrDeleteTopicsRequest()
		remove.Version = version - 1
		if remove.TopicNames = []string{name}; remove.Version >= 6 {
			remove.TopicNames, remove.Topics = nil, []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}
		}
		resp := ask[*kmsg.DeleteTopicsResponse](c, remove)
		if len(resp.Topics) != 1 || resp.Topics[0].ErrorCode != 0 {
			t.Errorf("v%d: %+v", remove.Version, resp)
		}
	}
	for version := int16(0); version <= 3; version++ {
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.Version = version
		ask[*kmsg.CreatePartitionsResponse](c, req)
	}
	for version := int16(0); version <= 2; version++ {
		req := kmsg.NewPtrElectLeadersRequest()
		req.Version, req.ElectionType = version, 1
		want := "1"
		if version == 0 {
			want = "0"
		}
		if got := ask[*kmsg.ElectLeadersResponse](c, req); got.Topics[0].Topic != want {
			t.Errorf("v%d: election type %s, want %s", version, got.Topics[0].Topic, want)
		}
	}
	for version := int16(0); version <= 2; version++ {
		req := kmsg.NewPtrUpdateFeaturesRequest()
		update := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		update.Feature, update.UpgradeType = "f", 3
		req.Version, req.ValidateOnly, req.FeatureUpdates = version, true, append(req.FeatureUpdates, update)
		got := ask[*kmsg.UpdateFeaturesResponse](c, req)
		if want := fmt.Sprint("validate only ", version > 0); got.ErrorMessage == nil || *got.ErrorMessage != want {
			t.Errorf("v%d: %+v, want %s", version, got, want)
		}
		want := map[int16][]kmsg.UpdateFeaturesResponseResult{0: {{Feature: "f", ErrorCode: 1}}, 1: {{Feature: "f", ErrorCode: 3}}}[version]
		if !reflect.DeepEqual(got.Results, want) {
			t.Errorf("v%d: %+v, want %+v", version, got.Results, want)
		}
	}
	unregister := kmsg.NewPtrUnregisterBrokerRequest()
	unregister.BrokerID = 70
	if got := ask[*kmsg.UnregisterBrokerResponse](c, unregister); got.ErrorCode != kerr.BrokerIDNotRegistered.Code || got.ErrorMessage == nil || *got.ErrorMessage != "broker 70" {
		t.Errorf("%+v", got)
	}
	for version := int16(0); version <= 1; version++ {
		req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		req.Version, req.AllowReplicationFactorChange = version, false
		if got := ask[*kmsg.AlterPartitionAssignmentsResponse](c, req); got.AllowReplicationFactorChange != (version == 0) {
			t.Errorf("v%d: %+v", version, got)
		}
	}
	for version := int16(0); version <= 1; version++ {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		req.Version = version
		if got := ask[*kmsg.IncrementalAlterConfigsResponse](c, req); got.Resources[0].ResourceName != fmt.Sprint(testNode) {
			t.Errorf("asked for node %q", got.Resources[0].ResourceName)
		}
	}
	for version := int16(0); version <= 2; version++ {
		req := kmsg.NewPtrAlterConfigsRequest()
		req.Version = version
		if got := ask[*kmsg.AlterConfigsResponse](c, req); got.Resources[0].ResourceName != fmt.Sprint(testNode) {
			t.Errorf("asked for node %q", got.Resources[0].ResourceName)
		}
	}
}

// TestMalformedBodyCloses: a body that cannot be decoded ends the connection, whatever the API.
func TestMalformedBodyCloses(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	for _, a := range APIs() {
		t.Run(a.String(), func(t *testing.T) {
			c := b.dial()
			defer c.close()
			c.send(&cutRequest{a.Key.Request(), a.Max})
			c.wantClosed()
		})
	}
}

// cutRequest is a request whose body ends too early, or never made sense.
type cutRequest struct {
	kmsg.Request
	version int16
}

func (r *cutRequest) GetVersion() int16 { return r.version }
func (r *cutRequest) IsFlexible() bool {
	r.SetVersion(r.version)
	return r.Request.IsFlexible()
}
func (r *cutRequest) AppendTo(dst []byte) []byte { return append(dst, 0xff, 0xff, 0xff, 0xff, 0x7f) }

var _ Controller = (*broker)(nil)
