package vfs

import (
	"io"
	"os"
	"path/filepath"
	"sync"
)

// Op is a kind of operation on a file system.
type Op string

// The operations that a Fault tells apart.
const (
	OpCreate        Op = "Create"
	OpOpen          Op = "Open"
	OpOpenReadWrite Op = "OpenReadWrite"
	OpRemove        Op = "Remove"
	OpRemoveAll     Op = "RemoveAll"
	OpRename        Op = "Rename"
	OpMkdirAll      Op = "MkdirAll"
	OpList          Op = "List"
	OpStat          Op = "Stat"
	OpSyncDir       Op = "SyncDir"
	OpSyncFS        Op = "SyncFS"
	OpLock          Op = "Lock"
	OpUsage         Op = "Usage"
	OpRead          Op = "Read"
	OpWrite         Op = "Write"
	OpSync          Op = "Sync"
	OpTruncate      Op = "Truncate"
	OpSize          Op = "Size"
)

// isSync tells whether op makes something durable.
func (op Op) isSync() bool { return op == OpSync || op == OpSyncDir || op == OpSyncFS }

// changes tells whether op changes what is on the disk, or what of it is durable.
func (op Op) changes() bool {
	switch op {
	case OpOpen, OpList, OpStat, OpLock, OpUsage, OpRead, OpSize:
		return false
	}
	return true
}

// Rule says which operations fail.
type Rule struct {
	Ops   []Op   // any of them; none means all
	Path  string // a filepath.Match pattern for the last element of the name, or for the whole name; "" means every name
	Skip  int    // that many matching operations succeed first
	Times int    // then that many fail; 0 means all
	Err   error
	// Partial has a failing write put half of its bytes into the file.
	Partial bool
}

func (r *Rule) matches(op Op, name string) bool {
	if len(r.Ops) > 0 {
		found := false
		for _, o := range r.Ops {
			found = found || o == op
		}
		if !found {
			return false
		}
	}
	if r.Path == "" {
		return true
	}
	base, _ := filepath.Match(r.Path, filepath.Base(name))
	whole, _ := filepath.Match(r.Path, name)
	return base || whole
}

// Event is an operation that is about to change the disk, or what of it is durable.
type Event struct {
	N    int64 // counts the events of a Fault from 1
	Op   Op
	Name string
}

// Fault is an FS that passes everything on to another one and can make chosen
// operations fail, tell a test of each change before it happens, and leave out
// the syncs of a chosen call site, to prove that tests notice their absence.
// It hides the *os.File of its files, so that every read passes through it.
type Fault struct {
	fs FS
	// mu is a leaf: neither the hook nor the wrapped FS is called with it held.
	mu struct {
		sync.Mutex
		rules      []*Injected
		hook       func(Event)
		events     int64
		sites      map[Site]int64 // calls made from each
		suppressed map[Site]bool
	}
}

// Injected is a Rule in force.
type Injected struct {
	fault *Fault
	rule  Rule
	seen  int // guarded by fault.mu; matching operations so far
	hits  int // guarded by fault.mu; operations made to fail
}

// NewFault wraps fs.
func NewFault(fs FS) *Fault {
	f := &Fault{fs: fs}
	f.mu.sites = make(map[Site]int64)
	f.mu.suppressed = make(map[Site]bool)
	return f
}

// Inject puts a rule in force. Where several match, the first injected decides.
func (f *Fault) Inject(r Rule) *Injected {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := &Injected{fault: f, rule: r}
	f.mu.rules = append(f.mu.rules, i)
	return i
}

// Hits returns how many operations the rule has failed.
func (i *Injected) Hits() int {
	i.fault.mu.Lock()
	defer i.fault.mu.Unlock()
	return i.hits
}

// Remove ends the rule.
func (i *Injected) Remove() {
	i.fault.mu.Lock()
	defer i.fault.mu.Unlock()
	for k, r := range i.fault.mu.rules {
		if r == i {
			i.fault.mu.rules = append(i.fault.mu.rules[:k:k], i.fault.mu.rules[k+1:]...)
			return
		}
	}
}

// SetHook has h called before every operation that changes the disk or its durable
// state, on the goroutine that makes it; nil ends that.
func (f *Fault) SetHook(h func(Event)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.hook = h
}

// Events returns how many events there were.
func (f *Fault) Events() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.events
}

// verdict is what becomes of one operation.
type verdict struct {
	err     error
	partial bool
	skip    bool // report success and do nothing
}

// begin counts an operation, calls the hook and decides.
func (f *Fault) begin(op Op, name string) verdict {
	var v verdict
	var site Site
	if op.isSync() {
		site = callSite(op)
	}
	f.mu.Lock()
	if op.isSync() {
		f.mu.sites[site]++
		v.skip = f.mu.suppressed[site]
	}
	var hook func(Event)
	var e Event
	if op.changes() {
		f.mu.events++
		e = Event{f.mu.events, op, name}
		hook = f.mu.hook
	}
	f.mu.Unlock()
	if hook != nil {
		hook(e)
	}
	// The rules are asked after the hook, which may have changed them.
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.mu.rules {
		if !r.rule.matches(op, name) {
			continue
		}
		r.seen++
		if r.seen > r.rule.Skip && (r.rule.Times == 0 || r.hits < r.rule.Times) {
			r.hits++
			v.err, v.partial = pathErr(string(op), name, r.rule.Err), r.rule.Partial
			break
		}
	}
	return v
}

func (f *Fault) openFile(op Op, name string, open func(string) (File, error)) (File, error) {
	if v := f.begin(op, name); v.err != nil {
		return nil, v.err
	}
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	return &faultFile{fault: f, name: name, file: file}, nil
}

func (f *Fault) do(op Op, name string, call func() error) error {
	if v := f.begin(op, name); v.err != nil || v.skip {
		return v.err
	}
	return call()
}

// Create implements FS.
func (f *Fault) Create(name string) (File, error) { return f.openFile(OpCreate, name, f.fs.Create) }

// Open implements FS.
func (f *Fault) Open(name string) (File, error) { return f.openFile(OpOpen, name, f.fs.Open) }

// OpenReadWrite implements FS.
func (f *Fault) OpenReadWrite(name string) (File, error) {
	return f.openFile(OpOpenReadWrite, name, f.fs.OpenReadWrite)
}

// OpenExisting implements FS. A Rule takes it for an OpenReadWrite.
func (f *Fault) OpenExisting(name string) (File, error) {
	return f.openFile(OpOpenReadWrite, name, f.fs.OpenExisting)
}

// Remove implements FS.
func (f *Fault) Remove(name string) error {
	return f.do(OpRemove, name, func() error { return f.fs.Remove(name) })
}

// RemoveAll implements FS.
func (f *Fault) RemoveAll(name string) error {
	return f.do(OpRemoveAll, name, func() error { return f.fs.RemoveAll(name) })
}

// Rename implements FS. A Rule's Path is matched with the old name.
func (f *Fault) Rename(oldName, newName string) error {
	return f.do(OpRename, oldName, func() error { return f.fs.Rename(oldName, newName) })
}

// MkdirAll implements FS.
func (f *Fault) MkdirAll(dir string) error {
	return f.do(OpMkdirAll, dir, func() error { return f.fs.MkdirAll(dir) })
}

// SyncDir implements FS.
func (f *Fault) SyncDir(dir string) error {
	return f.do(OpSyncDir, dir, func() error { return f.fs.SyncDir(dir) })
}

// SyncFS implements FS.
func (f *Fault) SyncFS(dir string) error {
	return f.do(OpSyncFS, dir, func() error { return f.fs.SyncFS(dir) })
}

// List implements FS.
func (f *Fault) List(dir string) ([]string, error) {
	if v := f.begin(OpList, dir); v.err != nil {
		return nil, v.err
	}
	return f.fs.List(dir)
}

// Stat implements FS.
func (f *Fault) Stat(name string) (os.FileInfo, error) {
	if v := f.begin(OpStat, name); v.err != nil {
		return nil, v.err
	}
	return f.fs.Stat(name)
}

// Lock implements FS.
func (f *Fault) Lock(name string) (io.Closer, error) {
	if v := f.begin(OpLock, name); v.err != nil {
		return nil, v.err
	}
	return f.fs.Lock(name)
}

// Usage implements FS.
func (f *Fault) Usage(dir string) (free, total uint64, err error) {
	if v := f.begin(OpUsage, dir); v.err != nil {
		return 0, 0, v.err
	}
	return f.fs.Usage(dir)
}

// faultFile is an open file of a Fault.
type faultFile struct {
	fault *Fault
	name  string
	file  File
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	if v := f.fault.begin(OpRead, f.name); v.err != nil {
		return 0, v.err
	}
	return f.file.ReadAt(p, off)
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	v := f.fault.begin(OpWrite, f.name)
	if v.err == nil {
		return f.file.WriteAt(p, off)
	}
	if !v.partial {
		return 0, v.err
	}
	n, err := f.file.WriteAt(p[:len(p)/2], off)
	if err != nil {
		return n, err
	}
	return n, v.err
}

func (f *faultFile) Sync() error { return f.fault.do(OpSync, f.name, f.file.Sync) }

func (f *faultFile) Truncate(size int64) error {
	return f.fault.do(OpTruncate, f.name, func() error { return f.file.Truncate(size) })
}

func (f *faultFile) Size() (int64, error) {
	if v := f.fault.begin(OpSize, f.name); v.err != nil {
		return 0, v.err
	}
	return f.file.Size()
}

func (f *faultFile) Close() error { return f.file.Close() }
