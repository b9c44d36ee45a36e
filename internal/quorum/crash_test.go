package quorum

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/moldau/moldau/internal/vfs"
)

// moment is a disk as a power cut leaves it, and what had been promised by then.
type moment struct {
	before   string // the operation that the cut came before
	disk     *vfs.Mem
	promised int // changes that had been applied, so answered
}

// workload is what a node lives through in a crash test: lives one after another, in each of
// which changes are made one by one and several at once, with snapshots between.
const (
	workloadLives   = 2
	workloadChanges = 14 // in each life
)

func change(i int) string { return fmt.Sprint("change ", i) }

func crashConfig(fsys vfs.FS) Config {
	cfg := testConfig(fsys)
	cfg.SnapshotBytes, cfg.SegmentBytes = 600, 400
	return cfg
}

// runWorkload returns the disks that power cuts before each operation leave.
func runWorkload(t *testing.T, fault *vfs.Fault, mem *vfs.Mem, what vfs.Unsynced, seed uint64) []moment {
	var mu sync.Mutex
	var moments []moment
	promised := 0
	cut := func(before string) {
		mu.Lock()
		count := promised
		mu.Unlock()
		m := moment{before, mem.CrashClone(what, seed), count}
		mu.Lock()
		moments = append(moments, m)
		mu.Unlock()
	}
	fault.SetHook(func(e vfs.Event) { cut(fmt.Sprintf("%d %s %s", e.N, e.Op, e.Name)) })
	for life := range workloadLives {
		m := newMachine()
		m.onApply = func(data string) {
			mu.Lock()
			defer mu.Unlock()
			if data == change(promised) { // not one of an earlier life, applied again
				promised++
			}
		}
		n, err := Open(crashConfig(fault), m, nil)
		if err != nil {
			t.Fatal(err)
		}
		n.Start()
		epoch := m.lead(t, n)
		first := life * workloadChanges
		for i := range workloadChanges {
			propose(t, n, epoch, change(first+i))
			if i%5 != 0 {
				m.waitApplied(t, n, first+i+1)
			}
		}
		m.waitApplied(t, n, first+workloadChanges)
		n.Stop()
	}
	fault.SetHook(nil)
	cut("the end")
	return moments
}

// survive opens a disk after a power cut and tells what is wrong with what it finds.
func survive(t *testing.T, mo moment) error {
	for again := range 2 { // the second time after an orderly stop
		m := newMachine()
		n, err := Open(crashConfig(mo.disk), m, nil)
		if err != nil {
			return err
		}
		n.Start()
		if !m.wait(n, func() bool { return m.mu.leading >= 0 }) {
			return fmt.Errorf("over before it led: %w", n.Err())
		}
		m.mu.Lock()
		epoch := m.mu.leading
		m.mu.Unlock()
		got := m.state()
		for i, data := range got {
			if data != change(i) {
				n.Stop()
				return fmt.Errorf("time %d: change %d is %q", again, i, data)
			}
		}
		if len(got) < mo.promised {
			n.Stop()
			return fmt.Errorf("time %d: %d changes are left of %d that were promised", again, len(got), mo.promised)
		}
		// And life goes on.
		if err := n.Propose(epoch, []byte(change(len(got)))); err != nil {
			return err
		}
		if !m.wait(n, func() bool { return len(m.mu.applied) > len(got) }) {
			return fmt.Errorf("over before the next change: %w", n.Err())
		}
		n.Stop()
		if err := n.Err(); err != nil {
			return err
		}
		mo.promised = len(got) + 1
	}
	return nil
}

func TestPowerCuts(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 1
	}
	for what, name := range map[vfs.Unsynced]string{vfs.SomeUnsynced: "some", vfs.NoUnsynced: "none", vfs.AllUnsynced: "all"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range seeds {
				if what != vfs.SomeUnsynced && seed > 0 {
					break
				}
				mem := newDisk(t)
				moments := runWorkload(t, vfs.NewFault(mem), mem, what, seed)
				for _, mo := range moments {
					if err := survive(t, mo); err != nil {
						t.Fatalf("seed %d, cut before %s: %v", seed, mo.before, err)
					}
				}
				if seed == 0 {
					t.Logf("%d cuts", len(moments))
				}
			}
		})
	}
}

// ours tells whether a sync is the quorum's concern: those of its own files, and that of the
// entries. What else the log syncs (indexes, names) is the log's to test.
func ours(s vfs.Site) bool {
	return !strings.HasPrefix(s.File, "log/") || strings.HasSuffix(s.Func, ".syncSegment")
}

// Every sync is needed: with one left out, a power cut somewhere in the workload breaks a promise.
func TestEverySyncIsNeeded(t *testing.T) {
	mem := newDisk(t)
	fault := vfs.NewFault(mem)
	runWorkload(t, fault, mem, vfs.AllUnsynced, 0)
	sites := slices.DeleteFunc(fault.SyncSites(), func(s vfs.Site) bool { return !ours(s) })
	if len(sites) < 3 {
		t.Fatalf("only %v", sites)
	}
	for _, site := range sites {
		t.Run(site.String(), func(t *testing.T) {
			for seed := range uint64(20) {
				what := vfs.SomeUnsynced
				if seed == 0 {
					what = vfs.NoUnsynced
				}
				mem := newDisk(t)
				fault := vfs.NewFault(mem)
				fault.Suppress(site)
				for _, mo := range runWorkload(t, fault, mem, what, seed) {
					if err := survive(t, mo); err != nil {
						t.Logf("noticed with seed %d, cut before %s: %v", seed, mo.before, err)
						return
					}
				}
			}
			t.Error("nothing notices that it is missing")
		})
	}
}

// A process that is killed leaves its bytes in the page cache. The next one counts them as its own,
// so it has to make them durable before it promises anything on top of them.
func TestKilledProcess(t *testing.T) {
	mem := newDisk(t)
	fault := vfs.NewFault(mem)
	m := newMachine()
	n := open(t, testConfig(fault), m)
	epoch := m.lead(t, n)
	propose(t, n, epoch, change(0))
	m.waitApplied(t, n, 1)
	boom := errors.New("killed")
	fault.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpSync, vfs.OpSyncDir, vfs.OpSyncFS, vfs.OpRename, vfs.OpTruncate, vfs.OpRemove}, Err: boom})
	propose(t, n, epoch, change(1))
	<-n.Done()

	m = newMachine()
	n = open(t, testConfig(mem), m) // all that was written is there, synced or not
	m.lead(t, n)
	promised := len(m.state())
	if promised != 2 {
		t.Fatalf("%d changes are left: the second was written", promised)
	}
	cut := moment{"after the second start", mem.CrashClone(vfs.NoUnsynced, 0), promised}
	n.Stop()
	if err := survive(t, cut); err != nil {
		t.Fatal(err)
	}
}
