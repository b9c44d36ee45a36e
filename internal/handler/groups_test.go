package handler

import (
	"net"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/coordinator/group"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// fakeGroups answers as told, on a goroutine of its own, and keeps what it was asked.
type fakeGroups struct {
	answer func(req *group.Request) (any, error)
	list   func(req *group.ListGroups) (responses []any, loading bool)
	asked  chan *group.Request
	alone  chan bool // of each that is in asked
}

func (f *fakeGroups) Request(_ int32, req any, alone bool, answer func(any, error)) {
	r := req.(*group.Request)
	select {
	case f.asked <- r:
		f.alone <- alone
	default:
	}
	go func() { answer(f.answer(r)) }()
}

func (f *fakeGroups) Ask(req any, answer func([]any, bool)) {
	go func() { answer(f.list(req.(*group.ListGroups))) }()
}

func startGroups(t *testing.T, answer func(req *group.Request) (any, error)) (*broker, *client, *fakeGroups) {
	t.Helper()
	b := startBroker(t)
	f := &fakeGroups{answer: answer, asked: make(chan *group.Request, 100), alone: make(chan bool, 100)}
	b.handlers.Groups = f
	return b, b.dial(), f
}

// Known values of Java's String.hashCode, made positive.
func TestJavaHash(t *testing.T) {
	for s, want := range map[string]int32{
		"": 0, "a": 97, "abc": 96354, "polygenelubricants": 0, "GydZG_": 0, "\U0001F600": 1772899,
	} {
		if got := javaHash(s); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}

func TestJavaHost(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:9": "/127.0.0.1", "[::1]:9": "/0:0:0:0:0:0:0:1", "[2001:db8::a:0]:9": "/2001:db8:0:0:0:0:a:0",
	} {
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := javaHost(a); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// The first who looks for a coordinator has the topic made, and asks again.
func TestFindCoordinatorMakesItsTopic(t *testing.T) {
	b, c, _ := startGroups(t, nil)
	defer b.stop()
	defer c.close()
	find := func(v int16) []kmsg.FindCoordinatorResponseCoordinator {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.Version, req.CoordinatorKey, req.CoordinatorKeys = v, "g", []string{"g", "h"}
		resp := ask[*kmsg.FindCoordinatorResponse](c, req)
		if v >= 4 {
			return resp.Coordinators
		}
		return []kmsg.FindCoordinatorResponseCoordinator{{Key: "g", NodeID: resp.NodeID, Host: resp.Host, Port: resp.Port, ErrorCode: resp.ErrorCode}}
	}
	check := func(when string, v int16, want kmsg.FindCoordinatorResponseCoordinator) {
		t.Helper()
		keys := []string{"g", "h"}
		if v < 4 {
			keys = keys[:1]
		}
		found := find(v)
		if len(found) != len(keys) {
			t.Fatalf("%s, v%d: %+v", when, v, found)
		}
		for i, at := range found {
			if i > 0 && want.ErrorCode != 0 {
				break // the topic may be there by now
			}
			at.ErrorMessage = nil
			if want.Key = keys[i]; !reflect.DeepEqual(at, want) {
				t.Errorf("%s, v%d: %+v, want %+v", when, v, at, want)
			}
		}
	}
	none := kmsg.FindCoordinatorResponseCoordinator{NodeID: -1, Port: -1, ErrorCode: kerr.CoordinatorNotAvailable.Code}
	here := kmsg.FindCoordinatorResponseCoordinator{NodeID: int32(testNode), Host: testHost, Port: testPort}
	for v := range int16(7) {
		check("first", v, none)
		b.untilTopic(config.OffsetsTopic)
		check("then", v, here)
		topic, _ := b.image.Load().Topic(config.OffsetsTopic)
		b.apply(&metadata.RemoveTopicRecord{TopicID: topic.ID})
	}
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.Version, req.CoordinatorKey, req.CoordinatorType = 3, "id", 1
	wantCode(t, "transactions", ask[*kmsg.FindCoordinatorResponse](c, req).ErrorCode, kerr.UnsupportedVersion)
}

// Whatever the coordinator cannot answer every API says in its own place.
func TestGroupErrors(t *testing.T) {
	b, c, _ := startGroups(t, func(*group.Request) (any, error) { return nil, kerr.NotCoordinator })
	defer b.stop()
	defer c.close()
	id := b.create("t", 1)
	errorOf := map[kmsg.Request]func(kmsg.Response) int16{
		&kmsg.JoinGroupRequest{Group: "g"}: func(r kmsg.Response) int16 { return r.(*kmsg.JoinGroupResponse).ErrorCode },
		&kmsg.SyncGroupRequest{Group: "g", ProtocolType: kmsg.StringPtr("consumer"), Protocol: kmsg.StringPtr("range")}: func(r kmsg.Response) int16 { return r.(*kmsg.SyncGroupResponse).ErrorCode },
		&kmsg.HeartbeatRequest{Group: "g"}: func(r kmsg.Response) int16 { return r.(*kmsg.HeartbeatResponse).ErrorCode },
		&kmsg.LeaveGroupRequest{Group: "g"}: func(r kmsg.Response) int16 {
			return r.(*kmsg.LeaveGroupResponse).ErrorCode
		},
		&kmsg.DescribeGroupsRequest{Groups: []string{"g"}}: func(r kmsg.Response) int16 {
			return r.(*kmsg.DescribeGroupsResponse).Groups[0].ErrorCode
		},
		&kmsg.DeleteGroupsRequest{Groups: []string{"g"}}: func(r kmsg.Response) int16 {
			return r.(*kmsg.DeleteGroupsResponse).Groups[0].ErrorCode
		},
		&kmsg.OffsetDeleteRequest{Group: "g", Topics: []kmsg.OffsetDeleteRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{}}}}}: func(r kmsg.Response) int16 {
			return r.(*kmsg.OffsetDeleteResponse).ErrorCode
		},
		&kmsg.OffsetCommitRequest{Group: "g", Topics: []kmsg.OffsetCommitRequestTopic{{Topic: "t", TopicID: id, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{}}}}}: func(r kmsg.Response) int16 {
			return r.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode
		},
		&kmsg.OffsetFetchRequest{Group: "g", Groups: []kmsg.OffsetFetchRequestGroup{{Group: "g"}}, Topics: []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0}}}}: func(r kmsg.Response) int16 {
			f := r.(*kmsg.OffsetFetchResponse)
			switch {
			case f.Version < 2:
				return f.Topics[0].Partitions[0].ErrorCode
			case f.Version < manyGroupsSince:
				return f.ErrorCode
			}
			return f.Groups[0].ErrorCode
		},
	}
	for req, code := range errorOf {
		api := lookup(registry, req.Key())
		for v := api.Min; v <= api.Max; v++ {
			req.SetVersion(v)
			resp := ask[kmsg.Response](c, req)
			resp.SetVersion(v)
			wantCode(t, kmsg.NameForKey(req.Key()), code(resp), kerr.NotCoordinator)
		}
	}
}

// Partitions that there are not are refused here, the others are the coordinator's, and the answer has both.
func TestOffsetCommitOfUnknownPartitions(t *testing.T) {
	b, c, f := startGroups(t, func(r *group.Request) (any, error) {
		req := r.Message.(*kmsg.OffsetCommitRequest)
		resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
		for i := range req.Topics {
			for _, p := range req.Topics[i].Partitions {
				answerCommit(resp, &req.Topics[i], p.Partition, 0)
			}
		}
		return resp, nil
	})
	defer b.stop()
	defer c.close()
	known, unknown := b.create("t", 2), ids.NewUUID()
	for _, v := range []int16{2, 9, 10} {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Version, req.Group = v, "g"
		req.Topics = []kmsg.OffsetCommitRequestTopic{
			{Topic: "nosuch", TopicID: unknown, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: 0}}},
			{Topic: "t", TopicID: known, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: 5}, {Partition: 1}, {Partition: 0}}},
		}
		resp := ask[*kmsg.OffsetCommitResponse](c, req)
		got := map[int32]int16{}
		for _, p := range resp.Topics[1].Partitions {
			got[p.Partition] = p.ErrorCode
		}
		if want := map[int32]int16{5: kerr.UnknownTopicOrPartition.Code, 1: 0, 0: 0}; len(resp.Topics) != 2 || !reflect.DeepEqual(got, want) {
			t.Errorf("v%d: %+v", v, resp.Topics)
		}
		want := kerr.UnknownTopicOrPartition
		if v >= topicIDsSince {
			want = kerr.UnknownTopicID
		}
		wantCode(t, "unknown topic", resp.Topics[0].Partitions[0].ErrorCode, want)
		if asked := (<-f.asked).Message.(*kmsg.OffsetCommitRequest).Topics; len(asked) != 1 || asked[0].Topic != "t" || asked[0].TopicID != known || len(asked[0].Partitions) != 2 {
			t.Errorf("v%d: the coordinator was asked for %+v", v, asked)
		}
	}
}

// The coordinator is asked in one form, whatever the version; the answer is in that of the version.
func TestOffsetFetchForms(t *testing.T) {
	b, c, f := startGroups(t, func(r *group.Request) (any, error) {
		resp := kmsg.NewPtrOffsetFetchResponse()
		g := kmsg.NewOffsetFetchResponseGroup()
		g.Group = r.Message.(*kmsg.OffsetFetchRequest).Groups[0].Group
		out := kmsg.NewOffsetFetchResponseGroupTopic()
		out.Topic = "t"
		p := noOffset(1, 0)
		p.Offset = 42
		out.Partitions = append(out.Partitions, p)
		g.Topics = append(g.Topics, out)
		resp.Groups = append(resp.Groups, g)
		return resp, nil
	})
	defer b.stop()
	defer c.close()
	id := b.create("t", 2)
	for v := int16(1); v <= 10; v++ {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Version, req.Group = v, "g"
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{1}}}
		req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "g", Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", TopicID: id, Partitions: []int32{1}}}}}
		resp := ask[*kmsg.OffsetFetchResponse](c, req)
		var offset int64
		if v < manyGroupsSince {
			offset = resp.Topics[0].Partitions[0].Offset
		} else {
			offset = resp.Groups[0].Topics[0].Partitions[0].Offset
		}
		if offset != 42 || v >= topicIDsSince && resp.Groups[0].Topics[0].TopicID != id {
			t.Errorf("v%d: %+v", v, resp)
		}
		asked := (<-f.asked).Message.(*kmsg.OffsetFetchRequest)
		if len(asked.Groups) != 1 || asked.Groups[0].Group != "g" || asked.Groups[0].Topics[0].Topic != "t" || asked.Groups[0].Topics[0].Partitions[0] != 1 {
			t.Errorf("v%d: the coordinator was asked for %+v", v, asked)
		}
	}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group = 7, "g"
	ask[*kmsg.OffsetFetchResponse](c, req)
	if asked := (<-f.asked).Message.(*kmsg.OffsetFetchRequest); asked.Groups[0].Topics != nil {
		t.Errorf("all topics became %+v", asked.Groups[0].Topics)
	}
}

func TestListGroups(t *testing.T) {
	b, c, f := startGroups(t, nil)
	defer b.stop()
	defer c.close()
	loading := false
	f.list = func(*group.ListGroups) ([]any, bool) {
		return []any{[]kmsg.ListGroupsResponseGroup{{Group: "z"}}, []kmsg.ListGroupsResponseGroup{{Group: "a"}, {Group: "b"}}}, loading
	}
	req := kmsg.NewPtrListGroupsRequest()
	req.Version = 5
	resp := ask[*kmsg.ListGroupsResponse](c, req)
	if len(resp.Groups) != 3 || resp.Groups[0].Group != "a" || resp.Groups[2].Group != "z" {
		t.Errorf("%+v", resp)
	}
	loading = true
	wantCode(t, "loading", ask[*kmsg.ListGroupsResponse](c, req).ErrorCode, kerr.CoordinatorLoadInProgress)
}

// TestConsumerProtocolIsFinalized: below group.version 1, or where the broker's file leaves the protocol out, its
// APIs are refused as of an unsupported version, and no coordinator is asked.
func TestConsumerProtocolIsFinalized(t *testing.T) {
	answer := func(r *group.Request) (any, error) {
		if _, ok := r.Message.(*kmsg.ConsumerGroupHeartbeatRequest); ok {
			return kmsg.NewPtrConsumerGroupHeartbeatResponse(), nil
		}
		resp := kmsg.NewPtrConsumerGroupDescribeResponse()
		resp.Groups = []kmsg.ConsumerGroupDescribeResponseGroup{kmsg.NewConsumerGroupDescribeResponseGroup()}
		return resp, nil
	}
	b, c, f := startGroups(t, answer)
	defer b.stop()
	defer c.close()
	codes := func() [2]int16 {
		heartbeat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		heartbeat.Version, heartbeat.Group = 1, "g"
		describe := kmsg.NewPtrConsumerGroupDescribeRequest()
		describe.Version, describe.Groups = 1, []string{"g"}
		return [2]int16{ask[*kmsg.ConsumerGroupHeartbeatResponse](c, heartbeat).ErrorCode, ask[*kmsg.ConsumerGroupDescribeResponse](c, describe).Groups[0].ErrorCode}
	}
	unsupported := [2]int16{kerr.UnsupportedVersion.Code, kerr.UnsupportedVersion.Code}
	if got := codes(); got != unsupported || len(f.asked) > 0 {
		t.Errorf("without the feature: %v, %d asked", got, len(f.asked))
	}
	b.apply(&metadata.FeatureLevelRecord{Name: metadata.GroupFeature, FeatureLevel: 1})
	if got := codes(); got != [2]int16{} {
		t.Errorf("with the feature: %v", got)
	}
	b.apply(&metadata.FeatureLevelRecord{Name: metadata.GroupFeature})
	if got := codes(); got != unsupported {
		t.Errorf("with the feature taken back: %v", got)
	}
}

// TestEmptyGroupID: it is refused though no coordinator is ready, but for offsets, which go to one.
func TestEmptyGroupID(t *testing.T) {
	b, c, _ := startGroups(t, func(*group.Request) (any, error) { return nil, kerr.CoordinatorLoadInProgress })
	defer b.stop()
	defer c.close()
	b.create("t", 1)
	remove := kmsg.NewPtrOffsetDeleteRequest()
	remove.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{}}}}
	for _, refused := range []struct {
		what string
		code int16
	}{
		{"join", ask[*kmsg.JoinGroupResponse](c, kmsg.NewPtrJoinGroupRequest()).ErrorCode},
		{"sync", ask[*kmsg.SyncGroupResponse](c, kmsg.NewPtrSyncGroupRequest()).ErrorCode},
		{"heartbeat", ask[*kmsg.HeartbeatResponse](c, kmsg.NewPtrHeartbeatRequest()).ErrorCode},
		{"leave", ask[*kmsg.LeaveGroupResponse](c, kmsg.NewPtrLeaveGroupRequest()).ErrorCode},
		{"delete offsets", ask[*kmsg.OffsetDeleteResponse](c, remove).ErrorCode},
	} {
		wantCode(t, refused.what, refused.code, kerr.InvalidGroupID)
	}
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Version = 7
	wantCode(t, "fetch", ask[*kmsg.OffsetFetchResponse](c, fetch).ErrorCode, kerr.CoordinatorLoadInProgress)
}

// Who waits for one group's answer may sync on its connection's goroutine; several groups of one request share syncs.
func TestAloneWithTheCoordinator(t *testing.T) {
	b, c, f := startGroups(t, func(req *group.Request) (any, error) { return nil, kerr.GroupIDNotFound })
	defer b.stop()
	defer c.close()
	heartbeat := kmsg.NewPtrHeartbeatRequest()
	heartbeat.Version, heartbeat.Group = 4, "g"
	remove := kmsg.NewPtrDeleteGroupsRequest()
	remove.Version, remove.Groups = 2, []string{"g", "h"}
	alone := false
	for n := 0; !alone && n < 1000; n++ { // a request that comes before the last answer is through is not alone
		ask[*kmsg.HeartbeatResponse](c, heartbeat)
		alone = <-f.alone
	}
	if !alone {
		t.Error("a client with a request at a time is never alone")
	}
	ask[*kmsg.DeleteGroupsResponse](c, remove)
	if first, second := <-f.alone, <-f.alone; first || second {
		t.Errorf("two groups of one request: alone %v and %v", first, second)
	}
}
