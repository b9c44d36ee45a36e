package log

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

const (
	// syncsMax bounds the fdatasyncs of one directory at a time: 64 files take 8 ms in
	// turn and 3 ms by 16 goroutines, and no less by more.
	syncsMax = 16
	// syncFSAbove is how many waiting logs make one syncfs cheaper than their fdatasyncs.
	syncFSAbove = 32
	// syncFSPatience is how long the logs of a syncfs wait for it. It flushes what other
	// programs wrote too, which can take long; then they are synced one by one after all.
	syncFSPatience = 10 * time.Millisecond
)

// syncTarget is what group commit needs of a Log. Of one target it makes one of these
// calls at a time, whatever the order.
type syncTarget interface {
	// syncFiles makes durable what was appended before the call, and tells who waits for it.
	// It judges its errors itself: one that leaves in doubt what is durable has stopped the
	// group commit before it returns.
	syncFiles() (ids.Offset, error)
	// dirtyEnd returns the end of what a syncfs that starts now would make durable.
	dirtyEnd() ids.Offset
	// markDurable tells who waits that a syncfs made everything below end durable.
	markDurable(end ids.Offset)
}

// groupCommit syncs the logs of one directory for those who ask. A log that is being
// synced is synced once more if it was asked for meanwhile, so each sync serves all
// who asked before it began, and no timer delays the first.
//
// Goroutines: up to syncsMax workers, callers of here among them, and one for syncfs, while
// there is work; none when idle. Locks: mu, a leaf; no call of a target or of the file system is made with it held.
type groupCommit struct {
	fs   vfs.FS
	dir  string
	fail func(error) // told that a syncfs failed; calls stop

	mu struct {
		sync.Mutex
		logs    map[syncTarget]syncState // those asked for and not synced since
		queue   []syncTarget             // in order of asking; an entry whose phase is not syncQueued is void
		waiting int                      // entries of logs in phase syncQueued
		workers int                      // each has a log
		// inFS holds the targets of the running syncfs; nil while there is none.
		inFS    []fsTarget
		noFS    bool       // the system has no syncfs for this directory
		stopped bool       // nothing is synced any more
		idle    *sync.Cond // signalled when the last goroutine ends
	}
}

type syncPhase uint8

const (
	syncQueued  syncPhase = iota
	syncRunning           // a worker has it
	syncInFS              // the syncfs has it
)

type syncState struct {
	phase syncPhase
	again bool // asked for after the running sync, or the syncfs that covers it, began
	// covered says that the running syncfs still serves it: no worker has begun it since.
	covered bool
}

type fsTarget struct {
	target syncTarget
	end    ids.Offset // dirtyEnd before the syncfs
}

func newGroupCommit(fs vfs.FS, dir string, fail func(error)) *groupCommit {
	g := &groupCommit{fs: fs, dir: dir, fail: fail}
	g.mu.logs = make(map[syncTarget]syncState)
	g.mu.idle = sync.NewCond(&g.mu)
	return g
}

// request has t synced: what was appended before the call is durable, and those who wait
// are told, once it was.
func (g *groupCommit) request(t syncTarget) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.stopped {
		return
	}
	s, busy := g.mu.logs[t]
	if busy {
		if s.phase != syncQueued || s.covered {
			s.again = true
			g.mu.logs[t] = s
		}
		return
	}
	g.enqueueLocked(t, syncState{})
	g.scheduleLocked()
}

// here syncs t on the caller's goroutine, which saves two changes of goroutine, and returns
// true. It leaves that to request, with false, where t is being synced or others wait.
func (g *groupCommit) here(t syncTarget) bool {
	g.mu.Lock()
	if _, busy := g.mu.logs[t]; busy || g.mu.stopped || g.mu.waiting > 0 || g.mu.workers >= syncsMax {
		g.mu.Unlock()
		return false
	}
	g.mu.logs[t] = syncState{phase: syncRunning}
	g.mu.workers++
	g.mu.Unlock()
	_, _ = t.syncFiles() // judged there
	g.mu.Lock()
	defer g.mu.Unlock()
	g.doneLocked(t)
	g.mu.workers--
	g.scheduleLocked() // what was asked for meanwhile
	g.signalLocked()
	return true
}

func (g *groupCommit) enqueueLocked(t syncTarget, s syncState) {
	s.phase = syncQueued
	g.mu.logs[t] = s
	g.mu.queue = append(g.mu.queue, t)
	g.mu.waiting++
}

// scheduleLocked gives queued logs to a syncfs or to a worker.
func (g *groupCommit) scheduleLocked() {
	if g.mu.waiting > syncFSAbove && g.mu.inFS == nil && !g.mu.noFS {
		g.startFSLocked()
		return
	}
	for g.mu.workers < syncsMax {
		t, ok := g.nextLocked()
		if !ok {
			return
		}
		g.mu.workers++
		go g.work(t)
	}
}

// nextLocked takes the log that has waited longest, for a worker.
func (g *groupCommit) nextLocked() (syncTarget, bool) {
	for len(g.mu.queue) > 0 {
		t := g.mu.queue[0]
		g.mu.queue[0] = nil
		g.mu.queue = g.mu.queue[1:]
		if s, ok := g.mu.logs[t]; ok && s.phase == syncQueued {
			g.mu.waiting--
			g.mu.logs[t] = syncState{phase: syncRunning}
			return t, true
		}
	}
	g.mu.queue = nil
	return nil, false
}

// work syncs t, then one log after the other until none waits.
func (g *groupCommit) work(t syncTarget) {
	for ok := true; ok; {
		_, _ = t.syncFiles() // judged there
		g.mu.Lock()
		g.doneLocked(t)
		if t, ok = g.nextLocked(); !ok {
			g.mu.workers--
			g.signalLocked()
		}
		g.mu.Unlock()
	}
}

// doneLocked ends one sync of t and queues the next where somebody asked meanwhile.
func (g *groupCommit) doneLocked(t syncTarget) {
	s, ok := g.mu.logs[t]
	switch {
	case !ok: // stopped, and forgotten
	case s.again:
		g.enqueueLocked(t, syncState{})
	default:
		delete(g.mu.logs, t)
	}
}

// startFSLocked gives everything queued to one syncfs.
func (g *groupCommit) startFSLocked() {
	batch := make([]fsTarget, 0, g.mu.waiting)
	for _, t := range g.mu.queue {
		if s, ok := g.mu.logs[t]; ok && s.phase == syncQueued {
			g.mu.logs[t] = syncState{phase: syncInFS, covered: true}
			batch = append(batch, fsTarget{target: t})
		}
	}
	g.mu.queue, g.mu.waiting = nil, 0
	g.mu.inFS = batch
	go g.syncFS(batch)
}

func (g *groupCommit) syncFS(batch []fsTarget) {
	for i := range batch {
		batch[i].end = batch[i].target.dirtyEnd()
	}
	patience := time.AfterFunc(syncFSPatience, func() { g.loseFSPatience(batch) })
	err := g.fs.SyncFS(g.dir)
	patience.Stop()
	switch {
	case err == nil:
		for _, b := range batch {
			if g.claimCovered(b.target) {
				b.target.markDurable(b.end)
				g.mu.Lock()
				g.doneLocked(b.target)
				g.mu.Unlock()
			}
		}
	case errors.Is(err, errors.ErrUnsupported):
		g.loseFSPatience(batch)
	default:
		g.fail(fmt.Errorf("syncing the file system of %s: %w", g.dir, err))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.noFS = g.mu.noFS || err != nil
	g.mu.inFS = nil
	g.scheduleLocked()
	g.signalLocked()
}

// claimCovered takes a log that the syncfs has covered, unless a worker began it meanwhile.
func (g *groupCommit) claimCovered(t syncTarget) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, ok := g.mu.logs[t]
	if !ok || !s.covered {
		return false
	}
	if s.phase == syncQueued {
		g.mu.waiting--
	}
	s.phase, s.covered = syncRunning, false
	g.mu.logs[t] = s
	return true
}

// loseFSPatience lets the workers have the logs of a syncfs that takes long. It still
// serves those that no worker has begun when it ends.
func (g *groupCommit) loseFSPatience(batch []fsTarget) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, b := range batch {
		if s, ok := g.mu.logs[b.target]; ok && s.phase == syncInFS {
			g.enqueueLocked(b.target, s)
		}
	}
	g.scheduleLocked()
}

// stop ends all syncing after a failure: the kernel may have dropped the pages that it
// could not write, so another sync would report success for bytes that are lost.
func (g *groupCommit) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.stopped = true
	clear(g.mu.logs)
	g.mu.queue, g.mu.waiting = nil, 0
}

func (g *groupCommit) signalLocked() {
	if g.mu.workers == 0 && g.mu.inFS == nil {
		g.mu.idle.Broadcast()
	}
}

// wait returns once everything asked for is synced, or nothing is synced any more.
func (g *groupCommit) wait() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.mu.workers > 0 || g.mu.inFS != nil {
		g.mu.idle.Wait()
	}
}
