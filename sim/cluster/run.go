package cluster

import (
	"fmt"
	"log/slog"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// Outcome is what one seed has come to.
type Outcome struct {
	Nodes     int
	Decided   ids.Offset // the last entry
	Epochs    int        // that somebody led
	Changes   int        // of who votes
	Starts    int
	Reads     int
	Trace     string // the last events
	Violation error  // the first one
}

func (o *Outcome) String() string {
	return fmt.Sprintf("%d nodes, %d entries, %d epochs, %d changes of voters, %d starts, %d reads", o.Nodes, o.Decided, o.Epochs, o.Changes, o.Starts, o.Reads)
}

// Run lets the world of a seed pass, without the omitted syncs.
func Run(seed uint64, logger *slog.Logger, omitted ...vfs.Site) Outcome {
	w, err := newWorld(seed, logger)
	if err != nil {
		return Outcome{Violation: err}
	}
	w.omitted = omitted
	w.run(faultsFor, nil)
	w.heal()
	o := Outcome{
		Nodes: len(w.hosts), Decided: w.judge.last, Epochs: len(w.judge.leaders), Changes: w.judge.replaced, Reads: w.readsDone,
		Trace: w.Trace(), Violation: w.judge.failure,
	}
	for _, h := range w.hosts {
		o.Starts += h.life
		if h.member != nil {
			h.fault.Inject(vfs.Rule{Err: errPower}) // saves it the work
			_ = h.member.Close()
		}
	}
	return o
}
