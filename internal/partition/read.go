package partition

import (
	"fmt"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/twmb/franz-go/pkg/kerr"
)

// FetchRequest is what a consumer asks of one partition.
type FetchRequest struct {
	From             ids.Offset
	CurrentEpoch     ids.LeaderEpoch // the leader epoch the client knows; -1: none
	LastFetchedEpoch ids.LeaderEpoch // epoch of the record before From; -1: none (v12+)
	MaxBytes         int32
	AtLeastOne       bool // return the first batch whole even where it is over MaxBytes (KIP-74)
	ReadCommitted    bool
	AnyReplica       bool // answer though another leads, with what this replica knows to be committed
}

// FetchResult is the answer for one partition. Its Slice holds a reference of a
// segment until Release.
type FetchResult struct {
	Slice         log.Slice
	HighWatermark ids.Offset
	LastStable    ids.Offset
	LogStart      ids.Offset
	Aborted       []log.AbortedTxn
	Diverging     *Diverging // set instead of data where the reader's log is another than ours
}

// Read returns what a fetch may see: whole batches below the high watermark, or below
// the last stable offset where it reads committed data only.
func (p *Partition) Read(req *FetchRequest) (FetchResult, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	res, err := p.readLocked(req)
	if err != nil {
		return res, fmt.Errorf("read %s at %d: %w", p.TopicPartition(), req.From, err)
	}
	return res, nil
}

func (p *Partition) readLocked(req *FetchRequest) (FetchResult, error) {
	fence := p.mu.core.FenceLeader
	if req.AnyReplica {
		fence = p.mu.core.FenceEpoch
	}
	if err := p.fencedLocked(fence(req.CurrentEpoch)); err != nil {
		return FetchResult{HighWatermark: -1, LastStable: -1, LogStart: -1}, err
	}
	res := FetchResult{HighWatermark: p.Log().HighWatermark(), LastStable: p.Log().LastStableOffset(), LogStart: p.Log().StartOffset()}
	diverging, err := p.divergenceLocked(req.From, req.LastFetchedEpoch)
	if diverging != nil || err != nil {
		res.Diverging = diverging
		return res, err
	}
	if req.ReadCommitted {
		res.Slice, res.Aborted, err = p.Log().ReadCommitted(req.From, res.LastStable, req.MaxBytes, req.AtLeastOne)
	} else {
		res.Slice, err = p.Log().Read(req.From, res.HighWatermark, req.MaxBytes, req.AtLeastOne)
	}
	return res, err
}

// divergenceLocked asks the log only where the reader knows of an epoch.
func (p *Partition) divergenceLocked(from ids.Offset, last ids.LeaderEpoch) (*Diverging, error) {
	if last == ids.NoLeaderEpoch {
		return nil, nil
	}
	epoch, end := p.Log().EndOffsetForEpoch(last)
	return Divergence(from, last, epoch, end)
}

// serveLocked tells whether this replica may answer a client that knows the leader epoch current.
func (p *Partition) serveLocked(current ids.LeaderEpoch) error {
	return p.fencedLocked(p.mu.core.FenceLeader(current))
}

// fencedLocked is what keeps this replica from answering: that it has gone, that it is fenced, or its log.
func (p *Partition) fencedLocked(fence error) error {
	if p.mu.gone != nil {
		return p.mu.gone
	}
	if err := p.Log().Err(); err != nil {
		return err // as in Kafka, whoever leads
	}
	return fence
}

// Found is the answer to an offset look-up. Offset and Timestamp are -1 where nothing fits.
type Found struct {
	Offset    ids.Offset
	Timestamp int64 // ms
	Epoch     ids.LeaderEpoch
}

var notFound = Found{Offset: ids.NoOffset, Timestamp: -1, Epoch: ids.NoLeaderEpoch}

// Offsets that ListOffsets asks for by a negative timestamp.
const (
	TimestampLatest        int64 = -1
	TimestampEarliest      int64 = -2
	TimestampMax           int64 = -3 // the record with the largest timestamp (KIP-734)
	TimestampEarliestLocal int64 = -4 // KIP-405
)

// FindOffset answers one partition of ListOffsets: timestamp is one of the constants
// above, or the first record at or after that many ms is looked for. Where that may lie behind a high watermark that an
// election has left behind, the error is 78, and the client asks again (KIP-207).
func (p *Partition) FindOffset(timestamp int64, current ids.LeaderEpoch, readCommitted bool) (Found, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if err := p.serveLocked(current); err != nil {
		return notFound, fmt.Errorf("look up an offset of %s: %w", p.TopicPartition(), err)
	}
	bound := p.Log().HighWatermark()
	if readCommitted {
		bound = p.Log().LastStableOffset()
	}
	if err := p.boundKnownLocked(timestamp); err != nil {
		return notFound, fmt.Errorf("look up an offset of %s: %w", p.TopicPartition(), err)
	}
	switch timestamp {
	case TimestampLatest:
		return Found{bound, -1, p.mu.core.state.LeaderEpoch}, nil
	case TimestampEarliest, TimestampEarliestLocal:
		return p.earliestLocked(), nil
	case TimestampMax:
		offset, ts, epoch, err := p.Log().MaxTimestamp(bound)
		return Found{offset, ts, epoch}, err
	}
	offset, ts, epoch, found, err := p.Log().OffsetForTimestamp(timestamp, bound)
	if err != nil || !found {
		return notFound, err
	}
	return Found{offset, ts, epoch}, nil
}

// boundKnownLocked refuses look-ups that could answer with less than the leader before.
func (p *Partition) boundKnownLocked(timestamp int64) error {
	p.progress.Lock()
	defer p.progress.Unlock()
	if timestamp != TimestampEarliest && timestamp != TimestampEarliestLocal && p.mu.core.BehindElection() {
		return kerr.OffsetNotAvailable
	}
	return nil
}

// earliestLocked answers with the epoch of the first record, or with none where the log is empty from its start.
func (p *Partition) earliestLocked() Found {
	start := p.Log().StartOffset()
	return Found{start, -1, p.Log().EpochAt(start)}
}

// EndOffsetForEpoch answers OffsetForLeaderEpoch: the largest epoch that is not above
// asked, and where it ends; -1 and -1 where that is not known (KIP-320).
func (p *Partition) EndOffsetForEpoch(asked, current ids.LeaderEpoch) (ids.LeaderEpoch, ids.Offset, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if err := p.serveLocked(current); err != nil {
		return ids.NoLeaderEpoch, ids.NoOffset, fmt.Errorf("look up an epoch of %s: %w", p.TopicPartition(), err)
	}
	epoch, end := p.Log().EndOffsetForEpoch(asked)
	return epoch, end, nil
}

// HighWatermark asks DeleteRecords for all that is committed.
const beforeHighWatermark ids.Offset = -1

// DeleteRecords removes the records below before (exclusive); -1 means all committed
// ones. It returns the log start offset, which is durable by then.
func (p *Partition) DeleteRecords(before ids.Offset) (ids.Offset, error) {
	start, err := p.deleteRecords(before)
	if err != nil {
		return ids.NoOffset, fmt.Errorf("delete records of %s: %w", p.TopicPartition(), err)
	}
	p.news()
	return start, nil
}

// deleteRecords holds the lock until it is done, so that the log is not replaced meanwhile.
func (p *Partition) deleteRecords(before ids.Offset) (ids.Offset, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if err := p.serveLocked(ids.NoLeaderEpoch); err != nil {
		return ids.NoOffset, err
	}
	l := p.Log()
	if cfg := l.Config(); cfg.CompactPolicy && !cfg.DeletePolicy {
		return ids.NoOffset, fmt.Errorf("cleanup.policy is compact alone: %w", kerr.PolicyViolation)
	}
	hw := l.HighWatermark()
	if before == beforeHighWatermark {
		before = hw
	}
	if before < 0 || before > hw {
		return ids.NoOffset, fmt.Errorf("offset %d is not between 0 and the high watermark %d: %w", before, hw, kerr.OffsetOutOfRange)
	}
	err := l.AdvanceStart(before)
	return l.StartOffset(), err
}
