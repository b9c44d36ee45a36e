package partition

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

const self = ids.NodeID(1)

// fixture is a partition over a log in memory, whose syncs can be held up.
type fixture struct {
	*Partition
	fs *vfs.Fault
}

func policyOf(d Durability) Policy {
	return Policy{Durability: d, MinInSyncReplicas: 1, MaxMessageBytes: 1 << 20, SegmentBytes: 1 << 30}
}

// newFixture returns a partition that self leads alone in epoch 0.
func newFixture(t testing.TB, d Durability) *fixture {
	t.Helper()
	fs := vfs.NewFault(vfs.NewMem())
	if err := fs.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	id := ids.NewUUID()
	l, closer, err := log.OpenOne(log.OneConfig{
		FS: fs, Dir: "/data", TopicPartition: ids.TopicPartition{Topic: "t"}, TopicID: id,
		Config: log.DefaultConfig(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closer.Close() })
	f := &fixture{New(id, self, l, policyOf(d)), fs}
	f.SetState(alone(0))
	return f
}

func alone(epoch ids.LeaderEpoch) State {
	return State{Leader: self, LeaderEpoch: epoch, PartitionEpoch: int32(epoch), Replicas: []ids.NodeID{self}, ISR: []ids.NodeID{self}}
}

func following(epoch ids.LeaderEpoch) State {
	s := alone(epoch)
	s.Leader = self + 1
	return s
}

// stall holds up every sync until the function it returns is called.
func (f *fixture) stall() (release func()) {
	gate := make(chan struct{})
	f.fs.SetHook(func(e vfs.Event) {
		if e.Op == vfs.OpSync || e.Op == vfs.OpSyncDir || e.Op == vfs.OpSyncFS {
			<-gate
		}
	})
	return sync.OnceFunc(func() {
		f.fs.SetHook(nil)
		close(gate)
	})
}

func oneRecord() record.Batch {
	return record.NewBuilder().Append(time.Now().UnixMilli(), nil, []byte("x")).MustBuild()
}

// put appends one record and returns the end behind it.
func (f *fixture) put(t testing.TB) ids.Offset {
	t.Helper()
	a, err := f.AppendAsLeader(oneRecord(), AcksAll)
	if err != nil {
		t.Fatal(err)
	}
	return a.LastOffset + 1
}

// told is how a wait ended.
type told struct {
	done chan struct{}
	err  error
}

func (w *told) Done(err error) {
	w.err = err
	close(w.done)
}

// wait waits for everything below end to be committed.
func (f *fixture) wait(end ids.Offset) *told {
	w := &told{done: make(chan struct{})}
	f.WhenCommitted(end, w)
	return w
}

func (w *told) ended() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}
