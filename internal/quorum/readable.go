package quorum

import (
	"fmt"

	"github.com/moldau/moldau/internal/vfs"
)

// Tail is the committed part of the log from an entry on.
type Tail struct {
	Batches  []byte // whole batches from the wanted entry on; none: there is nothing new
	Snapshot []byte // the newest snapshot, where the log begins behind the wanted entry
	Commit   uint64 // everything up to here is committed
}

// readable is the log as it was at a moment. What is in it stays, but for a prefix that a newer snapshot replaces.
type readable struct {
	fs     vfs.FS
	dir    string
	log    *entryLog
	commit uint64
	newest Position
}

func (m *Member) readable() readable {
	return readable{m.cfg.FS, m.dir, m.log, m.hard.Commit, m.newest}
}

// replaced tells whether an entry is in the newest snapshot and not in the log any more.
func (r readable) replaced(index uint64) bool {
	return index <= r.newest.Index && index < r.log.first()
}

// batches returns about so many bytes of what is committed from an entry on. Nothing beyond the commit is shown: it may
// still be given up.
func (r readable) batches(from uint64, bytesMax int32) ([]byte, error) {
	b, err := r.log.read(from, r.commit+1, bytesMax)
	if err != nil {
		return nil, fmt.Errorf("reading committed metadata from entry %d on: %w", from, err)
	}
	return b, nil
}

// read returns what is committed from an entry on.
func (r readable) read(from uint64) (*Tail, error) {
	t := &Tail{Commit: r.commit}
	var err error
	switch {
	case r.replaced(from):
		t.Snapshot, err = readSnapshot(r.fs, r.dir, r.newest)
	case from <= r.commit:
		t.Batches, err = r.batches(from, readBytes)
	}
	return t, err
}

// watch returns the status of now and a channel that is closed once its leader or its high watermark is another.
func (n *Node) watch() (Status, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.moved == nil {
		n.mu.moved = make(chan struct{})
	}
	return n.mu.status, n.mu.moved
}

// setStatusLocked tells those who watch.
func (n *Node) setStatusLocked(s Status) {
	moved := s.Leader != n.mu.status.Leader || s.HighWatermark != n.mu.status.HighWatermark
	if n.mu.status = s; moved && n.mu.moved != nil {
		close(n.mu.moved)
		n.mu.moved = nil
	}
}

func (n *Node) readableNow() readable {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.readable
}
