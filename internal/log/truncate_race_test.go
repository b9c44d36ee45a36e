package log

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// Records that are taken from both ends of a log at the same moment: a truncation meets retention or DeleteRecords at
// each place where one of them holds no lock of the log, which is where it waits for a checkpoint, or has just decided.

const racedEnd = 12

// racedLog has racedEnd records, one a batch, in four segments.
func racedLog(t *testing.T) (*testEnv, *Log) {
	t.Helper()
	e := newTestEnv(t, vfs.NewMem())
	cfg := crashLogConfig()
	cfg.SegmentBytes, cfg.FileDeleteDelayMs = 400, 0
	l := e.create(cfg)
	for n := range racedEnd {
		appendValues(t, l, fmt.Sprint(n, strings.Repeat(".", 50)))
	}
	if _, err := l.syncFiles(); err != nil {
		t.Fatal(err)
	}
	l.SetHighWatermark(racedEnd)
	e.recovery = l.recoveryPoint()
	if n := len(*l.segments.Load()); n != 4 || e.recovery != racedEnd {
		t.Fatalf("%d segments, checked up to %d", n, e.recovery)
	}
	return e, l
}

// once has f run in a checkpoint, before it is written, the first time.
func once(checkpoint func(*Log) error, f func()) func(*Log) error {
	return func(l *Log) error {
		if now := f; now != nil {
			f = nil
			now()
		}
		return checkpoint(l)
	}
}

// onDecision runs a function when retention tells what it is about to do.
type onDecision struct{ run func() }

func (o *onDecision) Enabled(context.Context, slog.Level) bool { return true }
func (o *onDecision) WithAttrs([]slog.Attr) slog.Handler       { return o }
func (o *onDecision) WithGroup(string) slog.Handler            { return o }
func (o *onDecision) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "dropping old segments" {
		o.run()
	}
	return nil
}

func TestTruncationMeetsDeletion(t *testing.T) {
	for _, c := range []struct {
		name string
		// run truncates to cut and deletes below start, and returns from where to where the log then is.
		run func(e *testEnv, l *Log, cut, start ids.Offset) (from, to ids.Offset, err error)
	}{
		{"records are deleted while a truncation has its recovery point checkpointed", func(e *testEnv, l *Log, cut, start ids.Offset) (ids.Offset, ids.Offset, error) {
			var deleted error
			e.checkpointRecovery = once(e.checkpointRecovery, func() { deleted = l.AdvanceStart(start) })
			err := l.TruncateTo(cut)
			return min(start, cut), cut, errors.Join(err, deleted)
		}},
		{"the log is truncated while a deletion has its start checkpointed", func(e *testEnv, l *Log, cut, start ids.Offset) (ids.Offset, ids.Offset, error) {
			var truncated error
			e.checkpointStart = once(e.checkpointStart, func() { truncated = l.TruncateTo(cut) })
			if start == 0 { // nothing to delete
				truncated = l.TruncateTo(cut)
			}
			err := l.AdvanceStart(start)
			return min(start, cut), cut, errors.Join(err, truncated)
		}},
		{"the log is truncated when retention has decided", func(e *testEnv, l *Log, cut, start ids.Offset) (ids.Offset, ids.Offset, error) {
			var truncated error
			e.logger = slog.New(&onDecision{func() { truncated = l.TruncateTo(cut) }})
			cfg := l.Config()
			cfg.RetentionBytes = int64(racedEnd-start) * l.SizeBytes() / racedEnd
			l.SetConfig(cfg)
			n, decided, err := l.outlived(&cfg, time.Now().UnixMilli())
			if err != nil || n == 0 {
				return l.StartOffset(), l.EndOffset(), err
			}
			err = l.retain(time.Now())
			if decided > cut {
				decided = 0 // for another time
			}
			return decided, cut, errors.Join(err, truncated)
		}},
		{"records are deleted while a truncation of everything has its recovery point checkpointed", func(e *testEnv, l *Log, cut, start ids.Offset) (ids.Offset, ids.Offset, error) {
			var deleted error
			e.checkpointRecovery = once(e.checkpointRecovery, func() { deleted = l.AdvanceStart(start) })
			err := l.TruncateFullyAndStartAt(cut)
			return cut, cut, errors.Join(err, deleted)
		}},
		{"records are deleted while a truncation of everything has its start checkpointed", func(e *testEnv, l *Log, cut, start ids.Offset) (ids.Offset, ids.Offset, error) {
			var deleted error
			e.checkpointStart = once(e.checkpointStart, func() { deleted = l.AdvanceStart(start) })
			err := l.TruncateFullyAndStartAt(cut)
			if cut < start && errors.Is(deleted, kerr.OffsetOutOfRange) {
				deleted = nil
			}
			return cut, cut, errors.Join(err, deleted)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for cut := ids.Offset(0); cut < racedEnd; cut++ {
				for start := ids.Offset(0); start <= racedEnd; start++ {
					e, l := racedLog(t)
					from, to, err := c.run(e, l, cut, start)
					if err == nil {
						err = judgeRaced(e, l, from, to)
					}
					if err != nil {
						t.Fatalf("cut at %d, deleted below %d: %v", cut, start, err)
					}
				}
			}
		})
	}
}

// judgeRaced tells what is wrong with a log that is to have the offsets from from to to, now or after a crash.
func judgeRaced(e *testEnv, l *Log, from, to ids.Offset) error {
	if err := errors.Join(l.Err(), e.dirErr); err != nil {
		return err
	}
	for round := range 2 {
		if l.StartOffset() != from || l.EndOffset() != to || l.DurableEnd() != to {
			return fmt.Errorf("round %d: it goes from %d to %d, durable to %d, and should from %d to %d", round, l.StartOffset(), l.EndOffset(), l.DurableEnd(), from, to)
		}
		if hw := l.HighWatermark(); hw < from || hw > to {
			return fmt.Errorf("round %d: its high watermark is %d, and it goes from %d to %d", round, hw, from, to)
		}
		next := from
		for _, b := range readAll(e.tb, l, 1<<20) {
			for r, err := range b.Records() {
				if err != nil {
					return err
				}
				if n, _, _ := strings.Cut(string(r.Value), "."); r.Offset >= from && (r.Offset != next || n != fmt.Sprint(next)) {
					return fmt.Errorf("round %d: at offset %d is %s, and should be %d", round, r.Offset, n, next)
				}
				next = max(next, r.Offset+1)
			}
		}
		if next != to {
			return fmt.Errorf("round %d: what can be read ends at %d, and the log at %d", round, next, to)
		}
		l.closeAbrupt()
		var err error
		if l, err = e.open(l.Config(), false); err != nil {
			return err
		}
	}
	appendValues(e.tb, l, "goes on")
	return nil
}
