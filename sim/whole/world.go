package whole

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/vfs"
	"github.com/moldau/moldau/sim/machine"
)

const (
	// recoveryMax is how long a cluster may take after everything has healed until each partition is written to, read and consumed again:
	// twice what kgo waits for one answer, its pauses, two elections and a session.
	recoveryMax = time.Minute
	// recoveryPause is between two looks whether it is.
	recoveryPause = 200 * time.Millisecond
	// readerDelayMin is how far consumers are away at least.
	readerDelayMin = 2 * time.Millisecond
	// Faults of one cycle, before everything heals.
	faultsMin, faultsMax = 45 * time.Second, 150 * time.Second
)

// topic is what is written to.
type topic struct {
	name       string
	number     int32
	partitions int32
	replicas   int16
	configs    map[string]*string
	// lossy tells that the power of all machines may take what was acknowledged.
	lossy bool
}

// id is the number of a partition among those of all topics.
func (t *topic) id(partition int32) int32 { return 100*t.number + partition }

func (t *topic) fromStart() map[int32]kgo.Offset {
	from := make(map[int32]kgo.Offset)
	for p := range t.partitions {
		from[p] = kgo.NewOffset().At(0)
	}
	return from
}

// world is a cluster, its clients, and what happens to them. Its fields, but for those that say otherwise, belong to the goroutine of run.
type world struct {
	seed       uint64
	rng        *rand.Rand
	trace      *trace
	net        *machine.Network
	nodes      []*node
	topics     []*topic
	power      bool          // a world of power, not of faults
	durability string        // log.ack.durability
	lagMax     time.Duration // replica.lag.time.max.ms
	delay      time.Duration // between any two hosts, without a fault
	writers    *machine.Process
	readers    *machine.Process
	records    *records
	trap       atomic.Pointer[trap]

	// frail tells that a machine has lost its power lately, and not all has been replicated again.
	frail    bool
	faults   int
	longest  time.Duration // recovery so far
	injected []*vfs.Injected

	lives   sync.WaitGroup // of brokers
	writing sync.WaitGroup
	reading sync.WaitGroup

	mu struct {
		sync.Mutex
		rng     *rand.Rand // of what disks lose
		closing bool       // nothing is started any more
		starts  int
		failure error // the first one
	}
}

func newWorld(seed uint64, power, loud bool) *world {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := &world{seed: seed, rng: rng, power: power, trace: &trace{began: time.Now(), loud: loud}, net: machine.NewNetwork(seed), records: &records{}}
	w.mu.rng = rand.New(rand.NewPCG(seed, 2))
	w.writers, w.readers = w.net.Start(writerHost), w.net.Start(readerHost)
	w.lagMax = []time.Duration{5 * time.Second, 30 * time.Second}[rng.IntN(2)]
	w.delay = []time.Duration{0, 100 * time.Microsecond, time.Millisecond}[rng.IntN(3)]
	w.durability = "fsync"
	if !power {
		w.durability = []string{"auto", "auto", "fsync", "os"}[rng.IntN(4)]
	}
	w.makeTopics()
	count := 3
	if rng.IntN(5) == 0 {
		count = 5
	}
	for id := range count {
		w.nodes = append(w.nodes, &node{world: w, id: id + 1, host: fmt.Sprintf("127.0.0.%d", id+1), mem: vfs.NewMem()})
	}
	w.calm()
	return w
}

func (w *world) makeTopics() {
	add := func(name string, partitions int32, replicas int16, lossy bool, configs ...string) {
		t := &topic{name: name, number: int32(len(w.topics)), partitions: partitions, replicas: replicas, lossy: lossy, configs: make(map[string]*string)}
		for i := 0; i < len(configs); i += 2 {
			t.configs[configs[i]] = &configs[i+1]
		}
		w.topics = append(w.topics, t)
	}
	if w.power {
		add("fsync", 3, 3, false)
		add("flush", 1, 3, false, "ack.durability", "auto", "flush.messages", "1")
		add("auto", 2, 3, true, "ack.durability", "auto")
		add("os", 2, 3, true, "ack.durability", "os")
	} else {
		add("wide", 4, 3, false)
		add("narrow", 1, 3, false)
	}
	if w.durability != "os" {
		add("solo", 2, 1, false, "ack.durability", "auto")
	}
}

func (w *world) topic(name string) *topic {
	for _, t := range w.topics {
		if t.name == name {
			return t
		}
	}
	panic("no topic " + name)
}

func (w *world) failf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.failure == nil {
		w.mu.failure = fmt.Errorf(format, args...)
		w.trace.add("FAILED: %v", w.mu.failure)
	}
}

func (w *world) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.failure
}

// run lets a cluster begin, and be disturbed and heal in turns for a time; then it is judged.
func (w *world) run(lasts time.Duration) {
	for _, n := range w.nodes {
		w.start(n)
	}
	if err := w.createTopics(); err != nil {
		w.failf("a new cluster: %w", err)
	}
	until := time.Now().Add(lasts)
	stopWriting := make(chan struct{})
	ctx, stopReading := context.WithCancel(context.Background())
	w.startClients(ctx, stopWriting)
	for w.failure() == nil && time.Now().Before(until) {
		w.cycle(until)
	}
	close(stopWriting)
	w.writing.Wait()
	if w.failure() == nil {
		w.catchUp()
	}
	stopReading()
	w.reading.Wait()
	if w.failure() == nil {
		w.finish()
	}
	w.close()
}

func (w *world) startClients(ctx context.Context, stopWriting <-chan struct{}) {
	var strict, lossy []*topic
	for _, t := range w.topics {
		if t.lossy {
			lossy = append(lossy, t)
		} else {
			strict = append(strict, t)
		}
	}
	writers := [][]*topic{strict, strict}
	if len(lossy) > 0 {
		writers = append(writers, lossy)
	}
	for number, topics := range writers {
		p := &producer{world: w, number: int32(number), topics: topics, rng: rand.New(rand.NewPCG(w.seed, 10+uint64(number))), next: make(map[int32]int64)}
		w.writing.Go(func() { p.run(stopWriting) })
	}
	w.reading.Go(func() { w.read(ctx) })
	w.reading.Go(func() { w.ask(ctx) })
	for i := range uint64(2) {
		w.reading.Go(func() { w.member(ctx, rand.New(rand.NewPCG(w.seed, 20+i))) })
	}
}

// createTopics waits for the cluster.
func (w *world) createTopics() error {
	cl := w.client(w.readers)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), recoveryMax)
	defer cancel()
	for _, t := range w.topics {
		for {
			_, err := kadm.NewClient(cl).CreateTopic(ctx, t.partitions, t.replicas, t.configs, t.name)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("creating topic %s: %w", t.name, err)
			}
			sleep(ctx, recoveryPause)
		}
	}
	return nil
}

// cycle disturbs for a while, and lets everything heal.
func (w *world) cycle(until time.Time) {
	end := time.Now().Add(faultsMin + time.Duration(w.rng.Int64N(int64(faultsMax-faultsMin))))
	if end.After(until) {
		end = until
	}
	disturb := w.disturb
	if w.power {
		disturb = w.blackout
	}
	for w.failure() == nil && time.Now().Before(end) {
		time.Sleep(time.Duration(w.rng.Int64N(int64(8 * time.Second))))
		disturb()
	}
	w.heal()
}

// calm has links do what they do without a fault.
func (w *world) calm() {
	hosts := []string{writerHost, readerHost}
	for _, n := range w.nodes {
		hosts = append(hosts, n.host)
	}
	for _, a := range hosts {
		for _, b := range hosts {
			w.net.Mend(a, b)
			w.net.SetDelay(a, b, w.delay)
		}
		w.net.SetDelay(readerHost, a, max(w.delay, readerDelayMin))
		w.net.SetDelay(a, readerHost, max(w.delay, readerDelayMin))
	}
}

// heal ends all faults, and waits until every partition is in use again.
func (w *world) heal() {
	w.trace.add("everything heals")
	w.trap.Store(nil)
	w.calm()
	for _, r := range w.injected {
		r.Remove()
	}
	w.injected = nil
	for _, n := range w.nodes {
		w.mendDisk(n)
		w.start(n)
	}
	w.awaitRecovery()
}

// awaitRecovery waits until every broker serves, and something that was sent from now on has been acknowledged, read and consumed
// in each partition.
func (w *world) awaitRecovery() {
	began := time.Now()
	goals := make(map[int32]int64)
	for {
		missing := w.missing(began, goals)
		if missing == "" {
			break
		}
		if time.Since(began) > recoveryMax {
			w.failf("%v after everything has healed, %s", recoveryMax, missing)
			return
		}
		time.Sleep(recoveryPause)
	}
	w.longest = max(w.longest, time.Since(began))
	w.trace.add("recovered after %v", time.Since(began))
}

// missing says what is not in use again since a moment, "" for nothing. goals are the offsets up to which is to be read.
func (w *world) missing(since time.Time, goals map[int32]int64) string {
	for _, n := range w.nodes {
		if !w.serves(n) {
			return n.host + " does not serve"
		}
	}
	for _, t := range w.topics {
		for p := range t.partitions {
			at := w.records.progress(t.id(p))
			goal, written := goals[t.id(p)]
			switch {
			case !written && !at.ackedAt.After(since):
				return fmt.Sprintf("nothing new is acknowledged in %s-%d", t.name, p)
			case !written:
				goals[t.id(p)] = at.acked
				goal = at.acked
			}
			if !t.lossy && (at.seen < goal || at.consumed < goal) {
				return fmt.Sprintf("%s-%d is acknowledged up to %d, read up to %d and consumed up to %d", t.name, p, goal, at.seen, at.consumed)
			}
		}
	}
	return ""
}

func (w *world) serves(n *node) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return n.life != nil && n.life.serving.Load()
}

func (w *world) mendDisk(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n.mem.SetCapacity(0)
	n.broken = false
}

func (w *world) disk(n *node) *vfs.Mem {
	w.mu.Lock()
	defer w.mu.Unlock()
	return n.mem
}

// catchUp waits until everything that was acknowledged has been read and consumed.
func (w *world) catchUp() {
	for began := time.Now(); ; time.Sleep(recoveryPause) {
		behind := ""
		for _, t := range w.topics {
			for p := range t.partitions {
				if at := w.records.progress(t.id(p)); !t.lossy && (at.seen < at.acked || at.consumed < at.acked) {
					behind = fmt.Sprintf("%s-%d is acknowledged up to %d, read up to %d and consumed up to %d", t.name, p, at.acked, at.seen, at.consumed)
				}
			}
		}
		switch {
		case behind == "":
			return
		case time.Since(began) > recoveryMax:
			w.failf("%v after the last record, %s", recoveryMax, behind)
			return
		}
	}
}

// finish reads everything, compares replicas and judges.
func (w *world) finish() {
	if err := w.readAll(); err != nil {
		w.failf("%w", err)
		return
	}
	if err := w.sameReplicas(); err != nil {
		w.failf("%w", err)
	}
}

// close ends everything: brokers stop in order where the world has not failed.
func (w *world) close() {
	w.mu.Lock()
	w.mu.closing = true
	w.mu.Unlock()
	w.trap.Store(nil)
	if w.failure() == nil {
		for _, n := range w.nodes {
			over := w.stopInOrder(n)
			select {
			case <-over:
			case <-time.After(recoveryMax):
				w.failf("%s does not stop within %v", n.host, recoveryMax)
			}
		}
	}
	w.kill(w.nodes...)
	w.lives.Wait()
	w.writers.Kill()
	w.readers.Kill()
}
