package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/test/bench/internal/measure"

	"github.com/twmb/franz-go/pkg/kgo"
)

// producing holds the flags of the commands that write with a client library.
type producing struct {
	size        int
	acks        string
	compression string
	random      float64
	linger      time.Duration
	batch       int
	idempotent  bool
}

func (p *producing) flags(c *config) {
	c.IntVar(&p.size, "size", 1024, "bytes of a record's value")
	c.StringVar(&p.acks, "acks", "all", "0, 1 or all")
	c.StringVar(&p.compression, "compression", "none", "none, gzip, snappy, lz4 or zstd")
	c.Float64Var(&p.random, "random", 1, "share of each value that does not compress")
	c.DurationVar(&p.linger, "linger", 0, "time to wait for a batch to fill")
	c.IntVar(&p.batch, "batch", 1_000_000, "greatest batch in bytes")
	c.BoolVar(&p.idempotent, "idempotent", false, "idempotent producer; needs acks all")
}

func (p *producing) options(c *config) ([]kgo.Opt, error) {
	acks := map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()}
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	a, ok := acks[p.acks]
	if !ok {
		return nil, fmt.Errorf("no acks %q", p.acks)
	}
	codec, ok := codecs[p.compression]
	if !ok {
		return nil, fmt.Errorf("no compression %q", p.compression)
	}
	opts := []kgo.Opt{
		kgo.DefaultProduceTopic(c.topic),
		kgo.RequiredAcks(a),
		kgo.ProducerBatchCompression(codec),
		kgo.ProducerLinger(p.linger),
		kgo.ProducerBatchMaxBytes(int32(p.batch)),
		kgo.MaxBufferedRecords(max(20_000, 64<<20/max(p.size, 1))),
	}
	if !p.idempotent {
		opts = append(opts, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(5))
	}
	return opts, nil
}

func runProduce(args []string) error {
	c := newConfig("produce")
	var p producing
	p.flags(c)
	clients := c.Int("clients", 1, "client connections")
	rate := c.Float64("rate", 0, "records a second of all clients together; 0 for as many as possible")
	records := c.Int64("records", 0, "records to write; 0 to write for -duration")
	duration := c.Duration("duration", 10*time.Second, "how long to write")
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
	writers := make([]*writer, *clients)
	for i := range writers {
		cl, err := c.client(opts...)
		if err != nil {
			return err
		}
		defer cl.Close()
		// One record ahead of the measurement opens the connections.
		if err := cl.ProduceSync(ctx, &kgo.Record{Value: make([]byte, p.size)}).FirstErr(); err != nil {
			return err
		}
		writers[i] = &writer{cl: cl, values: measure.Payloads(p.size, p.random), latency: measure.NewHistogram()}
	}

	m := c.meter()
	stop := m.Start.Add(*duration)
	quota := (*records + int64(*clients) - 1) / int64(*clients)
	var wg sync.WaitGroup
	for _, w := range writers {
		wg.Go(func() {
			w.run(ctx, measure.NewPacer(*rate/float64(*clients)), func(n int64) bool {
				if quota > 0 {
					return n < quota
				}
				return time.Now().Before(stop)
			})
		})
	}
	wg.Wait()
	var n int64
	var latencies []*measure.Histogram
	for _, w := range writers {
		if err := w.err.Load(); err != nil {
			return *err
		}
		n += w.acked
		latencies = append(latencies, w.latency)
	}
	r := m.Finish(n, n*int64(p.size))
	r.Latency = measure.Summarize(latencies...)
	r.Extra["topic_partitions"] = partitions
	return r.Print()
}

// A writer produces with one client; its promises run one at a time.
type writer struct {
	cl      *kgo.Client
	values  [][]byte
	latency *measure.Histogram // from the call, or the time a paced record was due, to the acknowledgement
	acked   int64
	err     atomic.Pointer[error]
}

// run writes while more says so and waits for every acknowledgement.
func (w *writer) run(ctx context.Context, pace *measure.Pacer, more func(n int64) bool) {
	const sample = 16 // at full speed, time one record in so many
	count := func(_ *kgo.Record, err error) { w.done(err) }
	for n := int64(0); w.err.Load() == nil && more(n); n++ {
		promise := count
		if pace != nil || n%sample == 0 {
			start := pace.Next()
			promise = func(_ *kgo.Record, err error) {
				w.latency.Record(time.Since(start))
				w.done(err)
			}
		}
		w.cl.Produce(ctx, &kgo.Record{Value: w.values[n%int64(len(w.values))]}, promise)
	}
	if err := w.cl.Flush(ctx); err != nil {
		w.err.CompareAndSwap(nil, &err)
	}
}

func (w *writer) done(err error) {
	if err != nil {
		w.err.CompareAndSwap(nil, &err)
		return
	}
	w.acked++
}
