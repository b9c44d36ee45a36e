package log

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/ids"
)

func TestPlanCleaning(t *testing.T) {
	// Five segments of 10 offsets, the last one active; each of 100 bytes, its newest record 10 ms
	// younger than that of the one before, its first batch 5 ms older than its newest record.
	state := func(change func(*cleaningState)) *cleaningState {
		st := &cleaningState{end: 50, stable: 50, durable: 50, nowMs: 1000}
		for i := range int64(5) {
			st.segments = append(st.segments, segmentState{base: ids.Offset(10 * i), sizeBytes: 100, newestMs: 900 + 10*i, firstMs: 895 + 10*i})
		}
		if change != nil {
			change(st)
		}
		return st
	}
	cfg := func(change func(*Config)) *Config {
		c := DefaultConfig()
		if change != nil {
			change(&c)
		}
		return &c
	}
	for _, c := range []struct {
		name   string
		change func(*cleaningState)
		cfg    func(*Config)
		want   cleaningPlan
	}{
		{"never cleaned: all but the active segment", nil, nil, cleaningPlan{0, 40, 0, 400, 0}},
		{"from where the last cleaning ended", func(s *cleaningState) { s.cleaned = 20 }, nil, cleaningPlan{20, 40, 200, 200, 0}},
		{"which may be within a segment", func(s *cleaningState) { s.cleaned = 25 }, nil, cleaningPlan{25, 40, 300, 200, 0}},
		{"everything is clean", func(s *cleaningState) { s.cleaned = 40 }, nil, cleaningPlan{40, 40, 400, 0, 0}},
		{"clean into the active segment", func(s *cleaningState) { s.cleaned = 45 }, nil, cleaningPlan{45, 40, 400, 0, 0}},
		{"the log start is later", func(s *cleaningState) { s.cleaned, s.start = 5, 15 }, nil, cleaningPlan{15, 40, 200, 300, 0}},
		{"cut below what was cleaned", func(s *cleaningState) { s.cleaned, s.end = 60, 50 }, nil, cleaningPlan{0, 40, 0, 400, 0}},
		{"an open transaction", func(s *cleaningState) { s.stable = 30 }, nil, cleaningPlan{0, 30, 0, 300, 0}},
		{"which begins within a segment", func(s *cleaningState) { s.stable = 29 }, nil, cleaningPlan{0, 20, 0, 200, 0}},
		{"or in the first", func(s *cleaningState) { s.stable = 9 }, nil, cleaningPlan{0, 0, 0, 0, 0}},
		{"below what was cleaned", func(s *cleaningState) { s.stable, s.cleaned = 9, 15 }, nil, cleaningPlan{15, 10, 200, 0, 0}},
		{"what is not synced", func(s *cleaningState) { s.durable = 35 }, nil, cleaningPlan{0, 30, 0, 300, 0}},
		{"too young", nil, func(c *Config) { c.MinCompactionLagMs = 85 }, cleaningPlan{0, 20, 0, 200, 0}},
		{"just old enough", nil, func(c *Config) { c.MinCompactionLagMs = 80 }, cleaningPlan{0, 30, 0, 300, 0}},
		{"a young one stops older ones behind it", func(s *cleaningState) { s.segments[1].newestMs = 999 }, func(c *Config) { c.MinCompactionLagMs = 10 },
			cleaningPlan{0, 10, 0, 100, 0}},
		{"a young one that is clean does not", func(s *cleaningState) { s.segments[1].newestMs, s.cleaned = 999, 20 }, func(c *Config) { c.MinCompactionLagMs = 10 },
			cleaningPlan{20, 40, 200, 200, 0}},
		{"too old", nil, func(c *Config) { c.MaxCompactionLagMs = 100 }, cleaningPlan{0, 40, 0, 400, 5}},
		{"not too old", nil, func(c *Config) { c.MaxCompactionLagMs = 105 }, cleaningPlan{0, 40, 0, 400, 0}},
		{"the clean ones do not count", func(s *cleaningState) { s.cleaned = 20 }, func(c *Config) { c.MaxCompactionLagMs = 80 }, cleaningPlan{20, 40, 200, 200, 5}},
		{"nor do those without a time", func(s *cleaningState) { s.segments[0].firstMs = -1 }, func(c *Config) { c.MaxCompactionLagMs = 95 }, cleaningPlan{0, 40, 0, 400, 0}},
	} {
		if got := planCleaning(state(c.change), cfg(c.cfg)); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestWhenCleaningIsDue(t *testing.T) {
	cfg := DefaultConfig()
	for _, c := range []struct {
		p    cleaningPlan
		want string // how the reason begins
	}{
		{cleaningPlan{dirtyBytes: 100, cleanedBytes: 99}, "50 % of it is dirty"},
		{cleaningPlan{dirtyBytes: 100, cleanedBytes: 100}, ""},
		{cleaningPlan{dirtyBytes: 1, cleanedBytes: 100, lateMs: 7}, "max.compaction.lag.ms is exceeded by 7 ms"},
		{cleaningPlan{cleanedBytes: 100, lateMs: 7}, ""},
		{cleaningPlan{}, ""},
	} {
		why, due := c.p.due(&cfg)
		if due != (c.want != "") || !strings.HasPrefix(why, c.want) {
			t.Errorf("%+v: %v, %q, want %q", c.p, due, why, c.want)
		}
	}
	cfg.MinCleanableRatio = 0
	if _, due := (&cleaningPlan{cleanedBytes: 100}).due(&cfg); due {
		t.Error("a clean log is to be cleaned")
	}
}

func TestGroupSegments(t *testing.T) {
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.IndexBytes = 100, 50
	const far = math.MaxInt32
	for _, c := range []struct {
		name string
		segs []segmentSize
		end  ids.Offset
		want []int
	}{
		{"none", nil, 10, nil},
		{"as many as fit", []segmentSize{{0, 30, 1, 1}, {10, 30, 1, 1}, {20, 40, 1, 1}, {30, 1, 1, 1}}, 40, []int{3, 1}},
		{"one that is too large stays alone", []segmentSize{{0, 130, 1, 1}, {10, 30, 1, 1}, {20, 40, 1, 1}}, 40, []int{1, 2}},
		{"offset indexes", []segmentSize{{0, 1, 30, 1}, {10, 1, 20, 1}, {20, 1, 1, 1}}, 40, []int{2, 1}},
		{"time indexes", []segmentSize{{0, 1, 1, 51}, {10, 1, 1, 50}, {20, 1, 1, 1}}, 40, []int{1, 1, 1}},
		{"offsets that fit", []segmentSize{{5, 1, 1, 1}, {10, 1, 1, 1}, {6 + far, 1, 1, 1}}, 7 + far, []int{2, 1}},
		{"offsets that do not fit", []segmentSize{{5, 1, 1, 1}, {10, 1, 1, 1}, {7 + far, 1, 1, 1}}, 8 + far, []int{1, 2}},
	} {
		if got := groupSegments(c.segs, c.end, &cfg); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestOffsetMap(t *testing.T) {
	m := newOffsetMap(1000, 0.9)
	key := func(i int) []byte { return []byte(fmt.Sprint("key ", i)) }
	for i := range 900 {
		if !m.put(key(i), ids.Offset(i)) {
			t.Fatalf("no room for key %d", i)
		}
	}
	if m.put(key(900), 900) {
		t.Error("room for one key more than the load allows")
	}
	for i := range 900 { // known ones still go in
		if !m.put(key(i), ids.Offset(10_000+i)) {
			t.Fatalf("no room for another offset of key %d", i)
		}
	}
	for i := range 1000 {
		want := ids.Offset(10_000 + i)
		if i >= 900 {
			want = ids.NoOffset
		}
		if got := m.last(key(i)); got != want {
			t.Fatalf("key %d is at %d, want %d", i, got, want)
		}
	}
	if m.put(nil, 0); m.last([]byte{}) != ids.NoOffset && m.keys != 900 {
		t.Error("the empty key took a slot")
	}
}

// The map is as large as the keys need, and never more than it may be.
func TestOffsetMapSlots(t *testing.T) {
	for _, c := range []struct {
		bytes, keys int64
		load        float64
		want        int
	}{
		{128 << 20, 0, 0.9, 2},
		{128 << 20, 9, 0.9, 12},
		{128 << 20, 100e6, 0.9, 5592405},
		{10, 100e6, 0.9, 2},
	} {
		slots := offsetMapSlots(c.bytes, c.keys, c.load)
		if slots != c.want {
			t.Errorf("%d bytes, %d keys: %d slots, want %d", c.bytes, c.keys, slots, c.want)
		}
		if m := newOffsetMap(min(slots, 20), c.load); !m.put([]byte("a"), 0) || m.last([]byte("a")) != 0 || m.last([]byte("b")) != ids.NoOffset {
			t.Error("a map that takes no key")
		}
	}
}
