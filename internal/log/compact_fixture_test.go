package log

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// compactConfig rolls every few batches, and keeps tombstones for ten seconds.
func compactConfig() Config {
	cfg := crashLogConfig()
	cfg.CompactPolicy, cfg.DeletePolicy, cfg.DeleteRetentionMs, cfg.MinCleanableRatio = true, false, 10_000, 0
	return cfg
}

// plenty are limits that hold nothing back.
func plenty() *cleaningLimits {
	return &cleaningLimits{
		mapBytes: 1 << 20, mapLoad: 0.9, ioBytes: 4096,
		freeBytes: func() int64 { return math.MaxInt64 },
		throttle:  func(ctx context.Context, _ int64) error { return ctx.Err() },
	}
}

// cleanOnce cleans what can be cleaned of a log, if there is anything, and returns whether there was.
func cleanOnce(l *Log, limits *cleaningLimits) (stats cleaningStats, cleaned bool, err error) {
	ctx, end, ok := l.beginCleaning(context.Background())
	if !ok {
		return stats, false, fmt.Errorf("the log cannot be cleaned now: %w", errCleaningStopped)
	}
	defer end()
	p, empty, err := l.planCleaning(time.Now())
	if err != nil || empty || p.dirtyBytes == 0 {
		return stats, false, err
	}
	stats, err = l.clean(ctx, p, limits)
	return stats, err == nil, err
}

func mustClean(t testing.TB, l *Log) cleaningStats {
	t.Helper()
	stats, cleaned, err := cleanOnce(l, plenty())
	if err != nil || !cleaned {
		t.Fatalf("cleaned %v: %v", cleaned, err)
	}
	return stats
}

// kv is a record by key; a value of "-" is a tombstone.
func kv(pairs ...string) record.Batch { return kvOf(record.NewBuilder(), pairs...) }

func kvOf(b *record.Builder, pairs ...string) record.Batch {
	for _, p := range pairs {
		key, value, _ := strings.Cut(p, "=")
		var v []byte
		if value != "-" {
			v = []byte(value)
		}
		b.Append(time.Now().UnixMilli(), []byte(key), v)
	}
	return b.MustBuild()
}

// seal syncs the log and rolls it, so that everything in it can be cleaned.
func seal(t testing.TB, l *Log) {
	t.Helper()
	l.mu.Lock()
	if a := l.active(); a != nil && a.sizeBytes.Load() > 0 {
		cfg := l.Config()
		if _, err := l.rollLocked(l.EndOffset(), &cfg, time.Now().UnixMilli()); err != nil {
			l.mu.Unlock()
			t.Fatal(err)
		}
	}
	l.mu.Unlock()
	if _, err := l.syncFiles(); err != nil {
		t.Fatal(err)
	}
	l.SetHighWatermark(l.EndOffset())
}

// visible returns what a read_committed consumer sees from the start of the log on: "OFFSET KEY=VALUE".
// maxBytes is what it fetches at a time.
func visible(l *Log, maxBytes int32) ([]string, error) {
	var out []string
	for at := l.StartOffset(); at < l.LastStableOffset(); {
		s, aborted, err := l.ReadCommitted(at, l.LastStableOffset(), maxBytes, true)
		if err != nil {
			return nil, err
		}
		if s.Len() == 0 {
			return out, nil
		}
		p := make([]byte, s.Len())
		_, err = s.ReadInto(p)
		next := s.NextOffset()
		s.Release()
		if err != nil {
			return nil, err
		}
		lines, err := visibleIn(p, at, aborted)
		if err != nil {
			return nil, err
		}
		out, at = append(out, lines...), next
	}
	return out, nil
}

// visibleIn leaves out what was aborted, as Kafka's consumer does.
func visibleIn(p []byte, from ids.Offset, aborted []AbortedTxn) (out []string, err error) {
	open := make(map[ids.ProducerID]bool)
	for len(p) > 0 {
		var b record.Batch
		if b, p, err = record.First(p); err != nil {
			return nil, err
		}
		if !b.CheckCRC() {
			return nil, fmt.Errorf("the batch at offset %d fails its checksum", b.BaseOffset())
		}
		for _, a := range aborted {
			if a.FirstOffset <= b.LastOffset() && a.FirstOffset >= 0 {
				open[a.ProducerID] = true
			}
		}
		aborted = dropBelow(aborted, b.LastOffset())
		if b.Attributes().Control() {
			if m, err := b.EndTxnMarker(); err == nil && !m.Commit {
				delete(open, m.ProducerID)
			}
			continue
		}
		if b.Attributes().Transactional() && open[b.ProducerID()] {
			continue
		}
		for r, err := range b.Records() {
			if err != nil {
				return nil, err
			}
			if r.Offset >= from {
				out = append(out, fmt.Sprintf("%d %s=%s", r.Offset, r.Key, valueText(r.Value)))
			}
		}
	}
	return out, nil
}

func dropBelow(aborted []AbortedTxn, o ids.Offset) (left []AbortedTxn) {
	for _, a := range aborted {
		if a.FirstOffset > o {
			left = append(left, a)
		}
	}
	return left
}

func valueText(v []byte) string {
	if v == nil {
		return "-"
	}
	return string(v)
}

func wantVisible(t testing.TB, l *Log, want ...string) {
	t.Helper()
	got, err := visible(l, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Fatalf("consumers see\n%s\nwant\n%s", g, w)
	}
}
