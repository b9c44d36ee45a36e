//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/moldau/moldau/test/nodes"
)

const (
	// scheduleTime is how long a schedule's faults are.
	scheduleTime = 60 * time.Second
	// stallMax is how long a partition may acknowledge nothing where no more is wrong than three replicas bear: longer than the longest
	// fault and some requests that time out.
	stallMax = 30 * time.Second
)

// who a slot of a schedule concerns. What leads is found out when it begins.
type who string

const (
	anyNode    who = "node"
	leader     who = "leader"
	controller who = "controller"
)

// planned is a fault of a slot.
type planned struct {
	kind *kind
	// on and peer are counted from the node that the slot concerns.
	on, peer    int32
	from, until time.Duration // since the schedule's begin
}

// slot is one fault, or two at once.
type slot struct {
	who    who
	node   int32 // where nothing leads
	faults []planned
}

// bearable tells whether two of three nodes are as they should be, and connected.
func (s slot) bearable() bool {
	for _, p := range s.faults {
		if p.on != 0 || p.kind.name == "all-killed" {
			return false
		}
	}
	return true
}

// schedule is a minute of faults.
type schedule struct {
	seed  uint64
	slots []slot
}

func (s schedule) bearable() bool {
	return !slices.ContainsFunc(s.slots, func(s slot) bool { return !s.bearable() })
}

func (s schedule) needs(n need) bool {
	return slices.ContainsFunc(s.slots, func(s slot) bool {
		return slices.ContainsFunc(s.faults, func(p planned) bool { return p.kind.need == n })
	})
}

// String names the faults, those at once with a plus between them.
func (s schedule) String() string {
	var all []string
	for _, slot := range s.slots {
		var names []string
		for _, p := range slot.faults {
			names = append(names, p.kind.name)
		}
		all = append(all, string(slot.who)+":"+strings.Join(names, "+"))
	}
	return strings.Join(all, " ")
}

// draw makes the schedule of a seed from kinds. One in three goes beyond what three replicas bear.
func draw(seed uint64, from []*kind) schedule {
	rng := rand.New(rand.NewPCG(seed, 1))
	beyond := rng.IntN(3) == 0
	s := schedule{seed: seed}
	for at := between(rng, time.Second, 3*time.Second); at < scheduleTime-3*time.Second; {
		next, until := drawSlot(rng, from, at, beyond)
		s.slots = append(s.slots, next)
		at = until + between(rng, time.Second, 4*time.Second)
	}
	return s
}

func drawSlot(rng *rand.Rand, from []*kind, at time.Duration, beyond bool) (slot, time.Duration) {
	s := slot{who: []who{anyNode, leader, controller}[rng.IntN(3)], node: 1 + rng.Int32N(nodes.Count)}
	from = slices.DeleteFunc(slices.Clone(from), func(k *kind) bool { return !beyond && k.name == "all-killed" })
	first := drawFault(rng, from, at)
	s.faults = []planned{first}
	until := first.until
	if rng.IntN(3) == 0 {
		second := drawFault(rng, from, at+between(rng, 0, first.until-at))
		if beyond {
			second.on = rng.Int32N(2)
		}
		if fits(first, second) {
			s.faults = append(s.faults, second)
			until = max(until, second.until)
		}
	}
	return s, until
}

func drawFault(rng *rand.Rand, from []*kind, at time.Duration) planned {
	return planned{
		kind: from[rng.IntN(len(from))], peer: 1 + rng.Int32N(nodes.Count-1), from: at, until: min(at+between(rng, 500*time.Millisecond, 8*time.Second), scheduleTime),
	}
}

// fits tells whether two faults can be at once.
func fits(a, b planned) bool {
	if a.kind == b.kind && a.on == b.on {
		return false
	}
	everybody := a.kind.name == "all-killed" || b.kind.name == "all-killed"
	return !a.kind.process || !b.kind.process || a.on != b.on && !everybody
}

func between(rng *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(rng.Int64N(int64(max(to-from, 1))))
}

// step is a begin or an end.
type step struct {
	at    time.Duration
	fault int // of its slot
	ends  bool
}

func (s slot) steps() []step {
	var all []step
	for i, p := range s.faults {
		all = append(all, step{at: p.from, fault: i}, step{at: p.until, fault: i, ends: true})
	}
	slices.SortStableFunc(all, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	return all
}

// play lets a schedule happen. What takes long to begin or to end delays what follows.
func (r *run) play(ctx context.Context, s schedule) (err error) {
	defer func() { err = errors.Join(err, r.endAll()) }()
	begun := time.Now()
	for _, slot := range s.slots {
		if err := pause(ctx, slot.faults[0].from-time.Since(begun)); err != nil {
			return err
		}
		on := r.concerned(ctx, slot)
		for _, step := range slot.steps() {
			if err := pause(ctx, step.at-time.Since(begun)); err != nil {
				return err
			}
			p := slot.faults[step.fault]
			f := fault{kind: p.kind, on: turned(on, p.on), peer: turned(on, p.on+p.peer)}
			do, word := r.begin, "begins"
			if step.ends {
				do, word = r.end, "ends"
			} else {
				r.struck++
			}
			r.say("%v %s", f, word)
			if err := do(f); err != nil {
				return fmt.Errorf("%v after the begin: %w", step.at.Round(time.Millisecond), err)
			}
		}
	}
	return nil
}

// turned is the node so many after another.
func turned(node, by int32) int32 { return (node-1+by)%nodes.Count + 1 }

// concerned is the node that a slot is about. Where nothing leads for a while it is the one that was drawn.
func (r *run) concerned(ctx context.Context, s slot) int32 {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	switch s.who {
	case leader:
		if id, err := r.leader(ctx, 0); err == nil {
			return id
		}
	case controller:
		if q, err := r.cluster.Quorum(ctx); err == nil {
			return q.Leader
		}
	}
	return s.node
}
