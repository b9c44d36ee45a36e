package runtime

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/invariant"
	"github.com/moldau/moldau/internal/partition"
)

// TestReplyOnceCommitted: no reply leaves before everything that its shard had replayed is committed, so that
// what a read tells cannot be taken back.
func TestReplyOnceCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, partition.DurabilityFsync)
		f.elect(0, 0)
		if read := f.send(0, get{"a"}); !read.ended() || read.err != nil || read.response != "" {
			t.Fatalf("with nothing to wait for: ended %v: %v, %v", read.ended(), read.response, read.err)
		}
		unstall := f.stall()
		defer unstall()
		write, read := f.send(0, put{"a", "1"}), f.send(0, get{"a"})
		synctest.Wait()
		if write.ended() || read.ended() {
			t.Fatalf("ended before the sync: write %v, read %v", write.ended(), read.ended())
		}
		if got := f.shard(0).values["a"]; got != "1" {
			t.Fatalf("the next request would be decided with a=%q", got)
		}
		unstall()
		<-write.done
		<-read.done
		if write.response != "ok" || read.response != "1" {
			t.Fatalf("%v, %v; %v, %v", write.response, write.err, read.response, read.err)
		}
	})
}

// TestReplyToOthers: one event may reply to many tickets, its own among them or not.
func TestReplyToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, partition.DurabilityFsync)
		f.elect(0, 0)
		var held []*answered
		for range 20 {
			held = append(held, f.send(0, hold{}))
		}
		synctest.Wait()
		if slices.ContainsFunc(held, (*answered).ended) {
			t.Fatal("replied to without a reply")
		}
		f.want(t, release{}, "ok")
		for _, a := range held {
			if <-a.done; a.response != "released" {
				t.Fatal(a.response, a.err)
			}
		}
	})
}

// TestFailedAppendChangesNothing: the shard is as before, everybody whom the event would have replied to is told, and
// only what will not pass ends the shard.
func TestFailedAppendChangesNothing(t *testing.T) {
	small := func(messageBytes, segmentBytes int32) func(f *fixture) {
		return func(f *fixture) {
			p := policyOf(partition.DurabilityAuto)
			p.MaxMessageBytes, p.SegmentBytes = messageBytes, segmentBytes
			f.partitions[0].Configure(f.partitions[0].Log().Config(), p)
		}
	}
	for _, tc := range []struct {
		name  string
		fault func(f *fixture)
		heal  func(f *fixture) // nil where the shard is lost
		want  error
	}{
		{"disk full", func(f *fixture) { f.failWrites(syscall.ENOSPC, 1) }, func(f *fixture) {}, kerr.NotCoordinator},
		{"disk fails", func(f *fixture) { f.failWrites(syscall.EIO, 1) }, nil, kerr.NotCoordinator},
		{"led by another", func(f *fixture) { f.partitions[0].SetState(following(1)) }, nil, kerr.NotCoordinator},
		{"elected again, untold", func(f *fixture) { f.partitions[0].SetState(alone(1)) }, nil, kerr.NotCoordinator},
		{"max.message.bytes", small(70, 1<<30), func(f *fixture) { small(1<<20, 1<<30)(f) }, kerr.UnknownServerError},
		{"segment.bytes", small(1<<20, 70), func(f *fixture) { small(1<<20, 1<<30)(f) }, kerr.UnknownServerError},
		{"min.insync.replicas", func(f *fixture) { f.setISR(self) }, func(f *fixture) { f.setISR(self, self+1) }, kerr.CoordinatorNotAvailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, 1, partition.DurabilityAuto)
				f.elect(0, 0)
				f.want(t, put{"a", "1"}, "ok")
				held, other := f.send(0, hold{}), f.send(0, nil)
				shard, end := f.shard(0), f.partitions[0].Log().EndOffset()
				tc.fault(f)
				failed := f.send(0, release{})
				wantError(t, failed, tc.want)
				wantError(t, held, tc.want)
				if lost := tc.heal == nil; other.ended() != lost {
					t.Fatalf("whoever waits for something else was told: %v", other.ended())
				}
				if len(shard.replayed) != 1 || len(shard.held) != 1 || f.partitions[0].Log().EndOffset() != end {
					t.Fatalf("changed: %q, held %v, end %d", shard.replayed, shard.held, f.partitions[0].Log().EndOffset())
				}
				if tc.heal == nil {
					wantError(t, f.send(0, get{"a"}), kerr.NotCoordinator)
					return
				}
				tc.heal(f)
				shard.held = nil // it told them
				f.want(t, get{"a"}, "1")
				f.want(t, put{"a", "a longer value than the one before it was"}, "ok")
			})
		})
	}
}

// setISR makes two replicas, of which two must be in sync.
func (f *fixture) setISR(isr ...ids.NodeID) {
	p := f.partitions[0]
	policy := policyOf(partition.DurabilityOS)
	policy.MinInSyncReplicas = 2
	p.Configure(p.Log().Config(), policy)
	s := alone(0)
	s.Replicas, s.ISR = []ids.NodeID{self, self + 1}, isr
	p.SetState(s)
}

// TestFailedSync: what can never be committed any more is not waited for.
func TestFailedSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, partition.DurabilityFsync)
		f.elect(0, 0)
		f.failSyncs()
		write := f.send(0, put{"a", "1"})
		synctest.Wait()
		wantError(t, f.send(0, get{"a"}), kerr.NotCoordinator)
		wantError(t, write, kerr.NotCoordinator)
		f.wantLogged(t, "level=WARN", "unavailable until the next election", "partition=__t-0")
	})
}

func TestNotHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, partition.DurabilityAuto)
		wantError(t, f.send(0, get{"a"}), kerr.NotCoordinator)
		f.Elected(7, 0)
		wantError(t, f.send(7, get{"a"}), kerr.NotCoordinator)
		f.wantLogged(t, "level=ERROR", "partition=__t-7", "UNKNOWN_TOPIC_OR_PARTITION")
		f.Resigned(7)

		f.elect(0, 0)
		held := f.send(0, hold{})
		delete(f.partitions, 0)
		f.Elected(0, 0) // not newer
		f.want(t, get{"a"}, "")
		f.Elected(0, 1)
		wantError(t, held, kerr.NotCoordinator)
		wantError(t, f.send(0, get{"a"}), kerr.NotCoordinator)
	})
}

// TestResigned: whoever waits, for the shard or for a commit, is told to look elsewhere, once.
func TestResigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, partition.DurabilityFsync)
		f.elect(0, 0)
		unstall := f.stall()
		defer unstall()
		held, write := f.send(0, hold{}), f.send(0, put{"a", "1"})
		f.Resigned(0)
		wantError(t, held, kerr.NotCoordinator)
		wantError(t, write, kerr.NotCoordinator)
		wantError(t, f.send(0, get{"a"}), kerr.NotCoordinator)
		unstall()
		synctest.Wait() // the commit finds nobody to tell
		f.elect(0, 1)
		f.want(t, get{"a"}, "1")
	})
}

// TestLeaderChange: a partition that another broker leads fails the replies that wait for a commit,
// though the runtime has not been told.
func TestLeaderChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, partition.DurabilityFsync)
		f.elect(0, 0)
		unstall := f.stall()
		defer unstall()
		write := f.send(0, put{"a", "1"})
		synctest.Wait()
		f.partitions[0].SetState(following(1))
		wantError(t, write, kerr.NotCoordinator)
		wantError(t, f.send(0, get{"a"}), kerr.NotCoordinator)
	})
}

func TestElectedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, partition.DurabilityAuto)
		f.elect(0, 3)
		f.want(t, put{"a", "1"}, "ok")
		first, held := f.shard(0), f.send(0, hold{})
		f.Elected(0, 3)
		f.Elected(0, 2)
		synctest.Wait()
		if f.shard(0) != first || held.ended() {
			t.Fatal("an epoch that is not newer begins another life")
		}
		f.elect(0, 4)
		wantError(t, held, kerr.NotCoordinator)
		if f.shard(0) == first {
			t.Fatal("a newer epoch goes on with the shard of the older")
		}
		f.want(t, get{"a"}, "1")
	})
}

func TestEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 3, partition.DurabilityAuto)
		f.elect(2, 0)
		f.elect(0, 0)
		f.Each(note{"n"})
		if f.shard(0).values["n"] != "noted" || f.shard(2).values["n"] != "noted" || f.shard(1) != nil {
			t.Fatalf("%v, %v, %v", f.shard(0), f.shard(2), f.shard(1))
		}
		f.failWrites(syscall.ENOSPC, 0)
		f.Each(note{"m"})
		f.wantLogged(t, "level=WARN", "could not be written", "partition=__t-0", "partition=__t-2")
	})
}

func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 5, partition.DurabilityAuto)
		ask := func() (string, int) {
			calls, told := 0, ""
			f.Ask(get{"a"}, func(responses []any, loading bool) {
				calls, told = calls+1, fmt.Sprint(responses, " loading ", loading)
			})
			synctest.Wait()
			return told, calls
		}
		if told, calls := ask(); calls != 1 || told != "[] loading false" {
			t.Fatal(calls, told)
		}
		for _, n := range []int32{3, 0, 2, 4} {
			f.elect(n, 0)
			a := f.send(n, put{"a", fmt.Sprint("of ", n)})
			<-a.done
		}
		if told, calls := ask(); calls != 1 || told != "[of 0 of 2 of 3 of 4] loading false" {
			t.Fatal(calls, told)
		}
		gate := make(chan struct{})
		f.prepare = func(*kv) { <-gate }
		f.Elected(1, 0)
		f.partitions[2].SetState(following(1)) // left out: it fails
		if told, calls := ask(); calls != 1 || told != "[of 0 of 3 of 4] loading true" {
			t.Fatal(calls, told)
		}
		close(gate)
		synctest.Wait()
		unstall := f.stall()
		f.send(3, put{"a", "new"})
		var told atomic.Int32
		f.Ask(get{"a"}, func([]any, bool) { told.Add(1) })
		synctest.Wait()
		if told.Load() != 0 {
			t.Fatal("told before the read of partition 3 is committed")
		}
		unstall()
		synctest.Wait()
		if told.Load() != 1 {
			t.Fatal(told.Load())
		}
	})
}

// TestStop: the bubble would not end with a goroutine left.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 2, partition.DurabilityAuto)
		f.elect(0, 0)
		held := f.send(0, hold{})
		gate := make(chan struct{})
		f.prepare = func(*kv) { <-gate }
		f.Elected(1, 0)
		synctest.Wait()
		stopped := false
		go func() {
			f.Stop()
			stopped = true
		}()
		synctest.Wait()
		if stopped {
			t.Fatal("stopped while a partition loads")
		}
		wantError(t, held, kerr.NotCoordinator)
		close(gate)
		synctest.Wait()
		if !stopped {
			t.Fatal("not stopped")
		}
		f.Elected(0, 5)
		synctest.Wait()
		f.Each(note{"n"})
		wantError(t, f.send(0, get{"a"}), kerr.NotCoordinator)
		wantError(t, f.send(1, get{"a"}), kerr.NotCoordinator)
	})
}

// TestAnswersMayCallBack: an answer runs without a lock, wherever it comes from.
func TestAnswersMayCallBack(t *testing.T) {
	f := newFixture(t, 1, partition.DurabilityFsync)
	f.elect(0, 0)
	done := make(chan error, 1)
	left := 50
	var next func(any, error)
	next = func(_ any, err error) {
		if left--; err != nil || left < 0 {
			done <- err
			return
		}
		f.Request(0, get{"a"}, false, func(any, error) { f.Request(0, put{"a", fmt.Sprint(left)}, false, next) })
	}
	go f.Request(0, hold{}, false, func(_ any, err error) { f.Request(0, put{"a", "x"}, false, next) })
	for f.held() == 0 {
		f.want(t, get{"a"}, "")
	}
	f.want(t, release{}, "ok")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	f.want(t, get{"a"}, "0")
}

// held returns how many wait with partition 0.
func (f *fixture) held() int {
	l := f.life(0)
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(f.shard(0).held)
}

// TestShardThatRepliesToNobody: a mistake of a shard harms nobody.
func TestShardThatRepliesToNobody(t *testing.T) {
	f := newFixture(t, 1, partition.DurabilityAuto)
	f.elect(0, 0)
	if invariant.Enabled {
		t.Skip("panics with the tag invariants")
	}
	f.Each(put{"a", "1"})
	f.wantLogged(t, "level=ERROR", "a reply is lost", "ticket 0")
	f.want(t, get{"a"}, "1")
}

// TestShardThatRefusesItsOwnRecord: the record is written, so the reply that says so goes out.
func TestShardThatRefusesItsOwnRecord(t *testing.T) {
	f := newFixture(t, 1, partition.DurabilityAuto)
	f.elect(0, 0)
	f.shard(0).onReplay = func() error { return errors.New("what is this") }
	f.want(t, put{"a", "1"}, "ok")
	f.wantLogged(t, "level=ERROR", "refuses a record of its own", "partition=__t-0 offset=0", "what is this")
}

func TestManyClients(t *testing.T) {
	f := newFixture(t, 1, partition.DurabilityFsync)
	f.elect(0, 0)
	var wg sync.WaitGroup
	for c := range 1000 {
		wg.Go(func() {
			key := fmt.Sprint("client ", c)
			for i := range 3 {
				if _, err := f.do(put{key, fmt.Sprint(i)}); err != nil {
					t.Error(err)
					return
				}
				if got, err := f.do(get{key}); err != nil || got != fmt.Sprint(i) {
					t.Errorf("%s is %v, %v, want %d", key, got, err, i)
				}
			}
		})
	}
	wg.Wait()
}

// TestElectionsUnderLoad: what was acknowledged in any life is there in the last one, and every request is answered.
func TestElectionsUnderLoad(t *testing.T) {
	f := newFixture(t, 1, partition.DurabilityFsync)
	f.elect(0, 0)
	var wg sync.WaitGroup
	acknowledged := make([]int, 16)
	var stop atomic.Bool
	for c := range acknowledged {
		wg.Go(func() {
			for i := 1; !stop.Load(); i++ {
				_, err := f.do(put{fmt.Sprint(c), fmt.Sprint(i)})
				switch {
				case err == nil:
					acknowledged[c] = i
				case !errors.Is(err, kerr.NotCoordinator) && !errors.Is(err, kerr.CoordinatorLoadInProgress):
					t.Error(err)
					return
				}
			}
		})
	}
	for epoch := range ids.LeaderEpoch(30) {
		if epoch%3 == 2 {
			f.Resigned(0)
		}
		f.elect(0, epoch+1)
		f.want(t, put{"round", fmt.Sprint(epoch)}, "ok")
	}
	stop.Store(true)
	wg.Wait()
	f.elect(0, 100)
	for c, i := range acknowledged {
		got, err := f.do(get{fmt.Sprint(c)})
		if n, _ := strconv.Atoi(fmt.Sprint(got)); err != nil || n < i {
			t.Errorf("client %d: %d was acknowledged, found %v, %v", c, i, got, err)
		}
	}
}

// TestAloneSyncsHere: who has nothing else to do syncs the log itself, and meanwhile the shard goes on.
func TestAloneSyncsHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, partition.DurabilityAuto)
		f.elect(0, 0)
		f.want(t, put{"a", "1"}, "ok")
		synctest.Wait() // no sync is running any more
		resume := f.stall()
		alone, returned := &answered{done: make(chan struct{})}, false
		go func() {
			f.Request(0, put{"a", "2"}, true, alone.take)
			returned = true
		}()
		synctest.Wait()
		other := f.send(0, put{"b", "1"})
		synctest.Wait()
		if got := f.shard(0).replayed; len(got) != 3 || returned || alone.ended() || other.ended() {
			t.Errorf("while the disk takes its time: %q are replayed, returned %v, answered %v and %v", got, returned, alone.ended(), other.ended())
		}
		resume()
		<-other.done
		if synctest.Wait(); !returned || !alone.ended() {
			t.Errorf("returned %v, answered %v", returned, alone.ended())
		}
	})
}
