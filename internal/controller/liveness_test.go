package controller

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// beatOne sends one heartbeat of broker 1.
func beatOne(ctx context.Context, c *Controller, q *fakeQuorum) *kmsg.BrokerHeartbeatResponse {
	b, _ := q.image().Broker(1)
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = 1, b.Epoch, int64(q.image().Offset)
	return c.BrokerHeartbeat(ctx, req)
}

// keepBeating has broker 1 send heartbeats until the function that is returned is called.
func keepBeating(c *Controller, q *fakeQuorum) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			beatOne(ctx, c, q)
			time.Sleep(testConfig.SessionTimeout / 6)
		}
	}()
	return func() { cancel(); <-done }
}

func oneIsFenced(t *testing.T, q *fakeQuorum) bool {
	t.Helper()
	b, ok := q.image().Broker(1)
	if !ok {
		t.Fatal("broker 1 is not registered")
	}
	return b.Fenced
}

func TestSilentBrokerIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startLeading(t, 0)
		var logged bytes.Buffer
		c.deps.Logger = slog.New(slog.NewTextHandler(&logged, nil))
		take(t, goCreate(t.Context(), c, "a"), 1, nil)
		time.Sleep(testConfig.SessionTimeout - time.Millisecond)
		synctest.Wait()
		if oneIsFenced(t, q) {
			t.Fatal("fenced before the end of its session")
		}
		time.Sleep(2 * testConfig.SessionTimeout / looksPerSession)
		synctest.Wait()
		if !oneIsFenced(t, q) {
			t.Fatal("not fenced after the end of its session")
		}
		take(t, goCreate(t.Context(), c, "b"), 1, kerr.InvalidReplicationFactor)
		if resp := beatOne(t.Context(), c, q); resp.ErrorCode != 0 || resp.IsFenced || oneIsFenced(t, q) {
			t.Fatalf("after a heartbeat: %+v", resp)
		}
		c.Stop()
		for _, line := range []string{`msg="broker is fenced" broker=1`, `why="broker 1 was silent for 3`, `msg="partition has no leader" topic=a`,
			`msg="broker is unfenced" broker=1`, `why="broker 1 asked"`, `msg="leader is elected" topic=a partition=0 leader=1 before=-1 epoch=2`} {
			if strings.Count(logged.String(), line) == 0 {
				t.Errorf("no line has %s:\n%s", line, logged.String())
			}
		}
	})
}

// Heartbeats are no changes: a broker that is at work costs no entry.
func TestHeartbeatsKeepABrokerAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startLeading(t, 0)
		stop := keepBeating(c, q)
		time.Sleep(time.Hour)
		stop()
		if e := q.entries(); e != nil || oneIsFenced(t, q) {
			t.Fatalf("entries %v, fenced %v", e, oneIsFenced(t, q))
		}
	})
}

// While nothing is committed, heartbeats are not answered: that is not the broker's fault.
func TestNobodyIsFencedWhileTheQuorumStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startLeading(t, 0)
		stop := keepBeating(c, q)
		time.Sleep(10 * time.Second)
		q.hold(true)
		codes := goCreate(t.Context(), c, "a")
		time.Sleep(time.Minute)
		q.hold(false)
		take(t, codes, 1, nil)
		time.Sleep(10 * time.Second)
		stop()
		if e := q.entries(); len(e) != 1 || oneIsFenced(t, q) {
			t.Fatalf("entries %v, fenced %v", e, oneIsFenced(t, q))
		}
	})
}

func TestBrokerGoneIsFencedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startLeading(t, 0)
		b, _ := q.image().Broker(1)
		c.BrokerGone(1, b.Epoch-1) // another process
		c.BrokerGone(2, 7)
		synctest.Wait()
		if oneIsFenced(t, q) {
			t.Fatal("fenced for another process")
		}
		c.BrokerGone(1, b.Epoch)
		synctest.Wait()
		if !oneIsFenced(t, q) {
			t.Fatal("not fenced")
		}
		// In the middle of what the quorum refuses, the next look makes up for it.
		if resp := beatOne(t.Context(), c, q); resp.IsFenced {
			t.Fatalf("%+v", resp)
		}
		q.mu.Lock()
		q.mu.refuse = 1
		q.mu.Unlock()
		c.BrokerGone(1, b.Epoch)
		synctest.Wait()
		if oneIsFenced(t, q) {
			t.Fatal("fenced by an entry that was refused")
		}
		time.Sleep(testConfig.SessionTimeout / looksPerSession)
		synctest.Wait()
		if !oneIsFenced(t, q) {
			t.Fatal("not fenced by the next look")
		}
	})
}

// A new controller knows nobody's heartbeats: it gives everybody a session time, not less and not more.
func TestNewControllerGivesASessionTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startLeading(t, 0)
		time.Sleep(testConfig.SessionTimeout * 2 / 3)
		q.loseTo(0)
		synctest.Wait()
		time.Sleep(time.Hour)
		leadAndWait(t, c, q)
		synctest.Wait()
		time.Sleep(testConfig.SessionTimeout - time.Millisecond)
		synctest.Wait()
		if oneIsFenced(t, q) {
			t.Fatal("fenced too early")
		}
		time.Sleep(2 * testConfig.SessionTimeout / looksPerSession)
		synctest.Wait()
		if !oneIsFenced(t, q) {
			t.Fatal("not fenced")
		}
	})
}

// A node that is refused is told why, over the wire too.
func TestRegistrationErrorTellsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := startLeading(t, 0)
		second := *brokerOne
		second.IncarnationID = testID(901)
		sent := c.BrokerRegistration(t.Context(), &second)
		got := kmsg.NewPtrBrokerRegistrationResponse()
		got.Version, sent.Version = 4, 4
		if err := got.ReadFrom(sent.AppendTo(nil)); err != nil {
			t.Fatal(err)
		}
		err := RegistrationError(got)
		if !errors.Is(err, kerr.DuplicateBrokerRegistration) || !strings.Contains(err.Error(), "another process is at work as broker 1") {
			t.Fatal(err)
		}
	})
}

// Replication that is not built is refused, however it is asked for.
func TestReplicationMax(t *testing.T) {
	config := testConfig
	config.ReplicationMax = 1
	c := coreWithBrokers(t, 3)
	c.config = config
	assigned := newTopic("assigned", -1, -1)
	assigned.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Replicas: []int32{1, 2}}}
	resp, recs := c.CreateTopics(&kmsg.CreateTopicsRequest{Version: 7, Topics: []kmsg.CreateTopicsRequestTopic{newTopic("a", 1, 2), assigned, newTopic("one", 1, 1)}})
	for i, want := range []int16{kerr.InvalidReplicationFactor.Code, kerr.InvalidReplicationFactor.Code, 0} {
		if got := resp.Topics[i].ErrorCode; got != want {
			t.Errorf("topic %s: %d, want %d", resp.Topics[i].Topic, got, want)
		}
	}
	if len(recs) == 0 {
		t.Error("one replica is refused too")
	}
}
