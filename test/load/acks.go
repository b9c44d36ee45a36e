//go:build linux

package load

import (
	"fmt"
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
		last    time.Time // zero before the first
		longest Pause     // between two
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
	if between := now.Sub(p.mu.last); !p.mu.last.IsZero() && between > p.mu.longest.Length {
		p.mu.longest = Pause{Partition: partition, From: p.mu.last, Length: between}
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

// A Pause is a time for which a partition acknowledged nothing.
type Pause struct {
	Partition int32
	From      time.Time
	Length    time.Duration
}

func (p Pause) String() string {
	return fmt.Sprintf("%v (partition %d from %s)", p.Length.Round(time.Millisecond), p.Partition, p.From.UTC().Format("15:04:05.000"))
}

// LongestPause is the longest of all partitions.
func (a Acks) LongestPause() Pause {
	var longest Pause
	for _, p := range a {
		p.mu.Lock()
		if p.mu.longest.Length > longest.Length {
			longest = p.mu.longest
		}
		p.mu.Unlock()
	}
	return longest
}
