package partition

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/record"
)

const other = self + 1

// pair is a state of two replicas that are both in sync.
func pair(leader ids.NodeID, epoch ids.LeaderEpoch) State {
	both := []ids.NodeID{self, other}
	return State{Leader: leader, LeaderEpoch: epoch, PartitionEpoch: int32(epoch), Replicas: both, ISR: both}
}

func (f *fixture) fetch(from ids.Offset, epoch, last ids.LeaderEpoch) (FetchResult, error) {
	return f.ReadAsFollower(&FollowerRead{Node: other, BrokerEpoch: 1, From: from, CurrentEpoch: epoch, LastFetchedEpoch: last, MaxBytes: 1 << 20, AtLeastOne: true})
}

// mustFetch returns how many bytes of records a fetch gets.
func (f *fixture) mustFetch(t *testing.T, from ids.Offset, epoch, last ids.LeaderEpoch) (FetchResult, int) {
	t.Helper()
	res, err := f.fetch(from, epoch, last)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Slice.Release()
	return res, res.Slice.Len()
}

func TestReadAsFollower(t *testing.T) {
	f := newFixture(t, DurabilityAuto)
	f.SetState(pair(self, 1))
	end := f.put(t)
	f.put(t)
	w := f.wait(end)
	if res, n := f.mustFetch(t, 0, 1, -1); n == 0 || res.HighWatermark != 0 || w.ended() {
		t.Fatalf("%d bytes, high watermark %d, acknowledged %v", n, res.HighWatermark, w.ended())
	}
	if res, n := f.mustFetch(t, 1, 1, 1); n == 0 || res.HighWatermark != 1 || !w.ended() || w.err != nil {
		t.Fatalf("%d bytes, high watermark %d, acknowledged %v", n, res.HighWatermark, w.ended())
	}
	if res, n := f.mustFetch(t, 2, 1, 0); n != 0 || res.Diverging == nil || *res.Diverging != (Diverging{0, 0}) || f.Log().HighWatermark() != 1 {
		t.Fatalf("%+v, and the high watermark is %d", res, f.Log().HighWatermark())
	}
	for _, tc := range []struct {
		from  ids.Offset
		epoch ids.LeaderEpoch
		want  *kerr.Error
	}{{3, 1, kerr.OffsetOutOfRange}, {0, 0, kerr.FencedLeaderEpoch}, {0, 2, kerr.UnknownLeaderEpoch}} {
		if _, err := f.fetch(tc.from, tc.epoch, -1); !errors.Is(err, tc.want) {
			t.Errorf("%+v: %v", tc, err)
		}
	}
	f.SetState(pair(other, 2))
	if _, err := f.fetch(0, 2, -1); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Errorf("%v", err)
	}
}

// TestFollowersHearOfAppends and consumers do not, before they may read.
func TestFollowersHearOfAppends(t *testing.T) {
	f := newFixture(t, DurabilityAuto)
	f.SetState(pair(self, 1))
	follower, consumer := NewWatch(), NewWatch()
	f.WatchAsFollower(follower, 1)
	f.Watch(consumer, 2)
	f.put(t)
	if a, b := follower.Take(nil), consumer.Take(nil); len(a) != 1 || len(b) != 0 {
		t.Fatalf("the follower heard of %v, the consumer of %v", a, b)
	}
	f.mustFetch(t, 1, 1, 1)
	if a, b := follower.Take(nil), consumer.Take(nil); len(a) != 1 || len(b) != 1 {
		t.Fatalf("the follower heard of %v, the consumer of %v", a, b)
	}
	f.UnwatchAsFollower(follower, 1)
	f.put(t)
	if a := follower.Take(nil); len(a) != 0 {
		t.Fatalf("heard of %v after the end", a)
	}
}

// TestISRChange: a follower that catches up is asked for, and one that is refused is waited for no more.
func TestISRChange(t *testing.T) {
	f := newFixture(t, DurabilityOS)
	var wanted []*Partition
	f.SetPeers(Peers{Standing: func(ids.NodeID) int64 { return 1 }, ISRWanted: func(p *Partition) { wanted = append(wanted, p) }})
	s := pair(self, 1)
	s.ISR = []ids.NodeID{self}
	f.SetState(s)
	f.mustFetch(t, 0, 1, -1)
	change, ok := f.ChangeISR()
	if len(wanted) != 1 || !ok || len(change.ISR) != 2 {
		t.Fatalf("%d wanted, %+v, %v", len(wanted), change, ok)
	}
	w := f.wait(f.put(t))
	if w.ended() {
		t.Fatal("acknowledged without a replica that may be in sync")
	}
	f.SetPeers(Peers{}) // it is fenced
	if f.ISRAnswered(&change, kerr.IneligibleReplica) || !w.ended() {
		t.Fatalf("acknowledged %v", w.ended())
	}
}

// Who has left the in-sync replicas is waited for while it may come back, and no longer than its broker is at work.
func TestNobodyWaitsForABrokerThatIsGone(t *testing.T) {
	f := newFixture(t, DurabilityOS)
	patient := policyOf(DurabilityOS)
	patient.ReplicaLagMax = time.Hour
	f.Configure(log.DefaultConfig(), patient)
	standing := int64(1)
	f.SetPeers(Peers{Standing: func(ids.NodeID) int64 { return standing }})
	f.SetState(pair(self, 1))
	f.mustFetch(t, 0, 1, -1)
	w := f.wait(f.put(t))
	s := pair(self, 1)
	s.ISR, s.PartitionEpoch = []ids.NodeID{self}, s.PartitionEpoch+1
	f.SetState(s)
	if w.ended() {
		t.Fatal("acknowledged without a replica that has everything but this record and may be in sync")
	}
	standing = NoBrokerEpoch
	f.ChangeISR() // which its broker asks for when the metadata says that another is gone
	if !w.ended() {
		t.Fatal("not acknowledged though the only other replica's broker is gone")
	}
}

// batchesAt are batches of records as a leader wrote them from an offset on.
func batchesAt(from ids.Offset, epoch ids.LeaderEpoch, records ...int) []byte {
	var out []byte
	for _, n := range records {
		b := record.NewBuilder()
		for range n {
			b.Append(1, nil, []byte("y"))
		}
		batch := b.MustBuild()
		batch.SetBaseOffset(from)
		batch.SetLeaderEpoch(epoch)
		out = append(out, batch...)
		from = batch.NextOffset()
	}
	return out
}

func TestAppendAsFollower(t *testing.T) {
	f := newFixture(t, DurabilityAuto)
	f.SetState(pair(other, 1))
	for _, tc := range []struct {
		name           string
		r              Replicated
		err            error
		start, hw, end ids.Offset
	}{
		{"records", Replicated{1, 0, batchesAt(0, 1, 2, 3), 4, 0}, nil, 0, 4, 5},
		{"the same answer again", Replicated{1, 0, batchesAt(0, 1, 2, 3), 5, 0}, ErrOutdated, 0, 4, 5},
		{"of an older epoch", Replicated{0, 5, batchesAt(5, 0, 1), 5, 0}, ErrOutdated, 0, 4, 5},
		{"nothing but a high watermark and a log start", Replicated{1, 5, nil, 9, 1}, nil, 1, 5, 5},
		{"a batch of a later epoch at the end", Replicated{1, 5, append(batchesAt(5, 1, 1), batchesAt(6, 2, 1)...), 5, 0}, nil, 1, 5, 6},
		{"damage", Replicated{1, 6, make([]byte, 100), 5, 0}, record.ErrCorrupt, 1, 5, 6},
	} {
		err := f.AppendAsFollower(&tc.r)
		if tc.err == nil && err != nil || tc.err != nil && !errors.Is(err, tc.err) {
			t.Fatalf("%s: %v", tc.name, err)
		}
		l := f.Log()
		if l.StartOffset() != tc.start || l.HighWatermark() != tc.hw || l.EndOffset() != tc.end {
			t.Fatalf("%s: %d to %d, high watermark %d, want %d to %d, %d", tc.name, l.StartOffset(), l.EndOffset(), l.HighWatermark(), tc.start, tc.end, tc.hw)
		}
	}
}

// TestLeaderThatStartsWithinABatch: its first batch begins below the end of a follower that has nothing else.
func TestLeaderThatStartsWithinABatch(t *testing.T) {
	f := newFixture(t, DurabilityAuto)
	f.SetState(pair(other, 1))
	if _, err := f.RestartAsFollower(1, 0, 12); err != nil {
		t.Fatal(err)
	}
	if err := f.AppendAsFollower(&Replicated{1, 12, batchesAt(10, 1, 5, 2), 12, 12}); err != nil {
		t.Fatal(err)
	}
	l := f.Log()
	if l.StartOffset() != 12 || l.EndOffset() != 17 || l.HighWatermark() != 12 {
		t.Fatalf("%d to %d, high watermark %d", l.StartOffset(), l.EndOffset(), l.HighWatermark())
	}
	if pos, ok := f.Position(1); !ok || pos != (Position{17, 1, 12, true, false}) {
		t.Fatalf("%+v, %v", pos, ok)
	}
}

func TestTruncateAsFollower(t *testing.T) {
	f := newFixture(t, DurabilityOS)
	f.put(t)
	f.put(t)
	f.SetState(pair(other, 1))
	if err := f.AppendAsFollower(&Replicated{1, 2, batchesAt(2, 1, 1, 1), 3, 0}); err != nil {
		t.Fatal(err)
	}
	f.SetState(pair(other, 2))
	if _, err := f.TruncateAsFollower(1, 4, Diverging{1, 3}); !errors.Is(err, ErrOutdated) {
		t.Fatalf("in an epoch that has ended: %v", err)
	}
	if lost, err := f.TruncateAsFollower(2, 4, Diverging{1, 3}); lost || err != nil || f.Log().EndOffset() != 3 {
		t.Fatalf("lost %v, %v, ends at %d", lost, err, f.Log().EndOffset())
	}
	if lost, err := f.TruncateAsFollower(2, 3, Diverging{0, 5}); !lost || err != nil || f.Log().EndOffset() != 2 || f.Log().HighWatermark() != 2 {
		t.Fatalf("lost %v, %v, ends at %d", lost, err, f.Log().EndOffset())
	}
}

// TestLateSync: a sync that began before a cut says nothing of what was appended after it.
func TestLateSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, DurabilityFsync)
		f.SetState(pair(other, 1))
		if err := f.AppendAsFollower(&Replicated{1, 0, batchesAt(0, 1, 4), 0, 0}); err != nil {
			t.Fatal(err)
		}
		if pos, ok := f.Position(1); !ok || pos.Ready {
			t.Fatalf("%+v, %v before a sync", pos, ok)
		}
		synctest.Wait()
		if pos, ok := f.Position(1); !ok || !pos.Ready {
			t.Fatalf("%+v, %v after one", pos, ok)
		}
		if _, err := f.RestartAsFollower(1, 4, 2); err != nil {
			t.Fatal(err)
		}
		release := f.stall()
		defer release()
		if err := f.AppendAsFollower(&Replicated{1, 2, batchesAt(2, 1, 1), 0, 0}); err != nil {
			t.Fatal(err)
		}
		f.durable(4)
		if pos, ok := f.Position(1); !ok || pos.Ready {
			t.Fatalf("%+v, %v: what was appended since counts as synced", pos, ok)
		}
	})
}

// TestLeadsWithWhatItReplicated: a follower that is elected commits what its own log has.
func TestLeadsWithWhatItReplicated(t *testing.T) {
	f := newFixture(t, DurabilityOS)
	f.SetState(pair(other, 1))
	if err := f.AppendAsFollower(&Replicated{1, 0, batchesAt(0, 1, 4), 1, 0}); err != nil {
		t.Fatal(err)
	}
	f.SetState(pair(self, 2))
	w := f.wait(f.put(t))
	if f.Log().HighWatermark() != 1 || w.ended() {
		t.Fatalf("high watermark %d before the other replica was heard", f.Log().HighWatermark())
	}
	if _, err := f.FindOffset(TimestampLatest, -1, false); !errors.Is(err, kerr.OffsetNotAvailable) {
		t.Fatalf("the end that consumers see, before that: %v", err)
	}
	if found, err := f.FindOffset(TimestampEarliest, -1, false); err != nil || found.Offset != 0 {
		t.Fatalf("%+v, %v", found, err)
	}
	f.mustFetch(t, 5, 2, 2)
	if found, err := f.FindOffset(TimestampLatest, -1, false); err != nil || found.Offset != 5 {
		t.Fatalf("%+v, %v", found, err)
	}
	if f.Log().HighWatermark() != 5 || !w.ended() || w.err != nil {
		t.Fatalf("high watermark %d, acknowledged %v", f.Log().HighWatermark(), w.ended())
	}
}

// TestLeaderChecksWhatIsAskedForAgain: a follower that could not take what it was sent has the leader find its own damage.
func TestLeaderChecksWhatIsAskedForAgain(t *testing.T) {
	f := newFixture(t, DurabilityOS)
	f.SetState(pair(self, 1))
	f.put(t)
	end := f.put(t)
	_, sent := f.mustFetch(t, 0, 1, -1)
	if _, again := f.mustFetch(t, 0, 1, -1); again != sent {
		t.Fatalf("%d bytes, and then %d", sent, again)
	}
	file, err := f.fs.OpenExisting("/data/t-0/00000000000000000000.log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte{0xff}, int64(sent)-1); err != nil {
		t.Fatal(err)
	}
	if _, n := f.mustFetch(t, 1, 1, 1); n == 0 {
		t.Fatal("nothing behind the first batch")
	}
	if _, err := f.fetch(1, 1, 1); !errors.Is(err, log.ErrCorrupt) || !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatalf("the damaged batch is sent again: %v", err)
	}
	if _, err := f.fetch(end, 1, 1); !errors.Is(err, log.ErrCorrupt) {
		t.Fatalf("the damaged replica goes on: %v", err)
	}
}

// TestLowWatermark is the lowest log start of the replicas at work; one that has not told yet counts as having deleted nothing.
func TestLowWatermark(t *testing.T) {
	f := newFixture(t, DurabilityOS)
	standing := int64(1)
	f.SetPeers(Peers{Standing: func(ids.NodeID) int64 { return standing }})
	f.SetState(pair(self, 1))
	f.put(t)
	f.put(t)
	low := func(want ids.Offset) {
		t.Helper()
		if got, _, err := f.LowWatermark(); err != nil || got != want {
			t.Fatalf("low watermark %d, %v, want %d", got, err, want)
		}
	}
	low(ids.NoOffset)
	f.mustFetch(t, 2, 1, 1)
	low(0)
	if _, err := f.DeleteRecords(2); err != nil {
		t.Fatal(err)
	}
	low(0)
	_, changed, err := f.LowWatermark()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAsFollower(&FollowerRead{Node: other, BrokerEpoch: 1, From: 2, Start: 1, CurrentEpoch: 1, LastFetchedEpoch: -1, MaxBytes: 1}); err != nil {
		t.Fatal(err)
	}
	<-changed
	low(1)
	_, changed, _ = f.LowWatermark()
	standing = NoBrokerEpoch
	f.ChangeISR() // as when brokers change
	<-changed
	low(2)
	_, changed, _ = f.LowWatermark()
	f.SetState(pair(other, 2))
	<-changed
	if _, _, err := f.LowWatermark(); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Fatalf("after the end of its leadership: %v", err)
	}
}
