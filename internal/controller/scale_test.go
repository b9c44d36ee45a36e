package controller

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// manyPartitions are ways to ask for n partitions.
var manyPartitions = map[string]func(n int) []*kmsg.CreateTopicsRequest{
	"one topic": func(n int) []*kmsg.CreateTopicsRequest {
		return []*kmsg.CreateTopicsRequest{{Version: 7, Topics: []kmsg.CreateTopicsRequestTopic{newTopic("a", int32(n), 1)}}}
	},
	"many topics": func(n int) (reqs []*kmsg.CreateTopicsRequest) {
		for i := range n {
			reqs = append(reqs, &kmsg.CreateTopicsRequest{Version: 7, Topics: []kmsg.CreateTopicsRequestTopic{newTopic(fmt.Sprint("t.", i), 1, 1)}})
		}
		return reqs
	},
}

// createAll has the requests decided, replayed and committed, 64 at a time.
func createAll(t testing.TB, reqs []*kmsg.CreateTopicsRequest, partitions int) {
	t.Helper()
	c, q := startFake(t, 0)
	leadAndWait(t, c, q)
	startBrokerOne(t, c)
	slots, done := make(chan struct{}, 64), make(chan int16, len(reqs))
	for _, req := range reqs {
		slots <- struct{}{}
		go func() {
			done <- c.CreateTopics(t.Context(), req).Topics[0].ErrorCode
			<-slots
		}()
	}
	take(t, done, len(reqs), nil)
	if n := q.image().PartitionCount(); n != partitions {
		t.Fatalf("%d partitions", n)
	}
}

// A partition costs about the same among 8,000 as among 1,000: nothing copies, or walks over a copy of, all
// that there is for each decision.
func TestPartitionsCostTheSameAmongMany(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("the race detector allocates too")
	}
	for name, requests := range manyPartitions {
		t.Run(name, func(t *testing.T) {
			each := func(n int) float64 {
				reqs := requests(n)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				createAll(t, reqs, n)
				runtime.ReadMemStats(&after)
				return float64(after.TotalAlloc-before.TotalAlloc) / float64(n)
			}
			few, many := each(1000), each(8000)
			t.Logf("%.0f bytes a partition among 1,000, %.0f among 8,000", few, many)
			if many > 2*few {
				t.Errorf("a partition costs %.0f bytes among 8,000, and %.0f among 1,000", many, few)
			}
		})
	}
}

func BenchmarkFiveThousandPartitions(b *testing.B) {
	for name, requests := range manyPartitions {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				createAll(b, requests(5000), 5000)
			}
		})
	}
}

// BenchmarkFence decides that one of three brokers is gone, which leads a third of 30,000 partitions.
func BenchmarkFence(b *testing.B) {
	c := coreWithBrokers(b, 3)
	for i := range 30 {
		req := &kmsg.CreateTopicsRequest{Version: 7, Topics: []kmsg.CreateTopicsRequestTopic{newTopic(fmt.Sprint("t", i), 1000, 3)}}
		_, recs := c.CreateTopics(req)
		mustAccept(b, c, recs)
	}
	c.Commit(c.pending, true)
	broker, _ := c.committed.Broker(1)
	for b.Loop() {
		c.Gone(1, broker.Epoch, testTime)
		recs := c.Expire(testTime).Records
		if len(recs) != 30_001 {
			b.Fatal(len(recs))
		}
		mustAccept(b, c, recs)
		c.Reset(c.committed)
	}
}
