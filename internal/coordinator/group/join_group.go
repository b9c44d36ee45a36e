package group

import (
	"bytes"
	"errors"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
)

// newMemberJoinTimeoutMs bounds the wait of a member that does not know its id yet: it cannot send
// heartbeats, and if it gave up it comes again as another one.
const newMemberJoinTimeoutMs = 5 * 60 * 1000

// joinRequest is a JoinGroup that is being decided.
type joinRequest struct {
	*kmsg.JoinGroupRequest
	ticket             runtime.Ticket
	client             *Request
	rebalanceTimeoutMs int32
}

func (j *joinRequest) waiter() *waiter { return &waiter{ticket: j.ticket, version: j.Version} }

// protocols returns a copy, as members outlive the requests that they came with.
func (j *joinRequest) protocols() []kmsg.JoinGroupRequestProtocol {
	protocols := slices.Clone(j.Protocols)
	for i := range protocols {
		protocols[i].Metadata = bytes.Clone(protocols[i].Metadata)
	}
	return protocols
}

// reason is what the client says why it joins (KIP-800).
func (j *joinRequest) reason() string { return clientReason(j.Reason) }

func clientReason(reason *string) string {
	const lengthMax = 255 // what Java clients cut it to
	if reason == nil || *reason == "" {
		return "not provided"
	}
	return (*reason)[:min(len(*reason), lengthMax)]
}

// fitsRecord tells whether the strings that go into records, the member id that is made of some too, have
// lengths of 16 bits. From version 6 on a request may have longer ones.
func (j *joinRequest) fitsRecord() bool {
	const lengthMax = math.MaxInt16 - len("-") - 36 // a UUID has 36 characters
	fits := len(j.Group) <= lengthMax && len(j.ProtocolType) <= lengthMax && len(j.client.ClientID) <= lengthMax &&
		(j.InstanceID == nil || len(*j.InstanceID) <= lengthMax)
	return fits && !slices.ContainsFunc(j.Protocols, func(p kmsg.JoinGroupRequestProtocol) bool { return len(p.Name) > lengthMax })
}

// joinGroup: v0-v9
//
//	v1 rebalance timeout (KIP-62); v4 members without an id are given one first (KIP-394); v5 static members
//	(KIP-345); v7 protocol type; v8 reason (KIP-800); v9 SkipAssignment (KIP-814)
func (s *Shard) joinGroup(ev *event, t runtime.Ticket, r *Request, m *kmsg.JoinGroupRequest) {
	cfg := s.cfg()
	j := &joinRequest{JoinGroupRequest: m, ticket: t, client: r, rebalanceTimeoutMs: m.RebalanceTimeoutMillis}
	if m.Version == 0 {
		j.rebalanceTimeoutMs = m.SessionTimeoutMillis
	}
	g, exists := s.groups[m.Group]
	consumer := s.consumers[m.Group]
	switch {
	case m.Group == "":
		ev.refuseJoin(j.waiter(), m.MemberID, kerr.InvalidGroupID)
		return
	case !j.fitsRecord():
		ev.refuseJoin(j.waiter(), m.MemberID, kerr.InvalidRequest)
		return
	case m.SessionTimeoutMillis < cfg.MinSessionTimeoutMs || m.SessionTimeoutMillis > cfg.MaxSessionTimeoutMs:
		ev.refuseJoin(j.waiter(), m.MemberID, kerr.InvalidSessionTimeout)
		return
	case consumer != nil && !consumer.isEmpty():
		s.joinConsumerGroup(ev, consumer, j)
		return
	case !exists && m.MemberID != "":
		ev.refuseJoin(j.waiter(), m.MemberID, kerr.UnknownMemberID)
		return
	case !exists:
		g = s.newGroup(m.Group, ev.now)
		s.groups[m.Group] = g
	}
	before := 0
	if consumer != nil { // nobody is in it
		ev.write(consumer.tombstones()...)
		before = len(ev.out.Records)
	}
	switch {
	case !g.hasRoomFor(m.MemberID, int(cfg.MaxSize)):
		s.forget(g, m.MemberID)
		ev.refuseJoin(j.waiter(), "", kerr.GroupMaxSizeReached)
	case m.MemberID == "":
		s.joinNew(ev, g, j)
	default:
		s.joinKnown(ev, g, j)
	}
	if !exists && len(ev.out.Records) == before {
		ev.write(newGroupRecord(g))
	}
}

// hasRoomFor tells whether a group takes in a member. While it rebalances those count who have
// rejoined: a group that has become too large keeps the first of them.
func (g *classicGroup) hasRoomFor(memberID string, maxSize int) bool {
	m := g.byID[memberID]
	switch g.state {
	case statePreparingRebalance:
		return m != nil && m.join != nil || g.joining < maxSize
	case stateCompletingRebalance, stateStable:
		return m != nil || len(g.members) < maxSize
	default:
		return true
	}
}

// forget removes a member, or an id that was given out, that does not wait for anything.
func (s *Shard) forget(g *classicGroup, memberID string) {
	if m := g.byID[memberID]; m != nil {
		g.drop(m)
	}
	g.dropPending(memberID)
}

func (g *classicGroup) dropPending(memberID string) {
	if _, ok := g.pending[memberID]; ok {
		delete(g.pending, memberID)
		g.timers.cancel(sessionKey(g.name, memberID))
	}
}

// joinNew takes in who has no member id yet.
func (s *Shard) joinNew(ev *event, g *classicGroup, j *joinRequest) {
	if !g.supports(j.ProtocolType, j.Protocols) {
		ev.refuseJoin(j.waiter(), "", kerr.InconsistentGroupProtocol)
		return
	}
	if j.InstanceID != nil {
		id := *j.InstanceID + "-" + s.newID()
		if old, ok := g.static[*j.InstanceID]; ok {
			s.replaceStatic(ev, g, g.byID[old], id, j)
			return
		}
		s.addMember(ev, g, id, j)
		return
	}
	id := j.client.ClientID + "-" + s.newID()
	if j.Version < 4 {
		s.addMember(ev, g, id, j)
		return
	}
	g.pending[id] = struct{}{}
	g.timers.schedule(sessionKey(g.name, id), ev.now, int64(j.SessionTimeoutMillis))
	ev.refuseJoin(j.waiter(), id, kerr.MemberIDRequired)
}

// joinKnown takes in who has a member id.
func (s *Shard) joinKnown(ev *event, g *classicGroup, j *joinRequest) {
	if !g.supports(j.ProtocolType, j.Protocols) {
		ev.refuseJoin(j.waiter(), j.MemberID, kerr.InconsistentGroupProtocol)
		return
	}
	if _, ok := g.pending[j.MemberID]; ok {
		if j.InstanceID != nil {
			ev.refuseJoin(j.waiter(), j.MemberID, kerr.UnknownServerError) // static members are never pending
			return
		}
		s.addMember(ev, g, j.MemberID, j)
		return
	}
	if err := g.checkMember(j.MemberID, j.InstanceID); err != nil {
		ev.refuseJoin(j.waiter(), j.MemberID, err)
		return
	}
	m := g.byID[j.MemberID]
	switch {
	case g.state == statePreparingRebalance:
		s.rejoin(ev, g, m, j, "member "+m.id+" joined; client reason: "+j.reason())
	case g.state == stateStable && g.leader == m.id:
		s.rejoin(ev, g, m, j, "leader "+m.id+" joined again; client reason: "+j.reason())
	case !m.matches(j.Protocols):
		s.rejoin(ev, g, m, j, "member "+m.id+" joined with other metadata; client reason: "+j.reason())
	default:
		// A follower of a stable group that is behind, or a member that has not received the answer to
		// its join: the generation is good for it.
		ev.reply(j.ticket, joinResponse(g, m, j.Version))
	}
}

// addMember takes in a new member, for which the group rebalances.
func (s *Shard) addMember(ev *event, g *classicGroup, id string, j *joinRequest) {
	if g.initial != nil {
		g.initial.extended = true
	}
	m := &member{
		id:                 id,
		instanceID:         j.InstanceID,
		clientID:           j.client.ClientID,
		clientHost:         j.client.ClientHost,
		rebalanceTimeoutMs: j.rebalanceTimeoutMs,
		sessionTimeoutMs:   j.SessionTimeoutMillis,
		protocols:          j.protocols(),
		isNew:              true,
	}
	g.add(m, j.ProtocolType)
	g.setJoin(m, j.waiter())
	g.timers.schedule(sessionKey(g.name, id), ev.now, newMemberJoinTimeoutMs)
	s.rebalance(ev, g, "member "+id+" is new; client reason: "+j.reason())
}

// rejoin has a member wait for the end of a rebalance.
func (s *Shard) rejoin(ev *event, g *classicGroup, m *member, j *joinRequest, reason string) {
	g.update(m, j)
	if m.join != nil {
		ev.refuseJoin(m.join, m.id, kerr.RebalanceInProgress) // its client gave it up and joins again
	}
	g.setJoin(m, j.waiter())
	s.rebalance(ev, g, reason)
}

// replaceStatic gives the place of a static member to its next run, which does not know its member
// id. A stable group need not rebalance where the elected protocol stays; its record names the new id, and
// the old one holds until that is written.
func (s *Shard) replaceStatic(ev *event, g *classicGroup, old *member, id string, j *joinRequest) {
	if g.state == stateStable && g.keepsProtocol(old, j) {
		s.replaceStable(ev, g, old, id, j)
		return
	}
	if old.join != nil {
		ev.refuseJoin(old.join, old.id, kerr.FencedInstanceID)
	}
	if old.sync != nil {
		ev.refuseSync(old.sync, kerr.FencedInstanceID)
		old.sync = nil
	}
	g.rename(old, id)
	g.update(old, j)
	g.setJoin(old, j.waiter())
	g.refreshSession(old, ev.now)
	// In CompletingRebalance the leader may have been told of the old id, and would assign to it.
	s.rebalance(ev, g, "static member "+id+" came back; client reason: "+j.reason())
}

// keepsProtocol tells whether the group would elect the same protocol with what m says now.
func (g *classicGroup) keepsProtocol(m *member, j *joinRequest) bool {
	others := slices.Clone(g.members)
	others[slices.Index(others, m)] = &member{protocols: j.Protocols}
	common := func(name string) bool {
		has := func(p kmsg.JoinGroupRequestProtocol) bool { return p.Name == name }
		n := g.supported[name]
		if slices.ContainsFunc(m.protocols, has) {
			n--
		}
		return n == len(others)-1 && slices.ContainsFunc(j.Protocols, has)
	}
	elected := selectProtocol(others, common)
	return elected != nil && g.protocol != nil && *elected == *g.protocol
}

// replaceStable writes the generation with the new id of a static member. Replay renames the member.
func (s *Shard) replaceStable(ev *event, g *classicGroup, old *member, id string, j *joinRequest) {
	renamed := *old
	renamed.id, renamed.protocols = id, j.protocols()
	renamed.rebalanceTimeoutMs, renamed.sessionTimeoutMs = j.rebalanceTimeoutMs, j.SessionTimeoutMillis
	written := *g
	written.members = slices.Clone(g.members)
	written.members[slices.Index(g.members, old)] = &renamed
	leads := g.leader == old.id
	if leads {
		written.leader = id
	}
	ev.write(groupRecord(&written, func(m *member) []byte { return m.assignment }))

	resp := joinResponse(&written, &renamed, j.Version)
	if j.Version >= 9 {
		resp.SkipAssignment = leads
	} else {
		// Before KIP-814 a leader could not be told that nothing is to be assigned. It gets its old id as the
		// leader's, and takes itself for a follower.
		resp.LeaderID, resp.Members = g.leader, nil
	}
	ev.reply(j.ticket, resp)
	ev.out.Applied = func() {
		g.update(old, j)
		g.refreshSession(old, ev.now)
	}
}

// joinResponse answers a join with the generation that there is. The leader is told of all members.
func joinResponse(g *classicGroup, m *member, version int16) *kmsg.JoinGroupResponse {
	resp := newJoinResponse(version)
	resp.Generation = g.generation
	resp.ProtocolType, resp.Protocol = kmsg.StringPtr(g.typ), g.protocol
	resp.LeaderID, resp.MemberID = g.leader, m.id
	if g.leader != m.id {
		return resp
	}
	resp.Members = make([]kmsg.JoinGroupResponseMember, len(g.members))
	for i, other := range g.members {
		resp.Members[i].Default()
		resp.Members[i].MemberID = other.id
		resp.Members[i].InstanceID = other.instanceID
		resp.Members[i].ProtocolMetadata = other.metadata(g.protocol)
	}
	return resp
}

// newJoinResponse returns a response without a generation. Its protocol is null from version 7 on,
// and empty before.
func newJoinResponse(version int16) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version = version
	if version < 7 {
		resp.Protocol = kmsg.StringPtr("")
	}
	return resp
}

func (ev *event) refuseJoin(w *waiter, memberID string, err error) {
	resp := newJoinResponse(w.version)
	resp.MemberID, resp.ErrorCode = memberID, errorCode(err)
	ev.reply(w.ticket, resp)
}

// errorCode returns the code of an error of kerr, and 0 of nil.
func errorCode(err error) int16 {
	if err == nil {
		return 0
	}
	if e := (*kerr.Error)(nil); errors.As(err, &e) {
		return e.Code
	}
	return kerr.UnknownServerError.Code
}
