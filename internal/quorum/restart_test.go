package quorum

import (
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// admittedDisk is that of node 1 as a member that was admitted by entry 3, and has decided something since;
// its newest snapshot is older than that.
func admittedDisk(t *testing.T) (*vfs.Mem, Config) {
	t.Helper()
	disk := newDisk(t)
	cfg := testConfig(disk)
	me := peerOf(1, 9)
	cfg.Voters, cfg.DirectoryID, cfg.ClusterID = []ids.NodeID{0, 1, 2}, me.Directory, "c"
	m, err := OpenMember(cfg, newMachine(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.form(follower); err != nil {
		t.Fatal(err)
	}
	id := admittedID(3)
	e := func(index uint64, kind byte, data []byte) *raftpb.Entry {
		if kind == kindConfiguration {
			return entryOf(index, 1, raftpb.EntryConfChangeV2, data)
		}
		return entryOf(index, 1, raftpb.EntryNormal, withKind(kind, data))
	}
	entries := []*raftpb.Entry{
		entryOf(1, 1, raftpb.EntryNormal, nil), e(2, kindFounding, foundingData("c")), e(3, kindAdmission, admissionData(me)),
		e(4, kindConfiguration, changeData(t, replacement(2, id, me))), e(5, kindConfiguration, nil),
		e(6, kindDecision, []byte("a")), e(7, kindDecision, []byte("b")), e(8, kindDecision, []byte("never committed")),
	}
	if err := m.log.append(entries); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	founded := firstMembership(cfg.Voters)
	if err := founded.found(foundingData("c")); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		writeSnapshot(disk, logDir, snapshot{Position{2, 1}, founded, nil}),
		writeState(disk, logDir, storedState{State: State{1, 0, 7}}),
		writeStanding(disk, logDir, standing{me.Identity, voter, id, nil}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return disk, cfg
}

// A member that was admitted after its newest snapshot still is one when it starts again, whatever
// those say who know less than it does.
func TestAnAdmittedMemberStartsAgain(t *testing.T) {
	_, cfg := admittedDisk(t)
	machine := newMachine()
	m, err := OpenMember(cfg, machine, func(Message) {})
	if err != nil {
		t.Fatal(err)
	}
	behind := &Answer{Directory: cfg.DirectoryID, Report: Report{Identity: peerOf(0, 1).Identity}, Founded: true, Applied: 6}
	if err := m.Receive(Message{ClusterID: "c", From: behind.Report.Identity, To: 1, Answer: behind}); err != nil {
		t.Fatal(err)
	}
	if done, err := m.workOff(); !done || err != nil {
		t.Fatal(done, err)
	}
	if m.RaftID() != admittedID(3) || m.standing.role != voter {
		t.Errorf("raft id %d, %+v", m.RaftID(), m.standing)
	}
	if got := machine.state(); !slices.Equal(got[1:], []string{"a", "b"}) {
		t.Errorf("applied %q", got)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// A member that hears that another has its place, before it has applied again what it knows to be committed, gives up
// its vote and the entries that were not committed, and nothing else.
func TestASucceededMemberAppliesWhatWasCommitted(t *testing.T) {
	disk, cfg := admittedDisk(t)
	machine := newMachine()
	m, err := OpenMember(cfg, machine, func(Message) {})
	if err != nil {
		t.Fatal(err)
	}
	ahead := &Answer{Directory: cfg.DirectoryID, Report: Report{Identity: peerOf(0, 1).Identity}, Founded: true, Applied: 100}
	if err := m.Receive(Message{ClusterID: "c", From: ahead.Report.Identity, To: 1, Answer: ahead}); err != nil {
		t.Fatal(err)
	}
	for _, life := range []string{"this", "the next"} {
		if done, err := m.workOff(); !done || err != nil {
			t.Fatal(done, err)
		}
		if got := machine.state(); !slices.Equal(got[1:], []string{"a", "b"}) {
			t.Errorf("applied in %s life: %q", life, got)
		}
		if m.RaftID() != 0 || m.standing.role != succeeded || m.log.last() != 7 {
			t.Errorf("in %s life: raft id %d, %+v, log up to %d", life, m.RaftID(), m.standing, m.log.last())
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		machine = newMachine()
		cfg.FS = disk.CrashClone(vfs.NoUnsynced, 0)
		if m, err = OpenMember(cfg, machine, func(Message) {}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// A snapshot that came from elsewhere is finished by the next start, wherever the power went; and is none before
// quorum-state counts it.
func TestAReceivedSnapshotIsFinished(t *testing.T) {
	s := snapshot{Position{20, 3}, firstMembership([]ids.NodeID{0, 1, 2}), []byte("restored")}
	if err := s.members.found(foundingData("c")); err != nil {
		t.Fatal(err)
	}
	content, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	_, cfg := admittedDisk(t)
	disk := cfg.FS.(*vfs.Mem)
	fault := vfs.NewFault(disk)
	cfg.FS = fault
	m, err := OpenMember(cfg, newMachine(), func(Message) {})
	if err != nil {
		t.Fatal(err)
	}
	if done, err := m.workOff(); !done || err != nil {
		t.Fatal(done, err)
	}
	var cuts []*vfs.Mem
	fault.SetHook(func(vfs.Event) {
		for seed := range uint64(5) {
			cuts = append(cuts, disk.CrashClone(vfs.SomeUnsynced, seed))
		}
	})
	m.step = 0
	m.effects = &Effects{State: &State{3, 0, 20}, Restore: &raftpb.Snapshot{
		Data: content, Metadata: &raftpb.SnapshotMetadata{Index: &s.Index, Term: &s.Term, ConfState: s.members.Conf},
	}}
	if err := m.carryOut(m.effects); err != nil {
		t.Fatal(err)
	}
	fault.SetHook(nil)
	if m.hard.Commit != 20 || len(cuts) < 50 {
		t.Fatalf("%+v after %d cuts", m.hard, len(cuts))
	}
	for i, cut := range append(cuts, disk.CrashClone(vfs.NoUnsynced, 0)) {
		for again := range 2 {
			cfg.FS = cut
			machine := newMachine()
			m, err := OpenMember(cfg, machine, func(Message) {})
			if err != nil {
				t.Fatalf("cut %d of %d, start %d: %v", i, len(cuts), again, err)
			}
			state := machine.state()
			restored := len(state) == 1 && state[0] == "restored"
			if commit := m.hard.Commit; restored != (commit == 20) || !restored && commit != 7 || commit == 20 && m.log.last() != 20 {
				t.Fatalf("cut %d of %d: commit %d, restored %v, log up to %d", i, len(cuts), commit, restored, m.log.last())
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
