package replication

import (
	"fmt"
	"math/rand/v2"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/sim/schedule"
)

// network is every direction between two nodes. The last ones may be the active controller.
type network struct {
	nodes   int
	lateMax int
	links   [][]schedule.Link
}

func newNetwork(nodes, lateMax int) *network {
	n := &network{nodes: nodes, lateMax: lateMax, links: make([][]schedule.Link, nodes)}
	for i := range n.links {
		n.links[i] = make([]schedule.Link, nodes)
	}
	n.heal()
	return n
}

func (n *network) heal() {
	for a := range n.links {
		for b := range n.links[a] {
			n.links[a][b] = schedule.Link{Delay: 1, HeldUpTo: 1}
		}
	}
}

func (n *network) each(f func(a, b int, l *schedule.Link)) {
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
		n.each(func(a, b int, l *schedule.Link) { l.Cut = a == one || b == one })
		return fmt.Sprintf("node %d is cut off", one)
	case 1:
		n.links[one][other].Cut = true
		return fmt.Sprintf("nothing gets from node %d to node %d", one, other)
	case 2:
		n.each(func(a, _ int, l *schedule.Link) { l.Cut = a == one })
		return fmt.Sprintf("node %d hears and is not heard", one)
	case 3:
		side := rng.IntN(1 << n.nodes)
		n.each(func(a, b int, l *schedule.Link) { l.Cut = side>>a&1 != side>>b&1 })
		return fmt.Sprintf("the network is split, sides %b", side)
	case 4:
		one %= n.nodes - seats
		for s := n.nodes - seats; s < n.nodes; s++ {
			n.links[s][one].Cut = true
		}
		return fmt.Sprintf("node %d hears nothing from controllers", one)
	case 5, 6:
		n.each(func(_, _ int, l *schedule.Link) {
			*l = schedule.Link{Lost: rng.Float64() / 3, Doubled: rng.Float64() / 3, Late: rng.Float64() / 3, Delay: 1 + rng.IntN(delayMax/2), HeldUpTo: 1 + rng.IntN(n.lateMax)}
		})
		return "links are bad"
	case 7:
		n.each(func(a, b int, l *schedule.Link) {
			if a == one || b == one {
				l.Delay = 1 + rng.IntN(delayMax)
			}
		})
		return fmt.Sprintf("node %d is far away", one)
	}
	return "the network is well"
}

// send has f happen where a message of from arrives at to, at some time, twice, or never.
func (w *world) send(from, to ids.NodeID, f func()) {
	for _, after := range w.net.links[from][to].Arrivals(w.rng) {
		w.at(after, f)
	}
}
