package quorum

import (
	"cmp"
	"slices"

	"github.com/moldau/moldau/internal/ids"
)

// verdict is what a node with an empty directory may do.
type verdict int

const (
	wait    verdict = iota // nobody can tell yet
	vote                   // vote under the initial raft id
	observe                // never vote under it: the quorum began without this directory
)

// form decides whether a node with an empty directory may vote under its initial raft id: only
// if every configured voter has said that it is empty too, or that it has begun with this very directory.
// Otherwise the directory may be one that somebody has emptied, and its votes are forgotten.
//
// Whoever answers an empty directory has made durable before that it is the first one that it knows of the node. So of
// two directories of one node at most one ever forms: all others know it.
func form(self Identity, voters []ids.NodeID, reports map[ids.NodeID]Report) verdict {
	known := 1
	for _, node := range voters {
		r, found := reports[node]
		if node == self.Node || !found {
			continue // another report may still tell that it is too late
		}
		own := slices.IndexFunc(r.With, func(p Peer) bool { return p.Node == self.Node })
		if own >= 0 && r.With[own].Identity != self || own < 0 && r.Formed {
			return observe
		}
		known++
	}
	if known < len(voters) {
		return wait
	}
	return vote
}

// firstSeen adds a directory to those that were seen first, unless one of its node is known. They
// are sorted by node; the slice is a new one.
func firstSeen(with []Peer, p Peer) (all []Peer, added bool) {
	at, known := slices.BinarySearchFunc(with, p.Node, func(a Peer, node ids.NodeID) int { return cmp.Compare(a.Node, node) })
	if known {
		return with, false
	}
	return slices.Insert(slices.Clone(with), at, p), true
}
