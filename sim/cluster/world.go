package cluster

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/vfs"
	"github.com/moldau/moldau/sim/schedule"
)

// Time in the world goes by ticks of 100 microseconds.
const (
	second = 10_000
	period = second / 80 // of a member's ticks: 12.5 ms

	faultsFor = 30 * second
	healFor   = 30 * second
	traceMax  = 300
)

// event is something that happens at a time.
type event struct {
	kind    eventKind
	node    ids.NodeID
	life    int // of the host, where the event ends with it
	message quorum.Message
}

type eventKind int

const (
	eventTick eventKind = iota
	eventMessage
	eventStart
	eventClient
	eventNetwork
	eventDisk
)

// world is all of it.
type world struct {
	rng    *rand.Rand
	now    int
	events schedule.Agenda[event]
	judge  *judge
	net    *network
	nodes  []ids.NodeID
	hosts  []*host
	faults bool // still
	logger *slog.Logger

	omitted       []vfs.Site // syncs that are left out, to see that the judge notices
	snapshotBytes int64
	segmentBytes  int32
	proposals     int
	early         map[ids.NodeID]bool // nodes whose disk was changed before there was a quorum
	readsDone     int
	trace         []string
}

func newWorld(seed uint64, logger *slog.Logger) (*world, error) {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := &world{rng: rng, judge: newJudge(), faults: true, logger: logger, early: make(map[ids.NodeID]bool)}
	n := 3
	if rng.IntN(4) == 0 {
		n = 5
	}
	w.snapshotBytes, w.segmentBytes = 500+rng.Int64N(20_000), 400+rng.Int32N(20_000)
	w.net = newNetwork(n)
	for i := range n {
		w.nodes = append(w.nodes, ids.NodeID(i))
		d, err := newDisk(rng, 0)
		if err != nil {
			return nil, err
		}
		h := &host{world: w, node: ids.NodeID(i), disk: d, period: period*9/10 + rng.IntN(period/5)}
		w.hosts = append(w.hosts, h)
		w.at(rng.IntN(second), event{kind: eventStart, node: h.node})
	}
	for _, k := range []eventKind{eventClient, eventNetwork, eventDisk} {
		w.at(rng.IntN(second), event{kind: k})
	}
	return w, nil
}

func (w *world) at(after int, e event) {
	w.events.Add(w.now+after, e)
}

func (w *world) tracef(format string, args ...any) {
	if len(w.trace) >= 2*traceMax {
		w.trace = append(w.trace[:0], w.trace[traceMax:]...)
	}
	w.trace = append(w.trace, fmt.Sprintf("%8.4f ", float64(w.now)/second)+fmt.Sprintf(format, args...))
}

// Trace returns the last events.
func (w *world) Trace() string { return strings.Join(w.trace[max(0, len(w.trace)-traceMax):], "\n") }

// run lets time pass until a moment, a failure, or until a condition holds.
func (w *world) run(until int, holds func() bool) bool {
	for w.judge.failure == nil {
		next, ok := w.events.Next()
		if !ok {
			return false
		}
		if next > until {
			w.now = until
			return holds != nil && holds()
		}
		when, e := w.events.Take()
		w.now = when
		w.happen(e)
		if holds != nil && holds() {
			return true
		}
	}
	return false
}

func (w *world) happen(e event) {
	h := w.hosts[e.node]
	switch e.kind {
	case eventTick:
		if e.life == h.life {
			h.tick()
		}
	case eventMessage:
		if r := e.message.Raft; r != nil {
			w.tracef("%d -> %d %v term %d index %d commit %d, %d entries, reject %v", e.message.From.Node, e.node, r.GetType(), r.GetTerm(), r.GetIndex(), r.GetCommit(), len(r.GetEntries()), r.GetReject())
		}
		h.receive(e.message)
	case eventStart:
		if e.life == h.life && h.member == nil {
			h.start()
		}
	case eventClient:
		w.client()
	case eventNetwork:
		if w.faults {
			w.tracef("network: %s", w.net.disturb(w.rng, len(w.hosts)))
			w.at(1+w.rng.IntN(3*second), e)
		}
	case eventDisk:
		if w.faults {
			w.disturbDisk()
			w.at(1+w.rng.IntN(2*second), e)
		}
	}
}

// downMax is how long a host is down at most.
func (w *world) downMax() int {
	if w.faults && w.rng.IntN(3) == 0 {
		return 3 * second
	}
	return second / 4
}

// client proposes at a node that leads, and reads anywhere.
func (w *world) client() {
	h := w.hosts[w.rng.IntN(len(w.hosts))]
	if w.rng.IntN(4) == 0 {
		h.read()
	} else {
		for range 1 + w.rng.IntN(4) {
			w.proposals++
			h.propose(w.change())
		}
	}
	w.at(1+w.rng.IntN(second/40), event{kind: eventClient})
}

// change is a decision of a controller.
func (w *world) change() []byte {
	value := fmt.Sprint(w.proposals, strings.Repeat("x", w.rng.IntN(1+w.rng.IntN(1500))))
	return metadata.AppendEnvelope(nil, []metadata.Record{&metadata.ConfigRecord{
		Resource: metadata.ConfigResource{Type: metadata.ResourceBroker, Name: fmt.Sprint(w.rng.IntN(20))}, Name: "name", Value: &value,
	}})
}

// disturbDisk does something to a disk, or to a whole host.
func (w *world) disturbDisk() {
	h := w.hosts[w.rng.IntN(len(w.hosts))]
	switch w.rng.IntN(9) {
	case 0, 1:
		h.kill("out of the blue")
	case 2:
		h.failSync()
	case 3, 4:
		h.fill()
		w.tracef("node %d: disk full %v", h.node, h.full != nil)
	case 5:
		w.empty(h)
	case 6:
		w.bringBack(h)
	case 7:
		w.swap(h)
	case 8:
		for _, h := range w.hosts {
			h.kill("together with all others")
		}
	}
}

// mayLose tells whether a voter's directory may go without the quorum being lost for good: as many
// as leave a majority of them. Before there is a quorum it is the nodes that count: which of a node's
// directories the others have seen is theirs to know.
func (w *world) mayLose(h *host) bool {
	most := (len(w.hosts) - 1) / 2
	if w.judge.members.ClusterID == "" {
		if len(w.early) < most {
			w.early[h.node] = true
		}
		return w.early[h.node]
	}
	own := false
	for _, p := range w.judge.members.Peers {
		own = own || p.Identity == h.disk.identity(h.node)
	}
	missing := w.judge.missing(w.hosts)
	return !own && missing <= most || missing < most
}

// empty gives a host an empty disk.
func (w *world) empty(h *host) {
	if !w.mayLose(h) {
		return
	}
	d, err := newDisk(w.rng, h.disks+1)
	if err != nil {
		w.judge.fail("making a disk: %w", err)
		return
	}
	h.disks++
	h.replace(d)
}

// bringBack gives a host a disk that it had before.
func (w *world) bringBack(h *host) {
	if len(h.attic) == 0 || !w.mayLose(h) {
		return
	}
	i := w.rng.IntN(len(h.attic))
	d := h.attic[i]
	h.attic = append(h.attic[:i:i], h.attic[i+1:]...)
	h.replace(d)
}

// swap puts the disk of another node in: the member must refuse it.
func (w *world) swap(h *host) {
	other := w.hosts[(int(h.node)+1)%len(w.hosts)]
	if other.member == nil || other.member.RaftID() == 0 {
		return
	}
	h.kill("to get another's disk")
	other.kill("to lend its disk")
	cfg := h.config()
	cfg.FS, cfg.DirectoryID = other.disk.mem.CrashClone(vfs.AllUnsynced, 0), other.disk.id
	if m, err := quorum.OpenMember(cfg, newMachine(h.node, newJudge()), func(quorum.Message) {}); err == nil {
		_ = m.Close()
		w.judge.fail("node %d starts with the disk of node %d", h.node, other.node)
	}
}

// heal ends all faults and lets the quorum recover: everybody votes again and has everything, and
// something new is decided.
func (w *world) heal() {
	w.tracef("everything heals")
	w.faults = false
	w.net.heal()
	for _, h := range w.hosts {
		h.kill("for the last time") // which ends the faults of its disk
	}
	var goal ids.Offset
	begun := w.now
	whole := w.run(w.now+healFor, func() bool {
		if w.now < begun+second {
			return false
		}
		if goal == 0 {
			goal = w.judge.last + 1
		}
		for _, h := range w.hosts {
			if h.member == nil || h.member.RaftID() == 0 || h.machine.at < goal {
				return false
			}
		}
		return true
	})
	if !whole {
		for _, h := range w.hosts {
			if h.member == nil {
				w.tracef("node %d is down", h.node)
				continue
			}
			w.tracef("node %d: raft id %d, applied %d, members %v, %+v", h.node, h.member.RaftID(), h.machine.at, h.member.Membership(), h.member.Status())
		}
		w.judge.fail("after healing not everybody has what was decided, or nothing new is: entry %d is due everywhere", goal)
	}
}
