package partition

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// ErrOutdated says that an answer is one to a fetch of another epoch, or from another offset, than this replica now has.
var ErrOutdated = errors.New("the leader's answer is outdated")

// Diverging tells a reader the end of the largest epoch that is not above the one
// it fetched last (Fetch v12+).
type Diverging struct {
	Epoch ids.LeaderEpoch
	End   ids.Offset
}

// Divergence compares the log of a reader, whose last record before from has epoch last, with this one, whose largest epoch that is not
// above last is found and ends at end. It returns nil where the reader's log may be the beginning of this one, and an error
// where this log cannot tell.
func Divergence(from ids.Offset, last, found ids.LeaderEpoch, end ids.Offset) (*Diverging, error) {
	switch {
	case last == ids.NoLeaderEpoch:
		return nil, nil
	case end == ids.NoOffset || found == ids.NoLeaderEpoch:
		return nil, kerr.OffsetOutOfRange
	case found < last || end < from:
		return &Diverging{found, end}, nil
	}
	return nil, nil
}

// CheckPlace checks that a follower asks for what lies between the start and the end of this log (error 1).
func CheckPlace(from, start, end ids.Offset) error {
	if from < start || from > end {
		return fmt.Errorf("offset %d is not between %d and %d: %w", from, start, end, kerr.OffsetOutOfRange)
	}
	return nil
}

// Cut returns where a follower cuts its log that differs from the leader's as d says: ownEnd is the end, by its own log, of its
// largest epoch that is not above d.Epoch, NoOffset where it cannot tell. Its next fetch finds out whether that was enough.
func (d Diverging) Cut(ownEnd, logEnd ids.Offset) ids.Offset {
	to := min(d.End, logEnd)
	if ownEnd != ids.NoOffset {
		to = min(to, ownEnd)
	}
	return to
}

// OfEpoch returns the batches before the first that is of a later epoch than the leader was asked in: the leader's log may have been
// cut and written anew between its answer and the sending of the bytes (KAFKA-18723).
func OfEpoch(batches []byte, epoch ids.LeaderEpoch) ([]byte, error) {
	for rest := batches; len(rest) > 0; {
		b, after, err := record.First(rest)
		if err != nil {
			return nil, err
		}
		if b.LeaderEpoch() > epoch {
			return batches[:len(batches)-len(rest)], nil
		}
		rest = after
	}
	return batches, nil
}

// BeginsBelow tells that the first of the batches begins below this log's end, which is no lower than start, the higher one of the starts of both
// logs: one of them starts within that batch. Nothing of this log is worth keeping then. It has to begin anew at base with the
// batches (Core.Rebased), and starts where it did.
func BeginsBelow(batches []byte, start, end ids.Offset) (base ids.Offset, begins bool) {
	if len(batches) == 0 || start < end {
		return ids.NoOffset, false
	}
	b := record.Batch(batches)
	return b.BaseOffset(), b.BaseOffset() < end && b.LastOffset() >= end
}

// MayFetch tells whether a fetch from this replica's end says no more than the leader makes of it: where acks=all waits for syncs of every
// replica in sync, that everything below is synced.
func (c *Core) MayFetch() bool {
	return c.rules.Durability != DurabilityFsync || c.durable >= c.end
}

// Follows tells whether this replica follows a leader in that epoch.
func (c *Core) Follows(epoch ids.LeaderEpoch) bool {
	return !c.Leads() && c.state.Leader != ids.NoNode && c.state.LeaderEpoch == epoch
}

// FenceFollower checks that the answer to a fetch from an offset in an epoch still concerns this replica.
func (c *Core) FenceFollower(epoch ids.LeaderEpoch, from ids.Offset) error {
	if !c.Follows(epoch) || from != c.end {
		return fmt.Errorf("%w: to a fetch from %d in epoch %d, not from %d in epoch %d", ErrOutdated, from, epoch, c.end, c.state.LeaderEpoch)
	}
	return nil
}

// Replicated tells that the log now ends at end, and how far the leader says records are committed. It returns
// how far they are here.
func (c *Core) Replicated(end, leaderHighWatermark ids.Offset) ids.Offset {
	c.Appended(end)
	c.highWatermark = max(c.highWatermark, min(leaderHighWatermark, c.end))
	return c.highWatermark
}

// Truncated tells that the log was cut durably and has what lies between start and end. lost tells that some of
// that was committed: without an election of a replica that was not in sync that is damage.
func (c *Core) Truncated(start, end ids.Offset) (lost bool) {
	lost = end < c.highWatermark
	c.end, c.durable = end, end
	c.highWatermark = max(start, min(c.highWatermark, end))
	return lost
}

// Rebased tells that the log was made anew with what lies between base and end, of which nothing is synced. It ends no lower than before.
func (c *Core) Rebased(base, end ids.Offset) { c.durable, c.end = base, end }
