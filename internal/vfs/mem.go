package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mem is a file system in memory. It keeps, beside what a process sees, what is
// durable: of each file the bytes and size that were synced and the operations
// since, and of each directory the names that were synced and the changes since.
type Mem struct {
	// mu guards everything below and in every node. A leaf.
	mu struct {
		sync.RWMutex
		root      *memNode
		nodes     uint64 // made so far; numbers the next
		names     []nameOp
		dirty     map[*memNode]struct{} // files with pending operations
		locked    map[*memNode]struct{}
		capacity  int64 // pages; 0 = no limit
		allocated int64 // pages of all files that are linked or open
	}
}

// memNode is a file or directory. Guarded by Mem.mu.
type memNode struct {
	id      uint64
	links   int // names that lead here now: 0 or 1
	opens   int
	modTime time.Time

	entries        map[string]*memNode // of a directory, else nil
	durableEntries map[string]*memNode

	now     content
	durable content
	pending []fileOp // what led from durable to now
}

// fileOp is one operation on a file since its last sync: a write of data at off, or, without data, a change of size to off.
type fileOp struct {
	off       int64
	data      []byte
	sizeAfter int64
}

// nameOp is one change of names since they were last synced. It happens whole or not at all.
type nameOp struct {
	changes [2]nameChange // the second one of a rename only
	n       int
}

// nameChange gives a name to a node, or, with a nil node, takes the name away.
type nameChange struct {
	dir  *memNode
	name string
	node *memNode
}

// NewMem returns an empty file system. The directories "/" and "." are the same and exist.
func NewMem() *Mem {
	m := new(Mem)
	m.mu.dirty = make(map[*memNode]struct{})
	m.mu.locked = make(map[*memNode]struct{})
	m.mu.root = m.newNodeLocked(true)
	m.mu.root.links = 1
	return m
}

// SetCapacity limits the room to the given bytes, counted in pages of 4 KiB; 0 is no limit.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.capacity = bytes / pageBytes
}

func (m *Mem) newNodeLocked(dir bool) *memNode {
	m.mu.nodes++
	n := &memNode{id: m.mu.nodes, modTime: time.Now()}
	if dir {
		n.entries = make(map[string]*memNode)
		n.durableEntries = make(map[string]*memNode)
	}
	return n
}

func pathErr(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

func elements(name string) []string {
	name = filepath.ToSlash(filepath.Clean(name))
	name = strings.TrimPrefix(name, filepath.ToSlash(filepath.VolumeName(name)))
	return strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
}

// lookupLocked returns the node of a name, or an error that an os call would give.
func (m *Mem) lookupLocked(op, name string) (*memNode, error) {
	n := m.mu.root
	for _, e := range elements(name) {
		if e == "." {
			continue
		}
		if n.entries == nil {
			return nil, pathErr(op, name, syscall.ENOTDIR)
		}
		if n = n.entries[e]; n == nil {
			return nil, pathErr(op, name, fs.ErrNotExist)
		}
	}
	return n, nil
}

// parentLocked returns the directory of a name and the name in it.
func (m *Mem) parentLocked(op, name string) (dir *memNode, base string, err error) {
	base = filepath.Base(filepath.Clean(name))
	if len(elements(name)) == 0 || base == "." {
		return nil, "", pathErr(op, name, fs.ErrInvalid)
	}
	dir, err = m.lookupLocked(op, filepath.Dir(filepath.Clean(name)))
	if err == nil && dir.entries == nil {
		err = pathErr(op, name, syscall.ENOTDIR)
	}
	return dir, base, err
}

// changeLocked changes names at once and notes that the change is not durable.
func (m *Mem) changeLocked(changes ...nameChange) {
	op := nameOp{n: len(changes)}
	copy(op.changes[:], changes)
	for _, c := range changes {
		old := c.dir.entries[c.name]
		if c.node == nil {
			delete(c.dir.entries, c.name)
		} else {
			c.dir.entries[c.name] = c.node
			c.node.links++
		}
		if old != nil {
			old.links--
			m.reclaimLocked(old)
		}
		c.dir.modTime = time.Now()
	}
	m.mu.names = append(m.mu.names, op)
}

// reclaimLocked gives back the room of a file that no name and no handle leads to.
func (m *Mem) reclaimLocked(n *memNode) {
	if n.links == 0 && n.opens == 0 {
		m.mu.allocated -= n.now.allocated()
	}
}

func (m *Mem) openFile(op, name string, create, empty, readOnly bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookupLocked(op, name)
	if err != nil {
		if !create {
			return nil, err
		}
		dir, base, err := m.parentLocked(op, name)
		if err != nil {
			return nil, err
		}
		n = m.newNodeLocked(false)
		m.changeLocked(nameChange{dir, base, n})
	} else if n.entries != nil && !readOnly {
		return nil, pathErr(op, name, syscall.EISDIR)
	}
	if empty && n.now.size > 0 {
		m.truncateLocked(n, 0)
	}
	n.opens++
	return &memFile{fs: m, name: name, node: n, readOnly: readOnly}, nil
}

// Create implements FS.
func (m *Mem) Create(name string) (File, error) {
	return m.openFile("create", name, true, true, false)
}

// Open implements FS.
func (m *Mem) Open(name string) (File, error) { return m.openFile("open", name, false, false, true) }

// OpenReadWrite implements FS.
func (m *Mem) OpenReadWrite(name string) (File, error) {
	return m.openFile("open", name, true, false, false)
}

// OpenExisting implements FS.
func (m *Mem) OpenExisting(name string) (File, error) {
	return m.openFile("open", name, false, false, false)
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parentLocked("remove", name)
	if err != nil {
		return err
	}
	n := dir.entries[base]
	if n == nil {
		return pathErr("remove", name, fs.ErrNotExist)
	}
	if len(n.entries) > 0 {
		return pathErr("remove", name, syscall.ENOTEMPTY)
	}
	m.changeLocked(nameChange{dir, base, nil})
	return nil
}

// RemoveAll implements FS. A power cut may leave any part of the tree.
func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parentLocked("removeall", name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && dir.entries[base] == nil {
		return nil
	}
	if err != nil {
		return err
	}
	m.removeTreeLocked(dir, base)
	return nil
}

func (m *Mem) removeTreeLocked(dir *memNode, name string) {
	n := dir.entries[name]
	for _, child := range slices.Sorted(maps.Keys(n.entries)) {
		m.removeTreeLocked(n, child)
	}
	m.changeLocked(nameChange{dir, name, nil})
}

// Rename implements FS.
func (m *Mem) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	oldDir, oldBase, err := m.parentLocked("rename", oldName)
	if err != nil {
		return err
	}
	n := oldDir.entries[oldBase]
	if n == nil {
		return pathErr("rename", oldName, fs.ErrNotExist)
	}
	newDir, newBase, err := m.parentLocked("rename", newName)
	if err != nil {
		return err
	}
	if there := newDir.entries[newBase]; there == n {
		return nil
	} else if there != nil && (there.entries != nil || n.entries != nil) {
		return pathErr("rename", newName, fs.ErrExist)
	}
	m.changeLocked(nameChange{newDir, newBase, n}, nameChange{oldDir, oldBase, nil})
	return nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.mu.root
	for _, e := range elements(dir) {
		if e == "." {
			continue
		}
		if n.entries == nil {
			return pathErr("mkdir", dir, syscall.ENOTDIR)
		}
		next := n.entries[e]
		if next == nil {
			next = m.newNodeLocked(true)
			m.changeLocked(nameChange{n, e, next})
		}
		n = next
	}
	if n.entries == nil {
		return pathErr("mkdir", dir, syscall.ENOTDIR)
	}
	return nil
}

// List implements FS.
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.lookupLocked("open", dir)
	if err != nil {
		return nil, err
	}
	if n.entries == nil {
		return nil, pathErr("readdirent", dir, syscall.ENOTDIR)
	}
	return slices.Sorted(maps.Keys(n.entries)), nil
}

// Stat implements FS.
func (m *Mem) Stat(name string) (os.FileInfo, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.lookupLocked("stat", name)
	if err != nil {
		return nil, err
	}
	return memInfo{filepath.Base(name), n.now.size, n.modTime, n.entries != nil}, nil
}

// Usage implements FS.
func (m *Mem) Usage(dir string) (free, total uint64, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if _, err := m.lookupLocked("statfs", dir); err != nil {
		return 0, 0, err
	}
	capacity := m.mu.capacity
	if capacity == 0 {
		capacity = 1 << 28 // a terabyte
	}
	return uint64(max(0, capacity-m.mu.allocated)) * pageBytes, uint64(capacity) * pageBytes, nil
}

// Lock implements FS.
func (m *Mem) Lock(name string) (io.Closer, error) {
	f, err := m.OpenReadWrite(name)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	mf := f.(*memFile)
	if _, held := m.mu.locked[mf.node]; held {
		m.closeLocked(mf)
		return nil, fmt.Errorf("lock %s: %w", name, ErrLocked)
	}
	m.mu.locked[mf.node] = struct{}{}
	mf.holdsLock = true
	return mf, nil
}

type memInfo struct {
	name    string
	size    int64
	modTime time.Time
	dir     bool
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) ModTime() time.Time { return i.modTime }
func (i memInfo) IsDir() bool        { return i.dir }
func (i memInfo) Sys() any           { return nil }

func (i memInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}
