package quorum

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
)

// viewer is an observer of a trio.
type viewer struct {
	*Observer
	machine  *machine
	restored atomic.Int32
	asked    atomic.Int32
	// what does not answer
	mu   sync.Mutex
	deaf map[ids.NodeID]bool
}

// Restore counts snapshots.
func (v *viewer) Restore(offset ids.Offset, epoch ids.LeaderEpoch, data []byte) error {
	v.restored.Add(1)
	return v.machine.Restore(offset, epoch, data)
}

func (v *viewer) Apply(offset ids.Offset, epoch ids.LeaderEpoch, data []byte) error {
	return v.machine.Apply(offset, epoch, data)
}

func (v *viewer) Snapshot() ([]byte, error) { return nil, errors.New("an observer keeps none") }

func (v *viewer) LeaderChanged(bool, ids.LeaderEpoch) { panic("an observer does not lead") }

func (v *viewer) hang(node ids.NodeID, deaf bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.deaf[node] = deaf
}

func (v *viewer) isDeaf(node ids.NodeID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.deaf[node]
}

// view starts an observer of the nodes.
func (tr *trio) view() *viewer {
	v := &viewer{machine: newMachine(), deaf: make(map[ids.NodeID]bool)}
	self := Identity{7, ids.DirectoryID{7}}
	ask := func(ctx context.Context, to ids.NodeID, req kmsg.Request) (kmsg.Response, error) {
		v.asked.Add(1)
		if v.isDeaf(to) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		n := tr.nodes[to]
		select {
		case <-n.Done():
			return nil, ErrStopped
		default:
		}
		return overTheWire(n, ctx, self, req)
	}
	v.Observer = NewObserver(ObserverConfig{
		Self: self, Controllers: []ids.NodeID{0, 1, 2}, Ask: ask, AskNow: ask,
		LeaderFound: func(ids.NodeID, string, ids.NodeID) {}, Logger: slog.New(slog.DiscardHandler),
	}, v)
	v.Start()
	return v
}

// overTheWire has a node answer a request, both encoded and decoded.
func overTheWire(n *Node, ctx context.Context, who Identity, req kmsg.Request) (kmsg.Response, error) {
	got := kmsg.RequestForKey(req.Key())
	got.SetVersion(req.GetVersion())
	if err := got.ReadFrom(req.AppendTo(nil)); err != nil {
		return nil, err
	}
	var resp kmsg.Response
	switch r := got.(type) {
	case *kmsg.FetchRequest:
		resp = n.Fetch(ctx, who, r)
	case *kmsg.FetchSnapshotRequest:
		resp = n.FetchSnapshot(r)
	}
	resp.SetVersion(req.GetVersion())
	back := req.ResponseKind()
	return back, back.ReadFrom(resp.AppendTo(nil))
}

// sees waits until the observer has just these changes, and returns how long that took.
func (v *viewer) sees(t *testing.T, want []string) time.Duration {
	t.Helper()
	for began := time.Now(); ; time.Sleep(time.Millisecond) { // of virtual time
		if got := v.machine.state(); slices.Equal(got, want) {
			return time.Since(began)
		} else if time.Since(began) > time.Minute {
			t.Fatalf("%d changes are seen, %d are decided", len(got), len(want))
		}
	}
}

// Who observes gets every committed entry, or the snapshot in the place of those that are gone, and nothing that is not
// committed.
func TestObserverHasWhatIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrio(t)
		tr.decide(0, 100, 0, 1, 2)
		want := tr.machines[0].state()
		v := tr.view()
		defer v.Stop()
		if err := v.ReadIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := v.machine.state(); !slices.Equal(got, want) || v.restored.Load() != 1 {
			t.Errorf("%d changes are seen of %d, after %d snapshots", len(got), len(want), v.restored.Load())
		}
		leader, epoch := tr.leader()
		if s := v.Status(); s.Leader != ids.NodeID(leader) || s.Epoch != epoch || s.HighWatermark != tr.nodes[leader].Status().HighWatermark || s.LogEnd != s.HighWatermark {
			t.Errorf("%+v", s)
		}
		for _, other := range except([]int{leader}) {
			tr.nodes[other].Stop()
		}
		propose(t, tr.nodes[leader], epoch, "never decided")
		synctest.Wait()
		if s := tr.nodes[leader].Status(); s.LogEnd <= s.HighWatermark {
			t.Fatalf("%+v", s)
		}
		late := tr.view()
		defer late.Stop()
		late.sees(t, want)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := v.ReadIndex(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a read without a majority: %v", err)
		}
		for _, v := range []*viewer{v, late} {
			if got := v.machine.state(); !slices.Equal(got, want) {
				t.Errorf("%d changes are seen, %d are decided", len(got), len(want))
			}
		}
	})
}

// A change is seen at once, and while there is none an observer asks some times a second.
func TestObserverIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrio(t)
		tr.decide(0, 1, 0, 1, 2)
		v := tr.view()
		defer v.Stop()
		v.sees(t, []string{change(0)})
		want := []string{change(0)}
		for i := 1; i < 20; i++ {
			time.Sleep(time.Duration(i) * 17 * time.Millisecond)
			leader, epoch := tr.leader()
			propose(t, tr.nodes[leader], epoch, change(i))
			if want = append(want, change(i)); v.sees(t, want) > 5*time.Millisecond {
				t.Errorf("change %d was seen late", i)
			}
		}
		before := v.asked.Load()
		time.Sleep(10 * time.Second)
		if asked := v.asked.Load() - before; asked < 39 || asked > 41 {
			t.Errorf("%d requests in 10 s", asked)
		}
	})
}

// Whoever leads is found: after leaders that end, and after one that stands still.
func TestObserverFollowsEveryLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrio(t)
		tr.decide(0, 1, 0, 1, 2)
		v := tr.view()
		defer v.Stop()
		count := 1
		for range 3 {
			lost, _ := tr.leader()
			tr.nodes[lost].Stop()
			left := except([]int{lost})
			tr.decide(count, 5, left...)
			count += 5
			if took := v.sees(t, tr.machines[left[0]].state()); took > 200*time.Millisecond {
				t.Errorf("the next leader was found after %v", took)
			}
			tr.start(lost)
			tr.decide(count, 1, 0, 1, 2)
			count++
		}
		lost, _ := tr.leader()
		v.sees(t, tr.machines[lost].state())
		v.hang(ids.NodeID(lost), true)
		tr.nodes[lost].Stop()
		began := time.Now()
		left := except([]int{lost})
		tr.decide(count, 1, left...)
		v.sees(t, tr.machines[left[0]].state())
		if took := time.Since(began); took > 2*observeMax {
			t.Errorf("after a leader that does not answer it took %v", took)
		}
	})
}

// An observer that nobody answered for long is given a snapshot in place of what it has missed, whatever node it asks.
func TestObserverThatWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrio(t)
		tr.decide(0, 2, 0, 1, 2)
		v := tr.view()
		defer v.Stop()
		v.sees(t, tr.machines[0].state())
		for node := range ids.NodeID(3) {
			v.hang(node, true)
		}
		tr.decide(2, 100, 0, 1, 2)
		if got := len(v.machine.state()); got > 3 || v.restored.Load() != 0 {
			t.Fatalf("%d changes are seen", got)
		}
		for node := range ids.NodeID(3) {
			v.hang(node, false)
		}
		v.sees(t, tr.machines[0].state())
		if v.restored.Load() != 1 {
			t.Errorf("%d snapshots", v.restored.Load())
		}
	})
}

// The leader describes who observes, and forgets who asks no more.
func TestObserversAreDescribed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrio(t)
		tr.decide(0, 1, 0, 1, 2)
		v := tr.view()
		v.sees(t, tr.machines[0].state())
		time.Sleep(time.Second)
		leader, _ := tr.leader()
		d, err := tr.nodes[leader].Describe(t.Context())
		if err != nil || len(d.Voters) != 3 || len(d.Observers) != 1 {
			t.Fatalf("%+v, %v", d, err)
		}
		if o := d.Observers[0]; o.Identity != (Identity{7, ids.DirectoryID{7}}) || o.LogEnd != d.HighWatermark || time.Since(o.Heard) > time.Second {
			t.Errorf("%+v", o)
		}
		for _, other := range except([]int{leader}) {
			if d, err := tr.nodes[other].Describe(t.Context()); err != nil || len(d.Observers) != 0 {
				t.Errorf("node %d, which does not lead, describes %+v, %v", other, d.Observers, err)
			}
		}
		v.Stop()
		time.Sleep(observedFor + time.Second)
		if d, err := tr.nodes[leader].Describe(t.Context()); err != nil || len(d.Observers) != 0 {
			t.Errorf("long after: %+v, %v", d.Observers, err)
		}
		for i := range observersMax + 10 {
			tr.nodes[leader].observe(Identity{Node: ids.NodeID(i)}, 1, time.Now())
		}
		if n := len(tr.nodes[leader].observing(time.Now())); n != observersMax {
			t.Errorf("%d observers are kept", n)
		}
	})
}

// A lone voter is observed too, and what it has after a restart is what was seen before.
func TestObserverOfASoleVoter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk(t)
		var voter atomic.Pointer[Node]
		begin := func() *machine {
			m := newMachine()
			voter.Store(open(t, testConfig(disk), m))
			return m
		}
		m := begin()
		propose(t, voter.Load(), m.lead(t, voter.Load()), "a")
		v := &viewer{machine: newMachine()}
		ask := func(ctx context.Context, _ ids.NodeID, req kmsg.Request) (kmsg.Response, error) {
			return overTheWire(voter.Load(), ctx, Identity{Node: 7}, req)
		}
		var found []string
		v.Observer = NewObserver(ObserverConfig{
			Self: Identity{Node: 7}, Controllers: []ids.NodeID{-2}, Ask: ask, AskNow: ask, Logger: slog.New(slog.DiscardHandler),
			LeaderFound: func(leader ids.NodeID, at string, answered ids.NodeID) {
				if told := fmt.Sprintf("%d at %q by %d", leader, at, answered); !slices.Contains(found, told) {
					found = append(found, told)
				}
			},
		}, v)
		v.Start()
		v.sees(t, []string{"a"})
		time.Sleep(2 * observeWait) // by now the leader itself has answered
		voter.Load().Stop()
		time.Sleep(time.Second)
		if s := v.Status(); s.Leader != ids.NoNode {
			t.Errorf("without a leader: %+v", s)
		}
		m = begin()
		propose(t, voter.Load(), m.lead(t, voter.Load()), "b")
		v.sees(t, []string{"a", "b"})
		v.Stop()
		if want := []string{`1 at "" by -2`, `1 at "" by 1`}; !slices.Equal(found, want) {
			t.Errorf("the leader was found as %q, want %q", found, want)
		}
		if err := v.ReadIndex(t.Context()); !errors.Is(err, ErrStopped) {
			t.Errorf("a read after Stop: %v", err)
		}
		voter.Load().Stop()
	})
}

// fetchOf is an answer to a fetch.
func fetchOf(leader, epoch int32, code int16, batches []byte) *kmsg.FetchResponse {
	p := kmsg.NewFetchResponseTopicPartition()
	p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch, p.ErrorCode, p.RecordBatches, p.HighWatermark = leader, epoch, code, batches, 9
	resp := kmsg.NewPtrFetchResponse()
	resp.Topics = []kmsg.FetchResponseTopic{{Partitions: []kmsg.FetchResponseTopicPartition{p}}}
	return resp
}

func snapshotOf(index, term uint64, size, position int64, bytes []byte) *kmsg.FetchSnapshotResponse {
	p := kmsg.NewFetchSnapshotResponseTopicPartition()
	p.SnapshotID.EndOffset, p.SnapshotID.Epoch, p.Size, p.Position, p.Bytes = int64(index+1), int32(term), size, position, bytes
	resp := kmsg.NewPtrFetchSnapshotResponse()
	resp.Topics = []kmsg.FetchSnapshotResponseTopic{{Partitions: []kmsg.FetchSnapshotResponseTopicPartition{p}}}
	return resp
}

func batchesOf(t *testing.T, from, count, term uint64) (b []byte) {
	t.Helper()
	for i := from; i < from+count; i++ {
		var err error
		if b, err = appendEntry(b, entryOf(i, term, 0, withKind(kindDecision, []byte("x"))), 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// What comes in is taken only where it follows what is there, of an epoch that is not over, and whole.
func TestPursuit(t *testing.T) {
	image, err := snapshot{Position: Position{20, 4}, members: firstMembership([]ids.NodeID{1}), data: []byte("image")}.encode()
	if err != nil {
		t.Fatal(err)
	}
	notLeader, outOfRange := kerr.NotLeaderForPartition.Code, kerr.OffsetOutOfRange.Code
	rotten := batchesOf(t, 11, 1, 3)
	rotten[len(rotten)-1] ^= 1
	named := fetchOf(2, 3, 0, nil)
	named.Topics[0].Partitions[0].SnapshotID.EndOffset, named.Topics[0].Partitions[0].SnapshotID.Epoch = 21, 4
	old := fetchOf(2, 3, 0, nil)
	old.Topics[0].Partitions[0].SnapshotID.EndOffset, old.Topics[0].Partitions[0].SnapshotID.Epoch = 11, 3
	half := int64(len(image) / 2)
	spoilt := slices.Clone(image)
	spoilt[len(spoilt)/2] ^= 1
	for _, c := range []struct {
		what    string
		answers []kmsg.Response
		taken   uint64
		target  ids.NodeID
		wrong   string // of the last answer; "" for nothing
	}{
		{"nothing new", []kmsg.Response{fetchOf(2, 3, 0, nil)}, 10, 2, ""},
		{"entries", []kmsg.Response{fetchOf(2, 3, 0, batchesOf(t, 11, 5, 3))}, 15, 2, ""},
		{"entries of a later leader", []kmsg.Response{fetchOf(3, 4, 0, batchesOf(t, 11, 5, 4))}, 15, 3, ""},
		{"entries after a gap", []kmsg.Response{fetchOf(2, 3, 0, batchesOf(t, 12, 5, 3))}, 10, 0, "entry 12 of term 3 where entry 11 was due"},
		{"entries that are there already", []kmsg.Response{fetchOf(2, 3, 0, batchesOf(t, 10, 5, 3))}, 10, 0, "where entry 11 was due"},
		{"entries of an epoch before", []kmsg.Response{fetchOf(2, 3, 0, batchesOf(t, 11, 5, 2))}, 10, 0, "after term 3"},
		{"rotten entries", []kmsg.Response{fetchOf(2, 3, 0, rotten)}, 10, 0, "fails its checksum"},
		{"a leader that does not know that it is none", []kmsg.Response{fetchOf(1, 2, 0, batchesOf(t, 11, 5, 2))}, 10, 0, "epoch 2 is over"},
		{"no leader", []kmsg.Response{fetchOf(-1, 3, notLeader, nil)}, 10, 1, ""},
		{"another leader", []kmsg.Response{fetchOf(2, 5, notLeader, nil)}, 10, 2, ""},
		{"another leader, who denies it", []kmsg.Response{fetchOf(2, 5, notLeader, nil), fetchOf(2, 5, notLeader, nil)}, 10, 0, ""},
		{"a leader of long ago", []kmsg.Response{fetchOf(2, 2, notLeader, nil)}, 10, 0, "epoch 2 is over"},
		{"an answer that names no leader", []kmsg.Response{fetchOf(-1, 3, 0, batchesOf(t, 11, 1, 3))}, 10, 0, "names no leader"},
		{"a failing disk", []kmsg.Response{fetchOf(2, 3, kerr.KafkaStorageError.Code, nil)}, 10, 0, "KAFKA_STORAGE_ERROR"},
		{"metadata that were set back", []kmsg.Response{fetchOf(2, 3, outOfRange, nil)}, 10, 0, "ends at 9 and this broker has seen it up to 11"},
		{"nothing of the log", []kmsg.Response{kmsg.NewPtrFetchResponse()}, 10, 0, "not about the metadata log"},
		{"a snapshot's name", []kmsg.Response{named}, 10, 2, ""},
		{"a snapshot", []kmsg.Response{named, snapshotOf(20, 4, int64(len(image)), 0, image)}, 20, 2, ""},
		{"a snapshot in two parts", []kmsg.Response{named, snapshotOf(20, 4, int64(len(image)), 0, image[:half]), snapshotOf(20, 4, int64(len(image)), half, image[half:])}, 20, 2, ""},
		{"a snapshot and what follows", []kmsg.Response{named, snapshotOf(20, 4, int64(len(image)), 0, image), fetchOf(2, 4, 0, batchesOf(t, 21, 2, 4))}, 22, 2, ""},
		{"a part twice", []kmsg.Response{named, snapshotOf(20, 4, int64(len(image)), 0, image[:half]), snapshotOf(20, 4, int64(len(image)), 0, image[:half])}, 10, 2, "of a snapshot, of which"},
		{"more than a snapshot has", []kmsg.Response{named, snapshotOf(20, 4, half, 0, image)}, 10, 2, "of a snapshot, of which"},
		{"an endless snapshot", []kmsg.Response{named, snapshotOf(20, 4, snapshotFileBytesMax+1, 0, image)}, 10, 2, "of a snapshot, of which"},
		{"an empty part", []kmsg.Response{named, snapshotOf(20, 4, half, 0, nil)}, 10, 2, "of a snapshot, of which"},
		{"a rotten snapshot", []kmsg.Response{named, snapshotOf(20, 4, int64(len(spoilt)), 0, spoilt)}, 10, 2, "its checksum is"},
		{"a snapshot of what is there", []kmsg.Response{old}, 10, 0, "taken already"},
		{"a snapshot that nobody asked for", []kmsg.Response{snapshotOf(20, 4, int64(len(image)), 0, image)}, 10, 0, "not about the snapshot"},
	} {
		p := newPursuit(Identity{Node: 7}, []ids.NodeID{0, 1, 2})
		p.taken, p.epoch = Position{10, 3}, 3
		var err error
		for i, a := range c.answers {
			if _, err = p.hear(a); err != nil && i < len(c.answers)-1 {
				t.Fatalf("%s: answer %d: %v", c.what, i, err)
			}
		}
		if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%s: %v, want %q", c.what, err, c.wrong)
		}
		if p.taken.Index != c.taken || p.target() != c.target {
			t.Errorf("%s: %d is taken, want %d; node %d is asked next, want %d", c.what, p.taken.Index, c.taken, p.target(), c.target)
		}
		if fatal := err != nil && !errors.Is(err, errAnswer); fatal != (c.what == "metadata that were set back") {
			t.Errorf("%s: for good: %v", c.what, fatal)
		}
	}
}

// Requests that make no sense get an error, and never anything that is not committed or no snapshot.
func TestFetchRefuses(t *testing.T) {
	m := newMachine()
	n := open(t, testConfig(newDisk(t)), m)
	defer n.Stop()
	propose(t, n, m.lead(t, n), "x")
	m.waitApplied(t, n, 1)
	if err := n.ReadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	for offset, want := range map[int64]int16{-1: kerr.OffsetOutOfRange.Code, 0: kerr.OffsetOutOfRange.Code, 1: 0, 3: 0, 4: kerr.OffsetOutOfRange.Code, 1 << 60: kerr.OffsetOutOfRange.Code} {
		req := fetchRequest(Identity{Node: 7}, Position{}, 0, 1000)
		req.Topics[0].Partitions[0].FetchOffset = offset
		p := n.Fetch(t.Context(), Identity{Node: 7}, req).Topics[0].Partitions[0]
		if p.ErrorCode != want || p.HighWatermark != 3 || (len(p.RecordBatches) > 0) != (offset == 1) {
			t.Errorf("offset %d: %+v", offset, p)
		}
	}
	other := fetchRequest(Identity{Node: 7}, Position{}, 0, 1000)
	other.Topics[0].TopicID[3] = 1
	if resp := n.Fetch(t.Context(), Identity{Node: 7}, other); resp.ErrorCode != kerr.InvalidRequest.Code || len(resp.Topics) != 0 {
		t.Errorf("another topic: %+v", resp)
	}
	p := newPursuit(Identity{Node: 7}, []ids.NodeID{1})
	p.partial = &partial{Position: Position{1, 1}}
	resp := n.FetchSnapshot(p.next().(*kmsg.FetchSnapshotRequest))
	if part := resp.Topics[0].Partitions[0]; part.ErrorCode != kerr.SnapshotNotFound.Code {
		t.Errorf("a snapshot that is not there: %+v", part)
	}
	if resp := n.FetchSnapshot(kmsg.NewPtrFetchSnapshotRequest()); resp.ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("no snapshot: %+v", resp)
	}
}
