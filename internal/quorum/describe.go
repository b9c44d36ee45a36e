package quorum

import (
	"context"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/ids"
)

// Description is the quorum as one of its members knows it. Only the leader knows how far the others are.
type Description struct {
	Status
	ClusterID string    // "" before the quorum has been founded, and of a quorum of one
	Voters    []Replica // by node id
	Observers []Replica // admitted and not voting yet, or following without a vote
}

// Replica is a member's log.
type Replica struct {
	Peer
	LogEnd ids.Offset // exclusive; NoOffset where it is not known
	Heard  time.Time  // when the member was last heard of; zero where that is not known
}

// describe returns the quorum as of now. heard is empty: a Member knows no clock.
func (m *Member) describe() Description {
	d := Description{Status: m.Status(), ClusterID: m.members.ClusterID}
	var matched map[uint64]uint64
	if m.leading != 0 {
		matched = m.core.matched()
	}
	for id, p := range m.peers() {
		r := Replica{Peer: p, LogEnd: ids.NoOffset}
		if end := matched[id]; end > 0 { // 0 is what raft begins with, before it knows
			r.LogEnd = ids.Offset(end + 1)
		}
		if m.core != nil && id == m.core.id {
			r.LogEnd = ids.Offset(m.log.last() + 1)
		}
		if m.members.votes(id) {
			d.Voters = append(d.Voters, r)
		} else {
			d.Observers = append(d.Observers, r)
		}
	}
	for _, list := range [][]Replica{d.Voters, d.Observers} {
		slices.SortFunc(list, func(a, b Replica) int { return int(a.Node) - int(b.Node) })
	}
	return d
}

// peers returns the members by raft id. Of a quorum of one, and before the first entry, no entry tells of directories.
func (m *Member) peers() map[uint64]Peer {
	all := m.members.clone().Peers
	if all == nil {
		all = make(map[uint64]Peer)
	}
	for _, id := range m.members.Conf.GetVoters() {
		if _, told := all[id]; !told {
			all[id] = Peer{Identity: Identity{Node: m.members.nodeOf(id)}}
		}
	}
	if id := m.RaftID(); id != 0 {
		all[id] = Peer{Identity: m.cfg.self(), Endpoint: m.cfg.Endpoint}
	}
	return all
}

// sinceHeard returns how many ticks ago the leader has heard of each member, by node.
func (m *Member) sinceHeard() map[ids.NodeID]uint64 {
	since := make(map[ids.NodeID]uint64, len(m.lead.heard))
	if m.leading == 0 {
		return since
	}
	for id, tick := range m.lead.heard {
		since[m.members.nodeOf(id)] = m.ticks - tick
	}
	return since
}

// Describe returns the quorum as this node knows it now.
func (n *Node) Describe(ctx context.Context) (Description, error) {
	answer := make(chan Description, 1)
	n.mu.Lock()
	switch {
	case n.mu.over:
		n.mu.Unlock()
		return Description{}, ErrStopped
	case len(n.mu.curious) >= readersMax:
		n.mu.Unlock()
		return Description{}, ErrOverloaded
	}
	n.mu.curious = append(n.mu.curious, answer)
	n.wakeUp()
	n.mu.Unlock()
	select {
	case d := <-answer:
		return d, nil
	case <-n.stopped:
		return Description{}, ErrStopped
	case <-ctx.Done():
		return Description{}, ctx.Err()
	}
}

// tell answers those who have called Describe.
func (n *Node) tell() {
	n.mu.Lock()
	curious := n.mu.curious
	n.mu.curious = nil
	n.mu.Unlock()
	if len(curious) == 0 {
		return
	}
	d := n.member.describe()
	now, since := time.Now(), n.member.sinceHeard()
	for i := range d.Voters {
		v := &d.Voters[i]
		if ticks, heard := since[v.Node]; heard {
			v.Heard = now.Add(-time.Duration(ticks) * tickInterval)
		}
		if v.Node == n.cfg.NodeID {
			v.Heard = now
		}
	}
	if d.Leader == n.cfg.NodeID {
		d.Observers = append(d.Observers, n.observing(now)...)
		slices.SortFunc(d.Observers, func(a, b Replica) int { return int(a.Node) - int(b.Node) })
	}
	for _, answer := range curious {
		answer <- d
	}
}
