package sim

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

// workload is what one seed has clients do, over some lives of a broker. Its fields, but
// for what the cutter owns, belong to the goroutine that runs it.
type workload struct {
	seed     uint64
	rng      *rand.Rand
	history  *history
	settings map[string]string
	dirs     []string // data directories
	logger   *slog.Logger
	cutter   *cutter

	node    *node
	admin   *client
	clients map[*producer]*client
	made    map[string]int // topics of each name so far
	sent    int            // records
	flights []*flight

	faults struct {
		sync.Mutex // leaf
		errs       []error
	}
}

// flight is a batch on its way.
type flight struct {
	batch *batch
	over  chan struct{}
}

// pipelined is how many batches of an idempotent producer may be on their way to a partition.
const pipelined = 5

func newWorkload(seed uint64, omitted omission, logger *slog.Logger) *workload {
	w := &workload{
		seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), history: newHistory(), logger: logger,
		clients: make(map[*producer]*client), made: make(map[string]int), dirs: []string{"/data"},
	}
	w.cutter = newCutter(w.history, seed, omitted)
	w.settings = make(map[string]string)
	if w.chance(3) {
		w.settings["metadata.log.max.record.bytes.between.snapshots"] = fmt.Sprint(300 + w.rng.IntN(3000))
	}
	if !w.chance(4) {
		w.dirs = append(w.dirs, "/other/data")
	}
	w.settings["log.dirs"] = strings.Join(w.dirs, ",")
	if w.chance(3) { // a cleaning takes its time, and others go on meanwhile
		w.settings["log.cleaner.io.max.bytes.per.second"] = fmt.Sprint(1000 + w.rng.IntN(10_000))
	}
	return w
}

// chance is true once in n times.
func (w *workload) chance(n int) bool { return w.rng.IntN(n) == 0 }

// fault notes that the broker did what it never may, power cut or not.
func (w *workload) fault(format string, args ...any) {
	w.faults.Lock()
	defer w.faults.Unlock()
	w.faults.errs = append(w.faults.errs, fmt.Errorf(format, args...))
}

func (w *workload) faulty() error {
	w.faults.Lock()
	defer w.faults.Unlock()
	if len(w.faults.errs) == 0 {
		return nil
	}
	return w.faults.errs[0]
}

// recordsMin is how many records a workload sends at least.
const recordsMin = 200

// run lives until enough has been sent and three lives are over, and gives the cuts of each life
// to judge. An error says what a broker did wrong.
func (w *workload) run(judge func([]*cut) error) error {
	for life := 0; life < livesMin || w.sent < recordsMin; life++ {
		if err := w.live(life); err != nil {
			w.abandon()
			return fmt.Errorf("life %d: %w", life, err)
		}
		if err := judge(w.cutter.take()); err != nil {
			return err
		}
	}
	return nil
}

const livesMin = 3

// ending is how a life ends.
type ending int

const (
	stopped ending = iota
	killed
	powerless
)

func (e ending) String() string { return [...]string{"stopped", "killed", "powerless"}[e] }

// start begins a life.
func (w *workload) start(life int) error {
	w.cutter.life = fmt.Sprintf("life %d", life)
	node, err := startNode(w.cutter.fs(), w.settings, w.logger)
	if err != nil {
		return err
	}
	w.node = node
	if w.admin, err = node.connect(); err != nil {
		return err
	}
	if life > 0 {
		return w.takeStock()
	}
	return w.begin()
}

func (w *workload) live(life int) error {
	if err := w.start(life); err != nil {
		return err
	}
	steps := 12 + w.rng.IntN(14)
	for step := 0; step < steps && w.faulty() == nil; step++ {
		take := w.step
		if step == steps/2 { // what no workload goes without
			take = [...]func() error{w.moveReplica, w.deleteTopic, w.deleteRecords}[life%livesMin]
		}
		if err := take(); err != nil {
			return fmt.Errorf("step %d: %w", step, err)
		}
	}
	end := ending(w.rng.IntN(3))
	if err := w.end(end); err != nil {
		return fmt.Errorf("%v: %w", end, err)
	}
	return w.faulty()
}

// begin makes the first topics and producers.
func (w *workload) begin() error {
	v, err := look(w.admin)
	if err != nil {
		return err
	}
	w.history.clusterID = v.clusterID
	names := []string{"a", "b", compacted}
	if w.chance(12) {
		names = append(names, wide)
	}
	for _, name := range names {
		if err := w.createTopic(name); err != nil {
			return err
		}
	}
	w.history.producers = append(w.history.producers, &producer{id: -1})
	return w.newProducer()
}

// takeStock compares what the broker shows with the history, and takes over what it shows.
func (w *workload) takeStock() error {
	v, err := look(w.admin)
	if err != nil {
		return err
	}
	c := w.cutter.last
	f, err := w.history.judge(v, c)
	if err != nil {
		return fmt.Errorf("after it was %v: %w", w.cutter.ended, err)
	}
	h := w.history
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.tickLocked()
	for _, t := range h.topics {
		tv := f.topics[t]
		if tv == nil {
			continue
		}
		for i, pv := range tv.partitions {
			w.settle(t.partitions[i], pv, f, now)
		}
	}
	return nil
}

// settle decides what was on its way when the last life ended.
func (w *workload) settle(p *partition, pv *partitionView, f *findings, now instant) {
	next := make(map[*producer]int32)
	for _, b := range p.batches {
		at, found := f.at[b]
		switch {
		case b.dead < never:
			continue
		case found && w.cutter.ended != killed:
			b.acked, b.promised, b.offset = min(b.acked, now), min(b.promised, now), at
		case found: // a restart after a kill has read it from memory; the disk may not have it
		case b.acked < never && b.offset+int64(b.records) <= pv.start:
		case b.promised < never && p.topic.compacted: // replaced, or the judge would have said so
		default:
			b.dead, b.acked, b.promised = now, never, never
			if pv.start > 0 && b.producer.id >= 0 {
				b.producer.unsure[p] = true // it may have been there, below the start
			}
			continue
		}
		next[b.producer] = b.sequence + int32(b.records)
	}
	for _, pr := range w.history.producers {
		if pr.id >= 0 {
			pr.sequences[p] = next[pr]
		}
	}
}

// end ends a life, and leaves the disk of the next one.
func (w *workload) end(e ending) error {
	w.cutter.ended = e
	c := w.cutter
	if w.chance(2) {
		w.drain()
	}
	switch e {
	case powerless:
		c.last = c.now(vfs.SomeUnsynced, "end")
		c.disable()
	case killed:
		c.disable()
	case stopped:
		w.drain()
	}
	w.hangUp()
	err := w.node.stop()
	w.node = nil
	switch e {
	case stopped:
		if err != nil {
			return err
		}
		fallthrough
	case killed:
		now := w.history.instant()
		c.last = &cut{from: now, to: now, what: vfs.AllUnsynced, disk: c.mem}
	}
	c.disable()
	c.mem = c.last.disk
	if e == stopped && w.chance(2) {
		// The system has written everything back before the next start.
		c.mem = c.mem.CrashClone(vfs.AllUnsynced, 0)
	}
	return nil
}

// abandon ends a life that went wrong.
func (w *workload) abandon() {
	w.cutter.disable()
	w.hangUp()
	if w.node != nil {
		_ = w.node.stop() // what was wrong with it is known already
		w.node = nil
	}
}

// hangUp ends all connections.
func (w *workload) hangUp() {
	if w.admin != nil {
		w.admin.close()
		w.admin = nil
	}
	for p, c := range w.clients {
		c.close()
		delete(w.clients, p)
	}
	w.flights = nil
}

// step does one thing.
func (w *workload) step() error {
	switch n := w.rng.IntN(100); {
	case n < 45:
		w.produce(1)
	case n < 55:
		w.produce(8)
	case n < 62:
		return w.repeat()
	case n < 68:
		w.drain()
		time.Sleep(time.Duration(w.rng.IntN(20_000)) * time.Millisecond)
	case n < 75:
		w.meetCleaner()
	case n < 82:
		return w.deleteRecords()
	case n < 85:
		return w.deleteTopic()
	case n < 88:
		return w.alterConfig()
	case n < 90:
		return w.createPartitions()
	case n < 92:
		return w.newProducer()
	case n < 97:
		return w.moveReplica()
	default:
		w.drain()
	}
	if w.chance(3) {
		w.drain()
	}
	return nil
}

// meetCleaner sends batches in the moment when the broker looks for something to compact.
func (w *workload) meetCleaner() {
	time.Sleep(cleanerBackoff - time.Since(w.node.began)%cleanerBackoff)
	w.produce(4)
}

// drain waits for everything on its way.
func (w *workload) drain() {
	for _, f := range w.flights {
		select {
		case <-f.over:
		case <-time.After(patience):
			w.fault("%v to %s-%d has no answer", f.batch, f.batch.partition.topic.name, f.batch.partition.index)
		}
	}
	w.flights = nil
}

// topics are those that are there as far as a client knows.
func (w *workload) topics() (live []*topic) {
	for _, t := range w.history.topics {
		if t.created.acked < never && t.deleted.asked == never {
			live = append(live, t)
		}
	}
	return live
}

func (w *workload) anyTopic() *topic {
	live := w.topics()
	for {
		if t := live[w.rng.IntN(len(live))]; t.name != wide || w.chance(10) {
			return t
		}
	}
}

func (w *workload) anyPartition() *partition {
	t := w.anyTopic()
	return t.partitions[w.rng.IntN(len(t.partitions))]
}

func (w *workload) clientOf(p *producer) *client {
	if c := w.clients[p]; c != nil {
		return c
	}
	c, err := w.node.connect()
	if err != nil {
		w.fault("connecting: %w", err)
		return w.admin
	}
	w.clients[p] = c
	return c
}

// produce sends batches; a partition of a wide topic brings all of that topic along.
func (w *workload) produce(batches int) {
	for range batches {
		p := w.anyPartition()
		pr := w.history.producers[w.rng.IntN(len(w.history.producers))]
		if p.topic.name == wide {
			w.send(pr, p.topic.partitions)
		} else {
			w.send(pr, []*partition{p})
		}
	}
}

// send has a producer send a batch to each of some partitions of a topic, in one request.
func (w *workload) send(pr *producer, partitions []*partition) {
	w.makeRoom(pr, partitions)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 30_000
	if w.chance(6) {
		req.Acks = 1
	}
	rt := kmsg.NewProduceRequestTopic()
	rt.TopicID = partitions[0].topic.id
	var flights []*flight
	for _, p := range partitions {
		if pr.unsure[p] {
			continue
		}
		b := w.newBatch(pr, p, req.Acks)
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition, rp.Records = p.index, b.bytes
		rt.Partitions = append(rt.Partitions, rp)
		flights = append(flights, &flight{b, make(chan struct{})})
	}
	if len(flights) == 0 {
		return
	}
	req.Topics = append(req.Topics, rt)
	w.flights = append(w.flights, flights...)
	req.SetVersion(13)
	w.clientOf(pr).send(req, func(resp kmsg.Response, err error) { w.produced(flights, resp, err) })
}

// makeRoom keeps to the five batches that an idempotent producer may have on their way.
func (w *workload) makeRoom(pr *producer, partitions []*partition) {
	n := 0
	for _, f := range w.flights {
		for _, p := range partitions {
			if f.batch.partition == p && f.batch.producer == pr {
				n++
			}
		}
	}
	if n >= pipelined || len(w.flights) > 200 {
		w.drain()
	}
}

func (w *workload) newBatch(pr *producer, p *partition, acks int16) *batch {
	builder := record.NewBuilder()
	b := &batch{partition: p, producer: pr, acks: acks, records: 1 + w.rng.IntN(5), sequence: -1}
	if pr.id >= 0 {
		b.sequence = pr.sequences[p]
		pr.sequences[p] += int32(b.records)
		builder.ProducerID, builder.ProducerEpoch, builder.BaseSequence = ids.ProducerID(pr.id), ids.ProducerEpoch(pr.epoch), b.sequence
	}
	if p.topic.compacted {
		w.addEntries(b, builder)
	} else {
		w.addRecords(b, builder)
	}
	b.bytes = builder.MustBuild()
	w.history.add(b)
	return b
}

// addRecords fills a batch for a topic that is not compacted.
func (w *workload) addRecords(b *batch, builder *record.Builder) {
	for i := range b.records {
		filler := strings.Repeat(string(rune('a'+w.rng.IntN(26))), w.rng.IntN(300))
		builder.Append(time.Now().UnixMilli(), fmt.Appendf(nil, "%d", w.sent), fmt.Appendf(nil, "record %d, %d of %s, %s", w.sent, i, b.partition.topic.id, filler))
		w.sent++
	}
}

// produced takes the answer to one request. It runs on the goroutine of a client.
func (w *workload) produced(flights []*flight, resp kmsg.Response, err error) {
	for i, f := range flights {
		if err == nil {
			w.answered(f.batch, &resp.(*kmsg.ProduceResponse).Topics[0].Partitions[i])
		}
		close(f.over)
	}
	if err != nil && !w.cutter.disabled() {
		w.fault("producing: %w", err)
	}
	if err == nil {
		w.cutter.acknowledged()
	}
}

func (w *workload) answered(b *batch, got *kmsg.ProduceResponseTopicPartition) {
	err := refused(got.ErrorCode, "%v to %s-%d", b, b.partition.topic.name, b.partition.index)
	if err == nil {
		w.history.batchAcked(b, got.BaseOffset, b.acks)
		return
	}
	w.history.mu.Lock()
	deleted := b.partition.topic.deleted.asked < never
	w.history.mu.Unlock()
	if !deleted && !w.cutter.disabled() {
		w.fault("producing: %w", err)
	}
}

// repeat sends a batch again as a producer does that has missed the answer.
func (w *workload) repeat() error {
	w.drain()
	var all []*batch
	for _, t := range w.topics() {
		for _, p := range t.partitions {
			// A producer whose records have all been deleted may be forgotten, as in Kafka.
			start := p.start()
			// One that was never acknowledged may have survived a kill. It is one of the five then, but nobody knows where it is.
			for _, b := range lastFive(p, func(b *batch) bool { return b.dead == never && (b.acked == never || b.offset >= start) }) {
				if b.acked < never {
					all = append(all, b)
				}
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	b := all[w.rng.IntN(len(all))]
	if err := checkAgain(w.clientOf(b.producer), b, b.offset); err != nil {
		return err
	}
	w.history.batchAcked(b, b.offset, acksAll)
	w.cutter.acknowledged()
	return nil
}

// lastFive are the batches of each idempotent producer which a broker has to remember: where compaction has
// taken the others, the last of them.
func lastFive(p *partition, there func(*batch) bool) (last []*batch) {
	of := make(map[*producer][]*batch)
	for _, b := range p.batches {
		if b.producer.id >= 0 && there(b) {
			of[b.producer] = append(of[b.producer], b)
		}
	}
	for _, b := range p.batches { // in an order that is the same every time
		if all := of[b.producer]; len(all) > 0 {
			n := pipelined
			if p.topic.compacted {
				n = 1
			}
			last = append(last, all[max(0, len(all)-n):]...)
			delete(of, b.producer)
		}
	}
	return last
}

// checkAgain sends a batch that is at an offset once more.
func checkAgain(c *client, b *batch, offset int64) error {
	at, err := sendAgain(c, b)
	if err == nil && at != offset {
		err = fmt.Errorf("%v of %s-%d was written at %d, and is acknowledged at %d when sent again", b, b.partition.topic.name, b.partition.index, offset, at)
	}
	return err
}

// sendAgain sends a batch once more, with acks=all, and returns the offset of the answer.
func sendAgain(c *client, b *batch) (int64, error) {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 30_000
	rt := kmsg.NewProduceRequestTopic()
	rt.TopicID = b.partition.topic.id
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = b.partition.index, b.bytes
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := ask[*kmsg.ProduceResponse](c, req, 13)
	if err != nil {
		return 0, err
	}
	got := resp.Topics[0].Partitions[0]
	return got.BaseOffset, refused(got.ErrorCode, "%v of %s-%d again", b, b.partition.topic.name, b.partition.index)
}
