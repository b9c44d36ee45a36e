package behaviour

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	long  = 30 * time.Second // a timeout that no case waits for
	short = 1500 * time.Millisecond
)

// A member of a classic group, with a connection of its own: joins and syncs wait for other members.
type member struct {
	*conn
	b        *broker
	group    string
	instance *string // of a static member
	kind     string  // protocol type
	// What it can do, in the order of its preference, and what it tells the leader of each.
	protocols          []string
	metadata           []byte
	session, rebalance time.Duration

	// What the broker said.
	id         string
	generation int32
	protocol   string
	leads      bool
	assignment string
}

// member returns one that has not joined yet.
func (b *broker) member(group string) *member {
	return &member{
		conn: dial(b.T), b: b, group: group, kind: "consumer", protocols: []string{"range"}, metadata: subscription(),
		session: long, rebalance: long, generation: -1,
	}
}

// subscription is the metadata of a consumer of topics.
func subscription(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Topics = topics
	return m.AppendTo(nil)
}

func (m *member) static(instance string) *member   { m.instance = &instance; return m }
func (m *member) does(protocols ...string) *member { m.protocols = protocols; return m }
func (m *member) reads(topics ...string) *member   { m.metadata = subscription(topics...); return m }
func (m *member) within(session, rebalance time.Duration) *member {
	m.session, m.rebalance = session, rebalance
	return m
}

// again is another process with the same settings, which knows nothing.
func (m *member) again() *member {
	other := *m
	other.conn, other.id, other.generation, other.assignment = dial(m.t), "", -1, ""
	return &other
}

func (m *member) joinRequest() *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.InstanceID, req.ProtocolType = m.group, m.id, m.instance, m.kind
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(m.session.Milliseconds()), int32(m.rebalance.Milliseconds())
	for _, name := range m.protocols {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, m.metadata
		req.Protocols = append(req.Protocols, p)
	}
	return req
}

// askID sends the first join of a member, and keeps the id that it is told to come back with.
func (m *member) askID() {
	m.b.Helper()
	resp := ask(m, m.joinRequest())
	m.b.is("joining without an id", resp.ErrorCode, kerr.MemberIDRequired)
	m.id = resp.MemberID
}

// tryJoin joins as a client does: where it is told an id first, it comes back with it.
func (m *member) tryJoin() (*kmsg.JoinGroupResponse, error) {
	resp, err := try(m, m.joinRequest())
	if err == nil && resp.ErrorCode == kerr.MemberIDRequired.Code {
		m.id = resp.MemberID
		resp, err = try(m, m.joinRequest())
	}
	return resp, err
}

// joined takes over what a join brought.
func (m *member) joined(resp *kmsg.JoinGroupResponse) {
	if resp.ErrorCode != 0 {
		return
	}
	m.id, m.generation, m.leads = resp.MemberID, resp.Generation, resp.LeaderID == resp.MemberID
	if resp.Protocol != nil {
		m.protocol = *resp.Protocol
	}
}

// join joins, which must succeed without anything that others do meanwhile.
func (m *member) join() *kmsg.JoinGroupResponse {
	m.b.Helper()
	return m.joining().succeed()
}

// joinRefused joins, which must fail.
func (m *member) joinRefused(want *kerr.Error) {
	m.b.Helper()
	resp, err := m.tryJoin()
	m.b.must("joining", err)
	m.b.is("joining", resp.ErrorCode, want)
}

// A pending is a request that waits at the broker.
type pending[R any] struct {
	b       *broker
	what    string
	answers chan R
	errs    chan error
	taken   func(R)
	code    func(R) int16
}

func begin[R any](m *member, what string, send func() (R, error), taken func(R), code func(R) int16) *pending[R] {
	p := &pending[R]{m.b, what, make(chan R, 1), make(chan error, 1), taken, code}
	go func() {
		resp, err := send()
		if err != nil {
			p.errs <- err
			return
		}
		p.answers <- resp
	}()
	return p
}

// wait returns the answer.
func (p *pending[R]) wait() R {
	p.b.Helper()
	select {
	case resp := <-p.answers:
		p.taken(resp)
		return resp
	case err := <-p.errs:
		p.b.Fatalf("%s: %v", p.what, err)
	case <-time.After(patience):
		p.b.Fatalf("%s: no answer in %v", p.what, patience)
	}
	panic("unreachable")
}

func (p *pending[R]) succeed() R {
	p.b.Helper()
	resp := p.wait()
	p.b.is(p.what, p.code(resp), nil)
	return resp
}

func (p *pending[R]) fail(want *kerr.Error) {
	p.b.Helper()
	p.b.is(p.what, p.code(p.wait()), want)
}

// waits fails the case if the answer is there already.
func (p *pending[R]) waits() {
	p.b.Helper()
	if len(p.answers)+len(p.errs) > 0 {
		p.b.Fatalf("%s: answered too early", p.what)
	}
}

// joining sends a join that others have a part in.
func (m *member) joining() *pending[*kmsg.JoinGroupResponse] {
	return begin(m, "joining", m.tryJoin, m.joined, func(r *kmsg.JoinGroupResponse) int16 { return r.ErrorCode })
}

func (m *member) syncRequest(members ...*member) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.InstanceID, req.Generation = m.group, m.id, m.instance, m.generation
	req.ProtocolType, req.Protocol = &m.kind, &m.protocol
	for _, other := range members {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = other.id, []byte(other.part())
		req.GroupAssignment = append(req.GroupAssignment, a)
	}
	return req
}

// part is what a leader of the suite assigns to a member.
func (m *member) part() string { return fmt.Sprintf("part of %s in %d", m.id, m.generation) }

func (m *member) synced(resp *kmsg.SyncGroupResponse) { m.assignment = string(resp.MemberAssignment) }

// syncing sends a sync, with assignments for those of which it is the leader.
func (m *member) syncing(members ...*member) *pending[*kmsg.SyncGroupResponse] {
	req := m.syncRequest(members...)
	send := func() (*kmsg.SyncGroupResponse, error) { return try(m, req) }
	return begin(m, "syncing", send, m.synced, func(r *kmsg.SyncGroupResponse) int16 { return r.ErrorCode })
}

func (m *member) sync(members ...*member) *kmsg.SyncGroupResponse {
	m.b.Helper()
	return m.syncing(members...).succeed()
}

func (m *member) heartbeat() int16 {
	m.b.Helper()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.InstanceID, req.Generation = m.group, m.id, m.instance, m.generation
	return ask(m, req).ErrorCode
}

// alive, told and gone are what a heartbeat says of a member: that all is well, to rejoin, that it is none.
func (m *member) alive() { m.b.Helper(); m.b.is("a heartbeat", m.heartbeat(), nil) }
func (m *member) gone()  { m.b.Helper(); m.b.is("a heartbeat", m.heartbeat(), kerr.UnknownMemberID) }
func (m *member) told() {
	m.b.Helper()
	m.b.until("a heartbeat tells of a rebalance", func() bool {
		code := m.heartbeat()
		if code != 0 {
			m.b.is("a heartbeat", code, kerr.RebalanceInProgress)
		}
		return code != 0
	})
}

// leave leaves the group and returns the answer for this member.
func (m *member) leave() int16 {
	m.b.Helper()
	resp := m.b.leaveGroup(m.group, leaver(m.id, m.instance))
	m.b.is("leaving", resp.ErrorCode, nil)
	return only(m.b, resp.Members).ErrorCode
}

func leaver(id string, instance *string) kmsg.LeaveGroupRequestMember {
	l := kmsg.NewLeaveGroupRequestMember()
	l.MemberID, l.InstanceID = id, instance
	return l
}

func (b *broker) leaveGroup(group string, members ...kmsg.LeaveGroupRequestMember) *kmsg.LeaveGroupResponse {
	b.Helper()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.Members = group, members
	return ask(b, req)
}

// describeGroup returns a group; one that is not there is Dead, with an error.
func (b *broker) describeGroup(group string) kmsg.DescribeGroupsResponseGroup {
	b.Helper()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{group}
	return only(b, ask(b, req).Groups)
}

func (b *broker) state(group string) string { b.Helper(); return b.describeGroup(group).State }

// inState waits until a group is in a state.
func (b *broker) inState(group, state string) {
	b.Helper()
	b.until("the group is "+state, func() bool { return b.state(group) == state })
}

// sized waits until a group has so many members.
func (b *broker) sized(group string, n int) {
	b.Helper()
	b.until(fmt.Sprintf("the group has %d members", n), func() bool { return len(b.describeGroup(group).Members) == n })
}

// coordinated waits until the coordinator of a group serves: the first group makes its topic.
func (b *broker) coordinated(group string) {
	b.Helper()
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = []string{group}
	b.until("there is a coordinator", func() bool {
		return only(b, ask(b, find).Coordinators).ErrorCode == 0 && b.describeGroup(group).ErrorCode == kerr.GroupIDNotFound.Code
	})
}

// newGroup returns the name of a group whose coordinator serves.
func (b *broker) newGroup() string {
	b.Helper()
	group := b.name()
	b.coordinated(group)
	return group
}

// members returns n members to be of one new group. It has a committed offset: a group without one is forgotten whenever
// it has no members, though one that was told its id may be about to join.
func (b *broker) members(n int) []*member {
	b.Helper()
	group := b.newGroup()
	b.is("committing", b.commit(group, offsetsTopic, 0), nil)
	var all []*member
	for range n {
		all = append(all, b.member(group))
	}
	return all
}

// settle makes members a stable group of their own, led by the first.
func (b *broker) settle(members ...*member) {
	b.Helper()
	first := members[0]
	first.join()
	if len(members) > 1 {
		b.gather(members[:1], members[1:])
	}
	same(b, "the first leads", first.leads, true)
	b.share(members...)
}

// gather lets newcomers join those who are members already, all in one generation.
func (b *broker) gather(old, newcomers []*member) {
	b.Helper()
	var joins []*pending[*kmsg.JoinGroupResponse]
	for _, m := range newcomers {
		joins = append(joins, m.joining())
	}
	b.sized(newcomers[0].group, len(old)+len(newcomers))
	for _, m := range old {
		m.told()
		joins = append(joins, m.joining())
	}
	for _, j := range joins {
		j.succeed()
	}
}

// share gives each of the members, of whom one leads, its part.
func (b *broker) share(members ...*member) {
	b.Helper()
	for _, leads := range []bool{true, false} {
		for _, m := range members {
			if m.leads != leads {
				continue
			}
			if leads {
				m.sync(members...)
			} else {
				m.sync()
			}
			same(b, "the assignment", m.assignment, m.part())
		}
	}
}
