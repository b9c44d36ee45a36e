package partition

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

func TestDivergence(t *testing.T) {
	for _, tc := range []struct {
		name string
		from ids.Offset
		last ids.LeaderEpoch
		// of the leader
		found     ids.LeaderEpoch
		end       ids.Offset
		diverging bool
		err       *kerr.Error
	}{
		{"no epoch is known", 5, -1, 3, 9, false, nil},
		{"within the epoch", 5, 3, 3, 9, false, nil},
		{"at its end", 9, 3, 3, 9, false, nil},
		{"behind its end", 10, 3, 3, 9, true, nil},
		{"the leader has no such epoch", 5, 3, 2, 5, true, nil},
		{"the leader cannot tell", 5, 3, -1, -1, false, kerr.OffsetOutOfRange},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, err := Divergence(tc.from, tc.last, tc.found, tc.end)
			if tc.err == nil && err != nil || tc.err != nil && !errors.Is(err, tc.err) {
				t.Fatalf("%v", err)
			}
			if (d != nil) != tc.diverging || d != nil && *d != (Diverging{tc.found, tc.end}) {
				t.Fatalf("%+v", d)
			}
		})
	}
}

func TestCut(t *testing.T) {
	for _, tc := range []struct {
		name                   string
		leader, own, end, want ids.Offset
	}{
		{"the leader has less of the epoch", 5, 9, 12, 5},
		{"this replica has less of it", 9, 5, 12, 5},
		{"neither has a record behind it", 9, 9, 9, 9},
		{"the log is shorter", 9, 8, 7, 7},
		{"this replica knows of no epoch", 9, ids.NoOffset, 12, 9},
	} {
		if got := (Diverging{3, tc.leader}).Cut(tc.own, tc.end); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestOfEpoch(t *testing.T) {
	var all []byte
	sizes := []int{0}
	for _, epoch := range []ids.LeaderEpoch{2, 3, 4, 3} {
		b := oneRecord()
		b.SetLeaderEpoch(epoch)
		all = append(all, b...)
		sizes = append(sizes, len(all))
	}
	for epoch, batches := range map[ids.LeaderEpoch]int{1: 0, 2: 1, 3: 2, 4: 4, 9: 4} {
		if got, err := OfEpoch(all, epoch); len(got) != sizes[batches] || err != nil {
			t.Errorf("epoch %d: %d bytes, %v, want %d", epoch, len(got), err, sizes[batches])
		}
	}
	if _, err := OfEpoch(all[:len(all)-1], 9); !errors.Is(err, record.ErrTruncated) {
		t.Errorf("half a batch: %v", err)
	}
}

func followingCore(d Durability, end, durable, hw ids.Offset) Core {
	c := NewCore(1, end, durable, hw)
	c.SetRules(Rules{Durability: d})
	c.SetState(State{Leader: 2, LeaderEpoch: 4, Replicas: []ids.NodeID{1, 2}, ISR: []ids.NodeID{1, 2}}, begin)
	return c
}

func TestFollowerHighWatermark(t *testing.T) {
	c := followingCore(DurabilityOS, 5, 5, 3)
	for _, tc := range []struct{ end, leader, want ids.Offset }{
		{5, 9, 5},  // no further than the log
		{8, 6, 6},  // no further than the leader
		{8, 2, 6},  // never back
		{12, 9, 9}, //
	} {
		if hw := c.Replicated(tc.end, tc.leader); hw != tc.want {
			t.Fatalf("high watermark %d with the log to %d and the leader at %d, want %d", hw, tc.end, tc.leader, tc.want)
		}
	}
}

func TestFenceFollower(t *testing.T) {
	c := followingCore(DurabilityOS, 5, 5, 3)
	leader := leading(DurabilityOS, 1)
	nobody := followingCore(DurabilityOS, 5, 5, 3)
	nobody.SetState(State{Leader: ids.NoNode, LeaderEpoch: 5}, begin)
	for _, tc := range []struct {
		name  string
		core  Core
		epoch ids.LeaderEpoch
		from  ids.Offset
		ok    bool
	}{
		{"the answer that is due", c, 4, 5, true},
		{"of another epoch", c, 3, 5, false},
		{"of a later epoch", c, 5, 5, false},
		{"to an earlier fetch", c, 4, 3, false},
		{"from further on", c, 4, 6, false},
		{"to one who leads", leader, 3, 0, false},
		{"without a leader", nobody, 5, 5, false},
	} {
		if err := tc.core.FenceFollower(tc.epoch, tc.from); tc.ok != (err == nil) || err != nil && !errors.Is(err, ErrOutdated) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestTruncated(t *testing.T) {
	for _, tc := range []struct {
		name           string
		start, end, hw ids.Offset
		lost           bool
	}{
		{"above the high watermark", 0, 7, 6, false},
		{"at the high watermark", 0, 6, 6, false},
		{"below it", 0, 4, 4, true},
		{"anew further on", 20, 20, 20, false},
		{"anew further back", 2, 2, 2, true},
	} {
		c := followingCore(DurabilityFsync, 10, 8, 6)
		if lost := c.Truncated(tc.start, tc.end); lost != tc.lost || c.End() != tc.end || c.HighWatermark() != tc.hw || !c.MayFetch() {
			t.Errorf("%s: lost %v, end %d, high watermark %d, may fetch %v", tc.name, lost, c.End(), c.HighWatermark(), c.MayFetch())
		}
		c.Durable(30) // of a sync that is told of late; nothing above the end is synced
		c.Appended(25)
		if c.MayFetch() {
			t.Errorf("%s: may fetch without a sync", tc.name)
		}
	}
}

func TestFetchesPromiseSyncs(t *testing.T) {
	for _, tc := range []struct {
		durability Durability
		may        bool
	}{{DurabilityAuto, true}, {DurabilityOS, true}, {DurabilityFsync, false}} {
		c := followingCore(tc.durability, 10, 8, 6)
		if c.MayFetch() != tc.may || c.NeedsSync() == tc.may {
			t.Errorf("durability %d: may fetch %v, needs a sync %v", tc.durability, c.MayFetch(), c.NeedsSync())
		}
		c.Durable(10)
		if !c.MayFetch() || c.NeedsSync() {
			t.Errorf("durability %d: synced, and may not fetch", tc.durability)
		}
	}
}

func TestBeginsBelow(t *testing.T) {
	b := record.NewBuilder().Append(1, nil, nil).Append(1, nil, nil).Append(1, nil, nil).MustBuild()
	b.SetBaseOffset(10)
	for _, tc := range []struct {
		name       string
		start, end ids.Offset
		begins     bool
	}{
		{"an empty log that starts in it", 12, 12, true},
		{"one that starts with it", 10, 10, false},
		{"one that has what comes before", 3, 10, false},
		{"one that has records of its own in it", 3, 11, false},
		{"one of which nothing is left", 20, 11, true},
		{"one behind it", 13, 13, false},
	} {
		if base, begins := BeginsBelow(b, tc.start, tc.end); begins != tc.begins || begins && base != 10 {
			t.Errorf("%s: %d, %v", tc.name, base, begins)
		}
	}
	if _, begins := BeginsBelow(nil, 5, 5); begins {
		t.Error("nothing begins")
	}
}

func TestRebased(t *testing.T) {
	c := followingCore(DurabilityFsync, 12, 12, 12)
	c.Rebased(10, 15)
	if c.End() != 15 || c.HighWatermark() != 12 || c.MayFetch() {
		t.Fatalf("end %d, high watermark %d, may fetch %v", c.End(), c.HighWatermark(), c.MayFetch())
	}
	if hw := c.Replicated(15, 11); hw != 12 {
		t.Fatalf("high watermark %d", hw)
	}
}
