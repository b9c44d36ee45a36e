package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/moldau/moldau/internal/ids"
)

const (
	dialTimeout      = 2 * time.Second
	handshakeTimeout = 5 * time.Second
	// stallTimeout ends a connection that takes no byte for so long.
	stallTimeout = 10 * time.Second
	// Between two attempts to reach a node.
	backoffMin = 50 * time.Millisecond
	backoffMax = 500 * time.Millisecond
)

// reach opens the connections to one node, with a pause after each failure, and logs what is new of them. It
// belongs to one goroutine.
type reach struct {
	to      ids.NodeID
	channel Channel
	local   func() Local
	dial    func(context.Context, ids.NodeID) (net.Conn, error)
	logger  *slog.Logger

	backoff time.Duration
	problem string // the last one that was logged, "" while the node is reached
}

// open opens a connection, handshake included. It is closed when ctx ends, until stop is called.
func (r *reach) open(ctx context.Context) (conn net.Conn, stop func() bool, err error) {
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if conn, err = r.dial(dialing, r.to); err != nil {
		return nil, nil, fmt.Errorf("dialling: %w", err)
	}
	// Closing is the only thing that ends a handshake early.
	stop = context.AfterFunc(ctx, func() { conn.Close() })
	if err = conn.SetDeadline(time.Now().Add(handshakeTimeout)); err == nil {
		_, err = Dial(conn, r.local(), r.to, r.channel)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		stop()
		conn.Close()
		return nil, nil, err
	}
	return conn, stop, nil
}

// reached notes that the node is there.
func (r *reach) reached() {
	r.backoff = backoffMin
	if r.problem != "" {
		r.logger.Info("another node is reached again", "node", r.to)
	}
	r.problem = ""
}

// failed logs what is new of a failure, and waits.
func (r *reach) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if problem := cause(err); problem != r.problem {
		r.logger.Warn("another node cannot be reached; it is tried again", "node", r.to, "error", err)
		r.problem = problem
	}
	select {
	case <-ctx.Done():
	case <-time.After(r.backoff):
	}
	r.backoff = min(2*r.backoff, backoffMax)
}

// cause is an error without the addresses of its connection, of which one is new each time.
func cause(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

// write sends parts.
func write(conn net.Conn, parts net.Buffers) error {
	for len(parts) > 0 {
		// Each write has its own deadline: one that makes progress may take as long as it likes.
		if err := conn.SetWriteDeadline(time.Now().Add(stallTimeout)); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
		some := parts[:min(len(parts), 64)]
		parts = parts[len(some):]
		if _, err := some.WriteTo(conn); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
	}
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
