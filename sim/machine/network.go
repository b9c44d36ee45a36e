package machine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"
)

// Network is hosts and the connections between them.
type Network struct {
	mu struct {
		sync.Mutex
		rng       *rand.Rand
		listeners map[string]*listener // by address
		dark      map[string]bool      // hosts without power
		links     map[direction]*link
		conns     map[*conn]struct{} // both ends
		changed   signal             // of listeners, dark or links
	}
}

// direction is from one host to another.
type direction struct{ from, to string }

// link is what a direction does to bytes. Guarded by Network.mu.
type link struct {
	cut   bool
	delay time.Duration // at least; as much again at most
}

// NewNetwork returns a network without delay. The seed draws how long each delay is.
func NewNetwork(seed uint64) *Network {
	n := &Network{}
	n.mu.rng = rand.New(rand.NewPCG(seed, 4))
	n.mu.listeners = make(map[string]*listener)
	n.mu.dark = make(map[string]bool)
	n.mu.links = make(map[direction]*link)
	n.mu.conns = make(map[*conn]struct{})
	return n
}

func (n *Network) linkLocked(from, to string) *link {
	d := direction{from, to}
	if n.mu.links[d] == nil {
		n.mu.links[d] = &link{}
	}
	return n.mu.links[d]
}

// Cut has nothing arrive from one host at another. What a connection that is closed meanwhile has on its way is lost: a late copy of a
// request that its sender has given up, and sent again, would be more than TCP does in practice.
func (n *Network) Cut(from, to string) {
	n.set(from, to, func(l *link) {
		l.cut = true
		for c := range n.mu.conns {
			if c.closed && c.out.link == l {
				c.out.drop()
			}
		}
	})
}

// Mend ends Cut.
func (n *Network) Mend(from, to string) { n.set(from, to, func(l *link) { l.cut = false }) }

// SetDelay has what is sent from now on arrive after one to two delays. It does not overtake what is on its way.
func (n *Network) SetDelay(from, to string, delay time.Duration) {
	n.set(from, to, func(l *link) { l.delay = delay })
}

func (n *Network) set(from, to string, change func(*link)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n.linkLocked(from, to))
	n.changedLocked()
}

// changedLocked has everybody look again.
func (n *Network) changedLocked() {
	n.mu.changed.tell()
	for c := range n.mu.conns {
		c.in.changed.tell()
	}
}

// Break resets each connection between two hosts with a probability.
func (n *Network) Break(a, b string, probability float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.mu.conns {
		if c.host == a && c.peer.host == b && n.mu.rng.Float64() < probability {
			c.resetLocked()
			c.peer.resetLocked()
		}
	}
}

// arrivalLocked is when what is sent now arrives.
func (n *Network) arrivalLocked(l *link, now time.Time) time.Time {
	if l.delay == 0 {
		return now
	}
	return now.Add(l.delay + time.Duration(n.mu.rng.Int64N(int64(l.delay))))
}

// Process is one process on a host.
type Process struct {
	net  *Network
	host string

	ended bool // guarded by net.mu
}

// Start starts a process. A host that was dark has power again, and what it had connections with learns that they are over.
func (n *Network) Start(host string) *Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.dark[host] {
		delete(n.mu.dark, host)
		for c := range n.mu.conns {
			if c.host == host {
				c.peer.resetLocked()
			}
		}
		n.changedLocked()
	}
	return &Process{net: n, host: host}
}

// Kill ends the process: nothing that it does from now on leaves it. Others see its connections end.
func (p *Process) Kill() { p.end(false) }

// PowerOff ends the process and takes its host down: others hear nothing until something is started there again.
func (p *Process) PowerOff() { p.end(true) }

func (p *Process) end(dark bool) {
	n := p.net
	n.mu.Lock()
	defer n.mu.Unlock()
	p.ended = true
	if dark {
		n.mu.dark[p.host] = true
	}
	for c := range n.mu.conns {
		if c.process == p {
			c.endLocked(!dark)
		}
	}
	for address, l := range n.mu.listeners {
		if l.process == p {
			delete(n.mu.listeners, address)
			l.arrived.tell()
		}
	}
	n.changedLocked()
}

// Listen is a broker's way to listen. The host of the address is the process's.
func (p *Process) Listen(_, address string) (net.Listener, error) {
	n := p.net
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case p.ended:
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: net.ErrClosed}
	case n.mu.listeners[address] != nil:
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: syscall.EADDRINUSE}
	}
	l := &listener{process: p, address: address}
	n.mu.listeners[address] = l
	n.mu.changed.tell()
	return l, nil
}

// Dial connects to an address. It waits as long as nothing comes back from there.
func (p *Process) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dialling: %w", err)
	}
	for begun := time.Now(); ; {
		c, due, changed, err := p.tryDial(host, address, begun)
		if c != nil || err != nil {
			return c, err
		}
		if !wait(changed, due, ctx.Done()) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
		}
	}
}

// tryDial connects, or tells when to look again: at due, if that is not zero, and when something has changed.
func (p *Process) tryDial(host, address string, begun time.Time) (c net.Conn, due time.Time, changed <-chan struct{}, err error) {
	n := p.net
	n.mu.Lock()
	defer n.mu.Unlock()
	there, back := n.linkLocked(p.host, host), n.linkLocked(host, p.host)
	due = begun.Add(there.delay + back.delay)
	l := n.mu.listeners[address]
	refused := func(why error) (net.Conn, time.Time, <-chan struct{}, error) {
		return nil, time.Time{}, nil, &net.OpError{Op: "dial", Net: "tcp", Err: why}
	}
	switch {
	case p.ended:
		return refused(net.ErrClosed)
	case there.cut || back.cut || n.mu.dark[host]:
		return nil, time.Time{}, n.mu.changed.wait(), nil
	case time.Now().Before(due):
		return nil, due, n.mu.changed.wait(), nil
	case l == nil:
		return refused(syscall.ECONNREFUSED)
	}
	ours := &conn{net: n, process: p, host: p.host, in: &stream{link: back}, out: &stream{link: there}}
	theirs := &conn{net: n, process: l.process, host: host, in: ours.out, out: ours.in}
	ours.peer, theirs.peer = theirs, ours
	n.mu.conns[ours], n.mu.conns[theirs] = struct{}{}, struct{}{}
	l.backlog = append(l.backlog, theirs)
	l.arrived.tell()
	return ours, time.Time{}, nil, nil
}

// listener is a net.Listener of a Process. Its fields are guarded by Network.mu; it is open while Network has it.
type listener struct {
	process *Process
	address string
	backlog []*conn
	arrived signal
}

func (l *listener) Accept() (net.Conn, error) {
	n := l.process.net
	for {
		n.mu.Lock()
		if n.mu.listeners[l.address] != l {
			n.mu.Unlock()
			return nil, net.ErrClosed
		}
		if len(l.backlog) > 0 {
			c := l.backlog[0]
			l.backlog = l.backlog[1:]
			n.mu.Unlock()
			return c, nil
		}
		arrived := l.arrived.wait()
		n.mu.Unlock()
		<-arrived
	}
}

func (l *listener) Close() error {
	n := l.process.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.listeners[l.address] != l {
		return nil
	}
	delete(n.mu.listeners, l.address)
	for _, c := range l.backlog {
		c.endLocked(true)
	}
	l.arrived.tell()
	n.mu.changed.tell()
	return nil
}

func (l *listener) Addr() net.Addr { return address(l.address) }

// address is a name in a network.
type address string

func (address) Network() string  { return "memory" }
func (a address) String() string { return string(a) }

// signal tells whoever waits for something to change. Guarded by Network.mu.
type signal struct{ ch chan struct{} }

// wait returns a channel that is closed at the next change.
func (s *signal) wait() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) tell() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// wait returns when something has changed, or at a time if that is not zero. It returns false when over is closed.
func wait(changed <-chan struct{}, due time.Time, over <-chan struct{}) bool {
	var timer <-chan time.Time
	if !due.IsZero() {
		t := time.NewTimer(time.Until(due))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-changed:
	case <-timer:
	case <-over:
		return false
	}
	return true
}
