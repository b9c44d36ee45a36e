package log

import (
	"errors"
	"io/fs"
	"path/filepath"
	"sync/atomic"
)

// roomAgain times the reserve must be free before produce is accepted again. One of them
// becomes the reserve.
const roomAgain = 3

// reserveChunk is written at a time. A hole would reserve nothing.
var reserveChunk [1 << 20]byte

// room keeps a directory usable when its disk is full. A file of ReservedBytes holds some
// space. Where that much is not free any more, or a write found none, the directory is full:
// produce is refused, and the file goes, so that there is room for metadata, checkpoints and
// deletions. It ends when roomAgain times as much is free.
//
// Appends read logEnv.full. The rest is owned by housekeeping, and by Close after that has ended.
type room struct {
	wanted  atomic.Bool // a write found none
	full    bool
	holding bool        // the file is there, whole
	told    atomic.Bool // full, for others to see
}

// noRoom is told by a write that found no room. It does not block.
func (d *dataDir) noRoom() {
	d.env.full.Store(true)
	d.room.wanted.Store(true)
	d.store.housekeeping.wakeUp()
}

// check brings full and the reserve in line with what is free.
func (r *room) check(d *dataDir) {
	reserved := uint64(max(0, d.store.cfg.ReservedBytes))
	free, _, err := d.env.fs.Usage(d.path)
	if err != nil {
		return // what is wrong with the disk shows where it is written
	}
	short := r.wanted.Swap(false) || free < reserved
	switch {
	case short && !r.full:
		r.full = true
		d.env.full.Store(true)
		d.store.cfg.Logger.Error("disk is full: produce is refused until there is room. Delete topics, shorten their retention, or make the disk larger",
			"dir", d.path, "freeBytes", free, "wantedBytes", roomAgain*reserved)
		r.release(d)
		r.told.Store(true)
		d.store.roomChanged()
	case short:
	case r.full && free >= roomAgain*reserved:
		r.full = false
		d.env.full.Store(false)
		d.store.cfg.Logger.Info("disk has room again: produce is accepted", "dir", d.path, "freeBytes", free)
		r.told.Store(false)
		r.hold(d)
		d.store.roomChanged()
	case !r.full && !r.holding:
		r.hold(d)
	}
}

func (s *Store) roomChanged() {
	if s.cfg.OnRoom != nil {
		s.cfg.OnRoom()
	}
}

// hold makes the reserve where it is not there. It is not synced: the blocks are taken when they are written.
func (r *room) hold(d *dataDir) {
	reserved := d.store.cfg.ReservedBytes
	if reserved <= 0 {
		return
	}
	f, err := d.env.fs.OpenReadWrite(filepath.Join(d.path, reserveFile))
	if err != nil {
		_ = d.writeFailed(err)
		return
	}
	size, err := f.Size()
	for err == nil && size < reserved {
		var n int
		n, err = f.WriteAt(reserveChunk[:min(int64(len(reserveChunk)), reserved-size)], size)
		size += int64(n)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = d.writeFailed(err)
		return
	}
	r.holding = true
}

// release gives the reserved space back.
func (r *room) release(d *dataDir) {
	err := d.env.fs.Remove(filepath.Join(d.path, reserveFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		_ = d.writeFailed(err)
	}
	r.holding = false
}
