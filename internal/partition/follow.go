package partition

import (
	"errors"
	"fmt"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
)

// FollowerRead is what the fetch of another replica asks of one partition.
type FollowerRead struct {
	Node             ids.NodeID
	BrokerEpoch      int64
	From             ids.Offset
	Start            ids.Offset // of its log
	CurrentEpoch     ids.LeaderEpoch
	LastFetchedEpoch ids.LeaderEpoch
	MaxBytes         int32
	AtLeastOne       bool
}

// ReadAsFollower answers a follower's fetch: whole batches up to the log's end, and notes what the fetch says of the
// follower. Where the error wraps kerr.OffsetOutOfRange, LogStart tells where the follower can begin anew.
func (p *Partition) ReadAsFollower(req *FollowerRead) (FetchResult, error) {
	res, err := p.readAsFollower(req)
	if err != nil {
		return res, fmt.Errorf("read %s at %d for node %d: %w", p.TopicPartition(), req.From, req.Node, err)
	}
	return res, nil
}

func (p *Partition) readAsFollower(req *FollowerRead) (FetchResult, error) {
	p.mu.RLock()
	res, err := p.placeLocked(req)
	if err != nil || res.Diverging != nil {
		p.mu.RUnlock()
		return res, err
	}
	p.progress.Lock()
	p.mu.core.Appended(p.Log().EndOffset())
	joins, err := p.mu.core.FollowerFetched(FollowerFetch{req.Node, req.BrokerEpoch, req.From, req.Start}, p.Log().StartOffset(), time.Now())
	hw, moved, broken := p.advanceLocked()
	p.progress.Unlock()
	if err == nil {
		res.HighWatermark, res.LastStable = hw, p.Log().LastStableOffset()
		res.Slice, err = p.sliceForLocked(req)
	}
	p.mu.RUnlock()
	p.advanced(hw, moved, broken)
	p.starts.tell()
	if joins && p.peers.ISRWanted != nil {
		p.peers.ISRWanted(p)
	}
	return res, err
}

// sliceForLocked reads what a follower asks for. What it has been sent before it is sent again only if it is whole: a follower refuses
// batches that fail their checksums, and asks again.
func (p *Partition) sliceForLocked(req *FollowerRead) (log.Slice, error) {
	s, err := p.Log().Read(req.From, p.Log().EndOffset(), req.MaxBytes, req.AtLeastOne)
	if err != nil || s.Len() == 0 {
		return s, err
	}
	p.progress.Lock()
	again := p.mu.core.Sends(req.Node, req.From)
	p.progress.Unlock()
	if again {
		if err := p.Log().Verify(s); err != nil {
			s.Release()
			return log.Slice{}, err
		}
	}
	return s, nil
}

// placeLocked checks that the follower's log is the beginning of this one, or tells how it is not.
func (p *Partition) placeLocked(req *FollowerRead) (FetchResult, error) {
	if err := p.serveLocked(req.CurrentEpoch); err != nil {
		return FetchResult{HighWatermark: -1, LastStable: -1, LogStart: -1}, err
	}
	l := p.Log()
	res := FetchResult{HighWatermark: l.HighWatermark(), LastStable: l.LastStableOffset(), LogStart: l.StartOffset()}
	var err error
	res.Diverging, err = p.divergenceLocked(req.From, req.LastFetchedEpoch)
	if err == nil && res.Diverging == nil {
		err = CheckPlace(req.From, l.StartOffset(), l.EndOffset())
	}
	return res, err
}

// Position is where a follower's next fetch goes on.
type Position struct {
	End       ids.Offset
	LastEpoch ids.LeaderEpoch // of the last record; NoLeaderEpoch where none is known
	Start     ids.Offset
	Ready     bool // see Core.MayFetch
	Full      bool // there is no room for what a fetch would bring
}

// Position returns where this replica's next fetch goes on, false where it does not follow a leader in that epoch. Where it
// is not ready it has asked for the sync that it waits for.
func (p *Partition) Position(epoch ids.LeaderEpoch) (Position, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.mu.gone != nil || !p.mu.core.Follows(epoch) || p.Log().Err() != nil {
		return Position{}, false
	}
	l := p.Log()
	p.progress.Lock()
	p.mu.core.Durable(l.DurableEnd())
	ready := p.mu.core.MayFetch()
	p.progress.Unlock()
	if !ready {
		l.RequestSync()
	}
	return Position{End: l.EndOffset(), LastEpoch: l.LatestEpoch(), Start: l.StartOffset(), Ready: ready, Full: l.Full()}, true
}

// Replicated is a leader's answer that brings records, or none.
type Replicated struct {
	Epoch         ids.LeaderEpoch // that the leader was asked in
	From          ids.Offset      // where it was asked
	Batches       []byte
	HighWatermark ids.Offset
	LogStart      ids.Offset
}

// AppendAsFollower appends what the leader sent, and follows its high watermark and log start. An error that is ErrOutdated says
// that the answer came too late. The batches are the caller's again when it returns.
func (p *Partition) AppendAsFollower(r *Replicated) error {
	err := p.appendAsFollower(r)
	if err != nil {
		return fmt.Errorf("replicate %s at %d: %w", p.TopicPartition(), r.From, err)
	}
	return nil
}

func (p *Partition) appendAsFollower(r *Replicated) error {
	batches, err := OfEpoch(r.Batches, r.Epoch)
	if err != nil {
		return err
	}
	l := p.Log()
	if base, begins := BeginsBelow(batches, max(r.LogStart, l.StartOffset()), l.EndOffset()); begins {
		return p.rebase(r, base, batches)
	}
	p.mu.RLock()
	hw, moved, err := p.replicateLocked(r, batches)
	p.mu.RUnlock()
	if moved {
		p.moved(hw)
	}
	return err
}

// replicateLocked holds mu shared for all of it, so that neither the leader nor the log changes meanwhile.
func (p *Partition) replicateLocked(r *Replicated, batches []byte) (hw ids.Offset, moved bool, err error) {
	p.following.Lock()
	defer p.following.Unlock()
	l := p.Log()
	if err := p.fenceFollowerLocked(r.Epoch, r.From); err != nil {
		return 0, false, err
	}
	if len(batches) > 0 {
		_, err = l.AppendAsFollower(batches) // which may have appended some of them
	}
	p.progress.Lock()
	before := p.mu.core.highWatermark
	hw = p.mu.core.Replicated(l.EndOffset(), r.HighWatermark)
	if hw > before {
		l.SetHighWatermark(hw)
	}
	p.progress.Unlock()
	if start := min(r.LogStart, hw); start > l.StartOffset() { // which makes room, where there was none to append
		err = errors.Join(err, l.AdvanceStart(start))
	}
	return hw, hw > before, err
}

func (p *Partition) fenceFollowerLocked(epoch ids.LeaderEpoch, from ids.Offset) error {
	if p.mu.gone != nil {
		return p.mu.gone
	}
	p.progress.Lock()
	defer p.progress.Unlock()
	p.mu.core.Appended(p.Log().EndOffset())
	return p.mu.core.FenceFollower(epoch, from)
}

// TruncateAsFollower gives up the records that the leader, asked in an epoch at offset from, does not have. lost tells that
// some of them were committed, as far as this replica knew.
func (p *Partition) TruncateAsFollower(epoch ids.LeaderEpoch, from ids.Offset, d Diverging) (lost bool, err error) {
	return p.cut(epoch, from, func(l *log.Log) error {
		_, ownEnd := l.EndOffsetForEpoch(d.Epoch)
		return l.TruncateTo(d.Cut(ownEnd, l.EndOffset()))
	})
}

// RestartAsFollower gives up all records, because the leader's log, asked in an epoch at offset from, does not reach there, and goes on
// at its start.
func (p *Partition) RestartAsFollower(epoch ids.LeaderEpoch, from, leaderStart ids.Offset) (lost bool, err error) {
	return p.cut(epoch, from, func(l *log.Log) error { return l.TruncateFullyAndStartAt(leaderStart) })
}

// cut makes the log shorter. It waits for the disk with mu held exclusively: nothing may be read or
// appended, and nobody may lead, before the log is what it will be.
func (p *Partition) cut(epoch ids.LeaderEpoch, from ids.Offset, truncate func(*log.Log) error) (lost bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.fenceFollowerLocked(epoch, from); err != nil {
		return false, fmt.Errorf("truncate %s: %w", p.TopicPartition(), err)
	}
	l := p.Log()
	err = truncate(l)
	lost = p.mu.core.Truncated(l.StartOffset(), l.EndOffset())
	l.SetHighWatermark(p.mu.core.highWatermark)
	if err != nil {
		return lost, fmt.Errorf("truncate %s: %w", p.TopicPartition(), err)
	}
	return lost, nil
}

// rebase makes a log of which nothing is left anew with batches that begin at base, below its end.
func (p *Partition) rebase(r *Replicated, base ids.Offset, batches []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.fenceFollowerLocked(r.Epoch, r.From); err != nil {
		return err
	}
	l := p.Log()
	start := max(r.LogStart, l.StartOffset())
	if err := l.TruncateFullyAndStartAt(base); err != nil {
		return err
	}
	if _, err := l.AppendAsFollower(batches); err != nil {
		p.mu.core.Truncated(base, l.EndOffset())
		return err
	}
	p.mu.core.Rebased(base, l.EndOffset())
	hw := p.mu.core.Replicated(l.EndOffset(), r.HighWatermark)
	l.SetHighWatermark(hw)
	return l.AdvanceStart(min(start, hw))
}

// ChangeISR returns the ISR that this leader wants the controller to decide on now, false for none.
func (p *Partition) ChangeISR() (ISRChange, bool) {
	p.mu.Lock()
	if p.mu.gone != nil {
		p.mu.Unlock()
		return ISRChange{}, false
	}
	change, ok := p.mu.core.ChangeISR(time.Now())
	p.mu.Unlock()
	if ok {
		p.syncIfNeeded() // if it is about to be the only one in sync
	}
	p.advance(ids.NoOffset) // nobody waits for a replica whose broker is no longer at work
	p.starts.tell()
	return change, ok
}

// ISRAnswered takes the controller's answer to a change, nil or one of AlterPartition's errors. again tells that it is to be sent again.
func (p *Partition) ISRAnswered(change *ISRChange, answer error) (again bool) {
	p.mu.Lock()
	again = p.mu.core.ISRAnswered(change, answer, time.Now())
	p.mu.Unlock()
	p.advance(ids.NoOffset) // nobody waits for a replica that was refused
	return again
}
