package controller

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// 5,000 partitions, of one topic or of as many topics in as many requests, are made
// in well under a second, deciding, replaying and committing together. The best of
// three rounds counts, and the bound is some ten times what it takes.
func TestFiveThousandPartitionsAreQuick(t *testing.T) {
	const partitions, limit = 5000, time.Second
	if testing.Short() || raceDetector {
		t.Skip("measures time")
	}
	requests := map[string]func() []*kmsg.CreateTopicsRequest{
		"one topic": func() []*kmsg.CreateTopicsRequest {
			return []*kmsg.CreateTopicsRequest{{Version: 7, Topics: []kmsg.CreateTopicsRequestTopic{newTopic("a", partitions, 1)}}}
		},
		"many topics": func() (reqs []*kmsg.CreateTopicsRequest) {
			for i := range partitions {
				reqs = append(reqs, &kmsg.CreateTopicsRequest{Version: 7, Topics: []kmsg.CreateTopicsRequestTopic{newTopic(fmt.Sprint("t.", i), 1, 1)}})
			}
			return reqs
		},
	}
	for name, requests := range requests {
		t.Run(name, func(t *testing.T) {
			best := time.Hour
			for range 3 {
				c, q := startFake(t, 0)
				leadAndWait(t, c, q)
				if _, err := c.RegisterBroker(t.Context(), brokerOne); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				slots, done := make(chan struct{}, 64), make(chan int16, partitions)
				reqs := requests()
				for _, req := range reqs {
					slots <- struct{}{}
					go func() {
						done <- c.CreateTopics(t.Context(), req).Topics[0].ErrorCode
						<-slots
					}()
				}
				take(t, done, len(reqs), nil)
				best = min(best, time.Since(begin))
				if n := q.image().PartitionCount(); n != partitions {
					t.Fatalf("%d partitions", n)
				}
			}
			t.Logf("%v", best)
			if best > limit {
				t.Errorf("%v, want at most %v", best, limit)
			}
		})
	}
}
