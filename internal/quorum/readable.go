package quorum

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// Tail is the committed part of the log from an entry on.
type Tail struct {
	Batches  []byte // whole batches from the wanted entry on; none: there is nothing new
	Snapshot []byte // the newest snapshot, where the log begins behind the wanted entry
	Commit   uint64 // everything up to here is committed
}

// ReadableLog is the committed metadata, for those who follow it and do not vote.
type ReadableLog interface {
	// Read returns what is committed from an offset on: about a megabyte of batches, or the newest snapshot
	// where these are gone. It does not wait.
	Read(from ids.Offset) (*Tail, error)
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

// read returns what is committed from an entry on. Nothing beyond the commit is shown: it may still be given up.
func (r readable) read(from uint64) (*Tail, error) {
	t := &Tail{Commit: r.commit}
	var err error
	switch {
	case from <= r.newest.Index && from < r.log.first():
		t.Snapshot, err = readSnapshot(r.fs, r.dir, r.newest)
	case from <= r.commit:
		t.Batches, err = r.log.read(from, r.commit+1, readBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("reading committed metadata from entry %d on: %w", from, err)
	}
	return t, nil
}

// Read implements ReadableLog.
func (n *Node) Read(from ids.Offset) (*Tail, error) {
	if from < 1 {
		return nil, fmt.Errorf("reading committed metadata from offset %d on: the first is 1", from)
	}
	for {
		n.mu.Lock()
		r := n.mu.readable
		n.mu.Unlock()
		t, err := r.read(uint64(from))
		if err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, kerr.OffsetOutOfRange) {
			return t, err
		}
		// A snapshot has replaced what was to be read, or is replaced itself.
		n.mu.Lock()
		same := n.mu.readable == r
		n.mu.Unlock()
		if same {
			return nil, err
		}
	}
}
