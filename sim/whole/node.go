package whole

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/broker"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/vfs"
	"github.com/moldau/moldau/sim/machine"
)

// restartAfter is how long a supervisor waits before it starts a process again that has ended by itself.
const restartAfter = time.Second

// node is a machine of the cluster. Its fields, but for those that never change, are guarded by world.mu.
type node struct {
	world *world
	id    int    // from 1 on
	host  string // a loopback address: elsewhere nodes need a secret

	mem    *vfs.Mem // what the next process finds, or the present one has
	life   *life    // nil while no process runs
	before *life    // the one before
	broken bool     // a sync has failed: what was not synced is in doubt once the process ends
}

func (n *node) address() string { return n.host + ":9092" }
func (n *node) control() string { return n.host + ":9093" }

// life is one process of a broker.
type life struct {
	node    *node
	process *machine.Process
	fault   *vfs.Fault
	ctx     context.Context // ends with the process
	end     context.CancelFunc
	stop    chan struct{} // closed: it is to stop in order
	serving atomic.Bool
	over    chan struct{} // closed when nothing of it runs any more
}

// errOver is what a disk gives a process that was killed.
var errOver = errors.New("this process is over")

// start starts a process on a machine where none runs.
func (w *world) start(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.closing || n.life != nil {
		return
	}
	l := &life{node: n, process: w.net.Start(n.host), fault: vfs.NewFault(machine.Disk{FS: n.mem}), stop: make(chan struct{}), over: make(chan struct{})}
	l.ctx, l.end = context.WithCancel(context.Background())
	l.fault.SetHook(func(e vfs.Event) { w.event(n, e) })
	n.life = l
	w.mu.starts++
	w.trace.add("%s: starts", n.host)
	before := n.before
	w.lives.Go(func() { l.run(before) })
}

// run is the process, once nothing is left of the one before.
func (l *life) run(before *life) {
	if before != nil {
		<-before.over
	}
	err := l.serve()
	l.process.Kill()
	w := l.node.world
	if w.ended(l) {
		w.trace.add("%s: ended by itself: %v", l.node.host, err)
		time.AfterFunc(restartAfter, func() { w.start(l.node) })
	}
	close(l.over)
}

func (l *life) serve() error {
	if l.ctx.Err() != nil {
		return l.ctx.Err()
	}
	cfg, err := config.New(l.node.config(), nil)
	if err != nil {
		return err
	}
	b, err := broker.New(cfg, broker.Deps{FS: l.fault, Listen: l.process.Listen, Dial: l.process.Dial, Logger: l.node.world.trace.logger(l.node.host)})
	if err != nil {
		return err
	}
	if err := b.Start(l.ctx); err != nil {
		return err
	}
	l.serving.Store(true)
	select {
	case err = <-b.Failed():
	case <-l.ctx.Done():
	case <-l.stop:
	}
	l.serving.Store(false)
	return errors.Join(err, b.Stop(l.ctx))
}

// ended notes the end of a process. It returns false where it was ended from outside.
func (w *world) ended(l *life) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := l.node
	l.end()
	if n.life != l {
		return false
	}
	n.life, n.before = nil, l
	if n.broken {
		n.mem, n.broken = n.mem.CrashClone(vfs.SomeUnsynced, w.mu.rng.Uint64()), false
	}
	select {
	case <-l.stop:
		return false
	default:
		return true
	}
}

// stopInOrder stops the process of a machine as a signal does.
func (w *world) stopInOrder(n *node) (over <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := n.life
	if l == nil {
		return nil
	}
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	return l.over
}

// kill ends processes as kill -9 does, all at the same time: what they have written stays.
func (w *world) kill(nodes ...*node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range nodes {
		if n.life != nil {
			n.life.process.Kill()
		}
	}
	w.buryLocked(nodes)
}

// cutPower takes the power from machines, all at the same time: what is not synced is lost, in part or whole. Nothing that was sent
// by one of them after that moment arrives anywhere, so that it does not matter that their disks are looked at one after the other.
func (w *world) cutPower(nodes ...*node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range nodes {
		switch {
		case n.life != nil:
			n.life.process.PowerOff()
		case n.before != nil:
			n.before.process.PowerOff()
		}
	}
	w.buryLocked(nodes)
	for _, n := range nodes {
		what := vfs.SomeUnsynced
		if w.mu.rng.IntN(4) == 0 {
			what = vfs.NoUnsynced
		}
		n.mem, n.broken = n.mem.CrashClone(what, w.mu.rng.Uint64()), false
	}
}

// buryLocked ends what runs on machines that nobody hears from any more.
func (w *world) buryLocked(nodes []*node) {
	for _, n := range nodes {
		if l := n.life; l != nil {
			l.fault.Inject(vfs.Rule{Err: errOver})
			l.end()
			n.life, n.before = nil, l
		}
	}
}

// config is what a process is told.
func (n *node) config() []config.Entry {
	var entries []config.Entry
	add := func(name, value string) {
		entries = append(entries, config.Entry{Name: name, Value: value, Where: "sim"})
	}
	var voters []string
	for _, other := range n.world.nodes {
		voters = append(voters, fmt.Sprintf("%d@%s", other.id, other.control()))
	}
	add("node.id", fmt.Sprint(n.id))
	add("process.roles", "broker,controller")
	add("log.dirs", dataDir)
	add("controller.quorum.voters", strings.Join(voters, ","))
	add("controller.listener.names", "CONTROLLER")
	add("listeners", "PLAINTEXT://"+n.address()+",CONTROLLER://"+n.control())
	add("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT")
	add("auto.create.topics.enable", "false")
	add("log.ack.durability", n.world.durability)
	add("offsets.topic.num.partitions", "3")
	add("log.segment.bytes", "1048576")
	add("log.cleaner.backoff.ms", "86400000") // what was compacted is not the same to the byte
	add("metadata.log.max.record.bytes.between.snapshots", "20000")
	add("replica.lag.time.max.ms", fmt.Sprint(n.world.lagMax.Milliseconds()))
	add("log.flush.offset.checkpoint.interval.ms", "5000")
	add("replica.high.watermark.checkpoint.interval.ms", "3000")
	return entries
}

const dataDir = "/data"
