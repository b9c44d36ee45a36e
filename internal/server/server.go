package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/peer"
)

// Config is what a server may be told. Names in comments are Kafka's.
type Config struct {
	RequestBytesMax     int           // socket.request.max.bytes: the largest Produce
	IdleMax             time.Duration // connections.max.idle.ms; 0 or less is no limit
	ConnectionsMax      int           // max.connections; 0 or less is no limit
	ConnectionsPerIPMax int           // max.connections.per.ip; 0 or less is no limit
	MemoryBytes         int64         // queued.max.request.bytes: chunks of requests and answers being sent, of all connections
}

// DefaultConfig returns Kafka's defaults, but for MemoryBytes, which Kafka does not limit.
func DefaultConfig() Config {
	return Config{
		RequestBytesMax: 100 << 20,
		IdleMax:         10 * time.Minute,
		MemoryBytes:     256 << 20,
	}
}

// memoryBytesMin lets some connections work at the same time.
const memoryBytesMin = 16 << 20

// Validate says what cannot be.
func (c *Config) Validate() error {
	if c.RequestBytesMax < 1024 || c.RequestBytesMax > 1<<31-1 {
		return fmt.Errorf("socket.request.max.bytes is %d, must be 1024 to 2147483647", c.RequestBytesMax)
	}
	if c.MemoryBytes < memoryBytesMin {
		return fmt.Errorf("queued.max.request.bytes is %d, must be %d or more", c.MemoryBytes, memoryBytesMin)
	}
	return nil
}

// Deps is what a server works with.
type Deps struct {
	Handler Handler
	Peers   Peers // nil where there are no other nodes
	// NodeGone, which may be nil, is told when a connection of a node has ended, but for those that Stop ends. It runs on
	// the connection's goroutine.
	NodeGone func(peer.Identity)
	Logger   *slog.Logger
}

// Server accepts connections and serves them.
type Server struct {
	config     Config
	handler    Handler
	peers      Peers
	nodeGone   func(peer.Identity)
	memory     memory // of clients
	nodeMemory memory
	log        boundedLog

	running       sync.WaitGroup // goroutines
	stopping      atomic.Bool    // Stop was called
	stopped       chan struct{}  // closed by Stop
	sentFileBytes atomic.Int64

	mu struct {
		sync.Mutex
		conns     map[*Conn]netip.Addr // with the peer's address, where that is limited
		perIP     map[netip.Addr]int
		toNodes   int // connections of listeners for nodes, of conns
		listeners map[net.Listener]struct{}
		nextID    uint64
		stopping  bool
	}
}

// New returns a server that has been started: its sweeper runs until Stop.
func New(config Config, deps Deps) (*Server, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	s := &Server{config: config, handler: deps.Handler, peers: deps.Peers, nodeGone: deps.NodeGone, stopped: make(chan struct{})}
	s.memory.limitBytes, s.nodeMemory.limitBytes = config.MemoryBytes, nodeMemoryBytes
	s.log.logger = deps.Logger
	s.mu.conns = make(map[*Conn]netip.Addr)
	s.mu.perIP = make(map[netip.Addr]int)
	s.mu.listeners = make(map[net.Listener]struct{})
	s.running.Add(1)
	go s.sweep()
	return s, nil
}

// Stats are counters for tests and metrics.
type Stats struct {
	Connections   int
	MemoryBytes   int64 // of Config.MemoryBytes and what nodes have, in use
	SentFileBytes int64 // with sendfile
}

// Stats returns the counters as they are.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	n := len(s.mu.conns)
	s.mu.Unlock()
	return Stats{Connections: n, MemoryBytes: s.memory.usedBytes.Load() + s.nodeMemory.usedBytes.Load(), SentFileBytes: s.sentFileBytes.Load()}
}

// longAgo is a deadline that has passed, whatever the clock says.
var longAgo = time.Unix(1, 0)

// Stop closes the listeners, lets each request in progress end and its answer leave,
// and closes the connections. When ctx ends first, it closes them at once and returns its
// error; a handler that does not heed Done may then still run.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	if s.mu.stopping {
		s.mu.Unlock()
		return errors.New("the server was stopped before")
	}
	s.mu.stopping = true
	s.stopping.Store(true)
	close(s.stopped)
	for l := range s.mu.listeners {
		l.Close() // Serve returns
	}
	s.mu.Unlock()
	for _, c := range s.appendConns(nil) {
		c.stop()
	}
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	conns := s.appendConns(nil)
	for _, c := range conns {
		c.close(&closeError{causeStopped, ctx.Err()})
	}
	return fmt.Errorf("stopping the server: %d connections were not done in time: %w", len(conns), ctx.Err())
}

func (s *Server) appendConns(conns []*Conn) []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.mu.conns {
		conns = append(conns, c)
	}
	return conns
}

// forget ends a connection's place in the server.
func (s *Server) forget(c *Conn) {
	s.mu.Lock()
	if ip := s.mu.conns[c]; ip.IsValid() {
		if s.mu.perIP[ip]--; s.mu.perIP[ip] == 0 {
			delete(s.mu.perIP, ip)
		}
	}
	if c.toNodes {
		s.mu.toNodes--
	}
	delete(s.mu.conns, c)
	s.mu.Unlock()
	s.running.Done()
}

// logClosed writes the one line of a closed connection.
func (s *Server) logClosed(c *Conn, cause error) {
	why := ioCause(cause)
	s.log.write(why.kind, "peer", c.nc.RemoteAddr().String(), "listener", c.listener, "cause", why.err.Error())
}
