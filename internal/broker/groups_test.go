package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/vfs"
)

// reads are the records that the members of a group have seen, with how often.
type reads struct {
	mu struct {
		sync.Mutex
		seen map[string]int
	}
}

func (r *reads) add(value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.seen == nil {
		r.mu.seen = make(map[string]int)
	}
	r.mu.seen[value]++
}

func (r *reads) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.mu.seen)
}

// member joins a group and reads until ctx ends, then commits and leaves.
func member(ctx context.Context, t *testing.T, b *Broker, group string, r *reads) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.ConsumerGroup(group), kgo.ConsumeTopics("t"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll())
	if err != nil {
		t.Error(err)
		return
	}
	defer cl.CloseAllowingRebalance()
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		fetches.EachError(func(topic string, p int32, err error) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s-%d: %v", topic, p, err)
			}
		})
		fetches.EachRecord(func(rec *kgo.Record) { r.add(string(rec.Value)) })
		if err := cl.CommitUncommittedOffsets(context.Background()); err != nil {
			t.Errorf("commit: %v", err)
		}
		cl.AllowRebalance()
	}
}

func writeValues(t *testing.T, b *Broker, from, to int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.DefaultProduceTopic("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i := from; i < to; i++ {
		cl.Produce(t.Context(), kgo.StringRecord(fmt.Sprint(i)), func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// A group of two reads everything; one leaves, the other reads on; after a restart the group goes on where it
// has committed.
func TestGroupGoesOnAfterARestart(t *testing.T) {
	disk := vfs.NewMem()
	b := started(t, disk, [2]string{"group.initial.rebalance.delay.ms", "100"})
	produce(t, b, "t")
	writeValues(t, b, 0, 1000)
	var r reads
	ctx, cancel := context.WithCancel(t.Context())
	var members sync.WaitGroup
	members.Go(func() { member(ctx, t, b, "g", &r) })
	first, leave := context.WithCancel(ctx)
	members.Go(func() { member(first, t, b, "g", &r) })
	waitUntil(t, "everything read", func() bool { return r.count() == 1000+1 }) // and hello
	leave()
	writeValues(t, b, 1000, 2000)
	waitUntil(t, "everything read by one", func() bool { return r.count() == 2000+1 })
	cancel()
	members.Wait()
	stopped(t, b)

	b = started(t, disk, [2]string{"group.initial.rebalance.delay.ms", "0"})
	defer stopped(t, b)
	writeValues(t, b, 2000, 2100)
	var after reads
	ctx, cancel = context.WithCancel(t.Context())
	members.Go(func() { member(ctx, t, b, "g", &after) })
	waitUntil(t, "the rest read", func() bool { return after.count() >= 100 })
	cancel()
	members.Wait()
	if n := after.count(); n != 100 {
		t.Errorf("%d records were read after the restart, and 100 are new", n)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	lag, err := kadm.NewClient(cl).Lag(t.Context(), "g")
	if err != nil || lag["g"].Lag.Total() != 0 {
		t.Errorf("lag %v, %v", lag["g"].Lag.Total(), err)
	}
}
