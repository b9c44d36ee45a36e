package quorum

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// exchange is a transport in memory: what does not fit into a buffer is lost.
type exchange map[ids.NodeID]chan Message

type end struct {
	all  exchange
	node ids.NodeID
}

func (e end) Send(m Message) {
	select {
	case e.all[m.To] <- m:
	default:
	}
}

func (e end) Received() <-chan Message { return e.all[e.node] }

// trio is three nodes over an exchange.
type trio struct {
	t        *testing.T
	exchange exchange
	disks    [3]*vfs.Mem
	ids      [3]ids.DirectoryID
	machines [3]*machine
	nodes    [3]*Node
}

func newTrio(t *testing.T) *trio {
	tr := &trio{t: t, exchange: make(exchange)}
	for i := range tr.nodes {
		tr.exchange[ids.NodeID(i)] = make(chan Message, 1000)
	}
	for i := range tr.nodes {
		tr.disks[i], tr.ids[i] = newDisk(t), ids.DirectoryID{1, byte(i)}
		tr.start(i)
	}
	t.Cleanup(tr.stop)
	return tr
}

func (tr *trio) config(i int) Config {
	return Config{
		NodeID: ids.NodeID(i), Voters: []ids.NodeID{0, 1, 2}, FS: tr.disks[i], Dir: testDir,
		DirectoryID: tr.ids[i], ClusterID: "trio", Endpoint: fmt.Sprintf("host%d:9093", i), SnapshotBytes: 1500, SegmentBytes: 500,
	}
}

func (tr *trio) start(i int) {
	tr.t.Helper()
	tr.machines[i] = newMachine()
	n, err := Open(tr.config(i), tr.machines[i], end{tr.exchange, ids.NodeID(i)})
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.nodes[i] = n
	n.Start()
}

func (tr *trio) stop() {
	for _, n := range tr.nodes {
		n.Stop()
	}
}

// leader waits until a node of the quorum leads that is none of the given ones.
func (tr *trio) leader(but ...int) (int, ids.LeaderEpoch) {
	tr.t.Helper()
	for range 1000 { // of virtual time
		time.Sleep(20 * time.Millisecond)
		for i, m := range tr.machines {
			m.mu.Lock()
			epoch := m.mu.leading
			m.mu.Unlock()
			if epoch >= 0 && !slices.Contains(but, i) {
				return i, epoch
			}
		}
	}
	tr.t.Fatal("nobody leads")
	return 0, 0
}

// decide has the leader decide some changes, and waits until the given nodes have applied them.
func (tr *trio) decide(first, count int, on ...int) {
	tr.t.Helper()
	for i := first; i < first+count; i++ {
		leader, epoch := tr.leader(except(on)...)
		propose(tr.t, tr.nodes[leader], epoch, change(i))
		for _, n := range on {
			tr.machines[n].waitApplied(tr.t, tr.nodes[n], i+1)
		}
	}
}

func except(on []int) (others []int) {
	for i := range 3 {
		if !slices.Contains(on, i) {
			others = append(others, i)
		}
	}
	return others
}

func TestThreeVoters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrio(t)
		tr.decide(0, 20, 0, 1, 2)
		lost, _ := tr.leader()
		tr.nodes[lost].Stop()
		left := except([]int{lost})
		tr.decide(20, 60, left...)
		tr.start(lost) // far behind: it needs a snapshot
		tr.decide(80, 1, 0, 1, 2)
		want := tr.machines[left[0]].state()
		for i, m := range tr.machines {
			if got := m.state(); !slices.Equal(got, want) {
				t.Errorf("node %d has %d changes, others %d", i, len(got), len(want))
			}
		}
		synctest.Wait()
		for i, n := range tr.nodes {
			if s := n.Status(); s.Leader == ids.NoNode || s.Leader != tr.nodes[0].Status().Leader {
				t.Errorf("node %d: %+v", i, s)
			}
		}
	})
}

// A node whose disk was emptied comes back as another member, and votes again.
func TestAnEmptiedVoterIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrio(t)
		tr.decide(0, 5, 0, 1, 2)
		lost, _ := tr.leader()
		tr.nodes[lost].Stop()
		tr.disks[lost], tr.ids[lost] = newDisk(t), ids.DirectoryID{2}
		tr.start(lost)
		left := except([]int{lost})
		tr.decide(5, 1, left...)
		time.Sleep(5 * time.Second)
		tr.nodes[left[0]].Stop() // from here on the new member's vote is needed
		tr.decide(6, 3, lost, left[1])
		tr.nodes[lost].Stop()
		m := tr.nodes[lost].member
		if id := m.RaftID(); id <= admittedIDs || m.members.Peers[id].Directory != tr.ids[lost] || m.members.votes(RaftID(ids.NodeID(lost))) {
			t.Errorf("raft id %d, members %v", id, m.members)
		}
		if p := m.members.Peers[m.RaftID()]; p.Endpoint != fmt.Sprintf("host%d:9093", lost) {
			t.Errorf("its endpoint is %q", p.Endpoint)
		}
	})
}

func TestReadIndexSeesWhatWasDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrio(t)
		for i := range 10 {
			leader, epoch := tr.leader()
			propose(t, tr.nodes[leader], epoch, change(i))
			tr.machines[leader].waitApplied(t, tr.nodes[leader], i+1)
			for n := range tr.nodes {
				if err := tr.nodes[n].ReadIndex(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := len(tr.machines[n].state()); got != i+1 {
					t.Fatalf("a read on node %d sees %d of %d changes", n, got, i+1)
				}
			}
		}
		leader, _ := tr.leader()
		for _, other := range except([]int{leader}) {
			tr.nodes[other].Stop()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := tr.nodes[leader].ReadIndex(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a read without a majority: %v", err)
		}
		tr.nodes[leader].Stop()
		if err := tr.nodes[leader].ReadIndex(t.Context()); !errors.Is(err, ErrStopped) {
			t.Errorf("a read after Stop: %v", err)
		}
	})
}

func TestReadIndexOfASoleVoter(t *testing.T) {
	m := newMachine()
	n := open(t, testConfig(newDisk(t)), m)
	defer n.Stop()
	propose(t, n, m.lead(t, n), "x")
	m.waitApplied(t, n, 1)
	if err := n.ReadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
}
