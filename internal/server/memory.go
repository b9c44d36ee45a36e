package server

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// errStopped ends a wait for memory whose connection has ended.
var errStopped = errors.New("connection ended while it waited for memory")

// chunkBytes are the sizes of pooled chunks. Each has room for a batch of a round size
// (64 KiB, 1 MiB, 8 MiB) with what surrounds it.
var chunkBytes = [...]int{80 << 10, 1<<20 + 64<<10, 8<<20 + 64<<10}

// chunk holds frames as they came from the peer. It has one connection at a time.
type chunk struct {
	b     []byte
	class int // index in chunkBytes; -1 is a size of its own, not pooled

	pins      int  // exchanges whose Body is in it; guarded by Conn.mu
	detached  bool // the reader has given it up, the last unpin frees it; guarded by Conn.mu
	overdrawn bool // it was granted beyond the budget; owner: whoever holds the chunk
}

// buffer holds one encoded answer, or several that were merged.
type buffer struct {
	b     []byte
	parts []Part // in ascending order of At
}

// bufferBytesMax is the largest buffer that goes back to the pool.
const bufferBytesMax = 128 << 10

// memory is the budget and the pools that connections share: those of clients one, those of nodes another.
//
// The budget counts chunks in use and answers that are being sent. Chunks wait for it
// in turn. A connection that is in the middle of a frame and needs a larger chunk could
// wait for others that do the same, so one at a time may exceed the budget: it finishes
// its frame, or is closed because it stalls.
type memory struct {
	limitBytes int64
	usedBytes  atomic.Int64
	waiting    atomic.Int32 // len(mu.queue) and those about to join it

	chunks  [len(chunkBytes)]sync.Pool // *chunk
	buffers sync.Pool                  // *buffer
	stages  sync.Pool                  // *[]byte of stageBytes
	spares  sync.Pool                  // *Exchange

	mu struct {
		sync.Mutex
		queue     []*memoryWaiter
		overdrawn bool // some chunk is
	}
}

type memoryWaiter struct {
	bytes     int64
	growth    bool          // in the middle of a frame
	granted   chan struct{} // closed under memory.mu
	overdrawn bool          // set before granted is closed
}

// reserve takes n bytes of the budget if they are there.
func (m *memory) reserve(n int64) bool {
	for {
		used := m.usedBytes.Load()
		if used+n > m.limitBytes {
			return false
		}
		if m.usedBytes.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// charge counts n bytes that exist already.
func (m *memory) charge(n int) { m.usedBytes.Add(int64(n)) }

// discharge gives n bytes back and serves who waits.
func (m *memory) discharge(n int) {
	m.usedBytes.Add(-int64(n))
	if m.waiting.Load() > 0 {
		m.mu.Lock()
		m.dispatchLocked()
		m.mu.Unlock()
	}
}

// pressed tells whether somebody waits.
func (m *memory) pressed() bool { return m.waiting.Load() > 0 }

// readStall is how long a begun frame may make no progress.
func (m *memory) readStall() time.Duration {
	if m.pressed() {
		return pressedStallTimeout
	}
	return stallTimeout
}

// tryChunk returns a chunk of the first class, or nil where the budget is used up.
func (m *memory) tryChunk() *chunk {
	if m.waiting.Load() > 0 || !m.reserve(int64(chunkBytes[0])) {
		return nil
	}
	return m.takeChunk(chunkBytes[0])
}

// waitChunk returns a chunk of the first class, or errStopped once stop is closed.
func (m *memory) waitChunk(stop <-chan struct{}) (*chunk, error) {
	overdrawn, err := m.wait(chunkBytes[0], false, stop)
	if err != nil {
		return nil, err
	}
	k := m.takeChunk(chunkBytes[0])
	k.overdrawn = overdrawn
	return k, nil
}

// growChunk returns a chunk of n bytes for a frame of which a part is in old.
func (m *memory) growChunk(old *chunk, n int, stop <-chan struct{}) (*chunk, error) {
	overdrawn := old.overdrawn
	if overdrawn {
		m.charge(n)
		old.overdrawn = false
	} else if m.waiting.Load() > 0 || !m.reserve(int64(n)) {
		var err error
		if overdrawn, err = m.wait(n, true, stop); err != nil {
			return nil, err
		}
	}
	k := m.takeChunk(n)
	k.overdrawn = overdrawn
	return k, nil
}

// chunkSize rounds n up to a class, where one is large enough.
func chunkSize(n int) int {
	for _, size := range chunkBytes {
		if n <= size {
			return size
		}
	}
	return n
}

// takeChunk makes or reuses a chunk whose bytes are reserved already.
func (m *memory) takeChunk(n int) *chunk {
	for class, size := range chunkBytes {
		if n == size {
			if k, ok := m.chunks[class].Get().(*chunk); ok {
				return k
			}
			return &chunk{b: make([]byte, n), class: class}
		}
	}
	return &chunk{b: make([]byte, n), class: -1}
}

// freeChunk gives a chunk back. Nobody has a part of it any more.
func (m *memory) freeChunk(k *chunk) {
	n, overdrawn := len(k.b), k.overdrawn
	k.overdrawn, k.detached = false, false
	if k.class >= 0 {
		m.chunks[k.class].Put(k)
	}
	if overdrawn {
		m.mu.Lock()
		m.mu.overdrawn = false
		m.usedBytes.Add(-int64(n))
		m.dispatchLocked()
		m.mu.Unlock()
		return
	}
	m.discharge(n)
}

// wait takes n bytes when it is their turn and tells whether they exceed the budget.
func (m *memory) wait(n int, growth bool, stop <-chan struct{}) (overdrawn bool, err error) {
	w := &memoryWaiter{bytes: int64(n), growth: growth, granted: make(chan struct{})}
	m.mu.Lock()
	m.waiting.Add(1) // before the budget is looked at again, so that no release is missed
	m.mu.queue = append(m.mu.queue, w)
	m.dispatchLocked()
	m.mu.Unlock()
	select {
	case <-w.granted:
		return w.overdrawn, nil
	case <-stop:
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-w.granted: // at the same time: give it back
		if w.overdrawn {
			m.mu.overdrawn = false
		}
		m.usedBytes.Add(-w.bytes)
	default:
		m.removeLocked(w)
	}
	m.dispatchLocked()
	return false, errStopped
}

// dispatchLocked grants in turn what fits, then the overdraft to the first in line who may have it.
func (m *memory) dispatchLocked() {
	for len(m.mu.queue) > 0 && m.reserve(m.mu.queue[0].bytes) {
		m.grantLocked(m.mu.queue[0])
	}
	if m.mu.overdrawn {
		return
	}
	for _, w := range m.mu.queue {
		if w.growth {
			m.usedBytes.Add(w.bytes)
			m.mu.overdrawn, w.overdrawn = true, true
			m.grantLocked(w)
			return
		}
	}
}

func (m *memory) grantLocked(w *memoryWaiter) {
	m.removeLocked(w)
	close(w.granted)
}

func (m *memory) removeLocked(w *memoryWaiter) {
	for i := range m.mu.queue {
		if m.mu.queue[i] == w {
			m.mu.queue = append(m.mu.queue[:i], m.mu.queue[i+1:]...)
			m.waiting.Add(-1)
			return
		}
	}
}

// takeBuffer returns an empty buffer.
func (m *memory) takeBuffer() *buffer {
	if b, ok := m.buffers.Get().(*buffer); ok {
		return b
	}
	return &buffer{b: make([]byte, 0, 1024)}
}

// freeBuffer releases the slices of an answer and gives its buffer back.
func (m *memory) freeBuffer(b *buffer) {
	for i := range b.parts {
		b.parts[i].Source.Release()
	}
	clear(b.parts)
	b.b, b.parts = b.b[:0], b.parts[:0]
	if cap(b.b) <= bufferBytesMax {
		m.buffers.Put(b)
	}
}

// stageBytes is the size of a stage, in which an answer of many pieces is put together.
const stageBytes = 64 << 10

func (m *memory) takeStage() *[]byte {
	if s, ok := m.stages.Get().(*[]byte); ok {
		return s
	}
	s := make([]byte, 0, stageBytes)
	return &s
}

func (m *memory) freeStage(s *[]byte) {
	*s = (*s)[:0]
	m.stages.Put(s)
}

func (m *memory) takeExchange() *Exchange {
	if x, ok := m.spares.Get().(*Exchange); ok {
		return x
	}
	return new(Exchange)
}

func (m *memory) freeExchange(x *Exchange) {
	if x.buf != nil {
		m.freeBuffer(x.buf)
	}
	*x = Exchange{}
	m.spares.Put(x)
}
