package cluster

import (
	"fmt"
	"math/rand/v2"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/quorum"
)

// link is one direction between two nodes.
type link struct {
	cut      bool
	lost     float64 // share of the messages
	doubled  float64
	late     float64 // share that is held up for long, and so overtaken
	delay    int     // usual, in ticks of the world
	heldUpTo int
}

// network is every direction between two nodes.
type network struct {
	links map[[2]ids.NodeID]*link
}

func newNetwork(n int) *network {
	net := &network{make(map[[2]ids.NodeID]*link)}
	for a := range n {
		for b := range n {
			net.links[[2]ids.NodeID{ids.NodeID(a), ids.NodeID(b)}] = &link{delay: 2, heldUpTo: 1}
		}
	}
	return net
}

func (n *network) link(a, b int) *link { return n.links[[2]ids.NodeID{ids.NodeID(a), ids.NodeID(b)}] }

// heal makes every link a good one.
func (n *network) heal() {
	for _, l := range n.links {
		*l = link{delay: 2, heldUpTo: 1}
	}
}

// disturb changes the network for a while, and says how.
func (n *network) disturb(rng *rand.Rand, nodes int) string {
	n.heal()
	switch rng.IntN(6) {
	case 0:
		one := rng.IntN(nodes)
		for other := range nodes {
			n.link(one, other).cut, n.link(other, one).cut = true, true
		}
		return fmt.Sprintf("node %d is cut off", one)
	case 1:
		from := rng.IntN(nodes)
		to := (from + 1 + rng.IntN(nodes-1)) % nodes
		n.link(from, to).cut = true
		return fmt.Sprintf("nothing gets from node %d to node %d", from, to)
	case 2:
		one := rng.IntN(nodes)
		for other := range nodes {
			n.link(one, other).cut = true
		}
		return fmt.Sprintf("node %d hears and is not heard", one)
	case 3:
		side := rng.IntN(1 << nodes)
		for a := range nodes {
			for b := range nodes {
				n.link(a, b).cut = side>>a&1 != side>>b&1
			}
		}
		return fmt.Sprintf("the network is split, sides %b", side)
	case 4:
		for a := range nodes {
			for b := range nodes {
				*n.link(a, b) = link{lost: rng.Float64() / 2, doubled: rng.Float64() / 3, late: rng.Float64() / 3, delay: 1 + rng.IntN(200), heldUpTo: 1 + rng.IntN(20_000)}
			}
		}
		return "links are bad"
	}
	return "the network is well"
}

// deliver sends a message on its way.
func (w *world) deliver(m quorum.Message) {
	w.judge.sent(m)
	l := w.net.link(int(m.From.Node), int(m.To))
	copies := 1
	switch {
	case l.cut || w.rng.Float64() < l.lost:
		return
	case w.rng.Float64() < l.doubled:
		copies = 2
	}
	for range copies {
		after := l.delay + w.rng.IntN(l.delay+1)
		if w.rng.Float64() < l.late {
			after += w.rng.IntN(l.heldUpTo)
		}
		w.at(after, event{kind: eventMessage, node: m.To, message: m})
	}
}
