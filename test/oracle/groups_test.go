package oracle

import (
	"regexp"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// memberIDs are names and a random part, which differs. Those of consumer groups are of another form in Kafka.
var memberIDs = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|^[\w-]{22}$`)

// ofThisRunsGroups tells whether a line of a ListGroups answer is of a group that this run made.
func ofThisRunsGroups(path string) bool {
	_, group, inside := strings.Cut(path, "Groups{")
	return !inside || strings.HasPrefix(group, "~")
}

// groups asks everything about one classic group of one member, g, and about offsets of a group without
// members, simple.
func (s *suite) groups() {
	s.make("grp", 3)
	s.findCoordinator()
	member, generation := s.joinGroup()
	s.syncGroup(member, generation)
	s.heartbeat(member, generation)
	s.offsetCommit(member, generation)
	s.offsetFetch()
	s.describeGroups()
	s.listGroups()
	s.offsetDelete()
	s.leaveGroup()
	s.deleteGroups(member)
}

func (s *suite) findCoordinator() {
	ask := func(v int16, kind int8, keys ...string) *kmsg.FindCoordinatorRequest {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorType = kind
		if req.CoordinatorKeys = keys; v < 4 {
			req.CoordinatorKey = keys[0]
		}
		return req
	}
	// Apache Kafka makes the topic of the coordinator meanwhile, and loads it.
	s.until("group coordinator", func() bool {
		heartbeat := kmsg.NewPtrHeartbeatRequest()
		heartbeat.Group, heartbeat.MemberID = s.topic("g"), "nobody"
		return s.quiet(at(3, ask(3, 0, s.topic("g")))).(*kmsg.FindCoordinatorResponse).ErrorCode == 0 &&
			s.quiet(at(0, heartbeat)).(*kmsg.HeartbeatResponse).ErrorCode == 25
	})
	each(10, func(v int16) {
		s.good(v, "of a group", ask(v, 0, s.topic("g")))
		if v >= 1 {
			s.bad(v, "of an unknown kind", ask(v, 9, s.topic("g")))
		}
		if v >= 4 {
			s.good(v, "of two groups", ask(v, 0, s.topic("g"), s.topic("simple")))
			s.good(v, "of none", ask(v, 0))
		}
	})
}

// until waits for a condition.
func (s *suite) until(what string, done func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(answerTimeout); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not within %v", what, answerTimeout)
		}
	}
}

// join is what a consumer of the topic grp sends.
func (s *suite) join(member string) *kmsg.JoinGroupRequest {
	metadata := kmsg.NewConsumerMemberMetadata()
	metadata.Topics = []string{s.topic("grp")}
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID = s.topic("g"), member
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 60_000, 60_000
	req.ProtocolType = "consumer"
	for _, name := range []string{"range", "roundrobin"} {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, metadata.AppendTo(nil)
		req.Protocols = append(req.Protocols, p)
	}
	return req
}

func (s *suite) joinGroup() (member string, generation int32) {
	each(11, func(v int16) {
		wrong := func(what string, change func(*kmsg.JoinGroupRequest)) {
			req := s.join("")
			change(req)
			s.bad(v, what, req)
		}
		wrong("no group id", func(r *kmsg.JoinGroupRequest) { r.Group = "" })
		wrong("a short session", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 5999 })
		wrong("a long session", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1_800_001 })
		wrong("an unknown member", func(r *kmsg.JoinGroupRequest) { r.MemberID = "nobody" })
		wrong("no protocol", func(r *kmsg.JoinGroupRequest) { r.Protocols = nil })
		wrong("no protocol type", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" })
		if v >= 4 {
			wrong("no member id", func(r *kmsg.JoinGroupRequest) { r.Group = s.topic("pending") }) // its members would hold up the others of g
		}
	})
	each(11, func(v int16) {
		resp := s.good(v, "a member alone", s.join(member)).(*kmsg.JoinGroupResponse)
		member, generation = resp.MemberID, resp.Generation
	})
	each(11, func(v int16) {
		other := s.join("")
		other.ProtocolType = "connect"
		if v < 4 {
			s.bad(v, "another protocol type", other)
		}
		other = s.join("nobody")
		s.bad(v, "an unknown member of a group that there is", other)
		if v >= 5 {
			other = s.join(member)
			other.InstanceID = kmsg.StringPtr("static")
			s.bad(v, "an instance that is not there", other)
		}
	})
	return member, generation
}

func (s *suite) syncGroup(member string, generation int32) {
	ask := func() *kmsg.SyncGroupRequest {
		req := kmsg.NewPtrSyncGroupRequest()
		req.Group, req.MemberID, req.Generation = s.topic("g"), member, generation
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = member, []byte("assignment")
		req.GroupAssignment = append(req.GroupAssignment, a)
		req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
		return req
	}
	each(14, func(v int16) {
		wrong := func(what string, change func(*kmsg.SyncGroupRequest)) {
			req := ask()
			change(req)
			s.bad(v, what, req)
		}
		wrong("no group id", func(r *kmsg.SyncGroupRequest) { r.Group = "" })
		wrong("an unknown group", func(r *kmsg.SyncGroupRequest) { r.Group = s.topic("nosuch") })
		wrong("an unknown member", func(r *kmsg.SyncGroupRequest) { r.MemberID = "nobody" })
		wrong("another generation", func(r *kmsg.SyncGroupRequest) { r.Generation++ })
		if v >= 5 {
			wrong("another protocol", func(r *kmsg.SyncGroupRequest) { r.Protocol = kmsg.StringPtr("sticky") })
			wrong("no protocol", func(r *kmsg.SyncGroupRequest) { r.Protocol = nil })
			wrong("no protocol type", func(r *kmsg.SyncGroupRequest) { r.ProtocolType = nil })
			wrong("another protocol type", func(r *kmsg.SyncGroupRequest) { r.ProtocolType = kmsg.StringPtr("connect") })
		}
	})
	each(14, func(v int16) {
		s.good(v, "the leader", ask())
		none := ask()
		none.GroupAssignment = nil
		s.good(v, "once more", none)
	})
}

func (s *suite) heartbeat(member string, generation int32) {
	each(12, func(v int16) {
		ask := func(change func(*kmsg.HeartbeatRequest)) *kmsg.HeartbeatRequest {
			req := kmsg.NewPtrHeartbeatRequest()
			req.Group, req.MemberID, req.Generation = s.topic("g"), member, generation
			change(req)
			return req
		}
		s.good(v, "a member", ask(func(*kmsg.HeartbeatRequest) {}))
		s.bad(v, "no group id", ask(func(r *kmsg.HeartbeatRequest) { r.Group = "" }))
		s.bad(v, "an unknown group", ask(func(r *kmsg.HeartbeatRequest) { r.Group = s.topic("nosuch") }))
		s.bad(v, "an unknown member", ask(func(r *kmsg.HeartbeatRequest) { r.MemberID = "nobody" }))
		s.bad(v, "another generation", ask(func(r *kmsg.HeartbeatRequest) { r.Generation-- }))
		if v >= 3 {
			s.bad(v, "an unknown instance", ask(func(r *kmsg.HeartbeatRequest) { r.InstanceID = kmsg.StringPtr("static") }))
		}
	})
}

// commit is a commit of one offset of the topic grp.
func (s *suite) commit(group, topic string, partition int32, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = s.topic(group), -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.TopicID = s.topic(topic), unknownTopicID
	if id, ok := s.ids[topic]; ok {
		t.TopicID = id
	}
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.Metadata = partition, offset, kmsg.StringPtr("note")
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func (s *suite) offsetCommit(member string, generation int32) {
	each(8, func(v int16) {
		ask := func(change func(*kmsg.OffsetCommitRequest)) *kmsg.OffsetCommitRequest {
			req := s.commit("g", "grp", 0, 100+int64(v))
			req.MemberID, req.Generation = member, generation
			change(req)
			return req
		}
		s.good(v, "a member", ask(func(*kmsg.OffsetCommitRequest) {}))
		s.good(v, "a group without members", s.commit("simple", "grp", 1, int64(v)))
		s.good(v, "no topic", ask(func(r *kmsg.OffsetCommitRequest) { r.Topics = nil }))
		s.good(v, "two partitions without metadata", ask(func(r *kmsg.OffsetCommitRequest) {
			t := &r.Topics[0]
			t.Partitions = append(t.Partitions, t.Partitions[0])
			t.Partitions[1].Partition, t.Partitions[1].Metadata = 2, nil
		}))
		s.bad(v, "no group id", ask(func(r *kmsg.OffsetCommitRequest) { r.Group = "" }))
		s.bad(v, "an unknown group", ask(func(r *kmsg.OffsetCommitRequest) { r.Group = s.topic("nosuch") }))
		s.bad(v, "an unknown member", ask(func(r *kmsg.OffsetCommitRequest) { r.MemberID = "nobody" }))
		s.bad(v, "another generation", ask(func(r *kmsg.OffsetCommitRequest) { r.Generation++ }))
		s.bad(v, "no generation in a group with members", ask(func(r *kmsg.OffsetCommitRequest) { r.Generation, r.MemberID = -1, "" }))
		s.bad(v, "long metadata", ask(func(r *kmsg.OffsetCommitRequest) {
			t := &r.Topics[0]
			t.Partitions = append(t.Partitions, t.Partitions[0])
			t.Partitions[1].Partition, t.Partitions[1].Metadata = 2, kmsg.StringPtr(strings.Repeat("x", 4097))
		}))
		s.bad(v, "an unknown partition", ask(func(r *kmsg.OffsetCommitRequest) {
			t := &r.Topics[0]
			t.Partitions = append(t.Partitions, t.Partitions[0])
			t.Partitions[1].Partition = 7
		}))
		s.bad(v, "an unknown topic", ask(func(r *kmsg.OffsetCommitRequest) {
			r.Topics = append(r.Topics, s.commit("g", "nosuch", 0, 1).Topics...)
		}))
	})
}

// fetchOffsets asks for the offsets of a group; without a topic for all.
func (s *suite) fetchOffsets(v int16, group, topic string, partitions ...int32) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	if v < 8 {
		req.Group = s.topic(group)
		if topic != "" {
			t := kmsg.NewOffsetFetchRequestTopic()
			t.Topic, t.Partitions = s.topic(topic), partitions
			req.Topics = append(req.Topics, t)
		}
		return req
	}
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = s.topic(group)
	if topic != "" {
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		t.Topic, t.TopicID, t.Partitions = s.topic(topic), unknownTopicID, partitions
		if id, ok := s.ids[topic]; ok {
			t.TopicID = id
		}
		g.Topics = append(g.Topics, t)
	}
	req.Groups = append(req.Groups, g)
	return req
}

func (s *suite) offsetFetch() {
	each(9, func(v int16) {
		s.good(v, "committed and not", s.fetchOffsets(v, "g", "grp", 0, 1, 2))
		s.good(v, "of a group without members", s.fetchOffsets(v, "simple", "grp", 1))
		s.good(v, "of an unknown group", s.fetchOffsets(v, "nosuch", "grp", 0))
		s.bad(v, "of an unknown topic", s.fetchOffsets(v, "g", "nosuch", 0, 1))
		s.bad(v, "of an unknown partition", s.fetchOffsets(v, "g", "grp", 0, 9))
		if v >= 2 {
			s.good(v, "all", s.fetchOffsets(v, "g", ""))
			s.good(v, "all of an unknown group", s.fetchOffsets(v, "nosuch", ""))
		}
		if v >= 7 {
			stable := s.fetchOffsets(v, "g", "grp", 0)
			stable.RequireStable = true
			s.good(v, "stable ones", stable)
		}
		if v >= 8 {
			several := s.fetchOffsets(v, "g", "grp", 0)
			several.Groups = append(several.Groups, s.fetchOffsets(v, "simple", "").Groups[0], s.fetchOffsets(v, "nosuch", "grp", 1).Groups[0])
			s.good(v, "several groups", several)
		}
		if v >= 9 {
			member := s.fetchOffsets(v, "g", "grp", 0)
			member.Groups[0].MemberID, member.Groups[0].MemberEpoch = kmsg.StringPtr("nobody"), 3
			s.bad(v, "an unknown member", member)
		}
	})
}

func (s *suite) describeGroups() {
	each(15, func(v int16) {
		ask := func(names ...string) *kmsg.DescribeGroupsRequest {
			req := kmsg.NewPtrDescribeGroupsRequest()
			for _, n := range names {
				req.Groups = append(req.Groups, s.topic(n))
			}
			return req
		}
		s.good(v, "a stable group", ask("g"))
		s.good(v, "two groups", ask("simple", "g"))
		s.good(v, "no group", ask())
		s.bad(v, "an unknown group", ask("nosuch"))
		none := ask()
		none.Groups = []string{""}
		s.bad(v, "no name", none)
		if v >= 3 {
			operations := ask("g", "nosuch")
			operations.IncludeAuthorizedOperations = true
			s.good(v, "operations", operations)
		}
	})
}

func (s *suite) listGroups() {
	each(16, func(v int16) {
		ask := func(states, types []string) *kmsg.ListGroupsRequest {
			req := kmsg.NewPtrListGroupsRequest()
			req.StatesFilter, req.TypesFilter = states, types
			return req
		}
		s.good(v, "all", ask(nil, nil))
		if v >= 4 {
			s.good(v, "stable ones", ask([]string{"stable"}, nil))
			s.good(v, "stable and empty ones", ask([]string{"Stable", "Empty"}, nil))
			s.good(v, "states of which there is none", ask([]string{"Dead"}, nil))
			s.bad(v, "an unknown state", ask([]string{"Bogus"}, nil))
		}
		if v >= 5 {
			s.good(v, "classic ones", ask(nil, []string{"Classic"}))
			s.good(v, "types of which there is none", ask(nil, []string{"share"}))
			s.bad(v, "an unknown type", ask(nil, []string{"bogus"}))
		}
	})
}

func (s *suite) offsetDelete() {
	ask := func(group, topic string, partitions ...int32) *kmsg.OffsetDeleteRequest {
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = s.topic(group)
		t := kmsg.NewOffsetDeleteRequestTopic()
		t.Topic = s.topic(topic)
		for _, n := range partitions {
			p := kmsg.NewOffsetDeleteRequestTopicPartition()
			p.Partition = n
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
		return req
	}
	s.bad(0, "an unknown group", ask("nosuch", "grp", 0))
	s.bad(0, "an unknown topic", ask("simple", "nosuch", 0))
	s.bad(0, "an unknown partition", ask("simple", "grp", 7))
	s.bad(0, "a topic that is subscribed to", ask("g", "grp", 0, 1))
	mixed := ask("simple", "nosuch", 0)
	mixed.Topics = append(mixed.Topics, ask("simple", "grp", 2).Topics...)
	s.bad(0, "known and unknown topics", mixed)
	s.good(0, "an offset that is not there", ask("simple", "grp", 0))
	s.good(0, "an offset", ask("simple", "grp", 1))
	s.good(0, "no topic", &kmsg.OffsetDeleteRequest{Group: s.topic("simple")})
	s.quiet(at(8, s.commit("simple", "grp", 1, 5))) // or the group goes
}

func (s *suite) leaveGroup() {
	each(13, func(v int16) {
		ask := func(group string, members ...string) *kmsg.LeaveGroupRequest {
			req := kmsg.NewPtrLeaveGroupRequest()
			req.Group = s.topic(group)
			for _, id := range members {
				if req.MemberID = id; v >= 3 {
					m := kmsg.NewLeaveGroupRequestMember()
					m.MemberID = id
					req.Members = append(req.Members, m)
				}
			}
			return req
		}
		empty := ask("g", "nobody")
		empty.Group = ""
		s.bad(v, "no group id", empty)
		s.bad(v, "an unknown group", ask("nosuch", "nobody"))
		s.bad(v, "an unknown member", ask("g", "nobody"))
		pending := s.quiet(at(4, s.join(""))).(*kmsg.JoinGroupResponse).MemberID
		s.good(v, "a member that has not joined yet", ask("g", pending))
		if v >= 3 {
			static := ask("g", "")
			static.Members[0].InstanceID = kmsg.StringPtr("static")
			s.bad(v, "an unknown instance", static)
			s.bad(v, "two unknown members", ask("g", "nobody", "noone"))
		}
	})
}

func (s *suite) deleteGroups(member string) {
	ask := func(names ...string) *kmsg.DeleteGroupsRequest {
		req := kmsg.NewPtrDeleteGroupsRequest()
		for _, n := range names {
			req.Groups = append(req.Groups, s.topic(n))
		}
		return req
	}
	each(42, func(v int16) {
		s.bad(v, "a group with members", ask("g"))
		s.bad(v, "an unknown group", ask("nosuch"))
		s.quiet(at(8, s.commit("simple", "grp", 1, 5)))
		s.good(v, "a group without members, and an unknown one", ask("simple", "nosuch"))
	})
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = s.topic("g")
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID = member
	leave.Members = append(leave.Members, m)
	s.good(5, "the last member", leave)
	for _, v := range []int16{5, 6} {
		described := kmsg.NewPtrDescribeGroupsRequest()
		described.Groups = []string{s.topic("g")}
		s.good(v, "an empty group", described)
	}
	s.good(10, "offsets of an empty group", s.fetchOffsets(10, "g", ""))
	s.good(2, "a group that had members", ask("g"))
	s.good(10, "offsets of a deleted group", s.fetchOffsets(10, "g", ""))
}
