package quorum

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/peer"
)

const (
	// A message may carry a snapshot; entries and what follows them are far smaller.
	messageFrameBytesMax = snapshotFileBytesMax + 1<<20
	// sendQueueBytesMax is what waits for one node. Raft sends no more than inflightBytes unasked.
	sendQueueBytesMax = 2 * inflightBytes
	// receivedMax is how many messages wait for the member.
	receivedMax = 1024
)

// Network is the Transport over connections between nodes. Who says a message has proved to be its sender.
type Network struct {
	links    *peer.Links
	received chan Message
	logger   *slog.Logger

	mu struct {
		sync.Mutex
		unread map[ids.NodeID]struct{} // of whom something could not be read, and was logged
	}
}

// NetworkConfig is what a Network is told.
type NetworkConfig struct {
	Local  func() peer.Local // as of now
	Dial   func(ctx context.Context, node ids.NodeID) (net.Conn, error)
	Logger *slog.Logger
}

// NewNetwork returns a network without a connection.
func NewNetwork(cfg NetworkConfig) *Network {
	n := &Network{received: make(chan Message, receivedMax), logger: cfg.Logger}
	n.mu.unread = make(map[ids.NodeID]struct{})
	n.links = peer.NewLinks(peer.LinksConfig{
		Local: cfg.Local, Channel: peer.ChannelQuorum, Dial: cfg.Dial, Receive: n.receive, Logger: cfg.Logger,
		FrameBytesMax: messageFrameBytesMax, QueueBytesMax: sendQueueBytesMax,
	})
	return n
}

// Send implements Transport.
func (n *Network) Send(m Message) {
	frame, err := m.Append(nil)
	if err != nil {
		n.logger.Error("a message of the metadata quorum is not sent", "node", m.To, "error", err)
		return
	}
	n.links.Send(m.To, frame)
}

// Received implements Transport.
func (n *Network) Received() <-chan Message { return n.received }

// Serve has a connection of another node, whose first frame has hello as its body, until it ends.
func (n *Network) Serve(conn net.Conn, hello []byte) error { return n.links.Serve(conn, hello) }

// Close ends every connection.
func (n *Network) Close() { n.links.Close() }

func (n *Network) receive(from peer.Identity, frame []byte) {
	m, err := DecodeMessage(frame)
	if err == nil && (m.From != Identity{from.Node, from.Directory}) {
		err = fmt.Errorf("%w: node %d speaks as node %d with directory %s", ErrMessage, from.Node, m.From.Node, m.From.Directory)
	}
	if err != nil {
		n.noteUnread(from, err)
		return
	}
	select {
	case n.received <- m:
	default: // raft sends again what matters
	}
}

// noteUnread logs the first message of a node that makes no sense.
func (n *Network) noteUnread(from peer.Identity, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, logged := n.mu.unread[from.Node]; logged {
		return
	}
	n.mu.unread[from.Node] = struct{}{}
	n.logger.Warn("dropped a message of the metadata quorum, and others like it", "node", from.Node, "error", err)
}
