package controller

import (
	"time"

	"github.com/moldau/moldau/internal/ids"
)

// session is what the controller has heard from one broker since this node leads. It is
// no metadata: a new leader begins anew, and gives every broker a whole session time.
type session struct {
	heard  time.Time  // silence is counted from here
	spoken bool       // the broker itself was heard, as opposed to being given time
	gone   bool       // its connection is closed and it cannot be reached
	silent bool       // what follows from its silence is decided; Core.Reset takes that back
	offset ids.Offset // how far its metadata was when it last told
	// left is the offset at which others know that the broker leads nothing any more, 0
	// where it does not leave.
	left ids.Offset
}

func (s *session) hear(now time.Time, offset ids.Offset) {
	s.heard, s.spoken, s.gone, s.silent = now, true, false, false
	s.offset = max(s.offset, offset)
}

// live tells whether the broker was heard within the session time.
func (s *session) live(now time.Time, timeout time.Duration) bool {
	return s.spoken && !s.gone && now.Sub(s.heard) < timeout
}

// over tells whether the broker is to be taken as dead.
func (s *session) over(now time.Time, timeout time.Duration) bool {
	return s.gone || now.Sub(s.heard) >= timeout
}

// session returns the session of a broker, which begins now where there is none.
func (c *Core) session(id ids.NodeID, now time.Time) *session {
	s := c.sessions[id]
	if s == nil {
		s = &session{heard: now, offset: ids.NoOffset}
		c.sessions[id] = s
	}
	return s
}

// Lead begins the sessions anew: this node decides from now on.
func (c *Core) Lead(now time.Time) {
	clear(c.sessions)
	c.looked, c.balanced = now, now
}

// Look tells what time it is, at least twice in a session time. Time in which nobody
// looked is not held against brokers: this node stood still, or its quorum did.
func (c *Core) Look(now time.Time) {
	if gap := now.Sub(c.looked); gap > c.config.SessionTimeout/2 {
		for _, s := range c.sessions {
			if s.heard = s.heard.Add(gap); s.heard.After(now) {
				s.heard = now
			}
		}
	}
	c.looked = now
}

// Gone tells that the connection of a broker is closed and that it cannot be reached:
// Expire finds its session over.
func (c *Core) Gone(node ids.NodeID, epoch int64, now time.Time) {
	if b, ok := c.settled(node); ok && b.Epoch == epoch {
		c.session(node, now).gone = true
	}
}
