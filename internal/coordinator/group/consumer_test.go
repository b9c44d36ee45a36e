package group

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// TestConsumer runs testdata/consumer as TestClassic does: groups of the consumer protocol, and those that change it.
func TestConsumer(t *testing.T) {
	datadriven.Walk(t, "testdata/consumer", func(t *testing.T, path string) {
		s := &script{harness: newHarness(t), labels: make(map[runtime.Ticket]string)}
		s.onReply, s.onRecord = s.printReply, s.printRecord
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.out.Reset()
			s.run(t, d)
			return s.out.String()
		})
	})
}

// topicID is a topic's id, by which tests know its name: the bytes of it.
func topicID(name string) ids.TopicID {
	var id ids.TopicID
	copy(id[:], name)
	return id
}

func topicOf(id [16]byte) string { return strings.TrimRight(string(id[:]), "\x00") }

// image makes metadata of topics of the form name:partitions, and of brokers that are each in a rack.
func imageOf(t fataler, offset ids.Offset, topics, racks []string, configs map[string]string) *metadata.Image {
	d := metadata.NewDelta(nil)
	replay := func(rec metadata.Record) {
		if err := d.Replay(rec); err != nil {
			t.Fatalf("%v", err)
		}
	}
	replicas := []ids.NodeID{1}
	for i, rack := range racks {
		replay(&metadata.RegisterBrokerRecord{BrokerID: ids.NodeID(i + 1), Rack: &rack})
	}
	for _, topic := range topics {
		name, n, _ := strings.Cut(topic, ":")
		partitions, _ := strconv.Atoi(n)
		replay(&metadata.TopicRecord{Name: name, TopicID: topicID(name)})
		for i := range partitions {
			replay(&metadata.PartitionRecord{TopicID: topicID(name), PartitionID: int32(i), Partition: metadata.Partition{Replicas: replicas}})
		}
	}
	for name, value := range configs {
		replay(&metadata.ConfigRecord{Resource: metadata.ConfigResource{Type: metadata.ResourceGroup, Name: "g"}, Name: name, Value: &value})
	}
	return d.Apply(offset, 0)
}

func (s *script) runConsumer(a args) bool {
	switch a.d.Cmd {
	case "topics":
		s.image = imageOf(s.t, s.image.Offset+1, a.list("are"), a.list("racks"), nil)
	case "consumer-config":
		s.cfg.ConsumerMaxSize = a.number("max-size", s.cfg.ConsumerMaxSize)
		s.cfg.ConsumerMigrationPolicy = a.text("policy", s.cfg.ConsumerMigrationPolicy)
		s.cfg.ConsumerAssignmentIntervalMs.Default = a.number("interval", s.cfg.ConsumerAssignmentIntervalMs.Default)
	case "group-config":
		configs := make(map[string]string)
		for _, arg := range a.d.CmdArgs[1:] {
			configs["consumer."+strings.ReplaceAll(arg.Key, "-", ".")+".ms"] = arg.Vals[0]
		}
		s.image = imageOf(s.t, s.image.Offset+1, a.list("topics"), nil, configs)
	case "beat":
		s.send(a, beatOf(a))
	case "join-consumer":
		m := joinOf(a, a.text("member", ""))
		metadata := kmsg.NewConsumerMemberMetadata()
		metadata.Version, metadata.Topics = 1, a.list("topics")
		for _, t := range owned(a.list("owned")...) {
			metadata.OwnedPartitions = append(metadata.OwnedPartitions,
				kmsg.ConsumerMemberMetadataOwnedPartition{Topic: topicOf(t.TopicID), Partitions: t.Partitions})
		}
		m.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: metadata.AppendTo(nil)}}
		s.send(a, m)
	case "sync-consumer":
		m := syncOf(a)
		m.GroupAssignment = nil
		for _, assigned := range a.list("assign") {
			id, partitions, _ := strings.Cut(assigned, "=")
			assignment := kmsg.NewConsumerMemberAssignment()
			for _, t := range owned(partitions) {
				assignment.Topics = append(assignment.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: topicOf(t.TopicID), Partitions: t.Partitions})
			}
			m.GroupAssignment = append(m.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: id, MemberAssignment: assignment.AppendTo(nil)})
		}
		s.send(a, m)
	case "consumers":
		m := kmsg.NewPtrConsumerGroupDescribeRequest()
		m.Version, m.Groups = 1, []string{a.text("group", "g")}
		s.send(a, m)
	case "offset-commit":
		m := kmsg.NewPtrOffsetCommitRequest()
		m.Version, m.Group, m.MemberID = int16(a.number("version", 9)), a.text("group", "g"), a.text("member", "")
		m.Generation, m.InstanceID = a.number("epoch", -1), a.optional("instance")
		topic := kmsg.OffsetCommitRequestTopic{Topic: a.text("topic", "a")}
		for _, p := range a.list("partitions") {
			n, _ := strconv.Atoi(p)
			topic.Partitions = append(topic.Partitions, kmsg.OffsetCommitRequestTopicPartition{Partition: int32(n), Offset: 7})
		}
		m.Topics = append(m.Topics, topic)
		s.send(a, m)
	case "offset-fetch":
		m := kmsg.NewPtrOffsetFetchRequest()
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.MemberID, g.MemberEpoch = a.text("group", "g"), a.optional("member"), a.number("epoch", -1)
		m.Version, m.Groups = 9, []kmsg.OffsetFetchRequestGroup{g}
		s.send(a, m)
	case "offset-delete":
		m := kmsg.NewPtrOffsetDeleteRequest()
		m.Group = a.text("group", "g")
		m.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: a.text("topic", "a"), Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{}}}}
		s.send(a, m)
	default:
		return false
	}
	return true
}

// beatOf reads a heartbeat. A join says everything that it has to, where the arguments do not.
func beatOf(a args) *kmsg.ConsumerGroupHeartbeatRequest {
	m := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	m.Version, m.Group, m.MemberID = int16(a.number("version", 1)), a.text("group", "g"), a.text("member", "")
	m.MemberEpoch, m.InstanceID, m.RackID = a.number("epoch", 0), a.optional("instance"), a.optional("rack")
	m.ServerAssignor, m.SubscribedTopicRegex = a.optional("assignor"), a.optional("regex")
	m.RebalanceTimeoutMillis = a.number("rebalance", -1)
	m.SubscribedTopicNames = a.list("topics")
	if a.d.HasArg("owned") {
		m.Topics = owned(a.list("owned")...)
	}
	if m.MemberEpoch == 0 && !a.d.HasArg("bare") {
		m.RebalanceTimeoutMillis, m.Topics = a.number("rebalance", 30000), owned(a.list("owned")...)
	}
	return m
}

// owned reads partitions of the form topic:0+1.
func owned(texts ...string) []kmsg.ConsumerGroupHeartbeatRequestTopic {
	topics := []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, text := range texts {
		name, list, _ := strings.Cut(text, ":")
		t := kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: topicID(name)}
		for p := range strings.SplitSeq(list, "+") {
			n, _ := strconv.Atoi(p)
			t.Partitions = append(t.Partitions, int32(n))
		}
		topics = append(topics, t)
	}
	return topics
}

func (s *script) printBeat(r *kmsg.ConsumerGroupHeartbeatResponse) {
	if r.ErrorCode != 0 {
		s.printf("%s: %s\n", codeText(r.ErrorCode), text(r.ErrorMessage))
		return
	}
	s.printf("%s epoch %d interval %d", text(r.MemberID), r.MemberEpoch, r.HeartbeatIntervalMillis)
	if r.Assignment != nil {
		s.printf(" assignment")
		for _, t := range r.Assignment.Topics {
			s.printf(" %s:%s", topicOf(t.TopicID), plus(t.Partitions))
		}
	}
	s.printf("\n")
}

func plus(list []int32) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(list), "[]"), " ", "+")
}

func (s *script) printConsumers(g *kmsg.ConsumerGroupDescribeResponseGroup) {
	if g.ErrorCode != 0 {
		s.printf("%s: %s\n", codeText(g.ErrorCode), text(g.ErrorMessage))
		return
	}
	s.printf("%s %s epoch %d assignment epoch %d assignor %s\n", g.Group, g.State, g.Epoch, g.AssignmentEpoch, g.AssignorName)
	assigned := func(a kmsg.Assignment) string {
		var out []string
		for _, t := range a.TopicPartitions {
			out = append(out, t.Topic+":"+plus(t.Partitions))
		}
		return strings.Join(out, " ")
	}
	for _, m := range g.Members {
		s.printf("  %s %s rack %s type %d epoch %d topics %v regex %s has [%s] target [%s]\n", m.MemberID, text(m.InstanceID), text(m.RackID), m.MemberType,
			m.MemberEpoch, m.SubscribedTopics, text(m.SubscribedTopicRegex), assigned(m.Assignment), assigned(m.TargetAssignment))
	}
}

// printConsumerRecord prints what a record says by replaying it into a group of its own.
func (s *script) printConsumerRecord(rec runtime.Record) bool {
	key, err := decodeKey(rec.Key)
	if err != nil {
		return false
	}
	if k, ok := key.(*kmsg.OffsetCommitKey); ok {
		s.printf("  + offset %s %s-%d %v\n", k.Group, k.Topic, k.Partition, rec.Value != nil)
		return true
	}
	k, ok := key.(*consumerKey)
	if !ok {
		return false
	}
	kind := map[int16]string{3: "group", 5: "member", 6: "target epoch", 7: "target", 8: "current", 16: "regex"}[k.kind]
	s.printf("  + %s %s", strings.TrimSpace(k.group+" "+kind), k.name)
	if rec.Value == nil {
		s.printf(" removed\n")
		return true
	}
	g := newConsumerGroup(k.group)
	r := &valueReader{}
	r.Src = rec.Value[2:]
	if err := g.replay(k, r); err != nil {
		s.t.Fatalf("%v", err)
	}
	m := g.members[k.name]
	switch k.kind {
	case consumerGroupKeyVersion:
		s.printf(" epoch %d hashed %v", g.epoch, g.metadataHash != 0)
	case consumerMemberKeyVersion:
		s.printf(" instance %s rack %s %s %s rebalance %d topics %v regex %q assignor %s", text(m.instanceID), text(m.rackID), m.clientID, m.clientHost,
			m.rebalanceTimeoutMs, m.topics, m.regex, text(m.assignor))
		if m.classic != nil {
			s.printf(" classic session %d", m.classic.sessionTimeoutMs)
			for _, p := range m.classic.protocols {
				s.printf(" %s", p.Name)
			}
		}
	case targetMetadataKeyVersion:
		s.printf(" %d at %d ms", g.targetEpoch, g.targetMs-epoch.UnixMilli())
	case targetMemberKeyVersion:
		s.printf(" [%s]", g.target[k.name])
	case currentAssignmentKeyVersion:
		s.printf(" epoch %d before %d state %d has [%s] revokes [%s]", m.epoch, m.previousEpoch, m.state, m.assigned, m.revoking)
	case regexKeyVersion:
		s.printf(" %v version %d", g.resolved[k.name].topics, g.resolved[k.name].version)
	}
	s.printf("\n")
	return true
}

// String writes topic:partition+partition@epoch+epoch.
func (a assignment) String() string {
	var out []string
	for _, t := range a {
		text := topicOf(t.topic) + ":" + plus(t.partitions)
		if t.epochs != nil {
			text += "@" + plus(t.epochs)
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// checkConsumers compares what consumer groups count with what they have.
func (h *harness) checkConsumers() {
	h.t.Helper()
	for name, g := range h.shard.consumers {
		if h.shard.groups[name] != nil {
			h.t.Fatalf("group %s is of both kinds", name)
		}
		again := newConsumerGroup(name)
		for _, id := range slices.Sorted(maps.Keys(g.members)) {
			m := g.members[id]
			if m.id != id || !h.shard.timers.has(sessionKey(name, id)) {
				h.t.Fatalf("group %s: member %s is under id %s, or never expires", name, m.id, id)
			}
			for _, t := range m.assigned.union(m.revoking) {
				for _, p := range t.partitions {
					if !again.free(t.topic, p) {
						h.t.Fatalf("group %s: %s-%d is with %s and %s", name, topicOf(t.topic), p, again.owners[t.topic][p], id)
					}
				}
			}
			if watched := h.shard.timers.has(revocationKey(name, id)); m.classic == nil && watched != (m.state == memberUnrevoked && m.epoch >= 0) {
				h.t.Fatalf("group %s: member %s has state %d, and its revocation is waited for: %v", name, id, m.state, watched)
			}
			again.put(m)
		}
		for what, pair := range map[string][2]any{
			"owners": {g.owners, again.owners}, "topics": {g.topics, again.topics}, "regexes": {g.regexes, again.regexes}, "static members": {g.static, again.static},
		} {
			if fmt.Sprint(pair[0]) != fmt.Sprint(pair[1]) {
				h.t.Fatalf("group %s: %s are %v, counted anew %v", name, what, pair[0], pair[1])
			}
		}
		for id := range g.target {
			if g.members[id] == nil {
				h.t.Fatalf("group %s has a target for %s, who is no member", name, id)
			}
		}
	}
}
