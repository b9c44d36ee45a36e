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
func (s *Server) Serve(l net.Listener, name string) error {
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
			s.accepted(nc, name)
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
func (s *Server) accepted(nc net.Conn, name string) {
	ip := peerIP(nc)
	s.mu.Lock()
	if refusal := s.admitLocked(ip); refusal != nil {
		s.mu.Unlock()
		nc.Close()
		s.log.write(refusal.kind, "peer", nc.RemoteAddr().String(), "listener", name, "cause", refusal.err.Error())
		return
	}
	s.mu.nextID++
	c := newConn(s, nc, s.mu.nextID, name)
	if s.config.ConnectionsPerIPMax > 0 && ip.IsValid() {
		s.mu.perIP[ip]++
	} else {
		ip = netip.Addr{}
	}
	s.mu.conns[c] = ip
	s.running.Add(1)
	s.mu.Unlock()
	go c.run()
}

func (s *Server) admitLocked(ip netip.Addr) *closeError {
	switch {
	case s.mu.stopping:
		return &closeError{causeStopped, ErrStopped}
	case s.config.ConnectionsMax > 0 && len(s.mu.conns) >= s.config.ConnectionsMax:
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
