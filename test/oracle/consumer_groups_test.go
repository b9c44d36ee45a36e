package oracle

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumerGroups asks about groups of the consumer protocol (KIP-848), those of which members speak the classic
// one, and the ways between. Members' ids are the scenario's, and targets are made at once: what Kafka answers is the
// same each time.
func (s *suite) consumerGroups() {
	s.make("cgrp", 4)
	s.make("cgrp2", 1)
	each(68, s.heartbeatsRefused)
	each(68, s.consumers)
	each(68, s.staticConsumers)
	s.regexConsumers()
	s.consumerOffsets()
	s.consumerAdmin()
	s.groupConfigs()
	s.classicInConsumers()
	s.upgraded()
}

// atOnce has targets of a group made without a pause, and makes the group's config exist.
func (s *suite) atOnce(group string) {
	s.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, s.topic(group)
	r.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "consumer.assignment.interval.ms", Value: kmsg.StringPtr("0")}}
	req.Resources = append(req.Resources, r)
	if code := s.quiet(at(1, req)).(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode; code != 0 {
		s.t.Fatalf("configs of group %s: error %d", group, code)
	}
	s.until("configs of group "+group, func() bool {
		ask := kmsg.NewPtrDescribeConfigsRequest()
		ask.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: s.topic(group),
			ConfigNames: []string{"consumer.assignment.interval.ms"}}}
		configs := s.quiet(at(4, ask)).(*kmsg.DescribeConfigsResponse).Resources[0].Configs
		return len(configs) == 1 && *configs[0].Value == "0"
	})
}

// beat is a heartbeat of a member; joining ones say everything.
func (s *suite) beat(group, member string, epoch int32, topics ...string) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch = s.topic(group), member, epoch
	for _, t := range topics {
		req.SubscribedTopicNames = append(req.SubscribedTopicNames, s.topic(t))
	}
	if epoch == 0 {
		req.RebalanceTimeoutMillis = 60_000
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	return req
}

func (s *suite) owning(req *kmsg.ConsumerGroupHeartbeatRequest, topic string, partitions ...int32) *kmsg.ConsumerGroupHeartbeatRequest {
	req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	if len(partitions) > 0 {
		req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: s.ids[topic], Partitions: partitions})
	}
	return req
}

func (s *suite) heartbeatsRefused(v int16) {
	wrong := func(what string, change func(*kmsg.ConsumerGroupHeartbeatRequest)) {
		req := s.beat(fmt.Sprintf("none%d", v), "m", 0, "cgrp")
		change(req)
		s.bad(v, what, req)
	}
	wrong("no group id", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = "" })
	wrong("a blank group id", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = " " })
	wrong("a blank instance id", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = kmsg.StringPtr(" ") })
	wrong("an empty rack", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RackID = kmsg.StringPtr("") })
	wrong("no rebalance timeout", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = -1 })
	wrong("no subscription", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = nil })
	wrong("owned partitions unknown", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Topics = nil })
	wrong("owned partitions at the start", func(r *kmsg.ConsumerGroupHeartbeatRequest) { s.owning(r, "cgrp", 0) })
	wrong("an unknown assignor", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = kmsg.StringPtr("nosuch") })
	wrong("an epoch that means nothing", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -3 })
	wrong("an epoch of a group that there is not", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = 1 })
	wrong("leaving a group that there is not", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -1 })
	wrong("leaving for a while without an instance", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -2 })
	wrong("leaving for a while a group that there is not", func(r *kmsg.ConsumerGroupHeartbeatRequest) {
		r.MemberEpoch, r.InstanceID = -2, kmsg.StringPtr("i")
	})
	wrong("an epoch without a member id", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch, r.MemberID = 1, "" })
	if v >= 1 {
		wrong("no member id", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = "" })
		for _, pattern := range []string{"[", "(a", "*a", "(?=a)", `a\1`, `a{1001}`} {
			wrong("the regular expression "+pattern, func(r *kmsg.ConsumerGroupHeartbeatRequest) {
				r.SubscribedTopicRegex, r.SubscribedTopicNames = &pattern, nil
			})
		}
	}
}

// consumers takes two members through a rebalance.
func (s *suite) consumers(v int16) {
	g := fmt.Sprintf("cons%d", v)
	s.atOnce(g)
	describe := func(what string) {
		ask := kmsg.NewPtrConsumerGroupDescribeRequest()
		ask.Groups = []string{s.topic(g)}
		s.good(v, what, ask)
	}
	s.good(v, "the first member", s.beat(g, "member-1", 0, "cgrp"))
	s.good(v, "the first member again", s.beat(g, "member-1", 0, "cgrp"))
	s.good(v, "nothing new", s.beat(g, "member-1", 2))
	s.good(v, "everything, though nothing is new", func() *kmsg.ConsumerGroupHeartbeatRequest {
		r := s.owning(s.beat(g, "member-1", 2, "cgrp"), "cgrp", 0, 1, 2, 3)
		r.RebalanceTimeoutMillis = 60_000
		return r
	}())
	describe("of one member")
	s.bad(v, "an unknown member", s.beat(g, "member-9", 2))
	s.bad(v, "an unknown member that leaves", s.beat(g, "member-9", -1))
	s.bad(v, "an epoch to come", s.beat(g, "member-1", 3))
	instance := s.beat(g, "member-1", 2)
	instance.InstanceID = kmsg.StringPtr("nosuch")
	s.bad(v, "an instance that is not there", instance)

	s.good(v, "the second member", s.beat(g, "member-2", 0, "cgrp"))
	describe("of one that has and one that waits")
	s.good(v, "the first is to give up", s.beat(g, "member-1", 2))
	s.good(v, "the second waits", s.beat(g, "member-2", 3))
	s.good(v, "the first has not given up", s.owning(s.beat(g, "member-1", 2), "cgrp", 0, 1, 2, 3))
	describe("of one that is to give up")
	s.good(v, "the first has given up", s.owning(s.beat(g, "member-1", 2), "cgrp", 0, 1))
	s.good(v, "the epoch of before with what it has", s.owning(s.beat(g, "member-1", 2), "cgrp", 0))
	s.bad(v, "the epoch of before with more", s.owning(s.beat(g, "member-1", 2), "cgrp", 0, 3))
	s.bad(v, "the epoch of before alone", s.beat(g, "member-1", 2))
	s.good(v, "the second gets", s.beat(g, "member-2", 3))
	describe("of two members")

	ranges := s.beat(g, "member-3", 0, "cgrp", "cgrp2")
	ranges.ServerAssignor, ranges.RackID = kmsg.StringPtr("range"), kmsg.StringPtr("rack")
	s.good(v, "a third member asks for another assignor", ranges)
	describe("of three members")
	s.good(v, "the third subscribes to less", s.beat(g, "member-3", 4, "cgrp2"))
	s.good(v, "the third leaves", s.beat(g, "member-3", -1))
	s.good(v, "the second leaves", s.beat(g, "member-2", -1))
	s.good(v, "the first gets all", s.owning(s.beat(g, "member-1", 3), "cgrp", 0, 1))
	nothing := s.beat(g, "member-4", 0)
	nothing.SubscribedTopicNames = []string{}
	s.good(v, "a member that subscribes to nothing", nothing)
	s.good(v, "it subscribes to what is not there", s.beat(g, "member-4", 8, "nosuch"))
	describe("of a member of nothing")
	s.good(v, "it leaves", s.beat(g, "member-4", -1))
	s.good(v, "the first leaves, too", s.beat(g, "member-1", -1))
	describe("of nobody")
	s.good(v, "a member of a group that was left", s.beat(g, "member-5", 0, "cgrp"))
	if v == 0 {
		anonymous := s.beat("cons-anonymous", "", 0, "cgrp")
		s.good(v, "a member without an id", anonymous)
	}
}

func (s *suite) staticConsumers(v int16) {
	g := fmt.Sprintf("stat%d", v)
	s.atOnce(g)
	of := func(member, instance string, epoch int32, topics ...string) *kmsg.ConsumerGroupHeartbeatRequest {
		req := s.beat(g, member, epoch, topics...)
		req.InstanceID = &instance
		return req
	}
	s.good(v, "a static member", of("run-1", "i", 0, "cgrp"))
	s.good(v, "it says its instance", of("run-1", "i", 2))
	s.bad(v, "its instance in another's name", of("run-2", "i", 2))
	s.bad(v, "its instance while it runs", of("run-2", "i", 0, "cgrp"))
	s.bad(v, "leaving for a while in another's name", of("run-2", "i", -2))
	s.bad(v, "an unknown instance that leaves", of("run-1", "j", -2))
	s.good(v, "another static member", of("run-j", "j", 0, "cgrp"))
	s.good(v, "the first gives up", s.owning(of("run-1", "i", 2), "cgrp", 0, 1))
	s.good(v, "the first leaves for a while", of("run-1", "i", -2))
	ask := kmsg.NewPtrConsumerGroupDescribeRequest()
	ask.Groups = []string{s.topic(g)}
	s.good(v, "of a static member that is away", ask)
	s.good(v, "it comes back", of("run-2", "i", 0, "cgrp"))
	s.bad(v, "its run of before", of("run-1", "i", 3))
	s.bad(v, "its run of before without the instance", s.beat(g, "run-1", 3))
	s.good(v, "of a static member that came back", ask)
	s.good(v, "it leaves for good", of("run-2", "i", -1))
	s.good(v, "the other one, too", of("run-j", "j", -1))
}

// regexConsumers subscribes by regular expression, which Kafka resolves in its own time.
func (s *suite) regexConsumers() {
	const v = 1
	s.atOnce("regx")
	pattern := s.topic("cgrp") + ".?"
	req := s.beat("regx", "member-1", 0, "cgrp2")
	req.SubscribedTopicRegex = &pattern
	epoch := s.good(v, "by name and by regular expression", req).(*kmsg.ConsumerGroupHeartbeatResponse).MemberEpoch
	s.until("the regular expression", func() bool {
		resp := s.quiet(at(v, s.beat("regx", "member-1", epoch))).(*kmsg.ConsumerGroupHeartbeatResponse)
		epoch = resp.MemberEpoch
		return resp.Assignment != nil
	})
	full := s.beat("regx", "member-1", epoch, "cgrp2")
	full.RebalanceTimeoutMillis, full.SubscribedTopicRegex = 60_000, &pattern
	s.good(v, "what the expression stands for", s.owning(full, "cgrp2", 0))
	ask := kmsg.NewPtrConsumerGroupDescribeRequest()
	ask.Groups = []string{s.topic("regx")}
	each(69, func(v int16) { s.good(v, "of a regular expression", ask) })
	none := s.beat("regx", "member-1", epoch)
	none.SubscribedTopicRegex = kmsg.StringPtr("")
	s.good(v, "no regular expression any more", none)
}

func (s *suite) consumerOffsets() {
	const g = "coff"
	s.atOnce(g)
	s.quiet(at(1, s.beat(g, "member-1", 0, "cgrp")))
	s.quiet(at(1, s.beat(g, "member-2", 0, "cgrp")))
	s.quiet(at(1, s.owning(s.beat(g, "member-1", 2), "cgrp", 0, 1)))
	s.quiet(at(1, s.beat(g, "member-2", 3)))
	each(8, func(v int16) {
		of := func(member string, epoch, partition int32) *kmsg.OffsetCommitRequest {
			req := s.commit(g, "cgrp", partition, int64(v))
			req.MemberID, req.Generation = member, epoch
			return req
		}
		if v >= 9 {
			s.good(v, "a member of a consumer group", of("member-1", 3, 0))
			s.good(v, "the epoch of before, in which the partition was given", of("member-1", 2, 0))
			s.good(v, "a partition of another in the epoch of now", of("member-1", 3, 3))
		} else {
			s.bad(v, "a member of a consumer group", of("member-1", 3, 0))
		}
		s.bad(v, "an epoch before that of the partition", of("member-2", 2, 2))
		s.bad(v, "the epoch of before, and a partition of another", of("member-1", 2, 3))
		s.bad(v, "an epoch to come in a consumer group", of("member-1", 4, 0))
		s.bad(v, "an unknown member of a consumer group", of("member-9", 3, 0))
		s.bad(v, "nobody in a consumer group with members", of("", -1, 0))
	})
	each(9, func(v int16) {
		s.good(v, "of a consumer group", s.fetchOffsets(v, g, "cgrp", 0, 2))
		if v < 9 {
			return
		}
		as := func(member string, epoch int32) *kmsg.OffsetFetchRequest {
			req := s.fetchOffsets(v, g, "cgrp", 0)
			req.Groups[0].MemberID, req.Groups[0].MemberEpoch = &member, epoch
			return req
		}
		s.good(v, "by a member of a consumer group", as("member-1", 3))
		s.bad(v, "in the epoch of before", as("member-1", 2))
		s.bad(v, "in an epoch to come", as("member-1", 4))
		s.bad(v, "by an unknown member of a consumer group", as("member-9", 3))
		s.bad(v, "by a member without a name", as("", 3))
	})
	remove := kmsg.NewPtrOffsetDeleteRequest()
	remove.Group = s.topic(g)
	remove.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: s.topic("cgrp"), Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}}}
	s.bad(0, "of a topic that a consumer group reads", remove)
}

// groupConfigs asks for what consumer groups may set for themselves.
func (s *suite) groupConfigs() {
	set := func(group, name, value string) *kmsg.IncrementalAlterConfigsRequest {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
		r.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: name, Value: &value}}
		req.Resources = append(req.Resources, r)
		return req
	}
	g := s.topic("conf")
	each(44, func(v int16) {
		s.good(v, "of a group", set(g, "consumer.session.timeout.ms", "50000"))
		s.good(v, "of a group, another", set(g, "consumer.heartbeat.interval.ms", "6000"))
		s.bad(v, "of a group, too little", set(g, "consumer.session.timeout.ms", "44999"))
		s.bad(v, "of a group, too much", set(g, "consumer.heartbeat.interval.ms", "15001"))
		s.bad(v, "of a group, much too much", set(g, "consumer.assignment.interval.ms", "15001"))
		s.bad(v, "of a group, no number", set(g, "consumer.heartbeat.interval.ms", "x"))
		s.bad(v, "of a group, an unknown name", set(g, "nosuch", "1"))
		s.bad(v, "of no group", set("", "consumer.heartbeat.interval.ms", "6000"))
	})
	describe := func(group string) *kmsg.DescribeConfigsRequest {
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.IncludeSynonyms = true
		req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: group,
			ConfigNames: []string{"consumer.session.timeout.ms", "consumer.heartbeat.interval.ms", "consumer.assignment.interval.ms", "nosuch"}}}
		return req
	}
	s.until("configs of a group", func() bool {
		for _, c := range s.quiet(at(4, describe(g))).(*kmsg.DescribeConfigsResponse).Resources[0].Configs {
			if c.Name == "consumer.heartbeat.interval.ms" && *c.Value == "6000" {
				return true
			}
		}
		return false
	})
	each(32, func(v int16) {
		s.good(v, "of a group", describe(g))
		s.good(v, "of a group without any", describe(s.topic("conf-none")))
		s.bad(v, "of no group", describe(""))
	})
	s.good(1, "a member of a group with an interval of its own", s.beat("conf", "member-1", 0, "cgrp"))
}

func (s *suite) consumerAdmin() {
	each(69, func(v int16) {
		ask := func(names ...string) *kmsg.ConsumerGroupDescribeRequest {
			req := kmsg.NewPtrConsumerGroupDescribeRequest()
			for _, n := range names {
				req.Groups = append(req.Groups, s.topic(n))
			}
			return req
		}
		s.good(v, "no group", ask())
		s.bad(v, "an unknown group", ask("nosuch"))
		s.bad(v, "a classic group and another", ask("simple", "nosuch"))
		none := ask()
		none.Groups = []string{""}
		s.bad(v, "no name", none)
		operations := ask("coff", "nosuch")
		operations.IncludeAuthorizedOperations = true
		s.good(v, "operations", operations)
	})
	each(15, func(v int16) {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups = []string{s.topic("coff")}
		s.bad(v, "a consumer group", req)
	})
	each(16, func(v int16) {
		req := kmsg.NewPtrListGroupsRequest()
		if v >= 5 {
			req.TypesFilter = []string{"Consumer"}
			s.good(v, "consumer groups", req)
			req.StatesFilter = []string{"stable"}
		}
		if v >= 4 {
			s.good(v, "groups of both kinds", req)
		}
	})
	each(42, func(v int16) {
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{s.topic("coff"), s.topic(fmt.Sprintf("stat%d", min(v, 1)))}
		s.bad(v, "a consumer group with members, and one without", req)
	})
	each(12, func(v int16) {
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.Generation = s.topic("coff"), "member-1", 3
		s.bad(v, "a member of the consumer protocol", req)
	})
	each(14, func(v int16) {
		req := kmsg.NewPtrSyncGroupRequest()
		req.Group, req.MemberID, req.Generation = s.topic("coff"), "member-1", 3
		s.bad(v, "a member of the consumer protocol", req)
	})
	each(13, func(v int16) {
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Group, req.MemberID = s.topic("coff"), "member-1"
		req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: "member-1"}, {InstanceID: kmsg.StringPtr("i")}}
		s.bad(v, "a member of the consumer protocol", req)
	})
}

// classicMember is a member of the classic protocol that is in a group of the other.
type classicMember struct {
	s          *suite
	group, id  string
	generation int32
	owned      []int32
}

func (c *classicMember) join() *kmsg.JoinGroupRequest {
	metadata := kmsg.NewConsumerMemberMetadata()
	metadata.Version, metadata.Topics = 1, []string{c.s.topic("cgrp")}
	if c.owned != nil {
		metadata.OwnedPartitions = []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: c.s.topic("cgrp"), Partitions: c.owned}}
	}
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = c.s.topic(c.group), c.id, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 60_000, 60_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: metadata.AppendTo(nil)}}
	return req
}

func (c *classicMember) sync() *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = c.s.topic(c.group), c.id, c.generation
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	return req
}

func (c *classicMember) heartbeat() *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = c.s.topic(c.group), c.id, c.generation
	return req
}

// classicInConsumers has a member of the classic protocol join a consumer group, and makes the group a classic one by the
// leaving of the other.
func (s *suite) classicInConsumers() {
	const g = "mixd"
	s.atOnce(g)
	s.quiet(at(1, s.beat(g, "member-1", 0, "cgrp")))
	c := &classicMember{s: s, group: g}
	s.good(9, "into a consumer group", c.join())
	bad := c.join()
	bad.MemberID, bad.ProtocolType = "old-1", "connect"
	s.bad(9, "into a consumer group with another protocol type", bad)
	bad = c.join()
	bad.MemberID, bad.InstanceID = "old-1", kmsg.StringPtr("i")
	s.bad(9, "into a consumer group as an instance that is not there", bad)
	c.id = "old-1"
	joined := s.good(9, "into a consumer group with an id", c.join()).(*kmsg.JoinGroupResponse)
	c.generation = joined.Generation
	s.good(5, "of a member that waits", c.sync())
	s.good(4, "of a member that waits", c.heartbeat())
	s.quiet(at(1, s.beat(g, "member-1", 2)))
	s.quiet(at(1, s.owning(s.beat(g, "member-1", 2), "cgrp", 0, 1)))
	s.good(4, "partitions are free", c.heartbeat())
	s.good(9, "to get what is free", c.join())
	s.good(5, "what was free", c.sync())
	s.good(4, "of a member that has all", c.heartbeat())
	ask := kmsg.NewPtrConsumerGroupDescribeRequest()
	ask.Groups = []string{s.topic(g)}
	each(69, func(v int16) { s.good(v, "of members of both protocols", ask) })
	commit := s.commit(g, "cgrp", 2, 5)
	commit.MemberID, commit.Generation = c.id, c.generation
	s.good(7, "a classic member of a consumer group", commit)
	wrong := c.heartbeat()
	wrong.Generation++
	s.bad(4, "another epoch of a classic member", wrong)
	other := c.sync()
	other.Protocol = kmsg.StringPtr("sticky")
	s.bad(5, "another protocol of a classic member", other)
	s.good(1, "the last of the consumer protocol leaves", s.beat(g, "member-1", -1))
	s.good(4, "a group that has become a classic one", c.heartbeat())
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{s.topic(g)}
	s.good(6, "a group that was a consumer group", describe)
	each(69, func(v int16) { s.bad(v, "a group that has become a classic one", ask) })
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = s.topic(g)
	leave.Members = []kmsg.LeaveGroupRequestMember{{MemberID: "old-1"}}
	s.good(5, "of a group that was a consumer group", leave)
}

// upgraded has a member of the consumer protocol join a classic group with a member.
func (s *suite) upgraded() {
	const g = "upgr"
	s.atOnce(g)
	c := &classicMember{s: s, group: g}
	c.id = s.quiet(at(9, c.join())).(*kmsg.JoinGroupResponse).MemberID
	c.generation = s.quiet(at(9, c.join())).(*kmsg.JoinGroupResponse).Generation
	assigned := kmsg.NewConsumerMemberAssignment()
	assigned.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: s.topic("cgrp"), Partitions: []int32{0, 1, 2, 3}}}
	sync := c.sync()
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: c.id, MemberAssignment: assigned.AppendTo(nil)}}
	s.quiet(at(5, sync))

	s.bad(1, "an epoch in a classic group", s.beat(g, "member-1", 1))
	s.good(1, "into a classic group", s.beat(g, "member-1", 0, "cgrp"))
	s.good(4, "a group that has become a consumer group", c.heartbeat())
	ask := kmsg.NewPtrConsumerGroupDescribeRequest()
	ask.Groups = []string{s.topic(g)}
	each(69, func(v int16) { s.good(v, "of a group that was a classic one", ask) })
	c.owned = []int32{0, 1, 2, 3}
	s.good(9, "with more than it is to have", c.join())
	s.good(5, "what it keeps", c.sync())
	s.good(4, "it is to come again without the rest", c.heartbeat())
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = s.topic(g)
	leave.Members = []kmsg.LeaveGroupRequestMember{{MemberID: c.id}, {MemberID: "nobody"}, {MemberID: "member-1"}}
	s.good(5, "of a consumer group", leave)
}
