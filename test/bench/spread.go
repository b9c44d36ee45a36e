package main

import (
	"sync"
	"time"

	"github.com/moldau/moldau/test/bench/internal/measure"

	"github.com/twmb/franz-go/pkg/kgo"
)

// runSpread writes one record to each partition at the same time, awaits them all, and begins again.
func runSpread(args []string) error {
	c := newConfig("spread")
	var p producing
	p.flags(c)
	clients := c.Int("clients", 1, "client connections, which share the partitions")
	duration := c.Duration("duration", 30*time.Second, "how long to write")
	ctx, cancel, err := c.parse(args)
	if err != nil {
		return err
	}
	defer cancel()
	partitions, err := c.ensureTopic(ctx)
	if err != nil {
		return err
	}
	opts, err := p.options(c)
	if err != nil {
		return err
	}
	writers := make([]*kgo.Client, *clients)
	for i := range writers {
		if writers[i], err = c.client(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...); err != nil {
			return err
		}
		defer writers[i].Close()
	}
	value := measure.Payloads(p.size, p.random)[0]
	latency := measure.NewHistogram()
	round := func(counts bool) error {
		var wg sync.WaitGroup
		var mu sync.Mutex // guards latency and failed
		var failed error
		wg.Add(partitions)
		start := time.Now()
		for i := range partitions {
			record := &kgo.Record{Topic: c.topic, Partition: int32(i), Value: value}
			writers[i%len(writers)].Produce(ctx, record, func(_ *kgo.Record, err error) {
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed = err
				} else if counts {
					latency.Record(time.Since(start))
				}
				wg.Done()
			})
		}
		wg.Wait()
		return failed
	}
	// The first round opens the connections and, on some brokers, the partitions' files.
	if err := round(false); err != nil {
		return err
	}
	rounds := int64(0)
	m := c.meter()
	for time.Since(m.Start) < *duration {
		if err := round(true); err != nil {
			return err
		}
		rounds++
	}
	n := rounds * int64(partitions)
	r := m.Finish(n, n*int64(p.size))
	r.Latency = measure.Summarize(latency)
	r.Extra["rounds"], r.Extra["topic_partitions"] = rounds, partitions
	return r.Print()
}
