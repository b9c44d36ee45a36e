package quorum

import (
	"go.etcd.io/raft/v3/raftpb"

	"github.com/moldau/moldau/internal/ids"
)

// Identity is a node with its directory. A new directory is a new member: what the node has
// promised lies in it and nowhere else.
type Identity struct {
	Node      ids.NodeID
	Directory ids.DirectoryID
}

// Message is what nodes say to each other. Just one of Raft, Ask and Answer is set. Nobody changes
// a message that has been sent.
type Message struct {
	ClusterID string // "" while the sender knows none
	From      Identity
	To        ids.NodeID

	Raft   *raftpb.Message // between members; names the raft ids of both
	Ask    *Ask
	Answer *Answer
}

// Ask is what a node wants to know while it is no member, or has heard of no leader for long.
type Ask struct {
	Report Report
	Next   uint64 // index of the first entry that is wanted, 0 for none
}

// Answer is what the node that was asked knows.
type Answer struct {
	Directory ids.DirectoryID // of who asked, by the Ask: an answer to the directory before is of no use
	Report    Report
	Founded   bool       // the answerer knows the first entry of the quorum
	RaftID    uint64     // that who asked votes under, as of Applied; 0 for none
	Applied   uint64     // of the answerer
	Leader    ids.NodeID // NoNode where the answerer knows none

	Tail *Tail // what follows Ask.Next-1; nil where the answerer has nothing to give
}

// Report is how a node stands in the beginning of a quorum.
type Report struct {
	Identity
	Endpoint string
	// Formed says that the node has voted, or may have, since every configured voter was known.
	Formed bool
	// With is the first directory that the node has seen of each configured voter, itself included; durable before
	// anybody hears of it. A node that was not there in the beginning has none.
	With []Peer
}

// Transport carries messages between nodes.
type Transport interface {
	// Send passes a message on. It never blocks, and may lose it.
	Send(Message)
	// Received returns what comes in; it is never closed. Its buffer is bounded: the transport drops what does not fit.
	Received() <-chan Message
}
