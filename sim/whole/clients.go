package whole

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/sim/machine"
	"github.com/moldau/moldau/test/history"
)

const (
	group = "group"
	// thinkMean is how long a producer waits between two bursts on average, and burstMax how much it writes at once.
	thinkMean = 250 * time.Millisecond
	burstMax  = 12
	// patience is how long a client waits for one answer, or for a connection.
	patience = 5 * time.Second
)

// The hosts of clients. A consumer asks again at once after an error in an answer, so where time passes only between hosts,
// it has to be away from the brokers.
const (
	writerHost = "writers"
	readerHost = "readers"
)

// client is a kgo client that knows all nodes.
func (w *world) client(from *machine.Process, opts ...kgo.Opt) *kgo.Client {
	var seeds []string
	for _, n := range w.nodes {
		seeds = append(seeds, n.address())
	}
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(seeds...), kgo.DisableClientMetrics(), kgo.AlwaysRetryEOF(),
		kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			return from.Dial(ctx, network, address)
		}),
		kgo.RequestTimeoutOverhead(patience), kgo.MetadataMinAge(250 * time.Millisecond), kgo.ConsiderMissingTopicDeletedAfter(time.Hour),
	}, opts...)...)
	if err != nil {
		panic(err) // the options are wrong
	}
	return cl
}

// producer writes to topics, idempotently, and waits for all in-sync replicas. Its fields are those of the goroutine of run.
type producer struct {
	world  *world
	number int32
	topics []*topic
	rng    *rand.Rand
	next   map[int32]int64 // the number of the next record, by partition
}

// run writes until stop is closed, and returns once everything is answered.
func (p *producer) run(stop <-chan struct{}) {
	w := p.world
	cl := w.client(w.writers, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(200),
		kgo.ProduceRequestTimeout(patience), kgo.UnknownTopicRetries(-1),
		kgo.WithLogger(kgo.BasicLogger(traceWriter{w.trace, fmt.Sprintf("producer %d", p.number)}, kgo.LogLevelWarn, nil)))
	defer cl.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		select {
		case <-stop:
			ctx, cancel := context.WithTimeout(ctx, recoveryMax)
			defer cancel()
			if err := cl.Flush(ctx); err != nil {
				w.failf("producer %d has no answer for %d records %v after everything has healed", p.number, cl.BufferedProduceRecords(), recoveryMax)
			}
			return
		case <-time.After(time.Duration(p.rng.ExpFloat64() * float64(thinkMean))):
		}
		t := p.topics[p.rng.IntN(len(p.topics))]
		part := p.rng.Int32N(t.partitions)
		for range 1 + p.rng.IntN(burstMax) {
			p.send(ctx, cl, t, part)
		}
	}
}

// send hands a record to the client, which may wait for room.
func (p *producer) send(ctx context.Context, cl *kgo.Client, t *topic, part int32) {
	w := p.world
	id := history.ID{Producer: p.number, Partition: t.id(part), Seq: p.next[t.id(part)]}
	p.next[id.Partition]++
	size := 50 + p.rng.IntN(400)
	if p.rng.IntN(50) == 0 {
		size = 10_000
	}
	w.records.sent(id)
	sentAt := time.Now()
	cl.Produce(ctx, &kgo.Record{Topic: t.name, Partition: part, Value: history.Value(id, size)}, func(r *kgo.Record, err error) {
		if err != nil {
			w.records.gaveUp()
			w.trace.add("producer %d gives up %v: %v", p.number, id, err)
			return
		}
		w.records.acked(id, r.Offset, sentAt)
	})
}

// read reads everything of the topics that lose nothing, while things happen.
func (w *world) read(ctx context.Context) {
	from := make(map[string]map[int32]kgo.Offset)
	for _, t := range w.topics {
		if !t.lossy {
			from[t.name] = t.fromStart()
		}
	}
	cl := w.client(w.readers, kgo.ConsumePartitions(from))
	defer cl.Close()
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		fetches.EachRecord(func(r *kgo.Record) { w.records.seen(w.found(r)) })
		fetches.EachError(func(t string, p int32, err error) {
			if ctx.Err() == nil {
				w.trace.add("reader: %s-%d: %v", t, p, err)
			}
		})
	}
}

// found names what a record is.
func (w *world) found(r *kgo.Record) history.Read {
	part := w.topic(r.Topic).id(r.Partition)
	id, ok := history.Open(part, r.Value)
	return history.Read{Partition: part, Offset: r.Offset, ID: id, Torn: !ok}
}

// member is a consumer of the group that commits what it has been given. One that is not answered leaves, and another
// one comes: a copy of its commit may arrive later than those that follow.
func (w *world) member(ctx context.Context, rng *rand.Rand) {
	var topics []string
	for _, t := range w.topics {
		if !t.lossy {
			topics = append(topics, t.name)
		}
	}
	for ctx.Err() == nil {
		cl := w.client(w.readers, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
			kgo.SessionTimeout(10*time.Second), kgo.RebalanceTimeout(10*time.Second), kgo.HeartbeatInterval(2*time.Second))
		w.consume(ctx, cl, rng)
		cl.Close()
		sleep(ctx, time.Second)
	}
}

// consume reads and commits until it is not answered.
func (w *world) consume(ctx context.Context, cl *kgo.Client, rng *rand.Rand) {
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		var last []*kgo.Record
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if len(p.Records) == 0 {
				return
			}
			end := p.Records[len(p.Records)-1]
			last = append(last, end)
			w.records.group(history.GroupEvent{Kind: 'D', Partition: w.topic(p.Topic).id(p.Partition), From: p.Records[0].Offset, To: end.Offset})
		})
		if len(last) == 0 {
			continue
		}
		if err := w.commit(ctx, cl, last); err != nil {
			w.trace.add("group: commit: %v", err)
			return
		}
		sleep(ctx, time.Duration(rng.Int64N(int64(500*time.Millisecond))))
	}
}

func (w *world) commit(ctx context.Context, cl *kgo.Client, last []*kgo.Record) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	if err := cl.CommitRecords(ctx, last...); err != nil {
		return err
	}
	for _, r := range last {
		w.records.group(history.GroupEvent{Kind: 'C', Partition: w.topic(r.Topic).id(r.Partition), To: r.Offset + 1})
	}
	return nil
}

// ask asks for the offsets of the group again and again, each time as somebody who knows nothing of its coordinator.
func (w *world) ask(ctx context.Context) {
	for number := int64(0); ctx.Err() == nil; number++ {
		w.askOnce(ctx, number)
		sleep(ctx, 4*time.Second)
	}
}

func (w *world) askOnce(ctx context.Context, number int64) {
	cl := w.client(w.readers)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	w.records.group(history.GroupEvent{Kind: 'B', Number: number})
	committed, err := kadm.NewClient(cl).FetchOffsets(ctx, group)
	if err == nil {
		err = committed.Error()
	}
	if err != nil {
		return
	}
	committed.Each(func(o kadm.OffsetResponse) {
		w.records.group(history.GroupEvent{Kind: 'O', Number: number, Partition: w.topic(o.Topic).id(o.Partition), To: o.At})
	})
	w.records.group(history.GroupEvent{Kind: 'E', Number: number})
}

// readAll reads all partitions from their start to their end, when nobody writes any more.
func (w *world) readAll() error {
	ctx, cancel := context.WithTimeout(context.Background(), recoveryMax)
	defer cancel()
	from := make(map[string]map[int32]kgo.Offset)
	for _, t := range w.topics {
		from[t.name] = t.fromStart()
	}
	cl := w.client(w.readers, kgo.ConsumePartitions(from))
	defer cl.Close()
	left, err := w.ends(ctx, cl)
	if err != nil {
		return fmt.Errorf("the ends of partitions after healing: %w", err)
	}
	var reads []history.Read
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("the partitions %v cannot be read to their ends, %v after healing", left, recoveryMax)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			read := w.found(r)
			reads = append(reads, read)
			if r.Offset+1 >= left[read.Partition] {
				delete(left, read.Partition)
			}
		})
	}
	w.records.mu.Lock()
	defer w.records.mu.Unlock()
	w.records.mu.history.Reads = reads
	return nil
}

// ends returns where the partitions end that are not empty.
func (w *world) ends(ctx context.Context, cl *kgo.Client) (map[int32]int64, error) {
	ends := make(map[int32]int64)
	for _, t := range w.topics {
		listed, err := kadm.NewClient(cl).ListEndOffsets(ctx, t.name)
		if err == nil {
			err = listed.Error()
		}
		if err != nil {
			return nil, err
		}
		listed.Each(func(o kadm.ListedOffset) {
			if o.Offset > 0 {
				ends[t.id(o.Partition)] = o.Offset
			}
		})
	}
	return ends, nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
