package group

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// rebalance begins a rebalance, or ends the one that runs where everybody has joined.
func (s *Shard) rebalance(ev *event, g *classicGroup, reason string) {
	if g.state == statePreparingRebalance {
		s.completeIfJoined(ev, g)
		return
	}
	s.prepareRebalance(ev, g, reason)
}

// completeIfJoined ends a rebalance where everybody has joined. The first one of a group that was
// empty lasts for its delay.
func (s *Shard) completeIfJoined(ev *event, g *classicGroup) {
	if g.state == statePreparingRebalance && g.initial == nil && g.allJoined() {
		s.completeJoin(ev, g)
	}
}

// prepareRebalance begins a rebalance: all members have to join again.
func (s *Shard) prepareRebalance(ev *event, g *classicGroup, reason string) {
	s.logger.Info("a group rebalances", "group", g.name, "generation", g.generation, "state", g.state, "reason", reason, "members", len(g.members))
	if g.state == stateCompletingRebalance {
		for _, m := range g.members {
			m.assignment = nil
			if m.sync != nil {
				ev.refuseSync(m.sync, kerr.RebalanceInProgress)
				m.sync = nil
				g.refreshSession(m, ev.now)
			}
		}
	}
	clear(g.pendingSync)
	g.timers.cancel(g.syncKey())
	wasEmpty := g.state == stateEmpty
	g.transition(statePreparingRebalance, ev.now)
	switch {
	case wasEmpty:
		delay := s.cfg().InitialRebalanceDelayMs
		g.initial = &initialDelay{delayMs: delay, remainingMs: max(g.rebalanceTimeoutMs()-delay, 0)}
		g.timers.schedule(g.joinKey(), ev.now, int64(delay))
	case g.allJoined():
		s.completeJoin(ev, g)
	default:
		g.timers.schedule(g.joinKey(), ev.now, int64(g.rebalanceTimeoutMs()))
	}
}

// expireJoin ends a rebalance, but where it is the first one and somebody joined of late.
func (s *Shard) expireJoin(ev *event, g *classicGroup) {
	d := g.initial
	if d == nil || !d.extended || d.remainingMs == 0 {
		s.completeJoin(ev, g)
		return
	}
	next := min(s.cfg().InitialRebalanceDelayMs, d.remainingMs)
	g.initial = &initialDelay{delayMs: next, remainingMs: max(d.remainingMs-d.delayMs, 0)}
	g.timers.schedule(g.joinKey(), ev.now, int64(next))
}

// completeJoin ends a rebalance with those who have joined: they make the next generation. Static
// members stay though they have not, until their session ends.
func (s *Shard) completeJoin(ev *event, g *classicGroup) {
	g.timers.cancel(g.joinKey())
	for _, m := range slices.Clone(g.members) {
		if m.join == nil && m.instanceID == nil {
			g.drop(m)
		}
	}
	if len(g.members) > 0 && !g.electJoinedLeader() {
		g.timers.schedule(g.joinKey(), ev.now, int64(g.rebalanceTimeoutMs()))
		return
	}
	g.nextGeneration(ev.now)
	if g.state == stateEmpty {
		ev.write(groupRecord(g, nil))
		return
	}
	for _, m := range g.members {
		if m.join != nil {
			ev.reply(m.join.ticket, joinResponse(g, m, m.join.version))
			g.setJoin(m, nil)
		}
		m.isNew = false
		g.refreshSession(m, ev.now)
		g.pendingSync[m.id] = struct{}{}
	}
	g.timers.schedule(g.syncKey(), ev.now, int64(g.rebalanceTimeoutMs()))
}

// expireSession removes a member that was not heard of. One that waits for an answer is not
// expected to be heard of, but for one that is new.
func (s *Shard) expireSession(ev *event, g *classicGroup, id string) {
	if _, ok := g.pending[id]; ok {
		g.dropPending(id)
		s.completeIfJoined(ev, g)
		return
	}
	m := g.byID[id]
	if m == nil || !m.isNew && (m.join != nil || m.sync != nil) {
		return
	}
	silent := time.Duration(m.sessionTimeoutMs) * time.Millisecond
	s.removeMember(ev, g, m)
	s.afterRemoval(ev, g, fmt.Sprintf("the session of member %s ended after %v", id, silent))
}

// removeMember removes a member. Who waits for an answer in its name is told that it is unknown.
func (s *Shard) removeMember(ev *event, g *classicGroup, m *member) {
	if m.join != nil {
		ev.refuseJoin(m.join, "", kerr.UnknownMemberID)
		g.setJoin(m, nil)
	}
	if m.sync != nil {
		ev.refuseSync(m.sync, kerr.UnknownMemberID)
		m.sync = nil
	}
	g.drop(m)
}

// afterRemoval lets the others go on without members that were removed.
func (s *Shard) afterRemoval(ev *event, g *classicGroup, reason string) {
	switch g.state {
	case stateStable, stateCompletingRebalance:
		s.prepareRebalance(ev, g, reason)
	case statePreparingRebalance:
		s.completeIfJoined(ev, g)
	}
}
