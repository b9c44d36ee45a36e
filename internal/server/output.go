package server

import (
	"fmt"
	"io"

	"github.com/moldau/moldau/internal/vfs"
)

// expect takes the place of x in the order of answers and pins the chunk that its body is in.
func (c *Conn) expect(x *Exchange) {
	c.overlaps = true
	c.mu.Lock()
	defer c.mu.Unlock()
	if x.Body != nil && c.in.chunk != nil {
		x.chunk = c.in.chunk
		x.chunk.pins++
		c.in.pinned = true
	}
	c.mu.awaited = append(c.mu.awaited, x)
}

// unpinLocked lets go of the chunk that the body of x is in.
func (c *Conn) unpinLocked(x *Exchange) {
	k := x.chunk
	if k == nil {
		return
	}
	x.chunk = nil
	k.pins--
	if k.pins > 0 || !k.detached {
		return
	}
	if c.mu.left == k {
		c.mu.left = nil
	}
	c.memory.freeChunk(k)
}

// answer takes the answer of x, in x.buf where there is one. It neither waits nor writes.
func (c *Conn) answer(x *Exchange) {
	if !x.later {
		c.answerInline(x)
		return
	}
	c.mu.Lock()
	c.unpinLocked(x)
	if c.mu.closed {
		c.retireLocked(x)
		c.mu.Unlock()
		return
	}
	x.state = stateAnswered
	c.mu.outBytes += x.answerBytes()
	serving := x.serving // then the reader sends, as soon as Serve returns
	c.advanceLocked()
	var out []*buffer
	if !serving {
		out = c.takeTurnLocked()
	}
	if out != nil {
		c.srv.running.Add(1)
	}
	c.mu.changed.Broadcast()
	c.mu.Unlock()
	if out != nil {
		go c.sendLater(out)
	}
}

// answerInline is answer on the reader goroutine, before Serve returns.
func (c *Conn) answerInline(x *Exchange) {
	n := x.answerBytes()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.outBytes += n
	switch {
	case c.mu.closed:
		if x.buf != nil {
			c.memory.freeBuffer(x.buf)
			x.buf = nil
		}
		x.state = stateGone
	case len(c.mu.awaited) > 0: // behind answers to come
		x.later, x.serving, x.state = true, true, stateAnswered
		c.mu.awaited = append(c.mu.awaited, x)
	default:
		if n > 0 && c.enqueueLocked(x.buf) {
			x.buf = nil
		}
		x.state = stateGone
		c.unsent += n
	}
}

// served ends Serve for an exchange that took a place in the order of answers.
func (c *Conn) served(x *Exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x.serving = false
	if x.state == stateGone {
		c.retireLocked(x)
	}
	c.unsent += len(c.mu.out) // not bytes, but more than none
}

// advanceLocked queues the answers that nothing is awaited before.
func (c *Conn) advanceLocked() {
	n := 0
	for n < len(c.mu.awaited) && c.mu.awaited[n].state == stateAnswered {
		x := c.mu.awaited[n]
		if x.answerBytes() > 0 && c.enqueueLocked(x.buf) {
			x.buf = nil
		}
		c.retireLocked(x)
		n++
	}
	if n > 0 {
		rest := copy(c.mu.awaited, c.mu.awaited[n:])
		clear(c.mu.awaited[rest:])
		c.mu.awaited = c.mu.awaited[:rest]
	}
}

// retireLocked ends an exchange whose answer has been taken; the reader does it for one
// that it still serves.
func (c *Conn) retireLocked(x *Exchange) {
	x.state = stateGone
	if !x.serving {
		c.memory.freeExchange(x)
	}
}

// enqueueLocked queues an encoded answer. It returns false where the bytes were copied
// behind the one before and the buffer stays with the caller.
func (c *Conn) enqueueLocked(b *buffer) bool {
	if last := len(c.mu.out) - 1; last >= 0 && len(b.parts) == 0 && len(b.b) <= mergeBytesMax {
		before := c.mu.out[last]
		if len(before.parts) == 0 && len(before.b)+len(b.b) <= flushBytes {
			before.b = append(before.b, b.b...)
			b.b = b.b[:0]
			return false
		}
	}
	c.mu.out = append(c.mu.out, b)
	return true
}

// answerBytes returns the size of the answer, slices included; 0 is none.
func (x *Exchange) answerBytes() int {
	if x.buf == nil {
		return 0
	}
	return x.buf.bytes()
}

func (b *buffer) bytes() int {
	n := len(b.b)
	for i := range b.parts {
		n += b.parts[i].Source.Len()
	}
	return n
}

// takeTurnLocked takes the write turn and what is ready; nil where nothing is, or
// somebody else has the turn and will send it. Who gets something calls send.
func (c *Conn) takeTurnLocked() []*buffer {
	if c.mu.writing || len(c.mu.out) == 0 {
		return nil
	}
	c.mu.writing = true
	return c.takeOutLocked()
}

func (c *Conn) takeOutLocked() []*buffer {
	out := c.mu.out
	c.mu.out, c.mu.outSpare = c.mu.outSpare, nil
	return out
}

// flush sends what is ready, on the reader goroutine.
func (c *Conn) flush() {
	c.unsent = 0
	c.mu.Lock()
	out := c.takeTurnLocked()
	c.mu.Unlock()
	if out != nil {
		c.send(out)
	}
}

// sendLater is the short-lived goroutine that sends answers which were completed by others.
func (c *Conn) sendLater(out []*buffer) {
	defer c.srv.running.Done()
	c.send(out)
}

// send sends out, and what becomes ready meanwhile, and gives the write turn back.
func (c *Conn) send(out []*buffer) {
	for out != nil {
		n, held := 0, 0
		for _, b := range out {
			n += b.bytes()
			held += len(b.b)
		}
		c.memory.charge(held)
		if err := c.sendAnswers(out); err != nil {
			c.close(ioCause(err))
		}
		c.memory.discharge(held)
		for i, b := range out {
			c.memory.freeBuffer(b)
			out[i] = nil
		}
		c.mu.Lock()
		c.mu.outBytes -= n
		c.mu.outSpare = out[:0]
		if out = nil; len(c.mu.out) > 0 && !c.mu.closed {
			out = c.takeOutLocked()
		} else {
			c.mu.writing = false
		}
		c.mu.changed.Broadcast()
		c.mu.Unlock()
	}
}

// sendAnswers sends answers in order.
func (c *Conn) sendAnswers(out []*buffer) error {
	if len(out) == 1 && len(out[0].parts) == 0 {
		return c.io.write(out[0].b, false)
	}
	a := assembly{io: c.io, stage: c.memory.takeStage()}
	defer c.memory.freeStage(a.stage)
	for _, b := range out {
		at := 0
		for i := range b.parts {
			p := &b.parts[i]
			if err := a.bytes(b.b[at:p.At]); err != nil {
				return err
			}
			if err := a.source(p.Source); err != nil {
				return err
			}
			at = p.At
		}
		if err := a.bytes(b.b[at:]); err != nil {
			return err
		}
	}
	return a.flush(false)
}

// assembly puts pieces together, so that small ones share a write and large ones are
// not copied.
type assembly struct {
	io    transport
	stage *[]byte
}

// flush writes what has been gathered; more says that something follows for certain.
func (a *assembly) flush(more bool) error {
	if len(*a.stage) == 0 {
		return nil
	}
	err := a.io.write(*a.stage, more)
	*a.stage = (*a.stage)[:0]
	return err
}

// bytes gathers or sends p. A write without more ends each direct one: what follows it
// may be nothing, and the system would hold the bytes back.
func (a *assembly) bytes(p []byte) error {
	if direct := len(p) > mergeBytesMax; direct || len(p) > cap(*a.stage)-len(*a.stage) {
		if err := a.flush(true); err != nil {
			return err
		}
		if direct {
			return a.io.write(p, false)
		}
	}
	*a.stage = append(*a.stage, p...)
	return nil
}

// source sends a slice: from its file where that pays, else through the stage.
func (a *assembly) source(s Source) error {
	n := s.Len()
	if n >= sendfileBytesMin && a.io.sendsFiles() {
		file, pos := s.File()
		if f := vfs.OSFile(file); f != nil {
			if err := a.flush(true); err != nil {
				return err
			}
			return a.io.sendFile(f, pos, n)
		}
	}
	for off := 0; off < n; {
		used := len(*a.stage)
		if used == cap(*a.stage) {
			if err := a.flush(true); err != nil {
				return err
			}
			continue
		}
		end := min(cap(*a.stage), used+n-off)
		p := (*a.stage)[used:end]
		if got, err := s.ReadAt(p, int64(off)); got < len(p) {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return &closeError{causeSource, fmt.Errorf("reading bytes %d to %d of %d of an answer: %w", off, off+len(p), n, err)}
		}
		*a.stage = (*a.stage)[:end]
		off += len(p)
	}
	return nil
}
