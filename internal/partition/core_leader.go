package partition

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
)

// leaderState is what a leader knows beside its own log, in its present epoch.
type leaderState struct {
	// begin is where the log ended when the epoch began: a follower that has not got so far may lack what was
	// committed before.
	begin     ids.Offset
	now       time.Time  // the latest that an event brought
	followers []follower // the replicas but this one
	change    *ISRChange // asked for, and nobody knows yet whether it is in force
	attempts  int        // how often change was sent
	asked     time.Time  // when change was first sent
	answered  time.Time  // when the controller left it to the metadata to say what became of change; zero: it has not
}

// follower is another replica as its fetches tell of it. Java: Replica.
type follower struct {
	node  ids.NodeID
	epoch int64      // its broker's; NoBrokerEpoch before its first fetch
	end   ids.Offset // where its log ends, or what it has synced where that counts; NoOffset before its first fetch

	// caughtUp is the last time at which it had everything that this replica had. It has had so as of its
	// last fetch, at fetched, once it asks for leaderEnd or more.
	caughtUp, fetched time.Time
	leaderEnd         ids.Offset

	start ids.Offset // of its log, as it last said; NoOffset before its first fetch
	sent  ids.Offset // where it was last sent records from; NoOffset for nowhere
}

// InSync is a member of an ISR that a leader asks for.
type InSync struct {
	Node  ids.NodeID
	Epoch int64 // its broker's; NoBrokerEpoch where the leader has not heard from it
}

// ISRChange is an ISR that the leader wants in place of the one that the metadata had at PartitionEpoch (AlterPartition, KIP-497).
type ISRChange struct {
	LeaderEpoch    ids.LeaderEpoch
	PartitionEpoch int32
	ISR            []InSync
}

func (s *ISRChange) has(node ids.NodeID) bool {
	return s != nil && slices.ContainsFunc(s.ISR, func(m InSync) bool { return m.Node == node })
}

// FollowerFetch is what a replica's fetch says of it.
type FollowerFetch struct {
	Node        ids.NodeID
	BrokerEpoch int64
	From        ids.Offset // it has everything below; where a sync is asked for, durably
	Start       ids.Offset // of its log
}

func (c *Core) beginToLead(now time.Time) {
	c.leader = leaderState{begin: c.end, now: now}
	c.leader.followers = c.followersOf(now)
}

// followersOf returns what is known of the other replicas of the state at hand. Those in the ISR have replica.lag.time.max.ms
// from the beginning of the epoch on to show that they belong there.
func (c *Core) followersOf(now time.Time) []follower {
	c.leader.now = later(c.leader.now, now)
	var out []follower
	for _, node := range c.state.Replicas {
		switch known := c.follower(node); {
		case node == c.node:
		case known != nil:
			out = append(out, *known)
		default:
			f := follower{node: node, epoch: NoBrokerEpoch, end: ids.NoOffset, leaderEnd: ids.NoOffset, start: ids.NoOffset, sent: ids.NoOffset}
			if slices.Contains(c.state.ISR, node) {
				f.caughtUp = c.leader.now
			}
			out = append(out, f)
		}
	}
	return out
}

func (c *Core) follower(node ids.NodeID) *follower {
	for i := range c.leader.followers {
		if c.leader.followers[i].node == node {
			return &c.leader.followers[i]
		}
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// FollowerFetched notes a fetch that fits this replica's leader epoch and log, which begins at start (see FenceLeader and Divergence). The high
// watermark may advance now. joins tells that the follower may be in sync and is not, so that ChangeISR should be called.
//
// A follower that has nothing but records which lie below start, where they were deleted, does not count before it has deleted them too: whether
// they are the same cannot be told any more, and it might come to lead with them.
func (c *Core) FollowerFetched(r FollowerFetch, start ids.Offset, now time.Time) (joins bool, err error) {
	f := c.follower(r.Node)
	if !c.Leads() || f == nil {
		return false, fmt.Errorf("node %d is no follower: %w", r.Node, kerr.NotLeaderForPartition)
	}
	if r.BrokerEpoch < f.epoch {
		return false, fmt.Errorf("a fetch of node %d as of broker epoch %d comes after one of epoch %d: %w", r.Node, r.BrokerEpoch, f.epoch, kerr.NotLeaderForPartition)
	}
	c.leader.now = later(c.leader.now, now)
	f.start = r.Start
	if r.From <= start && r.Start < start {
		return false, nil
	}
	switch {
	case r.From >= c.end:
		f.caughtUp = c.leader.now
	case f.leaderEnd != ids.NoOffset && r.From >= f.leaderEnd:
		f.caughtUp = later(f.caughtUp, f.fetched)
	}
	f.epoch, f.end = r.BrokerEpoch, r.From
	f.fetched, f.leaderEnd = c.leader.now, c.end
	return c.leader.change == nil && c.mayJoin(f), nil
}

// LowWatermark returns the lowest start of the logs of the replicas at work, of which this one's is given: NoOffset where one
// has not told yet. What lies below is deleted everywhere (KIP-107).
func (c *Core) LowWatermark(start ids.Offset) ids.Offset {
	low := start
	for i := range c.leader.followers {
		if f := &c.leader.followers[i]; c.standing != nil && c.standing(f.node) != NoBrokerEpoch {
			low = min(low, f.start)
		}
	}
	return low
}

// Sends notes that a follower is sent the records from an offset on, and tells whether it has been sent those the last time too: it
// could not take them, perhaps because they are damaged here.
func (c *Core) Sends(node ids.NodeID, from ids.Offset) (again bool) {
	f := c.follower(node)
	if f == nil {
		return false
	}
	again = f.sent == from
	f.sent = from
	return again
}

// BehindElection tells that the high watermark has not come to where this replica began to lead, because it has not heard from its
// followers yet. The leader before may have shown more.
func (c *Core) BehindElection() bool {
	return c.Leads() && len(c.leader.followers) > 0 && c.highWatermark < c.leader.begin
}

// counts tells whether the high watermark waits for a follower: one that is in sync, or may be by now because
// this replica asked for it, and one that is about to be. Without the last a follower would never reach a high watermark that
// a single replica moves with each append.
func (c *Core) counts(f *follower) bool {
	return slices.Contains(c.state.ISR, f.node) || c.leader.change.has(f.node) || c.eligible(f) && c.caughtUp(f)
}

// eligible tells whether the controller would have the follower in the ISR, in the life of its broker that fetched (KIP-841, KIP-903).
func (c *Core) eligible(f *follower) bool {
	return f.epoch != NoBrokerEpoch && c.standing != nil && c.standing(f.node) == f.epoch
}

func (c *Core) caughtUp(f *follower) bool {
	return f.end == c.end || !f.caughtUp.IsZero() && c.leader.now.Sub(f.caughtUp) <= c.rules.LagMax
}

// mayJoin tells whether a follower has all that may be committed and is missing in the ISR.
func (c *Core) mayJoin(f *follower) bool {
	return !slices.Contains(c.state.ISR, f.node) && f.end >= c.highWatermark && f.end >= c.leader.begin && c.eligible(f)
}

// ChangeISR returns the ISR to ask the controller for, which is none where the one at hand is right, or while the
// answer to the last one is due only from the metadata. Until then the high watermark waits for all that are in either.
// The same change is returned again until it is answered: the answer may have been lost; and when the metadata says
// nothing for replica.lag.time.max.ms after that: a controller that answered by what it had not committed may have lost it.
func (c *Core) ChangeISR(now time.Time) (ISRChange, bool) {
	c.leader.now = later(c.leader.now, now)
	c.noteIdle()
	if !c.Leads() || !c.leader.answered.IsZero() && c.leader.now.Sub(c.leader.answered) <= c.rules.LagMax {
		return ISRChange{}, false
	}
	if c.leader.change == nil {
		if c.leader.change = c.wantedISR(); c.leader.change == nil {
			return ISRChange{}, false
		}
		c.leader.attempts, c.leader.asked, c.leader.answered = 0, c.leader.now, time.Time{}
	}
	c.leader.attempts++
	return *c.leader.change, true
}

// noteIdle notes who has everything as of now. Where nothing is appended a fetch session says nothing of a partition, and
// the first append would make followers look as if they had lagged since the last one.
func (c *Core) noteIdle() {
	for i := range c.leader.followers {
		if f := &c.leader.followers[i]; f.end == c.end {
			f.caughtUp = c.leader.now
		}
	}
}

// wantedISR returns the change that is due, nil for none.
func (c *Core) wantedISR() *ISRChange {
	own := NoBrokerEpoch
	if c.standing != nil {
		own = c.standing(c.node)
	}
	wanted := []InSync{{c.node, own}}
	changed := false
	for i := range c.leader.followers {
		f := &c.leader.followers[i]
		in := slices.Contains(c.state.ISR, f.node)
		stays := in && c.caughtUp(f) || c.mayJoin(f)
		if stays {
			wanted = append(wanted, InSync{f.node, f.epoch})
		}
		changed = changed || in != stays
	}
	if !changed {
		return nil
	}
	return &ISRChange{LeaderEpoch: c.state.LeaderEpoch, PartitionEpoch: c.state.PartitionEpoch, ISR: wanted}
}

// ISRAnswered takes the controller's answer to a change: nil, or one of AlterPartition's errors. again tells that the change is
// to be sent once more.
//
// A change counts until the metadata has moved, whatever the answer, unless it is sure that it never comes into force: an
// earlier copy whose answer was lost may have, or a late one still may. No copy is on its way for longer than
// replica.lag.time.max.ms.
func (c *Core) ISRAnswered(change *ISRChange, err error, now time.Time) (again bool) {
	l := &c.leader
	if l.change == nil || l.change.LeaderEpoch != change.LeaderEpoch || l.change.PartitionEpoch != change.PartitionEpoch {
		return false
	}
	l.now = later(l.now, now)
	switch {
	case err == nil, isAny(err, kerr.InvalidUpdateVersion, kerr.FencedLeaderEpoch, kerr.NewLeaderElected, kerr.UnknownTopicID, kerr.UnknownTopicOrPartition):
		l.answered = l.now
		return false
	case isAny(err, kerr.IneligibleReplica, kerr.InvalidRequest, kerr.OperationNotAttempted) && (l.attempts == 1 || l.now.Sub(l.asked) > c.rules.LagMax):
		l.change, l.answered = nil, time.Time{}
		return false
	}
	return true
}

func isAny(err error, of ...*kerr.Error) bool {
	for _, e := range of {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
