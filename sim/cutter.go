package sim

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"

	"github.com/moldau/moldau/internal/vfs"
	"github.com/moldau/moldau/sim/machine"
)

// writesCut is how many of the writes of a life are cut, drawn from all of them: 50 or more of a workload.
const writesCut = (50 + livesMin - 1) / livesMin

// cutter takes the disk's state before every rename, before and after every sync, before some
// writes, and after some acknowledgements.
type cutter struct {
	history *history
	omitted omission

	// Of the goroutine that runs the workload, between lives.
	mem   *vfs.Mem
	last  *cut // what the next life begins with
	ended ending
	life  string

	mu struct {
		sync.Mutex // not held while the disk is cloned
		rng        *rand.Rand
		fault      *vfs.Fault // of the life
		off        bool       // the life is over
		writes     int
		atWrites   []*cut
		cuts       []*cut
		syncs      map[string]bool // names of call sites and kinds that have synced something
	}
}

// omission is syncs that are left out: those of a call site, or those of a kind.
type omission struct {
	site vfs.Site
	kind string
}

// on returns a file system on mem without the omitted syncs.
func (o omission) on(mem *vfs.Mem, after func(vfs.Op, string)) *vfs.Fault {
	f := vfs.NewFault(&disk{FS: machine.Disk{FS: mem}, after: after, omitted: map[string]bool{o.kind: true}})
	f.Suppress(o.site)
	return f
}

func newCutter(h *history, seed uint64, omitted omission) *cutter {
	c := &cutter{history: h, omitted: omitted, mem: vfs.NewMem()}
	c.mu.rng = rand.New(rand.NewPCG(seed, 2))
	c.mu.syncs = make(map[string]bool)
	return c
}

// fs is the file system of the next life.
func (c *cutter) fs() vfs.FS {
	f := c.omitted.on(c.mem, c.after)
	f.SetHook(c.before)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.fault, c.mu.off = f, false
	return f
}

// disable ends a life for the disk: whatever the broker still does fails.
func (c *cutter) disable() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.off {
		return
	}
	c.mu.off = true
	for _, s := range c.mu.fault.SyncSites() {
		c.mu.syncs[siteName(s)] = true
	}
	c.mu.fault.Inject(vfs.Rule{Err: errPowerless})
}

var errPowerless = fmt.Errorf("this life is over")

func (c *cutter) disabled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.off
}

// siteName names a call site so that it can be given on a command line.
func siteName(s vfs.Site) string { return fmt.Sprintf("%s:%d:%s:%s", s.File, s.Line, s.Func, s.Op) }

func (c *cutter) before(e vfs.Event) {
	if strings.HasPrefix(string(e.Op), string(vfs.OpSync)) {
		c.mu.Lock()
		c.mu.syncs[syncKind(e.Op, e.Name)] = true
		c.mu.Unlock()
	}
	switch e.Op {
	case vfs.OpSync, vfs.OpSyncDir, vfs.OpSyncFS, vfs.OpRename:
		c.keep(c.draw(), "before", string(e.Op), e.Name)
	case vfs.OpWrite:
		c.atWrite(e.Name)
	}
}

// after cuts when something has become durable. A name that has changed has not: that is cut before what comes next.
func (c *cutter) after(op vfs.Op, name string) {
	c.keep(vfs.NoUnsynced, "after", string(op), name)
}

// acknowledged cuts after one acknowledgement in four.
func (c *cutter) acknowledged() {
	if c.oneIn(4) {
		c.keep(vfs.NoUnsynced, "after", "an acknowledgement", "")
	}
}

func (c *cutter) oneIn(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.rng.IntN(n) == 0
}

func (c *cutter) draw() vfs.Unsynced {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch n := c.mu.rng.IntN(10); {
	case n < 7:
		return vfs.SomeUnsynced
	case n < 9:
		return vfs.NoUnsynced
	}
	return vfs.AllUnsynced
}

// keep keeps a cut; of those at the many files of a wide topic one in eight.
func (c *cutter) keep(what vfs.Unsynced, when, op, name string) {
	if c.disabled() || strings.Contains(name, wide+"-") && !c.oneIn(8) {
		return
	}
	k := c.now(what, when+" "+op+" of "+short(name))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.cuts = append(c.mu.cuts, k)
}

// atWrite keeps a uniform sample of the cuts at writes.
func (c *cutter) atWrite(name string) {
	c.mu.Lock()
	c.mu.writes++
	slot := c.mu.rng.IntN(c.mu.writes)
	off := c.mu.off
	c.mu.Unlock()
	if slot >= writesCut || off {
		return
	}
	k := c.now(vfs.SomeUnsynced, "before write of "+short(name))
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.atWrites) < writesCut {
		c.mu.atWrites = append(c.mu.atWrites, k)
	} else {
		c.mu.atWrites[slot] = k
	}
}

func short(name string) string { return filepath.ToSlash(name) }

// now cuts the power.
func (c *cutter) now(what vfs.Unsynced, at string) *cut {
	c.mu.Lock()
	seed := c.mu.rng.Uint64()
	c.mu.Unlock()
	k := &cut{from: c.history.instant(), what: what, seed: seed, at: c.life + ", " + at}
	k.disk = c.mem.CrashClone(what, seed)
	k.to = c.history.instant()
	return k
}

// take returns the cuts of the life that has ended, and lets go of them.
func (c *cutter) take() []*cut {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := append(c.mu.cuts, c.mu.atWrites...)
	c.mu.cuts, c.mu.atWrites, c.mu.writes = nil, nil, 0
	return all
}
