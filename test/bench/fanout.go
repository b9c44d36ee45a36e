package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/moldau/moldau/test/bench/internal/measure"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A reader is one consumer group of a fan-out; each has a single member.
type reader struct {
	cl      *kgo.Client
	latency *measure.Histogram
	ready   chan struct{}       // closed when the group has seen the first record
	start   chan *measure.Stamp // the mark of the records to count
	err     error
}

func runFanout(args []string) error {
	c := newConfig("fanout")
	var p producing
	p.flags(c)
	var f fetching
	f.flags(c)
	groups := c.Int("groups", 4, "consumer groups")
	rate := c.Float64("rate", 0, "records a second; 0 for as many as possible")
	records := c.Int64("records", 200_000, "records to write")
	warmup := c.Duration("warmup", 0, "first part whose latency does not count")
	ctx, cancel, err := c.parse(args)
	if err != nil {
		return err
	}
	defer cancel()
	if p.size < measure.StampSize {
		return fmt.Errorf("-size must be at least %d", measure.StampSize)
	}
	runtime.GOMAXPROCS(runtime.NumCPU() + 1) // see runE2E
	c.topic = fmt.Sprintf("%s-%d", c.topic, time.Now().UnixNano())
	if _, err := c.ensureTopic(ctx); err != nil {
		return err
	}
	opts, err := p.options(c)
	if err != nil {
		return err
	}
	producer, err := c.client(opts...)
	if err != nil {
		return err
	}
	defer producer.Close()

	// A first record tells when every group has joined; the measurement starts then.
	if err := producer.ProduceSync(ctx, &kgo.Record{}).FirstErr(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	readers := make([]*reader, *groups)
	for i := range readers {
		cl, err := c.client(append(f.options(), kgo.ConsumeTopics(c.topic), kgo.DisableAutoCommit(),
			kgo.ConsumerGroup(fmt.Sprintf("%s-%d", c.topic, i)),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
		if err != nil {
			return err
		}
		defer cl.Close()
		r := &reader{cl: cl, latency: measure.NewHistogram(), ready: make(chan struct{}), start: make(chan *measure.Stamp, 1)}
		readers[i] = r
		wg.Go(func() { r.err = r.read(ctx, *records) })
	}
	joining := time.Now()
	for _, r := range readers {
		select {
		case <-r.ready:
		case <-ctx.Done():
			return fmt.Errorf("the groups did not join: %w", ctx.Err())
		}
	}
	joined := time.Since(joining)

	s := measure.NewStamp(*warmup)
	for _, r := range readers {
		r.start <- s
	}
	m := c.meter()
	acked, late := measure.NewHistogram(), measure.NewHistogram()
	if err := writeStamped(ctx, producer, s, &p, measure.NewPacer(*rate), *records, acked, late); err != nil {
		return err
	}
	written := time.Since(m.Start)
	wg.Wait()
	r := m.Finish(*records*int64(*groups), *records*int64(*groups)*int64(p.size)) // what left the broker
	var latencies []*measure.Histogram
	for _, r := range readers {
		if r.err != nil {
			return r.err
		}
		latencies = append(latencies, r.latency)
	}
	r.Latency = measure.Summarize(latencies...)
	r.Extra["ack_latency_us"] = measure.Summarize(acked)
	r.Extra["written_mb_s"] = measure.Round(float64(*records) * float64(p.size) / 1e6 / written.Seconds())
	r.Extra["join_s"] = measure.Round(joined.Seconds())
	return r.Print()
}

// read takes the first record and then counts the run's until all have come.
func (r *reader) read(ctx context.Context, total int64) error {
	for n := 0; n == 0; {
		fetches := r.cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("joining: %w", err)
		}
		n = fetches.NumRecords()
	}
	close(r.ready)
	var s *measure.Stamp
	select {
	case s = <-r.start:
	case <-ctx.Done():
		return ctx.Err()
	}
	for n := int64(0); n < total; {
		fetches := r.cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read %d of %d records: %w", n, total, err)
		}
		now := time.Now()
		fetches.EachRecord(func(rec *kgo.Record) {
			if s.Take(rec.Value, now, r.latency) {
				n++
			}
		})
	}
	return nil
}
