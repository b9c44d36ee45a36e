package group

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaveConsumer lets a member go. A static one may say that it will come back: it keeps its partitions until then, or
// until its session ends.
func (s *Shard) leaveConsumer(ev *event, h *consumerHeartbeat) (*kmsg.ConsumerGroupHeartbeatResponse, error) {
	g := s.consumers[h.Group]
	if g == nil {
		return nil, refuse(kerr.GroupIDNotFound, s.notConsumer(h.Group))
	}
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.MemberID, resp.MemberEpoch = &h.MemberID, h.MemberEpoch
	m := g.members[h.MemberID]
	if h.InstanceID != nil {
		m = g.staticMember(h.InstanceID)
		if err := checkInstance(m, h.MemberID, *h.InstanceID); err != nil {
			return nil, err
		}
	}
	switch {
	case m == nil:
		return nil, refuse(kerr.UnknownMemberID, fmt.Sprintf("Member %s is not a member of group %s.", h.MemberID, g.name))
	case h.MemberEpoch == epochLeaveStatic:
		left := *m
		left.epoch, left.revoking = epochLeaveStatic, nil
		ev.write(g.currentRecord(&left))
		ev.after(func() { s.watchRevocation(g.name, &left, ev) })
	default:
		s.fence(ev, g, []*consumerMember{m}, fmt.Sprintf("member %s left", m.id))
	}
	return resp, nil
}

// notConsumer says why a name is no consumer group's.
func (s *Shard) notConsumer(name string) string {
	if s.groups[name] != nil {
		return fmt.Sprintf("Group %s is not a consumer group.", name)
	}
	return fmt.Sprintf("Group %s not found.", name)
}

// fence removes members, whose partitions are free from then on. Where those who stay all speak the classic
// protocol, the group becomes a classic one again. Java: consumerGroupFenceMembers.
func (s *Shard) fence(ev *event, g *consumerGroup, members []*consumerMember, reason string) {
	c := &groupChange{group: g, gone: make(map[string]bool)}
	for _, m := range members {
		c.gone[m.id] = true
	}
	if s.downgrades(c, members) {
		s.downgrade(ev, c, reason)
		return
	}
	for _, m := range members {
		ev.write(g.memberTombstones(m.id)...)
	}
	_, regexes := c.counted()
	for pattern := range g.resolved {
		if regexes[pattern] == 0 && g.regexes[pattern] > 0 {
			ev.write(g.record(regexKeyVersion, pattern, nil))
		}
	}
	s.bump(ev, g, s.metadataHash(c.topicNames()), reason)
}

// expireRetryMs is when a member that should go is tried again, where that could not be written.
const expireRetryMs = 500

// expireConsumer lets go off a timer of a consumer group.
func (s *Shard) expireConsumer(ev *event, g *consumerGroup, key timerKey) {
	if key.kind == regexTimer {
		s.expireRegex(ev, g)
		return
	}
	m := g.members[key.member]
	if m == nil {
		return
	}
	// The member is there until its tombstones are written, which cancels this.
	s.timers.schedule(key, ev.now, expireRetryMs)
	because := map[timerKind]string{
		sessionTimer:    "its session ended",
		revocationTimer: fmt.Sprintf("it did not give up partitions within %d ms", m.rebalanceTimeoutMs),
		joinTimer:       "it did not join again in time",
		syncTimer:       "it did not sync in time",
	}[key.kind]
	s.fence(ev, g, []*consumerMember{m}, fmt.Sprintf("member %s is removed: %s", m.id, because))
}

// removeConsumerGroup forgets a group and its timers.
func (s *Shard) removeConsumerGroup(g *consumerGroup) {
	for id := range g.members {
		s.cancelMemberTimers(g.name, id)
	}
	s.timers.cancel(regexTimerKey(g.name))
	delete(s.consumers, g.name)
}

func (s *Shard) cancelMemberTimers(group, member string) {
	for _, kind := range []timerKind{sessionTimer, revocationTimer, joinTimer, syncTimer} {
		s.timers.cancel(timerKey{kind: kind, group: group, member: member})
	}
}

func revocationKey(group, member string) timerKey {
	return timerKey{kind: revocationTimer, group: group, member: member}
}
