package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/invariant"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/wire"
)

// Conn is one connection.
type Conn struct {
	srv      *Server
	nc       net.Conn
	io       transport
	memory   *memory // the clients' or the nodes'
	id       uint64
	listener string
	toNodes  bool                          // the listener is for nodes alone
	node     atomic.Pointer[peer.Identity] // set once, by the reader
	software atomic.Pointer[[2]string]     // name and version, as the client gave them

	// State is for the handler, on the connection's goroutine.
	State any

	// Of the reader goroutine.
	in       input
	spare    *Exchange // of the last request, for the next one
	clientID string    // the last one seen: it hardly ever changes
	begun    bool      // a request or a hello was taken
	overlaps bool      // an answer may be outstanding
	unsent   int       // bytes answered inline and not yet sent, about
	alone    int       // requests in a row with which nothing else had come and no answer was outstanding

	// Written by the reader or the writer, read by the sweeper.
	phase  atomic.Int32  // connPhase
	reads  atomic.Uint64 // counts reads and writes, each a sign of progress
	writes atomic.Uint64
	watch  watch // the sweeper's

	mu struct {
		sync.Mutex
		changed  sync.Cond   // with Mutex: anything below has changed that the reader may wait for
		awaited  []*Exchange // Later was called, or answered behind such a one; in request order
		out      []*buffer   // answers ready to be sent, in order
		outSpare []*buffer   // backing array for the next out
		outBytes int         // of answers given and not yet sent
		writing  bool        // somebody has the write turn: nobody else sends
		left     *chunk      // the reader left it to the exchanges that pin it, and may take it back
		closed   bool
		stopping bool
		lent     bool            // Peers has the connection
		ctx      context.Context // made when it is first asked for
		cancel   context.CancelFunc
	}
}

// connPhase says what the reader does, for the sweeper.
type connPhase = int32

const (
	phaseBusy  connPhase = iota // serves, sends, or waits for something else than the peer's bytes
	phaseIdle                   // waits for a frame
	phaseFrame                  // waits for the rest of a frame
)

// RemoteAddr returns the address of the peer.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// LocalAddr returns the address that the peer has connected to.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// Listener returns the name of the listener.
func (c *Conn) Listener() string { return c.listener }

// ID returns a number that no other connection of this server has.
func (c *Conn) ID() uint64 { return c.id }

// SetSoftware keeps the name and version of the client's library, from ApiVersions.
func (c *Conn) SetSoftware(name, version string) { c.software.Store(&[2]string{name, version}) }

// Software returns what SetSoftware was given; empty before.
func (c *Conn) Software() (name, version string) {
	if s := c.software.Load(); s != nil {
		return s[0], s[1]
	}
	return "", ""
}

func newConn(srv *Server, nc net.Conn, id uint64, listener string, toNodes bool) *Conn {
	c := &Conn{srv: srv, nc: nc, memory: &srv.memory, id: id, listener: listener, toNodes: toNodes}
	if toNodes {
		c.memory = &srv.nodeMemory
	}
	c.mu.changed.L = &c.mu.Mutex
	c.io = newTransport(c, nc)
	return c
}

// run is the reader goroutine.
func (c *Conn) run() {
	defer c.srv.forget(c)
	defer c.gone()
	defer c.dropInput()
	defer func() {
		if p := recover(); p != nil {
			c.panicked(p)
		}
	}()
	c.close(c.serve())
}

// panicked keeps a bug that one request has met from ending all others. Test builds want to see it.
func (c *Conn) panicked(p any) {
	if invariant.Enabled {
		panic(p)
	}
	c.close(&closeError{causeBug, fmt.Errorf("panic: %v\n%s", p, debug.Stack())})
}

// serve takes request after request. Its error is why the connection ends.
func (c *Conn) serve() error {
	if c.toNodes {
		if err := c.greet(); err != nil {
			return c.ending(err)
		}
	}
	for {
		frame, err := c.nextFrame()
		if err != nil {
			if !errors.Is(err, errHello) {
				return c.ending(err)
			}
			if err := c.greet(); err != nil {
				return c.ending(err)
			}
			continue
		}
		if err := c.serveFrame(frame); err != nil {
			c.flush()
			return err
		}
		if c.unsent >= flushBytes {
			c.flush()
		}
	}
}

// ending sends what is still owed where the peer has only stopped asking, or the server
// is stopping, and otherwise what is ready.
func (c *Conn) ending(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && c.stopping(), errors.Is(err, errStopped):
		c.drain()
		return &closeError{causeStopped, errors.New("the server stops")}
	case errors.Is(err, io.EOF) && c.in.buffered() == 0:
		c.drain()
	default:
		c.flush()
	}
	return ioCause(err)
}

// nextFrame returns the next request without its length. It aliases the chunk.
func (c *Conn) nextFrame() ([]byte, error) {
	if c.stopping() {
		return nil, errStopped
	}
	if err := c.fill(wire.LengthBytes); err != nil {
		return nil, err
	}
	n, err := wire.FrameLength(c.in.unread(), c.srv.config.RequestBytesMax)
	if err != nil {
		return nil, frameCause(err)
	}
	if err := c.fill(beginBytes); err != nil {
		return nil, err
	}
	key, version, _ := wire.FixedHeader(c.in.unread()[wire.LengthBytes:])
	if key != wire.KeyApiVersions && !c.srv.handler.Serves(key, version, c.node.Load() != nil) {
		return nil, c.unserved(key, version)
	}
	if key != wire.KeyProduce && n > otherRequestBytesMax {
		return nil, &closeError{causeFrame, fmt.Errorf("%w: %s of %d bytes, the limit is %d", wire.ErrFrameSize, apiName(key), n, otherRequestBytesMax)}
	}
	if err := c.fill(wire.LengthBytes + n); err != nil {
		return nil, err
	}
	return c.in.take(wire.LengthBytes + n)[wire.LengthBytes:], nil
}

// serveFrame serves one request.
func (c *Conn) serveFrame(frame []byte) error {
	h, err := wire.ReadRequestHeader(frame)
	if err != nil {
		return &closeError{causeHeader, err}
	}
	if c.overlaps {
		if err := c.admit(h.Key); err != nil {
			return err
		}
	}
	x := c.spare
	if x == nil {
		x = c.memory.takeExchange()
	}
	c.spare = nil
	if string(h.ClientID) != c.clientID {
		c.clientID = string(h.ClientID)
	}
	x.Key, x.Version, x.CorrelationID, x.ClientID, x.Body, x.Conn = h.Key, h.Version, h.CorrelationID, c.clientID, h.Body, c
	x.state, x.cause = statePending, nil
	c.begun = true
	if c.alone++; c.overlaps || c.in.buffered() > 0 {
		c.alone = 0
	}
	c.srv.handler.Serve(x)
	if x.later {
		c.served(x)
		return nil
	}
	if err := x.checkAnswered(); err != nil {
		return &closeError{causeBug, err}
	}
	c.spare = x
	return x.cause
}

// admit waits until the answers that are outstanding let a request of this API start.
func (c *Conn) admit(key int16) error {
	c.await(func() bool {
		full := len(c.mu.awaited) >= waitingRequestsMax || c.mu.outBytes >= unsentBytesMax
		return !full && c.startsLocked(key)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return errStopped
	}
	c.overlaps = len(c.mu.awaited) > 0 || c.mu.writing
	return nil
}

// startsLocked tells whether a request of this API starts while the awaited answers are outstanding (ADR 0014). Both
// that do only add to a log, in the order in which they are served. A commit waits for whatever else is there: behind
// a JoinGroup it would otherwise be judged by the generation that the join is about to end.
func (c *Conn) startsLocked(key int16) bool {
	switch key {
	case wire.KeyProduce:
		return true
	case wire.KeyOffsetCommit:
		return !slices.ContainsFunc(c.mu.awaited, func(x *Exchange) bool {
			return x.Key != wire.KeyProduce && x.Key != wire.KeyOffsetCommit
		})
	}
	return len(c.mu.awaited) == 0
}

// drain waits until every answer has been given and sent, or the connection is closed.
func (c *Conn) drain() {
	c.await(func() bool {
		return len(c.mu.awaited) == 0 && len(c.mu.out) == 0 && !c.mu.writing
	})
}

// await returns once done does, which it calls with Conn.mu held, or the connection is
// closed. It sends what becomes ready meanwhile.
func (c *Conn) await(done func() bool) {
	for {
		c.mu.Lock()
		var out []*buffer
		for !c.mu.closed && !done() {
			if out = c.takeTurnLocked(); out != nil {
				break
			}
			c.mu.changed.Wait()
		}
		c.mu.Unlock()
		if out == nil {
			return
		}
		c.send(out)
	}
}

// context returns what ends with the connection or when the server begins to stop.
func (c *Conn) context() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.ctx == nil {
		c.mu.ctx, c.mu.cancel = context.WithCancel(context.Background())
		if c.mu.closed || c.mu.stopping {
			c.mu.cancel()
		}
	}
	return c.mu.ctx
}

func (c *Conn) stopping() bool { return c.srv.stopping.Load() }

// stop has the reader end as soon as the request in progress is answered.
func (c *Conn) stop() {
	c.mu.Lock()
	c.mu.stopping = true
	cancel, lent := c.mu.cancel, c.mu.lent
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	if lent {
		c.nc.Close() // Peers gives it back
		return
	}
	c.nc.SetReadDeadline(longAgo) // wakes the reader; an error means that it is awake
}

// close ends the connection, once, and logs the cause of it.
func (c *Conn) close(cause error) {
	c.mu.Lock()
	if c.mu.closed {
		c.mu.Unlock()
		return
	}
	c.mu.closed = true
	out, awaited, cancel := c.mu.out, c.mu.awaited, c.mu.cancel
	c.mu.out, c.mu.awaited = nil, nil
	c.mu.changed.Broadcast()
	for _, x := range awaited {
		if x.state == stateAnswered {
			c.retireLocked(x)
		}
	}
	c.mu.Unlock()
	for _, b := range out {
		c.memory.freeBuffer(b)
	}
	if cancel != nil {
		cancel()
	}
	c.nc.Close() // an error says that it is closed
	c.srv.logClosed(c, cause)
}
