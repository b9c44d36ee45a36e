package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
)

var (
	// ErrUnreachable says that a request was not sent: there is no connection to the node.
	ErrUnreachable = errors.New("the node is not reached")
	// ErrUnanswered says that the connection has ended before the answer came. The node may have carried the request out.
	ErrUnanswered = errors.New("the connection has ended without an answer")
	// ErrBusy says that a request was not sent: too many wait for the node already.
	ErrBusy = errors.New("too many requests wait for the node")
)

// ClientConfig is what a Client is told.
type ClientConfig struct {
	Local func() Local // as of now: a node learns its cluster and its epoch while it runs
	// Dial opens a connection to a node. It gives up when the context ends.
	Dial func(ctx context.Context, node ids.NodeID) (net.Conn, error)

	RequestsMax      int // to one node that are not answered
	QueueBytesMax    int // of what waits to be sent to one node; one request more may wait
	ResponseBytesMax int // of one answer
	Logger           *slog.Logger
}

// Client sends Kafka requests to other nodes. It has one connection to a node, of ChannelBroker, which it opens when
// there is a request to send and none is there. Requests to a node are pipelined.
//
// A node serves the requests of a connection one after the other: one that waits there, a Fetch or the creation of
// a topic, holds up those behind it. What must not wait for it, such as heartbeats, belongs to a client of its own.
type Client struct {
	cfg    ClientConfig
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu struct {
		sync.Mutex
		closed  bool
		remotes map[ids.NodeID]*remote
	}
}

// NewClient returns a client without a connection.
func NewClient(cfg ClientConfig) *Client {
	c := &Client{cfg: cfg}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.mu.remotes = make(map[ids.NodeID]*remote)
	return c
}

// Request sends req, whose version is set, to a node and returns the answer, which may share memory of its own. Where
// the context ends first, a request that was sent may still be carried out. After an attempt to reach the node that
// has failed, the request waits a moment for the next one: who repeats what has failed needs no pause of its own.
func (c *Client) Request(ctx context.Context, to ids.NodeID, req kmsg.Request) (kmsg.Response, error) {
	resp, _, err := c.RequestLent(ctx, to, req)
	return resp, err
}

// RequestLent is Request for large answers: where there is no error the caller calls release once, when nothing of the
// answer is used any more, and its memory serves for another.
func (c *Client) RequestLent(ctx context.Context, to ids.NodeID, req kmsg.Request) (resp kmsg.Response, release func(), err error) {
	resp, memory, err := c.request(ctx, to, req)
	if err != nil {
		return nil, nil, fmt.Errorf("%s to node %d: %w", kmsg.NameForKey(req.Key()), to, err)
	}
	return resp, func() { reuse(memory) }, nil
}

func (c *Client) request(ctx context.Context, to ids.NodeID, req kmsg.Request) (kmsg.Response, *[]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	r, err := c.remote(to)
	if err != nil {
		return nil, nil, err
	}
	x := newCall(req)
	if err := r.put(x); err != nil {
		return nil, nil, err
	}
	select {
	case <-x.done:
	case <-ctx.Done():
		r.abandon(x)
		return nil, nil, ctx.Err()
	}
	if x.err != nil {
		return nil, nil, x.err
	}
	resp := req.ResponseKind()
	if err := resp.ReadFrom(x.answer); err != nil {
		return nil, nil, fmt.Errorf("%w: an answer that cannot be decoded: %w", ErrFrame, err)
	}
	return resp, x.memory, nil
}

// remote returns what the client has of a node.
func (c *Client) remote(to ids.NodeID) (*remote, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return nil, ErrClosed
	}
	r := c.mu.remotes[to]
	if r == nil {
		r = newRemote(c, to)
		c.mu.remotes[to] = r
		c.wg.Go(r.run)
	}
	return r, nil
}

// Close fails every request, ends every connection and returns when no goroutine is left.
func (c *Client) Close() {
	c.mu.Lock()
	c.mu.closed = true
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
}
