package log

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

var modelSeeds = flag.Int("model.seeds", 40, "how many random histories TestModel plays under each configuration")

// TestModel runs random operations against a log and against a slice of batches, and compares
// what a reader sees after each. Now and then the log is closed, killed, or its disk is cut off
// power in the middle of an operation: what opens then must be a prefix of what had been written,
// no shorter than the durable end and no longer than the end.
func TestModel(t *testing.T) {
	seeds := *modelSeeds
	if testing.Short() {
		seeds = min(seeds, 8)
	}
	for name, cfg := range modelConfigs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range seeds {
				m := newModel(t, uint64(seed), cfg)
				for range 80 {
					m.step()
				}
			}
		})
	}
}

func modelConfigs() map[string]Config {
	small := DefaultConfig()
	small.SegmentBytes, small.IndexIntervalBytes = 1500, 150
	tinyIndex := DefaultConfig()
	tinyIndex.SegmentBytes, tinyIndex.IndexIntervalBytes, tinyIndex.IndexBytes = 20000, 0, 64
	byTime := DefaultConfig()
	byTime.SegmentMs, byTime.SegmentJitterMs = 30, 10
	prealloc := small
	prealloc.Preallocate = true
	retained := small
	retained.RetentionBytes, retained.FileDeleteDelayMs = 4000, 0
	return map[string]Config{"large": DefaultConfig(), "small": small, "tiny index": tinyIndex, "time": byTime, "preallocate": prealloc, "retention": retained}
}

// model is a log and what it must hold.
type model struct {
	t    *testing.T
	seed uint64
	rng  *rand.Rand
	cfg  Config
	mem  *vfs.Mem
	env  *testEnv
	log  *Log
	ts   int64

	batches []record.Batch // all that is in the log, the first may end above start
	start   ids.Offset
	end     ids.Offset

	before   []record.Batch // the same, before the operation under way
	crashIn  int            // events until the power goes; 0 for never
	crashed  *vfs.Mem       // the disk after the cut
	snapshot crashState
	trace    []string
}

// crashState is what had been promised when the power went.
type crashState struct {
	durable, start, recovery ids.Offset
}

func newModel(t *testing.T, seed uint64, cfg Config) *model {
	m := &model{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), cfg: cfg, ts: 1000}
	m.mount(vfs.NewMem(), crashState{})
	m.log = m.env.create(cfg)
	return m
}

// mount makes mem the disk, and starts to watch it.
func (m *model) mount(mem *vfs.Mem, s crashState) {
	f := vfs.NewFault(mem)
	m.mem, m.env, m.crashed, m.crashIn = mem, newTestEnv(m.t, f), nil, 0
	m.env.start, m.env.recovery = s.start, s.recovery
	f.SetHook(func(vfs.Event) {
		if m.crashIn--; m.crashIn == 0 && m.log != nil {
			m.crashed = m.mem.CrashClone(vfs.SomeUnsynced, m.rng.Uint64())
			m.snapshot = crashState{m.log.DurableEnd(), m.env.start, m.env.recovery}
		}
	})
}

func (m *model) fatalf(format string, args ...any) {
	m.t.Helper()
	for _, s := range m.trace[max(0, len(m.trace)-25):] {
		m.t.Log(s)
	}
	m.t.Fatalf("seed %d: %s", m.seed, fmt.Sprintf(format, args...))
}

func (m *model) must(err error) {
	m.t.Helper()
	if err != nil {
		m.fatalf("%v", err)
	}
}

func (m *model) step() {
	m.before = append([]record.Batch(nil), m.batches...)
	if m.crashIn <= 0 && m.rng.IntN(8) == 0 {
		m.crashIn = 1 + m.rng.IntN(12)
	}
	ops := []struct {
		weight int
		name   string
		run    func()
	}{
		{30, "append", m.appendLeader},
		{10, "follow", m.appendFollower},
		{10, "sync", m.sync},
		{4, "checkpoint", func() { m.env.recovery = max(m.env.recovery, m.log.recoveryPoint()) }},
		{8, "read", m.readSome},
		{3, "truncate", m.truncate},
		{1, "truncate fully", m.truncateFully},
		{3, "advance", m.advance},
		{3, "retain", m.retain},
		{6, "lookup", m.lookup},
		{2, "close", func() { m.reopen(true) }},
		{2, "kill", func() { m.reopen(false) }},
	}
	total := 0
	for _, op := range ops {
		total += op.weight
	}
	n := m.rng.IntN(total)
	for _, op := range ops {
		if n -= op.weight; n < 0 {
			m.trace = append(m.trace, op.name)
			op.run()
			m.trace[len(m.trace)-1] += fmt.Sprintf(" -> %d..%d durable %d recovery %d crash in %d", m.log.StartOffset(), m.log.EndOffset(), m.log.DurableEnd(), m.env.recovery, m.crashIn)
			break
		}
	}
	if m.crashed != nil {
		m.crash()
	}
	m.check()
}

// randomBatch is one with random timestamps, sometimes of a producer, sometimes large.
func (m *model) randomBatch() record.Batch {
	m.ts += int64(m.rng.IntN(20) - 5)
	size := m.rng.IntN(200)
	if m.rng.IntN(20) == 0 {
		size = 6000
	}
	return batch(m.ts, 1+m.rng.IntN(4), size/4)
}

func (m *model) appendLeader() {
	for range 1 + m.rng.IntN(6) {
		b := m.randomBatch()
		if int64(len(b)) > int64(m.cfg.SegmentBytes) {
			continue
		}
		a, err := m.log.AppendAsLeader(b, ids.LeaderEpoch(m.end/50))
		m.must(err)
		if a.BaseOffset != m.end {
			m.fatalf("appended at %d instead of %d", a.BaseOffset, m.end)
		}
		m.batches, m.end = append(m.batches, b), b.NextOffset()
		if m.before != nil {
			m.before = append(m.before, b) // a run of appends: every prefix will do
		}
	}
}

func (m *model) appendFollower() {
	var p []byte
	end := m.end
	for range 1 + m.rng.IntN(4) {
		b := m.randomBatch()
		if int64(len(b)) > int64(m.cfg.SegmentBytes) {
			continue
		}
		if m.rng.IntN(3) == 0 {
			end += ids.Offset(m.rng.IntN(10))
		}
		b.SetBaseOffset(end)
		b.SetLeaderEpoch(m.log.LatestEpoch())
		p = append(p, b...)
		m.batches, m.before = append(m.batches, b), append(m.before, b)
		end = b.NextOffset()
	}
	if len(p) == 0 {
		return
	}
	_, err := m.log.AppendAsFollower(p)
	m.must(err)
	m.end = end
}

func (m *model) sync() {
	end, err := m.log.syncFiles()
	m.must(err)
	if end != m.end {
		m.fatalf("durable end %d after a sync, the log ends at %d", end, m.end)
	}
}

func (m *model) truncate() {
	if m.end == m.start {
		return
	}
	o := m.start + ids.Offset(m.rng.Int64N(int64(m.end-m.start)+1))
	m.must(m.log.TruncateTo(o))
	n := len(m.batches)
	for n > 0 && m.batches[n-1].NextOffset() > o {
		n--
	}
	switch {
	case o == m.end:
	case o == m.start || n == 0:
		m.batches, m.end = nil, m.start
	default:
		m.batches, m.end = m.batches[:n], m.batches[n-1].NextOffset()
	}
}

func (m *model) truncateFully() {
	o := ids.Offset(m.rng.Int64N(int64(m.end) + 100))
	m.must(m.log.TruncateFullyAndStartAt(o))
	m.batches, m.start, m.end = nil, o, o
}

func (m *model) advance() {
	m.log.SetHighWatermark(m.end)
	o := m.start + ids.Offset(m.rng.Int64N(int64(m.end-m.start)+1))
	m.must(m.log.AdvanceStart(o))
	m.setStart(o)
	if err := m.log.AdvanceStart(m.end + 1); !errors.Is(err, kerr.OffsetOutOfRange) {
		m.fatalf("advancing past the high watermark: %v", err)
	}
}

func (m *model) setStart(o ids.Offset) {
	m.start = o
	for len(m.batches) > 0 && m.batches[0].NextOffset() <= o {
		m.batches = m.batches[1:]
	}
}

func (m *model) retain() {
	m.log.SetHighWatermark(m.start + ids.Offset(m.rng.Int64N(int64(m.end-m.start)+1)))
	hw := m.log.HighWatermark()
	m.must(m.log.retain(time.UnixMilli(m.ts)))
	if m.log.StartOffset() < m.start || m.log.StartOffset() > max(hw, m.start) {
		m.fatalf("retention moved the start from %d to %d, the high watermark is %d", m.start, m.log.StartOffset(), hw)
	}
	m.setStart(m.log.StartOffset())
}

func (m *model) reopen(clean bool) {
	if clean {
		if err := m.log.closeClean(); err != nil {
			m.fatalf("closing: %v", err)
		}
		m.env.recovery = m.end
	} else {
		m.log.closeAbrupt()
	}
	l, err := m.env.open(m.cfg, clean)
	m.must(err)
	m.log = l
	if n := m.env.files.open(); n != 0 {
		m.fatalf("%d files open after opening", n)
	}
}

// crash goes on with the disk that the power cut has left.
func (m *model) crash() {
	m.trace = append(m.trace, fmt.Sprintf("power cut with %+v", m.snapshot))
	m.log.closeAbrupt()
	s := m.snapshot
	m.mount(m.crashed, s)
	l, err := m.env.open(m.cfg, false)
	m.must(err)
	m.log = l
	if l.EndOffset() < s.durable || l.StartOffset() < s.start {
		m.fatalf("after a crash the log has %d to %d, promised were start %d and durable end %d", l.StartOffset(), l.EndOffset(), s.start, s.durable)
	}
	got := readAll(m.t, l, 1<<20)
	if !isRun(m.before, got) && !isRun(m.batches, got) {
		m.fatalf("after a crash the log holds %s; before it held %s, then %s", offsetsOf(got), offsetsOf(m.before), offsetsOf(m.batches))
	}
	m.batches = got
	m.start, m.end = l.StartOffset(), l.EndOffset()
}

// isRun tells whether part is a run of batches of whole.
func isRun(whole, part []record.Batch) bool {
	if len(part) == 0 {
		return true
	}
	for i := range whole {
		if whole[i].BaseOffset() == part[0].BaseOffset() && len(whole)-i >= len(part) {
			for j := range part {
				if !bytes.Equal(whole[i+j], part[j]) {
					return false
				}
			}
			return true
		}
	}
	return false
}

// check compares everything that can be read with the model.
func (m *model) check() {
	m.t.Helper()
	if m.log.StartOffset() != m.start || m.log.EndOffset() != m.end {
		m.fatalf("the log has %d to %d, expected %d to %d", m.log.StartOffset(), m.log.EndOffset(), m.start, m.end)
	}
	if d := m.log.DurableEnd(); d > m.end {
		m.fatalf("durable end %d above the end %d", d, m.end)
	}
	got := readAll(m.t, m.log, int32(1+m.rng.IntN(3000)))
	if offsetsOf(got) != offsetsOf(m.batches) {
		m.fatalf("the log holds %s, expected %s", offsetsOf(got), offsetsOf(m.batches))
	}
	for i := range got {
		if !bytes.Equal(got[i], m.batches[i]) {
			m.fatalf("batch at offset %d differs", got[i].BaseOffset())
		}
	}
}

// readSome reads between random bounds and compares with what the model says.
func (m *model) readSome() {
	from := m.start + ids.Offset(m.rng.Int64N(int64(m.end-m.start)+1))
	bound := from + ids.Offset(m.rng.Int64N(int64(m.end-from)+1))
	maxBytes := int32(m.rng.IntN(2000))
	minOne := m.rng.IntN(2) == 0
	s, err := m.log.Read(from, bound, maxBytes, minOne)
	m.must(err)
	got := sliceBatches(m.t, s)
	i := 0
	for i < len(m.batches) && m.batches[i].NextOffset() <= from {
		i++
	}
	used := 0
	for j, b := range got {
		if i+j >= len(m.batches) || !bytes.Equal(b, m.batches[i+j]) || b.NextOffset() > bound {
			m.fatalf("reading %d to %d with %d bytes gave %s", from, bound, maxBytes, offsetsOf(got))
		}
		used += len(b)
	}
	if used > int(maxBytes) && (len(got) > 1 || !minOne) {
		m.fatalf("reading %d bytes gave %d in %d batches", maxBytes, used, len(got))
	}
	if i < len(m.batches) && m.batches[i].NextOffset() <= bound && len(got) == 0 && (minOne || len(m.batches[i]) <= int(maxBytes)) {
		m.fatalf("reading %d to %d with %d bytes gave nothing", from, bound, maxBytes)
	}
}

func (m *model) lookup() {
	ts := m.ts - int64(m.rng.IntN(300))
	want := ids.NoOffset
	for _, b := range m.batches {
		off, _, ok, err := b.FindTimestamp(ts, m.start)
		m.must(err)
		if ok {
			want = off
			break
		}
	}
	off, foundTs, _, ok, err := m.log.OffsetForTimestamp(ts, m.end)
	m.must(err)
	if ok != (want >= 0) || ok && (off != want || foundTs < ts) {
		m.fatalf("timestamp %d is at %d (%d, %t), expected %d", ts, off, foundTs, ok, want)
	}
}
