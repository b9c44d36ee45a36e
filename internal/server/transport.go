package server

import (
	"errors"
	"os"
)

// errStarved says that bytes have come for which the budget has no memory now.
var errStarved = errors.New("no memory to read into")

// transport moves bytes between a connection and its peer. read is the reader's; the
// others are called by whoever has the write turn.
type transport interface {
	// read waits for bytes and reads them into the connection's chunk, which it takes
	// if there is none. Before it waits it calls Conn.waits.
	read() error
	// write sends all of p; more says that other bytes follow at once.
	write(p []byte, more bool) error
	// sendsFiles tells whether sendFile works.
	sendsFiles() bool
	// sendFile sends n bytes of f from off, which must be there.
	sendFile(f *os.File, off int64, n int) error
}

// stream is the transport of connections that are no socket of the system, or on
// systems for which there is nothing better.
type stream struct {
	c     *Conn
	first []byte // what has come while there was no chunk; allocated with the first read
}

const (
	streamFirstBytes = 4 << 10
	streamWriteBytes = 64 << 10 // so that progress is seen
)

func newStream(c *Conn) *stream { return &stream{c: c} }

func (s *stream) read() error {
	c := s.c
	c.waits()
	if c.in.chunk != nil {
		n, err := c.nc.Read(c.in.room())
		return s.arrived(n, err)
	}
	if s.first == nil {
		s.first = make([]byte, streamFirstBytes)
	}
	n, err := c.nc.Read(s.first)
	if n > 0 {
		if !c.unpark() {
			if err := c.waitChunk(); err != nil {
				return err
			}
		}
		copy(c.in.room(), s.first[:n])
	}
	return s.arrived(n, err)
}

// arrived notes n bytes; an error that came with bytes comes again.
func (s *stream) arrived(n int, err error) error {
	if n > 0 {
		s.c.wokeUp(n)
		return nil
	}
	return err
}

func (s *stream) write(p []byte, _ bool) error {
	for len(p) > 0 {
		n, err := s.c.nc.Write(p[:min(len(p), streamWriteBytes)])
		if err != nil {
			return err
		}
		s.c.writes.Add(1)
		p = p[n:]
	}
	return nil
}

func (s *stream) sendsFiles() bool { return false }

func (s *stream) sendFile(*os.File, int64, int) error { return errors.ErrUnsupported }
