package sim

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// network is listeners and connections in memory. Nothing in it leaves a synctest bubble.
type network struct {
	mu struct {
		sync.Mutex // leaf
		listeners  map[string]*listener
	}
}

func newNetwork() *network {
	n := &network{}
	n.mu.listeners = make(map[string]*listener)
	return n
}

// listen is a broker's way to listen.
func (n *network) listen(_, address string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.listeners[address] != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: syscall.EADDRINUSE}
	}
	l := &listener{net: n, address: address, backlog: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.listeners[address] = l
	return l, nil
}

func (n *network) dial(ctx context.Context, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.mu.listeners[address]
	n.mu.Unlock()
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	ours, theirs := net.Pipe()
	select {
	case l.backlog <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, fmt.Errorf("dialling %s: %w", address, ctx.Err())
	}
}

// listener is a net.Listener of a network.
type listener struct {
	net     *network
	address string
	backlog chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.net.mu.Lock()
		defer l.net.mu.Unlock()
		delete(l.net.mu.listeners, l.address)
	})
	return nil
}

func (l *listener) Addr() net.Addr { return address(l.address) }

// address is a name in a network.
type address string

func (address) Network() string  { return "memory" }
func (a address) String() string { return string(a) }
