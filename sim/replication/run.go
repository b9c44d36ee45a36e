package replication

import "fmt"

// Outcome is what one seed has come to.
type Outcome struct {
	Nodes     int
	Events    int
	Records   int // committed
	Acks      int
	Epochs    int // that somebody led
	Unclean   int // elections that may have lost something
	Starts    int
	Cuts      int // of logs, because the leader's was another
	Trace     string
	Violation error // the first one
}

func (o *Outcome) String() string {
	return fmt.Sprintf("%d nodes, %d events, %d records, %d acks, %d epochs, %d unclean, %d starts, %d cuts", o.Nodes, o.Events, o.Records, o.Acks, o.Epochs, o.Unclean, o.Starts, o.Cuts)
}

// Run lets the world of a seed pass: that many steps with faults, and then as many as it takes to heal. A step is an event, something
// that arrives, is due or goes wrong, with all that follows from it at once.
func Run(seed uint64, steps int) Outcome {
	w := newWorld(seed)
	w.found()
	w.run(forever, func() bool { return w.happened >= steps })
	if w.judge.failure == nil {
		w.heal()
	}
	o := Outcome{Nodes: len(w.hosts), Events: w.happened, Acks: w.judge.acks, Cuts: w.cuts, Trace: w.Trace(), Violation: w.judge.failure}
	for p := range w.judge.partitions {
		known := &w.judge.partitions[p]
		o.Records += len(known.committed)
		o.Epochs += len(known.leaders)
		o.Unclean += known.lossy
	}
	for _, h := range w.hosts {
		o.Starts += h.life
	}
	return o
}
