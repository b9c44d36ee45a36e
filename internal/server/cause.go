package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/wire"
)

// causeKind groups the causes for which a connection is closed or refused; each group
// has its own bound on log lines.
type causeKind uint8

const (
	causePeerClosed  causeKind = iota // the peer has ended the connection
	causeStopped                      // the server stops
	causeIdle                         // nothing came for connections.max.idle.ms
	causeIO                           // the connection broke
	causeProtocol                     // another protocol than Kafka's
	causeFrame                        // a frame of impossible length
	causeTruncated                    // the peer closed in the middle of a frame
	causeHeader                       // a header that cannot be read
	causeUnsupported                  // an API or version that is not served
	causeRefused                      // Exchange.Close
	causeReadStall                    // a begun frame makes no progress
	causeWriteStall                   // a begun answer makes no progress
	causeSource                       // the bytes of an answer could not be read
	causeNode                         // no hello where one is due, or a node that is not admitted
	causeBug                          // a handler panicked or broke its contract
	causeLimit                        // too many connections
	causeAccept                       // accept failed
	causeKinds
)

// level is how loud a cause is: what a peer or an operator may do any time is not a warning.
func (k causeKind) level() slog.Level {
	switch k {
	case causePeerClosed, causeStopped, causeIdle, causeIO:
		return slog.LevelDebug
	case causeTruncated:
		return slog.LevelInfo
	case causeSource, causeBug, causeAccept:
		return slog.LevelError
	default:
		return slog.LevelWarn
	}
}

// closeError is why a connection was closed.
type closeError struct {
	kind causeKind
	err  error
}

func (e *closeError) Error() string { return e.err.Error() }
func (e *closeError) Unwrap() error { return e.err }

// ioCause sorts an error of a read or write.
func ioCause(err error) *closeError {
	var c *closeError
	switch {
	case errors.As(err, &c):
		return c
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &closeError{causePeerClosed, err}
	default:
		return &closeError{causeIO, err}
	}
}

// frameCause sorts an error of wire.FrameLength.
func frameCause(err error) *closeError {
	kind := causeFrame
	if errors.Is(err, wire.ErrTLS) || errors.Is(err, wire.ErrHTTP) {
		kind = causeProtocol
	}
	return &closeError{kind, err}
}

func unsupported(key, version int16) *closeError {
	if kmsg.RequestForKey(key) == nil {
		return &closeError{causeUnsupported, fmt.Errorf("unknown API key %d", key)}
	}
	return &closeError{causeUnsupported, fmt.Errorf("%s version %d is not served", apiName(key), version)}
}

func apiName(key int16) string {
	if req := kmsg.RequestForKey(key); req != nil {
		return kmsg.NameForKey(key)
	}
	return "API key " + strconv.Itoa(int(key))
}

// Log lines of one cause: so many in each window, then one that counts the rest.
const (
	logWindow   = 10 * time.Second
	logLinesMax = 10
)

// boundedLog writes one line per event, but no more of one kind than a log can bear
// when somebody attacks.
type boundedLog struct {
	logger *slog.Logger

	mu struct {
		sync.Mutex
		kinds [causeKinds]struct {
			since time.Time // begin of the window
			lines int       // in it, written or not
		}
	}
}

// write logs an event of a kind, or counts it.
func (l *boundedLog) write(kind causeKind, args ...any) {
	ctx := context.Background()
	if !l.logger.Enabled(ctx, kind.level()) {
		return
	}
	suppressed, write := l.count(kind, time.Now(), 1)
	l.tellSuppressed(kind, suppressed)
	if write {
		l.logger.Log(ctx, kind.level(), kind.event(), args...)
	}
}

// sweep tells of lines that were left out in windows that have ended.
func (l *boundedLog) sweep(now time.Time) {
	for kind := range causeKinds {
		suppressed, _ := l.count(kind, now, 0)
		l.tellSuppressed(kind, suppressed)
	}
}

// count adds lines of a kind. It tells how many were left out in a window that has
// ended, and whether the new ones are to be written.
func (l *boundedLog) count(kind causeKind, now time.Time, lines int) (suppressed int, write bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := &l.mu.kinds[kind]
	if now.Sub(k.since) >= logWindow {
		suppressed = max(0, k.lines-logLinesMax)
		k.since, k.lines = now, 0
	}
	k.lines += lines
	return suppressed, k.lines <= logLinesMax
}

func (l *boundedLog) tellSuppressed(kind causeKind, n int) {
	if n > 0 {
		l.logger.Log(context.Background(), kind.level(), kind.event()+": more of the same cause were not logged", "count", n)
	}
}

// What the log lines say happened.
const (
	eventClosed  = "connection closed"
	eventRefused = "connection refused"
	eventAccept  = "cannot accept connections, will try again"
)

func (k causeKind) event() string {
	switch k {
	case causeLimit:
		return eventRefused
	case causeAccept:
		return eventAccept
	default:
		return eventClosed
	}
}
