package whole

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/vfs"
)

// trap is sprung by a disk: in the middle of a write, a rename or a sync.
type trap struct {
	on     func(n *node, e vfs.Event) bool
	left   atomic.Int32 // events until it is sprung
	spring func(n *node)
	sprung chan struct{}
}

// trapYields is how often the others are let run before a trap is sprung, so that they get to act on what has not been done yet.
const trapYields = 300

// trapMax is how long a trap is waited for.
const trapMax = 5 * time.Second

// event is told of each operation that is about to change a disk. It waits for nothing: whoever changes the disk may hold locks.
func (w *world) event(n *node, e vfs.Event) {
	t := w.trap.Load()
	if t == nil || !t.on(n, e) || t.left.Add(-1) != 0 {
		return
	}
	for range trapYields {
		runtime.Gosched()
	}
	w.trace.add("%s: before %s of %s", n.host, e.Op, e.Name)
	t.spring(n)
	close(t.sprung)
}

// await sets a trap and returns once it was sprung, or false where that takes too long.
func (w *world) await(on func(*node, vfs.Event) bool, spring func(*node)) bool {
	t := &trap{on: on, spring: spring, sprung: make(chan struct{})}
	t.left.Store(1 + w.rng.Int32N(20))
	w.trap.Store(t)
	defer w.trap.Store(nil)
	select {
	case <-t.sprung:
		return true
	case <-time.After(trapMax):
		return false
	}
}

// drawEvent returns a kind of operations on a disk.
func (w *world) drawEvent() func(*node, vfs.Event) bool {
	ofLog := func(e vfs.Event) bool {
		return strings.HasSuffix(e.Name, ".log") && !strings.Contains(e.Name, "__cluster_metadata")
	}
	switch w.rng.IntN(5) {
	case 0, 1:
		return func(_ *node, e vfs.Event) bool { return e.Op == vfs.OpSync && ofLog(e) }
	case 2:
		return func(_ *node, e vfs.Event) bool { return e.Op == vfs.OpWrite && ofLog(e) }
	case 3:
		return func(_ *node, e vfs.Event) bool { return strings.Contains(e.Name, "__cluster_metadata") }
	}
	return func(*node, vfs.Event) bool { return true }
}

// blackout takes the power from all machines, and gives it back to each after a while. Another one may come before they are themselves again.
func (w *world) blackout() {
	w.faults++
	all := func(*node) { w.cutPower(w.nodes...) }
	if w.rng.IntN(4) == 0 || !w.await(w.drawEvent(), all) {
		all(nil)
	}
	w.trace.add("all machines have lost their power")
	synctest.Wait() // what clients have been told they know now
	w.records.powerLost()
	together := time.Duration(w.rng.Int64N(int64(3 * time.Second)))
	for _, n := range w.nodes {
		after := together
		if w.rng.IntN(2) == 0 {
			after += time.Duration(w.rng.Int64N(int64(3 * time.Second)))
		}
		w.startAfter(n, after)
	}
	if w.rng.IntN(3) > 0 {
		w.heal()
	}
}

func (w *world) startAfter(n *node, after time.Duration) {
	time.AfterFunc(after, func() { w.start(n) })
}

// disturb does something to the cluster.
func (w *world) disturb() {
	w.faults++
	n := w.victim()
	lasting := time.Second/2 + time.Duration(w.rng.Int64N(int64(12*time.Second)))
	switch w.rng.IntN(14) {
	case 0, 1:
		w.killSome(n, lasting, n)
	case 2:
		w.killSome(n, lasting, w.nodes...)
	case 3:
		w.killSome(n, lasting, n, w.any())
	case 4, 5:
		w.blackoutOf(n, lasting)
	case 6:
		a, b := n.host, w.anyHost(n)
		w.trace.add("nothing arrives from %s at %s", a, b)
		w.cutFor(lasting, [2]string{a, b})
	case 7, 8:
		w.isolate(n, lasting)
	case 9:
		w.split(lasting)
	case 10:
		other := w.anyHost(n)
		w.trace.add("connections between %s and %s break", n.host, other)
		w.net.Break(n.host, other, 0.7)
		w.net.Break(other, n.host, 0.7)
	case 11:
		w.slow(n, lasting)
	case 12:
		if w.rng.IntN(2) == 0 {
			w.fill(n, lasting)
		} else {
			w.failSync(n)
		}
	case 13:
		w.trace.add("%s is told to stop", n.host)
		if over := w.stopInOrder(n); over != nil {
			go func() {
				<-over
				w.startAfter(n, lasting)
			}()
		}
	}
}

func (w *world) any() *node { return w.nodes[w.rng.IntN(len(w.nodes))] }

// anyHost is another node, or the clients.
func (w *world) anyHost(n *node) string {
	if other := w.any(); other != n {
		return other.host
	}
	return []string{writerHost, readerHost}[w.rng.IntN(2)]
}

// victim is somebody, more often than not one who decides.
func (w *world) victim() *node {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	id := int32(-1)
	switch w.rng.IntN(3) {
	case 0:
		if m, err := w.metadata(ctx, w.any()); err == nil {
			t := m.Topics[w.rng.IntN(len(m.Topics))]
			id = t.Partitions[w.rng.IntN(len(t.Partitions))].Leader
		}
	case 1:
		id = w.controller(ctx)
	}
	if id > 0 && int(id) <= len(w.nodes) {
		return w.nodes[id-1]
	}
	return w.any()
}

// metadata is what one node tells of all topics.
func (w *world) metadata(ctx context.Context, n *node) (*kmsg.MetadataResponse, error) {
	cl := w.client(w.readers, kgo.SeedBrokers(n.address()), kgo.RequestRetries(0))
	defer cl.Close()
	resp, err := cl.SeedBrokers()[0].Request(ctx, kmsg.NewPtrMetadataRequest())
	if err != nil {
		return nil, err
	}
	m := resp.(*kmsg.MetadataResponse)
	for _, t := range m.Topics {
		if len(t.Partitions) == 0 {
			return nil, errors.New("a topic without partitions")
		}
	}
	if len(m.Topics) < len(w.topics) {
		return nil, errors.New("a topic is missing")
	}
	return m, nil
}

// controller is the leader of the metadata quorum as somebody knows it, -1 where nobody answers.
func (w *world) controller(ctx context.Context) int32 {
	cl := w.client(w.readers, kgo.RequestRetries(0))
	defer cl.Close()
	req := kmsg.NewPtrDescribeQuorumRequest()
	t, p := kmsg.NewDescribeQuorumRequestTopic(), kmsg.NewDescribeQuorumRequestTopicPartition()
	t.Topic, t.Partitions = "__cluster_metadata", append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil || len(resp.Topics) == 0 || len(resp.Topics[0].Partitions) == 0 {
		return -1
	}
	return resp.Topics[0].Partitions[0].LeaderID
}

// isWhole tells whether every node runs and tells the same of all partitions: everybody is in sync.
func (w *world) isWhole() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	epochs := make(map[[16]byte]map[int32]int32)
	for _, n := range w.nodes {
		if !w.serves(n) {
			return false
		}
		m, err := w.metadata(ctx, n)
		if err != nil {
			return false
		}
		for _, t := range m.Topics {
			if epochs[t.TopicID] == nil {
				epochs[t.TopicID] = make(map[int32]int32)
			}
			for _, p := range t.Partitions {
				if known, ok := epochs[t.TopicID][p.Partition]; ok && known != p.LeaderEpoch || len(p.ISR) < len(p.Replicas) || p.Leader < 0 {
					return false
				}
				epochs[t.TopicID][p.Partition] = p.LeaderEpoch
			}
		}
	}
	return true
}

// mayEnd tells whether processes may end: while what a machine has lost with its power is not replicated again, only where every
// acknowledgement is of what all have synced.
func (w *world) mayEnd() bool {
	if w.frail && w.isWhole() {
		w.frail = false
	}
	return !w.frail || w.durability == "fsync"
}

// mayLosePower tells whether one machine may: `auto` and `os` promise to survive the loss of any one.
func (w *world) mayLosePower() bool {
	return w.durability == "fsync" || w.isWhole()
}

// killSome kills processes at the same time, some of them in the middle of something.
func (w *world) killSome(n *node, lasting time.Duration, nodes ...*node) {
	if !w.mayEnd() {
		return
	}
	kill := func(*node) { w.kill(nodes...) }
	if w.rng.IntN(2) == 0 || !w.await(on(n, w.drawEvent()), kill) {
		kill(nil)
	}
	for _, n := range nodes {
		w.trace.add("%s was killed", n.host)
		w.startAfter(n, time.Duration(w.rng.Int64N(int64(lasting))))
	}
}

func on(n *node, what func(*node, vfs.Event) bool) func(*node, vfs.Event) bool {
	return func(at *node, e vfs.Event) bool { return at == n && what(at, e) }
}

// blackoutOf takes the power from one machine.
func (w *world) blackoutOf(n *node, lasting time.Duration) {
	if !w.mayEnd() || !w.mayLosePower() {
		return
	}
	cut := func(*node) { w.cutPower(n) }
	if w.rng.IntN(2) == 0 || !w.await(on(n, w.drawEvent()), cut) {
		cut(nil)
	}
	w.frail = true
	w.trace.add("%s has lost its power", n.host)
	w.startAfter(n, time.Duration(w.rng.Int64N(int64(lasting)))) // which may be before anybody has noticed
}

// cutFor cuts directions for a while.
func (w *world) cutFor(lasting time.Duration, directions ...[2]string) {
	for _, d := range directions {
		w.net.Cut(d[0], d[1])
	}
	time.AfterFunc(lasting, func() {
		for _, d := range directions {
			w.net.Mend(d[0], d[1])
		}
	})
}

// isolate cuts a node off from the others, and maybe from clients.
func (w *world) isolate(n *node, lasting time.Duration) {
	var cut [][2]string
	for _, other := range w.nodes {
		if other != n {
			cut = append(cut, [2]string{n.host, other.host}, [2]string{other.host, n.host})
		}
	}
	alone := w.rng.IntN(2) == 0
	if alone {
		for _, c := range []string{writerHost, readerHost} {
			cut = append(cut, [2]string{n.host, c}, [2]string{c, n.host})
		}
	}
	w.trace.add("%s is cut off, from clients too: %v", n.host, alone)
	w.cutFor(lasting, cut...)
}

// split parts the nodes in two. Clients reach both.
func (w *world) split(lasting time.Duration) {
	var cut [][2]string
	at := 1 + w.rng.IntN(len(w.nodes)-1)
	for _, a := range w.nodes[:at] {
		for _, b := range w.nodes[at:] {
			cut = append(cut, [2]string{a.host, b.host}, [2]string{b.host, a.host})
		}
	}
	w.trace.add("the first %d nodes and the others are parted", at)
	w.cutFor(lasting, cut...)
}

// slow delays what one node says and hears.
func (w *world) slow(n *node, lasting time.Duration) {
	delay := time.Duration(1+w.rng.IntN(200)) * time.Millisecond
	w.trace.add("%s is %v away", n.host, delay)
	set := func(delay time.Duration) {
		for _, other := range w.nodes {
			if other != n {
				w.net.SetDelay(n.host, other.host, delay)
				w.net.SetDelay(other.host, n.host, delay)
			}
		}
	}
	set(delay)
	time.AfterFunc(lasting, func() { set(w.delay) })
}

// fill leaves a disk next to no room for a while.
func (w *world) fill(n *node, lasting time.Duration) {
	mem := w.disk(n)
	free, total, err := mem.Usage("/")
	if err != nil {
		w.failf("a disk cannot tell its room: %w", err)
		return
	}
	w.trace.add("%s: the disk is full", n.host)
	mem.SetCapacity(int64(total-free) + w.rng.Int64N(64<<10))
	time.AfterFunc(lasting, func() { mem.SetCapacity(0) })
}

var errDisk = errors.New("input/output error")

// failSync has the next sync of a partition fail. The directory is offline then, and with it the node, whose metadata it has: what was not
// synced may be gone, as with the power.
func (w *world) failSync(n *node) {
	if !w.mayEnd() || !w.mayLosePower() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n.life == nil {
		return
	}
	w.trace.add("%s: the next sync fails", n.host)
	w.frail, n.broken = true, true
	w.injected = append(w.injected, n.life.fault.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "*.log", Times: 1, Err: errDisk}))
}
