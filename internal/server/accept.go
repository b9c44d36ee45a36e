package server

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// How long Serve waits after a failed accept, which is most often a lack of descriptors.
const (
	acceptBackoffMin = 5 * time.Millisecond
	acceptBackoffMax = time.Second
)

// ErrStopped is returned by Serve once Stop was called.
var ErrStopped = errors.New("the server is stopped")

// Serve accepts connections of a listener of that name until Stop, for which it returns
// ErrStopped, or until the listener is closed by somebody else. It closes l.
func (s *Server) Serve(l net.Listener, name string) error { return s.serve(l, name, false) }

// ServeNodes is Serve for a listener that is for nodes alone: each connection begins with a hello.
func (s *Server) ServeNodes(l net.Listener, name string) error { return s.serve(l, name, true) }

func (s *Server) serve(l net.Listener, name string, toNodes bool) error {
	s.mu.Lock()
	if s.mu.stopping {
		s.mu.Unlock()
		l.Close()
		return ErrStopped
	}
	s.mu.listeners[l] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()
	defer l.Close()
	backoff := acceptBackoffMin
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			backoff = acceptBackoffMin
			s.accepted(nc, name, toNodes)
		case s.stopping.Load():
			return ErrStopped
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("listener %s: %w", name, err)
		default:
			s.log.write(causeAccept, "listener", name, "cause", err.Error(), "after", backoff)
			if !s.pause(backoff) {
				return ErrStopped
			}
			backoff = min(2*backoff, acceptBackoffMax)
		}
	}
}

// pause waits, and returns false once the server stops.
func (s *Server) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.stopped:
		return false
	}
}

// accepted starts a connection, or refuses it.
func (s *Server) accepted(nc net.Conn, name string, toNodes bool) {
	ip := peerIP(nc)
	s.mu.Lock()
	if refusal := s.admitLocked(ip, toNodes); refusal != nil {
		s.mu.Unlock()
		nc.Close()
		s.log.write(refusal.kind, "peer", nc.RemoteAddr().String(), "listener", name, "cause", refusal.err.Error())
		return
	}
	s.mu.nextID++
	c := newConn(s, nc, s.mu.nextID, name, toNodes)
	switch {
	case toNodes:
		s.mu.toNodes++
		ip = netip.Addr{}
	case s.config.ConnectionsPerIPMax > 0 && ip.IsValid():
		s.mu.perIP[ip]++
	default:
		ip = netip.Addr{}
	}
	s.mu.conns[c] = ip
	s.running.Add(1)
	s.mu.Unlock()
	go c.run()
}

// admitLocked says why there may not be one connection more. What clients may have is theirs: they cannot keep nodes out
// of a listener that is for nodes.
func (s *Server) admitLocked(ip netip.Addr, toNodes bool) *closeError {
	switch {
	case s.mu.stopping:
		return &closeError{causeStopped, ErrStopped}
	case toNodes && s.mu.toNodes >= nodeConnectionsMax:
		return &closeError{causeLimit, fmt.Errorf("there are %d connections to listeners for nodes", s.mu.toNodes)}
	case toNodes:
		return nil
	case s.config.ConnectionsMax > 0 && len(s.mu.conns)-s.mu.toNodes >= s.config.ConnectionsMax:
		return &closeError{causeLimit, fmt.Errorf("max.connections is %d", s.config.ConnectionsMax)}
	case s.config.ConnectionsPerIPMax > 0 && s.mu.perIP[ip] >= s.config.ConnectionsPerIPMax:
		return &closeError{causeLimit, fmt.Errorf("max.connections.per.ip is %d", s.config.ConnectionsPerIPMax)}
	}
	return nil
}

// peerIP returns the address of the peer; the zero Addr where it has none.
func peerIP(nc net.Conn) netip.Addr {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
