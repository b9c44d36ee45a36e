package partition

import (
	"fmt"

	"github.com/moldau/moldau/internal/deferred"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/record"
)

// AcksAll is the acks of a produce request that waits for all in-sync replicas.
const AcksAll int16 = -1

// AppendAsLeader appends a validated batch in this leader's epoch, stamping its
// offset and epoch in place. Where acks is AcksAll it refuses while too few replicas
// are in sync (19); the caller then waits with WhenCommitted for one past the
// last offset of the answer.
func (p *Partition) AppendAsLeader(b record.Batch, acks int16) (log.Appended, error) {
	appended, unsynced, err := p.AppendUnsynced(b, acks)
	if unsynced {
		p.Log().RequestSync()
	}
	return appended, err
}

// AppendAndSync is AppendAsLeader for a caller who has nothing else to do until the batch is
// committed: where that takes a sync of this replica alone, it has most often been done when this
// returns.
func (p *Partition) AppendAndSync(b record.Batch, acks int16) (log.Appended, error) {
	appended, unsynced, err := p.AppendUnsynced(b, acks)
	if unsynced {
		p.Log().SyncHere()
	}
	return appended, err
}

// AppendUnsynced is AppendAsLeader but for the sync: where unsynced is true the batch is not committed before the
// caller has asked the log for one.
func (p *Partition) AppendUnsynced(b record.Batch, acks int16) (appended log.Appended, unsynced bool, err error) {
	p.mu.RLock()
	appended, err = p.appendLocked(b, acks)
	gated := p.mu.core.GatedBySync()
	p.mu.RUnlock()
	if err != nil {
		return appended, false, fmt.Errorf("append to %s: %w", p.TopicPartition(), err)
	}
	if appended.Duplicate {
		return appended, false, nil
	}
	p.advance(appended.LastOffset + 1)
	p.replicas.tellAny()
	return appended, gated, nil
}

func (p *Partition) appendLocked(b record.Batch, acks int16) (log.Appended, error) {
	if p.mu.gone != nil {
		return log.Appended{}, p.mu.gone
	}
	if err := p.Log().Err(); err != nil {
		return log.Appended{}, err
	}
	if err := p.mu.core.FenceLeader(ids.NoLeaderEpoch); err != nil {
		return log.Appended{}, err
	}
	if acks == AcksAll {
		if err := p.mu.core.EnoughInSync(); err != nil {
			return log.Appended{}, err
		}
	}
	return p.Log().AppendAsLeader(b, p.mu.core.state.LeaderEpoch)
}

// WhenCommitted tells w once everything below end (exclusive) is committed, at once
// where it is, or with an error where it cannot be any more.
func (p *Partition) WhenCommitted(end ids.Offset, w deferred.Waiter) {
	p.committed.Add(end, w)
}
