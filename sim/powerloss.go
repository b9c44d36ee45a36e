package sim

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

// outcome is what one seed has come to.
type outcome struct {
	seed          uint64
	records, cuts int
	judged        int
	syncs         map[string]bool // names of call sites and kinds that have synced something
	failure       string          // the first one, "" for none
}

// powerLoss runs the workload of a seed without the omitted syncs, cuts the power
// at every place and judges what one in so many cuts leaves, up to the first failure.
func powerLoss(seed uint64, oneIn int, omitted omission, logger *slog.Logger) outcome {
	w := newWorkload(seed, omitted, logger)
	out := outcome{seed: seed, syncs: w.cutter.mu.syncs}
	j := &judge{workload: w, rng: rand.New(rand.NewPCG(seed, 3)), omitted: omitted}
	err := w.run(func(cuts []*cut) error {
		out.cuts += len(cuts)
		for i, c := range cuts {
			cuts[i] = nil // its disk may go
			if j.rng.IntN(oneIn) > 0 {
				continue
			}
			out.judged++
			if err := j.judge(c); err != nil {
				return fmt.Errorf("power cut in %s (%v, seed %d, instants %d to %d): %w", c.at, unsynced(c.what), c.seed, c.from, c.to, err)
			}
		}
		return nil
	})
	out.records = w.sent
	if err != nil {
		out.failure = err.Error()
	}
	return out
}

func unsynced(what vfs.Unsynced) string {
	return [...]string{"some unsynced bytes left", "no unsynced bytes left", "all unsynced bytes left"}[what]
}

// judge starts brokers on what power cuts have left.
type judge struct {
	*workload
	rng     *rand.Rand
	omitted omission
}

func (j *judge) judge(c *cut) error {
	fs := j.omitted.on(c.disk, nil)
	if j.rng.IntN(6) == 0 {
		if err := j.open(fs, c, nil); err != nil {
			return err
		}
		again := *c
		again.disk = c.disk.CrashClone(vfs.SomeUnsynced, c.seed)
		return j.open(j.omitted.on(again.disk, nil), &again, j.use)
	}
	return j.open(fs, c, j.use)
}

// open starts a broker, compares what it shows with the history, and uses it.
func (j *judge) open(fs *vfs.Fault, c *cut, use func(*client, *view, *findings, *cut) error) error {
	n, err := startNode(fs, j.settings, j.logger)
	if err != nil {
		return err
	}
	err = j.visit(n, c, use)
	inOrder := use != nil && j.rng.IntN(10) == 0
	if !inOrder {
		fs.Inject(vfs.Rule{Err: errPowerless}) // saves the broker the work
	}
	if stop := n.stop(); err == nil && inOrder {
		err = stop
	}
	return err
}

func (j *judge) visit(n *node, c *cut, use func(*client, *view, *findings, *cut) error) error {
	cl, err := n.connect()
	if err != nil {
		return err
	}
	defer cl.close()
	cleaned := j.rng.IntN(2) == 0
	if cleaned {
		time.Sleep(time.Millisecond) // what the broker compacts when it starts, it has compacted then, or rests
	}
	v, err := look(cl)
	if err != nil {
		return err
	}
	f, err := j.history.judge(v, c)
	if err == nil {
		err = v.probe(cl, j.rng, cleaned)
	}
	if err != nil || use == nil {
		return err
	}
	return use(cl, v, f, c)
}

// use does what clients do when the broker is back: idempotent producers send again what
// they do not know the answer of, and go on; new ones come.
func (j *judge) use(cl *client, v *view, f *findings, c *cut) error {
	id, _, err := initProducerID(cl)
	if err != nil {
		return err
	}
	if when, taken := j.history.taken[id]; taken && when <= c.from {
		return fmt.Errorf("producer id %d is given away again", id)
	}
	var known []*partition
	for _, t := range j.history.topics {
		if tv := f.topics[t]; tv != nil && t.id == tv.id {
			known = append(known, t.partitions[:len(tv.partitions)]...)
		}
	}
	j.rng.Shuffle(len(known), func(a, b int) { known[a], known[b] = known[b], known[a] })
	for _, p := range known[:min(3, len(known))] {
		if err := j.usePartition(cl, p, f, f.topics[p.topic].partitions[p.index]); err != nil {
			return err
		}
	}
	return nil
}

func (j *judge) usePartition(cl *client, p *partition, f *findings, pv *partitionView) error {
	last := lastFive(p, func(b *batch) bool { _, there := f.at[b]; return there })
	for _, b := range last {
		if err := checkAgain(cl, b, f.at[b]); err != nil {
			return err
		}
	}
	if len(last) == 0 {
		return nil
	}
	b := last[len(last)-1]
	builder := record.NewBuilder()
	builder.ProducerID, builder.ProducerEpoch, builder.BaseSequence = ids.ProducerID(b.producer.id), ids.ProducerEpoch(b.producer.epoch), b.sequence+int32(b.records)
	next := &batch{partition: p, producer: b.producer, records: 1, sequence: builder.BaseSequence, bytes: builder.Append(0, []byte("key"), []byte("next")).MustBuild()}
	at, err := sendAgain(cl, next)
	if err != nil {
		return err
	}
	if at != pv.next() {
		return fmt.Errorf("%s-%d ended at %d, and what is written next is at %d", p.topic.name, p.index, pv.next(), at)
	}
	return nil
}
