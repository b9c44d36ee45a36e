//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/test/history"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Load is what the clients do.
type Load struct {
	Brokers    []string // the first to ask
	Options    []kgo.Opt
	Topic      string
	Partitions int
	Producers  int
	Groups     int     // of two members each
	Rate       float64 // records a second of each producer
	Size       int     // bytes of a value
	Out        *history.Writer
	Acked      Acks
}

// Client returns a client that finds out fast about what has changed.
func (l *Load) Client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(append([]kgo.Opt{
		kgo.SeedBrokers(l.Brokers...),
		kgo.DisableClientMetrics(),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.DialTimeout(time.Second),
		kgo.AlwaysRetryEOF(),        // it is no listener of TLS that closes connections here
		kgo.UnknownTopicRetries(-1), // a topic that was just made may not be known yet
	}, l.Options...), opts...)...)
}

// A producer sends records to all partitions in turn; it belongs to one goroutine, but for what its promises touch.
type producer struct {
	*Load
	number int32
	next   []int64 // seq of the next record, by partition
}

// Produce runs the producers until writing ends. Each error is sent to failed.
func (l *Load) Produce(ctx, writing context.Context, failed chan<- error) *sync.WaitGroup {
	var wg sync.WaitGroup
	for i := range l.Producers {
		p := &producer{Load: l, number: int32(i), next: make([]int64, l.Partitions)}
		wg.Go(func() { Report(failed, p.run(ctx, writing)) })
	}
	return &wg
}

// run sends at its rate until writing ends, and then awaits every acknowledgement for as long as ctx lives.
func (p *producer) run(ctx, writing context.Context) error {
	cl, err := p.Client(
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.DefaultProduceTopic(p.Topic),
		kgo.ProduceRequestTimeout(5*time.Second),
		kgo.MaxBufferedRecords(50_000),
	)
	if err != nil {
		return err
	}
	defer cl.Close()
	var failed atomic.Pointer[error]
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	begun, sent := time.Now(), 0.0
	for failed.Load() == nil {
		select {
		case <-writing.Done():
			return p.drain(ctx, cl, &failed)
		case <-tick.C:
		}
		for due := time.Since(begun).Seconds() * p.Rate; sent < due && writing.Err() == nil; sent++ {
			p.send(ctx, cl, int32(int64(sent)%int64(p.Partitions)), &failed)
		}
	}
	return *failed.Load()
}

func (p *producer) send(ctx context.Context, cl *kgo.Client, partition int32, failed *atomic.Pointer[error]) {
	id := history.ID{Producer: p.number, Partition: partition, Seq: p.next[partition]}
	p.next[partition]++
	p.Out.Sent(id)
	cl.Produce(ctx, &kgo.Record{Partition: partition, Value: history.Value(id, p.Size)}, func(r *kgo.Record, err error) {
		if err != nil {
			err = fmt.Errorf("producer %d, partition %d, number %d: %w", id.Producer, id.Partition, id.Seq, err)
			failed.CompareAndSwap(nil, &err)
			return
		}
		p.Out.Acked(id, r.Offset)
		p.Acked.add(id.Partition)
	})
}

// drain awaits what is still on its way.
func (p *producer) drain(ctx context.Context, cl *kgo.Client, failed *atomic.Pointer[error]) error {
	flushing, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := cl.Flush(flushing); err != nil {
		return fmt.Errorf("producer %d, the last records: %w", p.number, err)
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// ReadAll reads every partition from its start to its end, partition by partition.
func (l *Load) ReadAll(ctx context.Context) ([]history.Read, error) {
	cl, err := l.Client()
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	ends, err := adm.ListEndOffsets(ctx, l.Topic)
	if err := errors.Join(err, ends.Error()); err != nil {
		return nil, err
	}
	var all []history.Read
	for p := range int32(l.Partitions) {
		end, ok := ends.Lookup(l.Topic, p)
		if !ok {
			return nil, fmt.Errorf("partition %d has no end", p)
		}
		reads, err := l.readPartition(ctx, p, end.Offset)
		if err != nil {
			return nil, err
		}
		all = append(all, reads...)
	}
	return all, nil
}

func (l *Load) readPartition(ctx context.Context, partition int32, end int64) ([]history.Read, error) {
	if end == 0 {
		return nil, nil
	}
	cl, err := l.Client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{l.Topic: {partition: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var reads []history.Read
	for at := int64(0); at < end; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("partition %d, %d of %d: %w", partition, at, end, err)
		}
		for _, r := range fetches.Records() {
			read := history.Read{Partition: partition, Offset: r.Offset}
			if id, ok := history.Open(partition, r.Value); ok {
				read.ID = id
			} else {
				read.Torn = true
			}
			reads = append(reads, read)
			at = r.Offset + 1
		}
	}
	return reads, nil
}
