package quorum

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/moldau/moldau/internal/ids"
)

// fullRetry is how long a node waits for room on a full disk before it tries again.
const fullRetry = time.Second

// entryOverheadBytes is about what an entry takes in the log beside its data.
const entryOverheadBytes = 80

// run is the node's goroutine.
func (n *Node) run() { n.end(n.loop()) }

// end tells everybody that the node is over.
func (n *Node) end(err error) {
	n.mu.Lock()
	n.mu.over, n.mu.epoch = true, ids.NoLeaderEpoch
	n.mu.queue, n.mu.queueBytes = nil, 0
	n.mu.status.Leader = ids.NoNode
	n.mu.Unlock()
	if n.leading != 0 {
		n.state.LeaderChanged(false, ids.LeaderEpoch(n.leading))
	}
	err = errors.Join(err, n.log.close())
	n.mu.Lock()
	n.mu.err = err
	n.mu.Unlock()
	close(n.stopped)
}

// errStopping ends the loop without a failure.
var errStopping = errors.New("stopping")

func (n *Node) loop() error {
	err := n.work() // applies again what had been committed
	if err == nil && n.core.SoleVoter() {
		err = n.core.Campaign()
	}
	for err == nil {
		if err = n.work(); err != nil {
			break
		}
		select {
		case <-n.wake:
		case <-n.stop:
			err = errStopping
		}
	}
	if errors.Is(err, errStopping) {
		return nil
	}
	return err
}

// work carries effects out until there are none. What is proposed meanwhile joins the next ones:
// one sync serves all that came while the one before ran.
func (n *Node) work() error {
	for {
		select {
		case <-n.stop:
			return errStopping
		default:
		}
		if err := n.takeProposals(); err != nil {
			return err
		}
		e, ok := n.core.Effects()
		if !ok {
			return nil
		}
		if err := n.carryOut(&e); err != nil {
			return err
		}
		if err := n.core.Done(); err != nil {
			return err
		}
		if n.bytesApplied >= max(n.cfg.SnapshotBytes, n.snapshotBytes) {
			if err := n.takeSnapshot(); err != nil {
				return err
			}
		}
	}
}

func (n *Node) takeProposals() error {
	n.mu.Lock()
	queue := n.mu.queue
	n.mu.queue, n.mu.queueBytes = nil, 0
	n.mu.Unlock()
	for _, data := range queue {
		// A proposal that comes too late is dropped: LeaderChanged tells.
		if err := n.core.Propose(data); err != nil && !errors.Is(err, ErrNotLeader) {
			return fmt.Errorf("proposing a metadata change: %w", err)
		}
	}
	return nil
}

// carryOut does what e says, in its order: entries, state, apply.
func (n *Node) carryOut(e *Effects) error {
	if len(e.Entries) > 0 {
		if err := n.withRoom(func() error { return n.log.append(e.Entries) }); err != nil {
			return err
		}
		if err := n.log.sync(); err != nil {
			return err
		}
	}
	if e.State != nil {
		if last := n.log.last(); e.State.Commit > last {
			return fmt.Errorf("entry %d counts as committed, and the log ends with %d", e.State.Commit, last)
		}
		if err := n.withRoom(func() error { return writeState(n.cfg.FS, n.dir, *e.State) }); err != nil {
			return err
		}
		n.log.committed(e.State.Commit)
		n.noteStatus(*e.State)
	}
	for i := range e.Apply {
		if err := n.apply(&e.Apply[i]); err != nil {
			return err
		}
	}
	if e.Leading != n.leading {
		n.leadingChanged(e.Leading)
	}
	return nil
}

func (n *Node) apply(c *Committed) error {
	n.bytesApplied += entryOverheadBytes + int64(len(c.Data))
	if len(c.Data) == 0 {
		return nil
	}
	if err := n.state.Apply(ids.Offset(c.Index), ids.LeaderEpoch(c.Term), c.Data); err != nil {
		return fmt.Errorf("applying metadata entry %d: %w", c.Index, err)
	}
	return nil
}

func (n *Node) leadingChanged(term uint64) {
	before := n.leading
	n.leading = term
	n.mu.Lock()
	n.mu.queue, n.mu.queueBytes = nil, 0 // proposals of another epoch
	n.mu.epoch, n.mu.status.Leader = ids.NoLeaderEpoch, ids.NoNode
	if term != 0 {
		n.mu.epoch, n.mu.status.Leader = ids.LeaderEpoch(term), n.cfg.NodeID
	}
	n.mu.Unlock()
	if before != 0 {
		n.state.LeaderChanged(false, ids.LeaderEpoch(before))
	}
	if term != 0 {
		n.state.LeaderChanged(true, ids.LeaderEpoch(term))
	}
}

// noteStatus publishes what Status returns.
func (n *Node) noteStatus(s State) {
	n.mu.Lock()
	defer n.mu.Unlock()
	st := &n.mu.status
	st.Epoch, st.HighWatermark = ids.LeaderEpoch(s.Term), ids.Offset(s.Commit+1)
	st.LogStart, st.LogEnd = ids.Offset(n.log.first()), ids.Offset(n.log.last()+1)
}

// takeSnapshot writes the state down as it is and lets go of the entries in it. The snapshot is
// durable before any of them goes.
func (n *Node) takeSnapshot() error {
	n.bytesApplied = 0
	at, err := n.core.Applied()
	if err != nil {
		return err
	}
	data, err := n.state.Snapshot()
	if err != nil {
		return fmt.Errorf("taking a metadata snapshot at %d: %w", at.Index, err)
	}
	err = writeSnapshot(n.cfg.FS, n.dir, snapshot{at, n.core.Voters(), data})
	if diskFull(err) {
		n.cfg.Logger.Warn("no room for a metadata snapshot; the log grows until the next one", "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	n.snapshotBytes = int64(len(data))
	if err := n.core.Compact(at); err != nil {
		return err
	}
	if err := n.log.cut(at.Index); err != nil {
		return err
	}
	if err := removeSnapshotsBut(n.cfg.FS, n.dir, snapshotName(at)); err != nil {
		return err
	}
	n.mu.Lock()
	n.mu.status.SnapshotEnd, n.mu.status.LogStart = ids.Offset(at.Index+1), ids.Offset(n.log.first())
	n.mu.Unlock()
	return nil
}

// withRoom repeats a write that a full disk has refused until there is room again or the node is
// stopped. Such a write has changed nothing, unlike a failed sync, which is never tried again.
func (n *Node) withRoom(write func() error) error {
	err := write()
	if !diskFull(err) {
		return err
	}
	n.cfg.Logger.Error("the disk is full: metadata changes wait until there is room", "error", err)
	for diskFull(err) {
		select {
		case <-n.stop:
			return errStopping
		case <-time.After(fullRetry):
			err = write()
		}
	}
	if err == nil {
		n.cfg.Logger.Info("there is room for metadata changes again")
	}
	return err
}

func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
