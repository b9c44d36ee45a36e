package partition

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/deferred"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/record"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Policy is what the configs of a topic ask of each of its partitions.
type Policy struct {
	Durability           Durability
	MinInSyncReplicas    int
	MaxMessageBytes      int32
	SegmentBytes         int32
	TimestampBeforeMaxMs int64
	TimestampAfterMaxMs  int64
	LogAppendTime        bool // message.timestamp.type
	Compact              bool // cleanup.policy holds compact: every record needs a key

	// Recompress has batches of another codec than Codec compressed with that, at Level (compression.type).
	Recompress bool
	Codec      record.Codec
	Level      int
}

// Partition is one replica of one partition on this broker.
type Partition struct {
	id  ids.TopicID
	log atomic.Pointer[log.Log] // has locks of its own; mu -> log's, never the reverse. Written under mu.

	// mu guards leadership: core.state and core.durability. Appends and reads hold it
	// shared; a change of leader holds it exclusively, so that an append can never land
	// in an epoch that has ended. Java: Partition.leaderIsrUpdateLock.
	mu struct {
		sync.RWMutex
		core Core
		gone error // not nil once this broker has the partition no more
	}

	// progress guards the offsets in mu.core: end, durable and highWatermark. mu -> progress.
	progress sync.Mutex

	policy    atomic.Pointer[Policy]
	committed deferred.Queue // waits for the high watermark
	watchers  watchers
	watching  atomic.Int32 // length of watchers, so that an append without readers takes no lock for them
}

// New returns the partition of node that l holds, without a leader yet. Its high
// watermark is the one that l had when it was last open.
func New(id ids.TopicID, node ids.NodeID, l *log.Log, policy Policy) *Partition {
	p := &Partition{id: id}
	p.log.Store(l)
	p.mu.core = NewCore(node, l.EndOffset(), l.DurableEnd(), max(l.HighWatermark(), l.StartOffset()))
	p.mu.core.SetDurability(policy.Durability)
	p.policy.Store(&policy)
	l.SetHighWatermark(p.mu.core.highWatermark)
	p.committed.CompleteUpTo(p.mu.core.highWatermark)
	l.OnDurable(p.durable)
	return p
}

// TopicPartition names the partition.
func (p *Partition) TopicPartition() ids.TopicPartition { return p.Log().TopicPartition() }

// TopicID is the id of the topic's present life.
func (p *Partition) TopicID() ids.TopicID { return p.id }

// Log returns the partition's log, for what reads it without regard to leadership. It is another
// one after the partition has moved to another data directory, and the former one is closed then.
func (p *Partition) Log() *log.Log { return p.log.Load() }

// ReplaceLog has the partition go on in the log that replace returns, which holds the same, durably, and tells
// the same of syncs. Nobody appends, deletes records or changes configs while replace runs.
func (p *Partition) ReplaceLog(replace func() (*log.Log, error)) error {
	l, err := p.replaceLog(replace)
	if err != nil {
		return err
	}
	p.advance(ids.NoOffset, l.DurableEnd())
	p.news() // whoever waits for records finds them in the new log
	return nil
}

func (p *Partition) replaceLog(replace func() (*log.Log, error)) (*log.Log, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.gone != nil {
		return nil, p.mu.gone
	}
	l, err := replace()
	if err != nil {
		return nil, err
	}
	l.SetHighWatermark(p.mu.core.highWatermark)
	p.log.Store(l)
	return l, nil
}

// Policy returns what the topic's configs ask now. The caller must not change it.
func (p *Partition) Policy() *Policy { return p.policy.Load() }

// Configure takes over changed configs of the topic.
func (p *Partition) Configure(config log.Config, policy Policy) {
	p.mu.Lock()
	p.Log().SetConfig(config)
	p.policy.Store(&policy)
	p.mu.core.SetDurability(policy.Durability)
	p.mu.Unlock()
	p.advance(ids.NoOffset, ids.NoOffset)
	p.syncIfNeeded()
}

// SetState takes over what the metadata says of the partition; a stale state changes nothing.
func (p *Partition) SetState(s State) {
	taken, leads := p.setState(s)
	if !taken {
		return
	}
	if !leads {
		p.committed.Fail(kerr.NotLeaderForPartition)
	}
	p.advance(ids.NoOffset, ids.NoOffset)
	p.syncIfNeeded()
	p.watchers.tell()
}

// setState takes s over. The log and the queue know of a new epoch before its first append.
func (p *Partition) setState(s State) (taken, leads bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.gone != nil || !p.mu.core.SetState(s) {
		return false, false
	}
	if leads = p.mu.core.Leads(); leads {
		p.Log().StartEpoch(s.LeaderEpoch)
		p.committed.Reset(p.mu.core.highWatermark)
	}
	return true, leads
}

// syncIfNeeded asks for the sync that records wait for which were appended before they
// had to: by another leader, in an earlier run, or under another ack.durability.
func (p *Partition) syncIfNeeded() {
	p.mu.RLock()
	p.progress.Lock()
	need := p.mu.core.NeedsSync()
	p.progress.Unlock()
	p.mu.RUnlock()
	if need {
		p.Log().RequestSync()
	}
}

// Leader returns the leader and its epoch.
func (p *Partition) Leader() (ids.NodeID, ids.LeaderEpoch) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.mu.core.state.Leader, p.mu.core.state.LeaderEpoch
}

// Close ends the partition on this broker: everybody who waits is told err, and so is
// everybody who comes later. The log is the caller's to close.
func (p *Partition) Close(err error) {
	p.mu.Lock()
	p.mu.gone = err
	p.mu.Unlock()
	p.committed.Fail(err)
	p.watchers.tell()
}

// durable is the log's hook after each sync.
func (p *Partition) durable(end ids.Offset) {
	p.advance(ids.NoOffset, end)
}

// advance tells the core that the log ends at end and is synced up to durable, either of
// which may be NoOffset for as before, moves the high watermark as far as it then goes, and
// tells those who waited for that.
func (p *Partition) advance(end, durable ids.Offset) {
	p.mu.RLock()
	p.progress.Lock()
	before := p.mu.core.highWatermark
	p.mu.core.Appended(end)
	p.mu.core.Durable(durable)
	hw, err := p.mu.core.Advance()
	if hw > before {
		p.Log().SetHighWatermark(hw)
	}
	p.progress.Unlock()
	p.mu.RUnlock()
	if err != nil {
		p.Close(fmt.Errorf("%s: %w", p.TopicPartition(), err))
		return
	}
	if hw > before {
		p.moved(hw)
	}
}

// moved tells everybody of a new high watermark: readers first, so that a producer that
// was answered finds its records with its next fetch, though that reads only what has news.
func (p *Partition) moved(hw ids.Offset) {
	p.news()
	p.committed.CompleteUpTo(hw)
}

// news wakes the fetches that watch this partition.
func (p *Partition) news() {
	if p.watching.Load() > 0 {
		p.watchers.tell()
	}
}

// Watch has w told under key about every later change that a fetch would answer
// with. A change that raced with the registration is the caller's to find: register first, then read.
func (p *Partition) Watch(w *Watch, key int32) {
	p.watching.Add(1)
	p.watchers.add(w, key)
}

// Unwatch ends what Watch began.
func (p *Partition) Unwatch(w *Watch, key int32) {
	p.watchers.remove(w, key)
	p.watching.Add(-1)
}

// Watching returns how many watch the partition.
func (p *Partition) Watching() int { return int(p.watching.Load()) }
