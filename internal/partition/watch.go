package partition

import (
	"sync"
	"sync/atomic"
)

// Watch gathers which of many partitions have news for a fetch: a higher high
// watermark or log start, another leader, or an end as a partition of this broker.
// It belongs to one fetch session, or to one fetch without a session.
//
// Each partition of it is known by the key that Partition.Watch was given.
type Watch struct {
	// C gets one token when there is news and nobody has taken the last one.
	C chan struct{}

	mu struct {
		sync.Mutex
		moved []int32 // keys with news, each once
		noted map[int32]struct{}
	}
}

// NewWatch returns a Watch of nothing.
func NewWatch() *Watch {
	w := &Watch{C: make(chan struct{}, 1)}
	w.mu.noted = map[int32]struct{}{}
	return w
}

// note records news of key and wakes the fetch.
func (w *Watch) note(key int32) {
	w.mu.Lock()
	if _, known := w.mu.noted[key]; !known {
		w.mu.noted[key] = struct{}{}
		w.mu.moved = append(w.mu.moved, key)
	}
	w.mu.Unlock()
	select {
	case w.C <- struct{}{}:
	default:
	}
}

// Take appends the keys with news since the last Take to dst, in order of their news.
func (w *Watch) Take(dst []int32) []int32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	dst = append(dst, w.mu.moved...)
	w.mu.moved = w.mu.moved[:0]
	clear(w.mu.noted)
	return dst
}

// watcher is one registration of a Watch with a partition.
type watcher struct {
	watch *Watch
	key   int32
}

// watchers is the list of those who watch one partition.
type watchers struct {
	count atomic.Int32 // length of the list, so that an append without readers takes no lock for them
	mu    struct {
		sync.Mutex
		list []watcher
	}
}

func (ws *watchers) add(w *Watch, key int32) {
	ws.count.Add(1)
	ws.mu.Lock()
	ws.mu.list = append(ws.mu.list, watcher{w, key})
	ws.mu.Unlock()
}

func (ws *watchers) remove(w *Watch, key int32) {
	defer ws.count.Add(-1)
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for i, have := range ws.mu.list {
		if have.watch == w && have.key == key {
			last := len(ws.mu.list) - 1
			ws.mu.list[i] = ws.mu.list[last]
			ws.mu.list[last] = watcher{}
			ws.mu.list = ws.mu.list[:last]
			break
		}
	}
	if len(ws.mu.list) == 0 {
		ws.mu.list = nil
	}
}

// tellAny is tell where somebody watches.
func (ws *watchers) tellAny() {
	if ws.count.Load() > 0 {
		ws.tell()
	}
}

// tell notes news with everybody who watches.
func (ws *watchers) tell() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.mu.list {
		w.watch.note(w.key)
	}
}
