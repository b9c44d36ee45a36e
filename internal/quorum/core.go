package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/moldau/moldau/internal/ids"
)

const (
	// An election takes 40 ticks, so that few members draw the same timeout (libraries with
	// fewer show split votes). The only voter is never ticked.
	electionTicks  = 40
	heartbeatTicks = 4

	messageBytesMax  = 1 << 20
	applyBytesMax    = 4 << 20 // of committed entries in one Effects
	inflightMessages = 256
	inflightBytes    = 16 << 20 // sent to one member and not acknowledged
)

// Core is the pure part: the library's state machine with its entries in memory. Nothing in it
// reads a clock or a disk. Not safe for concurrent use.
//
// The library's entries live in memory from the newest snapshot on; Compact lets go of them.
type Core struct {
	raw     *raft.RawNode
	storage *raft.MemoryStorage

	id      uint64
	leader  uint64 // raft id of who leads as far as this member knows, 0 for none
	applied uint64 // of the entries that Effects has handed out

	// leading is the term that this member leads, once the no-op that opened the term has
	// been handed out; 0 otherwise. Before, entries of earlier terms may still be on their way.
	leading uint64
	elected uint64 // the term that this member has won, 0 while it does not lead

	snapshots []sentSnapshot
	ready     *raft.Ready // handed out as Effects and not acknowledged by Done
}

// sentSnapshot is a snapshot on its way to a member. If it gets lost nothing says so: after an
// election's time the member is asked where it is.
type sentSnapshot struct {
	to    uint64
	ticks int // left
}

// Stored is what a member finds on its disk.
type Stored struct {
	ID       uint64 // the raft id that the directory votes under
	State    State
	Snapshot Position          // of the newest snapshot; zero without one
	Entries  []*raftpb.Entry   // those that follow the snapshot
	Applied  uint64            // what the state machine has: up to the snapshot, or further
	Conf     *raftpb.ConfState // who votes, as of Applied
}

// State is what a member may never forget.
type State struct {
	Term   uint64
	Vote   uint64 // raft id that got this member's vote in Term, 0 for none
	Commit uint64
}

// Position is the place of an entry.
type Position struct {
	Index, Term uint64
}

// Committed is an entry that the quorum has agreed on.
type Committed struct {
	Position
	Kind byte
	Data []byte // without the kind
}

// Effects is what has to happen next, in the order of its fields. Done acknowledges it.
type Effects struct {
	Entries  []*raftpb.Entry   // to be made durable; entries of the log at the first one's index and beyond go
	State    *State            // to be made durable after them; nil: as it was
	Restore  *raftpb.Snapshot  // takes the place of the log and of what was applied; durable before State
	Messages []*raftpb.Message // to be sent after that, the snapshot of a MsgSnap without its data
	Apply    []Committed       // to be applied after that
	Leading  uint64            // the term that this member leads once Apply is applied, 0: none
	Reads    []Read            // may be answered once Index is applied
}

// Read says from which entry on a read sees everything that was answered before it was asked for.
type Read struct {
	Number uint64 // as ReadIndex was told
	Index  uint64
}

// NewCore starts a member from what its disk holds.
func NewCore(stored Stored, logger *slog.Logger) (*Core, error) {
	c := &Core{id: stored.ID, storage: raft.NewMemoryStorage(), applied: stored.Applied}
	err := c.storage.ApplySnapshot(&raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		ConfState: stored.Conf, Index: &stored.Snapshot.Index, Term: &stored.Snapshot.Term,
	}})
	if err != nil {
		return nil, fmt.Errorf("starting raft from its snapshot: %w", err)
	}
	if err := c.storage.Append(stored.Entries); err != nil {
		return nil, fmt.Errorf("starting raft from its entries: %w", err)
	}
	s := stored.State
	if err := c.storage.SetHardState(&raftpb.HardState{Term: &s.Term, Vote: &s.Vote, Commit: &s.Commit}); err != nil {
		return nil, fmt.Errorf("starting raft from its state: %w", err)
	}
	c.raw, err = raft.NewRawNode(&raft.Config{
		ID: c.id, ElectionTick: electionTicks, HeartbeatTick: heartbeatTicks,
		Storage: c.storage, Applied: stored.Applied,
		MaxSizePerMsg: messageBytesMax, MaxCommittedSizePerReady: applyBytesMax,
		MaxInflightMsgs: inflightMessages, MaxInflightBytes: inflightBytes,
		CheckQuorum: true, PreVote: true, DisableProposalForwarding: true, StepDownOnRemoval: true,
		Logger: raftLogger{logger},
	})
	if err != nil {
		return nil, fmt.Errorf("starting raft: %w", err)
	}
	return c, nil
}

// Campaign stands for election at once.
func (c *Core) Campaign() error {
	if err := c.raw.Campaign(); err != nil {
		return fmt.Errorf("campaigning: %w", err)
	}
	return nil
}

// Tick says that a fortieth of an election's time has passed.
func (c *Core) Tick() {
	c.raw.Tick()
	kept := c.snapshots[:0]
	for _, s := range c.snapshots {
		if s.ticks--; s.ticks > 0 {
			kept = append(kept, s)
		} else {
			c.raw.ReportSnapshot(s.to, raft.SnapshotFinish)
		}
	}
	c.snapshots = kept
}

// Step takes a message of another member. An error says that the two cannot be members of one
// quorum with whole logs, and this one must stop.
func (c *Core) Step(m *raftpb.Message) (err error) {
	switch m.GetType() {
	case raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp, raftpb.MsgSnap,
		raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgTimeoutNow, raftpb.MsgReadIndex, raftpb.MsgReadIndexResp:
	default:
		return nil // nothing that a member says to another
	}
	defer func() {
		switch broken := recover().(type) {
		case nil:
		case raftPanic:
			err = fmt.Errorf("%w: a message of raft id %d does not fit this log: %s", ErrDamaged, m.GetFrom(), string(broken))
		default:
			panic(broken)
		}
	}()
	// What is left are messages that came too late: for a read that is over, of a member that has gone.
	_ = c.raw.Step(m)
	return nil
}

// Propose offers an entry, which Effects hands out when it is committed. The data stays with the core.
func (c *Core) Propose(data []byte) error { return refused(c.raw.Propose(data)) }

// ProposeChange offers a change of who votes.
func (c *Core) ProposeChange(cc *raftpb.ConfChangeV2) error {
	return refused(c.raw.ProposeConfChange(cc))
}

func refused(err error) error {
	if errors.Is(err, raft.ErrProposalDropped) {
		return ErrNotLeader
	}
	return err
}

// ReadIndex asks from which entry on a read is linearizable. Effects tells, or never does: messages
// get lost, and leaders change.
func (c *Core) ReadIndex(number uint64) {
	c.raw.ReadIndex(binary.BigEndian.AppendUint64(nil, number))
}

// Effects returns what has to happen next; ok is false while there is nothing. Until Done only
// what comes in from outside may be told to the core.
func (c *Core) Effects() (e Effects, ok bool) {
	if !c.raw.HasReady() {
		return Effects{}, false
	}
	rd := c.raw.Ready()
	c.ready = &rd
	c.noteRole()
	e.Entries, e.Messages = rd.Entries, rd.Messages
	if !raft.IsEmptyHardState(rd.HardState) {
		e.State = &State{Term: rd.HardState.GetTerm(), Vote: rd.HardState.GetVote(), Commit: rd.HardState.GetCommit()}
	}
	if !raft.IsEmptySnap(rd.Snapshot) {
		e.Restore = rd.Snapshot
		c.applied = rd.Snapshot.GetMetadata().GetIndex()
	}
	e.Apply = make([]Committed, 0, len(rd.CommittedEntries))
	for _, entry := range rd.CommittedEntries {
		e.Apply = append(e.Apply, committedEntry(entry))
		c.applied = entry.GetIndex()
		if entry.GetTerm() == c.elected {
			c.leading = c.elected // the first entry of the term is its no-op
		}
	}
	for _, s := range rd.ReadStates {
		if len(s.RequestCtx) != 8 {
			continue // not of ReadIndex: a member has made it up
		}
		e.Reads = append(e.Reads, Read{binary.BigEndian.Uint64(s.RequestCtx), s.Index})
	}
	for _, m := range rd.Messages {
		if m.GetType() == raftpb.MsgSnap {
			c.snapshots = append(c.snapshots, sentSnapshot{m.GetTo(), electionTicks})
		}
	}
	e.Leading = c.leading
	return e, true
}

// noteRole looks at the term, too: between two Effects leadership may be lost and won again.
func (c *Core) noteRole() {
	s := c.raw.BasicStatus()
	c.leader = s.Lead
	elected := uint64(0)
	if s.RaftState == raft.StateLeader {
		elected = s.HardState.GetTerm()
	}
	if elected != c.elected {
		c.elected, c.leading, c.snapshots = elected, 0, nil
	}
}

// Done says that the effects have happened.
func (c *Core) Done() error {
	rd := c.ready
	c.ready = nil
	if !raft.IsEmptySnap(rd.Snapshot) {
		bare := proto.CloneOf(rd.Snapshot.GetMetadata())
		if err := c.storage.ApplySnapshot(&raftpb.Snapshot{Metadata: bare}); err != nil {
			return fmt.Errorf("keeping a snapshot: %w", err)
		}
	}
	if err := c.storage.Append(rd.Entries); err != nil {
		return fmt.Errorf("keeping entries: %w", err)
	}
	if !raft.IsEmptyHardState(rd.HardState) {
		if err := c.storage.SetHardState(rd.HardState); err != nil {
			return fmt.Errorf("keeping the state: %w", err)
		}
	}
	for _, entry := range rd.CommittedEntries {
		if entry.GetType() != raftpb.EntryConfChangeV2 {
			continue
		}
		cc := new(raftpb.ConfChangeV2)
		if err := proto.Unmarshal(entry.GetData(), cc); err != nil {
			return fmt.Errorf("decoding the change of voters at entry %d: %w", entry.GetIndex(), err)
		}
		c.raw.ApplyConfChange(cc)
	}
	c.raw.Advance(*rd)
	return nil
}

// Leader returns the raft id of who leads as far as this member knows, 0 for none.
func (c *Core) Leader() uint64 { return c.leader }

// matched returns the last entry that each member is known to have, by raft id; nothing while this member does not lead.
func (c *Core) matched() map[uint64]uint64 {
	last := make(map[uint64]uint64)
	for id, progress := range c.raw.Status().Progress {
		last[id] = progress.Match
	}
	return last
}

// Applied returns the position of the last entry that Effects has handed out.
func (c *Core) Applied() (Position, error) {
	term, err := c.storage.Term(c.applied)
	if err != nil {
		return Position{}, fmt.Errorf("the term of entry %d: %w", c.applied, err)
	}
	return Position{c.applied, term}, nil
}

// Compact lets go of the entries up to p, which a snapshot has in it.
func (c *Core) Compact(p Position, conf *raftpb.ConfState) error {
	if _, err := c.storage.CreateSnapshot(p.Index, conf, nil); err != nil {
		return fmt.Errorf("noting the snapshot at %d: %w", p.Index, err)
	}
	if err := c.storage.Compact(p.Index); err != nil {
		return fmt.Errorf("letting go of the entries up to %d: %w", p.Index, err)
	}
	return nil
}

// leaderEpoch is a term as a batch carries it.
func leaderEpoch(term uint64) (ids.LeaderEpoch, error) {
	if term > math.MaxInt32 {
		return ids.NoLeaderEpoch, fmt.Errorf("term %d does not fit a leader epoch", term)
	}
	return ids.LeaderEpoch(term), nil
}
