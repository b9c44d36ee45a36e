package group

import (
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
)

func subscription(version int16, topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = version, topics
	return m.AppendTo(nil)
}

// A group knows what its members subscribe to where all of their metadata can be read.
func TestSubscribed(t *testing.T) {
	truncated := subscription(3, "t2") // its part of version 0 is whole
	for _, c := range []struct {
		name        string
		typ         string
		state       groupState
		metadata    [][]byte
		t2, t2Known bool
	}{
		{"all members count", "consumer", stateStable, [][]byte{subscription(0, "t1"), subscription(3, "t2")}, true, true},
		{"nobody subscribes", "consumer", stateStable, [][]byte{subscription(1, "t1")}, false, true},
		{"of a newer version", "consumer", stateStable, [][]byte{subscription(99, "t2")}, true, true},
		{"cut off behind version 0", "consumer", stateStable, [][]byte{truncated[:len(truncated)-6]}, true, true},
		{"one cannot be read", "consumer", stateStable, [][]byte{subscription(0, "t2"), []byte("?")}, false, false},
		{"one says nothing", "consumer", stateStable, [][]byte{subscription(0, "t2"), nil}, false, false},
		{"while it rebalances", "consumer", statePreparingRebalance, [][]byte{subscription(0, "t2")}, true, true},
		{"no members", "consumer", stateEmpty, nil, false, true},
		{"of another type", "connect", stateStable, [][]byte{subscription(0, "t2")}, false, false},
		{"a simple group", "", stateEmpty, nil, false, false},
	} {
		g := newHarness(t).shard.newGroup("g", epoch)
		g.typ, g.state, g.protocol = c.typ, c.state, kmsg.StringPtr("range")
		for i, metadata := range c.metadata {
			g.add(&member{id: string(rune('a' + i)), protocols: []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: metadata}}}, c.typ)
		}
		g.topics = g.subscribedTopics()
		if subscribed, known := g.subscribed("t2"); subscribed != c.t2 || known != c.t2Known {
			t.Errorf("%s: %v, %v", c.name, subscribed, known)
		}
	}
}

// Subscriptions are those of the generation, also after its record was read.
func TestSubscribedOfGeneration(t *testing.T) {
	h := newHarness(t)
	check := func(when, topic string, want, wantKnown bool) {
		t.Helper()
		if subscribed, known := h.shard.groups["g"].subscribed(topic); subscribed != want || known != wantKnown {
			t.Errorf("%s: %s is subscribed %v, known %v", when, topic, subscribed, known)
		}
	}
	join := joinMessage(3, "g", "")
	join.Protocols[0].Metadata = subscription(1, "t1")
	h.handle(request(join))
	check("before the first generation", "t1", false, false)
	h.wait(3*time.Second, func() {})
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group, sync.MemberID, sync.Generation = 5, "g", "c-1", 1
	h.handle(request(sync))
	check("stable", "t1", true, true)
	check("stable", "t2", false, true)
	h.reload()
	check("loaded", "t1", true, true)
	check("loaded", "t2", false, true)
	h.wait(10*time.Second, func() {})
	check("empty", "t1", false, true)
}

// Members vote for the first of their protocols that everybody supports.
func TestSelectProtocol(t *testing.T) {
	for _, c := range []struct {
		want    string
		members []string
	}{
		{"range", []string{"range rr"}},
		{"rr", []string{"range rr", "rr"}},
		{"rr", []string{"range rr", "rr range", "rr range"}},
		{"range", []string{"range rr", "rr range"}},
		{"b", []string{"x b a", "y b a", "a b"}},
		{"a", []string{"a a b", "b a"}},
	} {
		g := newHarness(t).shard.newGroup("g", epoch)
		for i, names := range c.members {
			m := &member{id: string(rune('a' + i))}
			for _, name := range strings.Fields(names) {
				m.protocols = append(m.protocols, kmsg.JoinGroupRequestProtocol{Name: name})
			}
			g.add(m, "consumer")
		}
		if got := g.selectProtocol(); got == nil || *got != c.want {
			t.Errorf("%q: %v, want %s", c.members, got, c.want)
		}
	}
}

// Since when a group is empty is known but of one that a commit made.
func TestEmptySince(t *testing.T) {
	h := newHarness(t)
	h.handle(request(joinMessage(4, "joined", "")))
	if since, known := h.shard.groups["joined"].emptySince(); !known || !since.Equal(h.now) {
		t.Errorf("a group with a pending member: %v, %v", since, known)
	}
	h.shard.ensureGroup("simple")
	simple := h.shard.groups["simple"]
	if _, known := simple.emptySince(); known || !simple.isEmpty() || simple.protocolType() != "" {
		t.Errorf("a simple group: %+v", simple)
	}
	if h.shard.ensureGroup("simple"); h.shard.groups["simple"] != simple {
		t.Error("a simple group is made twice")
	}
	if h.shard.simpleGroup("other"); h.shard.groups["other"] != nil {
		t.Error("a group for one commit is stored")
	}
	h.handle(request(joinMessage(3, "joined", "")))
	if _, known := h.shard.groups["joined"].emptySince(); known {
		t.Error("a group with a member is empty")
	}
}

// Member ids end in a UUID as Java prints it.
func TestMemberUUID(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	if id := newMemberUUID(); !form.MatchString(id) {
		t.Errorf("%s", id)
	}
}

// Timers go off in order of their deadlines, then in the order in which they were set.
func TestTimers(t *testing.T) {
	var ts timers
	key := func(name string) timerKey { return sessionKey("g", name) }
	for _, timer := range []struct {
		name    string
		timeout int64
	}{{"d", 30}, {"a", 10}, {"moved", 5}, {"b", 20}, {"gone", 1}, {"c", 20}, {"moved", 25}, {"now", 0}, {"past", -7}} {
		ts.schedule(key(timer.name), epoch, timer.timeout)
	}
	ts.cancel(key("gone"))
	ts.cancel(key("gone"))
	if due := ts.due(); !due.Equal(epoch.Add(time.Millisecond)) {
		t.Errorf("due %v", due)
	}
	if key, ok := ts.pop(epoch); ok {
		t.Errorf("%s goes off early", key.member)
	}
	var order []string
	for {
		key, ok := ts.pop(epoch.Add(25 * time.Millisecond))
		if !ok {
			break
		}
		order = append(order, key.member)
	}
	if got := strings.Join(order, " "); got != "now past a b c moved" {
		t.Errorf("order %s", got)
	}
	if due := ts.due(); !due.Equal(epoch.Add(30 * time.Millisecond)) {
		t.Errorf("due %v", due)
	}
	ts.cancel(key("d"))
	if !ts.due().IsZero() || len(ts.byKey) != 0 {
		t.Errorf("due %v with %d timers", ts.due(), len(ts.byKey))
	}
}

// Every response has the version of its request, and the protocol of a refused join is null where it can be.
func TestResponseVersions(t *testing.T) {
	h := newHarness(t)
	var last any
	h.onReply = func(_ runtime.Ticket, response any) { last = response }
	for _, m := range []kmsg.Request{
		&kmsg.JoinGroupRequest{}, &kmsg.SyncGroupRequest{}, &kmsg.HeartbeatRequest{}, &kmsg.LeaveGroupRequest{},
		&kmsg.DescribeGroupsRequest{}, &kmsg.DeleteGroupsRequest{},
	} {
		for version := int16(0); version <= m.MaxVersion(); version++ {
			m.SetVersion(version)
			h.handle(request(m))
			resp := last.(kmsg.Response)
			if resp.GetVersion() != version || resp.Key() != m.Key() {
				t.Errorf("%T version %d: %T version %d", m, version, resp, resp.GetVersion())
			}
			if join, ok := resp.(*kmsg.JoinGroupResponse); ok && (join.Protocol == nil) != (version >= 7) {
				t.Errorf("join version %d: protocol %v", version, join.Protocol)
			}
			again := m.ResponseKind()
			if err := again.ReadFrom(resp.AppendTo(nil)); err != nil {
				t.Errorf("%T version %d cannot be read: %v", resp, version, err)
			}
		}
	}
}

// Metadata belongs to the connection that it came on; a group keeps a copy.
func TestMetadataIsCopied(t *testing.T) {
	h := newHarness(t)
	m := joinMessage(3, "g", "")
	h.handle(request(m))
	m.Protocols[0].Metadata[0] = 'x'
	if got := h.shard.groups["g"].members[0].metadata(kmsg.StringPtr("range")); string(got) != "m" {
		t.Errorf("%q", got)
	}
}

// Strings that records have no room for are refused.
func TestJoinWithLongStrings(t *testing.T) {
	long := strings.Repeat("x", 1<<15)
	h := newHarness(t)
	var code int16
	h.onReply = func(_ runtime.Ticket, response any) { code = response.(*kmsg.JoinGroupResponse).ErrorCode }
	for name, change := range map[string]func(*kmsg.JoinGroupRequest, *Request){
		"group":    func(m *kmsg.JoinGroupRequest, _ *Request) { m.Group = long },
		"instance": func(m *kmsg.JoinGroupRequest, _ *Request) { m.InstanceID = &long },
		"type":     func(m *kmsg.JoinGroupRequest, _ *Request) { m.ProtocolType = long },
		"protocol": func(m *kmsg.JoinGroupRequest, _ *Request) { m.Protocols[0].Name = long },
		"client":   func(_ *kmsg.JoinGroupRequest, r *Request) { r.ClientID = long[:32760] },
	} {
		m := joinMessage(9, "g", "")
		r := request(m)
		change(m, r)
		if h.handle(r); code != kerr.InvalidRequest.Code || len(h.shard.groups) > 0 {
			t.Errorf("%s: %s, %d groups", name, codeText(code), len(h.shard.groups))
		}
	}
}

// Each rebalance is one line of the log that says why.
func TestRebalanceIsLogged(t *testing.T) {
	var out strings.Builder
	h := newHarness(t)
	h.shard.logger = slog.New(slog.NewTextHandler(&out, nil))
	logged := func(what string, want ...string) {
		t.Helper()
		lines := strings.Count(out.String(), "\n")
		for _, part := range want {
			if lines != 1 || !strings.Contains(out.String(), part) {
				t.Errorf("%s: want one line with %s:\n%s", what, part, out.String())
			}
		}
		if len(want) == 0 && lines > 0 {
			t.Errorf("%s: %s", what, out.String())
		}
		out.Reset()
	}
	join := joinMessage(8, "g", "")
	join.InstanceID, join.Reason = kmsg.StringPtr("i"), kmsg.StringPtr("scaled up")
	h.handle(request(join))
	logged("a join", "level=INFO", "group=g", "generation=0", "members=1", `reason="member i-1 is new; client reason: scaled up"`)
	h.handle(request(joinMessage(3, "g", "")))
	h.wait(6*time.Second, func() {})
	logged("another one and the generation")
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Version, leave.Group = 5, "g"
	leave.Members = []kmsg.LeaveGroupRequestMember{{MemberID: "c-2", Reason: kmsg.StringPtr(strings.Repeat("x", 300))}}
	h.handle(request(leave))
	logged("a leave", "generation=1", "members=1", `reason="member c-2 left; client reason: `+strings.Repeat("x", 255)+`"`)
	h.wait(time.Hour, func() {})
	logged("the last session ends in a rebalance that runs")
	h.handle(request(joinMessage(3, "g", "")))
	h.wait(3*time.Second, func() {})
	out.Reset()
	h.wait(10*time.Second, func() {})
	logged("a session ends", `reason="the session of member c-3 ended after 10s"`, "members=0")
}

// What a shard does not know is answered all the same.
func TestUnknownRequest(t *testing.T) {
	h := newHarness(t)
	for _, req := range []any{"join", request(kmsg.NewPtrMetadataRequest())} {
		if h.handle(req); len(h.waiting) > 0 {
			t.Errorf("%T is not answered", req)
		}
	}
}
