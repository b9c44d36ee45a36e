package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// writeEvery is the pause after each acknowledged write to a partition.
	writeEvery = 5 * time.Millisecond
	// The client asks anew soon after each failure, and gives up a request to a broker that does not answer after
	// their sum: what is measured shall be the cluster's share.
	retryBackoff    = 20 * time.Millisecond
	produceTimeout  = 500 * time.Millisecond
	requestOverhead = 500 * time.Millisecond
)

// ackWriter writes one record after the other to each partition, with one client, acks=all.
type ackWriter struct {
	client   *kgo.Client
	topic    string
	cancel   context.CancelFunc
	writers  sync.WaitGroup
	acked    atomic.Int64
	mu       sync.Mutex
	began    time.Time       // of the last fault
	over     time.Time       // from when on the lost broker has no part in a write
	back     []time.Duration // for each partition, from began to the first acknowledgement of a write begun after over; 0: none yet
	backward chan struct{}   // has room for one; told of each
}

func startWriter(c *config, partitions int) (*ackWriter, error) {
	cl, err := c.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.MetadataMinAge(retryBackoff), kgo.RetryBackoffFn(func(int) time.Duration { return retryBackoff }),
		kgo.ProduceRequestTimeout(produceTimeout), kgo.RequestTimeoutOverhead(requestOverhead))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &ackWriter{client: cl, topic: c.topic, cancel: cancel, back: make([]time.Duration, partitions), backward: make(chan struct{}, 1)}
	for p := range partitions {
		w.writers.Go(func() { w.write(ctx, int32(p)) })
	}
	return w, nil
}

// stop returns how many records were acknowledged.
func (w *ackWriter) stop() int64 {
	w.cancel()
	w.writers.Wait()
	w.client.Close()
	return w.acked.Load()
}

func (w *ackWriter) write(ctx context.Context, partition int32) {
	for ctx.Err() == nil {
		begun := time.Now()
		r := &kgo.Record{Topic: w.topic, Partition: partition, Value: []byte("failover")}
		if w.client.ProduceSync(ctx, r).FirstErr() != nil {
			continue
		}
		w.acked.Add(1)
		w.acknowledged(partition, begun)
		time.Sleep(writeEvery)
	}
}

func (w *ackWriter) acknowledged(partition int32, begun time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over.IsZero() || begun.Before(w.over) || w.back[partition] != 0 {
		return
	}
	w.back[partition] = time.Since(w.began)
	select {
	case w.backward <- struct{}{}:
	default:
	}
}

// lost tells of a fault.
func (w *ackWriter) lost(began, over time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.began, w.over = began, over
	clear(w.back)
}

// await returns once all given partitions have been written to since the fault, or ctx is done: how long it took each, in ms.
func (w *ackWriter) await(ctx context.Context, partitions []int32) []float64 {
	for {
		took := w.since(partitions)
		if len(took) == len(partitions) {
			return took
		}
		select {
		case <-w.backward:
		case <-ctx.Done():
			return took
		}
	}
}

func (w *ackWriter) since(partitions []int32) (took []float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range partitions {
		if d := w.back[p]; d != 0 {
			took = append(took, milliseconds(d))
		}
	}
	return took
}
