package quorum

import (
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/moldau/moldau/internal/ids"
)

const (
	formTicks   = 10                // between two questions of a node that would like to vote
	followTicks = 4                 // and of one that follows, once it has an answer
	againTicks  = electionTicks / 2 // without one: it may be a large snapshot on its way
	silentMost  = 3                 // questions without an answer, before somebody else is asked
	// A member that hears of no leader for so long asks whether it still is one.
	muteTicks = 2 * electionTicks

	applyAtOnce = 1000 // entries of an earlier life that one Work applies
)

// following is what a member knows that votes under no raft id, or not yet.
type following struct {
	reports  map[ids.NodeID]Report // of an empty directory: what the other voters have said
	again    []Committed           // of an earlier life, to be applied
	tail     *Tail                 // came in and is not carried out
	stage    int                   // of tail: what is done
	from     ids.NodeID            // who is asked, an index into the configured voters
	silent   int                   // questions without an answer
	leader   ids.NodeID            // as the last answer said
	replaced bool                  // an answer says that another directory has the place of this voter
}

func newFollowing() following {
	return following{reports: make(map[ids.NodeID]Report), from: ids.NoNode, leader: ids.NoNode}
}

// tickAsk asks what has to be known, now and then.
func (m *Member) tickAsk() {
	switch {
	case m.cfg.alone():
	case m.core != nil:
		if m.mute >= muteTicks && m.asked >= formTicks {
			m.askAll()
		}
	case m.standing.role == forming:
		if m.asked >= formTicks {
			m.askAll()
		}
	case m.asked >= followTicks && m.follow.silent == 0 || m.asked >= againTicks:
		m.askOne()
	}
}

func (m *Member) askAll() {
	m.asked = 0
	for _, node := range m.cfg.Voters {
		if node != m.cfg.NodeID {
			m.post(Message{To: node, Ask: &Ask{Report: m.report()}})
		}
	}
}

// askOne asks for the entries that come next: the leader where one is known, or somebody who answers.
func (m *Member) askOne() {
	m.asked = 0
	f := &m.follow
	if f.silent++; f.silent > silentMost || f.from == m.cfg.NodeID || !slices.Contains(m.cfg.Voters, f.from) {
		at := slices.Index(m.cfg.Voters, f.from)
		f.from, f.silent = m.cfg.Voters[(at+1)%len(m.cfg.Voters)], 1
		if f.from == m.cfg.NodeID {
			f.from = m.cfg.Voters[(at+2)%len(m.cfg.Voters)]
		}
	}
	m.post(Message{To: f.from, Ask: &Ask{Report: m.report(), Next: m.log.last() + 1}})
}

// Receive takes a message of another node.
func (m *Member) Receive(msg Message) error {
	if !m.fits(&msg) {
		return nil
	}
	switch {
	case msg.Ask != nil:
		return m.answer(msg.From, msg.Ask)
	case msg.Answer != nil:
		return m.hear(msg.From, msg.Answer)
	case msg.Raft == nil || m.core == nil:
		return nil
	}
	m.lead.heard[msg.Raft.GetFrom()] = m.ticks
	m.noteRoute(&msg)
	if s := msg.Raft.GetSnapshot(); s != nil {
		return m.stepSnapshot(msg)
	}
	return m.core.Step(msg.Raft)
}

// stepSnapshot gives raft a snapshot whose bytes are what they are said to be. What came before it is carried
// out first, and then the snapshot: so none of the two has to be written in the order of the other.
func (m *Member) stepSnapshot(msg Message) error {
	meta := msg.Raft.GetSnapshot().GetMetadata()
	s, err := decodeSnapshot(msg.Raft.GetSnapshot().GetData())
	if err != nil || s.Position != (Position{meta.GetIndex(), meta.GetTerm()}) {
		m.cfg.Logger.Warn("dropped a damaged metadata snapshot", "node", msg.From.Node, "error", err)
		return nil
	}
	if done, err := m.workOff(); !done || m.core == nil {
		return err // it is sent again
	}
	if err := m.core.Step(msg.Raft); err != nil {
		return err
	}
	_, err = m.workOff()
	return err
}

// workOff carries out everything that is due; done is false where the disk is full.
func (m *Member) workOff() (done bool, err error) {
	for worked := true; worked; {
		if worked, err = m.Work(); err != nil {
			if DiskFull(err) {
				err = nil // the next Work tells
			}
			return false, err
		}
	}
	return true, nil
}

// answer tells who asks what this node knows.
func (m *Member) answer(who Identity, ask *Ask) error {
	if ask.Report.Identity != who {
		return nil
	}
	if m.standing.role == forming {
		if seen, err := m.see(Peer{who, ask.Report.Endpoint}); !seen {
			return err
		}
	}
	a := &Answer{
		Directory: who.Directory, Report: m.report(), Founded: m.members.founded(), Applied: m.applied.Index, Leader: m.leader(),
	}
	for id, p := range m.members.Peers {
		if p.Identity == who && m.members.votes(id) {
			a.RaftID = max(a.RaftID, id)
		}
	}
	if ask.Next > 0 && m.core != nil {
		tail, err := m.readable().read(ask.Next)
		if err != nil {
			return err
		}
		a.Tail = tail
	}
	m.post(Message{To: who.Node, Answer: a})
	if m.core == nil {
		return nil
	}
	return m.consider(who, ask)
}

// hear takes an answer.
func (m *Member) hear(from Identity, a *Answer) error {
	if a.Directory != m.cfg.DirectoryID || a.Report.Identity != from {
		return nil
	}
	f := &m.follow
	switch {
	case m.standing.role == forming:
		seen, err := m.see(Peer{from, a.Report.Endpoint})
		if seen {
			f.reports[from.Node] = a.Report
		}
		return err
	case m.core != nil:
		// Who knows more of the quorum than this member knows who is in it.
		if a.Founded && a.RaftID != m.core.id && a.Applied > m.hard.Commit {
			f.replaced = true
		}
	case from.Node == f.from && a.Tail != nil: // one that follows itself is of no use
		f.silent, f.leader = 0, a.Leader
		if a.Leader != ids.NoNode && a.Leader != m.cfg.NodeID {
			f.from = a.Leader
		}
		if f.tail == nil {
			f.tail, f.stage = a.Tail, 0
		}
	}
	return nil
}

// workWithoutVote carries out what is due in a directory that votes under no raft id.
func (m *Member) workWithoutVote() (bool, error) {
	if m.standing.role == forming {
		return m.workForming()
	}
	if changed, err := m.settle(); changed || err != nil {
		return true, err
	}
	f := &m.follow
	switch {
	case len(f.again) > 0:
		return true, m.applyAgain()
	case f.tail != nil:
		return true, m.takeTail()
	}
	return false, nil
}

func (m *Member) workForming() (bool, error) {
	switch form(m.cfg.self(), m.cfg.Voters, m.follow.reports) {
	case vote:
		if seen, err := m.see(Peer{m.cfg.self(), m.cfg.Endpoint}); !seen {
			return false, err
		}
		return true, m.form(voter)
	case observe:
		return true, m.form(follower)
	}
	return false, nil
}

// applyLater notes what is committed and not applied: the state machine has begun with a snapshot.
func (m *Member) applyLater(entries []*raftpb.Entry) {
	for _, e := range entries {
		if i := e.GetIndex(); m.applied.Index < i && i <= m.hard.Commit {
			m.follow.again = append(m.follow.again, committedEntry(e))
		}
	}
}

func (m *Member) applyAgain() error {
	f := &m.follow
	n := min(len(f.again), applyAtOnce)
	for i := range f.again[:n] {
		if err := m.apply(&f.again[i]); err != nil {
			return err
		}
	}
	f.again = f.again[n:]
	return nil
}

// takeTail takes in what follows the log: it is committed.
func (m *Member) takeTail() error {
	f := &m.follow
	fits := true
	var err error
	if f.tail.Snapshot != nil {
		fits, err = m.takeSnapshot(f.tail.Snapshot)
	} else {
		fits, err = m.takeEntries(f.tail.Batches)
	}
	if err != nil {
		return err
	}
	f.tail = nil
	if fits {
		m.askOne() // there may be more
	}
	return m.maySnapshot()
}

// takeEntries carries entries out in the order of Effects: entries, state, apply.
func (m *Member) takeEntries(batches []byte) (bool, error) {
	last := m.log.last()
	if m.follow.stage > 0 {
		last = m.applied.Index
	}
	entries, err := readEntries(batches, Position{last, m.applied.Term})
	if err != nil {
		m.cfg.Logger.Debug("metadata entries that do not follow the log", "error", err)
		return false, nil // an answer to an earlier question, or out of order
	}
	if len(entries) == 0 {
		return false, nil
	}
	end := entries[len(entries)-1]
	if m.follow.stage == 0 {
		if err := m.log.append(entries); err != nil {
			return false, mayWait(err)
		}
		if err := m.log.sync(); err != nil {
			return false, err
		}
		m.follow.stage = 1
	}
	if err := m.followTo(Position{end.GetIndex(), end.GetTerm()}); err != nil {
		return false, err
	}
	m.log.committed(m.hard.Commit)
	for _, e := range entries {
		c := committedEntry(e)
		if err := m.apply(&c); err != nil {
			return false, err
		}
	}
	return true, nil
}

// followTo makes durable how far this directory has followed. The term does not fall, and the vote
// stays: both were given under a raft id that this directory may have had.
func (m *Member) followTo(p Position) error {
	s := State{Term: max(m.hard.Term, p.Term), Vote: m.hard.Vote, Commit: p.Index}
	if s.Term > m.hard.Term {
		s.Vote = 0
	}
	if err := writeState(m.cfg.FS, m.dir, storedState{State: s}); err != nil {
		return mayWait(err)
	}
	m.hard, m.cutting = s, false
	return nil
}

func (m *Member) takeSnapshot(content []byte) (bool, error) {
	s, err := decodeSnapshot(content)
	if err != nil || s.Index <= m.hard.Commit && m.follow.stage == 0 {
		return false, nil // damaged, or of an earlier question
	}
	if m.follow.stage == 0 {
		if err := writeReceived(m.cfg.FS, m.dir, s.Position, content); err != nil {
			return false, mayWait(err)
		}
		m.follow.stage = 1
	}
	if err := m.followTo(s.Position); err != nil {
		return false, err
	}
	return true, m.install(s)
}
