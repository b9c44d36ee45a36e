package peer

import (
	"context"
	"encoding/binary"
	"net"
	"sync"

	"github.com/moldau/moldau/internal/ids"
)

// outbound sends to one node.
type outbound struct {
	links *Links
	wake  chan struct{} // one token: mu.queue has something

	// Of run.
	reach reach
	conn  net.Conn
	ended <-chan struct{} // closed when conn is over

	// mu is a leaf.
	mu struct {
		sync.Mutex
		queue [][]byte
		bytes int
	}
}

func newOutbound(l *Links, to ids.NodeID) *outbound {
	return &outbound{
		links: l, wake: make(chan struct{}, 1),
		reach: reach{to: to, channel: l.cfg.Channel, local: l.cfg.Local, dial: l.cfg.Dial, logger: l.cfg.Logger, backoff: backoffMin},
	}
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

// connect opens the connection.
func (o *outbound) connect(ctx context.Context) error {
	conn, stop, err := o.reach.open(ctx)
	if err != nil {
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
	o.reach.reached()
	return nil
}

// send writes frames in one go.
func (o *outbound) send(frames [][]byte) error {
	parts := make(net.Buffers, 0, 2*len(frames))
	for _, f := range frames {
		parts = append(parts, binary.BigEndian.AppendUint32(nil, uint32(len(f))), f)
	}
	return write(o.conn, parts)
}

func (o *outbound) hangUp() {
	if o.conn == nil {
		return
	}
	o.conn.Close()
	<-o.ended
	o.conn, o.ended = nil, nil
}

// failed waits after a failure. What was to be sent is lost, and so is what comes meanwhile: it would be old by the
// time it arrives.
func (o *outbound) failed(ctx context.Context, err error) {
	o.reach.failed(ctx, err)
	o.take()
}
