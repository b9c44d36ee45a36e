package group

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// Shard is the state machine of one partition of __consumer_offsets.
//
// A classic group lives in memory between its records: who joins, which generation is being made and
// whose session ends when are in none. A record is written when a generation has its assignment, when
// it has no members, and when a static member comes back under another id; what it says becomes true in Replay.
//
// A consumer group is what its records say, but for its timers. A name is that of one group, of either kind.
type Shard struct {
	cfg    func() Config
	image  func() *metadata.Image // the topics of now
	logger *slog.Logger
	newID  func() string // what makes a member id unique

	groups    map[string]*classicGroup
	consumers map[string]*consumerGroup
	offsets   offsetStore
	timers    timers
	hashes    topicHashes
	loaded    bool // until then Replay makes groups; from then on it brings up to date those that live
}

var _ runtime.Shard = (*Shard)(nil)

// New returns the shard of a partition, without anything in it. cfg and image give what is to be gone by at each event.
func New(cfg func() Config, image func() *metadata.Image, logger *slog.Logger, number int32) *Shard {
	return &Shard{
		cfg:       cfg,
		image:     image,
		logger:    logger.With("partition", number),
		newID:     newMemberUUID,
		groups:    make(map[string]*classicGroup),
		consumers: make(map[string]*consumerGroup),
	}
}

// anyGroup is what a group of either kind tells of itself.
type anyGroup interface {
	isEmpty() bool
	protocolType() string
	// subscribed tells whether a member subscribes to a topic, where that is known.
	subscribed(topic string) (subscribed, known bool)
	// retention returns how offsets of the group age; expires is false while none of them do.
	retention() (rule offsetRetention, expires bool)
	tombstones() []runtime.Record
}

// group returns the group of a name, of either kind.
func (s *Shard) group(name string) (anyGroup, bool) {
	if g, ok := s.groups[name]; ok {
		return g, true
	}
	g, ok := s.consumers[name]
	return g, ok
}

// newMemberUUID writes a UUID in the form of RFC 9562: member ids have it in Kafka, where other
// identifiers are base64.
func newMemberUUID() string {
	u := ids.NewUUID()
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// event is one call of the runtime: the time that it brings and what comes of it.
type event struct {
	now time.Time
	out runtime.Effects
}

func (ev *event) reply(t runtime.Ticket, response any) {
	ev.out.Replies = append(ev.out.Replies, runtime.Reply{To: t, Response: response})
}

func (ev *event) write(records ...runtime.Record) {
	ev.out.Records = append(ev.out.Records, records...)
}

// after has f called when the records have been replayed, after those of before.
func (ev *event) after(f func()) {
	before := ev.out.Applied
	ev.out.Applied = func() {
		if before != nil {
			before()
		}
		f()
	}
}

// Handle takes a *Request, a *ListGroups or a *TopicsDeleted.
func (s *Shard) Handle(t runtime.Ticket, req any, now time.Time) runtime.Effects {
	ev := &event{now: now}
	switch r := req.(type) {
	case *Request:
		s.handleMessage(ev, t, r)
	case *ListGroups:
		ev.reply(t, s.listGroups(r))
	case *TopicsDeleted:
		ev.write(s.topicsDeleted(r)...)
	default:
		s.logger.Error("a request is of a type that groups do not know", "type", fmt.Sprintf("%T", req))
		ev.reply(t, nil)
	}
	return ev.out
}

func (s *Shard) handleMessage(ev *event, t runtime.Ticket, r *Request) {
	switch m := r.Message.(type) {
	case *kmsg.JoinGroupRequest:
		s.joinGroup(ev, t, r, m)
	case *kmsg.SyncGroupRequest:
		s.syncGroup(ev, t, m)
	case *kmsg.HeartbeatRequest:
		ev.reply(t, s.heartbeat(ev, m))
	case *kmsg.ConsumerGroupHeartbeatRequest:
		ev.reply(t, s.consumerGroupHeartbeat(ev, r, m))
	case *kmsg.ConsumerGroupDescribeRequest:
		ev.reply(t, s.describeConsumerGroups(m))
	case *kmsg.LeaveGroupRequest:
		ev.reply(t, s.leaveGroup(ev, m))
	case *kmsg.DescribeGroupsRequest:
		ev.reply(t, s.describeGroups(m))
	case *kmsg.DeleteGroupsRequest:
		ev.reply(t, s.deleteGroups(ev, m))
	case *kmsg.OffsetCommitRequest:
		resp, records := s.offsetCommit(m, ev.now)
		ev.write(records...)
		ev.reply(t, resp)
	case *kmsg.OffsetFetchRequest:
		ev.reply(t, s.offsetFetch(m))
	case *kmsg.OffsetDeleteRequest:
		resp, records := s.offsetDelete(m)
		ev.write(records...)
		ev.reply(t, resp)
	default:
		s.logger.Error("a message is not one that a group gets", "type", fmt.Sprintf("%T", m))
		ev.reply(t, nil)
	}
}

// Due returns when the next member, rebalance or offset expires.
func (s *Shard) Due() time.Time {
	due, expiry := s.timers.due(), s.expiryDue()
	if due.IsZero() || !expiry.IsZero() && expiry.Before(due) {
		return expiry
	}
	return due
}

// tickRecordsMax bounds what one Tick writes, for that has to fit one batch; the rest stays due.
const tickRecordsMax = 500

// Tick lets go off what is due.
func (s *Shard) Tick(now time.Time) runtime.Effects {
	ev := &event{now: now}
	for len(ev.out.Records) < tickRecordsMax {
		key, ok := s.timers.pop(now)
		if !ok {
			break
		}
		before := len(ev.out.Records)
		s.expire(ev, key)
		if _, consumer := s.consumers[key.group]; consumer && len(ev.out.Records) > before {
			break // what is due next of the group is decided once this is replayed
		}
	}
	if due := s.expiryDue(); !due.IsZero() && !due.After(now) {
		ev.write(s.expireOffsets(now)...)
	}
	return ev.out
}

// expire does what a timer is for. The timers of a group are cancelled with what they are for, so
// that the group is always in a state that the timer fits.
func (s *Shard) expire(ev *event, key timerKey) {
	if g, ok := s.consumers[key.group]; ok {
		s.expireConsumer(ev, g, key)
		return
	}
	g, ok := s.groups[key.group]
	if !ok {
		return
	}
	switch key.kind {
	case sessionTimer:
		s.expireSession(ev, g, key.member)
	case joinTimer:
		s.expireJoin(ev, g)
	case syncTimer:
		s.expireSync(ev, g)
	}
}

// Loaded gives the members of all groups a new session. A classic group that is larger than is allowed now
// rebalances, which keeps those who rejoin first.
func (s *Shard) Loaded(now time.Time) runtime.Effects {
	ev := &event{now: now}
	s.loaded = true
	for _, name := range slices.Sorted(maps.Keys(s.groups)) {
		g := s.groups[name]
		for _, m := range g.members {
			g.refreshSession(m, now)
		}
		if limit := s.cfg().MaxSize; len(g.members) > int(limit) {
			s.prepareRebalance(ev, g, fmt.Sprintf("the group was loaded with more members than the %d that are allowed", limit))
		}
	}
	for _, g := range s.consumers {
		s.startSessions(g, ev)
		for _, m := range g.members {
			if m.classic == nil {
				s.watchRevocation(g.name, m, ev)
			}
		}
	}
	return ev.out
}

// newGroup returns a group without members that is not stored. since is the zero time where it is not known.
func (s *Shard) newGroup(name string, since time.Time) *classicGroup {
	return &classicGroup{
		name:        name,
		timers:      &s.timers,
		state:       stateEmpty,
		since:       since,
		byID:        make(map[string]*member),
		static:      make(map[string]string),
		supported:   make(map[string]int),
		pending:     make(map[string]struct{}),
		pendingSync: make(map[string]struct{}),
	}
}

// simpleGroup returns an empty group, not stored, for a commit of a consumer that manages its
// partitions itself to a group that there is not.
func (s *Shard) simpleGroup(name string) *classicGroup {
	g := s.newGroup(name, time.Time{})
	g.absent = true
	return g
}

// ensureGroup stores a simple group where there is none of that name.
func (s *Shard) ensureGroup(name string) {
	if _, ok := s.group(name); !ok {
		s.groups[name] = s.newGroup(name, time.Time{})
	}
}
