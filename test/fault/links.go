//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/moldau/moldau/test/nodes"
)

// links are the connections between the nodes' CONTROLLER listeners, each direction through a proxy of its own, so that a node can be cut off
// from the quorum and the controller. Clients and followers go past them.
type links map[[2]int32]*link // by who connects to whom

// link forwards connections to one address.
type link struct {
	listener net.Listener
	to       string

	mu struct {
		sync.Mutex
		cut   bool
		conns map[net.Conn]struct{} // both ends of each connection
	}
}

// newLinks has each node of a cluster reach the others through proxies from its next start on. The proxies are where the clients are.
func newLinks(c *nodes.Cluster, networked bool) (links, error) {
	all, at := make(links), "127.0.0.1"
	if networked {
		at = address(clients)
	}
	for from := int32(1); from <= nodes.Count; from++ {
		var voters []string
		for to := int32(1); to <= nodes.Count; to++ {
			voter := c.ControllerAddress(to)
			if to != from {
				l, err := newLink(at, voter)
				if err != nil {
					all.close()
					return nil, err
				}
				all[[2]int32{from, to}] = l
				voter = l.listener.Addr().String()
			}
			voters = append(voters, fmt.Sprintf("%d@%s", to, voter))
		}
		n := c.Node(from)
		n.Args = append(n.Args, "--override", "controller.quorum.voters="+strings.Join(voters, ","))
	}
	return all, nil
}

// cut has nothing pass between a node and the others any more, or lets it pass again. What was on its way meanwhile is lost with its connection.
func (all links) cut(node int32, cut bool) {
	for ends, l := range all {
		if ends[0] == node || ends[1] == node {
			l.setCut(cut)
		}
	}
}

func (all links) close() {
	for _, l := range all {
		_ = l.listener.Close() // there is nothing to lose
		l.setCut(false)
	}
}

func newLink(at, to string) (*link, error) {
	listener, err := net.Listen("tcp", at+":0")
	if err != nil {
		return nil, err
	}
	l := &link{listener: listener, to: to}
	l.mu.conns = make(map[net.Conn]struct{})
	go l.accept()
	return l, nil
}

func (l *link) setCut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.cut = cut; cut {
		return
	}
	for conn := range l.mu.conns {
		_ = conn.Close()
		delete(l.mu.conns, conn)
	}
}

func (l *link) accept() {
	for {
		from, err := l.listener.Accept()
		if err != nil {
			return
		}
		go l.serve(from)
	}
}

func (l *link) serve(from net.Conn) {
	defer from.Close()
	to, err := net.DialTimeout("tcp", l.to, time.Second)
	if err != nil {
		return
	}
	defer to.Close()
	l.mu.Lock()
	l.mu.conns[from], l.mu.conns[to] = struct{}{}, struct{}{}
	l.mu.Unlock()
	ended := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
		go func() {
			_, _ = io.Copy(passage{pair[0], l}, pair[1]) // either end may go at any time
			ended <- struct{}{}
		}()
	}
	<-ended
	l.mu.Lock()
	delete(l.mu.conns, from)
	delete(l.mu.conns, to)
	l.mu.Unlock()
}

// passage writes what the link lets pass.
type passage struct {
	net.Conn
	l *link
}

// Write implements io.Writer. io.Copy is not to go around it.
func (p passage) Write(b []byte) (int, error) {
	p.l.mu.Lock()
	cut := p.l.mu.cut
	p.l.mu.Unlock()
	if cut {
		return len(b), nil
	}
	return p.Conn.Write(b)
}

// ReadFrom has io.Copy use Write.
func (p passage) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{p}, r)
}

// cutOff has a node heard by no other node's controller, nor hear one, until others have taken over what it leads, and a little longer.
func cutOff(ctx context.Context, r *run) error {
	node := 1 + r.rng.Int32N(nodes.Count)
	r.links.cut(node, true)
	defer r.links.cut(node, false)
	if err := r.progress(ctx); err != nil {
		return fmt.Errorf("while node %d is cut off: %w", node, err)
	}
	return pause(ctx, 3*time.Second+time.Duration(r.rng.Int64N(int64(3*time.Second))))
}
