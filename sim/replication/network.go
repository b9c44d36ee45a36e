package replication

import (
	"fmt"
	"math/rand/v2"

	"github.com/moldau/moldau/internal/ids"
)

// link is one direction between two nodes.
type link struct {
	cut      bool
	lost     float64 // share of the messages
	doubled  float64
	late     float64 // share that is held up for long, and so overtaken
	delay    int     // usual, in ms
	heldUpTo int
}

// network is every direction between two nodes. The last node is the controller.
type network struct {
	nodes   int
	lateMax int
	links   [][]link
}

func newNetwork(nodes, lateMax int) *network {
	n := &network{nodes: nodes, lateMax: lateMax, links: make([][]link, nodes)}
	for i := range n.links {
		n.links[i] = make([]link, nodes)
	}
	n.heal()
	return n
}

func (n *network) heal() {
	for a := range n.links {
		for b := range n.links[a] {
			n.links[a][b] = link{delay: 1, heldUpTo: 1}
		}
	}
}

func (n *network) each(f func(a, b int, l *link)) {
	for a := range n.links {
		for b := range n.links[a] {
			if a != b {
				f(a, b, &n.links[a][b])
			}
		}
	}
}

// disturb changes the network for a while, and says how.
func (n *network) disturb(rng *rand.Rand) string {
	n.heal()
	one := rng.IntN(n.nodes)
	other := (one + 1 + rng.IntN(n.nodes-1)) % n.nodes
	switch rng.IntN(10) {
	case 0:
		n.each(func(a, b int, l *link) { l.cut = a == one || b == one })
		return fmt.Sprintf("node %d is cut off", one)
	case 1:
		n.links[one][other].cut = true
		return fmt.Sprintf("nothing gets from node %d to node %d", one, other)
	case 2:
		n.each(func(a, _ int, l *link) { l.cut = a == one })
		return fmt.Sprintf("node %d hears and is not heard", one)
	case 3:
		side := rng.IntN(1 << n.nodes)
		n.each(func(a, b int, l *link) { l.cut = side>>a&1 != side>>b&1 })
		return fmt.Sprintf("the network is split, sides %b", side)
	case 4:
		n.links[n.nodes-1][one%(n.nodes-1)].cut = true
		return fmt.Sprintf("node %d hears nothing from the controller", one%(n.nodes-1))
	case 5, 6:
		n.each(func(_, _ int, l *link) {
			*l = link{lost: rng.Float64() / 3, doubled: rng.Float64() / 3, late: rng.Float64() / 3, delay: 1 + rng.IntN(delayMax/2), heldUpTo: 1 + rng.IntN(n.lateMax)}
		})
		return "links are bad"
	case 7:
		n.each(func(a, b int, l *link) {
			if a == one || b == one {
				l.delay = 1 + rng.IntN(delayMax)
			}
		})
		return fmt.Sprintf("node %d is far away", one)
	}
	return "the network is well"
}

// send has f happen where a message of from arrives at to, at some time, twice, or never.
func (w *world) send(from, to ids.NodeID, f func()) {
	l := w.net.links[from][to]
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
		w.at(after, f)
	}
}
