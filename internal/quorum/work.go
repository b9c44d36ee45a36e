package quorum

import (
	"errors"
	"fmt"
	"syscall"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/moldau/moldau/internal/ids"
)

// entryOverheadBytes is about what an entry takes in the log beside its data.
const entryOverheadBytes = 80

// Work carries out what is due next; it returns false where nothing is.
func (m *Member) Work() (worked bool, err error) {
	if m.core == nil {
		return m.workWithoutVote()
	}
	if m.effects == nil {
		if changed, err := m.settle(); changed || err != nil {
			return true, err
		}
		e, ok := m.core.Effects()
		if !ok {
			return false, nil
		}
		m.effects, m.step = &e, 0
	}
	if err := m.carryOut(m.effects); err != nil {
		return true, err
	}
	m.effects = nil
	if err := m.core.Done(); err != nil {
		return true, err
	}
	return true, m.maySnapshot()
}

// carryOut does what e says, in its order. After a failure for want of room it goes on where it was.
func (m *Member) carryOut(e *Effects) error {
	steps := [...]func(*Effects) error{m.writeEntries, m.receiveSnapshot, m.persist, m.restore, m.sendAll, m.applyAll}
	for ; m.step < len(steps); m.step++ {
		if err := steps[m.step](e); err != nil {
			return err
		}
	}
	m.reads = append(m.reads, e.Reads...)
	return m.noteLeading(e.Leading)
}

func (m *Member) writeEntries(e *Effects) error {
	if len(e.Entries) == 0 {
		return nil
	}
	if e.Restore != nil {
		return fmt.Errorf("entries from %d on come together with a snapshot at %d", e.Entries[0].GetIndex(), e.Restore.GetMetadata().GetIndex())
	}
	if first := e.Entries[0].GetIndex(); first <= m.log.last() && !m.cfg.alone() {
		if err := writeState(m.cfg.FS, m.dir, storedState{m.hard, first}); err != nil {
			return mayWait(err)
		}
		m.cutting = true
	}
	if err := m.log.append(e.Entries); err != nil {
		return mayWait(err)
	}
	return m.log.sync()
}

// receiveSnapshot makes a snapshot durable before quorum-state counts it as committed.
func (m *Member) receiveSnapshot(e *Effects) error {
	if e.Restore == nil {
		return nil
	}
	meta := e.Restore.GetMetadata()
	return mayWait(writeReceived(m.cfg.FS, m.dir, Position{meta.GetIndex(), meta.GetTerm()}, e.Restore.GetData()))
}

func (m *Member) persist(e *Effects) error {
	if e.State == nil && !m.cutting {
		return nil
	}
	state := m.hard
	if e.State != nil {
		state = *e.State
	}
	end := m.log.last()
	if e.Restore != nil {
		end = e.Restore.GetMetadata().GetIndex()
	}
	if state.Commit > end {
		return fmt.Errorf("entry %d counts as committed, and the log ends with %d", state.Commit, end)
	}
	if err := writeState(m.cfg.FS, m.dir, storedState{State: state}); err != nil {
		return mayWait(err)
	}
	m.hard, m.cutting = state, false
	if e.Restore == nil {
		m.log.committed(state.Commit)
	}
	return nil
}

// restore brings a received snapshot in force.
func (m *Member) restore(e *Effects) error {
	if e.Restore == nil {
		return nil
	}
	s, err := decodeSnapshot(e.Restore.GetData())
	if err != nil {
		return fmt.Errorf("a snapshot that was received: %w", err)
	}
	return m.install(s)
}

// install has a received snapshot, which quorum-state counts as committed, take the place of log and state.
func (m *Member) install(s snapshot) error {
	if err := m.log.restart(s.Index); err != nil {
		return err
	}
	if err := finishReceived(m.cfg.FS, m.dir, s.Position); err != nil {
		return err
	}
	m.log.committed(s.Index)
	m.newest, m.applied, m.members = s.Position, s.Position, s.members
	m.bytesApplied, m.snapshotBytes = 0, int64(len(s.data))
	if err := m.state.Restore(ids.Offset(s.Index), ids.LeaderEpoch(s.Term), s.data); err != nil {
		return fmt.Errorf("restoring the metadata snapshot at %d: %w", s.Index, err)
	}
	return nil
}

func (m *Member) sendAll(e *Effects) error {
	for _, r := range e.Messages {
		if r.GetType() == raftpb.MsgSnap {
			var err error
			if r, err = m.withSnapshot(r); err != nil {
				return err
			}
		}
		if to := m.routeTo(r.GetTo()); to != ids.NoNode {
			m.post(Message{To: to, Raft: r})
		}
	}
	return nil
}

func (m *Member) post(msg Message) {
	msg.ClusterID, msg.From = m.members.ClusterID, m.cfg.self()
	m.send(msg)
}

// withSnapshot puts the newest snapshot into the message: raft knows only where it ends, and may
// mean the one before.
func (m *Member) withSnapshot(r *raftpb.Message) (*raftpb.Message, error) {
	content, err := readSnapshot(m.cfg.FS, m.dir, m.newest)
	if err != nil {
		return nil, err
	}
	s, err := decodeSnapshot(content)
	if err != nil {
		return nil, fmt.Errorf("%w: snapshot at %d: %w", ErrDamaged, m.newest.Index, err)
	}
	r = proto.CloneOf(r)
	r.Snapshot = &raftpb.Snapshot{Data: content, Metadata: &raftpb.SnapshotMetadata{ConfState: s.members.Conf, Index: &s.Index, Term: &s.Term}}
	return r, nil
}

func (m *Member) applyAll(e *Effects) error {
	for i := range e.Apply {
		if err := m.apply(&e.Apply[i]); err != nil {
			return err
		}
	}
	return nil
}

func (m *Member) apply(c *Committed) error {
	m.bytesApplied += entryOverheadBytes + int64(len(c.Data))
	switch c.Kind {
	case kindOpening:
	case kindDecision:
		if err := m.state.Apply(ids.Offset(c.Index), ids.LeaderEpoch(c.Term), c.Data); err != nil {
			return fmt.Errorf("applying metadata entry %d: %w", c.Index, err)
		}
	case kindFounding, kindAdmission, kindConfiguration:
		if err := m.members.apply(c); err != nil {
			return fmt.Errorf("changing the members of the metadata quorum: %w", err)
		}
	default:
		return fmt.Errorf("metadata entry %d is of kind %d, which this release does not know", c.Index, c.Kind)
	}
	m.applied = c.Position
	return nil
}

// maySnapshot writes the state down as it is once enough was applied, and lets go of the entries in it. The
// snapshot is durable before any of them goes.
func (m *Member) maySnapshot() error {
	if m.bytesApplied < max(m.cfg.SnapshotBytes, m.snapshotBytes) {
		return nil
	}
	m.bytesApplied = 0
	data, err := m.state.Snapshot()
	if err != nil {
		return fmt.Errorf("taking a metadata snapshot at %d: %w", m.applied.Index, err)
	}
	err = writeSnapshot(m.cfg.FS, m.dir, snapshot{m.applied, m.members, data})
	if isFull(err) {
		m.cfg.Logger.Warn("no room for a metadata snapshot; the log grows until the next one", "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	m.newest, m.snapshotBytes = m.applied, int64(len(data))
	if m.core != nil {
		if err := m.core.Compact(m.newest, m.members.Conf); err != nil {
			return err
		}
	}
	if err := m.log.cut(m.newest.Index); err != nil {
		return err
	}
	return removeSnapshotsBut(m.cfg.FS, m.dir, snapshotName(m.newest))
}

// noRoom is a write that a full disk has refused. It has changed nothing, unlike a failed sync, which
// is never tried again.
type noRoom struct{ error }

func (e noRoom) Unwrap() error { return e.error }

// mayWait marks the error of a write that may be tried again.
func mayWait(err error) error {
	if isFull(err) {
		return noRoom{err}
	}
	return err
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// DiskFull tells an error after which Work may be called again.
func DiskFull(err error) bool {
	var full noRoom
	return errors.As(err, &full)
}
