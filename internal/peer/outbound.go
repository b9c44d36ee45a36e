package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/ids"
)

// outbound sends to one node.
type outbound struct {
	links *Links
	to    ids.NodeID
	wake  chan struct{} // one token: mu.queue has something

	// Of run.
	conn    net.Conn
	ended   <-chan struct{} // closed when conn is over
	backoff time.Duration
	problem string // the last one that was logged, "" while the node is reached

	// mu is a leaf.
	mu struct {
		sync.Mutex
		queue [][]byte
		bytes int
	}
}

func newOutbound(l *Links, to ids.NodeID) *outbound {
	return &outbound{links: l, to: to, wake: make(chan struct{}, 1), backoff: backoffMin}
}

// put is called by Send alone. What does not fit is lost.
func (o *outbound) put(frame []byte) {
	o.mu.Lock()
	if o.mu.bytes < o.links.cfg.QueueBytesMax {
		o.mu.queue = append(o.mu.queue, frame)
		o.mu.bytes += len(frame)
	}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default: // there is a token already
	}
}

func (o *outbound) take() [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	queue := o.mu.queue
	o.mu.queue, o.mu.bytes = nil, 0
	return queue
}

// run is the goroutine of an outbound.
func (o *outbound) run() {
	ctx := o.links.ctx
	defer o.hangUp()
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
		}
		if o.conn != nil && isClosed(o.ended) {
			o.hangUp()
		}
		if o.conn == nil {
			if err := o.connect(ctx); err != nil {
				o.failed(ctx, err)
				continue
			}
		}
		if err := o.send(o.take()); err != nil {
			o.hangUp()
			o.failed(ctx, err)
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// connect opens the connection, handshake included.
func (o *outbound) connect(ctx context.Context) error {
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := o.links.cfg.Dial(dialing, o.to)
	if err != nil {
		return fmt.Errorf("dialling: %w", err)
	}
	// Closing is the only thing that ends a handshake early, and tells the watcher that the links are.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	if err = conn.SetDeadline(time.Now().Add(handshakeTimeout)); err == nil {
		_, err = Dial(conn, o.links.cfg.Local(), o.to, o.links.cfg.Channel)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		stop()
		conn.Close()
		return err
	}
	ended := make(chan struct{})
	o.links.wg.Go(func() {
		// The other side says nothing more: a read returns when the connection is over.
		var one [1]byte
		_, _ = conn.Read(one[:])
		stop()
		conn.Close()
		close(ended)
	})
	o.conn, o.ended = conn, ended
	o.reached()
	return nil
}

// send writes frames in one go.
func (o *outbound) send(frames [][]byte) error {
	if len(frames) == 0 {
		return nil
	}
	parts := make(net.Buffers, 0, 2*len(frames))
	for _, f := range frames {
		parts = append(parts, binary.BigEndian.AppendUint32(nil, uint32(len(f))), f)
	}
	for len(parts) > 0 {
		// Each write has its own deadline: one that makes progress may take as long as it likes.
		if err := o.conn.SetWriteDeadline(time.Now().Add(stallTimeout)); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
		some := parts[:min(len(parts), 64)]
		parts = parts[len(some):]
		if _, err := some.WriteTo(o.conn); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
	}
	return nil
}

func (o *outbound) hangUp() {
	if o.conn == nil {
		return
	}
	o.conn.Close()
	<-o.ended
	o.conn, o.ended = nil, nil
}

func (o *outbound) reached() {
	o.backoff = backoffMin
	if o.problem != "" {
		o.links.cfg.Logger.Info("another node is reached again", "node", o.to)
	}
	o.problem = ""
}

// failed logs what is new of a failure, and waits. What was to be sent is lost, and so is what comes
// meanwhile: it would be old by the time it arrives.
func (o *outbound) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if problem := cause(err); problem != o.problem {
		o.links.cfg.Logger.Warn("another node cannot be reached; it is tried again", "node", o.to, "error", err)
		o.problem = problem
	}
	select {
	case <-ctx.Done():
	case <-time.After(o.backoff):
	}
	o.backoff = min(2*o.backoff, backoffMax)
	o.take()
}

// cause is an error without the addresses of its connection, of which one is new each time.
func cause(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}
