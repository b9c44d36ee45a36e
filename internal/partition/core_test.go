package partition

import (
	"errors"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/twmb/franz-go/pkg/kerr"
)

// begin is when tests begin.
var begin = time.Unix(1_000_000, 0)

func leading(d Durability, isr ...ids.NodeID) Core {
	c := NewCore(1, 0, 0, 0)
	c.SetRules(Rules{Durability: d})
	c.SetState(State{Leader: 1, LeaderEpoch: 3, Replicas: isr, ISR: isr}, begin)
	for _, node := range isr {
		if node != 1 {
			c.FollowerFetched(FollowerFetch{node, 1, 100, 0}, 0, begin)
		}
	}
	return c
}

func TestWhatGatesTheHighWatermark(t *testing.T) {
	for _, tc := range []struct {
		name       string
		durability Durability
		isr        []ids.NodeID
		gated      bool
	}{
		{"auto waits for the sync of a lone replica", DurabilityAuto, []ids.NodeID{1}, true},
		{"auto trusts two machines", DurabilityAuto, []ids.NodeID{1, 2}, false},
		{"fsync always waits", DurabilityFsync, []ids.NodeID{1, 2}, true},
		{"os never waits", DurabilityOS, []ids.NodeID{1}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := leading(tc.durability, tc.isr...)
			if c.GatedBySync() != tc.gated {
				t.Fatalf("gated %v, want %v", !tc.gated, tc.gated)
			}
			c.Appended(10)
			want := ids.Offset(10)
			if tc.gated {
				want = 0
			}
			if hw, err := c.Advance(); hw != want || err != nil {
				t.Fatalf("high watermark %d, %v after an append, want %d", hw, err, want)
			}
			c.Durable(7)
			if tc.gated {
				want = 7
			}
			if hw, _ := c.Advance(); hw != want {
				t.Fatalf("high watermark %d after a sync up to 7, want %d", hw, want)
			}
		})
	}
}

func TestHighWatermarkNeverGoesBack(t *testing.T) {
	c := leading(DurabilityOS, 1)
	c.Appended(10)
	c.Advance()
	c.SetRules(Rules{Durability: DurabilityFsync})
	if hw, _ := c.Advance(); hw != 10 {
		t.Fatalf("high watermark went back to %d", hw)
	}
	if !c.NeedsSync() {
		t.Fatal("records that were only with the OS now wait for a sync that nobody asked for")
	}
}

func TestWithoutLeadershipNothingIsCommitted(t *testing.T) {
	c := NewCore(1, 5, 5, 2)
	c.SetRules(Rules{Durability: DurabilityOS})
	if hw, _ := c.Advance(); hw != 2 {
		t.Fatalf("high watermark %d", hw)
	}
}

func TestStaleStateIsIgnored(t *testing.T) {
	c := leading(DurabilityOS, 1)
	c.SetState(State{Leader: 1, LeaderEpoch: 4, PartitionEpoch: 2, Replicas: []ids.NodeID{1}, ISR: []ids.NodeID{1}}, begin)
	for _, s := range []State{{Leader: 2, LeaderEpoch: 3, PartitionEpoch: 9}, {Leader: 2, LeaderEpoch: 4, PartitionEpoch: 1}} {
		if c.SetState(s, begin) || !c.Leads() {
			t.Fatalf("%+v was taken", s)
		}
	}
}

func TestFenceLeader(t *testing.T) {
	leader := leading(DurabilityOS, 1)
	follower := leading(DurabilityOS, 1)
	follower.SetState(State{Leader: 2, LeaderEpoch: 4}, begin)
	for _, tc := range []struct {
		name    string
		core    Core
		current ids.LeaderEpoch
		want    *kerr.Error
	}{
		{"no epoch", leader, -1, nil},
		{"the epoch", leader, 3, nil},
		{"an older epoch", leader, 2, kerr.FencedLeaderEpoch},
		{"a newer epoch", leader, 4, kerr.UnknownLeaderEpoch},
		{"no leader", follower, -1, kerr.NotLeaderForPartition},
		{"no leader, older epoch", follower, 3, kerr.FencedLeaderEpoch},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.core.FenceLeader(tc.current)
			if tc.want == nil && err != nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestEnoughInSync(t *testing.T) {
	for _, tc := range []struct {
		name          string
		replicas, isr []ids.NodeID
		minISR        int
		enough        bool
	}{
		{"never more than there are replicas", []ids.NodeID{1}, []ids.NodeID{1}, 2, true},
		{"as many as are asked for", []ids.NodeID{1, 2, 3}, []ids.NodeID{1, 3}, 2, true},
		{"too few", []ids.NodeID{1, 2, 3}, []ids.NodeID{1}, 2, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := NewCore(1, 0, 0, 0)
			c.SetRules(Rules{Durability: DurabilityOS, MinInSyncReplicas: tc.minISR})
			c.SetState(State{Leader: 1, Replicas: tc.replicas, ISR: tc.isr}, begin)
			if err := c.EnoughInSync(); tc.enough != (err == nil) || err != nil && !errors.Is(err, kerr.NotEnoughReplicas) {
				t.Fatalf("got %v", err)
			}
		})
	}
}
