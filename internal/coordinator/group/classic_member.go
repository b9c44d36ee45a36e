package group

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
)

// A member of a consumer group may speak the classic protocol: a group moves from one to the other member by member.
// Such a member is led through the same steps. What it may have it gets with SyncGroup, its generation is its epoch, and
// where it is to give up partitions, or can get more, its heartbeat is told to join again, with what it has
// in its subscription.

// joinConsumerGroup takes in a member that speaks the classic protocol. Java: classicGroupJoinToConsumerGroup.
func (s *Shard) joinConsumerGroup(ev *event, g *consumerGroup, j *joinRequest) {
	id := j.MemberID
	if id == "" {
		id = s.newID()
	}
	c := &groupChange{group: g}
	subscription, err := s.checkClassicJoin(g, j, id)
	if err != nil {
		ev.refuseJoin(j.waiter(), "", err)
		return
	}
	if j.MemberID == "" && j.Version >= 4 && j.InstanceID == nil {
		ev.refuseJoin(j.waiter(), id, kerr.MemberIDRequired)
		return
	}
	have := g.staticMember(j.InstanceID)
	before := g.members[id]
	switch {
	case have != nil && j.MemberID == "":
		before = c.replace(ev, have, id)
	case have != nil && have.id != id:
		ev.refuseJoin(j.waiter(), "", kerr.FencedInstanceID)
		return
	case j.InstanceID != nil && have == nil && j.MemberID != "":
		ev.refuseJoin(j.waiter(), "", kerr.UnknownMemberID)
		return
	case before == nil:
		before = newConsumerMember(id)
	}
	s.joinClassicMember(ev, c, j, before, subscription, have)
}

// checkClassicJoin refuses who does not fit the group, and reads the subscription of who does.
func (s *Shard) checkClassicJoin(g *consumerGroup, j *joinRequest, id string) (*kmsg.ConsumerMemberMetadata, error) {
	switch limit := s.cfg().ConsumerMaxSize; {
	case s.migrationPolicy() == migrateDisabled:
		return nil, kerr.InconsistentGroupProtocol
	case len(g.members) >= int(limit) && g.members[id] == nil:
		return nil, kerr.GroupMaxSizeReached
	case !g.supports(j.ProtocolType, j.Protocols):
		return nil, kerr.InconsistentGroupProtocol
	}
	subscription, err := readSubscription(j.Protocols[0].Metadata)
	if err != nil {
		return nil, kerr.InconsistentGroupProtocol
	}
	return subscription, nil
}

// supports tells whether a member of the classic protocol has a protocol in common with all others of it.
func (g *consumerGroup) supports(protocolType string, protocols []kmsg.JoinGroupRequestProtocol) bool {
	if protocolType != consumerProtocolType {
		return false
	}
	return slices.ContainsFunc(protocols, func(p kmsg.JoinGroupRequestProtocol) bool {
		for _, m := range g.members {
			if m.classic != nil && !slices.ContainsFunc(m.classic.protocols, func(q kmsg.JoinGroupRequestProtocol) bool { return p.Name == q.Name }) {
				return false
			}
		}
		return true
	})
}

// joinClassicMember takes the joining member a step on. Where it takes the place of the last member of the
// consumer protocol, the group becomes a classic one.
func (s *Shard) joinClassicMember(ev *event, c *groupChange, j *joinRequest, before *consumerMember, subscription *kmsg.ConsumerMemberMetadata, static *consumerMember) {
	g := c.group
	downgrade := false
	if static != nil {
		with := *c
		with.member = before
		downgrade = s.downgrades(&with, []*consumerMember{static})
	}
	c.member = joined(before, j, subscription)
	changed, bump, reason, err := s.changeSubscription(ev, c, before)
	if err != nil {
		ev.refuseJoin(j.waiter(), "", err)
		return
	}
	epoch := s.follow(ev, c, bump, reason)
	m := c.member
	if !downgrade || !changed {
		m = s.reconcile(ev, c, epoch, changed, namedPartitions(s.image(), subscription.OwnedPartitions))
	}
	resp := newJoinResponse(j.Version)
	resp.MemberID, resp.Generation = m.id, m.epoch
	resp.ProtocolType, resp.Protocol = kmsg.StringPtr(consumerProtocolType), &m.classic.protocols[0].Name
	ev.reply(j.ticket, resp)
	if downgrade {
		c.member = m
		s.downgrade(ev, c, reason)
		return
	}
	ev.after(func() {
		s.timers.cancel(classicTimerKey(joinTimer, g.name, m.id))
		s.timers.schedule(sessionKey(g.name, m.id), ev.now, int64(j.SessionTimeoutMillis))
		s.timers.schedule(classicTimerKey(syncTimer, g.name, m.id), ev.now, int64(j.rebalanceTimeoutMs))
	})
}

// joined returns the member with what its join says of it.
func joined(m *consumerMember, j *joinRequest, subscription *kmsg.ConsumerMemberMetadata) *consumerMember {
	next := *m
	next.clientID, next.clientHost = j.client.ClientID, j.client.ClientHost
	if j.InstanceID != nil {
		next.instanceID = j.InstanceID
	}
	if subscription.Rack != nil {
		next.rackID = subscription.Rack
	}
	if j.rebalanceTimeoutMs != -1 {
		next.rebalanceTimeoutMs = j.rebalanceTimeoutMs
	}
	next.topics = withoutDuplicates(subscription.Topics)
	next.regex = ""
	next.classic = &classicMetadata{sessionTimeoutMs: j.SessionTimeoutMillis, protocols: j.protocols()}
	return &next
}

// classicTimerKey is of a timer of one member, where a classic group has one for all.
func classicTimerKey(kind timerKind, group, member string) timerKey {
	return timerKey{kind: kind, group: group, member: member}
}

// classicMember returns the member that a request of the classic protocol is of.
func (g *consumerGroup) classicMember(id string, instanceID *string, generation int32) (*consumerMember, error) {
	m := g.members[id]
	if instanceID != nil {
		m = g.staticMember(instanceID)
		if m != nil && m.id != id {
			return nil, kerr.FencedInstanceID
		}
	}
	switch {
	case m == nil || m.classic == nil:
		return nil, kerr.UnknownMemberID
	case m.epoch != generation:
		return nil, kerr.IllegalGeneration
	}
	return m, nil
}

// syncConsumerGroup tells a member what it has.
func (s *Shard) syncConsumerGroup(ev *event, g *consumerGroup, w *waiter, r *kmsg.SyncGroupRequest) {
	m, err := g.classicMember(r.MemberID, r.InstanceID, r.Generation)
	switch {
	case err != nil:
	case r.ProtocolType != nil && *r.ProtocolType != consumerProtocolType,
		r.Protocol != nil && *r.Protocol != m.classic.protocols[0].Name:
		err = kerr.InconsistentGroupProtocol
	case g.epoch > m.epoch && m.state != memberUnrevoked:
		s.awaitJoin(g, m, ev)
		err = kerr.RebalanceInProgress
	}
	if err != nil {
		ev.refuseSync(w, err)
		return
	}
	s.timers.cancel(classicTimerKey(syncTimer, g.name, m.id))
	s.timers.schedule(sessionKey(g.name, m.id), ev.now, int64(m.classic.sessionTimeoutMs))
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version = w.version
	resp.ProtocolType, resp.Protocol, resp.MemberAssignment = r.ProtocolType, r.Protocol, s.classicAssignment(m, m.assigned)
	ev.reply(w.ticket, resp)
}

// awaitJoin lets a member go that does not join again in its rebalance timeout.
func (s *Shard) awaitJoin(g *consumerGroup, m *consumerMember, ev *event) {
	if key := classicTimerKey(joinTimer, g.name, m.id); !s.timers.has(key) {
		s.timers.schedule(key, ev.now, int64(m.rebalanceTimeoutMs))
	}
}

// beatClassicMember lets the session of a member go on, and tells it where it has to join again: there is another epoch,
// it has to give up partitions, or those that it waited for are free.
func (s *Shard) beatClassicMember(ev *event, g *consumerGroup, r *kmsg.HeartbeatRequest) error {
	m, err := g.classicMember(r.MemberID, r.InstanceID, r.Generation)
	if err != nil {
		return err
	}
	s.timers.schedule(sessionKey(g.name, m.id), ev.now, int64(m.classic.sessionTimeoutMs))
	if m.epoch >= g.epoch && m.state != memberUnrevoked && !(m.state == memberUnreleased && g.released(m)) {
		return nil
	}
	s.awaitJoin(g, m, ev)
	return kerr.RebalanceInProgress
}

// released tells whether nobody has the partitions of a member's target any more that it waits for.
func (g *consumerGroup) released(m *consumerMember) bool {
	held, _ := g.target[m.id].split(func(topic ids.TopicID, p int32) bool {
		return !m.assigned.topic(topic).has(p) && !g.free(topic, p)
	})
	return len(held) == 0
}

// leaveMembers removes members of whichever protocol by LeaveGroup, and gives an error, or nil, for each.
func (s *Shard) leaveMembers(ev *event, g *consumerGroup, leaving []kmsg.LeaveGroupRequestMember) []error {
	errs := make([]error, len(leaving))
	var gone []*consumerMember
	for i := range leaving {
		m, err := g.whoLeaves(&leaving[i])
		if errs[i] = err; err != nil {
			continue
		}
		if !slices.Contains(gone, m) {
			gone = append(gone, m)
		}
	}
	if len(gone) > 0 {
		s.fence(ev, g, gone, fmt.Sprintf("member %s left, %d in all; client reason: %s", gone[0].id, len(gone), clientReason(leaving[0].Reason)))
	}
	return errs
}

func (g *consumerGroup) whoLeaves(leaving *kmsg.LeaveGroupRequestMember) (*consumerMember, error) {
	m := g.members[leaving.MemberID]
	if leaving.InstanceID != nil {
		m = g.staticMember(leaving.InstanceID)
		if m != nil && leaving.MemberID != "" && m.id != leaving.MemberID {
			return nil, kerr.FencedInstanceID
		}
	}
	if m == nil {
		return nil, kerr.UnknownMemberID
	}
	return m, nil
}
