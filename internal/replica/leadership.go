package replica

import (
	"sync"
	"time"
)

// leadership is when this broker last began to lead a partition.
type leadership struct {
	mu    sync.Mutex // leaf
	began time.Time
	next  chan struct{} // closed when it begins to lead another; nil while nobody waits for that
}

func (l *leadership) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.began = time.Now()
	if l.next != nil {
		close(l.next)
		l.next = nil
	}
}

// Led returns when this broker last began to lead a partition, the zero time for never, and a channel that is closed when
// it begins to lead another one.
func (t *Table) Led() (began time.Time, next <-chan struct{}) {
	l := &t.leadership
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == nil {
		l.next = make(chan struct{})
	}
	return l.began, l.next
}
