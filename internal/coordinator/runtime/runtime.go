package runtime

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/partition"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Partitions finds the partitions that this broker has; replica.Table is one.
type Partitions interface {
	ByName(topic []byte, number int32) (*partition.Partition, error)
}

// Config is what a Runtime is told.
type Config struct {
	Topic      string // the internal topic
	Partitions Partitions
	NewShard   func(number int32) Shard
	Logger     *slog.Logger // nil: nothing is logged
}

// Runtime runs the shards of one coordinator on this broker.
type Runtime struct {
	cfg Config

	mu struct {
		sync.RWMutex
		lives   map[int32]*life // by number of partition, those that ended by themselves among them
		stopped bool
	}

	// background counts the goroutines that load, and the timers that are set or run.
	background sync.WaitGroup
}

// New returns a runtime without shards.
func New(cfg Config) *Runtime {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Runtime{cfg: cfg}
	r.mu.lives = map[int32]*life{}
	return r
}

// Elected begins to load a partition that this broker leads in an epoch. Requests are answered
// COORDINATOR_LOAD_IN_PROGRESS (14) until it is loaded. An epoch that is not newer changes nothing.
//
// The partition must know of the epoch before.
func (r *Runtime) Elected(number int32, epoch ids.LeaderEpoch) {
	if have := r.life(number); have != nil && have.epoch >= epoch {
		return
	}
	p, err := r.cfg.Partitions.ByName([]byte(r.cfg.Topic), number)
	if err != nil {
		r.cfg.Logger.Error("coordinator: an elected partition is not here, its requests are refused until the next election",
			"partition", r.name(number), "epoch", epoch, "err", err)
		r.Resigned(number)
		return
	}
	l := newLife(r, p, number, epoch)
	before, taken := r.put(l)
	if !taken {
		return
	}
	// The shard before may be in the middle of an append, which is to be read by the load.
	if before != nil {
		before.discard()
	}
	go l.load()
}

// put has l take the place of the life before, unless that is of the same epoch or a newer one. What
// is put counts as in the background, until it is loaded.
func (r *Runtime) put(l *life) (before *life, taken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before = r.mu.lives[l.number]
	if r.mu.stopped || before != nil && before.epoch >= l.epoch {
		return before, false
	}
	r.mu.lives[l.number] = l
	r.background.Add(1)
	return before, true
}

// Resigned discards a partition that this broker does not lead any more.
func (r *Runtime) Resigned(number int32) {
	l := r.life(number)
	if l == nil {
		return
	}
	l.discard() // first, so that Stop finds whatever has a timer
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.lives[number] == l {
		delete(r.mu.lives, number)
	}
}

// Request gives req to the shard of a partition and returns; where alone is true, which says that the caller has
// nothing else to do until the answer, it may sync the log first, on this goroutine. answer is called once, on this goroutine or another,
// with the response of the shard or with an error that wraps a kerr.Error:
// NOT_COORDINATOR (16) where this broker does not lead the partition, COORDINATOR_LOAD_IN_PROGRESS (14) while it is
// loaded, COORDINATOR_NOT_AVAILABLE (15) where the records could not be written, and others of an append as Kafka maps
// them for coordinators.
//
// answer must not block: it may run on the goroutine that syncs logs. It may call the runtime.
func (r *Runtime) Request(number int32, req any, alone bool, answer func(response any, err error)) {
	l := r.life(number)
	if l == nil {
		answer(nil, fmt.Errorf("%s: %w", r.name(number), kerr.NotCoordinator))
		return
	}
	l.request(req, alone, answer)
}

// Each gives req to every loaded shard, in order of their numbers, and returns when each has handled it; nobody
// waits for replies, and a shard gives none. The ticket is 0, which no request has.
func (r *Runtime) Each(req any) {
	for _, l := range r.ordered() {
		l.tell(req)
	}
}

// Stop discards every shard and returns when no goroutine is left.
func (r *Runtime) Stop() {
	r.mu.Lock()
	r.mu.stopped = true
	r.mu.Unlock()
	for _, l := range r.ordered() {
		r.Resigned(l.number)
	}
	r.background.Wait()
}

func (r *Runtime) life(number int32) *life {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.mu.lives[number]
}

// ordered returns every life in order of the partitions' numbers.
func (r *Runtime) ordered() []*life {
	r.mu.RLock()
	all := make([]*life, 0, len(r.mu.lives))
	for _, l := range r.mu.lives {
		all = append(all, l)
	}
	r.mu.RUnlock()
	slices.SortFunc(all, func(a, b *life) int { return cmp.Compare(a.number, b.number) })
	return all
}

func (r *Runtime) name(number int32) string {
	return ids.TopicPartition{Topic: r.cfg.Topic, Partition: number}.String()
}
