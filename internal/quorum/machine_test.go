package quorum

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// machine is a state machine whose state is the list of everything applied.
type machine struct {
	// onApply and onLead run on the node's goroutine after the state has changed.
	onApply func(data string)
	onLead  func(epoch ids.LeaderEpoch)

	mu struct {
		sync.Mutex
		applied []string
		offsets []ids.Offset // of those applied here, not restored
		leading ids.LeaderEpoch
		changes []string      // of leadership
		moved   chan struct{} // closed and made anew with each change
		failing error         // what Apply and Snapshot answer
	}
}

func newMachine() *machine {
	m := new(machine)
	m.mu.leading = ids.NoLeaderEpoch
	m.mu.moved = make(chan struct{})
	return m
}

func (m *machine) movedLocked() {
	close(m.mu.moved)
	m.mu.moved = make(chan struct{})
}

func (m *machine) Apply(offset ids.Offset, epoch ids.LeaderEpoch, data []byte) error {
	m.mu.Lock()
	if m.mu.failing != nil {
		defer m.mu.Unlock()
		return m.mu.failing
	}
	m.mu.applied = append(m.mu.applied, string(data))
	m.mu.offsets = append(m.mu.offsets, offset)
	m.movedLocked()
	m.mu.Unlock()
	if m.onApply != nil {
		m.onApply(string(data))
	}
	return nil
}

func (m *machine) Restore(_ ids.Offset, _ ids.LeaderEpoch, snapshot []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.applied = strings.Split(string(snapshot), "\n")
	return nil
}

func (m *machine) Snapshot() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return []byte(strings.Join(m.mu.applied, "\n")), m.mu.failing
}

func (m *machine) LeaderChanged(leading bool, epoch ids.LeaderEpoch) {
	m.mu.Lock()
	m.mu.changes = append(m.mu.changes, fmt.Sprintf("%v %d", leading, epoch))
	m.mu.leading = ids.NoLeaderEpoch
	if leading {
		m.mu.leading = epoch
	}
	m.movedLocked()
	m.mu.Unlock()
	if leading && m.onLead != nil {
		m.onLead(epoch)
	}
}

func (m *machine) state() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.mu.applied)
}

// wait returns when the condition holds, or false when the node is over.
func (m *machine) wait(n *Node, holds func() bool) bool {
	for {
		m.mu.Lock()
		moved, ok := m.mu.moved, holds()
		m.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-moved:
		case <-n.Done():
			m.mu.Lock()
			defer m.mu.Unlock()
			return holds()
		}
	}
}

// lead waits until the node leads and returns its epoch.
func (m *machine) lead(t testing.TB, n *Node) ids.LeaderEpoch {
	t.Helper()
	if !m.wait(n, func() bool { return m.mu.leading >= 0 }) {
		t.Fatal("over before it led:", n.Err())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.leading
}

func (m *machine) waitApplied(t testing.TB, n *Node, count int) {
	t.Helper()
	if !m.wait(n, func() bool { return len(m.mu.applied) >= count }) {
		t.Fatalf("over after %d of %d: %v", len(m.state()), count, n.Err())
	}
}

const testDir = "data"

// newDisk returns a disk with the data directory on it.
func newDisk(t testing.TB) *vfs.Mem {
	t.Helper()
	disk := vfs.NewMem()
	if err := disk.MkdirAll(testDir); err != nil {
		t.Fatal(err)
	}
	if err := disk.SyncDir("."); err != nil {
		t.Fatal(err)
	}
	return disk
}

func testConfig(fsys vfs.FS) Config {
	return Config{NodeID: 1, Voters: []ids.NodeID{1}, FS: fsys, Dir: testDir}
}

// open starts a node on a disk.
func open(t testing.TB, cfg Config, m *machine) *Node {
	t.Helper()
	n, err := Open(cfg, m, nil)
	if err != nil {
		t.Fatal(err)
	}
	n.Start()
	return n
}

func propose(t testing.TB, n *Node, epoch ids.LeaderEpoch, data string) {
	t.Helper()
	if err := n.Propose(epoch, []byte(data)); err != nil {
		t.Fatal(err)
	}
}
