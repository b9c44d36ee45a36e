package quorum

import (
	"bytes"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

const logDir = testDir + "/__cluster_metadata-0"

// files returns what is in the metadata directory.
func files(t testing.TB, fsys vfs.FS) map[string]string {
	t.Helper()
	names, err := fsys.List(logDir)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, name := range names {
		b, err := vfs.ReadFile(fsys, filepath.Join(logDir, name), 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(b)
	}
	return all
}

// put replaces a file of the metadata directory.
func put(t testing.TB, fsys vfs.FS, name, content string) {
	t.Helper()
	if err := vfs.ReplaceFile(fsys, logDir, name, []byte(content)); err != nil {
		t.Fatal(err)
	}
}

// lived returns a disk on which a node has made some changes, its snapshot's name and its last segment's.
func lived(t testing.TB, withSnapshot bool) (disk *vfs.Mem, image, segment string) {
	t.Helper()
	disk = newDisk(t)
	cfg := crashConfig(disk)
	if !withSnapshot {
		cfg.SnapshotBytes, cfg.SegmentBytes = 1<<30, 1<<20
	}
	m := newMachine()
	n := open(t, cfg, m)
	epoch := m.lead(t, n)
	for i := range 10 {
		propose(t, n, epoch, change(i))
		m.waitApplied(t, n, i+1)
	}
	n.Stop()
	for name := range files(t, disk) {
		switch {
		case strings.HasSuffix(name, snapshotSuffix) && strings.HasPrefix(name, snapshotPrefix):
			image = name
		case strings.HasSuffix(name, ".log"):
			segment = max(segment, name)
		}
	}
	return disk, image, segment
}

func flip(s string, at int) string {
	b := []byte(s)
	b[at] ^= 1
	return string(b)
}

func TestDamagedDirectoriesAreRefusedAsTheyAre(t *testing.T) {
	type disk struct {
		*vfs.Mem
		image, segment string
		t              *testing.T
	}
	edit := func(name func(disk) string, change func(string) string) func(disk) {
		return func(d disk) { put(d.t, d, name(d), change(files(d.t, d)[name(d)])) }
	}
	remove := func(name func(disk) string) func(disk) {
		return func(d disk) {
			if err := d.Remove(logDir + "/" + name(d)); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	state := func(disk) string { return stateFile }
	image := func(d disk) string { return d.image }
	segment := func(d disk) string { return d.segment }
	for _, c := range []struct {
		what     string
		snapshot bool
		damage   func(disk)
		err      error
		says     string
	}{
		{"no quorum-state", false, remove(state), ErrDamaged, "and no quorum-state"},
		{"an empty quorum-state", false, edit(state, func(string) string { return "" }), ErrDamaged, "versions 1 and 2"},
		{"another commit in quorum-state", false, edit(state, func(s string) string { return strings.Replace(s, "commit 1", "commit 2", 1) }), ErrDamaged, "checksum"},
		{"quorum-state of a later release", false, edit(state, func(s string) string { return strings.Replace(s, "version 1", "version 9", 1) }), ErrDamaged, "version 9"},
		{"quorum-state of Apache Kafka", false, edit(state, func(string) string { return `{"leaderId":1,"leaderEpoch":2,"votedId":-1,"data_version":1}` }), ErrForeign, "moldau topic adopt"},
		{"a committed entry torn off", false, edit(segment, func(s string) string { return s[:len(s)-5] }), ErrDamaged, "restore"},
		{"a committed entry gone", false, edit(segment, func(s string) string { return s[:len(s)-len(entryBytes(t, 11, 1, change(9)))] }), ErrDamaged, "estore"},
		{"a flipped bit in a committed entry", false, edit(segment, func(s string) string { return flip(s, 200) }), ErrDamaged, "restore"},
		{"the log gone", false, remove(segment), ErrDamaged, "had been committed"},
		{"the snapshot gone", true, remove(image), ErrDamaged, "its snapshot ends with 0"},
		{"a flipped bit in the snapshot", true, edit(image, func(s string) string { return flip(s, 60) }), ErrDamaged, "checksum"},
		{"a torn snapshot", true, edit(image, func(s string) string { return s[:20] }), ErrDamaged, "20 bytes"},
		{"quorum-state from before the snapshot", true, edit(state, func(string) string { return string(storedState{State: State{1, 2, 1}}.encode()) }), ErrDamaged, "knows of 1 committed"},
		{"batches that are no entries", false, edit(segment, func(s string) string { return s + string(foreignBatch(12)) }), ErrForeign, "is no entry"},
		{"an entry of an unknown kind", false, edit(segment, func(s string) string { return s + string(kindBatch(12, 9)) }), ErrForeign, "kind 9"},
		{"an entry missing", false, edit(segment, func(s string) string { return s + string(entryBytes(t, 13, 1, "x")) }), ErrDamaged, "entry 12 was due"},
		{"a term going back", false, edit(segment, func(s string) string {
			return s + string(entryBytes(t, 12, 5, "x")) + string(entryBytes(t, 13, 4, "x"))
		}), ErrDamaged, "after term 5"},
	} {
		t.Run(c.what, func(t *testing.T) {
			mem, imageName, segmentName := lived(t, c.snapshot)
			d := disk{mem, imageName, segmentName, t}
			c.damage(d)
			before := files(t, mem)
			n, err := Open(crashConfig(mem), newMachine(), nil)
			if err == nil {
				n.Stop()
				t.Fatal("it opens")
			}
			if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "metadata") {
				t.Fatalf("%v; want %v and %q", err, c.err, c.says)
			}
			after := files(t, mem)
			for _, name := range slices.Sorted(maps.Keys(before)) {
				if name == stateFile || strings.HasSuffix(name, ".log") || strings.HasPrefix(name, snapshotPrefix) {
					if before[name] != after[name] {
						t.Errorf("%s has changed", name)
					}
				}
			}
		})
	}
}

// What follows the last committed entry was promised to nobody: a power cut may have torn it anywhere.
func TestATornTailIsCutOff(t *testing.T) {
	for what, tail := range map[string]string{
		"a part of an entry":       string(entryBytes(t, 12, 1, "uncommitted")[:30]),
		"a torn one, then a whole": flip(string(entryBytes(t, 12, 1, "uncommitted")), 70) + string(entryBytes(t, 13, 1, "x")),
		"zeros":                    string(make([]byte, 1000)),
	} {
		t.Run(what, func(t *testing.T) {
			disk, _, segment := lived(t, false)
			put(t, disk, segment, files(t, disk)[segment]+tail)
			m := newMachine()
			n := open(t, crashConfig(disk), m)
			epoch := m.lead(t, n)
			propose(t, n, epoch, "next")
			m.waitApplied(t, n, 11)
			n.Stop()
			if got := m.state(); len(got) != 11 || got[10] != "next" {
				t.Fatalf("%q", got)
			}
		})
	}
}

// An entry that is whole but was not yet committed is committed by the next leader.
func TestAWholeTailIsCommitted(t *testing.T) {
	disk, _, segment := lived(t, false)
	put(t, disk, segment, files(t, disk)[segment]+string(entryBytes(t, 12, 1, "from before")))
	m := newMachine()
	n := open(t, crashConfig(disk), m)
	m.lead(t, n)
	n.Stop()
	if got := m.state(); len(got) != 11 || got[10] != "from before" {
		t.Fatalf("%q", got)
	}
}

func entryBytes(t testing.TB, index, term uint64, data string) []byte {
	t.Helper()
	var value []byte // of an opening
	if data != "" {
		value = withKind(kindDecision, []byte(data))
	}
	b, err := appendEntry(nil, entryOf(index, term, raftpb.EntryNormal, value), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// foreignBatch is one of two records.
func foreignBatch(at int64) record.Batch {
	b := record.NewBuilder()
	b.BaseOffset, b.LeaderEpoch = ids.Offset(at), 1
	return b.Append(0, nil, []byte("a")).Append(0, nil, []byte("b")).MustBuild()
}

func kindBatch(at int64, kind byte) record.Batch {
	b := record.NewBuilder()
	b.BaseOffset, b.LeaderEpoch = ids.Offset(at), 1
	return b.Append(0, nil, []byte{kind, 'x'}).MustBuild()
}

func FuzzStateFile(f *testing.F) {
	f.Add(storedState{State: State{1, 2, 3}}.encode())
	f.Add(storedState{State{1, 2, 3}, 7}.encode())
	f.Add([]byte("version 1\nterm 1\nvote 1\ncommit 18446744073709551615\ncrc 00000000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err == nil && !bytes.Equal(s.encode(), b) {
			t.Fatalf("%q is read as %+v", b, s)
		}
	})
}

func FuzzSnapshotFile(f *testing.F) {
	good, err := snapshot{Position{7, 2}, firstMembership([]ids.NodeID{1}), []byte("state")}.encode()
	if err != nil {
		f.Fatal(err)
	}
	members := firstMembership([]ids.NodeID{0, 1, 2})
	if err := members.apply(&Committed{Kind: kindFounding, Data: foundingData("c")}); err != nil {
		f.Fatal(err)
	}
	goodOfThree, err := snapshot{Position{9, 2}, members, []byte("state")}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(goodOfThree)
	f.Add([]byte(snapshotMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= crcBytes { // let the fuzzer past the checksum
			b = appendCRC(b[: len(b)-crcBytes : len(b)-crcBytes])
		}
		s, err := decodeSnapshot(b)
		if err != nil {
			return
		}
		again, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeSnapshot(again)
		if err != nil || back.Position != s.Position || back.members.ClusterID != s.members.ClusterID || len(back.members.Peers) != len(s.members.Peers) || !bytes.Equal(back.data, s.data) {
			t.Fatalf("%x: %+v, %v", b, back, err)
		}
	})
}

func FuzzEntry(f *testing.F) {
	f.Add(entryBytes(f, 3, 2, "decision"))
	f.Add(entryBytes(f, 1, 1, ""))
	change, err := appendEntry(nil, entryOf(5, 2, raftpb.EntryConfChangeV2, nil), 4, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(change)
	f.Add([]byte(foreignBatch(2)))
	f.Fuzz(func(t *testing.T, p []byte) {
		b, _, err := record.First(p)
		if err != nil {
			return
		}
		e, _, err := readEntry(b)
		if err != nil {
			return
		}
		if e.GetIndex() != uint64(b.BaseOffset()) || e.GetTerm() != uint64(b.LeaderEpoch()) {
			t.Fatalf("%x is read as %v", b, e)
		}
	})
}

// Whoever leads has everything of earlier epochs applied, however much of it the last leader had
// left without a commit.
func TestLeadsAfterTheEntriesOfEarlierEpochs(t *testing.T) {
	disk, _, segment := lived(t, false)
	content := files(t, disk)[segment]
	const left = 5
	for i := range uint64(left) { // more than one Effects applies
		content += string(entryBytes(t, 12+i, 1, strings.Repeat("x", applyBytesMax/2)))
	}
	put(t, disk, segment, content)
	m := newMachine()
	applied := -1
	m.onLead = func(ids.LeaderEpoch) { applied = len(m.state()) }
	n := open(t, testConfig(disk), m)
	m.lead(t, n)
	n.Stop()
	if applied != 10+left {
		t.Fatalf("led with %d changes applied of %d", applied, 10+left)
	}
}
