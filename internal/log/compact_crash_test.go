package log

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

// compactionCuts is one cleaning, with the power cut before each step of it that changes the disk.
type compactionCuts struct {
	suppress *vfs.Site // a sync that is left out; nil for none
	passes   bool      // the first cleaning comes half way, and the second follows with nothing in between
	twice    bool      // the power is cut a second time while the next start finishes a swap
	cuts     int
	faults   []*vfs.Fault // around the disks that were opened after a cut
}

func (c *compactionCuts) limits() *cleaningLimits {
	limits := plenty()
	if c.passes {
		limits.mapBytes = 10 * keyEntryBytes
	}
	return limits
}

// cutAt is a disk after a power cut.
type cutAt struct {
	event vfs.Event
	seed  uint64
	disk  *vfs.Mem
}

// dirtyStore returns a store with one log of several segments that is ready to be cleaned: keys, tombstones,
// aborted transactions with markers in other segments, and something in the active segment.
func dirtyStore(t testing.TB, fsys vfs.FS) (*Store, *Log) {
	t.Helper()
	s := openedStore(t, compactStoreConfig(fsys))
	l, err := s.Create(partition("t", 0), testTopicID("t"), cutConfig())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		mustAppend(t, l, kv(fmt.Sprintf("k%d=%d%s", i%11, i, strings.Repeat(".", i%50)), fmt.Sprintf("l%d=-", i%5)))
		switch i % 10 {
		case 3:
			b := record.NewBuilder()
			b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = 5, 0, int32(i/10), true
			mustAppend(t, l, kvOf(b, fmt.Sprintf("k%d=aborted", i%11)))
		case 9:
			mustAppend(t, l, endTxn(5, false))
		}
	}
	seal(t, l)
	mustAppend(t, l, kv("k1=active"))
	if _, err := l.syncFiles(); err != nil {
		t.Fatal(err)
	}
	l.SetHighWatermark(l.EndOffset())
	s.checkpointAll(func(d *dataDir) *checkpointFile { return &d.recoveryPoints })
	return s, l
}

// cutConfig keeps tombstones for longer than a test takes.
func cutConfig() Config {
	cfg := compactConfig()
	cfg.DeleteRetentionMs = 24 * 3600 * 1000
	return cfg
}

func compactStoreConfig(fsys vfs.FS) StoreConfig {
	cfg := storeConfig(fsys, "/a")
	cfg.RecoveryThreads = 1
	cfg.Config = func(string) Config { return cutConfig() }
	return cfg
}

// run cleans, twice with something new in between, and returns the first complaint about a disk after a cut.
func (c *compactionCuts) run(t testing.TB, seeds uint64) error {
	t.Helper()
	mem := vfs.NewMem()
	fault := c.faulty(mem)
	s, l := dirtyStore(t, fault)
	defer killed(s)
	for round := range 2 {
		before, err := visible(l, 1<<20)
		if err != nil {
			return err
		}
		var cuts []cutAt
		fault.SetHook(func(e vfs.Event) {
			for seed := range seeds {
				cuts = append(cuts, cutAt{e, seed, mem.CrashClone(vfs.SomeUnsynced, uint64(e.N)<<8+seed)})
			}
		})
		stats, cleaned, err := cleanOnce(l, c.limits())
		if err != nil || !cleaned {
			return fmt.Errorf("cleaned %v: %w", cleaned, err)
		}
		if err := s.dirs[0].cleanedOffsets.write(); err != nil {
			return err
		}
		if err := l.removeDropped(noDelay()); err != nil {
			return err
		}
		fault.SetHook(nil)
		after, err := visible(l, 1<<20)
		if err != nil {
			return err
		}
		if stats.segments < 3 && round == 0 && !c.passes {
			return fmt.Errorf("%+v: too little to clean", stats)
		}
		c.cuts += len(cuts)
		for _, cut := range cuts {
			if err := c.judge(cut, before, after); err != nil {
				return fmt.Errorf("round %d, cut before event %d, %s %s, seed %d: %w", round, cut.event.N, cut.event.Op, cut.event.Name, cut.seed, err)
			}
		}
		if c.passes {
			continue
		}
		mustAppend(t, l, kv(fmt.Sprintf("k%d=round", round), fmt.Sprintf("l%d=round", round)))
		seal(t, l)
	}
	return nil
}

func (c *compactionCuts) faulty(disk *vfs.Mem) *vfs.Fault {
	f := vfs.NewFault(disk)
	if c.suppress != nil {
		f.Suppress(*c.suppress)
	}
	return f
}

// judge opens a disk: every record is there that the cleaning leaves, and none that was not. What it
// is opened to is cleaned again, and it goes through another cut.
func (c *compactionCuts) judge(cut cutAt, before, after []string) error {
	fault := c.faulty(cut.disk)
	c.faults = append(c.faults, fault)
	var seconds []*vfs.Mem
	if names, _ := cut.disk.List("/a/t-0"); c.twice && cut.seed%4 == 1 && slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, swapSuffix) }) {
		fault.SetHook(func(e vfs.Event) {
			seconds = append(seconds, cut.disk.CrashClone(vfs.SomeUnsynced, cut.seed<<8+uint64(e.N)))
		})
	}
	s, err := OpenStore(compactStoreConfig(fault))
	fault.SetHook(nil)
	if err != nil {
		return err
	}
	defer killed(s)
	if err := between(s, before, after); err != nil {
		return err
	}
	for _, disk := range seconds {
		if err := c.judgeSecond(disk, before, after); err != nil {
			return err
		}
	}
	again := cut.disk.CrashClone(vfs.SomeUnsynced, cut.seed)
	l := s.Log(partition("t", 0))
	if err := noLeftovers(s, l); err != nil {
		return err
	}
	l.SetHighWatermark(l.EndOffset())
	if _, _, err := cleanOnce(l, plenty()); err != nil {
		return fmt.Errorf("cleaned again: %w", err)
	}
	if err := between(s, before, lastOfKeys(after)); err != nil {
		return fmt.Errorf("cleaned again: %w", err)
	}
	return c.judgeSecond(again, before, after)
}

func (c *compactionCuts) judgeSecond(disk *vfs.Mem, before, after []string) error {
	s, err := OpenStore(compactStoreConfig(disk))
	if err != nil {
		return fmt.Errorf("after a second cut: %w", err)
	}
	defer killed(s)
	if err := between(s, before, after); err != nil {
		return fmt.Errorf("after a second cut: %w", err)
	}
	return nil
}

// lastOfKeys returns the last line of each key.
func lastOfKeys(lines []string) (last []string) {
	seen := make(map[string]bool)
	for _, line := range slices.Backward(lines) {
		_, pair, _ := strings.Cut(line, " ")
		if key, _, _ := strings.Cut(pair, "="); !seen[key] {
			seen[key], last = true, append(last, line)
		}
	}
	return last
}

// between tells what a consumer does not see though the cleaning leaves it, or sees though it was not there before.
func between(s *Store, before, after []string) error {
	l := s.Log(partition("t", 0))
	if l == nil {
		return fmt.Errorf("the log is gone: %v", s.Damaged())
	}
	l.SetHighWatermark(l.EndOffset())
	got, err := visible(l, 1000)
	if err != nil {
		return err
	}
	for _, line := range after {
		if !slices.Contains(got, line) {
			return fmt.Errorf("a consumer does not see %s", line)
		}
	}
	for _, line := range got {
		if !slices.Contains(before, line) {
			return fmt.Errorf("a consumer sees %s", line)
		}
	}
	// Records can be found by their time.
	for i, b := range readBatches(l) {
		if i%7 > 0 {
			continue
		}
		for r, err := range b.Records() {
			if err != nil {
				return err
			}
			if _, ts, _, found, err := l.OffsetForTimestamp(r.Timestamp, l.EndOffset()); err != nil || !found || ts < r.Timestamp {
				return fmt.Errorf("the time of offset %d: found %v, %d: %w", r.Offset, found, ts, err)
			}
		}
	}
	return nil
}

func readBatches(l *Log) (all []record.Batch) {
	for at := l.StartOffset(); at < l.EndOffset(); {
		s, err := l.Read(at, l.EndOffset(), 1<<20, true)
		if err != nil || s.Len() == 0 {
			return all
		}
		p := make([]byte, s.Len())
		_, _ = s.ReadInto(p)
		at = s.NextOffset()
		s.Release()
		for len(p) > 0 {
			var b record.Batch
			if b, p, err = record.First(p); err != nil {
				return all
			}
			all = append(all, b)
		}
	}
	return all
}

// noLeftovers looks for files of a cleaning that was not finished.
func noLeftovers(s *Store, l *Log) error {
	names, err := s.cfg.FS.List(l.Dir())
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, cleanedSuffix) || strings.HasSuffix(name, swapSuffix) || strings.HasSuffix(name, deletedSuffix) {
			return fmt.Errorf("%s is left", name)
		}
	}
	return nil
}

func TestPowerCutsDuringCompaction(t *testing.T) {
	seeds := uint64(4)
	if testing.Short() {
		seeds = 2
	}
	for _, c := range []compactionCuts{{twice: true}, {passes: true}} {
		if err := c.run(t, seeds); err != nil {
			t.Fatalf("in passes %v: %v", c.passes, err)
		}
		if c.cuts < 100 {
			t.Errorf("in passes %v: %d cuts", c.passes, c.cuts)
		}
		t.Logf("in passes %v: %d cuts", c.passes, c.cuts)
	}
}

// Each sync of a cleaning is needed: without it some cut loses records, or shows aborted ones.
func TestEverySyncOfACompactionIsNeeded(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMem())
	s, l := dirtyStore(t, fault)
	defer killed(s)
	known := fault.SyncSites()
	mustClean(t, l)
	ofCleaning := fault.SyncSites()
	sites := slices.Clone(ofCleaning)
	recovered := compactionCuts{}
	if err := recovered.run(t, 2); err != nil {
		t.Fatal(err)
	}
	for _, f := range recovered.faults {
		for _, site := range f.SyncSites() {
			if strings.HasPrefix(site.File, "log/compact") && !slices.Contains(sites, site) {
				sites = append(sites, site)
			}
		}
	}
	for _, site := range sites {
		if slices.Contains(known, site) {
			continue
		}
		t.Run(fmt.Sprintf("%s:%d", site.Func, site.Line), func(t *testing.T) {
			var err error
			ways := []compactionCuts{{}, {passes: true}}
			if !slices.Contains(ofCleaning, site) {
				ways = []compactionCuts{{twice: true}}
			}
			for i := 0; i < len(ways) && err == nil; i++ {
				ways[i].suppress = &site
				err = ways[i].run(t, 12)
			}
			if err == nil {
				t.Fatalf("without the %s of %s:%d nothing is lost", site.Op, site.File, site.Line)
			}
			t.Logf("without it: %v", err)
		})
	}
}

// A cleaning that a deletion of records has overtaken leaves nothing that could come back, with the power cut at each
// step of what follows: writes, and a cleaning that goes over the same segments and more.
func TestPowerCutsAfterAnOvertakenCleaning(t *testing.T) {
	mem := vfs.NewMem()
	fault := vfs.NewFault(mem)
	s, l := dirtyStore(t, fault)
	defer killed(s)
	c := compactionCuts{}
	fault.SetHook(func(e vfs.Event) {
		if e.Op != vfs.OpRename || !strings.HasSuffix(e.Name, logSuffix+cleanedSuffix) {
			return
		}
		fault.SetHook(nil)
		if err := l.AdvanceStart((*l.segments.Load())[1].base); err != nil {
			t.Error(err)
		}
	})
	if _, _, err := cleanOnce(l, plenty()); !errors.Is(err, errOvertaken) {
		t.Fatalf("the cleaning was not overtaken: %v", err)
	}
	all, err := visible(l, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	promised := lastOfKeys(all)
	var cuts []cutAt
	var promises [][]string
	fault.SetHook(func(e vfs.Event) {
		for seed := range uint64(6) {
			cuts = append(cuts, cutAt{e, seed, mem.CrashClone(vfs.SomeUnsynced, uint64(e.N)<<8+seed)})
			promises = append(promises, promised)
		}
	})
	for round := range 3 {
		for n := range 8 {
			line := fmt.Sprintf("%d new %d%d=%s", l.EndOffset(), round, n, strings.Repeat(".", 100))
			_, pair, _ := strings.Cut(line, " ")
			mustAppend(t, l, kv(pair))
			all = append(all, line)
		}
		seal(t, l)
		promised = lastOfKeys(all)
		mustClean(t, l)
	}
	fault.SetHook(nil)
	for i, cut := range cuts {
		if err := c.judge(cut, all, promises[i]); err != nil {
			t.Fatalf("cut before event %d, %s %s, seed %d: %v", cut.event.N, cut.event.Op, cut.event.Name, cut.seed, err)
		}
	}
	t.Logf("%d cuts", len(cuts))
}

var errFull = syscall.ENOSPC

// A cleaning that finds no room gives up; the log stays as it was, and nothing is left of the attempt.
func TestCompactionWithoutRoom(t *testing.T) {
	mem := vfs.NewMem()
	fault := vfs.NewFault(mem)
	s, l := dirtyStore(t, fault)
	defer killed(s)
	before, err := visible(l, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for skip := 0; ; skip++ {
		rule := fault.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpCreate, vfs.OpOpenReadWrite, vfs.OpWrite, vfs.OpSync}, Path: "*" + cleanedSuffix, Skip: skip, Times: 1, Err: errFull, Partial: true})
		_, cleaned, err := cleanOnce(l, plenty())
		hits := rule.Hits()
		rule.Remove()
		if hits == 0 {
			if err != nil || !cleaned {
				t.Fatalf("cleaned %v: %v", cleaned, err)
			}
			if skip < 5 {
				t.Errorf("only %d operations could fail", skip)
			}
			break
		}
		if !errors.Is(err, errFull) || l.Err() != nil || s.dirs[0].err() != nil {
			t.Fatalf("operation %d: %v, the log %v", skip, err, l.Err())
		}
		if err := between(s, before, nil); err != nil {
			t.Fatalf("operation %d: %v", skip, err)
		}
		names, _ := mem.List(l.Dir())
		for _, name := range names {
			if strings.HasSuffix(name, cleanedSuffix) || strings.HasSuffix(name, swapSuffix) {
				t.Fatalf("operation %d: %s is left", skip, name)
			}
		}
	}
	more(t, l)
	limits := plenty()
	limits.freeBytes = func() int64 { return 10 }
	if _, _, err := cleanOnce(l, limits); !errors.Is(err, errFull) {
		t.Errorf("ten bytes were free: %v", err)
	}
}
