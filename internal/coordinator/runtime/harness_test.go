package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

const self = ids.NodeID(1)

// fixture is a runtime of shards that keep a map, over partitions in memory whose syncs can be held up.
type fixture struct {
	*Runtime
	fs         *vfs.Fault
	partitions table
	logged     lockedBuffer

	// prepare, if not nil, is given each new shard on the goroutine that loads it. Set before the election.
	prepare func(*kv)

	mu struct {
		sync.Mutex
		shards map[int32]*kv // the latest of each partition
	}
}

// table is the Partitions of tests.
type table map[int32]*partition.Partition

func (t table) ByName(_ []byte, number int32) (*partition.Partition, error) {
	if p := t[number]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("partition %d: %w", number, kerr.UnknownTopicOrPartition)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func policyOf(d partition.Durability) partition.Policy {
	return partition.Policy{Durability: d, MinInSyncReplicas: 1, MaxMessageBytes: 1 << 20, SegmentBytes: 1 << 30}
}

// newFixture returns a runtime with n partitions that self leads in epoch 0, none of them elected yet.
func newFixture(t testing.TB, n int32, d partition.Durability) *fixture {
	t.Helper()
	f := &fixture{fs: vfs.NewFault(vfs.NewMem()), partitions: table{}}
	if err := f.fs.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	f.mu.shards = map[int32]*kv{}
	for number := range n {
		id := ids.NewUUID()
		l, closer, err := log.OpenOne(log.OneConfig{
			FS: f.fs, Dir: "/data", TopicPartition: ids.TopicPartition{Topic: "__t", Partition: number}, TopicID: id,
			Config: log.DefaultConfig(), Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closer.Close() })
		f.partitions[number] = partition.New(id, self, l, policyOf(d))
		f.partitions[number].SetState(alone(0))
	}
	f.Runtime = New(Config{
		Topic: "__t", Partitions: f.partitions, NewShard: f.newShard, Logger: slog.New(slog.NewTextHandler(&f.logged, nil)),
	})
	t.Cleanup(f.Stop) // before the logs are closed
	return f
}

func (f *fixture) newShard(number int32) Shard {
	k := &kv{values: map[string]string{}, loaded: make(chan struct{})}
	if f.prepare != nil {
		f.prepare(k)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.shards[number] = k
	return k
}

func (f *fixture) shard(number int32) *kv {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.shards[number]
}

func alone(epoch ids.LeaderEpoch) partition.State {
	return partition.State{Leader: self, LeaderEpoch: epoch, PartitionEpoch: int32(epoch), Replicas: []ids.NodeID{self}, ISR: []ids.NodeID{self}}
}

func following(epoch ids.LeaderEpoch) partition.State {
	s := alone(epoch)
	s.Leader = self + 1
	return s
}

// elect has self lead a partition in an epoch and returns once it is loaded.
func (f *fixture) elect(number int32, epoch ids.LeaderEpoch) {
	ready := make(chan *kv, 1)
	f.prepare = func(k *kv) { ready <- k }
	f.partitions[number].SetState(alone(epoch))
	f.Elected(number, epoch)
	<-(<-ready).loaded
	f.prepare = nil
}

// stall holds up every sync until the function it returns is called.
func (f *fixture) stall() (release func()) {
	gate := make(chan struct{})
	f.fs.SetHook(func(e vfs.Event) {
		if e.Op == vfs.OpSync || e.Op == vfs.OpSyncDir || e.Op == vfs.OpSyncFS {
			<-gate
		}
	})
	return sync.OnceFunc(func() {
		f.fs.SetHook(nil)
		close(gate)
	})
}

// failWrites has the next times writes to a log fail; 0 means all.
func (f *fixture) failWrites(err error, times int) *vfs.Injected {
	return f.fs.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpWrite}, Path: "*.log", Times: times, Err: err})
}

// failSyncs has every sync fail.
func (f *fixture) failSyncs() {
	f.fs.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpSync, vfs.OpSyncDir, vfs.OpSyncFS}, Err: syscall.EIO})
}

// answered is how a request ended.
type answered struct {
	done     chan struct{}
	times    atomic.Int32
	response any
	err      error
}

func (a *answered) take(response any, err error) {
	if a.times.Add(1) > 1 {
		panic("answered twice")
	}
	a.response, a.err = response, err
	close(a.done)
}

func (a *answered) ended() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// send gives a request to a partition.
func (f *fixture) send(number int32, req any) *answered {
	a := &answered{done: make(chan struct{})}
	f.Request(number, req, false, a.take)
	return a
}

// do waits for the response of partition 0.
func (f *fixture) do(req any) (any, error) {
	a := f.send(0, req)
	<-a.done
	return a.response, a.err
}

func (f *fixture) want(t testing.TB, req, want any) {
	t.Helper()
	if got, err := f.do(req); err != nil || got != want {
		t.Fatalf("%+v gave %v, %v, want %v", req, got, err, want)
	}
}

func (f *fixture) wantLogged(t testing.TB, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(f.logged.String(), part) {
			t.Errorf("logged without %q: %s", part, f.logged.String())
		}
	}
}

func wantError(t testing.TB, a *answered, want error) {
	t.Helper()
	if !a.ended() || !errors.Is(a.err, want) || a.response != nil {
		t.Fatalf("ended %v: %v, %v, want %v", a.ended(), a.response, a.err, want)
	}
}

// kv is a shard that keeps a map. A record is a key with its value, a deletion a tombstone.
type kv struct {
	values   map[string]string
	replayed []string // each record, in order
	held     []Ticket
	due      time.Time
	loaded   chan struct{} // closed by Loaded

	onReplay func() error
	onTick   func(now time.Time) Effects
	onLoaded Effects
}

type (
	put     struct{ key, value string }
	del     struct{ key string }
	get     struct{ key string }
	hold    struct{}               // replied by the next release
	release struct{}               // replies to those who hold, with a record
	wake    struct{ at time.Time } // asks for a tick
	note    struct{ key string }   // records key and replies nothing
)

func (k *kv) Handle(t Ticket, req any, _ time.Time) Effects {
	switch r := req.(type) {
	case put:
		return Effects{Records: []Record{{[]byte(r.key), []byte(r.value)}}, Replies: []Reply{{t, "ok"}}}
	case del:
		return Effects{Records: []Record{{[]byte(r.key), nil}}, Replies: []Reply{{t, "ok"}}}
	case get:
		return Effects{Replies: []Reply{{t, k.values[r.key]}}}
	case hold:
		k.held = append(k.held, t)
	case release:
		e := Effects{Records: []Record{{[]byte("released"), []byte("x")}}, Applied: func() { k.held = nil }}
		for _, held := range k.held {
			e.Replies = append(e.Replies, Reply{held, "released"})
		}
		e.Replies = append(e.Replies, Reply{t, "ok"})
		return e
	case wake:
		return Effects{Applied: func() { k.due = r.at }, Replies: []Reply{{t, "ok"}}}
	case note:
		return Effects{Records: []Record{{[]byte(r.key), []byte("noted")}}}
	}
	return Effects{}
}

func (k *kv) Tick(now time.Time) Effects {
	if k.onTick != nil {
		return k.onTick(now)
	}
	return Effects{}
}

func (k *kv) Due() time.Time { return k.due }

func (k *kv) Replay(key, value []byte, timestamp int64) error {
	if k.onReplay != nil {
		if err := k.onReplay(); err != nil {
			return err
		}
	}
	if value == nil {
		delete(k.values, string(key))
		k.replayed = append(k.replayed, fmt.Sprintf("%s deleted at %d", key, timestamp))
		return nil
	}
	k.values[string(key)] = string(value)
	k.replayed = append(k.replayed, fmt.Sprintf("%s=%.10s at %d", key, value, timestamp))
	return nil
}

func (k *kv) Loaded(time.Time) Effects {
	close(k.loaded)
	return k.onLoaded
}

// appendTo writes a batch of one record past the runtime.
func appendTo(t testing.TB, p *partition.Partition, b record.Batch) {
	t.Helper()
	if _, err := p.AppendAsLeader(b, partition.AcksAll); err != nil {
		t.Fatal(err)
	}
}
