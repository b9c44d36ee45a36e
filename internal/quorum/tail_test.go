package quorum

import (
	"errors"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/moldau/moldau/internal/vfs"
)

func grouped(t *testing.T, index, group uint64) string {
	t.Helper()
	b, err := appendEntry(nil, entryOf(index, 1, raftpb.EntryNormal, withKind(kindDecision, []byte(strings.Repeat("x", 100)))), group, 0)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What was written and not synced may be torn anywhere; a whole entry that was written after the
// damaged one was synced shows that an acknowledged entry is lost.
func TestCheckTail(t *testing.T) {
	e := func(index, group uint64) string { return grouped(t, index, group) }
	broken := func(s string) string { return flip(s, 80) }
	for _, c := range []struct {
		what     string
		segments map[string]string
		cut      uint64
		lost     bool
	}{
		{"a whole log", map[string]string{"1": e(1, 1) + e(2, 2) + e(3, 3)}, 0, false},
		{"a torn end", map[string]string{"1": e(1, 1) + e(2, 2) + e(3, 3)[:50]}, 0, false},
		{"a torn entry, and a whole one of its group", map[string]string{"1": e(1, 1) + e(2, 2) + broken(e(3, 3)) + e(4, 3)}, 0, false},
		{"a torn entry, and a whole one of the next group", map[string]string{"1": e(1, 1) + e(2, 2) + broken(e(3, 3)) + e(4, 4)}, 0, true},
		{"zeros, and a whole entry of the next group", map[string]string{"1": e(1, 1) + e(2, 2) + string(make([]byte, 150)) + e(4, 4)}, 0, true},
		{"the next group in the next segment", map[string]string{"1": e(1, 1) + e(2, 2) + broken(e(3, 3)), "4": e(4, 4)}, 0, true},
		{"the same group in the next segment", map[string]string{"1": e(1, 1) + e(2, 2) + broken(e(3, 3)), "4": e(4, 3)}, 0, false},
		{"a segment that ends early", map[string]string{"1": e(1, 1) + e(2, 2), "4": e(4, 4)}, 0, true},
		{"a segment that ends early, where entries were being given up", map[string]string{"1": e(1, 1) + e(2, 2), "4": e(4, 4)}, 3, false},
		{"damage below those that were being given up", map[string]string{"1": e(1, 1) + e(2, 2) + broken(e(3, 3)) + e(4, 4)}, 4, true},
		{"older segments are not looked at", map[string]string{"1": broken(e(1, 1)), "2": e(2, 2) + e(3, 3)}, 0, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			disk := newDisk(t)
			if err := disk.MkdirAll(logDir); err != nil {
				t.Fatal(err)
			}
			for base, content := range c.segments {
				put(t, disk, strings.Repeat("0", 19)+base+".log", content)
			}
			if err := checkTail(disk, logDir, 1, c.cut); errors.Is(err, ErrDamaged) != c.lost || !c.lost && err != nil {
				t.Errorf("%v", err)
			}
		})
	}
}

// A voter among several that finds such damage does not start, and says how to go on.
func TestADamagedVoterIsToBeEmptied(t *testing.T) {
	disk := newDisk(t)
	cfg := testConfig(disk)
	cfg.Voters, cfg.DirectoryID, cfg.ClusterID = append(cfg.Voters, 2, 3), peerOf(1, 1).Directory, "c"
	m, err := OpenMember(cfg, newMachine(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.form(voter); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, disk, stateFile, string(storedState{State: State{1, 0, 1}}.encode()))
	put(t, disk, "00000000000000000001.log", grouped(t, 1, 1)+flip(grouped(t, 2, 2), 80)+grouped(t, 3, 3))
	before := files(t, disk)
	_, err = OpenMember(cfg, newMachine(), nil)
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "empty the directory") {
		t.Fatal(err)
	}
	if after := files(t, disk); before["00000000000000000001.log"] != after["00000000000000000001.log"] {
		t.Error("the log has changed")
	}
	for what, other := range map[string]Config{
		"another node":      {NodeID: 2, Voters: cfg.Voters, DirectoryID: cfg.DirectoryID, ClusterID: "c"},
		"another directory": {NodeID: 1, Voters: cfg.Voters, DirectoryID: peerOf(1, 2).Directory, ClusterID: "c"},
		"a sole voter":      {NodeID: 1, Voters: cfg.Voters[:1]},
	} {
		other.FS, other.Dir = vfs.FS(disk), testDir
		if _, err := OpenMember(other, newMachine(), nil); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
