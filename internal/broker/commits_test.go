package broker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/vfs"
)

// commits is what a group has committed for a partition: the last offset that was acknowledged, and the last one
// that was sent.
type commits struct {
	mu struct {
		sync.Mutex
		acked, sent int64
	}
}

func (c *commits) bounds() (acked, sent int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.acked, c.mu.sent
}

func (c *commits) note(acked, sent int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.acked, c.mu.sent = max(c.mu.acked, acked), max(c.mu.sent, sent)
}

// keepCommitting commits one offset after the other until ctx ends.
func keepCommitting(ctx context.Context, t *testing.T, admin *kadm.Client, group string, c *commits) {
	for o := int64(1); ctx.Err() == nil; o++ {
		c.note(0, o)
		offsets := make(kadm.Offsets)
		offsets.AddOffset("t", 0, o, -1)
		resp, err := admin.CommitOffsets(context.Background(), group, offsets)
		if err == nil {
			err = resp.Error()
		}
		if err != nil {
			t.Errorf("commit %d of %s: %v", o, group, err)
			return
		}
		c.note(o, 0)
	}
}

// An offset that was acknowledged does not go back with a power cut, whatever the disk has of what was not synced; and
// none comes that was not sent.
func TestCommitsSurvivePowerCuts(t *testing.T) {
	cuts := 25
	if testing.Short() {
		cuts = 6
	}
	disk := vfs.NewMem()
	b := started(t, slowDisk(disk))
	produce(t, b, "t")
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	admin := kadm.NewClient(cl)
	groups := make(map[string]*commits)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range 4 {
		name, c := fmt.Sprint("group-", i), new(commits)
		groups[name] = c
		all.Go(func() { keepCommitting(ctx, t, admin, name, c) })
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for cut := range cuts {
		least := moveOn(t, groups, 1+rng.Int64N(20))
		if least == nil {
			break
		}
		clone := disk.CrashClone(vfs.SomeUnsynced, uint64(cut))
		judgeCommits(t, clone, groups, least)
		if t.Failed() {
			break
		}
	}
	cancel()
	all.Wait()
	cl.Close()
	stopped(t, b)
}

// slowDisk is a disk whose syncs take as long as those of a real one: in memory an answer that does not wait for its sync
// hardly ever overtakes it.
func slowDisk(disk *vfs.Mem) vfs.FS {
	f := vfs.NewFault(disk)
	f.SetHook(func(e vfs.Event) {
		if e.Op == vfs.OpSync || e.Op == vfs.OpSyncFS {
			time.Sleep(time.Millisecond)
		}
	})
	return f
}

// moveOn waits until every group has come so much further, and returns what each has had acknowledged by then.
func moveOn(t *testing.T, groups map[string]*commits, by int64) map[string]int64 {
	t.Helper()
	for name, c := range groups {
		from, _ := c.bounds()
		waitUntil(t, "commits of "+name, func() bool {
			acked, _ := c.bounds()
			return acked >= from+by || t.Failed()
		})
	}
	if t.Failed() {
		return nil
	}
	acked := make(map[string]int64)
	for name, c := range groups {
		acked[name], _ = c.bounds()
	}
	return acked
}

// judgeCommits starts a broker on what a power cut has left and asks it what every group has committed.
func judgeCommits(t *testing.T, disk *vfs.Mem, groups map[string]*commits, least map[string]int64) {
	t.Helper()
	most := make(map[string]int64)
	for name, c := range groups {
		_, most[name] = c.bounds()
	}
	b := started(t, disk)
	defer stopped(t, b)
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for name := range groups {
		offsets, err := kadm.NewClient(cl).FetchOffsets(t.Context(), name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		o, ok := offsets.Lookup("t", 0)
		if !ok || o.At < least[name] || o.At > most[name] {
			t.Errorf("%s: offset %d (found: %v), acknowledged was %d, sent %d", name, o.At, ok, least[name], most[name])
		}
	}
}
