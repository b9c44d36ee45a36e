package vfs

import (
	"math/rand/v2"
	"syscall"
)

// syncNodeLocked makes the bytes and the size of a file durable.
func (m *Mem) syncNodeLocked(n *memNode) {
	n.now.catchUp(&n.durable, n.pending)
	n.pending = nil
	delete(m.mu.dirty, n)
}

// SyncDir implements FS.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.lookupLocked("sync", dir)
	if err != nil {
		return err
	}
	if d.entries == nil {
		return pathErr("sync", dir, syscall.ENOTDIR)
	}
	m.mu.names = settle(m.mu.names, func(op nameOp) bool {
		return op.changes[0].dir == d || op.changes[1].dir == d
	}, m.applyDurableLocked)
	return nil
}

// SyncFS implements FS: all of a Mem is one file system.
func (m *Mem) SyncFS(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.lookupLocked("syncfs", dir); err != nil {
		return err
	}
	for n := range m.mu.dirty {
		m.syncNodeLocked(n)
	}
	for _, op := range m.mu.names {
		m.applyDurableLocked(op)
	}
	m.mu.names = nil
	return nil
}

func (m *Mem) applyDurableLocked(op nameOp) {
	for _, c := range op.changes[:op.n] {
		old := c.dir.durableEntries[c.name]
		if c.node == nil {
			delete(c.dir.durableEntries, c.name)
		} else {
			c.dir.durableEntries[c.name] = c.node
		}
		if old != nil && old.links == 0 {
			delete(m.mu.dirty, old) // nothing leads to its bytes any more, now or after a cut
		}
	}
}

// settle applies, in order, the operations that chosen picks and those earlier ones
// that they stand on: the ones about the same name. It returns the others.
func settle(ops []nameOp, chosen func(nameOp) bool, apply func(nameOp)) (rest []nameOp) {
	type place struct {
		dir  *memNode
		name string
	}
	needed := make(map[place]bool)
	keep := make([]bool, len(ops))
	for i := len(ops) - 1; i >= 0; i-- {
		changes := ops[i].changes[:ops[i].n]
		keep[i] = chosen(ops[i])
		for _, c := range changes {
			keep[i] = keep[i] || needed[place{c.dir, c.name}]
		}
		if keep[i] {
			for _, c := range changes {
				needed[place{c.dir, c.name}] = true
			}
		}
	}
	for i, op := range ops {
		if keep[i] {
			apply(op)
		} else {
			rest = append(rest, op)
		}
	}
	return rest
}

// Unsynced says what a power cut leaves of that which no sync covered.
type Unsynced int

const (
	// SomeUnsynced leaves a part that the seed picks. Of names: each change by itself, a
	// rename whole. Of a file: nothing, everything, a prefix of its operations with the
	// last one torn, or of each page or sector the bytes that it had after any of them,
	// which is what a page cache that writes back in its own order can leave. The size
	// may be ahead of the bytes, or behind.
	SomeUnsynced Unsynced = iota
	// NoUnsynced leaves exactly what was synced.
	NoUnsynced
	// AllUnsynced leaves everything, as a killed process does.
	AllUnsynced
)

// CrashClone returns a file system as a power cut at this moment would leave it. The
// same seed on the same history gives the same one. m goes on unharmed.
func (m *Mem) CrashClone(what Unsynced, seed uint64) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &crash{what: what, seed: seed, names: make(map[*memNode]map[string]*memNode), to: NewMem()}
	rng := rand.New(rand.NewPCG(seed, 0))
	oneIn := 1 + rng.IntN(4)
	settle(m.mu.names, func(nameOp) bool {
		return what == AllUnsynced || what == SomeUnsynced && rng.IntN(oneIn+1) > 0
	}, c.applyName)
	c.copyDir(m.mu.root, c.to.mu.root)
	c.to.mu.nodes = m.mu.nodes
	c.to.mu.capacity = m.mu.capacity
	return c.to
}

// crash is a CrashClone on its way.
type crash struct {
	what  Unsynced
	seed  uint64
	names map[*memNode]map[string]*memNode // the durable names of the directories that changed
	to    *Mem
}

func (c *crash) applyName(op nameOp) {
	for _, ch := range op.changes[:op.n] {
		entries := c.names[ch.dir]
		if entries == nil {
			entries = make(map[string]*memNode, len(ch.dir.durableEntries)+1)
			for name, n := range ch.dir.durableEntries {
				entries[name] = n
			}
			c.names[ch.dir] = entries
		}
		if ch.node == nil {
			delete(entries, ch.name)
		} else {
			entries[ch.name] = ch.node
		}
	}
}

func (c *crash) copyDir(from, to *memNode) {
	entries := from.durableEntries
	if changed, ok := c.names[from]; ok {
		entries = changed
	}
	for name, n := range entries {
		made := &memNode{id: n.id, links: 1, modTime: n.modTime}
		to.entries[name] = made
		to.durableEntries[name] = made
		if n.entries != nil {
			made.entries = make(map[string]*memNode, len(n.entries))
			made.durableEntries = make(map[string]*memNode, len(n.entries))
			c.copyDir(n, made)
			continue
		}
		made.now = c.survivor(n)
		made.durable = made.now.frozenCopy()
		c.to.mu.allocated += made.now.allocated()
	}
}

// survivor returns the content of a file after the cut.
func (c *crash) survivor(n *memNode) content {
	out := n.durable.frozenCopy()
	ops := n.pending
	if len(ops) == 0 || c.what == NoUnsynced {
		return out
	}
	all := func(int64) int { return len(ops) }
	if c.what == AllUnsynced {
		return replay(out, ops, all, n.now.size)
	}
	rng := rand.New(rand.NewPCG(c.seed, n.id))
	switch rng.IntN(6) {
	case 0:
		return out
	case 1:
		return replay(out, ops, all, n.now.size)
	case 2, 3:
		return tornPrefix(out, ops, rng)
	}
	group := int64(1) // sectors that share a fate
	if rng.IntN(2) == 0 {
		group = pageBytes / sectorBytes
	}
	versions := make(map[int64]int)
	version := func(sector int64) int {
		v, ok := versions[sector/group]
		if !ok {
			v = rng.IntN(len(ops) + 1)
			versions[sector/group] = v
		}
		return v
	}
	size := n.now.size
	if k := rng.IntN(len(ops) + 1); rng.IntN(3) == 0 && k > 0 {
		size = ops[k-1].sizeAfter
	} else if rng.IntN(8) == 0 {
		size = n.durable.size
	}
	return replay(out, ops, version, size)
}

// tornPrefix keeps the first operations and, of a write after them, the first sectors.
func tornPrefix(out content, ops []fileOp, rng *rand.Rand) content {
	k := rng.IntN(len(ops))
	whole, size := append([]fileOp(nil), ops[:k]...), out.size
	if k > 0 {
		size = ops[k-1].sizeAfter
	}
	if last := ops[k]; len(last.data) > 0 {
		end := last.off + rng.Int64N(int64(len(last.data))+1)
		end = max(last.off, end/sectorBytes*sectorBytes)
		last.data = last.data[:end-last.off]
		whole = append(whole, last)
		size = max(size, end)
		if rng.IntN(4) == 0 {
			size = last.sizeAfter // the size reached the disk, the bytes did not
		}
	}
	return replay(out, whole, func(int64) int { return len(whole) }, size)
}

// replay applies to out, sector by sector, the first version(sector) operations, and sets the size.
func replay(out content, ops []fileOp, version func(sector int64) int, size int64) content {
	for i, op := range ops {
		if op.data == nil {
			for from := op.off; from < out.size; {
				to := min(out.size, (from/sectorBytes+1)*sectorBytes)
				if out.pages[from/pageBytes] == nil {
					to = (from/pageBytes + 1) * pageBytes // a hole stays one
				} else if i < version(from/sectorBytes) {
					out.zero(from, to)
				}
				from = to
			}
			continue
		}
		for at := 0; at < len(op.data); {
			off := op.off + int64(at)
			n := min(len(op.data)-at, int(sectorBytes-off%sectorBytes))
			if i < version(off/sectorBytes) {
				out.writeAt(op.data[at:at+n], off)
			}
			at += n
		}
	}
	out.truncate(size)
	return out
}
