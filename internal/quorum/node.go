package quorum

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// DefaultSnapshotBytes is Kafka's metadata.log.max.record.bytes.between.snapshots.
const DefaultSnapshotBytes = 20 << 20

// queueBytesMax bounds the proposals that wait to be written.
const queueBytesMax = 32 << 20

// Config is what a Node is told.
type Config struct {
	NodeID ids.NodeID
	Voters []ids.NodeID // of the first quorum: this node alone
	FS     vfs.FS
	Dir    string // the data directory that holds __cluster_metadata-0; somebody else has locked it

	// SnapshotBytes is how many bytes of entries are applied before the next snapshot; more
	// where the last snapshot was larger, so that writing snapshots costs no more than writing entries.
	SnapshotBytes int64
	SegmentBytes  int32 // of the log; 0: 32 MiB
	Logger        *slog.Logger
}

// StateMachine is what the quorum agrees on. Its methods are called by one goroutine, in the
// order of the log; an error from one stops the node.
type StateMachine interface {
	// Apply takes in one committed entry. It may keep data, and must not change it.
	Apply(offset ids.Offset, epoch ids.LeaderEpoch, data []byte) error
	// Restore replaces the state by that of a snapshot: everything up to offset. Open calls it
	// where there is a snapshot, before anything else.
	Restore(offset ids.Offset, epoch ids.LeaderEpoch, snapshot []byte) error
	// Snapshot encodes the state as of the last Apply.
	Snapshot() ([]byte, error)
	// LeaderChanged says that this node leads now, in the given epoch and with everything of earlier
	// epochs applied, or that it does not lead any more.
	LeaderChanged(leading bool, epoch ids.LeaderEpoch)
}

// Node is this node's member of the metadata quorum.
type Node struct {
	cfg   Config
	dir   string // of the log, quorum-state and the snapshot
	state StateMachine

	// Of the goroutine of run, and before Start of Open.
	core          *Core
	log           *entryLog
	leading       uint64 // the term that the state machine knows to lead, 0 for none
	bytesApplied  int64  // since the newest snapshot
	snapshotBytes int64  // size of the newest snapshot

	wake    chan struct{} // one token: mu.queue has something
	stop    chan struct{} // closed by Stop
	stopped chan struct{} // closed when run is over
	started bool          // of the goroutine that calls Start and Stop

	// mu is a leaf.
	mu struct {
		sync.Mutex
		queue      [][]byte // proposals of epoch, oldest first
		queueBytes int
		epoch      ids.LeaderEpoch // that this node leads in, NoLeaderEpoch while it does not
		over       bool            // nothing is taken any more
		err        error           // why run is over, nil after Stop
		status     Status
	}
}

// Status is the quorum as this node knows it. Ends are exclusive.
type Status struct {
	Leader        ids.NodeID // NoNode where none is known
	Epoch         ids.LeaderEpoch
	HighWatermark ids.Offset // what is below is committed
	LogStart      ids.Offset
	LogEnd        ids.Offset
	SnapshotEnd   ids.Offset // of the newest snapshot, 0 without one
}

// Open reads what this node knows of the quorum and gives the newest snapshot, if there is one, to the
// state machine. The error wraps ErrDamaged or ErrForeign where the directory is unfit to vote.
func Open(cfg Config, state StateMachine) (*Node, error) {
	if len(cfg.Voters) != 1 || cfg.Voters[0] != cfg.NodeID || cfg.NodeID < 0 {
		return nil, fmt.Errorf("the metadata quorum of this release has one voter, the node itself: node %d was told the voters %v", cfg.NodeID, cfg.Voters)
	}
	if cfg.SnapshotBytes <= 0 {
		cfg.SnapshotBytes = DefaultSnapshotBytes
	}
	if cfg.SegmentBytes <= 0 {
		cfg.SegmentBytes = defaultSegmentBytes
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	n := &Node{
		cfg: cfg, dir: filepath.Join(cfg.Dir, metadataLog.String()), state: state,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	n.mu.epoch, n.mu.status.Leader, n.mu.status.Epoch = ids.NoLeaderEpoch, ids.NoNode, ids.NoLeaderEpoch
	if err := n.open(); err != nil {
		if n.log != nil {
			err = errors.Join(err, n.log.close())
		}
		return nil, err
	}
	return n, nil
}

// Check tells whether Open would find the directory fit to vote, with the same errors. A node that
// never voted is fit. It changes what Open would, a torn tail of the metadata log, and makes nothing.
func Check(cfg Config) error {
	if _, err := cfg.FS.Stat(filepath.Join(cfg.Dir, metadataLog.String())); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	n, err := Open(cfg, nobody{})
	if err != nil {
		return err
	}
	return n.log.close()
}

// nobody is the state machine of a Check.
type nobody struct{ StateMachine }

func (nobody) Restore(ids.Offset, ids.LeaderEpoch, []byte) error { return nil }

func (n *Node) open() error {
	if err := n.makeDir(); err != nil {
		return err
	}
	state, found, err := readState(n.cfg.FS, n.dir) // first: it tells a foreign directory before anything is touched
	if err != nil {
		return err
	}
	snap, err := readNewestSnapshot(n.cfg.FS, n.dir)
	if err != nil {
		return err
	}
	if err := n.checkState(state, found, snap); err != nil {
		return err
	}
	if snap.Index == 0 {
		snap.voters = firstVoters(n.cfg.Voters)
	}
	if n.log, err = openEntryLog(&n.cfg, snap.Index, state.Commit); err != nil {
		return err
	}
	if err := n.checkLog(state, found, snap); err != nil {
		return err
	}
	entries, err := n.log.entries(max(snap.Index+1, n.log.first()))
	if err != nil {
		return err
	}
	stored := Stored{State: state, Snapshot: snap.Position, Voters: snap.voters, Entries: entries}
	if n.core, err = NewCore(n.cfg.NodeID, stored, n.cfg.Logger); err != nil {
		return err
	}
	n.log.committed(state.Commit)
	n.snapshotBytes = int64(len(snap.data))
	n.mu.status.SnapshotEnd = ids.Offset(snap.Index + 1)
	n.noteStatus(state)
	if snap.Index == 0 {
		n.mu.status.SnapshotEnd = 0
		return nil
	}
	if err := n.state.Restore(ids.Offset(snap.Index), ids.LeaderEpoch(snap.Term), snap.data); err != nil {
		return fmt.Errorf("restoring the metadata snapshot at %d: %w", snap.Index, err)
	}
	return nil
}

// makeDir makes the log's directory: quorum-state is the first file in it. Opening the log makes its name durable.
func (n *Node) makeDir() error {
	if _, err := n.cfg.FS.Stat(n.dir); err == nil {
		return nil
	}
	if err := n.cfg.FS.MkdirAll(n.dir); err != nil {
		return fmt.Errorf("making the metadata directory: %w", err)
	}
	return nil
}

func firstVoters(nodes []ids.NodeID) *raftpb.ConfState {
	c := new(raftpb.ConfState)
	for _, node := range nodes {
		c.Voters = append(c.Voters, RaftID(node))
	}
	return c
}

// checkState tells whether quorum-state and snapshot fit each other, and checkLog whether the log
// fits both. Where they do not, something that this node has promised is gone, and it must not
// vote as if it had never promised it.
func (n *Node) checkState(state State, found bool, snap snapshot) error {
	switch {
	case !found && snap.Index > 0:
		return n.forgetful("it has a snapshot of %d entries and no %s", snap.Index, stateFile)
	case state.Commit < snap.Index:
		return n.forgetful("its %s knows of %d committed entries, and its snapshot has %d", stateFile, state.Commit, snap.Index)
	}
	return nil
}

func (n *Node) checkLog(state State, found bool, snap snapshot) error {
	first, last := n.log.first(), n.log.last()
	switch {
	case !found && last > 0:
		return n.forgetful("it has entries up to %d and no %s", last, stateFile)
	case last < state.Commit:
		return n.forgetful("its log ends with entry %d, and %d had been committed", last, state.Commit)
	case first > snap.Index+1:
		return n.forgetful("its log begins with entry %d, and its snapshot ends with %d", first, snap.Index)
	}
	return nil
}

func (n *Node) forgetful(format string, args ...any) error {
	return fmt.Errorf("%w %s: %s; it would forget what it has promised. Restore the whole directory from one backup",
		ErrDamaged, n.dir, fmt.Sprintf(format, args...))
}

// Start begins to take part. The only voter leads at once.
func (n *Node) Start() {
	n.started = true
	go n.run()
}

// Stop ends taking part and closes the log. It returns when nothing of the node runs any more.
func (n *Node) Stop() {
	select {
	case <-n.stop:
	default:
		close(n.stop)
	}
	if !n.started {
		n.started = true
		n.end(nil)
	}
	<-n.stopped
}

// Done is closed when the node has stopped or failed.
func (n *Node) Done() <-chan struct{} { return n.stopped }

// Err returns why the node has failed; nil while it runs and after Stop.
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.err
}

// Status returns what this node knows of the quorum.
func (n *Node) Status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.status
}

// Propose offers data as the next entry, on behalf of the leader of epoch. It does not wait: the
// entry is applied by the state machine once it is committed, entries of one epoch in the order
// of their proposals, or not at all if leadership ends. Nobody may change data from now on.
func (n *Node) Propose(epoch ids.LeaderEpoch, data []byte) error {
	if len(data) == 0 || len(data) > entryBytesMax {
		return fmt.Errorf("%w: it has %d bytes of at least 1 and at most %d", ErrTooLarge, len(data), entryBytesMax)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.mu.over:
		return ErrStopped
	case epoch != n.mu.epoch || epoch < 0:
		return ErrNotLeader
	case n.mu.queueBytes+len(data) > queueBytesMax:
		return ErrOverloaded
	}
	n.mu.queue = append(n.mu.queue, data)
	n.mu.queueBytes += len(data)
	select {
	case n.wake <- struct{}{}:
	default: // there is a token already
	}
	return nil
}
