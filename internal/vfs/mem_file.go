package vfs

import (
	"io"
	"io/fs"
	"syscall"
	"time"
)

// memFile is an open file of a Mem.
type memFile struct {
	fs       *Mem
	name     string
	node     *memNode
	readOnly bool

	// Guarded by fs.mu.
	closed    bool
	holdsLock bool
}

// usableLocked returns why the handle cannot be used for op, if it cannot.
func (f *memFile) usableLocked(op string, writes bool) error {
	switch {
	case f.closed:
		return pathErr(op, f.name, fs.ErrClosed)
	case writes && f.readOnly:
		return pathErr(op, f.name, syscall.EBADF)
	case f.node.entries != nil && op != "sync":
		return pathErr(op, f.name, syscall.EISDIR)
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	if err := f.usableLocked("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathErr("read", f.name, fs.ErrInvalid)
	}
	n := f.node.now.readAt(p, off)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes what fits and returns ENOSPC where that is not all.
func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	m, n := f.fs, f.node
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := f.usableLocked("write", true); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathErr("write", f.name, fs.ErrInvalid)
	}
	fits := len(p)
	if m.mu.capacity > 0 {
		for fits > 0 && m.mu.allocated+n.now.newPages(off, fits) > m.mu.capacity {
			// Drop what lies on the last page.
			fits = int(max(0, (off+int64(fits)-1)/pageBytes*pageBytes-off))
		}
	}
	if fits > 0 {
		m.mu.allocated += n.now.newPages(off, fits)
		n.now.writeAt(p[:fits], off)
		m.pendLocked(n, fileOp{off: off, data: append(make([]byte, 0, fits), p[:fits]...), sizeAfter: n.now.size})
	}
	if fits < len(p) {
		return fits, pathErr("write", f.name, syscall.ENOSPC)
	}
	return fits, nil
}

func (m *Mem) pendLocked(n *memNode, op fileOp) {
	n.modTime = time.Now()
	n.pending = append(n.pending, op)
	m.mu.dirty[n] = struct{}{}
}

func (m *Mem) truncateLocked(n *memNode, size int64) {
	before := n.now.allocated()
	n.now.truncate(size)
	m.mu.allocated += n.now.allocated() - before
	m.pendLocked(n, fileOp{off: size, sizeAfter: size})
}

func (f *memFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.usableLocked("truncate", true); err != nil {
		return err
	}
	if size < 0 {
		return pathErr("truncate", f.name, fs.ErrInvalid)
	}
	if size != f.node.now.size {
		f.fs.truncateLocked(f.node, size)
	}
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	if err := f.usableLocked("stat", false); err != nil {
		return 0, err
	}
	return f.node.now.size, nil
}

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.usableLocked("sync", false); err != nil {
		return err
	}
	f.fs.syncNodeLocked(f.node)
	return nil
}

func (f *memFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return pathErr("close", f.name, fs.ErrClosed)
	}
	f.fs.closeLocked(f)
	return nil
}

func (m *Mem) closeLocked(f *memFile) {
	f.closed = true
	if f.holdsLock {
		delete(m.mu.locked, f.node)
	}
	f.node.opens--
	m.reclaimLocked(f.node)
}
