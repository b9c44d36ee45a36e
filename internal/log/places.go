package log

import (
	"sync"

	"github.com/moldau/moldau/internal/ids"
)

// placesKept is how many places of each kind a segment remembers.
const placesKept = 8

// place says that the batch with, or next after, offset begins at position, which is also
// where the batch before it ends.
type place struct {
	offset   ids.Offset
	position int64
}

// placeTable remembers where recent appends and recent reads ended. A consumer that keeps up
// asks for what lies between the end of its last answer and the end of an append, and one that
// catches up goes on where it stopped: neither then needs the index or a scan.
type placeTable struct {
	mu struct {
		sync.Mutex // leaf
		appended   [placesKept]place
		read       [placesKept]place
		// Each ring's next victim.
		nextAppended, nextRead uint8
	}
}

func (t *placeTable) appendedTo(o ids.Offset, position int64) {
	t.mu.Lock()
	t.mu.appended[t.mu.nextAppended%placesKept] = place{o, position}
	t.mu.nextAppended++
	t.mu.Unlock()
}

func (t *placeTable) readTo(o ids.Offset, position int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.findLocked(o); known {
		return
	}
	t.mu.read[t.mu.nextRead%placesKept] = place{o, position}
	t.mu.nextRead++
}

func (t *placeTable) find(o ids.Offset) (int64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.findLocked(o)
}

// findLocked tells the position of o. Position 0 is that of the segment's base, which needs no memory: it marks an unused place.
func (t *placeTable) findLocked(o ids.Offset) (int64, bool) {
	for i := range placesKept {
		if p := &t.mu.appended[i]; p.offset == o && p.position > 0 {
			return p.position, true
		}
		if p := &t.mu.read[i]; p.offset == o && p.position > 0 {
			return p.position, true
		}
	}
	return 0, false
}

// placeTable returns the segment's table and makes it the first time.
func (s *segment) placeTable() *placeTable {
	if t := s.places.Load(); t != nil {
		return t
	}
	s.places.CompareAndSwap(nil, new(placeTable))
	return s.places.Load()
}
