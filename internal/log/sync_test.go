package log

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// syncTrace records what a groupCommit does, in virtual time. An fdatasync and a syncfs take
// as long as the script says.
type syncTrace struct {
	vfs.FS
	began    time.Time
	syncTook time.Duration
	fsTook   time.Duration
	fsErr    error
	fail     func(error) // the directory

	mu struct {
		sync.Mutex
		lines []string
		err   error // of the next fdatasync
	}
}

func (s *syncTrace) add(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.lines = append(s.mu.lines, fmt.Sprintf("%v ", time.Since(s.began))+fmt.Sprintf(format, args...))
}

// take returns the lines since the last call. Those of one instant are sorted: their order is the scheduler's.
func (s *syncTrace) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := s.mu.lines
	s.mu.lines = nil
	slices.SortStableFunc(lines, func(a, b string) int {
		if ta, tb := strings.Fields(a)[0], strings.Fields(b)[0]; ta != tb {
			return 0
		}
		return strings.Compare(a, b)
	})
	if len(lines) == 0 {
		return "nothing\n"
	}
	return strings.Join(lines, "\n") + "\n"
}

func (s *syncTrace) SyncFS(dir string) error {
	s.add("syncfs %s", dir)
	time.Sleep(s.fsTook)
	return s.fsErr
}

// tracedLog counts appends and what is durable of them.
type tracedLog struct {
	trace *syncTrace
	name  string
	quiet bool

	mu struct {
		sync.Mutex
		end, durable ids.Offset
		busy         bool
	}
}

func (l *tracedLog) append() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.end++
}

// begin checks that group commit makes one call at a time.
func (l *tracedLog) begin() ids.Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.busy {
		panic(l.name + " is synced twice at once")
	}
	l.mu.busy = true
	return l.mu.end
}

func (l *tracedLog) finish(end ids.Offset, how string) {
	l.mu.Lock()
	l.mu.busy = false
	l.mu.durable = max(l.mu.durable, end)
	l.mu.Unlock()
	if !l.quiet {
		l.trace.add("%s %s: durable to %d", how, l.name, end)
	}
}

func (l *tracedLog) syncFiles() (ids.Offset, error) {
	end := l.begin()
	if !l.quiet {
		l.trace.add("fdatasync %s", l.name)
	}
	time.Sleep(l.trace.syncTook)
	l.trace.mu.Lock()
	err := l.trace.mu.err
	l.trace.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("fdatasync %s: %w", l.name, err)
		l.trace.fail(err)
		return 0, err
	}
	l.finish(end, "synced")
	return end, nil
}

func (l *tracedLog) dirtyEnd() ids.Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.end
}

func (l *tracedLog) markDurable(end ids.Offset) {
	l.begin()
	l.finish(end, "syncfs served")
}

// TestGroupCommit runs the scripts of testdata/group_commit: which sync begins when, and whom it serves.
func TestGroupCommit(t *testing.T) {
	datadriven.Walk(t, "testdata/group_commit", func(t *testing.T, path string) {
		synctest.Test(t, func(t *testing.T) {
			trace := &syncTrace{began: time.Now(), syncTook: time.Millisecond, fsTook: 4 * time.Millisecond}
			g := newGroupCommit(trace, "/data", func(err error) { trace.fail(err) })
			trace.fail = func(err error) {
				trace.add("directory fails: %v", err)
				g.stop()
			}
			logs := make(map[string]*tracedLog)
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
				runGroupCommit(t, d, g, trace, logs)
				synctest.Wait()
				return trace.take()
			})
			g.wait()
		})
	})
}

func runGroupCommit(t *testing.T, d *datadriven.TestData, g *groupCommit, trace *syncTrace, logs map[string]*tracedLog) {
	for _, arg := range d.CmdArgs {
		switch arg.Key {
		case "syncfs-takes":
			trace.fsTook, _ = time.ParseDuration(arg.Vals[0])
		case "syncfs-unsupported":
			trace.fsErr = errors.ErrUnsupported
		case "syncfs-fails":
			trace.fsErr = errors.New("input/output error")
		case "fdatasync-fails":
			trace.mu.Lock()
			trace.mu.err = errors.New("input/output error")
			trace.mu.Unlock()
		}
	}
	switch d.Cmd {
	case "set":
	case "append": // to each named log, and ask for a sync
		for _, name := range strings.Fields(d.Input) {
			if logs[name] == nil {
				logs[name] = &tracedLog{trace: trace, name: name}
			}
			logs[name].append()
			g.request(logs[name])
		}
	case "append-here": // to each named log, by callers who would sync it themselves
		for _, name := range strings.Fields(d.Input) {
			if logs[name] == nil {
				logs[name] = &tracedLog{trace: trace, name: name}
			}
			logs[name].append()
			go syncHere(g, trace, logs[name])
		}
	case "append-many": // the same to logs of which only the counts are shown
		var n int
		d.ScanArgs(t, "logs", &n)
		for i := range n {
			name := fmt.Sprint("many-", i)
			if logs[name] == nil {
				logs[name] = &tracedLog{trace: trace, name: name, quiet: true}
			}
			logs[name].append()
			g.request(logs[name])
		}
	case "wait":
		var took string
		d.ScanArgs(t, "for", &took)
		wait, err := time.ParseDuration(took)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(wait)
		synctest.Wait()
		dirty := 0
		for _, l := range logs {
			l.mu.Lock()
			if l.quiet && l.mu.durable < l.mu.end {
				dirty++
			}
			l.mu.Unlock()
		}
		if len(logs) > syncFSAbove {
			trace.add("of many, %d wait", dirty)
		}
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
}

func syncHere(g *groupCommit, trace *syncTrace, l *tracedLog) {
	if g.here(l) {
		trace.add("the caller is back from %s", l.name)
		return
	}
	trace.add("the caller leaves %s to others", l.name)
	g.request(l)
}

// TestGroupCommitServesEveryRequest has many goroutines append and ask, and checks that
// everything becomes durable and nothing is left running.
func TestGroupCommitServesEveryRequest(t *testing.T) {
	for _, fsErr := range []error{nil, errors.ErrUnsupported} {
		synctest.Test(t, func(t *testing.T) {
			trace := &syncTrace{began: time.Now(), syncTook: time.Millisecond, fsTook: 15 * time.Millisecond, fsErr: fsErr}
			g := newGroupCommit(trace, "/data", func(err error) { t.Error(err) })
			logs := make([]*tracedLog, 200)
			for i := range logs {
				logs[i] = &tracedLog{trace: trace, name: fmt.Sprint(i), quiet: true}
			}
			var clients sync.WaitGroup
			for c := range 50 {
				clients.Go(func() {
					for i := range 100 {
						l := logs[(c*7+i*13)%len(logs)]
						l.append()
						if i%3 > 0 || !g.here(l) {
							g.request(l)
						}
						if i%10 == 0 {
							time.Sleep(time.Millisecond)
						}
					}
				})
			}
			clients.Wait()
			g.wait()
			for _, l := range logs {
				if l.mu.durable != l.mu.end {
					t.Errorf("log %s: %d of %d appends are durable", l.name, l.mu.durable, l.mu.end)
				}
			}
			if len(g.mu.logs) != 0 || g.mu.waiting != 0 {
				t.Errorf("idle, but %d logs, %d waiting, %d workers", len(g.mu.logs), g.mu.waiting, g.mu.workers)
			}
		})
	}
}
