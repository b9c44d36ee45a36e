//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/test/history"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A producer sends records to all partitions in turn; it belongs to one goroutine, but for what its promises touch.
type producer struct {
	flags  *flags
	number int32
	out    *history.Writer // own lock
	acked  *atomic.Int64
	next   []int64 // seq of the next record, by partition
}

// run sends at its rate until writing ends, and then awaits every acknowledgement for as long as ctx lives.
func (p *producer) run(ctx, writing context.Context) error {
	cl, err := client(p.flags,
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.DefaultProduceTopic(topic),
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
		for due := time.Since(begun).Seconds() * p.flags.rate; sent < due && writing.Err() == nil; sent++ {
			p.send(ctx, cl, int32(int64(sent)%int64(p.flags.partitions)), &failed)
		}
	}
	return *failed.Load()
}

func (p *producer) send(ctx context.Context, cl *kgo.Client, partition int32, failed *atomic.Pointer[error]) {
	id := history.ID{Producer: p.number, Partition: partition, Seq: p.next[partition]}
	p.next[partition]++
	p.out.Sent(id)
	cl.Produce(ctx, &kgo.Record{Partition: partition, Value: history.Value(id, p.flags.size)}, func(r *kgo.Record, err error) {
		if err != nil {
			err = fmt.Errorf("producer %d, partition %d, number %d: %w", id.Producer, id.Partition, id.Seq, err)
			failed.CompareAndSwap(nil, &err)
			return
		}
		p.out.Acked(id, r.Offset)
		p.acked.Add(1)
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

// readAll reads every partition from its start to its end, partition by partition.
func readAll(ctx context.Context, f *flags) ([]history.Read, error) {
	cl, err := client(f)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	ends, err := adm.ListEndOffsets(ctx, topic)
	if err := errors.Join(err, ends.Error()); err != nil {
		return nil, err
	}
	var all []history.Read
	for p := range int32(f.partitions) {
		end, ok := ends.Lookup(topic, p)
		if !ok {
			return nil, fmt.Errorf("partition %d has no end", p)
		}
		reads, err := readPartition(ctx, f, p, end.Offset)
		if err != nil {
			return nil, err
		}
		all = append(all, reads...)
	}
	return all, nil
}

func readPartition(ctx context.Context, f *flags, partition int32, end int64) ([]history.Read, error) {
	if end == 0 {
		return nil, nil
	}
	cl, err := client(f, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}))
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
