package server

import (
	"errors"
	"fmt"
	"time"
)

// watch is what the sweeper remembers of a connection: the counters as it last saw them
// change, and since when each wait lasts.
type watch struct {
	reads, writes uint64
	idleSince     time.Time
	frameSince    time.Time
	writeSince    time.Time
}

var (
	errIdle       = errors.New("idle for connections.max.idle.ms")
	errReadStall  = errors.New("the rest of a frame does not come")
	errWriteStall = errors.New("the peer does not take its answers")
)

// sweep is the goroutine that closes connections on which nothing moves. It looks at
// all of them now and then, which costs a request nothing: no deadline is set per read or write.
func (s *Server) sweep() {
	defer s.running.Done()
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	var conns []*Conn
	for {
		select {
		case <-s.stopped:
			return
		case now := <-ticker.C:
			conns = s.appendConns(conns[:0])
			ofClients, ofNodes := s.memory.readStall(), s.nodeMemory.readStall()
			for i, c := range conns {
				if _, node := c.Node(); node {
					c.sweep(now, 0, ofNodes) // idle or not, it says that the node is there
				} else {
					c.sweep(now, s.config.IdleMax, ofClients)
				}
				conns[i] = nil
			}
			s.log.sweep(now)
		}
	}
}

// sweep closes the connection if it has waited too long for its peer.
func (c *Conn) sweep(now time.Time, idleMax, readStall time.Duration) {
	c.mu.Lock()
	writing := c.mu.writing
	owes := writing || len(c.mu.awaited) > 0 || len(c.mu.out) > 0
	c.mu.Unlock()
	phase, reads, writes := c.phase.Load(), c.reads.Load(), c.writes.Load()
	w := &c.watch
	read, wrote := reads != w.reads, writes != w.writes
	w.reads, w.writes = reads, writes
	if read || owes || phase != phaseIdle || w.idleSince.IsZero() {
		w.idleSince = now
	}
	if read || phase != phaseFrame || w.frameSince.IsZero() {
		w.frameSince = now
	}
	if wrote || !writing || w.writeSince.IsZero() {
		w.writeSince = now
	}
	switch {
	case now.Sub(w.writeSince) >= stallTimeout:
		c.close(&closeError{causeWriteStall, fmt.Errorf("%w: nothing was sent for %v", errWriteStall, now.Sub(w.writeSince))})
	case now.Sub(w.frameSince) >= readStall:
		c.close(&closeError{causeReadStall, fmt.Errorf("%w: nothing came for %v", errReadStall, now.Sub(w.frameSince))})
	case idleMax > 0 && now.Sub(w.idleSince) >= idleMax:
		c.close(&closeError{causeIdle, errIdle})
	}
}
