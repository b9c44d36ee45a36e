package server

import (
	"errors"
	"fmt"
	"io"

	"github.com/moldau/moldau/internal/wire"
)

// input is what has been read and not yet served. It belongs to the reader goroutine.
//
// A connection that waits for a frame has no chunk: it is taken when bytes are there.
// A chunk that answers to come still pin is left to them while the reader waits, and
// taken back if they still have it then, so that many small requests which wait share one.
type input struct {
	chunk  *chunk
	r, w   int    // chunk.b[r:w] is unread
	stash  []byte // begin of a frame, while there is no chunk
	pinned bool   // exchanges may pin the chunk
	left   bool   // the chunk may be in Conn.mu.left; r is where it has room
}

func (in *input) buffered() int  { return in.w - in.r + len(in.stash) }
func (in *input) unread() []byte { return in.chunk.b[in.r:in.w] }
func (in *input) room() []byte   { return in.chunk.b[in.w:] }

// take returns the next n bytes, of which there are so many.
func (in *input) take(n int) []byte {
	p := in.chunk.b[in.r : in.r+n : in.r+n]
	in.r += n
	return p
}

// fill reads until n bytes are unread. What is ready to be sent leaves before the
// connection waits for the peer.
func (c *Conn) fill(n int) error {
	if c.in.chunk == nil && len(c.in.stash) > 0 && !c.unpark() { // after Exchange.Park
		if err := c.waitChunk(); err != nil {
			return err
		}
	}
	for c.in.chunk == nil || c.in.w-c.in.r < n {
		if c.unsent > 0 {
			c.flush()
		}
		if c.in.chunk != nil {
			if err := c.makeRoom(n); err != nil {
				return err
			}
		}
		err := c.io.read()
		switch {
		case err == nil:
		case errors.Is(err, errStarved):
			if err := c.waitChunk(); err != nil {
				return err
			}
		case errors.Is(err, io.EOF) && c.in.buffered() > 0:
			return &closeError{causeTruncated, fmt.Errorf("the peer closed in the middle of a frame, after %d bytes of it", c.in.buffered())}
		default:
			return err
		}
	}
	return nil
}

// makeRoom provides for room behind what is unread, in a chunk that the frame of n bytes
// fits into as soon as enough of it has come.
func (c *Conn) makeRoom(n int) error {
	in := &c.in
	pinned := c.isPinned()
	if in.r == in.w && !pinned {
		in.r, in.w = 0, 0
	}
	size := len(in.chunk.b)
	switch {
	case in.r+n <= size: // it fits where it is
		return nil
	case !pinned && in.r > 0: // move it to the front
		in.w = copy(in.chunk.b, in.unread())
		in.r = 0
		if n <= size {
			return nil
		}
		fallthrough
	case n > size && in.r == 0 && in.w < size: // the whole chunk must be filled first
		return nil
	}
	have := in.w - in.r
	old := in.chunk
	grown, err := c.memory.growChunk(old, grownBytes(have, n), c.context().Done())
	if err != nil {
		return err
	}
	w := copy(grown.b, in.unread())
	c.dropChunk()
	in.chunk, in.r, in.w = grown, 0, w
	return nil
}

// grownBytes returns how large a chunk a frame of n bytes may have of which there are
// have: lengths are claims, and only bytes that came earn memory. Growing step by step
// copies a fraction of the frame.
func grownBytes(have, n int) int {
	if size := chunkSize(min(n, 2*have)); size <= chunkBytes[len(chunkBytes)-1] {
		return size
	}
	return min(n, 4*have)
}

// isPinned tells whether exchanges pin the chunk.
func (c *Conn) isPinned() bool {
	if c.in.pinned {
		c.mu.Lock()
		c.in.pinned = c.in.chunk.pins > 0
		c.mu.Unlock()
	}
	return c.in.pinned
}

// dropChunk gives the chunk up; the exchanges that pin it keep it until they end.
func (c *Conn) dropChunk() {
	k := c.in.chunk
	c.in.chunk = nil
	if c.in.pinned {
		c.in.pinned = false
		c.mu.Lock()
		k.detached = k.pins > 0
		kept := k.detached
		c.mu.Unlock()
		if kept {
			return
		}
	}
	c.memory.freeChunk(k)
}

// park gives memory back before the reader waits for the peer.
func (c *Conn) park() {
	if c.spare != nil {
		c.memory.freeExchange(c.spare)
		c.spare = nil
	}
	in := &c.in
	if in.chunk == nil {
		return
	}
	switch have := in.w - in.r; {
	case c.isPinned() && have == 0 && len(in.chunk.b)-in.w >= stashBytesMax:
		c.leaveChunk()
	case in.pinned && have == 0:
		c.dropChunk()
	case in.pinned: // the rest of the frame finds its way when it comes
	case have == 0:
		c.dropChunk()
		in.r, in.w = 0, 0
	case have <= stashBytesMax:
		in.stash = append(make([]byte, 0, have), in.unread()...)
		c.dropChunk()
		in.r, in.w = 0, 0
	}
}

// leaveChunk leaves the chunk to the exchanges that pin it, to be taken back.
func (c *Conn) leaveChunk() {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.in.chunk
	if k.pins == 0 { // the last one ended just now
		c.in.pinned = false
		c.in.r, c.in.w = 0, 0
		c.memory.freeChunk(k)
	} else {
		k.detached = true
		c.mu.left, c.in.left = k, true
	}
	c.in.chunk = nil
}

// unpark gets a chunk for bytes that have come. It returns false where the budget is used up.
func (c *Conn) unpark() bool {
	if c.in.left {
		c.in.left = false
		c.mu.Lock()
		k := c.mu.left
		c.mu.left = nil
		if k != nil {
			k.detached = false
		}
		c.mu.Unlock()
		if k != nil {
			c.in.chunk, c.in.pinned = k, true
			return true
		}
	}
	k := c.memory.tryChunk()
	if k == nil {
		return false
	}
	c.useChunk(k)
	return true
}

// waitChunk gets a chunk when it is this connection's turn.
func (c *Conn) waitChunk() error {
	c.phase.Store(phaseBusy)
	k, err := c.memory.waitChunk(c.context().Done())
	if err != nil {
		return err
	}
	c.useChunk(k)
	return nil
}

// useChunk goes on in a fresh chunk.
func (c *Conn) useChunk(k *chunk) {
	c.in.chunk, c.in.pinned, c.in.r = k, false, 0
	c.in.w = copy(k.b, c.in.stash)
	c.in.stash = nil
}

// dropInput gives back what the reader holds when it ends.
func (c *Conn) dropInput() {
	if c.in.chunk != nil {
		c.dropChunk()
	}
}

// waits notes, before the reader waits for the peer, what it waits for.
func (c *Conn) waits() {
	c.park()
	if c.in.buffered() > 0 {
		c.phase.Store(phaseFrame)
	} else {
		c.phase.Store(phaseIdle)
	}
}

// wokeUp notes that n bytes have come.
func (c *Conn) wokeUp(n int) {
	c.in.w += n
	c.reads.Add(1)
	if c.phase.Load() != phaseBusy {
		c.phase.Store(phaseBusy)
	}
}

// beginBytes is how much of a frame is looked at before its memory is provided for.
const beginBytes = wire.LengthBytes + wire.FixedHeaderBytes
