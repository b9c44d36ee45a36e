package quorum

import (
	"errors"
	"fmt"
	"log/slog"
	"math"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

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
)

// RaftID is the raft id of a voter of the first quorum. Ids are never 0 and never used again.
func RaftID(node ids.NodeID) uint64 { return uint64(node) + 1 }

// Core is the pure part: the library's state machine with its entries in memory. Nothing in it
// reads a clock or a disk. Not safe for concurrent use.
//
// The library's entries live in memory from the newest snapshot on; Compact lets go of them.
type Core struct {
	raw     *raft.RawNode
	storage *raft.MemoryStorage
	voters  *raftpb.ConfState

	id      uint64
	sole    bool
	applied uint64 // of the entries that Effects has handed out

	// leading is the term that this member leads, once the no-op that opened the term has
	// been handed out; 0 otherwise. Before, entries of earlier terms may still be on their way.
	leading uint64
	elected uint64 // the term that this member has won, 0 while it does not lead

	ready *raft.Ready // handed out as Effects and not acknowledged by Done
}

// Stored is what a member finds on its disk.
type Stored struct {
	State    State
	Snapshot Position          // of the newest snapshot; zero without one
	Voters   *raftpb.ConfState // as of that snapshot
	Entries  []*raftpb.Entry   // those that follow the snapshot
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
	Data []byte // empty: the no-op that opens a term
}

// Effects is what has to happen next, in the order of its fields. Done acknowledges it.
type Effects struct {
	Entries []*raftpb.Entry // to be made durable; entries of the log at the first one's index and beyond go
	State   *State          // to be made durable after them; nil: as it was
	Apply   []Committed     // to be applied after that
	Leading uint64          // the term that this member leads once Apply is applied, 0: none
}

// NewCore starts a member from what its disk holds.
func NewCore(node ids.NodeID, stored Stored, logger *slog.Logger) (*Core, error) {
	c := &Core{id: RaftID(node), storage: raft.NewMemoryStorage(), voters: stored.Voters, applied: stored.Snapshot.Index}
	voters := stored.Voters.GetVoters()
	c.sole = len(voters) == 1 && voters[0] == c.id
	err := c.storage.ApplySnapshot(&raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		ConfState: stored.Voters, Index: &stored.Snapshot.Index, Term: &stored.Snapshot.Term,
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
		Storage: c.storage, Applied: stored.Snapshot.Index,
		MaxSizePerMsg: messageBytesMax, MaxCommittedSizePerReady: applyBytesMax, MaxInflightMsgs: inflightMessages,
		CheckQuorum: true, PreVote: true, DisableProposalForwarding: true,
		Logger: raftLogger{logger},
	})
	if err != nil {
		return nil, fmt.Errorf("starting raft: %w", err)
	}
	return c, nil
}

// SoleVoter tells whether this member decides alone.
func (c *Core) SoleVoter() bool { return c.sole }

// Campaign stands for election at once.
func (c *Core) Campaign() error {
	if err := c.raw.Campaign(); err != nil {
		return fmt.Errorf("campaigning: %w", err)
	}
	return nil
}

// Propose offers an entry, which Effects hands out when it is committed. The data stays with the core.
func (c *Core) Propose(data []byte) error {
	err := c.raw.Propose(data)
	if errors.Is(err, raft.ErrProposalDropped) {
		return ErrNotLeader
	}
	return err
}

// Effects returns what has to happen next; ok is false while there is nothing. Until Done no
// other method but Propose may be called.
func (c *Core) Effects() (e Effects, ok bool) {
	if !c.raw.HasReady() {
		return Effects{}, false
	}
	rd := c.raw.Ready()
	c.ready = &rd
	if rd.SoftState != nil {
		c.roleChanged(rd.SoftState)
	}
	e.Entries = rd.Entries
	if !raft.IsEmptyHardState(rd.HardState) {
		e.State = &State{Term: rd.HardState.GetTerm(), Vote: rd.HardState.GetVote(), Commit: rd.HardState.GetCommit()}
	}
	e.Apply = make([]Committed, 0, len(rd.CommittedEntries))
	for _, entry := range rd.CommittedEntries {
		e.Apply = append(e.Apply, Committed{Position{entry.GetIndex(), entry.GetTerm()}, entry.GetData()})
		c.applied = entry.GetIndex()
		if entry.GetTerm() == c.elected {
			c.leading = c.elected // the first entry of the term is its no-op
		}
	}
	e.Leading = c.leading
	return e, true
}

func (c *Core) roleChanged(s *raft.SoftState) {
	if s.RaftState != raft.StateLeader {
		c.elected, c.leading = 0, 0
		return
	}
	c.elected = c.raw.BasicStatus().HardState.GetTerm()
}

// Done says that the effects have happened.
func (c *Core) Done() error {
	rd := c.ready
	c.ready = nil
	if err := c.storage.Append(rd.Entries); err != nil {
		return fmt.Errorf("keeping entries: %w", err)
	}
	if !raft.IsEmptyHardState(rd.HardState) {
		if err := c.storage.SetHardState(rd.HardState); err != nil {
			return fmt.Errorf("keeping the state: %w", err)
		}
	}
	c.raw.Advance(*rd)
	return nil
}

// Applied returns the position of the last entry that Effects has handed out.
func (c *Core) Applied() (Position, error) {
	term, err := c.storage.Term(c.applied)
	if err != nil {
		return Position{}, fmt.Errorf("the term of entry %d: %w", c.applied, err)
	}
	return Position{c.applied, term}, nil
}

// Voters returns the members as of the last entry that Effects has handed out.
func (c *Core) Voters() *raftpb.ConfState { return c.voters }

// Compact lets go of the entries up to p, which a snapshot has in it.
func (c *Core) Compact(p Position) error {
	if _, err := c.storage.CreateSnapshot(p.Index, c.voters, nil); err != nil {
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
