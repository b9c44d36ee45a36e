package sim

import (
	"math"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// instant counts the events of a history. What a client did lies between two instants.
type instant int64

const never instant = math.MaxInt64

// span is when something was asked for, and when it was acknowledged.
type span struct{ asked, acked instant }

// cut is the disk as a power cut between two instants left it: what was acknowledged by
// the first must be there, what was asked for by the second can be.
type cut struct {
	from, to instant
	disk     *vfs.Mem
	what     vfs.Unsynced
	seed     uint64
	at       string // where in the life of the broker
}

// history is what clients asked of a broker over all its lives, and what they were told.
// Clients, the driver and the disk's hooks write it; a judge reads it when they have ended.
type history struct {
	mu struct {
		sync.Mutex // leaf; guards everything below and in what it leads to
		now        instant
	}
	clusterID string
	topics    []*topic
	producers []*producer
	// taken are the producer ids that were handed out.
	taken map[int64]instant
}

func newHistory() *history { return &history{taken: make(map[int64]instant)} }

// topic is one life of a topic: made again under the same name it is another one.
type topic struct {
	name       string
	id         ids.TopicID // zero until its creation was acknowledged
	compacted  bool        // by its cleanup.policy
	deletes    bool        // which has "delete" in it, so that DeleteRecords may come
	created    span
	deleted    span
	grown      []growth // the first is from its creation
	configs    []configChange
	partitions []*partition

	// tombstonesStay is the delete.retention.ms of a compacted topic.
	tombstonesStay time.Duration
}

type growth struct {
	span
	partitions int32
}

type configChange struct {
	span
	name, value string
}

type partition struct {
	topic   *topic
	index   int32
	batches []*batch // in the order in which they were sent
	byBytes map[string]*batch
	entries map[string]*entry // of a compacted topic, by their number
	trims   []trim
}

// entry is a record of a compacted topic, told from others by a number in its headers.
type entry struct {
	batch *batch
	delta int
	key   string
	value []byte // nil for a tombstone
}

func (e *entry) offset() int64 { return e.batch.offset + int64(e.delta) }

// trim is one DeleteRecords.
type trim struct {
	span
	to int64
}

// producer is one connection's worth of batches; with an id it is idempotent.
type producer struct {
	id        int64 // -1: plain
	epoch     int16
	sequences map[*partition]int32 // the next one
	unsure    map[*partition]bool  // a batch failed: nobody knows what comes next
}

// batch is what one Produce wants to add to one partition.
type batch struct {
	span
	partition *partition
	producer  *producer
	order     int // of all batches
	acks      int16
	bytes     []byte // as sent: base offset 0, no leader epoch
	records   int
	entries   []*entry  // of a compacted topic
	sentAt    time.Time // virtual
	sequence  int32
	offset    int64   // that was acknowledged
	promised  instant // from when on a power cut must leave it
	dead      instant // found missing after a restart: it must not appear any more
}

func never2() span { return span{never, never} }

// tickLocked is the next instant.
func (h *history) tickLocked() instant {
	h.mu.now++
	return h.mu.now
}

func (h *history) instant() instant {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.now
}

// ask notes that something is about to be asked for.
func (h *history) ask(s *span) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.asked, s.acked = h.tickLocked(), never
}

// ack notes that it was acknowledged; with runs under the lock.
func (h *history) ack(s *span, with func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if with != nil {
		with()
	}
	s.acked = h.tickLocked()
}

func (h *history) newTopic(t *topic, partitions int32, configs map[string]string) {
	t.deleted, t.created = never2(), never2()
	h.mu.Lock()
	defer h.mu.Unlock()
	t.created.asked = h.tickLocked()
	t.grow(growth{t.created, partitions})
	for k, v := range configs {
		t.configs = append(t.configs, configChange{t.created, k, v})
	}
	h.topics = append(h.topics, t)
}

func (t *topic) grow(g growth) {
	t.grown = append(t.grown, g)
	for i := int32(len(t.partitions)); i < g.partitions; i++ {
		t.partitions = append(t.partitions, &partition{topic: t, index: i, byBytes: make(map[string]*batch), entries: make(map[string]*entry)})
	}
}

// topicCreated notes the answer of a creation.
func (h *history) topicCreated(t *topic, id ids.TopicID) {
	h.ack(&t.created, func() {
		t.id = id
		now := h.mu.now + 1
		t.grown[0].acked = now
		for i := range t.configs {
			t.configs[i].acked = now
		}
	})
}

// add notes a batch that is about to be sent.
func (h *history) add(b *batch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b.asked, b.acked, b.promised, b.dead, b.order = h.tickLocked(), never, never, never, int(h.mu.now)
	b.partition.batches = append(b.partition.batches, b)
	b.partition.byBytes[identity(b.bytes)] = b
	b.sentAt = time.Now()
}

// addEntry notes a record of a batch that will be sent to a compacted topic.
func (h *history) addEntry(p *partition, number string, e *entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p.entries[number] = e
}

// isPromised tells whether a cut must leave what the batch was for.
func (b *batch) isPromised(c *cut) bool {
	return b.promised <= c.from || b.acked <= c.from && c.what == vfs.AllUnsynced
}

// batchAcked notes that a batch was acknowledged, and by what acks.
func (h *history) batchAcked(b *batch, offset int64, acks int16) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.tickLocked()
	b.acked, b.offset = min(b.acked, now), offset
	if acks == acksAll {
		b.promised = min(b.promised, now)
	}
}

// acksAll is what a producer says who wants to wait until nothing can take its records away.
const acksAll = -1

// identity is what of a batch stays the same on its way to the disk: everything after
// base offset and leader epoch.
func identity(b []byte) string { return string(b[16:]) }

// partitionsBetween is how few and how many partitions a topic may have in a cut.
func (t *topic) partitionsBetween(c *cut) (least, most int32) {
	for _, g := range t.grown {
		if g.acked <= c.from {
			least = g.partitions
		}
		if g.asked <= c.to {
			most = g.partitions
		}
	}
	return max(least, t.grown[0].partitions), most
}

// config is what a config of a topic may be in a cut.
func (t *topic) config(name string, c *cut) (allowed []string) {
	allowed = append(allowed, "") // not set
	for _, g := range t.configs {
		switch {
		case g.name != name || g.asked > c.to:
		case g.acked <= c.from || g.asked == t.created.asked:
			allowed = append(allowed[:0], g.value)
		default:
			allowed = append(allowed, g.value)
		}
	}
	return allowed
}

// startBetween is where a partition's log may start in a cut.
func (p *partition) startBetween(c *cut) (least, most int64) {
	for _, t := range p.trims {
		if t.acked <= c.from {
			least = max(least, t.to)
		}
		if t.asked <= c.to {
			most = max(most, t.to)
		}
	}
	return least, most
}

// start is where a partition's log starts if every DeleteRecords so far has done its work.
func (p *partition) start() (start int64) {
	for _, t := range p.trims {
		start = max(start, t.to)
	}
	return start
}
