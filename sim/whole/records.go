package whole

import (
	"sync"
	"time"

	"github.com/moldau/moldau/test/history"
)

// records is what clients did and were told, of all partitions under one numbering.
type records struct {
	mu struct {
		sync.Mutex
		history    history.History
		partitions map[int32]*progress
		cuts       int   // of the power of all machines so far
		ackedAfter []int // cuts before each of history.Acked
		failed     int   // records that a client gave up
	}
}

// progress is how far clients have come with a partition.
type progress struct {
	acked    int64 // offsets below have been acknowledged, or lie below one that has
	ackedAt  time.Time
	seen     int64 // below which the reader has read
	consumed int64 // below which the group has
}

func (r *records) progressLocked(partition int32) *progress {
	if r.mu.partitions == nil {
		r.mu.partitions = make(map[int32]*progress)
	}
	p := r.mu.partitions[partition]
	if p == nil {
		p = &progress{}
		r.mu.partitions[partition] = p
	}
	return p
}

// progress returns how far clients have come with a partition.
func (r *records) progress(partition int32) progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return *r.progressLocked(partition)
}

func (r *records) sent(id history.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.history.Sent = append(r.mu.history.Sent, id)
}

// acked notes an acknowledgement of a record that was sent at some time.
func (r *records) acked(id history.ID, offset int64, sentAt time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.history.Acked = append(r.mu.history.Acked, history.Ack{ID: id, Offset: offset})
	r.mu.ackedAfter = append(r.mu.ackedAfter, r.mu.cuts)
	p := r.progressLocked(id.Partition)
	p.acked = max(p.acked, offset+1)
	if sentAt.After(p.ackedAt) {
		p.ackedAt = sentAt
	}
}

func (r *records) gaveUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.failed++
}

// powerLost notes that all machines have lost their power. What is acknowledged from now on was sent before, or comes of their next lives.
func (r *records) powerLost() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.cuts++
	for _, p := range r.mu.partitions {
		p.acked = 0 // some of it may be gone
	}
}

func (r *records) seen(read history.Read) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.history.Seen = append(r.mu.history.Seen, read)
	r.progressLocked(read.Partition).seen = read.Offset + 1
}

func (r *records) group(e history.GroupEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.history.Groups = append(r.mu.history.Groups, e)
	if e.Kind == 'D' {
		p := r.progressLocked(e.Partition)
		p.consumed = max(p.consumed, e.To+1)
	}
}
