package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is the transport of plain sockets. It makes the system calls itself, inside the
// poller's, so that a connection that waits holds no buffer and files go with sendfile.
type socket struct {
	c       *Conn
	raw     syscall.RawConn
	tryRead func(fd uintptr) bool // made once: a closure per call would be an allocation
	trySend func(fd uintptr) bool

	readErr error // of the last tryRead; the reader's

	// Of whoever has the write turn: what is being sent, p or else n bytes of file.
	p       []byte
	flags   int
	file    int
	off     int64
	n       int
	sendErr error
}

// newTransport returns the transport of nc. Only bare sockets are taken at their
// descriptor: a wrapper may transform what passes.
func newTransport(c *Conn, nc net.Conn) transport {
	var raw syscall.RawConn
	var err error
	switch nc := nc.(type) {
	case *net.TCPConn:
		raw, err = nc.SyscallConn()
	case *net.UnixConn:
		raw, err = nc.SyscallConn()
	}
	if raw == nil || err != nil {
		return newStream(c)
	}
	s := &socket{c: c, raw: raw}
	s.tryRead, s.trySend = s.readSome, s.sendSome
	return s
}

func (s *socket) read() error {
	if err := s.raw.Read(s.tryRead); err != nil {
		return err
	}
	return s.readErr
}

// readSome reads what is there; false has the poller wait for more.
func (s *socket) readSome(fd uintptr) bool {
	c := s.c
	if c.in.chunk == nil && !c.unpark() {
		s.readErr = errStarved
		return true
	}
	for {
		n, err := unix.Read(int(fd), c.in.room())
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			c.waits()
			return false
		case err != nil:
			s.readErr = fmt.Errorf("read: %w", err)
		case n == 0:
			s.readErr = io.EOF
		default:
			s.readErr = nil
			c.wokeUp(n)
		}
		return true
	}
}

func (s *socket) write(p []byte, more bool) error {
	s.p, s.flags = p, unix.MSG_NOSIGNAL
	if more {
		s.flags |= unix.MSG_MORE
	}
	err := s.send()
	s.p = nil
	return err
}

func (s *socket) sendsFiles() bool { return true }

func (s *socket) sendFile(f *os.File, off int64, n int) error {
	s.file, s.off, s.n = int(f.Fd()), off, n
	err := s.send()
	if err == nil {
		s.c.srv.sentFileBytes.Add(int64(n))
	}
	return err
}

func (s *socket) send() error {
	s.sendErr = nil
	if err := s.raw.Write(s.trySend); err != nil {
		return err
	}
	return s.sendErr
}

// sendSome sends as much as the socket takes; false has the poller wait until it takes more.
func (s *socket) sendSome(fd uintptr) bool {
	for len(s.p) > 0 || s.n > 0 {
		sent, err := s.sendOnce(int(fd))
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return false
		case err != nil:
			s.sendErr = err
			s.p, s.n = nil, 0
		default:
			s.c.writes.Add(1)
			if len(s.p) > 0 {
				s.p = s.p[sent:]
			} else {
				s.n -= sent
			}
		}
	}
	return true
}

func (s *socket) sendOnce(fd int) (int, error) {
	if len(s.p) > 0 {
		n, err := unix.SendmsgN(fd, s.p, nil, nil, s.flags)
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			err = fmt.Errorf("write: %w", err)
		}
		return n, err
	}
	n, err := unix.Sendfile(fd, s.file, &s.off, s.n)
	switch {
	case n == 0 && err == nil:
		return 0, &closeError{causeSource, fmt.Errorf("a log file ends %d bytes before what the answer promises", s.n)}
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR), err == nil:
		return n, err
	default:
		return 0, fmt.Errorf("sendfile: %w", err)
	}
}
