package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/moldau/moldau/test/bench/internal/measure"

	"github.com/twmb/franz-go/pkg/kgo"
)

func runE2E(args []string) error {
	c := newConfig("e2e")
	var p producing
	p.flags(c)
	var f fetching
	f.flags(c)
	rate := c.Float64("rate", 1000, "records a second")
	duration := c.Duration("duration", 20*time.Second, "how long to write, warm-up included")
	warmup := c.Duration("warmup", 3*time.Second, "first part that does not count")
	ctx, cancel, err := c.parse(args)
	if err != nil {
		return err
	}
	defer cancel()
	if p.size < measure.StampSize {
		return fmt.Errorf("-size must be at least %d", measure.StampSize)
	}
	// The pacing thread waits in the kernel and must not keep a processor from the others.
	runtime.GOMAXPROCS(runtime.NumCPU() + 1)
	partitions, err := c.ensureTopic(ctx)
	if err != nil {
		return err
	}
	_, next, err := c.bounds(ctx)
	if err != nil {
		return err
	}
	from := map[int32]kgo.Offset{}
	for partition, offset := range next {
		from[partition] = kgo.NewOffset().At(offset)
	}
	consumer, err := c.client(append(f.options(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{c.topic: from}))...)
	if err != nil {
		return err
	}
	defer consumer.Close()
	opts, err := p.options(c)
	if err != nil {
		return err
	}
	producer, err := c.client(opts...)
	if err != nil {
		return err
	}
	defer producer.Close()

	s := measure.NewStamp(*warmup)
	endToEnd, acked, late := measure.NewHistogram(), measure.NewHistogram(), measure.NewHistogram()
	total := int64(*rate * duration.Seconds())
	m := c.meter()
	read := make(chan error, 1)
	go func() {
		var n int64
		for n < total {
			fetches := consumer.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				read <- fmt.Errorf("read %d of %d records: %w", n, total, err)
				return
			}
			now := time.Now()
			fetches.EachRecord(func(r *kgo.Record) {
				if s.Take(r.Value, now, endToEnd) {
					n++
				}
			})
		}
		read <- nil
	}()
	if err := writeStamped(ctx, producer, s, &p, measure.NewPacer(*rate), total, acked, late); err != nil {
		return err
	}
	if err := <-read; err != nil {
		return err
	}
	r := m.Finish(total, total*int64(p.size))
	r.Latency = measure.Summarize(endToEnd)
	r.Extra["ack_latency_us"] = measure.Summarize(acked)
	r.Extra["pacer_late_us"] = measure.Summarize(late) // the harness's own share of both latencies
	r.Extra["topic_partitions"] = partitions
	return r.Print()
}

// writeStamped produces total records at the pacer's rate, or without one as fast as it can, and
// awaits every acknowledgement.
func writeStamped(ctx context.Context, cl *kgo.Client, s *measure.Stamp, p *producing, pace *measure.Pacer, total int64, acked, late *measure.Histogram) error {
	values := measure.Payloads(p.size, p.random)
	failed := make(chan error, 1)
	for n := range total {
		due := pace.Next()
		counts := s.Counts(due)
		if counts {
			late.Record(time.Since(due))
		}
		value := append([]byte(nil), values[n%int64(len(values))]...)
		s.Put(value, due)
		cl.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			} else if counts {
				acked.Record(time.Since(due))
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}
