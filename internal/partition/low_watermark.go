package partition

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/ids"
)

// lowered is what those wait for who want records deleted on every replica.
type lowered struct {
	wanted atomic.Bool // next is not nil: somebody waits
	mu     sync.Mutex  // leaf
	next   chan struct{}
}

// watch returns a channel that is closed when a replica's log start, or which replicas count, may have changed.
func (l *lowered) watch() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == nil {
		l.next = make(chan struct{})
		l.wanted.Store(true)
	}
	return l.next
}

func (l *lowered) tell() {
	if !l.wanted.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next != nil {
		close(l.next)
		l.next = nil
		l.wanted.Store(false)
	}
}

// LowWatermark returns the offset below which records are deleted on every replica at work, and a channel that is closed when
// it may be another one.
func (p *Partition) LowWatermark() (low ids.Offset, changed <-chan struct{}, err error) {
	changed = p.starts.watch() // before looking, so that no change is missed
	p.mu.RLock()
	defer p.mu.RUnlock()
	if err := p.serveLocked(ids.NoLeaderEpoch); err != nil {
		return ids.NoOffset, nil, fmt.Errorf("low watermark of %s: %w", p.TopicPartition(), err)
	}
	p.progress.Lock()
	defer p.progress.Unlock()
	return p.mu.core.LowWatermark(p.Log().StartOffset()), changed, nil
}
