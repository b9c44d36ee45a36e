package runtime

import (
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/partition"
)

// clocked is a fixture whose shard writes down its ticks, in time since the beginning.
type clocked struct {
	*fixture
	began time.Time
	again time.Duration // what is due after a tick; 0 for nothing
	more  int           // ticks that leave due what was

	mu struct {
		sync.Mutex
		ticks []time.Duration
	}
}

func newClocked(t *testing.T) *clocked {
	c := &clocked{fixture: newFixture(t, 1, partition.DurabilityAuto), began: time.Now()}
	c.prepare = func(k *kv) {
		k.onTick = func(now time.Time) Effects {
			c.mu.Lock()
			c.mu.ticks = append(c.mu.ticks, now.Sub(c.began))
			c.mu.Unlock()
			due := time.Time{}
			switch {
			case c.more > 0:
				c.more--
				due = k.due
			case c.again > 0:
				due = now.Add(c.again)
			}
			return Effects{Records: []Record{{[]byte("ticked"), []byte("x")}}, Applied: func() { k.due = due }}
		}
	}
	c.Elected(0, 0)
	synctest.Wait()
	return c
}

// wake asks for a tick at a time since the beginning.
func (c *clocked) wake(t *testing.T, at time.Duration) {
	t.Helper()
	c.want(t, wake{c.began.Add(at)}, "ok")
}

// wantTicks lets time pass until a time since the beginning, and then wants these ticks to have been.
func (c *clocked) wantTicks(t *testing.T, until time.Duration, want ...time.Duration) {
	t.Helper()
	time.Sleep(time.Until(c.began.Add(until)))
	synctest.Wait()
	if got := c.ticked(); !slices.Equal(got, want) {
		t.Fatalf("after %v ticks at %v, want %v", until, got, want)
	}
}

func (c *clocked) ticked() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.mu.ticks)
}

func TestTickWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked(t)
		c.wake(t, 10*time.Second)
		c.wantTicks(t, 10*time.Second-1)
		c.wantTicks(t, time.Hour, 10*time.Second)
		c.want(t, get{"ticked"}, "x")
		c.wake(t, time.Minute) // long ago
		c.wantTicks(t, time.Hour+1, 10*time.Second, time.Hour)
	})
}

func TestDueChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked(t)
		c.wake(t, 10*time.Second)
		c.wake(t, 20*time.Second) // put off
		c.wantTicks(t, 15*time.Second)
		c.wake(t, 17*time.Second) // brought forward
		c.wantTicks(t, 30*time.Second, 17*time.Second)
		c.wake(t, 40*time.Second)
		c.want(t, wake{}, "ok") // never
		c.wantTicks(t, time.Minute, 17*time.Second)
		c.again = 5 * time.Second
		c.wake(t, 70*time.Second)
		c.wantTicks(t, 81*time.Second, 17*time.Second, 70*time.Second, 75*time.Second, 80*time.Second)
	})
}

// TestTickThatLeavesMore: a shard may do what is due piece by piece.
func TestTickThatLeavesMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked(t)
		c.more = 2
		c.wake(t, 10*time.Second)
		c.wantTicks(t, time.Hour, 10*time.Second, 10*time.Second, 10*time.Second)
	})
}

// TestTickOutrun: a timer that fires while an event puts off what is due does not tick.
func TestTickOutrun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked(t)
		c.wake(t, 10*time.Second)
		l := c.life(0)
		l.mu.Lock()
		time.Sleep(10 * time.Second) // the timer has fired, and its goroutine waits for the lock
		l.mu.shard.(*kv).due = c.began.Add(time.Minute)
		l.mu.Unlock()
		c.wantTicks(t, 59*time.Second)
		c.wantTicks(t, time.Hour, time.Minute)
	})
}

// TestFailingTickIsNotHurried: where the records of a tick cannot be written the shard is as due as before.
func TestFailingTickIsNotHurried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked(t)
		fault := c.failWrites(syscall.ENOSPC, 0)
		c.wake(t, time.Second)
		c.wantTicks(t, 2*time.Second+1, time.Second, time.Second+tickRetry, time.Second+2*tickRetry)
		fault.Remove()
		c.wantTicks(t, time.Hour, time.Second, time.Second+tickRetry, time.Second+2*tickRetry, time.Second+3*tickRetry)
		c.wantLogged(t, "level=WARN", "could not be written")
	})
}

func TestDiscardedShardDoesNotTick(t *testing.T) {
	for name, end := range map[string]func(c *clocked){
		"resigned": func(c *clocked) { c.Resigned(0) },
		"stopped":  func(c *clocked) { c.Stop() },
		"fenced": func(c *clocked) {
			c.partitions[0].SetState(following(1))
			c.send(0, put{"a", "1"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClocked(t)
				c.wake(t, 10*time.Second)
				c.wantTicks(t, time.Second)
				end(c)
				c.Stop()
				if waited := time.Since(c.began) - time.Second; waited != 0 {
					t.Fatalf("the timer went on for %v", waited)
				}
				c.wantTicks(t, time.Hour)
			})
		})
	}
}

// TestStopWaitsForTheTick: a timer that has fired is a goroutine, too.
func TestStopWaitsForTheTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked(t)
		c.wake(t, time.Second)
		l := c.life(0)
		l.mu.Lock()
		time.Sleep(time.Second)
		stopped := make(chan struct{})
		go func() {
			c.Stop()
			close(stopped)
		}()
		l.mu.Unlock()
		<-stopped
		c.wantTicks(t, time.Hour, c.ticked()...) // it may have been first, or have found the shard discarded
	})
}
