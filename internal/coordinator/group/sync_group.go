package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
)

// syncGroup: v0-v5
//
//	v3 static members (KIP-345); v5 protocol type and name
func (s *Shard) syncGroup(ev *event, t runtime.Ticket, m *kmsg.SyncGroupRequest) {
	w := &waiter{ticket: t, version: m.Version}
	if g, ok := s.consumers[m.Group]; ok {
		s.syncConsumerGroup(ev, g, w, m)
		return
	}
	g := s.groups[m.Group]
	if err := g.checkSync(m); err != nil {
		ev.refuseSync(w, err)
		return
	}
	from := g.byID[m.MemberID]
	if g.state == stateStable {
		g.synced(from)
		ev.reply(t, syncResponse(g, from.assignment, m.Version))
		return
	}
	if from.sync != nil {
		ev.refuseSync(from.sync, kerr.RebalanceInProgress) // its client gave it up and syncs again
	}
	from.sync = w
	if g.leader == from.id {
		s.assign(ev, g, m)
		return
	}
	g.synced(from)
}

// checkSync refuses who cannot get an assignment of the group, which may be nil.
func (g *classicGroup) checkSync(m *kmsg.SyncGroupRequest) error {
	switch {
	case m.Group == "":
		return kerr.InvalidGroupID
	case g == nil:
		return kerr.UnknownMemberID
	}
	if err := g.checkMember(m.MemberID, m.InstanceID); err != nil {
		return err
	}
	switch {
	case m.Generation != g.generation:
		return kerr.IllegalGeneration
	case m.ProtocolType != nil && *m.ProtocolType != g.typ,
		m.Protocol != nil && g.protocol != nil && *m.Protocol != *g.protocol:
		return kerr.InconsistentGroupProtocol
	case g.state == statePreparingRebalance:
		return kerr.RebalanceInProgress
	}
	return nil
}

// assign writes the generation with the assignment of its leader, and answers all who wait for it.
// Who is not assigned anything gets an assignment of no bytes. Until the record is written they have not
// synced: where it cannot be, they have to sync again.
func (s *Shard) assign(ev *event, g *classicGroup, m *kmsg.SyncGroupRequest) {
	assignments := make(map[string][]byte, len(m.GroupAssignment))
	for i := range m.GroupAssignment {
		assignments[m.GroupAssignment[i].MemberID] = m.GroupAssignment[i].MemberAssignment
	}
	ev.write(groupRecord(g, func(m *member) []byte { return assignments[m.id] }))
	var answered []*member
	for _, m := range g.members {
		if m.sync == nil {
			continue
		}
		ev.reply(m.sync.ticket, syncResponse(g, assignments[m.id], m.sync.version))
		m.sync = nil
		g.refreshSession(m, ev.now)
		g.pendingSync[m.id] = struct{}{}
		answered = append(answered, m)
	}
	ev.out.Applied = func() {
		for _, m := range answered {
			g.synced(m)
		}
	}
}

// synced notes that a member has come for its assignment. Once all have, nobody is waited for.
func (g *classicGroup) synced(m *member) {
	delete(g.pendingSync, m.id)
	if len(g.pendingSync) == 0 {
		g.timers.cancel(g.syncKey())
	}
}

// expireSync removes those who have joined a generation and do not come for its assignment.
func (s *Shard) expireSync(ev *event, g *classicGroup) {
	var gone []*member
	for _, m := range g.members {
		if _, ok := g.pendingSync[m.id]; ok {
			gone = append(gone, m)
		}
	}
	if len(gone) == 0 {
		return
	}
	for _, m := range gone {
		s.removeMember(ev, g, m)
	}
	s.afterRemoval(ev, g, "members joined and did not sync in time, first "+gone[0].id)
}

func syncResponse(g *classicGroup, assignment []byte, version int16) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version = version
	resp.ProtocolType, resp.Protocol = kmsg.StringPtr(g.typ), g.protocol
	resp.MemberAssignment = append([]byte{}, assignment...)
	return resp
}

func (ev *event) refuseSync(w *waiter, err error) {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version, resp.ErrorCode = w.version, errorCode(err)
	resp.MemberAssignment = []byte{}
	ev.reply(w.ticket, resp)
}
