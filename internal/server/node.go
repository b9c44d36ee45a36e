package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/wire"
)

// Peers admits other nodes of the cluster.
type Peers interface {
	// Admit has a connection whose first frame has hello as its body, which is Admit's. It carries the handshake out
	// and returns who has proved to be at the other end: the requests that follow are that node's. Or it uses the
	// connection for something else, and returns with served when that is over, with an error that says why, nil for no
	// special reason. Any other error ends the connection. Admit runs on the connection's goroutine and begins under a
	// deadline for the handshake, which it may change. Server.Stop closes the connection under it.
	Admit(nc net.Conn, listener string, hello []byte) (from peer.Identity, served bool, err error)
}

// errHello says that a connection begins with a hello.
var errHello = errors.New("a hello")

// Node returns who has proved to be at the other end; false for a client.
func (c *Conn) Node() (peer.Identity, bool) {
	if id := c.node.Load(); id != nil {
		return *id, true
	}
	return peer.Identity{}, false
}

// unserved says what is wrong with a request that is not served; errHello where it is none.
func (c *Conn) unserved(key, version int16) error {
	switch {
	case !c.atHello():
		return unsupported(key, version)
	case c.begun:
		return &closeError{causeNode, errors.New("a node's hello, which may only be the first frame")}
	default:
		return errHello
	}
}

// atHello tells whether what is unread begins like a hello. beginBytes of it are there.
func (c *Conn) atHello() bool {
	return string(c.in.unread()[wire.LengthBytes:beginBytes]) == peer.Magic
}

// greet takes the hello that the connection has to begin with and has Peers decide on it.
func (c *Conn) greet() error {
	c.setDeadline(time.Now().Add(handshakeTimeout))
	hello, err := c.takeHello()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && !c.stopping():
		return &closeError{causeNode, fmt.Errorf("no hello came in %v", handshakeTimeout)}
	case err != nil:
		return err
	case c.in.buffered() > 0:
		return &closeError{causeNode, errors.New("more than a hello before the handshake")}
	}
	// Nothing of the clients' memory is used by now, and never will be.
	c.dropInput()
	c.in, c.memory, c.begun = input{}, &c.srv.nodeMemory, true
	from, served, err := c.lend(hello)
	switch {
	case err != nil && c.stopping():
		return errStopped
	case err != nil:
		return nodeCause(err)
	case served:
		return io.EOF
	}
	c.node.Store(&from)
	c.setDeadline(time.Time{})
	return nil
}

// takeHello reads a hello.
func (c *Conn) takeHello() ([]byte, error) {
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
	if !c.atHello() {
		key, version, _ := wire.FixedHeader(c.in.unread()[wire.LengthBytes:])
		return nil, &closeError{causeNode, fmt.Errorf("%s version %d on a listener that is for nodes alone; clients have others", apiName(key), version)}
	}
	if n > peer.FrameBytesMax {
		return nil, &closeError{causeNode, fmt.Errorf("%w: a hello of %d bytes, the limit is %d", wire.ErrFrameSize, n, peer.FrameBytesMax)}
	}
	if err := c.fill(wire.LengthBytes + n); err != nil {
		return nil, err
	}
	return bytes.Clone(c.in.take(wire.LengthBytes + n)[wire.LengthBytes:]), nil
}

// lend lets Peers have the connection.
func (c *Conn) lend(hello []byte) (from peer.Identity, served bool, err error) {
	if c.srv.peers == nil {
		return from, false, errors.New("no other nodes are known here")
	}
	if !c.setLent(true) {
		return from, false, errStopped
	}
	defer c.setLent(false)
	return c.srv.peers.Admit(c.nc, c.listener, hello)
}

// setLent notes who has the connection, for stop. It returns false where that has come already.
func (c *Conn) setLent(lent bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.lent = lent
	return !c.mu.stopping
}

// setDeadline bounds the handshake, or with the zero time nothing any more. A stop has set its own.
func (c *Conn) setDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.mu.stopping {
		c.nc.SetDeadline(t) // an error says that it is closed
	}
}

// gone tells that a node's connection has ended by itself.
func (c *Conn) gone() {
	if from, ok := c.Node(); ok && c.srv.nodeGone != nil && !c.stopping() {
		c.srv.nodeGone(from)
	}
}

// nodeCause sorts an error of Peers: what is none of the network's is worth a line.
func nodeCause(err error) *closeError {
	why := ioCause(err)
	var network net.Error
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		why.kind = causeTruncated
	case why.kind == causeIO && !(errors.As(err, &network) && !network.Timeout()):
		why.kind = causeNode
	}
	return why
}
