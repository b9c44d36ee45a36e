package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"sync"
)

// Permissions before the umask, as Kafka's JVM makes them.
const (
	filePerm = 0o666
	dirPerm  = 0o777
)

// OS is the file system of the operating system.
var OS FS = &osFS{}

type osFS struct {
	// mu guards roots, a leaf. A root is an open handle of a directory in which somebody
	// holds a lock. SyncFS goes through it: Linux reports a failed write-back to a handle
	// that was open when it failed, and need not to one opened later.
	mu struct {
		sync.Mutex
		roots map[string]*os.File
	}
}

type osFile struct{ *os.File }

// OSFile is what vfs.OSFile looks for.
func (f osFile) OSFile() *os.File { return f.File }

func (f osFile) Sync() error {
	if err := syncData(f.File); err != nil {
		return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func open(name string, flag int) (File, error) {
	f, err := openFile(name, flag)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (*osFS) Create(name string) (File, error) {
	return open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (*osFS) Open(name string) (File, error) { return open(name, os.O_RDONLY) }

func (*osFS) OpenReadWrite(name string) (File, error) { return open(name, os.O_RDWR|os.O_CREATE) }

func (*osFS) OpenExisting(name string) (File, error) { return open(name, os.O_RDWR) }

func (*osFS) Remove(name string) error              { return os.Remove(name) }
func (*osFS) RemoveAll(name string) error           { return os.RemoveAll(name) }
func (*osFS) Rename(oldName, newName string) error  { return os.Rename(oldName, newName) }
func (*osFS) MkdirAll(dir string) error             { return os.MkdirAll(dir, dirPerm) }
func (*osFS) Stat(name string) (os.FileInfo, error) { return os.Stat(name) }
func (*osFS) SyncDir(dir string) error              { return syncDir(dir) }

// List reads the names alone: no stat of each.
func (*osFS) List(dir string) ([]string, error) {
	d, err := openFile(dir, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	return names, nil
}

func (o *osFS) SyncFS(dir string) error {
	root := o.root(dir)
	if root == nil {
		var err error
		if root, err = os.Open(dir); err != nil {
			return err
		}
		defer root.Close()
	}
	return syncFS(root)
}

func (o *osFS) root(dir string) *os.File {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.roots[filepath.Clean(dir)]
}

// Lock also opens the directory of name for the SyncFS calls to come.
func (o *osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	l := &osLock{fs: o, file: f, dir: filepath.Clean(filepath.Dir(name))}
	// A system that cannot open a directory has no SyncFS either.
	if root, err := os.Open(l.dir); err == nil {
		o.mu.Lock()
		if o.mu.roots == nil {
			o.mu.roots = make(map[string]*os.File)
		}
		if o.mu.roots[l.dir] == nil {
			o.mu.roots[l.dir], l.root = root, root
		}
		o.mu.Unlock()
		if l.root == nil {
			root.Close()
		}
	}
	return l, nil
}

// osLock is a held lock. Closing its file gives the lock back.
type osLock struct {
	fs   *osFS
	file *os.File
	dir  string
	root *os.File // the entry of fs.mu.roots that this lock made; nil where another lock made it
}

func (l *osLock) Close() error {
	if l.root != nil {
		l.fs.mu.Lock()
		delete(l.fs.mu.roots, l.dir)
		l.fs.mu.Unlock()
		l.root.Close()
	}
	return l.file.Close()
}

func (*osFS) Usage(dir string) (free, total uint64, err error) { return usage(dir) }
