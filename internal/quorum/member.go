package quorum

import (
	"errors"
	"fmt"
	"path/filepath"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/moldau/moldau/internal/ids"
)

// Member is one node's part in the metadata quorum, with its disk: it takes events, and carries
// out what follows from them. It has no goroutine and no lock: whoever drives it, a Node or a
// simulator, makes one call at a time. An error ends it for good, but for one that DiskFull
// knows: the disk was full, and Work may be called again.
type Member struct {
	cfg   Config
	dir   string // of the log, quorum-state, quorum-member and the snapshot
	state StateMachine
	send  func(Message)

	log      *entryLog
	core     *Core    // nil while the directory votes under no raft id
	standing standing // as quorum-member has it; of a quorum of one, zero
	members  Membership
	hard     State    // as quorum-state has it
	cutting  bool     // quorum-state says that entries are being given up
	applied  Position // what the state machine has
	newest   Position // snapshot

	bytesApplied  int64 // since the newest snapshot
	snapshotBytes int64 // size of the newest snapshot

	effects *Effects              // being carried out
	step    int                   // of carryOut: those before are done
	leading uint64                // the term that the state machine knows to lead, 0 for none
	reads   []Read                // whose entry is not applied yet
	lead    leadership            // while core leads
	follow  following             // while core is nil
	asked   int                   // ticks since the last Ask
	mute    int                   // ticks without a leader
	misfits map[misfit]struct{}   // that were logged
	routes  map[uint64]ids.NodeID // to members whose admission is still to be applied
	dropped uint64                // messages that did not fit
	ticks   uint64
}

// OpenMember reads what this node knows of the quorum and gives the newest snapshot, if there is one, to
// the state machine. The error wraps ErrDamaged or ErrForeign where the directory is unfit to vote.
// send passes a message on; it never blocks, and may lose it.
func OpenMember(cfg Config, state StateMachine, send func(Message)) (*Member, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	m := &Member{
		cfg: cfg, dir: filepath.Join(cfg.Dir, metadataLog.String()), state: state, send: send,
		misfits: make(map[misfit]struct{}), routes: make(map[uint64]ids.NodeID),
	}
	m.lead.heard = make(map[uint64]uint64)
	m.follow = newFollowing()
	if err := m.open(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *Member) open() error {
	if err := m.makeDir(); err != nil {
		return err
	}
	state, found, err := readState(m.cfg.FS, m.dir) // first: it tells a foreign directory before anything is touched
	if err != nil {
		return err
	}
	if err := m.openStanding(); err != nil {
		return err
	}
	snap, err := m.openSnapshot(state.State)
	if err != nil {
		return err
	}
	if err := m.openLog(state, found, snap); err != nil {
		return err
	}
	entries, err := m.log.entries(max(snap.Index+1, m.log.first()))
	if err != nil {
		return err
	}
	m.hard, m.cutting = state.State, state.cut > 0
	m.applied, m.newest = snap.Position, snap.Position
	m.snapshotBytes = int64(len(snap.data))
	m.log.committed(state.Commit)
	if err := m.takeRole(entries); err != nil {
		return err
	}
	if snap.Index == 0 {
		return nil
	}
	if err := m.state.Restore(ids.Offset(snap.Index), ids.LeaderEpoch(snap.Term), snap.data); err != nil {
		return fmt.Errorf("restoring the metadata snapshot at %d: %w", snap.Index, err)
	}
	return nil
}

// makeDir makes the log's directory: quorum-state is the first file in it. Opening the log makes its name durable.
func (m *Member) makeDir() error {
	if _, err := m.cfg.FS.Stat(m.dir); err == nil {
		return nil
	}
	if err := m.cfg.FS.MkdirAll(m.dir); err != nil {
		return fmt.Errorf("making the metadata directory: %w", err)
	}
	return nil
}

// openStanding reads quorum-member, which only a quorum of several voters has.
func (m *Member) openStanding() error {
	s, found, err := readStanding(m.cfg.FS, m.dir)
	switch {
	case err != nil:
		return fmt.Errorf("%w; %s", err, m.cfg.remedy())
	case m.cfg.alone() && found:
		return fmt.Errorf("%w: %s belongs to a quorum of several voters, and node %d was told that it is the only one", ErrForeign, m.dir, m.cfg.NodeID)
	case found && s.Identity != m.cfg.self():
		return fmt.Errorf("%w: %s is of node %d, directory %s, and this is node %d, directory %s: is it another node's disk?",
			ErrForeign, m.dir, s.Node, s.Directory, m.cfg.NodeID, m.cfg.DirectoryID)
	}
	if m.standing = s; !found && !m.cfg.alone() {
		m.standing = standing{Identity: m.cfg.self(), role: forming}
	}
	return nil
}

// openSnapshot reads the newest snapshot. One that was on its way from elsewhere is in force if
// quorum-state counts it as committed, and then the log begins anew behind it.
func (m *Member) openSnapshot(state State) (snapshot, error) {
	received, err := newestReceived(m.cfg.FS, m.dir)
	if err != nil {
		return snapshot{}, fmt.Errorf("%w; %s", err, m.cfg.remedy())
	}
	if received.Index > 0 && received.Index <= state.Commit {
		if err := m.beginAnew(received.Index); err != nil {
			return snapshot{}, err
		}
		if err := finishReceived(m.cfg.FS, m.dir, received.Position); err != nil {
			return snapshot{}, err
		}
	}
	snap, err := readNewestSnapshot(m.cfg.FS, m.dir)
	if err != nil {
		return snapshot{}, fmt.Errorf("%w; %s", err, m.cfg.remedy())
	}
	m.members = firstMembership(m.cfg.Voters)
	if snap.Index > 0 {
		m.members = snap.members
	}
	return snap, nil
}

// beginAnew makes the log an empty one that goes on after an index, whatever a crash has left of it.
func (m *Member) beginAnew(after uint64) error {
	names, err := m.cfg.FS.List(m.dir)
	if err != nil {
		return fmt.Errorf("listing the metadata directory: %w", err)
	}
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' && name != "leader-epoch-checkpoint" {
			continue // not the log's
		}
		if err := m.cfg.FS.Remove(filepath.Join(m.dir, name)); err != nil {
			return fmt.Errorf("removing what a snapshot replaces: %w", err)
		}
	}
	l, err := openEntryLog(&m.cfg, after+1, 0)
	if err != nil {
		return err
	}
	// The next start tells by the first segment where the log begins: that one has to be there.
	return errors.Join(l.restart(after), l.close())
}

// openLog opens the log, and checks that quorum-state, snapshot and log fit each other. Where they do not,
// something that this node has promised is gone, and it must not vote as if it had never promised it.
func (m *Member) openLog(state storedState, found bool, snap snapshot) error {
	switch {
	case !found && snap.Index > 0:
		return m.forgetful("it has a snapshot of %d entries and no %s", snap.Index, stateFile)
	case state.Commit < snap.Index:
		return m.forgetful("its %s knows of %d committed entries, and its snapshot has %d", stateFile, state.Commit, snap.Index)
	}
	if m.standing.role == voter {
		if err := checkTail(m.cfg.FS, m.dir, state.Commit, state.cut); err != nil {
			return fmt.Errorf("%w; %s", err, m.cfg.remedy())
		}
	}
	var err error
	if m.log, err = openEntryLog(&m.cfg, snap.Index, state.Commit); err != nil {
		return err
	}
	switch first, last := m.log.first(), m.log.last(); {
	case !found && last > 0:
		return m.forgetful("it has entries up to %d and no %s", last, stateFile)
	case last < state.Commit:
		return m.forgetful("its log ends with entry %d, and %d had been committed", last, state.Commit)
	case first > snap.Index+1:
		return m.forgetful("its log begins with entry %d, and its snapshot ends with %d", first, snap.Index)
	}
	if m.log.grouped {
		return m.log.sync() // a process that was killed may have left a group, and the next one says that it was synced
	}
	return nil
}

func (m *Member) forgetful(format string, args ...any) error {
	return fmt.Errorf("%w %s: %s; it would forget what it has promised: %s", ErrDamaged, m.dir, fmt.Sprintf(format, args...), m.cfg.remedy())
}

// takeRole begins as what quorum-member says.
func (m *Member) takeRole(entries []*raftpb.Entry) error {
	used := m.hard != (State{}) || m.newest.Index > 0 || len(entries) > 0
	switch {
	case m.cfg.alone():
		return m.vote(RaftID(m.cfg.NodeID), entries)
	case m.standing.role == forming && used:
		return fmt.Errorf("%w: %s has entries and is of no quorum of several voters: it was that of a sole voter, and the voters of this one are %v", ErrForeign, m.dir, m.cfg.Voters)
	case m.standing.role == forming:
		return nil
	case m.standing.role == voter:
		return m.vote(m.standing.id, entries)
	}
	// What was not committed was promised under a raft id that this directory does not have any more.
	if err := m.log.truncate(m.hard.Commit); err != nil {
		return err
	}
	m.applyLater(entries)
	return nil
}

// vote starts raft under an id.
func (m *Member) vote(id uint64, entries []*raftpb.Entry) (err error) {
	m.core, err = NewCore(Stored{
		ID: id, State: m.hard, Snapshot: m.newest, Entries: entries, Applied: m.applied.Index, Conf: m.members.Conf,
	}, m.cfg.Logger)
	return err
}

// Close closes the log. What was not carried out is not.
func (m *Member) Close() error {
	if m.log == nil {
		return nil
	}
	if m.leading != 0 {
		m.state.LeaderChanged(false, ids.LeaderEpoch(m.leading))
		m.leading = 0
	}
	return m.log.close()
}

// Campaign stands for election at once, which a sole voter does when it starts.
func (m *Member) Campaign() error { return m.core.Campaign() }

// Propose offers an entry on behalf of the term that the state machine knows to lead. It drops
// what comes too late: LeaderChanged tells.
func (m *Member) Propose(data []byte) error {
	if m.leading == 0 {
		return ErrNotLeader
	}
	return m.core.Propose(withKind(kindDecision, data))
}

// ReadIndex asks from which entry on a read sees everything that was answered before. ReadsDone
// tells when that is applied, or never: whoever asks asks again.
func (m *Member) ReadIndex(number uint64) {
	if m.core != nil {
		m.core.ReadIndex(number)
	}
}

// ReadsDone returns the numbers of the reads that may be answered from what is applied now.
func (m *Member) ReadsDone() (numbers []uint64) {
	waiting := m.reads[:0]
	for _, r := range m.reads {
		if r.Index <= m.applied.Index {
			numbers = append(numbers, r.Number)
		} else {
			waiting = append(waiting, r)
		}
	}
	m.reads = waiting
	return numbers
}

// Tick says that a fortieth of an election's time has passed. A sole voter needs none.
func (m *Member) Tick() {
	m.ticks++
	m.asked++
	if m.core != nil {
		m.core.Tick()
		m.mute++
		if m.core.Leader() != 0 {
			m.mute = 0
		}
	}
	m.tickAsk()
}

// Status returns what this member knows of the quorum.
func (m *Member) Status() Status {
	s := Status{
		Leader: ids.NoNode, Epoch: ids.LeaderEpoch(m.hard.Term), HighWatermark: ids.Offset(m.hard.Commit + 1),
		LogStart: ids.Offset(m.log.first()), LogEnd: ids.Offset(m.log.last() + 1),
	}
	if m.newest.Index > 0 {
		s.SnapshotEnd = ids.Offset(m.newest.Index + 1)
	}
	s.Leader = m.leader()
	switch {
	case m.leading != 0:
		s.LeaderAt = m.cfg.Endpoint
	case s.Leader != ids.NoNode && m.core != nil:
		s.LeaderAt = m.members.Peers[m.core.Leader()].Endpoint
	}
	return s
}

// leader returns the node that leads as far as is known. One that wins and has not begun to decide is none yet.
func (m *Member) leader() ids.NodeID {
	switch {
	case m.leading != 0:
		return m.cfg.NodeID
	case m.core == nil:
		return m.follow.leader
	case m.core.Leader() == m.core.id:
		return ids.NoNode
	}
	return m.members.nodeOf(m.core.Leader())
}

// RaftID returns the raft id that this directory votes under, 0 while it votes under none.
func (m *Member) RaftID() uint64 {
	if m.core == nil {
		return 0
	}
	return m.core.id
}

// Membership returns who the quorum consists of, as of what is applied.
func (m *Member) Membership() Membership { return m.members.clone() }

// Dropped returns how many messages were dropped because they were not for this member, or not of one of its quorum.
func (m *Member) Dropped() uint64 { return m.dropped }
