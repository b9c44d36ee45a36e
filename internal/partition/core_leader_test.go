package partition

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
)

const lagMax = 10 * time.Second

// cluster is a leader, node 1 of 1, 2 and 3, and what it is told.
type cluster struct {
	Core
	t      *testing.T
	now    time.Time
	epochs map[ids.NodeID]int64 // of the brokers that may be in sync
}

func newCluster(t *testing.T, r Rules, isr ...ids.NodeID) *cluster {
	t.Helper()
	c := &cluster{Core: NewCore(1, 0, 0, 0), t: t, now: begin, epochs: map[ids.NodeID]int64{1: 11, 2: 12, 3: 13}}
	r.LagMax = lagMax
	c.SetRules(r)
	c.SetStanding(func(node ids.NodeID) int64 {
		if e, ok := c.epochs[node]; ok {
			return e
		}
		return NoBrokerEpoch
	})
	c.metadata(1, 0, isr...)
	return c
}

// metadata tells of a state that node 1 leads.
func (c *cluster) metadata(epoch ids.LeaderEpoch, partitionEpoch int32, isr ...ids.NodeID) {
	c.t.Helper()
	if !c.SetState(State{Leader: 1, LeaderEpoch: epoch, PartitionEpoch: partitionEpoch, Replicas: []ids.NodeID{1, 2, 3}, ISR: isr}, c.now) {
		c.t.Fatalf("epoch %d.%d is stale", epoch, partitionEpoch)
	}
}

func (c *cluster) fetch(node ids.NodeID, from ids.Offset) (joins bool) {
	c.t.Helper()
	joins, err := c.FollowerFetched(FollowerFetch{node, int64(node) + 10, from, 0}, 0, c.now)
	if err != nil {
		c.t.Fatal(err)
	}
	return joins
}

func (c *cluster) wantHW(what string, want ids.Offset) {
	c.t.Helper()
	if hw, err := c.Advance(); hw != want || err != nil {
		c.t.Fatalf("%s: high watermark %d, %v, want %d", what, hw, err, want)
	}
}

// wantChange checks which ISR is asked for; none where there are no nodes.
func (c *cluster) wantChange(what string, isr ...ids.NodeID) ISRChange {
	c.t.Helper()
	change, ok := c.ChangeISR(c.now)
	var got []ids.NodeID
	for _, m := range change.ISR {
		got = append(got, m.Node)
	}
	if ok != (len(isr) > 0) || !slices.Equal(got, isr) {
		c.t.Fatalf("%s: asks for %v, %v, want %v", what, got, ok, isr)
	}
	return change
}

func TestHighWatermarkWaitsForTheISR(t *testing.T) {
	c := newCluster(t, Rules{Durability: DurabilityOS}, 1, 2)
	c.Appended(10)
	c.wantHW("nobody has fetched", 0)
	c.fetch(3, 10)
	c.wantHW("who is not in sync has fetched", 0)
	c.fetch(2, 4)
	c.wantHW("who is in sync has some", 4)
	c.fetch(2, 2)
	c.wantHW("it says that it has less", 4)
	c.fetch(2, 10)
	c.wantHW("it has all", 10)
	c.Appended(12)
	c.metadata(2, 1, 1, 2)
	c.fetch(3, 12)
	c.wantHW("in a new epoch it has to be heard first", 10)
}

func TestStrictMinISR(t *testing.T) {
	c := newCluster(t, Rules{Durability: DurabilityOS, MinInSyncReplicas: 2}, 1)
	c.Appended(10)
	c.fetch(2, 10)
	c.wantHW("too few are in sync", 0)
	c.wantChange("one has caught up", 1, 2)
	c.wantHW("it was only asked for", 0)
	c.metadata(1, 1, 1, 2)
	c.wantHW("enough are in sync", 10)
	c.Appended(11)
	c.SetRules(Rules{Durability: DurabilityOS, MinInSyncReplicas: 5, LagMax: lagMax})
	c.fetch(2, 11)
	c.wantHW("no more than all replicas can be asked for", 10)
	c.metadata(1, 2, 1, 2, 3)
	c.fetch(3, 11)
	c.wantHW("all are in sync", 11)
}

func TestWhoIsAskedForCounts(t *testing.T) {
	c := newCluster(t, Rules{Durability: DurabilityOS}, 1, 2)
	c.Appended(10)
	c.fetch(2, 10)
	if !c.fetch(3, 10) {
		t.Fatal("who has caught up does not join")
	}
	c.wantHW("all have all", 10)
	asked := c.wantChange("one has caught up", 1, 2, 3)
	if !slices.Equal(asked.ISR, []InSync{{1, 11}, {2, 12}, {3, 13}}) || asked.LeaderEpoch != 1 || asked.PartitionEpoch != 0 {
		t.Fatalf("%+v", asked)
	}
	delete(c.epochs, 3) // it would not count any more but for the change
	c.Appended(20)
	c.fetch(2, 20)
	c.wantHW("it may be in sync by now", 10)
	if c.fetch(3, 15) {
		t.Fatal("another change is wanted before the first is decided")
	}
	c.wantHW("it has some more", 15)
	c.metadata(1, 1, 1, 2)
	c.wantHW("the metadata says that it is not", 20)
}

func TestShrinkWaitsForTheMetadata(t *testing.T) {
	c := newCluster(t, Rules{Durability: DurabilityOS}, 1, 2, 3)
	c.Appended(10)
	c.fetch(2, 10)
	c.fetch(3, 5)
	c.now = c.now.Add(lagMax)
	c.wantChange("nobody has lagged for long enough")
	c.now = c.now.Add(1)
	c.fetch(2, 10)
	change := c.wantChange("one has lagged", 1, 2)
	c.wantHW("it was only asked for", 5)
	if c.ISRAnswered(&change, nil, c.now) {
		t.Fatal("wants to send it again")
	}
	c.wantChange("answered, not yet in the metadata")
	c.wantHW("the controller has agreed, and may have changed its mind since", 5)
	c.metadata(1, 1, 1, 2)
	c.wantHW("decided", 10)
}

func TestWhoLags(t *testing.T) {
	for _, tc := range []struct {
		name string
		run  func(*cluster)
		lags bool
	}{
		{"who never fetched", func(*cluster) {}, true},
		{"who has all, however long ago it fetched", func(c *cluster) { c.fetch(2, 10); c.now = c.now.Add(5 * lagMax) }, false},
		{"who fetches again and again and never has all", func(c *cluster) {
			for range 4 {
				c.fetch(2, 9)
				c.now = c.now.Add(lagMax / 3)
			}
		}, true},
		{"who is one fetch behind", func(c *cluster) {
			for n := ids.Offset(10); n < 20; n++ {
				c.fetch(2, n)
				c.Appended(n + 1)
				c.now = c.now.Add(lagMax / 3)
			}
		}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCluster(t, Rules{Durability: DurabilityOS}, 1, 2)
			c.Appended(10)
			c.now = c.now.Add(lagMax)
			tc.run(c)
			c.now = c.now.Add(2)
			if _, ok := c.ChangeISR(c.now); ok != tc.lags {
				t.Fatalf("leaves the ISR: %v", ok)
			}
		})
	}
}

func TestWhoMayJoin(t *testing.T) {
	for _, tc := range []struct {
		name  string
		set   func(*cluster)
		fetch FollowerFetch
		joins bool
	}{
		{"who has all", nil, FollowerFetch{3, 13, 20, 0}, true},
		{"who has what is committed", nil, FollowerFetch{3, 13, 15, 0}, true},
		{"who lacks something that is committed", nil, FollowerFetch{3, 13, 14, 0}, false},
		{"who is fenced", func(c *cluster) { delete(c.epochs, 3) }, FollowerFetch{3, 13, 20, 0}, false},
		{"who was started again since", func(c *cluster) { c.epochs[3] = 99 }, FollowerFetch{3, 13, 20, 0}, false},
		{"who is in sync", nil, FollowerFetch{2, 12, 20, 0}, false},
		{"who has not got to the beginning of the epoch", func(c *cluster) { c.metadata(2, 1, 1, 2) }, FollowerFetch{3, 13, 19, 0}, false},
		{"who has got to the beginning of the epoch", func(c *cluster) { c.metadata(2, 1, 1, 2) }, FollowerFetch{3, 13, 20, 0}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCluster(t, Rules{Durability: DurabilityOS}, 1, 2)
			c.Appended(20)
			c.fetch(2, 15)
			c.wantHW("with one in sync", 15)
			if tc.set != nil {
				tc.set(c)
			}
			joins, err := c.FollowerFetched(tc.fetch, 0, c.now)
			if joins != tc.joins || err != nil {
				t.Fatalf("joins %v, %v", joins, err)
			}
			if _, asks := c.ChangeISR(c.now); asks != tc.joins {
				t.Fatalf("asks for it: %v", asks)
			}
		})
	}
}

// TestHighWatermarkWaitsForWhoCatchesUp: under a stream of appends a follower would never have what a single replica calls committed.
func TestHighWatermarkWaitsForWhoCatchesUp(t *testing.T) {
	c := newCluster(t, Rules{Durability: DurabilityOS}, 1)
	c.fetch(2, 0)
	c.Appended(10)
	c.wantHW("who had all at its last fetch is waited for", 0)
	if !c.fetch(2, 5) {
		t.Fatal("cannot join")
	}
	c.now = c.now.Add(lagMax + 1)
	c.fetch(3, 1)
	c.wantHW("but not for ever", 10)
}

func TestRefusedChanges(t *testing.T) {
	for _, tc := range []struct {
		name    string
		answer  error
		before  int           // answers that were lost
		after   time.Duration // since it was first sent
		again   bool
		dropped bool // and the follower that was refused is not waited for
	}{
		{"the metadata will tell", kerr.InvalidUpdateVersion, 0, 0, false, false},
		{"the metadata will tell, after a lost answer", kerr.InvalidUpdateVersion, 1, 0, false, false},
		{"another leads", kerr.FencedLeaderEpoch, 0, 0, false, false},
		{"refused", kerr.IneligibleReplica, 0, 0, false, true},
		{"refused after a lost answer", kerr.IneligibleReplica, 1, 0, true, false},
		{"refused long after a lost answer", kerr.IneligibleReplica, 1, lagMax + 1, false, true},
		{"no controller", kerr.NotController, 0, 0, true, false},
		{"an old registration", kerr.StaleBrokerEpoch, 0, 0, true, false},
		{"no answer", errors.New("connection lost"), 0, 0, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCluster(t, Rules{Durability: DurabilityOS}, 1)
			c.fetch(2, 0)
			change := c.wantChange("one has caught up", 1, 2)
			delete(c.epochs, 2) // it counts for the change's sake alone
			for range tc.before {
				c.wantChange("sent again", 1, 2)
			}
			c.now = c.now.Add(tc.after)
			c.Appended(10)
			if again := c.ISRAnswered(&change, tc.answer, c.now); again != tc.again {
				t.Fatalf("again %v", again)
			}
			if tc.again {
				c.wantChange("sent again", 1, 2)
			} else {
				c.wantChange("settled")
			}
			want := ids.Offset(0)
			if tc.dropped {
				want = 10
			}
			c.wantHW("after the answer", want)
		})
	}
}

// TestControllerThatForgot: the metadata does not say what became of a change, because a controller answered by what it then lost.
func TestControllerThatForgot(t *testing.T) {
	c := newCluster(t, Rules{Durability: DurabilityOS}, 1)
	c.fetch(2, 0)
	change := c.wantChange("one has caught up", 1, 2)
	c.ISRAnswered(&change, kerr.InvalidUpdateVersion, c.now)
	c.now = c.now.Add(lagMax)
	c.wantChange("the metadata may still come")
	c.now = c.now.Add(1)
	c.wantChange("it has not", 1, 2)
	c.ISRAnswered(&change, nil, c.now)
	c.wantChange("answered again")
	c.metadata(1, 1, 1, 2)
	c.fetch(3, 0)
	c.wantChange("the next one", 1, 2, 3)
}

func TestAnswerToAnOldChange(t *testing.T) {
	c := newCluster(t, Rules{Durability: DurabilityOS}, 1)
	c.fetch(2, 0)
	old := c.wantChange("one has caught up", 1, 2)
	c.metadata(1, 1, 1)
	c.wantChange("after the metadata", 1, 2)
	if c.ISRAnswered(&old, kerr.IneligibleReplica, c.now) {
		t.Fatal("wants to send the old one again")
	}
	c.Appended(10)
	c.wantHW("the new one is on its way", 0)
}

func TestAutoWhileTheLastOneMayBeAlone(t *testing.T) {
	c := newCluster(t, Rules{Durability: DurabilityAuto}, 1, 2)
	c.Appended(10)
	c.fetch(2, 10)
	c.wantHW("two machines have it", 10)
	c.Appended(20)
	c.fetch(2, 12)
	c.now = c.now.Add(lagMax + 1)
	c.wantChange("the other one lags", 1)
	if !c.NeedsSync() {
		t.Fatal("nothing is to be synced though this replica may be alone")
	}
	c.fetch(2, 20)
	c.wantHW("both have it, and one may count alone", 10)
	c.Durable(15)
	c.wantHW("some is synced", 15)
}

func TestFsyncOnEveryReplica(t *testing.T) {
	c := newCluster(t, Rules{Durability: DurabilityFsync}, 1, 2)
	c.Appended(10)
	c.fetch(2, 10)
	c.wantHW("the follower has synced, the leader has not", 0)
	c.Durable(10)
	c.wantHW("both have", 10)
	if c.NeedsSync() {
		t.Fatal("wants another sync")
	}
}

func TestFetchesThatDoNotCount(t *testing.T) {
	c := newCluster(t, Rules{Durability: DurabilityOS}, 1, 2)
	c.Appended(10)
	for _, f := range []FollowerFetch{{1, 11, 10, 0}, {4, 14, 10, 0}} {
		if _, err := c.FollowerFetched(f, 0, c.now); !errors.Is(err, kerr.NotLeaderForPartition) {
			t.Fatalf("%+v: %v", f, err)
		}
	}
	c.epochs[2] = 20
	if _, err := c.FollowerFetched(FollowerFetch{2, 20, 3, 0}, 0, c.now); err != nil {
		t.Fatal(err)
	}
	if _, err := c.FollowerFetched(FollowerFetch{2, 12, 10, 0}, 0, c.now); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Fatalf("of an earlier life: %v", err)
	}
	c.wantHW("what an earlier life had", 3)
	c.SetState(State{Leader: 2, LeaderEpoch: 2, PartitionEpoch: 1, Replicas: []ids.NodeID{1, 2, 3}, ISR: []ids.NodeID{2}}, c.now)
	if _, err := c.FollowerFetched(FollowerFetch{2, 20, 10, 0}, 0, c.now); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Fatalf("as follower: %v", err)
	}
	c.wantChange("as follower")
}

// TestDeletedRecordsDoNotCount: what a follower has below the leader's log start cannot be compared any more.
func TestDeletedRecordsDoNotCount(t *testing.T) {
	for _, tc := range []struct {
		name              string
		from, start, want ids.Offset
	}{
		{"it has nothing else", 7, 3, 0},
		{"it has deleted it, too", 7, 7, 7},
		{"it has more", 8, 3, 8},
	} {
		c := newCluster(t, Rules{Durability: DurabilityOS}, 1, 2)
		c.Appended(10)
		if _, err := c.FollowerFetched(FollowerFetch{2, 12, tc.from, tc.start}, 7, c.now); err != nil {
			t.Fatal(err)
		}
		c.wantHW(tc.name, tc.want)
	}
}
