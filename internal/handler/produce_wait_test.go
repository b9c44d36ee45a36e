package handler

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/vfs"
)

// stall makes every sync of the broker's disk wait until the function it returns is called.
func (b *broker) stall() (release func()) {
	gate := make(chan struct{})
	b.fs.SetHook(func(e vfs.Event) {
		if e.Op == vfs.OpSync || e.Op == vfs.OpSyncFS || e.Op == vfs.OpSyncDir {
			<-gate
		}
	})
	return sync.OnceFunc(func() {
		b.fs.SetHook(nil)
		close(gate)
	})
}

// TestProduceTimesOut: a sync that does not end in time is answered with REQUEST_TIMED_OUT,
// no sooner and no later; the sync's late end disturbs no later request, although calls are pooled.
func TestProduceTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBroker(t)
		defer b.stop()
		b.create("t", 2)
		c := b.dial()
		defer c.close()
		release := b.stall()
		defer release()
		req := produceRequest(9, -1, "t", values("x"))
		req.TimeoutMillis = 1500
		begin := time.Now()
		p := only(t, ask[*kmsg.ProduceResponse](c, req))
		wantCode(t, "sync that never ends", p.ErrorCode, kerr.RequestTimedOut)
		if p.BaseOffset != -1 {
			t.Errorf("base offset %d", p.BaseOffset)
		}
		if took := time.Since(begin); took != 1500*time.Millisecond {
			t.Errorf("answered after %s", took)
		}
		if got := only(t, ask[*kmsg.ProduceResponse](c, produceRequest(9, 1, "t", values("y")))); got.ErrorCode != 0 || got.BaseOffset != 1 {
			t.Errorf("acks=1 does not wait for the sync: %+v", got)
		}
		// The late completion comes while new calls are under way on the pooled objects.
		second := b.dial()
		defer second.close()
		waiting := produceRequest(9, -1, "t", values("z"))
		second.send(waiting)
		synctest.Wait()
		release()
		if got := only(t, answer[*kmsg.ProduceResponse](second, waiting)); got.ErrorCode != 0 || got.BaseOffset != 2 {
			t.Errorf("the one who still waited: %+v", got)
		}
		for i := range int64(8) {
			if got := c.produce("t", values("x")); got != 3+i {
				t.Errorf("batch at %d, want %d", got, 3+i)
			}
		}
	})
}

// TestProduceTimesOutForSome: of several partitions only those that are not committed fail.
func TestProduceTimesOutForSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBroker(t)
		defer b.stop()
		b.create("synced", 1)
		b.create("os", 1, "ack.durability", "os")
		c := b.dial()
		defer c.close()
		release := b.stall()
		defer release()
		req := produceRequest(9, -1, "synced", values("x"))
		req.Topics = append(req.Topics, produceRequest(9, -1, "os", values("x")).Topics...)
		resp := ask[*kmsg.ProduceResponse](c, req)
		wantCode(t, "synced", resp.Topics[0].Partitions[0].ErrorCode, kerr.RequestTimedOut)
		wantCode(t, "os", resp.Topics[1].Partitions[0].ErrorCode, nil)
	})
}

// TestProduceGoesOnWhileItWaits: the next Produce of the connection is written before
// the first is answered, and the answers come in order.
func TestProduceGoesOnWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBroker(t)
		defer b.stop()
		b.create("t", 1)
		c := b.dial()
		defer c.close()
		release := b.stall()
		defer release()
		req := produceRequest(9, -1, "t", values("x"))
		const pipelined = 5
		for range pipelined {
			c.send(req)
		}
		synctest.Wait()
		if end := b.partition("t", 0).Log().EndOffset(); end != pipelined {
			t.Errorf("%d of %d batches are written", end, pipelined)
		}
		release()
		for i := range int64(pipelined) {
			if p := only(t, answer[*kmsg.ProduceResponse](c, req)); p.ErrorCode != 0 || p.BaseOffset != i {
				t.Errorf("answer %d: %+v", i, p)
			}
		}
	})
}

// TestProduceEndsWithThePartition: whoever waits when the topic is deleted, or another
// broker begins to lead, is told so at once.
func TestProduceEndsWithThePartition(t *testing.T) {
	for _, tc := range []struct {
		name  string
		event func(b *broker, c *client)
		want  *kerr.Error
	}{
		{"deleted", func(b *broker, _ *client) {
			topic, _ := b.image.Load().Topic("t")
			b.apply(&metadata.RemoveTopicRecord{TopicID: topic.ID})
		}, kerr.UnknownTopicOrPartition},
		{"connection gone", func(_ *broker, c *client) { c.close() }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startBroker(t)
				defer b.stop()
				b.create("t", 1)
				c := b.dial()
				defer c.close()
				release := b.stall()
				defer release()
				req := produceRequest(9, -1, "t", values("x"))
				c.send(req)
				synctest.Wait()
				go tc.event(b, c) // the deletion of the log waits for the sync, those who wait for the partition do not
				if tc.want != nil {
					p := only(t, answer[*kmsg.ProduceResponse](c, req))
					wantCode(t, tc.name, p.ErrorCode, tc.want)
				}
			})
		})
	}
}

// TestProduceFromManyConnections looks for calls that are shared by mistake: every batch has
// the answer of its own, whatever times out meanwhile.
func TestProduceFromManyConnections(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	const conns, rounds = 8, 60
	for i := range conns {
		b.create(fmt.Sprint("t", i), 1)
	}
	var wg sync.WaitGroup
	for i := range conns {
		c := b.dial()
		defer c.close()
		wg.Go(func() {
			topic := fmt.Sprint("t", i)
			for n := range int64(rounds) {
				req := produceRequest(9, -1, topic, values("x"))
				if n%3 == 1 {
					req.TimeoutMillis = 0
				}
				p := only(t, ask[*kmsg.ProduceResponse](c, req))
				if timedOut := p.ErrorCode == kerr.RequestTimedOut.Code && n%3 == 1; !timedOut && (p.ErrorCode != 0 || p.BaseOffset != n) {
					t.Errorf("%s: batch %d: %+v", topic, n, p)
				}
			}
		})
	}
	wg.Wait()
}
