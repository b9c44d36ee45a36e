package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/partition"
)

// Requester sends a request to another node; *peer.Client does. The answer is the caller's until it calls release, once.
type Requester interface {
	RequestLent(ctx context.Context, to ids.NodeID, req kmsg.Request) (resp kmsg.Response, release func(), err error)
}

// FetchersConfig is what Fetchers need.
type FetchersConfig struct {
	FetcherConfig
	Requester   Requester
	BrokerEpoch func() int64 // of this broker's registration
	Logger      *slog.Logger
}

// Fetchers have the partitions that this broker follows be fetched from their leaders. Java: ReplicaFetcherManager.
//
// Goroutines: one for each leader, while something is followed from it.
type Fetchers struct {
	cfg    FetchersConfig
	ctx    context.Context
	cancel context.CancelFunc

	mu struct {
		sync.Mutex // -> leaderFetch.mu
		leaders    map[ids.NodeID]*leaderFetch
		following  map[PartitionKey]*leaderFetch
		stopped    bool
	}
	workers sync.WaitGroup
}

// leaderFetch is what is followed from one leader.
type leaderFetch struct {
	owner  *Fetchers
	leader ids.NodeID
	wake   chan struct{} // gets one token when something else is to be followed

	mu struct {
		sync.Mutex // -> partition.Partition.mu
		fetcher    *Fetcher
		partitions map[PartitionKey]*partition.Partition
	}
	failing bool // the last request; the worker's
}

// NewFetchers returns fetchers of nothing.
func NewFetchers(cfg FetchersConfig) *Fetchers {
	f := &Fetchers{cfg: cfg}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.mu.leaders = make(map[ids.NodeID]*leaderFetch)
	f.mu.following = make(map[PartitionKey]*leaderFetch)
	return f
}

func keyOf(p *partition.Partition) PartitionKey {
	return PartitionKey{p.TopicID(), p.TopicPartition().Partition}
}

// Follow has a partition fetched from its leader in an epoch, and from nobody else.
func (f *Fetchers) Follow(p *partition.Partition, leader ids.NodeID, epoch ids.LeaderEpoch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.stopped {
		return
	}
	key := keyOf(p)
	before, now := f.mu.following[key], f.leaderLocked(leader)
	if before != nil && before != now {
		before.unfollow(key)
	}
	f.mu.following[key] = now
	now.follow(key, p, epoch)
}

// Unfollow has a partition not fetched any more. An answer that is being carried out is carried out.
func (f *Fetchers) Unfollow(p *partition.Partition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := keyOf(p)
	if before := f.mu.following[key]; before != nil {
		delete(f.mu.following, key)
		before.unfollow(key)
	}
}

// Stop ends all fetches and waits for what is being carried out.
func (f *Fetchers) Stop() {
	f.mu.Lock()
	f.mu.stopped = true
	f.mu.Unlock()
	f.cancel()
	f.workers.Wait()
}

// leaderLocked returns what is followed from a leader, with its goroutine.
func (f *Fetchers) leaderLocked(leader ids.NodeID) *leaderFetch {
	l := f.mu.leaders[leader]
	if l == nil {
		l = &leaderFetch{owner: f, leader: leader, wake: make(chan struct{}, 1)}
		l.mu.fetcher = NewFetcher(f.cfg.FetcherConfig)
		l.mu.partitions = make(map[PartitionKey]*partition.Partition)
		f.mu.leaders[leader] = l
		f.workers.Go(l.run)
	}
	return l
}

func (l *leaderFetch) follow(key PartitionKey, p *partition.Partition, epoch ids.LeaderEpoch) {
	l.mu.Lock()
	l.mu.partitions[key] = p
	l.mu.fetcher.Follow(key, epoch)
	l.mu.Unlock()
	l.tell()
}

func (l *leaderFetch) unfollow(key PartitionKey) {
	l.mu.Lock()
	delete(l.mu.partitions, key)
	l.mu.fetcher.Unfollow(key)
	l.mu.Unlock()
	l.tell()
}

func (l *leaderFetch) tell() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run fetches until nothing is followed any more, or the end.
func (l *leaderFetch) run() {
	f := l.owner
	for f.ctx.Err() == nil && !l.ended() {
		req, wait := l.request()
		if req == nil {
			l.rest(wait)
			continue
		}
		resp, release, err := f.cfg.Requester.RequestLent(f.ctx, l.leader, req)
		if f.ctx.Err() != nil {
			return
		}
		answer, ok := resp.(*kmsg.FetchResponse)
		if err == nil && !ok {
			err = fmt.Errorf("a fetch is answered with a %T", resp)
		}
		if l.noteOutcome(err); err != nil {
			l.mu.Lock()
			l.mu.fetcher.Failed(time.Now())
			l.mu.Unlock()
			continue
		}
		l.carryOut(answer)
		release()
	}
}

// ended ends the work of a leader from which nothing is followed.
func (l *leaderFetch) ended() bool {
	f := l.owner
	f.mu.Lock()
	defer f.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.mu.partitions) > 0 {
		return false
	}
	delete(f.mu.leaders, l.leader)
	return true
}

func (l *leaderFetch) request() (*kmsg.FetchRequest, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.fetcher.Request(time.Now(), l.owner.cfg.BrokerEpoch(), func(key PartitionKey, epoch ids.LeaderEpoch) (partition.Position, bool) {
		p := l.mu.partitions[key]
		if p == nil {
			return partition.Position{}, false
		}
		pos, ok := p.Position(epoch)
		if !ok {
			delete(l.mu.partitions, key) // until Follow says otherwise
		}
		return pos, ok
	})
}

// rest waits until a time, the zero time for none, or until something else is to be followed.
func (l *leaderFetch) rest(until time.Time) {
	var due <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-due:
	case <-l.wake:
	case <-l.owner.ctx.Done():
	}
}

// noteOutcome tells once of a leader that cannot be asked.
func (l *leaderFetch) noteOutcome(err error) {
	logger := l.owner.cfg.Logger
	switch {
	case err != nil && !l.failing:
		logger.Warn("replicas cannot be fetched from their leader; it is tried again", "leader", l.leader, "cause", err)
	case err == nil && l.failing:
		logger.Info("replicas are fetched from their leader again", "leader", l.leader)
	}
	l.failing = err != nil
}

// toFollow is an answer and the partition that it is for.
type toFollow struct {
	Answer
	p *partition.Partition
}

// carryOut does what the leader's answer says. Before the next request it waits for the syncs that this is to promise.
func (l *leaderFetch) carryOut(resp *kmsg.FetchResponse) {
	var todo []toFollow
	l.mu.Lock()
	for _, a := range l.mu.fetcher.Response(time.Now(), resp) {
		if p := l.mu.partitions[a.Key]; p != nil {
			todo = append(todo, toFollow{a, p})
		}
	}
	l.mu.Unlock()
	var unsynced []toFollow
	for i := range todo {
		t := &todo[i]
		if err := l.carryOutOne(t); err != nil {
			l.failed(t, err)
		} else if pos, ok := t.p.Position(t.Epoch); ok && !pos.Ready { // which has asked for the sync
			unsynced = append(unsynced, *t)
		}
	}
	for i := range unsynced {
		if err := unsynced[i].p.Log().Sync(); err != nil {
			l.failed(&unsynced[i], err)
		}
	}
}

func (l *leaderFetch) carryOutOne(t *toFollow) error {
	logger := l.owner.cfg.Logger.With("partition", t.p.TopicPartition().String(), "leader", l.leader, "epoch", t.Epoch)
	var err error
	lost := false
	switch {
	case t.Err != nil:
		logger.Debug("the leader refuses a fetch", "offset", t.From, "cause", t.Err)
	case t.Restart:
		logger.Info("the leader's log does not have what follows this replica's; it begins anew", "offset", t.From, "logStart", t.LogStart)
		lost, err = t.p.RestartAsFollower(t.Epoch, t.From, t.LogStart)
	case t.Diverging != nil:
		if lost, err = t.p.TruncateAsFollower(t.Epoch, t.From, *t.Diverging); err == nil {
			logger.Info("the log differed from the leader's and was cut", "offset", t.From, "end", t.p.Log().EndOffset())
		}
	default:
		err = t.p.AppendAsFollower(&t.Replicated)
	}
	if lost {
		logger.Warn("records that were committed are gone, as the leader does not have them", "end", t.p.Log().EndOffset())
	}
	if errors.Is(err, partition.ErrOutdated) {
		return nil
	}
	return err
}

func (l *leaderFetch) failed(t *toFollow, err error) {
	l.mu.Lock()
	first := l.mu.fetcher.Backoff(t.Key, time.Now())
	l.mu.Unlock()
	level := slog.LevelDebug
	if first {
		level = slog.LevelError
	}
	l.owner.cfg.Logger.Log(context.Background(), level, "what the leader sent cannot be followed; it is tried again", "partition", t.p.TopicPartition().String(), "leader", l.leader, "cause", err)
}
