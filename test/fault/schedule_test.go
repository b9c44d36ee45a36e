//go:build linux

package main

import (
	"slices"
	"testing"
	"time"

	"github.com/moldau/moldau/test/nodes"
)

func TestSchedulesAreOfTheirSeed(t *testing.T) {
	for seed := range uint64(100) {
		if a, b := draw(seed, kinds), draw(seed, kinds); a.String() != b.String() {
			t.Fatalf("seed %d: %v and %v", seed, a, b)
		}
	}
	if draw(1, kinds).String() == draw(2, kinds).String() {
		t.Error("seeds 1 and 2 are the same")
	}
}

// What a hundred schedules are, so that a mistake in the drawing does not leave faults out.
func TestSchedulesHaveEverything(t *testing.T) {
	drawn := map[string]int{}
	bearable, twice, slots := 0, 0, 0
	for seed := range uint64(100) {
		s := draw(seed+1, kinds)
		if s.bearable() {
			bearable++
		}
		for _, slot := range s.slots {
			slots++
			drawn[string(slot.who)]++
			if len(slot.faults) == 2 {
				twice++
				if slot.bearable() {
					drawn["two on one"]++
				} else {
					drawn["two on two"]++
				}
			}
			for _, p := range slot.faults {
				drawn[p.kind.name]++
			}
		}
	}
	for _, k := range kinds {
		if drawn[k.name] < 10 {
			t.Errorf("%s happens %d times", k.name, drawn[k.name])
		}
	}
	for _, name := range []string{"node", "leader", "controller", "two on one", "two on two"} {
		if drawn[name] < 20 {
			t.Errorf("%s: %d times", name, drawn[name])
		}
	}
	if bearable < 50 || bearable > 90 || slots < 700 || twice < 100 {
		t.Errorf("%d of 100 bearable, %d faults, %d of them two at once", bearable, slots, twice)
	}
}

func TestSchedulesCanHappen(t *testing.T) {
	for seed := range uint64(300) {
		s := draw(seed, kinds)
		last := time.Duration(0)
		for _, slot := range s.slots {
			steps := slot.steps()
			if steps[0].at < last {
				t.Fatalf("seed %d: a slot begins at %v, before %v", seed, steps[0].at, last)
			}
			last = steps[len(steps)-1].at
			if last > scheduleTime {
				t.Fatalf("seed %d: something ends at %v", seed, last)
			}
			stopped := map[int32]bool{} // processes
			for _, p := range slot.faults {
				on := []int32{p.on}
				if p.kind.name == "all-killed" {
					on = []int32{0, 1, 2}
				}
				for _, n := range on {
					if p.kind.process && stopped[n] {
						t.Fatalf("seed %d: two things happen to a process: %v", seed, s)
					}
					stopped[n] = stopped[n] || p.kind.process
				}
				if p.until < p.from || p.peer < 1 || p.peer >= nodes.Count {
					t.Fatalf("seed %d: %+v", seed, p)
				}
			}
		}
	}
}

func TestBearableIsAtOneNode(t *testing.T) {
	one := func(name string, on int32) planned { return planned{kind: kindOf(name), on: on, peer: 1} }
	for _, c := range []struct {
		name   string
		faults []planned
		want   bool
	}{
		{"a node", []planned{one("killed", 0)}, true},
		{"two on it", []planned{one("slow-disk", 0), one("lossy", 0)}, true},
		{"two nodes", []planned{one("killed", 0), one("still", 1)}, false},
		{"all", []planned{one("all-killed", 0)}, false},
	} {
		if got := (slot{faults: c.faults}).bearable(); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestDirectionsOfAFault(t *testing.T) {
	for _, c := range []struct {
		name string
		want []direction // that are cut, of node 2 and its peer 3
	}{
		{"isolated", []direction{{1, 2}, {2, 1}, {2, 3}, {3, 2}}},
		{"alone", []direction{{0, 2}, {1, 2}, {2, 0}, {2, 1}, {2, 3}, {3, 2}}},
		{"deaf", []direction{{1, 2}, {3, 2}}},
		{"mute", []direction{{2, 1}, {2, 3}}},
		{"cut", []direction{{2, 3}, {3, 2}}},
		{"one-way", []direction{{3, 2}}},
		{"away", []direction{{0, 2}, {2, 0}}},
		{"unheard", []direction{{2, 0}}},
	} {
		var got []direction
		for d, q := range (fault{kind: kindOf(c.name), on: 2, peer: 3}).directions() {
			if q == cut {
				got = append(got, d)
			}
		}
		slices.SortFunc(got, func(a, b direction) int { return int(10*(a.from-b.from) + a.to - b.to) })
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, not %v", c.name, got, c.want)
		}
	}
}
