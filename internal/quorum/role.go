package quorum

import (
	"errors"
	"fmt"
	"slices"

	"github.com/moldau/moldau/internal/ids"
)

const (
	// A leader gives a voter's place to another directory of its node only when nothing has been heard of
	// the voter for so long: a node id that two nodes have by mistake must not go to and fro.
	silentTicks = 3 * electionTicks
	// caughtUpEntries is how far behind the commit an observer may be that is to become a voter.
	caughtUpEntries = 1000
)

// leadership is what a leader keeps in mind beside what raft does.
type leadership struct {
	term    uint64            // that the rest is of
	since   uint64            // tick
	founded bool              // the founding entry of this term is proposed
	changed uint64            // tick at which members were changed last
	heard   map[uint64]uint64 // tick of the last message, by raft id
}

// noteLeading tells the state machine who leads. A quorum of several voters decides nothing before its
// founding entry is applied, which its first leader writes.
func (m *Member) noteLeading(term uint64) error {
	if term != m.lead.term {
		m.lead = leadership{term: term, since: m.ticks, changed: m.ticks, heard: make(map[uint64]uint64)}
	}
	if term != 0 && !m.cfg.alone() && !m.members.founded() {
		if m.lead.founded {
			return nil
		}
		m.lead.founded = true
		return m.offer(m.core.Propose(m.founding()))
	}
	before := m.leading
	if m.leading = term; before == term {
		return nil
	}
	if before != 0 {
		m.state.LeaderChanged(false, ids.LeaderEpoch(before))
	}
	if term != 0 {
		m.state.LeaderChanged(true, ids.LeaderEpoch(term))
	}
	return nil
}

// offer passes on what happened to a proposal of the member's own; one that came too late is made
// by the next leader.
func (m *Member) offer(err error) error {
	if errors.Is(err, ErrNotLeader) {
		return nil
	}
	return err
}

// founding is the entry that names the cluster and the directories that this leader was formed with.
func (m *Member) founding() []byte {
	peers := make(map[uint64]Peer)
	for _, p := range m.standing.with {
		peers[RaftID(p.Node)] = p
	}
	return withKind(kindFounding, appendPeers(nil, m.cfg.ClusterID, peers))
}

// consider has a leader give an observer the place of a voter of the same node that is gone: first an
// entry admits it, whose index makes its raft id, then one joint change replaces the old id.
func (m *Member) consider(who Identity, ask *Ask) error {
	old := m.members.voterOf(who.Node)
	switch {
	case m.leading == 0 || ask.Next == 0 || old == 0 || old == m.core.id || m.members.joint():
		return nil
	case ask.Next+caughtUpEntries <= m.hard.Commit:
		return nil
	case m.ticks-max(m.lead.since, m.lead.heard[old]) < silentTicks || m.ticks-m.lead.changed < electionTicks:
		return nil
	}
	m.lead.changed = m.ticks
	if id := m.members.admitted(who); id != 0 && !m.members.votes(id) {
		m.cfg.Logger.Info("replacing a voter of the metadata quorum by a new directory of its node", "node", who.Node,
			"directory", who.Directory.String(), "old_raft_id", old, "raft_id", id)
		return m.offer(m.core.ProposeChange(replacement(old, id, m.members.Peers[id])))
	}
	peer := map[uint64]Peer{0: {Identity: who, Endpoint: ask.Report.Endpoint}}
	return m.offer(m.core.Propose(withKind(kindAdmission, appendPeers(nil, "", peer))))
}

// settle changes what the directory votes under after the members have changed.
func (m *Member) settle() (changed bool, err error) {
	if m.cfg.alone() || m.standing.role == forming {
		return false, nil
	}
	mine := m.members.admitted(m.cfg.self())
	switch {
	case mine > m.standing.id && slices.Contains(m.members.Conf.GetVoters(), mine):
		return true, m.become(mine)
	case m.core == nil:
		return false, nil
	case m.follow.replaced:
		return true, m.retire()
	case m.applied.Index < m.hard.Commit:
		// Of an earlier life: the entry that admitted this directory may be still to come.
	case m.members.founded() && m.members.Peers[m.standing.id].Identity != m.cfg.self():
		return true, m.retire()
	}
	return false, nil
}

// become begins to vote as the member that the quorum has admitted.
func (m *Member) become(id uint64) error {
	s := standing{Identity: m.cfg.self(), role: voter, id: id}
	if err := writeStanding(m.cfg.FS, m.dir, s); err != nil {
		return mayWait(err)
	}
	m.cfg.Logger.Info("this directory is a voter of the metadata quorum", "raft_id", id)
	m.standing = s
	entries, err := m.log.entries(max(m.newest.Index+1, m.log.first()))
	if err != nil {
		return err
	}
	m.follow = newFollowing()
	if err := m.noteLeading(0); err != nil {
		return err
	}
	return m.vote(id, entries)
}

// see makes durable which directory of a configured voter was the first that this one has seen, before
// anybody hears of it; false while there is no room for that.
func (m *Member) see(p Peer) (bool, error) {
	s := m.standing
	var added bool
	if s.with, added = firstSeen(s.with, p); !added {
		return true, nil
	}
	err := writeStanding(m.cfg.FS, m.dir, s)
	if isFull(err) {
		return false, nil
	}
	if err == nil {
		m.standing = s
	}
	return err == nil, err
}

// form ends forming. From here on the directory has a quorum-state, and one that is missing is lost.
func (m *Member) form(as role) error {
	s := m.standing
	if s.role = as; as == voter {
		s.id = RaftID(m.cfg.NodeID)
	} else {
		s.with = nil
	}
	err := writeState(m.cfg.FS, m.dir, storedState{State: m.hard})
	if err == nil {
		err = writeStanding(m.cfg.FS, m.dir, s)
	}
	if err != nil {
		return mayWait(err)
	}
	if m.standing = s; as == voter {
		return m.vote(s.id, nil)
	}
	return nil
}

// retire gives up the raft id for good: the quorum has another directory in its place. What was not
// committed is given up after that is durable, and from then on the directory follows.
func (m *Member) retire() error {
	s := standing{Identity: m.cfg.self(), role: succeeded, id: m.standing.id}
	if err := writeStanding(m.cfg.FS, m.dir, s); err != nil {
		return mayWait(err)
	}
	m.cfg.Logger.Warn("this directory is no voter of the metadata quorum any more", "raft_id", m.standing.id)
	m.standing, m.core, m.reads = s, nil, nil
	m.follow = newFollowing()
	if err := m.noteLeading(0); err != nil {
		return err
	}
	if err := m.log.truncate(m.hard.Commit); err != nil {
		return err
	}
	entries, err := m.log.entries(max(m.newest.Index+1, m.log.first()))
	if err != nil {
		return err
	}
	m.applyLater(entries)
	return nil
}

// report is how this directory stands towards those that are not formed yet.
func (m *Member) report() Report {
	return Report{
		Identity: m.cfg.self(), Endpoint: m.cfg.Endpoint, With: m.standing.with,
		Formed: m.standing.role == voter || m.standing.role == succeeded,
	}
}

// misfit is a kind of message that is not for this member.
type misfit struct {
	from   Identity
	reason string
}

// fits tells whether a message is for this member and from one of its quorum.
func (m *Member) fits(msg *Message) bool {
	reason := ""
	switch {
	case msg.ClusterID != "" && m.members.founded() && msg.ClusterID != m.members.ClusterID:
		reason = fmt.Sprintf("it is of cluster %s", msg.ClusterID)
	case !slices.Contains(m.cfg.Voters, msg.From.Node):
		reason = "its sender is none of the configured voters"
	case msg.Raft != nil:
		reason = m.misaddressed(msg)
	}
	if reason == "" {
		return true
	}
	m.dropped++
	k := misfit{msg.From, reason}
	if _, logged := m.misfits[k]; !logged && len(m.misfits) < misfitsMax {
		m.misfits[k] = struct{}{}
		m.cfg.Logger.Warn("dropped a message of the metadata quorum, and others like it", "node", msg.From.Node,
			"directory", msg.From.Directory.String(), "reason", reason)
	}
	return false
}

// routeTo returns the node behind a raft id, NoNode where it is not known.
func (m *Member) routeTo(id uint64) ids.NodeID {
	if node := m.members.nodeOf(id); node != ids.NoNode {
		return node
	}
	if node, known := m.routes[id]; known {
		return node
	}
	return ids.NoNode
}

// noteRoute remembers where a member is to be answered whose admission is still to be applied.
func (m *Member) noteRoute(msg *Message) {
	id := msg.Raft.GetFrom()
	if _, known := m.members.Peers[id]; known || id < admittedIDs {
		return
	}
	if len(m.routes) >= routesMax {
		clear(m.routes)
	}
	m.routes[id] = msg.From.Node
}

// routesMax bounds how many are remembered: more than are ever admitted at a time.
const routesMax = 100

// misfitsMax bounds what is logged of them.
const misfitsMax = 100

// misaddressed tells why a message of raft is not for this member, "" where it is.
func (m *Member) misaddressed(msg *Message) string {
	from := msg.Raft.GetFrom()
	if m.core == nil || msg.Raft.GetTo() != m.core.id {
		return "it is for another raft id"
	}
	known, found := m.members.Peers[from]
	switch {
	case found && known.Identity != msg.From:
		return "its raft id belongs to another directory"
	case found:
	case from > admittedID(m.applied.Index):
		// admitted by an entry that is still to come
	case m.members.founded():
		return "its raft id is no member any more"
	case from != RaftID(msg.From.Node) || !slices.ContainsFunc(m.standing.with, func(p Peer) bool { return p.Identity == msg.From }):
		return "its directory is not the one that the quorum was formed with"
	}
	return ""
}
