package group

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
)

// TestClassic runs testdata/classic: what members are answered, when, and what is written. A request that
// has a label is printed with it when it is answered, in whatever command that is.
func TestClassic(t *testing.T) {
	datadriven.Walk(t, "testdata/classic", func(t *testing.T, path string) {
		s := &script{harness: newHarness(t), labels: make(map[runtime.Ticket]string)}
		s.onReply, s.onRecord = s.printReply, s.printRecord
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.out.Reset()
			s.run(t, d)
			return s.out.String()
		})
	})
}

// script runs one file of testdata.
type script struct {
	*harness
	labels map[runtime.Ticket]string
	out    bytes.Buffer
}

func (s *script) printf(format string, args ...any) { fmt.Fprintf(&s.out, format, args...) }

// args reads the arguments of a command.
type args struct{ d *datadriven.TestData }

func (a args) text(key, otherwise string) string {
	for _, arg := range a.d.CmdArgs {
		if arg.Key == key && len(arg.Vals) > 0 {
			return arg.Vals[0]
		}
	}
	return otherwise
}

func (a args) optional(key string) *string {
	if !a.d.HasArg(key) {
		return nil
	}
	return kmsg.StringPtr(a.text(key, ""))
}

func (a args) number(key string, otherwise int32) int32 {
	n := otherwise
	if text := a.text(key, ""); text != "" {
		fmt.Sscan(text, &n)
	}
	return n
}

func (a args) list(key string) []string {
	for _, arg := range a.d.CmdArgs {
		if arg.Key == key {
			return arg.Vals
		}
	}
	return nil
}

func (a args) label() string {
	if len(a.d.CmdArgs) > 0 && len(a.d.CmdArgs[0].Vals) == 0 {
		return a.d.CmdArgs[0].Key
	}
	return "answer"
}

func (s *script) run(t *testing.T, d *datadriven.TestData) {
	a := args{d}
	switch d.Cmd {
	case "config":
		s.cfg.MaxSize = a.number("max-size", s.cfg.MaxSize)
		s.cfg.InitialRebalanceDelayMs = a.number("delay", s.cfg.InitialRebalanceDelayMs)
	case "join":
		s.send(a, joinOf(a, a.text("member", "")))
	case "joins":
		for range a.number("count", 1) {
			s.send(a, joinOf(a, ""))
		}
	case "sync":
		s.send(a, syncOf(a))
	case "heartbeat":
		m := kmsg.NewPtrHeartbeatRequest()
		m.Version, m.Group, m.MemberID = 4, a.text("group", "g"), a.text("member", "")
		m.Generation, m.InstanceID = a.number("generation", 1), a.optional("instance")
		s.send(a, m)
	case "leave":
		s.send(a, leaveOf(a))
	case "describe":
		m := kmsg.NewPtrDescribeGroupsRequest()
		m.Version, m.Groups = int16(a.number("version", 6)), []string{a.text("group", "g")}
		s.send(a, m)
	case "list":
		s.ask(a, &ListGroups{States: a.list("states"), Types: a.list("types")})
	case "delete":
		m := kmsg.NewPtrDeleteGroupsRequest()
		m.Version, m.Groups = 2, []string{a.text("group", "g")}
		s.send(a, m)
	case "commit":
		s.commit(a)
	case "wait":
		d, err := time.ParseDuration(a.label())
		if err != nil {
			t.Fatal(err)
		}
		s.wait(d, func() { s.printf("at %v\n", s.now.Sub(epoch)) })
	case "fail":
		s.failNext = true
	case "reload":
		s.reload()
	default:
		if !s.runConsumer(a) {
			t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
		}
	}
}

func joinOf(a args, memberID string) *kmsg.JoinGroupRequest {
	m := joinMessage(int16(a.number("version", 9)), a.text("group", "g"), memberID)
	m.SessionTimeoutMillis, m.RebalanceTimeoutMillis = a.number("session", 10000), a.number("rebalance", 60000)
	m.InstanceID, m.Reason = a.optional("instance"), a.optional("reason")
	m.ProtocolType = a.text("type", "consumer")
	if a.d.HasArg("protocols") {
		m.Protocols = nil
		for _, p := range a.list("protocols") {
			if name, metadata, ok := strings.Cut(p, ":"); ok {
				m.Protocols = append(m.Protocols, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: []byte(metadata)})
			}
		}
	}
	return m
}

func syncOf(a args) *kmsg.SyncGroupRequest {
	m := kmsg.NewPtrSyncGroupRequest()
	m.Version, m.Group, m.MemberID = int16(a.number("version", 5)), a.text("group", "g"), a.text("member", "")
	m.Generation, m.InstanceID = a.number("generation", 1), a.optional("instance")
	m.ProtocolType, m.Protocol = a.optional("type"), a.optional("protocol")
	for _, assigned := range a.list("assign") {
		id, assignment, _ := strings.Cut(assigned, ":")
		m.GroupAssignment = append(m.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: id, MemberAssignment: []byte(assignment)})
	}
	return m
}

// leaveOf reads members of the forms id, @instance and id@instance.
func leaveOf(a args) *kmsg.LeaveGroupRequest {
	m := kmsg.NewPtrLeaveGroupRequest()
	m.Version, m.Group, m.MemberID = int16(a.number("version", 5)), a.text("group", "g"), a.text("member", "")
	for _, who := range a.list("members") {
		member := kmsg.NewLeaveGroupRequestMember()
		id, instance, static := strings.Cut(who, "@")
		if member.MemberID = id; static {
			member.InstanceID = &instance
		}
		m.Members = append(m.Members, member)
	}
	return m
}

func (s *script) send(a args, m kmsg.Request) {
	r := request(m)
	r.ClientID = a.text("client", "c")
	s.ask(a, r)
}

// ask sends a request. Its label stands before it is answered, which may be at once.
func (s *script) ask(a args, req any) {
	s.labels[s.tickets+1] = a.label()
	s.handle(req)
}

// commit asks whether offsets may be committed.
func (s *script) commit(a args) {
	name := a.text("group", "g")
	g, ok := s.shard.groups[name]
	if !ok {
		g = s.shard.simpleGroup(name)
	}
	err := g.checkCommit(a.text("member", ""), a.optional("instance"), a.number("generation", 1), s.now)
	s.printf("%s\n", codeText(errorCode(err)))
	s.check()
}

func (s *script) printReply(t runtime.Ticket, response any) {
	s.printf("%s: ", s.labels[t])
	switch r := response.(type) {
	case nil:
		s.printf("not written\n")
	case *kmsg.JoinGroupResponse:
		s.printJoin(r)
	case *kmsg.SyncGroupResponse:
		s.printf("%s", codeText(r.ErrorCode))
		if r.ErrorCode == 0 {
			s.printf(" assignment %q type %s protocol %s", r.MemberAssignment, text(r.ProtocolType), text(r.Protocol))
		}
		s.printf("\n")
	case *kmsg.HeartbeatResponse:
		s.printf("%s\n", codeText(r.ErrorCode))
	case *kmsg.LeaveGroupResponse:
		s.printf("%s", codeText(r.ErrorCode))
		for _, m := range r.Members {
			s.printf(" [%s@%s %s]", m.MemberID, text(m.InstanceID), codeText(m.ErrorCode))
		}
		s.printf("\n")
	case *kmsg.DescribeGroupsResponse:
		s.printDescribed(&r.Groups[0])
	case []kmsg.ListGroupsResponseGroup:
		s.printf("%d groups\n", len(r))
		for _, g := range r {
			s.printf("  %s %s %s %q\n", g.Group, g.GroupType, g.GroupState, g.ProtocolType)
		}
	case *kmsg.DeleteGroupsResponse:
		s.printf("%s %s\n", r.Groups[0].Group, codeText(r.Groups[0].ErrorCode))
	case *kmsg.ConsumerGroupHeartbeatResponse:
		s.printBeat(r)
	case *kmsg.ConsumerGroupDescribeResponse:
		s.printConsumers(&r.Groups[0])
	case *kmsg.OffsetCommitResponse:
		for _, p := range r.Topics[0].Partitions {
			s.printf("%s-%d %s ", r.Topics[0].Topic, p.Partition, codeText(p.ErrorCode))
		}
		s.printf("\n")
	case *kmsg.OffsetFetchResponse:
		s.printf("%s\n", codeText(r.Groups[0].ErrorCode))
	case *kmsg.OffsetDeleteResponse:
		s.printf("%s %s\n", codeText(r.ErrorCode), codeText(r.Topics[0].Partitions[0].ErrorCode))
	default:
		s.printf("%T\n", response)
	}
}

func text(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

func (s *script) printJoin(r *kmsg.JoinGroupResponse) {
	if r.ErrorCode != 0 {
		s.printf("%s generation %d member %q protocol %q\n", codeText(r.ErrorCode), r.Generation, r.MemberID, text(r.Protocol))
		return
	}
	s.printf("generation %d %s %s leader %s member %s", r.Generation, text(r.ProtocolType), text(r.Protocol), r.LeaderID, r.MemberID)
	if r.SkipAssignment {
		s.printf(" skip assignment")
	}
	if len(r.Members) > 20 {
		s.printf(" of %d members", len(r.Members))
	} else {
		for _, m := range r.Members {
			s.printf(" [%s %s %q]", m.MemberID, text(m.InstanceID), m.ProtocolMetadata)
		}
	}
	s.printf("\n")
}

func (s *script) printDescribed(g *kmsg.DescribeGroupsResponseGroup) {
	s.printf("%s %s %s type %q protocol %q message %s\n", codeText(g.ErrorCode), g.Group, g.State, g.ProtocolType, g.Protocol, text(g.ErrorMessage))
	for i, m := range g.Members {
		if i == 20 {
			s.printf("  ... %d members\n", len(g.Members))
			break
		}
		s.printf("  %s %s %s %s metadata %q assignment %q\n", m.MemberID, text(m.InstanceID), m.ClientID, m.ClientHost, m.ProtocolMetadata, m.MemberAssignment)
	}
}

func (s *script) printRecord(rec runtime.Record) {
	if s.printConsumerRecord(rec) {
		return
	}
	var key kmsg.GroupMetadataKey
	if err := key.ReadFrom(rec.Key); err != nil {
		s.printf("  + %v\n", err)
		return
	}
	if rec.Value == nil {
		s.printf("  + group %s removed\n", key.Group)
		return
	}
	v := kmsg.NewGroupMetadataValue()
	if err := v.ReadFrom(rec.Value); err != nil {
		s.printf("  + group %s: %v\n", key.Group, err)
		return
	}
	s.printf("  + group %s generation %d type %q protocol %s leader %s since %v\n", key.Group, v.Generation, v.ProtocolType, text(v.Protocol), text(v.Leader),
		time.UnixMilli(v.CurrentStateTimestamp).Sub(epoch))
	for i, m := range v.Members {
		if i == 20 {
			s.printf("    ... %d members\n", len(v.Members))
			break
		}
		s.printf("    %s %s %s %s session %d rebalance %d metadata %q assignment %q\n", m.MemberID, text(m.InstanceID), m.ClientID, m.ClientHost,
			m.SessionTimeoutMillis, m.RebalanceTimeoutMillis, m.Subscription, m.Assignment)
	}
}
