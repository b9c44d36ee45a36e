package log

import (
	"testing"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// TestTruncationForgetsUnwrittenEpochs: a leader that appended nothing in its epoch becomes a follower, and cuts its log where it ends.
func TestTruncationForgetsUnwrittenEpochs(t *testing.T) {
	l := newTestEnv(t, vfs.NewMem()).create(DefaultConfig())
	for range 3 {
		if _, err := l.AppendAsLeader(batch(1, 1, 10), 4); err != nil {
			t.Fatal(err)
		}
	}
	l.StartEpoch(5)
	l.StartEpoch(7)
	if err := l.TruncateTo(3); err != nil {
		t.Fatal(err)
	}
	if e, end := l.EndOffsetForEpoch(4); l.LatestEpoch() != 4 || e != 4 || end != 3 {
		t.Fatalf("the last epoch is %d, epoch %d ends at %d", l.LatestEpoch(), e, end)
	}
	l.StartEpoch(8)
	if e, end := l.EndOffsetForEpoch(7); e != 4 || end != ids.Offset(3) {
		t.Fatalf("up to epoch 7 there is %d, which ends at %d", e, end)
	}
}
