package quorum

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/datadriven"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// trace writes down what a node does to its disk and its state machine, in order.
type trace struct {
	mu    sync.Mutex
	lines []string
}

func (tr *trace) add(format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.lines = append(tr.lines, fmt.Sprintf(format, args...))
}

func (tr *trace) take() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	s := strings.Join(tr.lines, "\n")
	tr.lines = nil
	return s + "\n"
}

// besideThePoint tells what the log keeps beside its entries: indexes, epochs, producers.
func besideThePoint(e vfs.Event) bool {
	return e.Op == vfs.OpOpenReadWrite || strings.Contains(e.Name, "index") || strings.Contains(e.Name, "leader-epoch") || strings.Contains(e.Name, ".snapshot")
}

// TestTrace shows each write and sync of a life. The order of the lines is the promise: entries
// and their sync, quorum-state and its syncs, then what is applied.
func TestTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := new(trace)
		fault := vfs.NewFault(newDisk(t))
		fault.SetHook(func(e vfs.Event) {
			if !besideThePoint(e) {
				tr.add("%s %s", e.Op, strings.TrimPrefix(e.Name, testDir+"/"))
			}
		})
		var n *Node
		defer func() { n.Stop() }() // where a line differs
		datadriven.RunTest(t, "testdata/trace.txt", func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "start":
				cfg := testConfig(fault)
				if d.HasArg("snapshot-bytes") {
					d.ScanArgs(t, "snapshot-bytes", &cfg.SnapshotBytes)
				}
				n = tr.start(t, cfg)
			case "propose": // all lines at once: the node is held up until the last is in its queue
				n.mu.Lock()
				for _, line := range strings.Split(d.Input, "\n") {
					n.mu.queue = append(n.mu.queue, []byte(line))
				}
				n.mu.Unlock()
				n.wake <- struct{}{}
			case "stop":
				n.Stop()
			}
			synctest.Wait()
			if err := n.Err(); err != nil {
				t.Fatal(err)
			}
			return tr.take()
		})
	})
}

func (tr *trace) start(t *testing.T, cfg Config) *Node {
	m := newMachine()
	m.onApply = func(data string) { tr.add("-> apply %q", data) }
	m.onLead = func(epoch ids.LeaderEpoch) { tr.add("-> lead epoch %d", epoch) }
	return open(t, cfg, m)
}
