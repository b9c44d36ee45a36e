package cluster

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/quorum"
)

// judge remembers what members have shown, and finds what cannot be.
type judge struct {
	decided  map[ids.Offset]decision
	last     ids.Offset // the highest of decided
	leaders  map[ids.LeaderEpoch]ids.NodeID
	terms    map[uint64]uint64          // raft id of who spoke as leader, by term
	votes    map[ballot]uint64          // to whom
	owners   map[uint64]quorum.Identity // of raft ids
	members  quorum.Membership          // the newest that anybody has applied
	at       ids.Offset                 // of members
	elected  int
	replaced int
	failure  error // the first one
}

// decision is the state of the machine once an entry is applied.
type decision struct {
	epoch ids.LeaderEpoch
	chain uint64
	image uint64 // 0: not taken yet
}

type ballot struct {
	voter, term uint64
}

func newJudge() *judge {
	return &judge{
		decided: make(map[ids.Offset]decision), leaders: make(map[ids.LeaderEpoch]ids.NodeID), terms: make(map[uint64]uint64),
		votes: make(map[ballot]uint64), owners: make(map[uint64]quorum.Identity),
	}
}

func (j *judge) fail(format string, args ...any) {
	if j.failure == nil {
		j.failure = fmt.Errorf(format, args...)
	}
}

// applied compares an entry with what others have applied at its place.
func (j *judge) applied(node ids.NodeID, at ids.Offset, d decision) {
	known, found := j.decided[at]
	switch {
	case found && (known.epoch != d.epoch || known.chain != d.chain):
		j.fail("node %d applies at %d the entry of epoch %d, chain %x; another one was applied there: epoch %d, chain %x", node, at, d.epoch, d.chain, known.epoch, known.chain)
	case found && known.image != 0 && d.image != 0 && known.image != d.image:
		j.fail("node %d has another image than others after entry %d", node, at)
	case !found || known.image == 0:
		j.decided[at] = d
	}
	j.last = max(j.last, at)
}

// leads is told of a node whose state machine leads.
func (j *judge) leads(node ids.NodeID, epoch ids.LeaderEpoch) {
	if other, found := j.leaders[epoch]; found && other != node {
		j.fail("epoch %d is led by node %d and by node %d", epoch, other, node)
	}
	j.leaders[epoch] = node
	j.elected++
}

// sent looks at what a member says to others.
func (j *judge) sent(m quorum.Message) {
	r := m.Raft
	if r == nil {
		return
	}
	switch r.GetType() {
	case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap:
		if other, found := j.terms[r.GetTerm()]; found && other != r.GetFrom() {
			j.fail("raft ids %d and %d both lead term %d", other, r.GetFrom(), r.GetTerm())
		}
		j.terms[r.GetTerm()] = r.GetFrom()
	case raftpb.MsgVoteResp:
		if r.GetReject() {
			return
		}
		b := ballot{r.GetFrom(), r.GetTerm()}
		if other, found := j.votes[b]; found && other != r.GetTo() {
			j.fail("raft id %d votes in term %d for %d and for %d", b.voter, b.term, other, r.GetTo())
		}
		j.votes[b] = r.GetTo()
	case raftpb.MsgAppResp:
	default:
		return
	}
	if other, found := j.owners[r.GetFrom()]; found && other != m.From {
		j.fail("raft id %d speaks for node %d, directory %s, and for node %d, directory %s", r.GetFrom(), other.Node, other.Directory, m.From.Node, m.From.Directory)
	}
	j.owners[r.GetFrom()] = m.From
}

// saw looks at a member after each event.
func (j *judge) saw(m *quorum.Member) {
	s := m.Status()
	if s.HighWatermark > s.LogEnd {
		j.fail("entries below %d count as committed, and the log ends at %d", s.HighWatermark, s.LogEnd)
	}
	if now := s.HighWatermark; now > j.at {
		ms := m.Membership()
		if ms.ClusterID != "" && ms.ClusterID != clusterID {
			j.fail("the cluster is called %q", ms.ClusterID)
		}
		if len(j.members.Conf.GetVoters()) > 0 && !slices.Equal(ms.Conf.GetVoters(), j.members.Conf.GetVoters()) {
			j.replaced++
		}
		j.members, j.at = ms, now
	}
}

// missing counts the voters whose directory is in no host, or does not vote for them.
func (j *judge) missing(hosts []*host) (count int) {
	voters := append(slices.Clone(j.members.Conf.GetVoters()), j.members.Conf.GetVotersOutgoing()...)
	slices.Sort(voters)
	for _, id := range slices.Compact(voters) {
		p, found := j.members.Peers[id]
		if d := hosts[p.Node].disk; !found || d.identity(p.Node) != p.Identity || d.votes != id {
			count++
		}
	}
	return count
}
