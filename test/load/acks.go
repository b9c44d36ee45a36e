//go:build linux

package load

import (
	"sync"
	"sync/atomic"
	"time"
)

// Acks counts what was acknowledged, and how long each partition was without. It is safe for concurrent use.
type Acks []*partitionAcks

type partitionAcks struct {
	count atomic.Int64

	mu struct {
		sync.Mutex
		last    time.Time     // zero before the first
		longest time.Duration // between two
	}
}

// NewAcks counts those of partitions.
func NewAcks(partitions int) Acks {
	a := make(Acks, partitions)
	for i := range a {
		a[i] = &partitionAcks{}
	}
	return a
}

func (a Acks) add(partition int32) {
	p, now := a[partition], time.Now()
	p.count.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.mu.last.IsZero() {
		p.mu.longest = max(p.mu.longest, now.Sub(p.mu.last))
	}
	p.mu.last = now
}

// Total is the number of acknowledged records.
func (a Acks) Total() int64 {
	sum := int64(0)
	for _, n := range a.Counts() {
		sum += n
	}
	return sum
}

// Counts is the number of acknowledged records by partition.
func (a Acks) Counts() []int64 {
	counts := make([]int64, len(a))
	for i, p := range a {
		counts[i] = p.count.Load()
	}
	return counts
}

// LongestPause is the longest time for which a partition acknowledged nothing.
func (a Acks) LongestPause() time.Duration {
	longest := time.Duration(0)
	for _, p := range a {
		p.mu.Lock()
		longest = max(longest, p.mu.longest)
		p.mu.Unlock()
	}
	return longest
}
