package partition

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

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
	ReplicaLagMax        time.Duration
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

func (p *Policy) rules() Rules {
	return Rules{Durability: p.Durability, MinInSyncReplicas: p.MinInSyncReplicas, LagMax: p.ReplicaLagMax}
}

// Peers is what a partition with other replicas needs of its broker. Neither function may block.
type Peers struct {
	Standing Standing
	// ISRWanted is told that ChangeISR may have something for the controller. No lock of the partition is held.
	ISRWanted func(*Partition)
}

// Partition is one replica of one partition on this broker.
type Partition struct {
	id  ids.TopicID
	log atomic.Pointer[log.Log] // has locks of its own; mu -> log's, never the reverse. Written under mu.

	// mu guards leadership: the core's state, rules and wanted ISR. Appends and reads hold it
	// shared; a change of leader holds it exclusively, so that an append can never land
	// in an epoch that has ended. Java: Partition.leaderIsrUpdateLock.
	mu struct {
		sync.RWMutex
		core Core
		gone error // not nil once this broker has the partition no more
	}

	// progress guards the offsets in mu.core, end, durable and highWatermark, and what it knows of
	// followers, for those who hold mu shared. mu -> progress.
	progress sync.Mutex

	// following lets one answer of the leader at a time into the log. mu -> following -> progress, and the log's.
	following sync.Mutex

	peers Peers // set before the first state

	policy    atomic.Pointer[Policy]
	committed deferred.Queue // waits for the high watermark
	readers   watchers       // fetches of consumers: they wait for the high watermark
	starts    lowered        // waits for the log starts of other replicas
	replicas  watchers       // fetches of followers: they wait for the end of the log, and for the high watermark
}

// New returns the partition of node that l holds, without a leader yet. Its high
// watermark is the one that l had when it was last open.
func New(id ids.TopicID, node ids.NodeID, l *log.Log, policy Policy) *Partition {
	p := &Partition{id: id}
	p.log.Store(l)
	p.mu.core = NewCore(node, l.EndOffset(), l.DurableEnd(), max(l.HighWatermark(), l.StartOffset()))
	p.mu.core.SetRules(policy.rules())
	p.policy.Store(&policy)
	l.SetHighWatermark(p.mu.core.highWatermark)
	p.committed.CompleteUpTo(p.mu.core.highWatermark)
	l.OnDurable(p.durable)
	return p
}

// SetPeers has the partition replicate with other brokers. To be called before the first SetState.
func (p *Partition) SetPeers(peers Peers) {
	p.peers = peers
	p.mu.core.SetStanding(peers.Standing)
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
	if err := p.replaceLog(replace); err != nil {
		return err
	}
	p.advance(ids.NoOffset)
	p.news() // whoever waits for records finds them in the new log
	return nil
}

func (p *Partition) replaceLog(replace func() (*log.Log, error)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.gone != nil {
		return p.mu.gone
	}
	l, err := replace()
	if err != nil {
		return err
	}
	l.SetHighWatermark(p.mu.core.highWatermark)
	p.log.Store(l)
	return nil
}

// Policy returns what the topic's configs ask now. The caller must not change it.
func (p *Partition) Policy() *Policy { return p.policy.Load() }

// Configure takes over changed configs of the topic.
func (p *Partition) Configure(config log.Config, policy Policy) {
	p.mu.Lock()
	p.Log().SetConfig(config)
	p.policy.Store(&policy)
	p.mu.core.SetRules(policy.rules())
	p.mu.Unlock()
	p.advance(ids.NoOffset)
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
	p.advance(ids.NoOffset)
	p.syncIfNeeded()
	p.tellAll()
	p.starts.tell()
}

// setState takes s over. The log and the queue know of a new epoch before its first append.
func (p *Partition) setState(s State) (taken, leads bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.core.Appended(p.Log().EndOffset()) // an append may be about to say so
	if p.mu.gone != nil || !p.mu.core.SetState(s, time.Now()) {
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

// State returns what the metadata last said.
func (p *Partition) State() State {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.mu.core.state
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
	p.tellAll()
	p.starts.tell()
}

// durable is the log's hook after each sync.
func (p *Partition) durable(ids.Offset) {
	p.advance(ids.NoOffset)
}

// advance tells the core that the log ends at end, which may be NoOffset for as before, and how far it is synced, moves the high
// watermark as far as it then goes, and tells those who waited for that.
func (p *Partition) advance(end ids.Offset) {
	p.mu.RLock()
	p.progress.Lock()
	p.mu.core.Appended(end)
	p.mu.core.Durable(p.Log().DurableEnd())
	hw, moved, err := p.advanceLocked()
	p.progress.Unlock()
	p.mu.RUnlock()
	p.advanced(hw, moved, err)
}

// advanceLocked moves the high watermark; mu and progress are held. advanced is to follow without them.
func (p *Partition) advanceLocked() (hw ids.Offset, moved bool, err error) {
	before := p.mu.core.highWatermark
	hw, err = p.mu.core.Advance()
	if hw > before {
		p.Log().SetHighWatermark(hw)
	}
	return hw, hw > before, err
}

func (p *Partition) advanced(hw ids.Offset, moved bool, err error) {
	if err != nil {
		p.Close(fmt.Errorf("%s: %w", p.TopicPartition(), err))
		return
	}
	if moved {
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
	p.readers.tellAny()
	p.replicas.tellAny()
}

// tellAll wakes them whoever they are.
func (p *Partition) tellAll() {
	p.readers.tell()
	p.replicas.tell()
}

// Watch has w told under key about every later change that a consumer's fetch would answer
// with. A change that raced with the registration is the caller's to find: register first, then read.
func (p *Partition) Watch(w *Watch, key int32) { p.readers.add(w, key) }

// Unwatch ends what Watch began.
func (p *Partition) Unwatch(w *Watch, key int32) { p.readers.remove(w, key) }

// WatchAsFollower is Watch for a follower's fetch, which an append is news for.
func (p *Partition) WatchAsFollower(w *Watch, key int32) { p.replicas.add(w, key) }

// UnwatchAsFollower ends what WatchAsFollower began.
func (p *Partition) UnwatchAsFollower(w *Watch, key int32) { p.replicas.remove(w, key) }

// Watching returns how many fetches of consumers watch the partition.
func (p *Partition) Watching() int { return int(p.readers.count.Load()) }
