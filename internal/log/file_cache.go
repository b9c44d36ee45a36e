package log

import (
	"container/list"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/vfs"
)

// fileCache bounds how many segment and index files are open at once. A file is opened by
// whoever needs it first and closed when the cache is over its bound and the file has not been
// used lately. A file in use is never closed under its user: users hold references.
//
// Using an open file takes no lock that is shared between files. The order of closing is that
// of a clock: a file used since the hand last passed gets another round.
type fileCache struct {
	fs      vfs.FS
	openMax int // more than this only while every open file is in use

	mu struct {
		sync.Mutex           // leaf; never held across a call of fs
		ring       list.List // of *cachedFile, those that have a handle; the hand is at the front
	}
}

func newFileCache(fs vfs.FS, openMax int) *fileCache {
	return &fileCache{fs: fs, openMax: max(openMax, 1)}
}

// cachedFile is one file that may be open. The zero value is a closed file.
type cachedFile struct {
	handle atomic.Pointer[fileHandle] // nil while closed
	used   atomic.Bool                // since the hand of the cache last passed
	elem   *list.Element              // guarded by fileCache.mu; nil while not in the ring
}

// fileHandle is an open file and those who use it.
type fileHandle struct {
	vfs.File
	refs atomic.Int32 // users, and one for the cache while it keeps the file; closed at 0
}

func (h *fileHandle) acquire() bool {
	for {
		n := h.refs.Load()
		if n == 0 {
			return false
		}
		if h.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release gives a reference back. Nothing can be done about a failed close: what must be
// durable has been synced before.
func (h *fileHandle) release() {
	if h.refs.Add(-1) == 0 {
		_ = h.Close()
	}
}

// cached returns the open file with a reference for the caller, or nil where it is closed.
func (f *cachedFile) cached() *fileHandle {
	h := f.handle.Load()
	if h == nil || !h.acquire() {
		return nil
	}
	if !f.used.Load() {
		f.used.Store(true)
	}
	return h
}

// inUse tells whether somebody other than the cache holds the file.
func (f *cachedFile) inUse() bool {
	h := f.handle.Load()
	return h != nil && h.refs.Load() > 1
}

// put makes file the open file of f, for which it must have none, and returns a reference.
// Where another caller was faster its file stays and this one is closed.
func (c *fileCache) put(f *cachedFile, file vfs.File) *fileHandle {
	h := &fileHandle{File: file}
	h.refs.Store(2)
	c.mu.Lock()
	if other := f.cached(); other != nil {
		c.mu.Unlock()
		_ = file.Close()
		return other
	}
	if f.elem == nil {
		f.elem = c.mu.ring.PushBack(f)
	}
	f.used.Store(true)
	f.handle.Store(h)
	victims := c.overflowLocked()
	c.mu.Unlock()
	for _, v := range victims {
		v.release()
	}
	return h
}

// overflowLocked takes files that nobody uses out of the ring until the bound holds or every
// file has been looked at twice, and returns their handles for release.
func (c *fileCache) overflowLocked() []*fileHandle {
	var out []*fileHandle
	ring := &c.mu.ring
	for tries := 2 * ring.Len(); ring.Len() > c.openMax && tries > 0; tries-- {
		e := ring.Front()
		f := e.Value.(*cachedFile)
		if f.used.Swap(false) || f.inUse() {
			ring.MoveToBack(e)
			continue
		}
		out = append(out, c.takeLocked(f))
	}
	return out
}

func (c *fileCache) takeLocked(f *cachedFile) *fileHandle {
	c.mu.ring.Remove(f.elem)
	f.elem = nil
	return f.handle.Swap(nil)
}

// drop closes the file as soon as nobody uses it. The next use opens it by name again.
func (c *fileCache) drop(f *cachedFile) {
	c.mu.Lock()
	var h *fileHandle
	if f.elem != nil {
		h = c.takeLocked(f)
	}
	c.mu.Unlock()
	if h != nil {
		h.release()
	}
}

// open returns how many files the cache keeps open.
func (c *fileCache) open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.ring.Len()
}
