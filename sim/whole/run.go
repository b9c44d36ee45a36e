package whole

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moldau/moldau/test/history"
)

// Outcome is what one seed has come to.
type Outcome struct {
	Nodes     int
	Lasted    time.Duration // virtual
	Faults    int
	Cuts      int // of the power of all machines
	Starts    int // of brokers
	Verdict   *history.Verdict
	Lost      map[string]int // acknowledged records, by topic that may lose some
	GaveUp    int            // records that clients gave up
	Longest   time.Duration  // until all partitions were in use again
	Trace     string
	Violation error // the first one
}

func (o *Outcome) String() string {
	lost := 0
	for _, n := range o.Lost {
		lost += n
	}
	return fmt.Sprintf("recovered within %v: %d nodes, %d virtual seconds, %d faults, %d cuts of all power, %d starts, %d records acknowledged, %d read meanwhile, %d commits, %d answers, %d lost with all power, %d given up",
		o.Longest.Round(time.Millisecond), o.Nodes, int(o.Lasted.Seconds()), o.Faults, o.Cuts, o.Starts, o.Verdict.Acked, o.Verdict.Seen, o.Verdict.Commits, o.Verdict.Answers, lost, o.GaveUp)
}

// Options say what a world is.
type Options struct {
	Power bool          // all machines lose their power at the same time, again and again; otherwise anything else happens
	Lasts time.Duration // virtual
	Loud  bool          // the trace is printed as it happens
}

// Run lets the world of a seed pass, in a bubble.
func Run(seed uint64, opts Options) Outcome {
	w := newWorld(seed, opts.Power, opts.Loud)
	w.run(opts.Lasts)
	o := Outcome{
		Nodes: len(w.nodes), Lasted: time.Since(w.trace.began), Faults: w.faults, Cuts: w.records.mu.cuts, Starts: w.mu.starts,
		GaveUp: w.records.mu.failed, Longest: w.longest, Violation: w.failure(), Verdict: &history.Verdict{},
	}
	if o.Violation == nil {
		o.Verdict, o.Lost = w.verdict()
		if !o.Verdict.OK() {
			var all []string
			for _, v := range o.Verdict.Violations[:min(10, len(o.Verdict.Violations))] {
				all = append(all, v.String())
			}
			o.Violation = fmt.Errorf("%d violations: %s", len(o.Verdict.Violations), strings.Join(slices.Compact(all), "; "))
		}
	}
	o.Trace = w.trace.String()
	return o
}
