package group

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
	"github.com/moldau/moldau/internal/metadata"
)

// fataler is what *testing.T and *rapid.T have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// harness does for one shard what a runtime does, with a log in memory and a clock that is moved by hand.
type harness struct {
	t     fataler
	cfg   Config
	image *metadata.Image
	shard *Shard
	now   time.Time
	log   []logged

	failNext bool // the next append fails
	made     int  // member ids
	tickets  runtime.Ticket
	waiting  map[runtime.Ticket]bool

	// What came of an event. onReply gets nil in place of the response of an event that could not be written.
	onReply  func(t runtime.Ticket, response any)
	onRecord func(rec runtime.Record)
}

type logged struct {
	rec       runtime.Record
	timestamp int64
}

var epoch = time.UnixMilli(1_700_000_000_000)

func newHarness(t fataler) *harness {
	h := &harness{
		t:        t,
		now:      epoch,
		waiting:  make(map[runtime.Ticket]bool),
		onReply:  func(runtime.Ticket, any) {},
		onRecord: func(runtime.Record) {},
		image:    metadata.NewDelta(nil).Apply(0, 0),
		cfg: Config{
			MinSessionTimeoutMs:     6000,
			MaxSessionTimeoutMs:     1800000,
			MaxSize:                 2000,
			InitialRebalanceDelayMs: 3000,

			ConsumerSessionTimeoutMs:       Bounded{45000, 45000, 60000},
			ConsumerHeartbeatIntervalMs:    Bounded{5000, 5000, 15000},
			ConsumerAssignmentIntervalMs:   Bounded{1000, 0, 15000},
			ConsumerRegexRefreshIntervalMs: 600000,
			ConsumerMaxSize:                2000,
			ConsumerAssignors:              []string{"uniform", "range"},
			ConsumerMigrationPolicy:        "bidirectional",
		},
	}
	h.shard = h.newShard()
	h.apply(h.shard.Loaded(h.now))
	return h
}

func (h *harness) newShard() *Shard {
	s := New(func() Config { return h.cfg }, func() *metadata.Image { return h.image }, slog.New(slog.DiscardHandler), 0)
	s.newID = func() string {
		h.made++
		return strconv.Itoa(h.made)
	}
	return s
}

func (h *harness) handle(req any) runtime.Ticket {
	h.tickets++
	h.waiting[h.tickets] = true
	h.apply(h.shard.Handle(h.tickets, req, h.now))
	return h.tickets
}

func (h *harness) apply(effects runtime.Effects) {
	h.t.Helper()
	failed := h.failNext && len(effects.Records) > 0
	if failed {
		h.failNext = false
	}
	for _, rec := range effects.Records {
		if failed {
			break
		}
		ts := h.now.UnixMilli()
		h.log = append(h.log, logged{rec, ts})
		h.onRecord(rec)
		if err := h.shard.Replay(rec.Key, rec.Value, ts); err != nil {
			h.t.Fatalf("a record cannot be replayed: %v", err)
		}
	}
	if effects.Applied != nil && !failed {
		effects.Applied()
	}
	for _, r := range effects.Replies {
		if !h.waiting[r.To] {
			h.t.Fatalf("request %d is answered twice or was never sent", r.To)
		}
		delete(h.waiting, r.To)
		if failed {
			h.onReply(r.To, nil)
		} else {
			h.onReply(r.To, r.Response)
		}
	}
	h.check()
}

// wait moves the clock, stopping where the shard is due.
func (h *harness) wait(d time.Duration, atTick func()) {
	h.t.Helper()
	end := h.now.Add(d)
	for range 100_000 {
		due := h.shard.Due()
		if due.IsZero() || due.After(end) {
			h.now = end
			return
		}
		if due.After(h.now) {
			h.now = due
		}
		atTick()
		h.apply(h.shard.Tick(h.now))
	}
	h.t.Fatalf("the shard is due again and again")
}

// reload replays the log into a new shard. Who waited was told to go elsewhere.
func (h *harness) reload() {
	h.t.Helper()
	clear(h.waiting)
	h.shard = h.newShard()
	for _, l := range h.log {
		if err := h.shard.Replay(l.rec.Key, l.rec.Value, l.timestamp); err != nil {
			h.t.Fatalf("a record cannot be replayed: %v", err)
		}
	}
	h.apply(h.shard.Loaded(h.now))
}

// check compares what a group counts with what it has.
func (h *harness) check() {
	h.t.Helper()
	for name, g := range h.shard.groups {
		joining, supported, static := 0, make(map[string]int), 0
		for _, m := range g.members {
			if g.byID[m.id] != m {
				h.t.Fatalf("group %s: member %s is not found by its id", name, m.id)
			}
			if m.join != nil {
				joining++
			}
			if m.instanceID != nil {
				static++
				if g.static[*m.instanceID] != m.id {
					h.t.Fatalf("group %s: instance %s is %s, not %s", name, *m.instanceID, g.static[*m.instanceID], m.id)
				}
			}
			var names []string
			for _, p := range m.protocols {
				if !slices.Contains(names, p.Name) {
					names = append(names, p.Name)
					supported[p.Name]++
				}
			}
		}
		switch {
		case joining != g.joining, static != len(g.static), len(g.members) != len(g.byID):
			h.t.Fatalf("group %s: counted %d joining, %d static, %d members", name, g.joining, len(g.static), len(g.byID))
		case fmt.Sprint(supported) != fmt.Sprint(g.supported):
			h.t.Fatalf("group %s supports %v, counted %v", name, supported, g.supported)
		case (len(g.members) == 0) != (g.leader == ""), g.leader != "" && g.byID[g.leader] == nil:
			h.t.Fatalf("group %s has leader %q of %d members", name, g.leader, len(g.members))
		case g.state == stateEmpty && len(g.members) > 0:
			h.t.Fatalf("group %s is empty with %d members", name, len(g.members))
		case g.state == stateStable && (len(g.members) == 0 || joining > 0 || g.protocol == nil):
			h.t.Fatalf("group %s is stable with %d members, %d joining", name, len(g.members), joining)
		}
		h.checkTimers(g)
	}
	h.checkConsumers()
}

// checkTimers sees to it that nothing waits for ever.
func (h *harness) checkTimers(g *classicGroup) {
	h.t.Helper()
	has := func(key timerKey) bool { _, ok := h.shard.timers.byKey[key]; return ok }
	if g.state == statePreparingRebalance != has(g.joinKey()) {
		h.t.Fatalf("group %s is %s, join timer %v", g.name, g.state, has(g.joinKey()))
	}
	if (len(g.pendingSync) > 0) != has(g.syncKey()) {
		h.t.Fatalf("group %s waits for %d syncs, sync timer %v", g.name, len(g.pendingSync), has(g.syncKey()))
	}
	for id := range g.pending {
		if !has(sessionKey(g.name, id)) {
			h.t.Fatalf("group %s: pending member %s never expires", g.name, id)
		}
	}
	for _, m := range g.members {
		if m.sync != nil && g.state != stateCompletingRebalance {
			h.t.Fatalf("group %s: member %s waits for a sync in %s", g.name, m.id, g.state)
		}
		if (m.join == nil && m.sync == nil || m.isNew) && !has(sessionKey(g.name, m.id)) {
			h.t.Fatalf("group %s: member %s never expires", g.name, m.id)
		}
	}
}

func codeText(code int16) string {
	if code == 0 {
		return "ok"
	}
	if e := kerr.TypedErrorForCode(code); e != nil {
		return e.Message
	}
	return strconv.Itoa(int(code))
}

// joinMessage is a join of a member as most tests need it.
func joinMessage(version int16, group, memberID string) *kmsg.JoinGroupRequest {
	m := kmsg.NewPtrJoinGroupRequest()
	m.Version, m.Group, m.MemberID = version, group, memberID
	m.SessionTimeoutMillis, m.RebalanceTimeoutMillis = 10000, 60000
	m.ProtocolType = "consumer"
	m.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("m")}}
	return m
}

func request(m kmsg.Request) *Request {
	return &Request{ClientID: "c", ClientHost: "/10.0.0.1", Message: m}
}

var _ fataler = (*testing.T)(nil)
