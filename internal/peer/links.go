package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/ids"
)

// ErrClosed says that this node has ended its connections to others.
var ErrClosed = errors.New("the connections to other nodes are closed")

// ErrDuplicate says that another directory of the same node is connected.
var ErrDuplicate = errors.New("two nodes have one node.id")

// LinksConfig is what Links are told.
type LinksConfig struct {
	Local   func() Local // as of now: a node learns its cluster and its epoch while it runs
	Channel Channel
	// Dial opens a connection to a node. It gives up when the context ends.
	Dial func(ctx context.Context, node ids.NodeID) (net.Conn, error)
	// Receive is given what comes in, by one goroutine for each connection; the frame is its own.
	Receive func(from Identity, frame []byte)

	FrameBytesMax int // of what comes in
	QueueBytesMax int // of what waits to be sent to one node; one frame more may wait
	Logger        *slog.Logger
}

// Links carry frames from this node to others and back. Each direction has a connection of its own, which the
// sender opens. A frame arrives whole or not at all, in the order of Send; frames get lost when a connection ends.
type Links struct {
	cfg    LinksConfig
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu struct {
		sync.Mutex
		closed bool
		out    map[ids.NodeID]*outbound
		in     map[ids.NodeID]*inbound // the newest of each node
	}
}

// inbound is a connection that another node has opened.
type inbound struct {
	from Identity
	conn net.Conn
}

// NewLinks returns links without a connection.
func NewLinks(cfg LinksConfig) *Links {
	l := &Links{cfg: cfg}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.mu.out, l.mu.in = make(map[ids.NodeID]*outbound), make(map[ids.NodeID]*inbound)
	return l
}

// Send passes a frame on to a node, or loses it: it never blocks. Nobody may change the frame from now on.
func (l *Links) Send(to ids.NodeID, frame []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return
	}
	o := l.mu.out[to]
	if o == nil {
		o = newOutbound(l, to)
		l.mu.out[to] = o
		l.wg.Go(o.run)
	}
	o.put(frame)
}

// Serve has a connection whose first frame has hello as its body, and returns when the connection has ended, closed, with
// why: io.EOF where the other node has ended it between two frames.
func (l *Links) Serve(conn net.Conn, hello []byte) error {
	defer conn.Close()
	if !l.begin() {
		return ErrClosed
	}
	defer l.wg.Done()
	stop := context.AfterFunc(l.ctx, func() { conn.Close() })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return fmt.Errorf("a connection of another node: %w", err)
	}
	in := &inbound{conn: conn}
	from, _, err := Accept(conn, hello, l.cfg.Local(), func(from Identity, channel Channel) error {
		if channel != l.cfg.Channel {
			return fmt.Errorf("%w: channel %d is not served here", ErrFrame, channel)
		}
		in.from = from
		return l.enter(in)
	})
	if err != nil {
		return err
	}
	defer l.leave(in)
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("a connection of node %d: %w", from.Node, err)
	}
	for {
		frame, err := receive(conn, l.cfg.FrameBytesMax)
		if err != nil {
			return err
		}
		l.cfg.Receive(from, frame)
	}
}

// begin counts a connection that is served.
func (l *Links) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return false
	}
	l.wg.Add(1)
	return true
}

// enter takes in a connection, in place of an older one of the same node, which the node has given up. Another
// directory of a connected node is another node with its id, or the disk has been changed: then the old connection ends soon.
func (l *Links) enter(in *inbound) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.mu.in[in.from.Node]
	if old != nil && old.from.Directory != in.from.Directory {
		return fmt.Errorf("%w: %v is connected, and now comes directory %s", ErrDuplicate, old.from, in.from.Directory)
	}
	if old != nil {
		old.conn.Close()
	}
	l.mu.in[in.from.Node] = in
	return nil
}

func (l *Links) leave(in *inbound) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.in[in.from.Node] == in {
		delete(l.mu.in, in.from.Node)
	}
}

// Close ends every connection and returns when no goroutine is left.
func (l *Links) Close() {
	l.mu.Lock()
	l.mu.closed = true
	l.mu.Unlock()
	l.cancel()
	l.wg.Wait()
}

// receiveLength reads how many bytes the frame has that follows.
func receiveLength(r io.Reader, limit int) (int, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return 0, err // io.EOF between two frames
	}
	claimed := binary.BigEndian.Uint32(length[:])
	if uint64(claimed) > uint64(limit) {
		return 0, fmt.Errorf("%w: a frame of %d bytes, the limit is %d", ErrFrame, claimed, limit)
	}
	return int(claimed), nil
}

// growBytes is how much of a frame is believed before it has come.
const growBytes = 1 << 20

// receive reads a frame. Its memory grows as its bytes arrive.
func receive(r io.Reader, limit int) ([]byte, error) {
	n, err := receiveLength(r, limit)
	if err != nil {
		return nil, err
	}
	frame := make([]byte, 0, min(n, growBytes))
	for len(frame) < n {
		more := min(n-len(frame), max(len(frame), growBytes))
		frame = append(frame, make([]byte, more)...)
		if _, err := io.ReadFull(r, frame[len(frame)-more:]); err != nil {
			return nil, fmt.Errorf("receiving a frame of %d bytes: %w", n, noEOF(err))
		}
	}
	return frame, nil
}

// noEOF is err of a reader that has ended where it must not.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
