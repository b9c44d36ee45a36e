package runtime

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/invariant"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/record"
	"github.com/twmb/franz-go/pkg/kerr"
)

// tickRetry is how long a tick whose records could not be written waits for the next: the shard is as due as before.
const tickRetry = 500 * time.Millisecond

// state is how far a life is. It goes up only.
type state uint8

const (
	loading state = iota
	active
	discarded // for good: the next election begins another life
)

// life is a shard from the election of this broker to its end, in one leader epoch.
type life struct {
	runtime   *Runtime
	partition *partition.Partition
	number    int32
	name      string // of the partition
	epoch     ids.LeaderEpoch
	calls     calls

	// mu is taken with enter alone. Whatever takes long under it keeps every client of the shard waiting.
	mu struct {
		sync.Mutex
		state state
		shard Shard      // nil unless active: whoever loads has it until then
		end   ids.Offset // exclusive: the shard has replayed everything below
		timer *time.Timer
		due   time.Time // for which timer is set; zero where it is not

		unsynced bool // this event has appended what waits for a sync that nobody has asked for
	}
}

func newLife(r *Runtime, p *partition.Partition, number int32, epoch ids.LeaderEpoch) *life {
	return &life{runtime: r, partition: p, number: number, name: r.name(number), epoch: epoch}
}

// enter begins an event.
func (l *life) enter() {
	l.mu.Lock()
	l.calls.enter()
}

// leave ends an event and answers whom it has an answer for. What was appended is synced after that.
func (l *life) leave() {
	if l.leaveUnsynced() {
		l.partition.Log().RequestSync()
	}
}

// leaveUnsynced is leave, and tells whether the log is to be asked for a sync.
func (l *life) leaveUnsynced() bool {
	unsynced := l.mu.unsynced
	l.mu.unsynced = false
	l.mu.Unlock()
	l.calls.leave()
	return unsynced
}

// request has the shard handle a request of which somebody waits for the reply; alone where the caller has nothing
// else to do until then.
func (l *life) request(req any, alone bool, answer func(response any, err error)) {
	l.enter()
	err := l.readyLocked()
	if err == nil {
		now := time.Now()
		effects := l.mu.shard.Handle(l.calls.add(answer), req, now)
		_ = l.carryOutLocked(now, effects) // has been told to whom it concerns
		l.armLocked(time.Time{})
	}
	unsynced := l.leaveUnsynced()
	switch {
	case err != nil:
		answer(nil, err)
	case unsynced && alone:
		l.partition.Log().SyncHere()
	case unsynced:
		l.partition.Log().RequestSync()
	}
}

// tell has the shard handle a request without a reply.
func (l *life) tell(req any) {
	l.enter()
	defer l.leave()
	if l.readyLocked() != nil {
		return
	}
	now := time.Now()
	_ = l.carryOutLocked(now, l.mu.shard.Handle(0, req, now)) // as in request
	l.armLocked(time.Time{})
}

// activate makes a shard whose log has been replayed up to end ready for requests, and tells whether the life
// goes on.
func (l *life) activate(shard Shard, end ids.Offset) bool {
	l.enter()
	defer l.leave()
	if l.mu.state != loading {
		return false
	}
	l.mu.state, l.mu.shard, l.mu.end = active, shard, end
	now := time.Now()
	_ = l.carryOutLocked(now, shard.Loaded(now)) // as in request
	l.armLocked(time.Time{})
	return l.mu.state == active
}

// tick is what the timer calls.
func (l *life) tick() {
	defer l.runtime.background.Done()
	l.enter()
	defer l.leave()
	l.mu.due = time.Time{}
	if l.readyLocked() != nil {
		return
	}
	now := time.Now()
	var earliest time.Time
	// What was due may have been put off after the timer fired.
	if due := l.mu.shard.Due(); !due.IsZero() && !due.After(now) {
		if l.carryOutLocked(now, l.mu.shard.Tick(now)) != nil {
			earliest = now.Add(tickRetry)
		}
	}
	l.armLocked(earliest)
}

// discard ends the life: whoever waits is told to look for another coordinator.
func (l *life) discard() {
	l.enter()
	defer l.leave()
	l.discardLocked(nil)
}

// discardLocked ends the life because of cause, which may be nil.
func (l *life) discardLocked(cause error) {
	if l.mu.state == discarded {
		return
	}
	l.mu.state, l.mu.shard, l.mu.due = discarded, nil, time.Time{}
	l.stopTimerLocked()
	l.calls.failAll(l.notCoordinator())
	if cause != nil {
		l.runtime.cfg.Logger.Warn("coordinator: a partition is unavailable until the next election", "partition", l.name, "epoch", l.epoch, "err", cause)
	}
}

// readyLocked returns nil where the shard takes events.
func (l *life) readyLocked() error {
	switch l.mu.state {
	case loading:
		return fmt.Errorf("%s: %w", l.name, kerr.CoordinatorLoadInProgress)
	case discarded:
		return l.notCoordinator()
	case active:
		if err := l.partition.Log().Err(); err != nil { // nothing will ever be committed
			l.discardLocked(err)
			return l.notCoordinator()
		}
	}
	return nil
}

// carryOutLocked does what an event of the active shard wants. Its error is that of the append, which the replies
// have, too, or else the log of this broker.
func (l *life) carryOutLocked(now time.Time, effects Effects) error {
	var err error
	if len(effects.Records) > 0 {
		err = l.appendLocked(now.UnixMilli(), effects.Records)
	}
	if err != nil {
		l.refuseLocked(effects.Replies, err)
		return err
	}
	if effects.Applied != nil {
		effects.Applied()
	}
	for _, r := range effects.Replies {
		if c := l.replyLocked(r); c != nil {
			l.partition.WhenCommitted(l.mu.end, c)
		}
	}
	return nil
}

// refuseLocked tells of an append that failed.
func (l *life) refuseLocked(replies []Reply, err error) {
	answer := coordinatorError(err)
	for _, r := range replies {
		if c := l.replyLocked(r); c != nil {
			l.calls.settle(c, answer)
		}
	}
	switch {
	case l.lost(err):
		l.discardLocked(err)
	case len(replies) == 0:
		l.runtime.cfg.Logger.Warn("coordinator: records could not be written", "partition", l.name, "err", err)
	}
}

func (l *life) replyLocked(r Reply) *call {
	c := l.calls.reply(r)
	if c == nil {
		err := invariant.Check(false, "%s replied to ticket %d, which waits for no reply", l.name, r.To)
		l.runtime.cfg.Logger.Error("coordinator: a reply is lost", "partition", l.name, "err", err)
	}
	return c
}

// appendLocked appends records as one batch and replays them, or returns an error and has changed nothing
// of the shard.
func (l *life) appendLocked(timestamp int64, records []Record) error {
	batch, err := l.batch(timestamp, records)
	if err != nil {
		return err
	}
	// A newer epoch that the runtime was not told of yet: what others wrote meanwhile is not in the shard.
	if _, epoch := l.partition.Leader(); epoch > l.epoch {
		return l.fenced(epoch)
	}
	appended, unsynced, err := l.partition.AppendUnsynced(batch, partition.AcksAll)
	if err != nil {
		return err
	}
	l.mu.unsynced = l.mu.unsynced || unsynced
	if epoch := batch.LeaderEpoch(); epoch > l.epoch {
		return l.fenced(epoch)
	}
	for i, r := range records {
		if err := l.mu.shard.Replay(r.Key, r.Value, timestamp); err != nil {
			l.runtime.cfg.Logger.Error("coordinator: a shard refuses a record of its own",
				"partition", l.name, "offset", appended.BaseOffset+ids.Offset(i), "err", err)
		}
	}
	l.mu.end = appended.LastOffset + 1
	return nil
}

// batch makes one batch of records, which must not be larger than the topic allows.
func (l *life) batch(timestamp int64, records []Record) (record.Batch, error) {
	b := record.NewBuilder()
	for _, r := range records {
		b.Append(timestamp, r.Key, r.Value)
	}
	policy := l.partition.Policy()
	switch size := b.SizeBytes(); {
	case size > int(policy.MaxMessageBytes):
		return nil, fmt.Errorf("%d records for %s are a batch of %d bytes, max.message.bytes is %d: %w",
			len(records), l.name, size, policy.MaxMessageBytes, kerr.MessageTooLarge)
	case size > int(policy.SegmentBytes):
		return nil, fmt.Errorf("%d records for %s are a batch of %d bytes, segment.bytes is %d: %w",
			len(records), l.name, size, policy.SegmentBytes, kerr.RecordListTooLarge)
	}
	return b.Build(record.None)
}

func (l *life) fenced(epoch ids.LeaderEpoch) error {
	return fmt.Errorf("the shard of %s is of epoch %d, the partition is in %d: %w", l.name, l.epoch, epoch, kerr.NotLeaderForPartition)
}

// lost tells whether an error of an append ends the life. A disk that is full does not: the shard is as its log is, and
// goes on when there is room.
func (l *life) lost(err error) bool {
	return errors.Is(err, kerr.NotLeaderForPartition) || l.partition.Log().Err() != nil
}

// armLocked sets the timer to when the shard is due, but not before earliest.
func (l *life) armLocked(earliest time.Time) {
	if l.mu.state != active {
		return
	}
	due := l.mu.shard.Due()
	if !due.IsZero() && due.Before(earliest) {
		due = earliest
	}
	if due.Equal(l.mu.due) {
		return
	}
	l.mu.due = due
	if due.IsZero() {
		l.stopTimerLocked()
		return
	}
	wait := max(time.Until(due), 0)
	switch {
	case l.mu.timer == nil:
		l.runtime.background.Add(1)
		l.mu.timer = time.AfterFunc(wait, l.tick)
	case !l.mu.timer.Reset(wait):
		l.runtime.background.Add(1)
	}
}

func (l *life) stopTimerLocked() {
	if l.mu.timer != nil && l.mu.timer.Stop() {
		l.runtime.background.Done()
	}
}

func (l *life) notCoordinator() error { return fmt.Errorf("%s: %w", l.name, kerr.NotCoordinator) }
