// Command nats measures NATS JetStream the way bench measures a Kafka broker, with the same JSON output.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/test/bench/internal/measure"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

type load struct {
	*flag.FlagSet
	js      jetstream.JetStream
	nc      *nats.Conn
	stream  jetstream.Stream
	pids    []int
	subject string

	mode     string
	size     int
	records  int
	rate     float64
	duration time.Duration
	warmup   time.Duration
	window   int
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "nats:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) < 2 {
		return errors.New("usage: nats produce|consume|e2e [flags]")
	}
	l := &load{FlagSet: flag.NewFlagSet(os.Args[1], flag.ExitOnError)}
	url := l.String("url", nats.DefaultURL, "server addresses, comma-separated")
	name := l.String("stream", "bench", "stream; created if absent")
	replicas := l.Int("rf", 1, "replicas of a created stream")
	memory := l.Bool("memory", false, "keep a created stream in memory")
	pidList := l.String("pid", "", "server process ids, comma-separated")
	limit := l.Duration("timeout", 5*time.Minute, "give up after this long")
	l.StringVar(&l.mode, "mode", "async", "how to write: async (an ack for each message) or fast (fast batch ingest)")
	l.IntVar(&l.size, "size", 1024, "bytes of a message")
	l.IntVar(&l.records, "records", 0, "messages; 0 for -duration when writing, all when reading")
	l.Float64Var(&l.rate, "rate", 0, "messages a second; 0 for as many as possible (e2e: 1000)")
	l.DurationVar(&l.duration, "duration", 10*time.Second, "how long to write")
	l.DurationVar(&l.warmup, "warmup", 3*time.Second, "e2e: first part that does not count")
	l.IntVar(&l.window, "window", 4000, "unacknowledged messages")
	if err := l.Parse(os.Args[2:]); err != nil {
		return err
	}
	var err error
	if l.pids, err = measure.ParsePIDs(*pidList); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	if l.nc, err = nats.Connect(*url); err != nil {
		return err
	}
	defer l.nc.Close()
	if l.js, err = jetstream.New(l.nc, jetstream.WithPublishAsyncMaxPending(l.window)); err != nil {
		return err
	}
	l.subject = *name + ".x"
	cfg := jetstream.StreamConfig{
		Name: *name, Subjects: []string{*name + ".>"}, Replicas: *replicas,
		AllowBatchPublish: l.mode == "fast", Duplicates: 100 * time.Millisecond,
	}
	if *memory {
		cfg.Storage = jetstream.MemoryStorage
	}
	if l.stream, err = l.js.Stream(ctx, *name); errors.Is(err, jetstream.ErrStreamNotFound) {
		l.stream, err = l.js.CreateStream(ctx, cfg)
	}
	if err != nil {
		return err
	}
	switch l.Name() {
	case "produce":
		return l.produce(ctx)
	case "consume":
		return l.consume(ctx)
	case "e2e":
		return l.e2e(ctx)
	}
	return fmt.Errorf("no command %q", l.Name())
}

func (l *load) produce(ctx context.Context) error {
	values := measure.Payloads(l.size, 1)
	latency := measure.NewHistogram()
	pace := measure.NewPacer(l.rate)
	m := measure.StartMeter(l.FlagSet, l.pids)
	stop := m.Start.Add(l.duration)
	next := func(n int) ([]byte, time.Time, bool) {
		if l.records > 0 && n >= l.records || l.records == 0 && time.Now().After(stop) {
			return nil, time.Time{}, false
		}
		return values[n%len(values)], pace.Next(), true
	}
	n, err := l.write(ctx, next, latency)
	if err != nil {
		return err
	}
	r := m.Finish(int64(n), int64(n*l.size))
	r.Latency = measure.Summarize(latency)
	return r.Print()
}

// write publishes what next gives and awaits the acknowledgements.
func (l *load) write(ctx context.Context, next func(int) ([]byte, time.Time, bool), latency *measure.Histogram) (int, error) {
	if l.mode == "fast" {
		return l.writeFast(ctx, next, latency)
	}
	type flight struct {
		ack jetstream.PubAckFuture
		due time.Time
	}
	flights := make(chan flight, l.window)
	failed := make(chan error, 1)
	go func() {
		var first error
		for f := range flights {
			select {
			case <-f.ack.Ok():
				latency.Record(time.Since(f.due))
			case err := <-f.ack.Err():
				first = errors.Join(first, err)
			case <-ctx.Done():
				first = ctx.Err()
			}
		}
		failed <- first
	}()
	n := 0
	for ; ; n++ {
		value, due, ok := next(n)
		if !ok {
			break
		}
		ack, err := l.js.PublishAsync(l.subject, value)
		if err != nil {
			return n, err
		}
		flights <- flight{ack, due}
	}
	close(flights)
	return n, <-failed
}

// writeFast uses fast batch ingest, whose acknowledgements each cover many messages: the place in the
// batch and what to do with the message travel in the reply subject.
func (l *load) writeFast(ctx context.Context, next func(int) ([]byte, time.Time, bool), latency *measure.Histogram) (int, error) {
	const (
		start, appendTo, commit = 0, 1, 2
		flow                    = 500 // the most messages that the server acknowledges at once
	)
	inbox := nats.NewInbox()
	var mu sync.Mutex
	due := map[uint64]time.Time{}
	var acked atomic.Uint64
	moved := make(chan struct{}, 1)
	done := make(chan error, 1)
	sub, err := l.nc.Subscribe(inbox+".>", func(msg *nats.Msg) {
		var ack struct {
			Type  string          `json:"type"`
			Seq   uint64          `json:"seq"`
			Count uint64          `json:"count"`
			Error json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal(msg.Data, &ack); err != nil || ack.Error != nil {
			done <- fmt.Errorf("%w %s", err, msg.Data)
			return
		}
		upTo := ack.Seq
		if ack.Type == "" { // the batch's own acknowledgement
			upTo = ack.Count
			defer func() { done <- nil }()
		}
		now := time.Now()
		mu.Lock()
		for s := acked.Load() + 1; s <= upTo; s++ {
			latency.Record(now.Sub(due[s]))
			delete(due, s)
		}
		mu.Unlock()
		acked.Store(max(upTo, acked.Load()))
		select {
		case moved <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return 0, err
	}
	defer sub.Unsubscribe()
	prefix := inbox + "." + nats.NewInbox()[len(nats.InboxPrefix):] + "." + strconv.Itoa(flow) + ".fail."
	send := func(seq uint64, op int, value []byte) error {
		return l.nc.PublishRequest(l.subject, prefix+strconv.FormatUint(seq, 10)+"."+strconv.Itoa(op)+".$FI", value)
	}
	n := 0
	for ; ; n++ {
		value, at, ok := next(n)
		if !ok {
			break
		}
		for seq := uint64(n + 1); seq > acked.Load()+uint64(l.window); {
			select {
			case <-moved:
			case err := <-done:
				return n, err
			case <-ctx.Done():
				return n, ctx.Err()
			}
		}
		mu.Lock()
		due[uint64(n+1)] = at
		mu.Unlock()
		op := appendTo
		if n == 0 {
			op = start
		}
		if err := send(uint64(n+1), op, value); err != nil {
			return n, err
		}
	}
	mu.Lock()
	due[uint64(n+1)] = time.Now()
	mu.Unlock()
	if err := send(uint64(n+1), commit, make([]byte, l.size)); err != nil {
		return n, err
	}
	select {
	case err := <-done:
		return n + 1, err
	case <-ctx.Done():
		return n, ctx.Err()
	}
}

func (l *load) consume(ctx context.Context) error {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return err
	}
	target := l.records
	if target == 0 {
		target = int(info.State.Msgs)
	}
	consumer, err := l.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	m := measure.StartMeter(l.FlagSet, l.pids)
	done := make(chan struct{})
	n, bytes := 0, 0
	reading, err := consumer.Consume(func(msg jetstream.Msg) {
		if n++; n <= target {
			bytes += len(msg.Data())
		}
		if n == target {
			close(done)
		}
	}, jetstream.PullMaxMessages(10_000))
	if err != nil {
		return err
	}
	defer reading.Stop()
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	return m.Finish(int64(target), int64(bytes)).Print()
}

func (l *load) e2e(ctx context.Context) error {
	runtime.GOMAXPROCS(runtime.NumCPU() + 1) // the pacing thread waits in the kernel
	if l.rate == 0 {
		l.rate = 1000
	}
	s := measure.NewStamp(l.warmup)
	total := int(l.rate * l.duration.Seconds())
	consumer, err := l.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy})
	if err != nil {
		return err
	}
	endToEnd, acked := measure.NewHistogram(), measure.NewHistogram()
	done := make(chan struct{})
	n := 0
	reading, err := consumer.Consume(func(msg jetstream.Msg) {
		if s.Take(msg.Data(), time.Now(), endToEnd) {
			if n++; n == total {
				close(done)
			}
		}
	})
	if err != nil {
		return err
	}
	defer reading.Stop()
	time.Sleep(200 * time.Millisecond) // the consumer begins with what is new once it exists
	values := measure.Payloads(l.size, 1)
	pace := measure.NewPacer(l.rate)
	m := measure.StartMeter(l.FlagSet, l.pids)
	if _, err := l.write(ctx, func(i int) ([]byte, time.Time, bool) {
		if i >= total {
			return nil, time.Time{}, false
		}
		value := append([]byte(nil), values[i%len(values)]...)
		due := pace.Next()
		s.Put(value, due)
		return value, due, true
	}, acked); err != nil {
		return err
	}
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("read %d of %d: %w", n, total, ctx.Err())
	}
	r := m.Finish(int64(total), int64(total*l.size))
	r.Latency = measure.Summarize(endToEnd)
	r.Extra["ack_latency_us"] = measure.Summarize(acked)
	return r.Print()
}
