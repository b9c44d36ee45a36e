package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/vfs"
)

const (
	dataDir   = "data"
	clusterID = "simulated"
)

// disk is a data directory. Its id is durable before a node is told of it.
type disk struct {
	mem    *vfs.Mem
	id     ids.DirectoryID
	number int    // of all that a node has had, from 0
	votes  uint64 // the raft id that it was last seen to vote under
}

func newDisk(rng *rand.Rand, number int) (*disk, error) {
	d := &disk{mem: vfs.NewMem(), number: number}
	for i := range d.id {
		d.id[i] = byte(1 + rng.IntN(255))
	}
	if err := d.mem.MkdirAll(dataDir); err != nil {
		return nil, err
	}
	return d, d.mem.SyncDir(".")
}

func (d *disk) identity(node ids.NodeID) quorum.Identity {
	return quorum.Identity{Node: node, Directory: d.id}
}

// host is a machine: it has a disk, and runs a member or does not.
type host struct {
	world *world
	node  ids.NodeID
	disk  *disk
	attic []*disk // that it had before
	disks int     // made for it beside the first

	life    int            // counts starts
	member  *quorum.Member // nil while down
	machine *machine
	fault   *vfs.Fault
	full    *vfs.Injected         // the disk is full
	filled  bool                  // the disk was full in this life
	left    *disk                 // what the power cut that has come leaves; nil: it has not
	period  int                   // of its ticks, in ticks of the world: its clock drifts
	reads   map[uint64]ids.Offset // what had been applied somewhere when they were asked for
	asked   uint64
}

var (
	errPower = errors.New("the power is off")
	errDisk  = errors.New("the disk has failed")
)

// start opens the member on the disk.
func (h *host) start() {
	w := h.world
	h.life++
	h.fault, h.full, h.filled, h.left = vfs.NewFault(h.disk.mem), nil, false, nil
	for _, site := range w.omitted {
		h.fault.Suppress(site)
	}
	h.reads = make(map[uint64]ids.Offset)
	h.machine = newMachine(h.node, w.judge)
	if w.faults {
		h.planCut()
	}
	m, err := quorum.OpenMember(h.config(), h.machine, w.deliver)
	if err != nil {
		if h.left == nil {
			w.judge.fail("node %d does not start: %w", h.node, err)
		}
		h.died(err)
		return
	}
	h.member = m
	w.tracef("node %d starts with disk %d, raft id %d, %+v", h.node, h.disk.number, m.RaftID(), m.Status())
	h.work()
	h.tickLater()
}

func (h *host) config() quorum.Config {
	w := h.world
	return quorum.Config{
		NodeID: h.node, Voters: w.nodes, FS: h.fault, Dir: dataDir, DirectoryID: h.disk.id, ClusterID: clusterID,
		Endpoint: fmt.Sprintf("node%d:9093", h.node), SnapshotBytes: w.snapshotBytes, SegmentBytes: w.segmentBytes, Logger: w.logger,
	}
}

// planCut may have the power fail at a write, a sync or a rename to come.
func (h *host) planCut() {
	rng := h.world.rng
	if rng.IntN(3) == 0 {
		h.fault.SetHook(nil)
		return
	}
	left := 1 + rng.IntN(1+rng.IntN(400))
	what := []vfs.Unsynced{vfs.SomeUnsynced, vfs.SomeUnsynced, vfs.SomeUnsynced, vfs.NoUnsynced, vfs.AllUnsynced}[rng.IntN(5)]
	seed := rng.Uint64()
	h.fault.SetHook(func(e vfs.Event) {
		if left--; left == 0 {
			h.cut(what, seed, fmt.Sprintf("before %s of %s", e.Op, e.Name))
		}
	})
}

// cut takes the power. The member notices with its next look at the disk.
func (h *host) cut(what vfs.Unsynced, seed uint64, when string) {
	if h.left != nil {
		return
	}
	h.left = &disk{h.disk.mem.CrashClone(what, seed), h.disk.id, h.disk.number, h.disk.votes}
	h.fault.Inject(vfs.Rule{Err: errPower})
	h.world.tracef("node %d loses power %s", h.node, when)
}

// kill cuts the power between two events.
func (h *host) kill(why string) {
	if h.member == nil {
		return
	}
	rng := h.world.rng
	h.cut([]vfs.Unsynced{vfs.SomeUnsynced, vfs.NoUnsynced, vfs.AllUnsynced}[rng.IntN(3)], rng.Uint64(), why)
	h.died(errPower)
}

// died is what is left to do of a member that has ended.
func (h *host) died(err error) {
	w := h.world
	if h.left == nil { // it stopped by itself
		h.cut(vfs.SomeUnsynced, w.rng.Uint64(), "because it stopped")
	}
	// A sync of the log writes, too, and where that finds the disk full it has failed.
	if !errors.Is(err, errPower) && !errors.Is(err, errDisk) && !h.filled {
		w.judge.fail("node %d ends: %w", h.node, err)
	}
	if h.member != nil {
		_ = h.member.Close() // its disk is gone
	}
	h.member, h.disk = nil, h.left
	w.tracef("node %d is down", h.node)
	w.at(1+w.rng.IntN(w.downMax()), event{kind: eventStart, node: h.node, life: h.life})
}

// tickLater has the clock go on.
func (h *host) tickLater() {
	h.world.at(h.period, event{kind: eventTick, node: h.node, life: h.life})
}

// work carries out what is due, and has the judge look.
func (h *host) work() {
	for h.member != nil {
		worked, err := h.member.Work()
		if quorum.DiskFull(err) && h.left == nil {
			return // the next event tries again
		}
		if h.left != nil {
			err = errPower
		}
		if err != nil {
			h.died(err)
			return
		}
		h.disk.votes = h.member.RaftID()
		h.world.judge.saw(h.member)
		h.answerReads()
		if !worked {
			return
		}
	}
}

// receive takes a message. Some are left for the next event to be carried out together.
func (h *host) receive(m quorum.Message) {
	if h.member == nil {
		return
	}
	if err := h.member.Receive(m); err != nil {
		h.died(err)
		return
	}
	if h.world.rng.IntN(5) > 0 {
		h.work()
	}
}

func (h *host) tick() {
	if h.member == nil {
		return
	}
	h.member.Tick()
	h.work()
	h.tickLater()
}

// propose has the leader decide something.
func (h *host) propose(data []byte) bool {
	if h.member == nil || h.machine.leading < 0 {
		return false
	}
	err := h.member.Propose(data)
	if err != nil && !errors.Is(err, quorum.ErrNotLeader) {
		h.died(err)
		return false
	}
	h.work()
	return err == nil
}

// read asks for a linearizable read, which must see whatever anybody has applied by now.
func (h *host) read() {
	if h.member == nil {
		return
	}
	h.asked++
	h.reads[h.asked] = h.world.judge.last
	h.member.ReadIndex(h.asked)
	h.work()
}

func (h *host) answerReads() {
	for _, number := range h.member.ReadsDone() {
		before, found := h.reads[number]
		if found && h.machine.at < before {
			h.world.judge.fail("a read on node %d sees entries up to %d, and %d had been applied before it was asked for", h.node, h.machine.at, before)
		}
		delete(h.reads, number)
		h.world.readsDone++
	}
}

// fill fills the disk up, or makes room again.
func (h *host) fill() {
	if h.full != nil {
		h.full.Remove()
		h.full = nil
		return
	}
	if h.member != nil {
		h.filled = true
		h.full = h.fault.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpWrite}, Err: syscall.ENOSPC, Partial: h.world.rng.IntN(2) == 0})
	}
}

// failSync has the next sync of the disk fail: the node stops, and what was not synced may be gone.
func (h *host) failSync() {
	if h.member != nil {
		h.fault.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpSync, vfs.OpSyncDir, vfs.OpSyncFS}, Times: 1, Err: errDisk})
	}
}

// replace puts another disk in.
func (h *host) replace(d *disk) {
	h.kill("to get another disk")
	h.attic = append(h.attic, h.disk)
	h.disk = d
	h.world.tracef("node %d gets disk %d, %s", h.node, d.number, d.id)
}
