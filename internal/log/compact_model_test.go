package log

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

// TestCompactionModel writes random keys, tombstones and transactions, cleans with random limits, and
// compares what a read_committed consumer sees with a list of records to which the rules of
// compaction are applied one by one. Now and then the log is closed, killed, cut off power in the middle
// of a cleaning, truncated, or its start is moved.
func TestCompactionModel(t *testing.T) {
	seeds := *modelSeeds
	if testing.Short() {
		seeds = min(seeds, 8)
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			m := newCompactModel(t, uint64(seed))
			for range 120 {
				m.step()
			}
		})
	}
}

// modelRecord is a record of a log that has not been taken away by the rules.
type modelRecord struct {
	offset     ids.Offset
	key, value string // "-" is a tombstone
	keyless    bool
	batch      *modelBatch
}

type modelBatch struct {
	txn     *modelTxn // nil for none
	horizon int64     // 0 for none
}

type modelTxn struct {
	producer ids.ProducerID
	ended    bool
	commit   bool
}

type compactModel struct {
	t    *testing.T
	seed uint64
	rng  *rand.Rand
	cfg  Config
	env  *testEnv
	mem  *vfs.Mem
	log  *Log

	records []modelRecord
	open    map[ids.ProducerID]*modelTxn
	seqs    map[ids.ProducerID]int32
	trace   []string

	crashIn int      // events until the power goes; 0 for never
	crashed *vfs.Mem // the disk after the cut
}

func newCompactModel(t *testing.T, seed uint64) *compactModel {
	m := &compactModel{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 2)), cfg: compactConfig(),
		open: make(map[ids.ProducerID]*modelTxn), seqs: make(map[ids.ProducerID]int32)}
	m.mount(vfs.NewMem(), 0, 0)
	m.log = m.env.create(m.cfg)
	return m
}

func (m *compactModel) mount(mem *vfs.Mem, start, recovery ids.Offset) {
	f := vfs.NewFault(mem)
	m.mem, m.env, m.crashed, m.crashIn = mem, newTestEnv(m.t, f), nil, 0
	m.env.start, m.env.recovery = start, recovery
	f.SetHook(func(vfs.Event) {
		if m.crashIn--; m.crashIn == 0 {
			m.crashed = m.mem.CrashClone(vfs.SomeUnsynced, m.rng.Uint64())
		}
	})
}

func (m *compactModel) fatalf(format string, args ...any) {
	m.t.Helper()
	for _, s := range m.trace[max(0, len(m.trace)-15):] {
		m.t.Log(s)
	}
	m.t.Fatalf("seed %d: %s", m.seed, fmt.Sprintf(format, args...))
}

func (m *compactModel) must(err error) {
	m.t.Helper()
	if err != nil {
		m.fatalf("%v", err)
	}
}

func (m *compactModel) step() {
	for _, op := range []struct {
		oneIn int
		name  string
		run   func()
	}{
		{30, "truncate", m.truncate},
		{30, "delete records", m.deleteRecords},
		{12, "close", func() { m.reopen(true) }},
		{12, "kill", func() { m.reopen(false) }},
		{4, "clean", m.clean},
		{4, "wait", func() { time.Sleep(time.Duration(m.rng.IntN(8)) * time.Second) }},
		{3, "seal", func() { seal(m.t, m.log) }},
		{2, "end a transaction", m.end},
		{1, "append", m.append},
	} {
		if m.rng.IntN(op.oneIn) == 0 {
			m.trace = append(m.trace, fmt.Sprintf("%s at %d..%d, cleaned %d", op.name, m.log.StartOffset(), m.log.EndOffset(), m.log.CleanedOffset()))
			op.run()
			break
		}
	}
	m.check()
}

// append adds a batch: of nobody, of an idempotent producer, or of one with a transaction.
func (m *compactModel) append() {
	b := record.NewBuilder()
	mb := &modelBatch{}
	if id := ids.ProducerID(m.rng.IntN(7)); id < 5 {
		b.ProducerID, b.ProducerEpoch, b.BaseSequence = id, 0, m.seqs[id]
		if id < 3 {
			if m.open[id] == nil {
				m.open[id] = &modelTxn{producer: id}
			}
			b.Transactional, mb.txn = true, m.open[id]
		}
	}
	n := 1 + m.rng.IntN(4)
	base := m.log.EndOffset()
	var added []modelRecord
	for i := range n {
		r := modelRecord{offset: base + ids.Offset(i), key: fmt.Sprint("k", m.rng.IntN(12)), value: fmt.Sprint(m.rng.IntN(1000)), batch: mb}
		value := []byte(r.value + strings.Repeat(".", m.rng.IntN(60)))
		r.value = string(value)
		if m.rng.IntN(4) == 0 {
			r.value, value = "-", nil
		}
		key := []byte(r.key)
		if m.rng.IntN(25) == 0 {
			r.key, r.keyless, key = "", true, nil
		}
		b.Append(time.Now().UnixMilli(), key, value)
		added = append(added, r)
	}
	built, err := b.Build(record.Codec(m.rng.IntN(5)))
	m.must(err)
	a, err := m.log.AppendAsLeader(built, 0)
	m.must(err)
	if b.ProducerID >= 0 {
		m.seqs[b.ProducerID] += int32(n)
	}
	if a.BaseOffset != base {
		m.fatalf("appended at %d instead of %d", a.BaseOffset, base)
	}
	m.records = append(m.records, added...)
}

func (m *compactModel) end() {
	for id, txn := range m.open {
		commit := m.rng.IntN(2) == 0
		_, err := m.log.AppendAsLeader(endTxn(id, commit), 0)
		m.must(err)
		txn.ended, txn.commit = true, commit
		delete(m.open, id)
		break
	}
	m.log.SetHighWatermark(m.log.EndOffset())
}

// clean cleans under random limits, and cuts the power now and then.
func (m *compactModel) clean() {
	limits := plenty()
	if m.rng.IntN(2) == 0 {
		limits.mapBytes = int64(2+m.rng.IntN(12)) * keyEntryBytes
	}
	if m.rng.IntN(3) == 0 {
		_, err := m.log.syncFiles()
		m.must(err)
		m.crashIn = 1 + m.rng.IntN(40)
	}
	before := append([]modelRecord(nil), m.records...)
	stats, cleaned, err := cleanOnce(m.log, limits)
	m.must(err)
	m.crashIn = 0
	if cleaned {
		m.trace[len(m.trace)-1] += fmt.Sprintf(" -> %+v", stats)
		m.apply(stats.from, stats.to)
	}
	if m.crashed != nil {
		m.crash(before)
	}
}

// apply takes away what a cleaning of the dirty range [from, to) does.
func (m *compactModel) apply(from, to ids.Offset) {
	last := make(map[string]ids.Offset)
	for _, r := range m.records {
		if r.offset >= from && r.offset < to && !r.keyless && !m.isAborted(&r) {
			last[r.key] = r.offset
		}
	}
	now := time.Now().UnixMilli()
	segs := *m.log.segments.Load()
	stamped := make(map[*modelBatch]bool)
	cleanedTo := ids.Offset(0) // whole segments are read: of those, what is kept is stamped
	for _, s := range segs {
		if s.base >= to {
			cleanedTo = s.base
			break
		}
	}
	m.records = slices.DeleteFunc(m.records, func(r modelRecord) bool {
		switch {
		case m.isAborted(&r):
			return r.offset < cleanedTo
		case r.offset >= cleanedTo:
			return false
		case r.offset >= to:
		case r.keyless, r.offset < last[r.key]:
			return true
		case r.value == "-" && r.batch.horizon > 0 && r.batch.horizon <= now:
			return true
		}
		if r.value == "-" && r.batch.horizon == 0 {
			stamped[r.batch] = true
		}
		return false
	})
	for b := range stamped {
		b.horizon = now + m.cfg.DeleteRetentionMs
	}
}

func (m *compactModel) isAborted(r *modelRecord) bool {
	return r.batch.txn != nil && r.batch.txn.ended && !r.batch.txn.commit
}

// seen is what a read_committed consumer sees of some records.
func (m *compactModel) seen(records []modelRecord) (lines []string) {
	start, stable := m.log.StartOffset(), m.log.LastStableOffset()
	for _, r := range records {
		if r.offset >= start && r.offset < stable && !m.isAborted(&r) && (r.batch.txn == nil || r.batch.txn.ended) {
			lines = append(lines, fmt.Sprintf("%d %s=%s", r.offset, r.key, r.value))
		}
	}
	return lines
}

// check compares what consumers see, and what producers are remembered.
func (m *compactModel) check() {
	m.t.Helper()
	m.log.SetHighWatermark(m.log.EndOffset())
	got, err := visible(m.log, int32(1+m.rng.IntN(3000)))
	m.must(err)
	want := m.seen(m.records)
	// A batch that the log start lies in comes whole.
	if !slices.Equal(got, want) {
		i := 0
		for i < len(got) && i < len(want) && got[i] == want[i] {
			i++
		}
		m.fatalf("consumers see\n%s\nwant\n%s", strings.Join(got[max(0, i-2):min(len(got), i+5)], "\n"), strings.Join(want[max(0, i-2):min(len(want), i+5)], "\n"))
	}
}

func (m *compactModel) truncate() {
	if _, err := m.log.syncFiles(); err != nil {
		m.fatalf("%v", err)
	}
	if len(m.open) > 0 || m.log.EndOffset() == m.log.StartOffset() {
		return // the model does not take ends of transactions back
	}
	// Not below the last marker, for the same reason.
	floor := m.log.StartOffset()
	for _, b := range readAll(m.t, m.log, 1<<20) {
		if b.Attributes().Transactional() {
			floor = b.NextOffset()
		}
	}
	o := floor + ids.Offset(m.rng.Int64N(int64(m.log.EndOffset()-floor)+1))
	if o == m.log.StartOffset() {
		return
	}
	m.must(m.log.TruncateTo(o))
	end := m.log.EndOffset()
	m.records = m.records[:sort.Search(len(m.records), func(i int) bool { return m.records[i].offset >= end })]
	m.learnSequences()
}

// learnSequences has producers go on where the log remembers them.
func (m *compactModel) learnSequences() {
	for _, p := range m.log.ActiveProducers() {
		m.seqs[p.ID] = p.LastSequence + 1
	}
}

func (m *compactModel) deleteRecords() {
	o := m.log.StartOffset() + ids.Offset(m.rng.Int64N(int64(m.log.LastStableOffset()-m.log.StartOffset())+1))
	m.must(m.log.AdvanceStart(o))
}

func (m *compactModel) reopen(clean bool) {
	if clean {
		m.must(m.log.closeClean())
		m.env.recovery = m.log.EndOffset()
	} else {
		m.log.closeAbrupt()
	}
	m.openAgain(clean)
}

func (m *compactModel) openAgain(clean bool) {
	cleaned := m.log.CleanedOffset()
	writes := m.log.lastWrites()
	l, err := openLog(&m.env.logEnv, "/data", testTP, m.env.id, m.cfg,
		openOptions{recoveryPoint: m.env.recovery, logStart: m.env.start, cleaned: cleaned, clean: clean})
	m.must(err)
	end := m.log.EndOffset()
	m.log = l
	m.learnSequences()
	if l.EndOffset() == end {
		for id, w := range writes {
			// One whose records have been deleted may be forgotten, as in Kafka.
			if got := l.lastWrites()[id]; w.offset >= (*l.segments.Load())[0].base && got != w {
				m.fatalf("producer %d wrote last at %+v, and is remembered at %+v", id, w, got)
			}
		}
	}
}

// crash goes on with the disk that a power cut has left in the middle of a cleaning: of what had
// been synced each record is there, or the cleaning had taken it away.
func (m *compactModel) crash(before []modelRecord) {
	m.trace = append(m.trace, "power cut")
	m.log.closeAbrupt()
	after, end := m.records, m.log.EndOffset()
	m.mount(m.crashed, m.env.start, m.env.recovery)
	m.openAgain(false)
	l := m.log
	if l.EndOffset() != end {
		m.fatalf("after a crash the log ends at %d, and was synced up to %d", l.EndOffset(), end)
	}
	l.SetHighWatermark(l.EndOffset())
	got, err := visible(l, 1<<20)
	m.must(err)
	most, least := m.seen(before), m.seen(after)
	for _, line := range got {
		if !slices.Contains(most, line) {
			m.fatalf("after a crash a consumer sees %s, which was not there", line)
		}
	}
	for _, line := range least {
		if !slices.Contains(got, line) {
			m.fatalf("after a crash a consumer does not see %s", line)
		}
	}
	// What the log holds now is the model's, batches without a horizon that they may have.
	m.records = slices.DeleteFunc(before, func(r modelRecord) bool {
		return !m.isAborted(&r) && r.offset < l.LastStableOffset() && !slices.Contains(got, fmt.Sprintf("%d %s=%s", r.offset, r.key, r.value))
	})
	m.readHorizons()
}

// readHorizons takes the delete horizons of the batches from the log.
func (m *compactModel) readHorizons() {
	at := make(map[ids.Offset]int64)
	for _, b := range readAll(m.t, m.log, 1<<20) {
		ms, set := b.DeleteHorizon()
		if !set {
			ms = 0
		}
		for r, err := range b.Records() {
			m.must(err)
			at[r.Offset] = ms
		}
	}
	for i := range m.records {
		if ms, there := at[m.records[i].offset]; there {
			m.records[i].batch.horizon = ms
		}
	}
}
