package group

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/coordinator/runtime"
)

// client is one consumer as the property test plays it. It keeps what it was told.
type client struct {
	name       string
	instanceID *string
	memberID   string
	generation int32
	leads      bool
	members    []string // of the generation, where it leads
	waits      runtime.Ticket
	next       step
}

// step is what a client that keeps to the protocol does next.
type step int

const (
	toJoin step = iota
	toSync
	toHeartbeat
)

// generation is what all answers of one generation agree on.
type generation struct {
	leader, protocol string
	assigned         map[string]string // by identity
}

// world is a group with its clients.
type world struct {
	*harness
	t           *rapid.T
	clients     []*client
	asked       map[runtime.Ticket]*client
	generations map[int32]*generation
}

func newWorld(t *rapid.T) *world {
	w := &world{harness: newHarness(t), t: t, asked: make(map[runtime.Ticket]*client), generations: make(map[int32]*generation)}
	w.onReply = w.replied
	for i := range 5 {
		c := &client{name: fmt.Sprint("c", i)}
		if i >= 3 {
			c.instanceID = kmsg.StringPtr(fmt.Sprint("s", i))
		}
		w.clients = append(w.clients, c)
	}
	return w
}

// identity is what of a member stays when a static member comes back.
func identity(memberID string) string {
	if instance, _, _ := strings.Cut(memberID, "-"); strings.HasPrefix(instance, "s") {
		return instance
	}
	return memberID
}

func (w *world) ask(c *client, m kmsg.Request) {
	next := w.tickets + 1
	w.asked[next], c.waits = c, next
	r := request(m)
	r.ClientID = c.name
	w.handle(r)
}

func (w *world) replied(t runtime.Ticket, response any) {
	c := w.asked[t]
	delete(w.asked, t)
	if c.waits != t {
		return // the client has been started anew, or asked again
	}
	c.waits, c.next = 0, toJoin
	switch r := response.(type) {
	case *kmsg.JoinGroupResponse:
		w.joined(c, r)
	case *kmsg.SyncGroupResponse:
		w.synced(c, r)
	case *kmsg.HeartbeatResponse:
		if c.heard(r.ErrorCode); r.ErrorCode == 0 {
			c.next = toHeartbeat
		}
	}
}

// heard forgets a member id that is good no longer.
func (c *client) heard(code int16) {
	if code == kerr.UnknownMemberID.Code || code == kerr.FencedInstanceID.Code {
		c.memberID = ""
	}
}

// joined compares an answer with the others of its generation.
func (w *world) joined(c *client, r *kmsg.JoinGroupResponse) {
	if c.heard(r.ErrorCode); r.ErrorCode == kerr.MemberIDRequired.Code {
		c.memberID = r.MemberID
	}
	if r.ErrorCode != 0 {
		return
	}
	c.next = toSync
	c.memberID, c.generation, c.leads, c.members = r.MemberID, r.Generation, r.LeaderID == r.MemberID, nil
	for _, m := range r.Members {
		c.members = append(c.members, m.MemberID)
	}
	if (len(r.Members) > 0) != c.leads {
		w.t.Fatalf("%s is told of %d members, leader %s", r.MemberID, len(r.Members), r.LeaderID)
	}
	g, ok := w.generations[r.Generation]
	if !ok {
		g = &generation{leader: identity(r.LeaderID), protocol: *r.Protocol, assigned: make(map[string]string)}
		w.generations[r.Generation] = g
	}
	if g.leader != identity(r.LeaderID) || g.protocol != *r.Protocol {
		w.t.Fatalf("generation %d has leader %s and %s, protocol %s and %s", r.Generation, g.leader, r.LeaderID, g.protocol, *r.Protocol)
	}
}

// synced compares an assignment with what the leader of the generation made.
func (w *world) synced(c *client, r *kmsg.SyncGroupResponse) {
	c.heard(r.ErrorCode)
	if r.ErrorCode != 0 {
		return
	}
	c.next = toHeartbeat
	want := w.generations[c.generation].assigned[identity(c.memberID)]
	if want == "" || string(r.MemberAssignment) != want {
		w.t.Fatalf("%s gets %q in generation %d, assigned is %q", c.memberID, r.MemberAssignment, c.generation, want)
	}
}

func (w *world) join(c *client, protocols []string) {
	m := joinMessage(9, "g", c.memberID)
	m.InstanceID = c.instanceID
	m.RebalanceTimeoutMillis = 15000
	m.Protocols = nil
	for _, p := range protocols {
		m.Protocols = append(m.Protocols, kmsg.JoinGroupRequestProtocol{Name: p, Metadata: []byte(p)})
	}
	if c.instanceID == nil && c.name == "c0" {
		m.Version = 3
	}
	w.ask(c, m)
}

func (w *world) sync(c *client) {
	m := kmsg.NewPtrSyncGroupRequest()
	m.Version, m.Group, m.MemberID, m.InstanceID, m.Generation = 5, "g", c.memberID, c.instanceID, c.generation
	if g := w.generations[c.generation]; c.leads && g != nil {
		for _, id := range c.members {
			a := fmt.Sprintf("%d of %s", c.generation, identity(id))
			m.GroupAssignment = append(m.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: id, MemberAssignment: []byte(a)})
			g.assigned[identity(id)] = a
		}
	}
	w.ask(c, m)
}

func (w *world) heartbeat(c *client) {
	m := kmsg.NewPtrHeartbeatRequest()
	m.Version, m.Group, m.MemberID, m.InstanceID, m.Generation = 4, "g", c.memberID, c.instanceID, c.generation
	w.ask(c, m)
}

func (w *world) leave(c *client) {
	m := kmsg.NewPtrLeaveGroupRequest()
	m.Version, m.Group = 5, "g"
	m.Members = []kmsg.LeaveGroupRequestMember{{MemberID: c.memberID, InstanceID: c.instanceID}}
	w.ask(c, m)
	c.memberID = ""
}

// restart lets the shard be led elsewhere. Who waits asks again; a generation that was not written is made
// again, with another leader perhaps.
func (w *world) restart() {
	w.reload()
	clear(w.asked)
	last := int32(-1)
	if g := w.shard.groups["g"]; g != nil {
		last = g.generation
	}
	for _, c := range w.clients {
		c.waits, c.next = 0, toJoin
		if c.generation > last {
			c.generation = -1
		}
	}
	for n := range w.generations {
		if n > last {
			delete(w.generations, n)
		}
	}
}

// settle lets all clients keep to the protocol for two minutes. They know both assignors: of a member that
// was loaded the shard knows the elected one alone, and would refuse those who lack it.
func (w *world) settle() {
	for range 120 {
		for _, c := range w.clients {
			switch {
			case c.waits != 0:
			case c.next == toJoin:
				w.join(c, []string{"range", "rr"})
			case c.next == toSync:
				w.sync(c)
			default:
				w.heartbeat(c)
			}
		}
		w.wait(time.Second, func() {})
	}
	g := w.shard.groups["g"]
	if g == nil || g.state != stateStable || len(g.members) != len(w.clients) {
		w.t.Fatalf("after two minutes the group is %+v", g)
	}
	for _, c := range w.clients {
		m := g.byID[c.memberID]
		if m == nil || c.next != toHeartbeat || string(m.assignment) != w.generations[g.generation].assigned[identity(m.id)] {
			w.t.Fatalf("after two minutes %+v is %+v", c, m)
		}
	}
}

// Whatever clients do, in whatever order, all members of a generation are told of the same leader and
// protocol, only the leader is told of the members, each gets what the leader assigned to it in that generation, no
// request is answered twice. Once all keep to the protocol they come to a stable group, and when everybody has gone every
// request has been answered and no timer is left.
func TestClientsAgree(t *testing.T) {
	protocols := [][]string{{"range"}, {"range", "rr"}, {"rr", "range"}}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		some := func() *client { return rapid.SampledFrom(w.clients).Draw(t, "client") }
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) { w.join(some(), rapid.SampledFrom(protocols).Draw(t, "protocols")) },
			"joinAll": func(*rapid.T) {
				for _, c := range w.clients {
					w.join(c, protocols[0])
				}
			},
			"sync": func(*rapid.T) { w.sync(some()) },
			"syncAll": func(*rapid.T) {
				for _, c := range w.clients {
					w.sync(c)
				}
			},
			"heartbeat": func(*rapid.T) { w.heartbeat(some()) },
			"leave":     func(*rapid.T) { w.leave(some()) },
			"wait":      func(*rapid.T) { w.wait(time.Duration(rapid.IntRange(1, 12).Draw(t, "seconds"))*time.Second, func() {}) },
			"forget": func(*rapid.T) {
				c := some()
				c.memberID, c.waits = "", 0
			},
			"fail":    func(*rapid.T) { w.failNext = true },
			"restart": func(*rapid.T) { w.restart() },
		})
		w.failNext = false
		w.settle()
		w.wait(time.Hour, func() {})
		if len(w.waiting) > 0 {
			t.Fatalf("requests are never answered: %v", w.waiting)
		}
		if g := w.shard.groups["g"]; g != nil && g.state != stateEmpty || len(w.shard.timers.byKey) > 0 {
			t.Fatalf("group %+v and %d timers are left", g, len(w.shard.timers.byKey))
		}
	})
}

// What a shard has in memory of a stable or an empty group is what another makes of its records.
func TestRecordsAreTheGroup(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 8).Draw(t, "rounds") {
			for _, c := range w.clients {
				switch rapid.IntRange(0, 5).Draw(t, "what") {
				case 0:
					w.leave(c)
				case 1:
					if c.memberID = ""; c.instanceID != nil {
						w.join(c, []string{"range"})
					}
				default:
					w.join(c, []string{"range"})
					w.join(c, []string{"range"})
				}
			}
			w.wait(16*time.Second, func() {})
			for range 2 {
				for _, c := range w.clients {
					w.sync(c)
				}
			}
			g, ok := w.shard.groups["g"]
			if !ok || g.state != stateStable && g.state != stateEmpty {
				continue
			}
			before := groupText(g)
			w.restart()
			if after := groupText(w.shard.groups["g"]); after != before {
				t.Fatalf("%s\nis restored as\n%s", before, after)
			}
		}
	})
}

func groupText(g *classicGroup) string {
	if g == nil {
		return "no group"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s generation %d type %q protocol %s leader %s", g.state, g.generation, g.typ, text(g.protocol), g.leader)
	for _, m := range g.members {
		fmt.Fprintf(&b, "\n  %s %s %s %s %d %d %q %q", m.id, text(m.instanceID), m.clientID, m.clientHost, m.sessionTimeoutMs, m.rebalanceTimeoutMs,
			m.metadata(g.protocol), m.assignment)
	}
	return b.String()
}

// 1,000 members join, sync and leave.
func TestManyMembers(t *testing.T) {
	const count = 1000
	h := newHarness(t)
	var joins []*kmsg.JoinGroupResponse
	var syncs []*kmsg.SyncGroupResponse
	h.onReply = func(_ runtime.Ticket, response any) {
		switch r := response.(type) {
		case *kmsg.JoinGroupResponse:
			joins = append(joins, r)
		case *kmsg.SyncGroupResponse:
			syncs = append(syncs, r)
		}
	}
	for range count {
		h.handle(request(joinMessage(3, "g", "")))
		h.wait(10*time.Millisecond, func() {})
	}
	if len(joins) > 0 {
		t.Fatalf("%d are answered before the delay is over", len(joins))
	}
	h.wait(6*time.Second, func() {})
	if len(joins) != count {
		t.Fatalf("%d members of %d", len(joins), count)
	}
	sync := func(r *kmsg.JoinGroupResponse) {
		m := kmsg.NewPtrSyncGroupRequest()
		m.Version, m.Group, m.MemberID, m.Generation = 5, "g", r.MemberID, r.Generation
		for _, other := range r.Members {
			m.GroupAssignment = append(m.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: other.MemberID, MemberAssignment: []byte(other.MemberID)})
		}
		h.handle(request(m))
	}
	for _, r := range joins[1:] {
		sync(r)
	}
	if len(joins[0].Members) != count || len(syncs) > 0 {
		t.Fatalf("the leader is told of %d members, %d synced without it", len(joins[0].Members), len(syncs))
	}
	sync(joins[0])
	if len(syncs) != count || h.shard.groups["g"].state != stateStable {
		t.Fatalf("%d synced, state %s", len(syncs), h.shard.groups["g"].state)
	}
	for i, r := range syncs {
		if r.ErrorCode != 0 || string(r.MemberAssignment) != fmt.Sprint("c-", i+1) {
			t.Fatalf("member %d: %s, assignment %q", i, codeText(r.ErrorCode), r.MemberAssignment)
		}
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Version, leave.Group = 5, "g"
	for _, r := range joins {
		leave.Members = append(leave.Members, kmsg.LeaveGroupRequestMember{MemberID: r.MemberID})
	}
	h.handle(request(leave))
	if g := h.shard.groups["g"]; g.state != stateEmpty || len(h.shard.timers.byKey) > 0 {
		t.Fatalf("state %s, %d timers", g.state, len(h.shard.timers.byKey))
	}
}

// What one Tick writes is bounded; what is left stays due.
func TestTickIsBounded(t *testing.T) {
	h := newHarness(t)
	const groups = tickRecordsMax + 10
	s := h.newShard()
	for i := range groups {
		g := s.newGroup(fmt.Sprint("g", i), epoch)
		g.generation, g.protocol = 1, kmsg.StringPtr("range")
		g.add(&member{id: "m", sessionTimeoutMs: 10000, protocols: []kmsg.JoinGroupRequestProtocol{{Name: "range"}}}, "consumer")
		rec := groupRecord(g, func(*member) []byte { return nil })
		if err := s.Replay(rec.Key, rec.Value, 0); err != nil {
			t.Fatal(err)
		}
	}
	s.Loaded(h.now)
	later := h.now.Add(10 * time.Second)
	if n := len(s.Tick(later).Records); n != tickRecordsMax {
		t.Errorf("%d records at first", n)
	}
	if due := s.Due(); due.IsZero() || due.After(later) {
		t.Errorf("due %v", due)
	}
	if n := len(s.Tick(later).Records); n != groups-tickRecordsMax {
		t.Errorf("%d records then", n)
	}
	if due := s.Due(); !due.IsZero() {
		t.Errorf("due %v", due)
	}
}
