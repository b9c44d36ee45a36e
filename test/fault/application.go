//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/test/history"
)

// app is an application of franz-go, as those in rolling/ are of other clients: a producer and a consumer, both with default settings,
// that say what they are told.
type app struct {
	brokers    []string
	topic      string
	partitions int
	rate       int
	out        *history.Writer

	pending atomic.Int64   // records that wait for their acknowledgement, and one for all that are not sent yet
	ends    []atomic.Int64 // of what was acknowledged, by partition
}

// runApplication takes BOOTSTRAP TOPIC PARTITIONS RATE and runs until standard input ends and it has everything back.
func runApplication(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("%d arguments, not BOOTSTRAP TOPIC PARTITIONS RATE", len(args))
	}
	count, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	rate, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	a := &app{brokers: strings.Split(args[0], ","), topic: args[1], partitions: count, rate: rate, out: history.NewWriter(os.Stdout), ends: make([]atomic.Int64, count)}
	a.pending.Store(1)
	writing, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is what counts
		stop()
	}()
	go func() {
		for range time.Tick(20 * time.Millisecond) {
			_ = a.out.Flush() // the last one tells
		}
	}()
	var halves sync.WaitGroup
	halves.Go(func() { a.note(producing, a.produce(writing)) })
	halves.Go(func() { a.note(consuming, a.consume(writing)) })
	halves.Wait()
	return a.out.Flush()
}

func (a *app) note(who int32, err error) {
	if err != nil {
		a.out.Failed(who, err)
	}
}

func (a *app) produce(writing context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(a.brokers...), kgo.DefaultProduceTopic(a.topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	tick := time.NewTicker(time.Second / time.Duration(a.rate))
	defer tick.Stop()
	for n := int64(0); ; n++ {
		select {
		case <-writing.Done():
			err := cl.Flush(context.Background())
			a.pending.Add(-1)
			return err
		case <-tick.C:
		}
		id := history.ID{Partition: int32(n % int64(a.partitions)), Seq: n / int64(a.partitions)}
		a.out.Sent(id)
		a.pending.Add(1)
		cl.Produce(context.Background(), &kgo.Record{Partition: id.Partition, Value: history.Value(id, 0)}, func(r *kgo.Record, err error) {
			defer a.pending.Add(-1)
			if err != nil {
				a.out.Failed(producing, err)
				return
			}
			a.out.Acked(id, r.Offset)
			a.out.Progress(producing, id.Partition, time.Now())
			a.ends[id.Partition].Store(r.Offset + 1)
		})
	}
}

func (a *app) consume(writing context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(a.brokers...), kgo.ConsumerGroup(a.topic), kgo.ConsumeTopics(a.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cl.Close()
	next := make([]int64, a.partitions)
	for writing.Err() == nil || a.pending.Load() > 0 || a.behind(next) {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		fetches := cl.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			if e.Err != ctx.Err() {
				a.out.Failed(consuming, e.Err)
			}
		}
		cancel()
		fetches.EachRecord(func(r *kgo.Record) {
			a.out.Consumed(consuming, r.Partition, r.Offset, r.Offset)
			a.out.Progress(consuming, r.Partition, time.Now())
			next[r.Partition] = max(next[r.Partition], r.Offset+1)
		})
	}
	return nil
}

func (a *app) behind(next []int64) bool {
	for p := range a.ends {
		if next[p] < a.ends[p].Load() {
			return true
		}
	}
	return false
}
