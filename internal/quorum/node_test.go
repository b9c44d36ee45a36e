package quorum

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

func TestSoleVoterDecidesAndRemembers(t *testing.T) {
	disk := newDisk(t)
	m := newMachine()
	n := open(t, testConfig(disk), m)
	epoch := m.lead(t, n)
	if epoch != 1 {
		t.Fatalf("leads epoch %d", epoch)
	}
	var want []string
	for i := range 100 {
		want = append(want, fmt.Sprint("change ", i))
		propose(t, n, epoch, want[i])
	}
	m.waitApplied(t, n, 100)
	if got := m.state(); !slices.Equal(got, want) {
		t.Fatalf("applied %q", got)
	}
	if m.mu.offsets[0] != 2 || m.mu.offsets[99] != 101 {
		t.Fatalf("offsets %d to %d: the first entry opens the epoch", m.mu.offsets[0], m.mu.offsets[99])
	}
	n.Stop()
	if err := n.Err(); err != nil {
		t.Fatal(err)
	}
	st := n.Status()
	if st.HighWatermark != 102 || st.LogStart != 1 || st.LogEnd != 102 || st.Leader != ids.NoNode {
		t.Fatalf("%+v", st)
	}

	m = newMachine()
	n = open(t, testConfig(disk), m)
	defer n.Stop()
	if epoch := m.lead(t, n); epoch != 2 {
		t.Fatalf("leads epoch %d after a restart", epoch)
	}
	if got := m.state(); !slices.Equal(got, want) {
		t.Fatalf("applied again %q", got)
	}
	if err := n.ReadIndex(t.Context()); err != nil { // Status follows what the state machine is told
		t.Fatal(err)
	}
	if st := n.Status(); st.Leader != 1 || st.Epoch != 2 || st.HighWatermark != 103 {
		t.Fatalf("%+v", st)
	}
}

func TestSnapshotsReplaceThePrefix(t *testing.T) {
	disk := newDisk(t)
	cfg := testConfig(disk)
	cfg.SnapshotBytes, cfg.SegmentBytes = 1000, 600
	var want []string
	for life := range 3 {
		m := newMachine()
		n := open(t, cfg, m)
		epoch := m.lead(t, n)
		if got := m.state(); !slices.Equal(got, want) {
			t.Fatalf("life %d begins with %q, want %q", life, got, want)
		}
		for i := range 50 {
			want = append(want, fmt.Sprint("life ", life, " change ", i))
			propose(t, n, epoch, want[len(want)-1])
			m.waitApplied(t, n, len(want))
		}
		n.Stop()
		st := n.Status()
		if st.SnapshotEnd < 40 || st.LogStart != st.SnapshotEnd-1 {
			t.Fatalf("life %d: %+v", life, st)
		}
		names, _ := disk.List(testDir + "/" + metadataLog.String())
		images := slices.DeleteFunc(slices.Clone(names), func(s string) bool { return !strings.HasSuffix(s, snapshotSuffix) })
		logs := slices.DeleteFunc(slices.Clone(names), func(s string) bool { return !strings.Contains(s, ".log") })
		if len(images) != 1 || len(logs) > 12 {
			t.Fatalf("life %d leaves %q", life, names)
		}
	}
}

// With nothing to decide, nothing of a node runs: a day passes without a timer, a wake-up or a write.
func TestIdleNodeDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fault := vfs.NewFault(newDisk(t))
		m := newMachine()
		n := open(t, testConfig(fault), m)
		propose(t, n, m.lead(t, n), "x")
		m.waitApplied(t, n, 1)
		synctest.Wait()
		before, begun := fault.Events(), time.Now()
		select {
		case <-n.Done():
			t.Error("over")
		case <-time.After(24 * time.Hour):
		}
		if after := fault.Events(); after != before {
			t.Errorf("%d operations on the disk", after-before)
		}
		if took := time.Since(begun); took != 24*time.Hour {
			t.Errorf("took %v", took)
		}
		n.Stop()
	})
}

func TestProposeRefuses(t *testing.T) {
	m := newMachine()
	n := open(t, testConfig(newDisk(t)), m)
	epoch := m.lead(t, n)
	for _, c := range []struct {
		rule  string
		epoch ids.LeaderEpoch
		bytes int
		err   error
	}{
		{"an epoch that is over", epoch - 1, 1, ErrNotLeader},
		{"no epoch", ids.NoLeaderEpoch, 1, ErrNotLeader},
		{"nothing: that is what opens an epoch", epoch, 0, ErrTooLarge},
		{"more than an entry holds", epoch, entryBytesMax + 1, ErrTooLarge},
	} {
		if err := n.Propose(c.epoch, make([]byte, c.bytes)); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", c.rule, err)
		}
	}
	n.Stop()
	if err := n.Propose(epoch, []byte("x")); !errors.Is(err, ErrStopped) {
		t.Errorf("after Stop: %v", err)
	}
	if got := fmt.Sprint(m.mu.changes); got != "[true 1 false 1]" {
		t.Errorf("leadership: %s", got)
	}
}

func TestProposalsThatWaitAreBounded(t *testing.T) {
	m := newMachine()
	release := make(chan struct{})
	m.onApply = func(string) { <-release }
	n := open(t, testConfig(newDisk(t)), m)
	epoch := m.lead(t, n)
	propose(t, n, epoch, "holds the node up")
	m.waitApplied(t, n, 1)
	accepted := 0
	var err error
	for ; err == nil && accepted <= queueBytesMax/entryBytesMax; accepted++ {
		err = n.Propose(epoch, make([]byte, entryBytesMax))
	}
	if !errors.Is(err, ErrOverloaded) {
		t.Errorf("%d proposals of %d bytes: %v", accepted, entryBytesMax, err)
	}
	close(release)
	m.waitApplied(t, n, accepted)
	n.Stop()
}

func TestTheLargestEntryComesBack(t *testing.T) {
	disk := newDisk(t)
	m := newMachine()
	n := open(t, testConfig(disk), m)
	want := strings.Repeat("x", entryBytesMax)
	propose(t, n, m.lead(t, n), want)
	m.waitApplied(t, n, 1)
	n.Stop()
	m = newMachine()
	n = open(t, testConfig(disk), m)
	m.lead(t, n)
	n.Stop()
	if got := m.state(); len(got) != 1 || got[0] != want {
		t.Fatalf("%d entries", len(got))
	}
}

func TestAFailureStopsTheNode(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		what string
		rule vfs.Rule
	}{
		{"a sync of the log", vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "*.log", Err: boom}},
		{"a write to the log", vfs.Rule{Ops: []vfs.Op{vfs.OpWrite}, Path: "*.log", Err: boom}},
		{"a sync of quorum-state", vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: stateFile + "*", Err: boom}},
		{"a rename to quorum-state", vfs.Rule{Ops: []vfs.Op{vfs.OpRename}, Path: stateFile + "*", Err: boom}},
		{"a sync of the directory", vfs.Rule{Ops: []vfs.Op{vfs.OpSyncDir}, Err: boom}},
		{"a sync of the log that finds the disk full", vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "*.log", Err: syscall.ENOSPC}},
	} {
		t.Run(c.what, func(t *testing.T) {
			fault := vfs.NewFault(newDisk(t))
			m := newMachine()
			n := open(t, testConfig(fault), m)
			epoch := m.lead(t, n)
			fault.Inject(c.rule)
			propose(t, n, epoch, "x")
			<-n.Done()
			if err := n.Err(); !errors.Is(err, c.rule.Err) {
				t.Fatal(err)
			}
			if len(m.state()) != 0 {
				t.Fatal("applied what is not durable")
			}
			if m.mu.leading != ids.NoLeaderEpoch {
				t.Fatal("still leads")
			}
			n.Stop()
		})
	}
}

func TestAnErrorOfTheStateMachineStopsTheNode(t *testing.T) {
	m := newMachine()
	n := open(t, testConfig(newDisk(t)), m)
	epoch := m.lead(t, n)
	boom := errors.New("boom")
	m.mu.Lock()
	m.mu.failing = boom
	m.mu.Unlock()
	propose(t, n, epoch, "x")
	<-n.Done()
	if err := n.Err(); !errors.Is(err, boom) {
		t.Fatal(err)
	}
}

func TestAFullDiskIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, path := range []string{"*.log", stateFile + "*"} {
			fault := vfs.NewFault(newDisk(t))
			m := newMachine()
			n := open(t, testConfig(fault), m)
			epoch := m.lead(t, n)
			full := fault.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpWrite}, Path: path, Err: syscall.ENOSPC, Partial: true})
			propose(t, n, epoch, "x")
			time.Sleep(10 * time.Second)
			if len(m.state()) != 0 || n.Err() != nil {
				t.Fatalf("%s: applied %q, %v", path, m.state(), n.Err())
			}
			full.Remove()
			m.waitApplied(t, n, 1)

			fault.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpWrite}, Path: path, Err: syscall.ENOSPC})
			propose(t, n, epoch, "y")
			time.Sleep(10 * time.Second)
			n.Stop() // does not wait for room
			if err := n.Err(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestStopWithoutStart(t *testing.T) {
	n, err := Open(testConfig(newDisk(t)), newMachine(), nil)
	if err != nil {
		t.Fatal(err)
	}
	n.Stop()
	n.Stop()
}

func TestConfigIsRefused(t *testing.T) {
	directory := ids.DirectoryID{1}
	for _, c := range []struct {
		rule   string
		change func(*Config)
		ok     bool
	}{
		{"no voters", func(c *Config) { c.Voters = nil }, false},
		{"other voters", func(c *Config) { c.Voters = []ids.NodeID{2} }, false},
		{"a voter twice", func(c *Config) { c.Voters = []ids.NodeID{1, 2, 2} }, false},
		{"a negative node id", func(c *Config) { c.NodeID, c.Voters = -1, []ids.NodeID{-1} }, false},
		{"no directory id", func(c *Config) { c.DirectoryID = ids.ZeroUUID }, false},
		{"no cluster id", func(c *Config) { c.ClusterID = "" }, false},
		{"a node id that is an admitted member's", func(c *Config) { c.Voters = []ids.NodeID{1, 2, 65535} }, false},
		{"the same, alone", func(c *Config) { c.NodeID, c.Voters = 65535, []ids.NodeID{65535} }, true},
		{"three voters", func(*Config) {}, true},
	} {
		cfg := testConfig(newDisk(t))
		cfg.Voters, cfg.DirectoryID, cfg.ClusterID = []ids.NodeID{1, 2, 3}, directory, "c"
		c.change(&cfg)
		m, err := OpenMember(cfg, newMachine(), func(Message) {})
		if err == nil {
			err = m.Close()
		}
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.rule, err)
		}
	}
	cfg := testConfig(newDisk(t))
	cfg.Voters, cfg.DirectoryID, cfg.ClusterID = []ids.NodeID{1, 2, 3}, directory, "c"
	if _, err := Open(cfg, newMachine(), nil); err == nil {
		t.Error("three voters open without a transport")
	}
}
