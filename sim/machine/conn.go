package machine

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// streamBytesMax is how much is on its way in one direction of a connection before who writes has to wait.
const streamBytesMax = 256 << 10

// conn is one end of a connection. Its fields, but for those that never change, are guarded by Network.mu.
type conn struct {
	net     *Network
	process *Process
	host    string
	peer    *conn
	in, out *stream

	closed          bool // by its own process
	reset           bool // the other side is gone, and whatever was on its way
	readBy, writeBy time.Time
}

// stream is the bytes on their way from one end to the other.
type stream struct {
	link    *link
	chunks  []chunk
	bytes   int
	last    time.Time // when the latest of chunks arrives
	ended   bool      // no more follows
	changed signal
}

type chunk struct {
	at   time.Time
	data []byte
}

// endLocked closes an end: the other one reads what is on its way and then the end. Where the power is gone, what is on its way is
// gone too, and the other end is told nothing.
func (c *conn) endLocked(powered bool) {
	if c.closed {
		return
	}
	c.closed = true
	c.out.ended = powered
	if !powered || c.out.link.cut {
		c.out.drop()
	}
	if c.peer.closed {
		delete(c.net.mu.conns, c)
		delete(c.net.mu.conns, c.peer)
	}
	c.in.changed.tell()
	c.out.changed.tell()
}

// drop loses what is on its way.
func (s *stream) drop() { s.chunks, s.bytes = nil, 0 }

// resetLocked has an end learn that the connection is no more.
func (c *conn) resetLocked() {
	c.reset = true
	c.in.changed.tell()
	c.out.changed.tell()
}

func (c *conn) Read(p []byte) (int, error) {
	for {
		count, due, changed, err := c.tryRead(p)
		if changed == nil {
			return count, c.opError("read", err)
		}
		wait(changed, due, nil)
	}
}

// tryRead reads what has arrived. Where that is nothing it tells when to look again: at due, if that is not zero, and when
// something has changed.
func (c *conn) tryRead(p []byte) (count int, due time.Time, changed <-chan struct{}, err error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	in, now := c.in, time.Now()
	switch {
	case c.closed:
		return 0, due, nil, net.ErrClosed
	case !c.readBy.IsZero() && !now.Before(c.readBy):
		return 0, due, nil, os.ErrDeadlineExceeded
	case c.reset:
		return 0, due, nil, syscall.ECONNRESET
	case len(p) == 0:
		return 0, due, nil, nil
	case in.link.cut:
	case len(in.chunks) > 0 && !now.Before(in.chunks[0].at):
		count = in.take(p, now)
		in.changed.tell() // there is room
		return count, due, nil, nil
	case len(in.chunks) > 0:
		due = in.chunks[0].at
	case in.ended && !now.Before(in.last):
		return 0, due, nil, io.EOF
	case in.ended:
		due = in.last
	}
	return 0, earlier(due, c.readBy), in.changed.wait(), nil
}

// take reads what has arrived by now.
func (s *stream) take(p []byte, now time.Time) (count int) {
	for count < len(p) && len(s.chunks) > 0 && !now.Before(s.chunks[0].at) {
		n := copy(p[count:], s.chunks[0].data)
		count += n
		if s.chunks[0].data = s.chunks[0].data[n:]; len(s.chunks[0].data) == 0 {
			s.chunks[0] = chunk{}
			s.chunks = s.chunks[1:]
		}
	}
	s.bytes -= count
	return count
}

func (c *conn) Write(p []byte) (count int, err error) {
	for {
		n, changed, err := c.tryWrite(p[count:])
		count += n
		if changed == nil {
			return count, c.opError("write", err)
		}
		wait(changed, c.writeDeadline(), nil)
	}
}

// tryWrite sends what there is room for. Where that is not all it tells when to look again: at the deadline, and when something has changed.
func (c *conn) tryWrite(p []byte) (count int, changed <-chan struct{}, err error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	out, now := c.out, time.Now()
	switch {
	case c.closed:
		return 0, nil, net.ErrClosed
	case !c.writeBy.IsZero() && !now.Before(c.writeBy):
		return 0, nil, os.ErrDeadlineExceeded
	case c.reset || c.in.ended && c.peer.closed && !c.in.link.cut:
		return 0, nil, syscall.EPIPE
	}
	if count = min(len(p), streamBytesMax-out.bytes); count > 0 {
		at := c.net.arrivalLocked(out.link, now)
		if at.Before(out.last) {
			at = out.last
		}
		out.chunks = append(out.chunks, chunk{at, append([]byte(nil), p[:count]...)})
		out.bytes, out.last = out.bytes+count, at
		out.changed.tell()
	}
	if count < len(p) {
		changed = out.changed.wait()
	}
	return count, changed, nil
}

func (c *conn) writeDeadline() time.Time {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	return c.writeBy
}

func (c *conn) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// earlier returns the first of two moments, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (c *conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.endLocked(true)
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	return c.setDeadlines(func() { c.readBy, c.writeBy = t, t })
}

func (c *conn) SetReadDeadline(t time.Time) error {
	return c.setDeadlines(func() { c.readBy = t })
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadlines(func() { c.writeBy = t })
}

func (c *conn) setDeadlines(set func()) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.opError("set", net.ErrClosed)
	}
	set()
	c.in.changed.tell()
	c.out.changed.tell()
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return address(c.host) }
func (c *conn) RemoteAddr() net.Addr { return address(c.peer.host) }
