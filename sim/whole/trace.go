package whole

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// traceMax is how many events are remembered.
const traceMax = 1500

// trace is what has happened lately: faults, and what brokers say of themselves.
type trace struct {
	began time.Time
	loud  bool // all of it is printed

	mu struct {
		sync.Mutex
		lines []string
	}
}

func (t *trace) add(format string, args ...any) {
	line := fmt.Sprintf("%9.4f ", time.Since(t.began).Seconds()) + fmt.Sprintf(format, args...)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.loud {
		fmt.Fprintln(os.Stderr, line)
	}
	if len(t.mu.lines) >= 2*traceMax {
		t.mu.lines = append(t.mu.lines[:0], t.mu.lines[traceMax:]...)
	}
	t.mu.lines = append(t.mu.lines, line)
}

// String returns the last events.
func (t *trace) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.mu.lines[max(0, len(t.mu.lines)-traceMax):], "\n")
}

// logger is that of a broker.
func (t *trace) logger(host string) *slog.Logger {
	plain := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	return slog.New(slog.NewTextHandler(traceWriter{t, host}, &slog.HandlerOptions{ReplaceAttr: plain}))
}

type traceWriter struct {
	trace *trace
	host  string
}

func (w traceWriter) Write(line []byte) (int, error) {
	w.trace.add("%s: %s", w.host, strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}
