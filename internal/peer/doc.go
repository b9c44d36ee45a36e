// Package peer is how two nodes of a cluster make sure of each other before either tells the other anything.
//
// A connection between nodes opens with a hello frame, which no Kafka client sends, and a handshake in which each side
// proves that it has the cluster's secret: for this connection, in this role, as this node with this directory and
// epoch. docs/format/peer.md draws the four frames. Dialer and Acceptor are the two sides, pure: a frame goes in, the
// next frame comes out. Dial carries a Dialer over a connection; the listener that has read a hello carries the Acceptor.
//
// The handshake says who is at the other end when the connection opens. It does not hide or protect what follows:
// on a network that others can change, node traffic belongs into TLS.
//
// Links are the connections of a node to others: frames of bytes to a node id and back, of which some may be lost.
// A Client sends Kafka requests to other nodes and returns their answers.
//
// Goroutines: of Links and of a Client, one for each node that something was sent to, and one that watches its
// connection or takes the answers off it; who serves a connection brings its own. All end in Close. Locks: Links.mu,
// before outbound.mu, a leaf; Client.mu and remote.mu, leaves. Files: none.
//
// Kafka counterpart: none; there, brokers are clients with a principal.
package peer
