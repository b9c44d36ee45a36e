package group

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
)

// TestRefusals: what a group refuses has Kafka's code, and changes nothing: no record is written, no timer is set, and the group
// is as it was.
func TestRefusals(t *testing.T) {
	for _, c := range refusals() {
		t.Run(c.name, func(t *testing.T) {
			h, codes := groupOfThree(t)
			if c.config != nil {
				c.config(&h.cfg)
			}
			before, due := dumpConsumers(h.shard), h.shard.Due()
			timers, records := len(h.shard.timers.heap), len(h.log)
			h.now = h.now.Add(time.Millisecond)
			at := h.handle(request(c.ask))
			if got := (*codes)[at]; got != c.want.Code {
				t.Errorf("error %s, want %s", codeText(got), c.want.Message)
			}
			if after := dumpConsumers(h.shard); after != before {
				t.Errorf("it became\n%s\nand was\n%s", after, before)
			}
			if len(h.log) != records || len(h.shard.timers.heap) != timers || !h.shard.Due().Equal(due) {
				t.Errorf("%d records were written, %d timers set, due %v after %v", len(h.log)-records, len(h.shard.timers.heap)-timers, h.shard.Due(), due)
			}
		})
	}
}

// groupOfThree has a group g with m in epoch 3, s, which is static, and c, which speaks the classic protocol, and a classic group of one member.
func groupOfThree(t *testing.T) (*harness, *map[runtime.Ticket]int16) {
	h := newHarness(t)
	codes := make(map[runtime.Ticket]int16)
	h.onReply = func(at runtime.Ticket, response any) { codes[at] = responseCode(response) }
	h.cfg.ConsumerAssignmentIntervalMs.Default = 0
	h.image = imageOf(t, 1, []string{"a:6"}, nil, nil)
	h.handle(request(beating("m", 0)))
	static := beating("s", 0)
	static.InstanceID = kmsg.StringPtr("i")
	h.handle(request(static))
	h.handle(request(classicJoin("g", "c")))
	h.handle(request(joinMessage(3, "old", "")))
	h.wait(3*time.Second, func() {})
	return h, &codes
}

func beating(id string, epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	m := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	m.Version, m.Group, m.MemberID, m.MemberEpoch = 1, "g", id, epoch
	if epoch == 0 {
		m.RebalanceTimeoutMillis, m.SubscribedTopicNames, m.Topics = 30_000, []string{"a"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	return m
}

func classicJoin(group, id string) *kmsg.JoinGroupRequest {
	m := joinMessage(9, group, id)
	metadata := kmsg.NewConsumerMemberMetadata()
	metadata.Topics = []string{"a"}
	m.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: metadata.AppendTo(nil)}}
	return m
}

func responseCode(response any) int16 {
	switch r := response.(type) {
	case *kmsg.ConsumerGroupHeartbeatResponse:
		return r.ErrorCode
	case *kmsg.JoinGroupResponse:
		return r.ErrorCode
	case *kmsg.SyncGroupResponse:
		return r.ErrorCode
	case *kmsg.HeartbeatResponse:
		return r.ErrorCode
	case *kmsg.LeaveGroupResponse:
		return r.Members[0].ErrorCode
	case *kmsg.OffsetCommitResponse:
		return r.Topics[0].Partitions[0].ErrorCode
	case *kmsg.OffsetFetchResponse:
		return r.Groups[0].ErrorCode
	case *kmsg.DeleteGroupsResponse:
		return r.Groups[0].ErrorCode
	case *kmsg.DescribeGroupsResponse:
		return r.Groups[0].ErrorCode
	case *kmsg.ConsumerGroupDescribeResponse:
		return r.Groups[0].ErrorCode
	}
	return 0
}

type refused struct {
	name   string
	ask    kmsg.Request
	want   *kerr.Error
	config func(*Config)
}

func refusals() []refused {
	beat := func(id string, epoch int32, change func(*kmsg.ConsumerGroupHeartbeatRequest)) kmsg.Request {
		m := beating(id, epoch)
		if change != nil {
			change(m)
		}
		return m
	}
	type request = kmsg.ConsumerGroupHeartbeatRequest
	regex := func(pattern string) func(*request) {
		return func(m *request) { m.SubscribedTopicRegex = &pattern }
	}
	instance := func(id string) func(*request) { return func(m *request) { m.InstanceID = &id } }
	full := func(c *Config) { c.ConsumerMaxSize = 3 }
	return []refused{
		{"no group id", beat("m", 0, func(m *request) { m.Group = "" }), kerr.InvalidRequest, nil},
		{"no member id", beat("", 3, nil), kerr.InvalidRequest, nil},
		{"blank instance", beat("m", 3, instance(" ")), kerr.InvalidRequest, nil},
		{"blank rack", beat("m", 3, func(m *request) { m.RackID = kmsg.StringPtr("") }), kerr.InvalidRequest, nil},
		{"no rebalance timeout", beat("n", 0, func(m *request) { m.RebalanceTimeoutMillis = -1 }), kerr.InvalidRequest, nil},
		{"no subscription", beat("n", 0, func(m *request) { m.SubscribedTopicNames = nil }), kerr.InvalidRequest, nil},
		{"partitions at the start", beat("n", 0, func(m *request) { m.Topics = owned("a:0") }), kerr.InvalidRequest, nil},
		{"an epoch that means nothing", beat("m", -3, nil), kerr.InvalidRequest, nil},
		{"away without an instance", beat("s", -2, nil), kerr.InvalidRequest, nil},
		{"a member id that fits no record", beat(strings.Repeat("m", 40_000), 0, nil), kerr.InvalidRequest, nil},
		{"an unknown assignor", beat("m", 3, func(m *request) { m.ServerAssignor = kmsg.StringPtr("x") }), kerr.UnsupportedAssignor, nil},
		{"an assignor that is not allowed", beat("m", 3, func(m *request) { m.ServerAssignor = kmsg.StringPtr("range") }), kerr.UnsupportedAssignor,
			func(c *Config) { c.ConsumerAssignors = []string{"uniform"} }},
		{"an unknown group", beat("m", 1, func(m *request) { m.Group = "nosuch" }), kerr.GroupIDNotFound, nil},
		{"an unknown group that is left", beat("m", -1, func(m *request) { m.Group = "nosuch" }), kerr.GroupIDNotFound, nil},
		{"a classic group", beat("m", 1, func(m *request) { m.Group = "old" }), kerr.GroupIDNotFound, nil},
		{"a classic group that may not be upgraded", beat("n", 0, func(m *request) { m.Group = "old" }), kerr.GroupIDNotFound,
			func(c *Config) { c.ConsumerMigrationPolicy = "downgrade" }},
		{"a classic group whose metadata cannot be read", beat("n", 0, func(m *request) { m.Group = "old" }), kerr.GroupIDNotFound, nil},
		{"an unknown member", beat("n", 1, nil), kerr.UnknownMemberID, nil},
		{"an unknown member that leaves", beat("n", -1, nil), kerr.UnknownMemberID, nil},
		{"an unknown instance", beat("m", 3, instance("j")), kerr.UnknownMemberID, nil},
		{"another's instance", beat("m", 3, instance("i")), kerr.FencedInstanceID, nil},
		{"another's instance that leaves", beat("m", -1, instance("i")), kerr.FencedInstanceID, nil},
		{"an instance that runs", beat("n", 0, instance("i")), kerr.UnreleasedInstanceID, nil},
		{"an epoch to come", beat("m", 9, nil), kerr.FencedMemberEpoch, nil},
		{"an old epoch", beat("s", 1, nil), kerr.FencedMemberEpoch, nil},
		{"a full group", beat("n", 0, nil), kerr.GroupMaxSizeReached, full},
		{"a full group, with an expression", beat("n", 0, regex("b.*")), kerr.GroupMaxSizeReached, full},
		{"an unreadable expression", beat("m", 2, regex("[")), kerr.InvalidRegularExpression, nil},
		{"an expression with a back reference", beat("n", 0, regex(`(a)\1`)), kerr.InvalidRegularExpression, nil},
		{"a long expression", beat("n", 0, regex(strings.Repeat("a", regexBytesMax+1))), kerr.InvalidRegularExpression, nil},
		{"a costly expression", beat("n", 0, regex("a{999}b{999}c{999}")), kerr.InvalidRegularExpression, nil},
		{"an expression that repeats too much", beat("n", 0, regex("a{1001}")), kerr.InvalidRegularExpression, nil},

		{"classic: where groups do not migrate", classicJoin("g", "n"), kerr.InconsistentGroupProtocol, func(c *Config) { c.ConsumerMigrationPolicy = "disabled" }},
		{"classic: another type", func() kmsg.Request { m := classicJoin("g", "n"); m.ProtocolType = "connect"; return m }(), kerr.InconsistentGroupProtocol, nil},
		{"classic: no common protocol", func() kmsg.Request { m := classicJoin("g", "n"); m.Protocols[0].Name = "sticky"; return m }(), kerr.InconsistentGroupProtocol, nil},
		{"classic: metadata that cannot be read", func() kmsg.Request { m := classicJoin("g", "n"); m.Protocols[0].Metadata = []byte("x"); return m }(), kerr.InconsistentGroupProtocol, nil},
		{"classic: no id", classicJoin("g", ""), kerr.MemberIDRequired, nil},
		{"classic: a full group", classicJoin("g", "n"), kerr.GroupMaxSizeReached, full},
		{"classic: another's instance", func() kmsg.Request { m := classicJoin("g", "c"); m.InstanceID = kmsg.StringPtr("i"); return m }(), kerr.FencedInstanceID, nil},
		{"classic: an unknown instance", func() kmsg.Request { m := classicJoin("g", "c"); m.InstanceID = kmsg.StringPtr("j"); return m }(), kerr.UnknownMemberID, nil},
		{"classic: another generation", &kmsg.HeartbeatRequest{Version: 4, Group: "g", MemberID: "c", Generation: 9}, kerr.IllegalGeneration, nil},
		{"classic: a member of the other protocol", &kmsg.HeartbeatRequest{Version: 4, Group: "g", MemberID: "m", Generation: 2}, kerr.UnknownMemberID, nil},
		{"classic: sync of another generation", &kmsg.SyncGroupRequest{Version: 5, Group: "g", MemberID: "c", Generation: 9}, kerr.IllegalGeneration, nil},
		{"classic: sync of another protocol", &kmsg.SyncGroupRequest{Version: 5, Group: "g", MemberID: "c", Generation: 4, Protocol: kmsg.StringPtr("x")}, kerr.InconsistentGroupProtocol, nil},
		{"leaving: an unknown member", &kmsg.LeaveGroupRequest{Version: 5, Group: "g", Members: []kmsg.LeaveGroupRequestMember{{MemberID: "n"}}}, kerr.UnknownMemberID, nil},
		{"leaving: another's instance", &kmsg.LeaveGroupRequest{Version: 5, Group: "g", Members: []kmsg.LeaveGroupRequestMember{{MemberID: "m", InstanceID: kmsg.StringPtr("i")}}}, kerr.FencedInstanceID, nil},
		{"commit of an old version", committing(8, "m", 2), kerr.UnsupportedVersion, nil},
		{"commit in an epoch to come", committing(9, "m", 9), kerr.StaleMemberEpoch, nil},
		{"commit in an epoch before the partition's", committing(9, "m", 1), kerr.StaleMemberEpoch, nil},
		{"commit of nobody", committing(9, "", -1), kerr.UnknownMemberID, nil},
		{"commit of a classic member in an old generation", committing(9, "c", 1), kerr.IllegalGeneration, nil},
		{"deletion", &kmsg.DeleteGroupsRequest{Version: 2, Groups: []string{"g"}}, kerr.NonEmptyGroup, nil},
		{"description as a classic group", &kmsg.DescribeGroupsRequest{Version: 6, Groups: []string{"g"}}, kerr.GroupIDNotFound, nil},
		{"description of a classic group", &kmsg.ConsumerGroupDescribeRequest{Version: 1, Groups: []string{"old"}}, kerr.GroupIDNotFound, nil},
	}
}

func committing(version int16, member string, epoch int32) kmsg.Request {
	m := kmsg.NewPtrOffsetCommitRequest()
	m.Version, m.Group, m.MemberID, m.Generation = version, "g", member, epoch
	m.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "a", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: 0}}}}
	return m
}
