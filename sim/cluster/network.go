package cluster

import (
	"fmt"
	"math/rand/v2"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/sim/schedule"
)

// network is every direction between two nodes.
type network struct {
	links map[[2]ids.NodeID]*schedule.Link
}

func newNetwork(n int) *network {
	net := &network{make(map[[2]ids.NodeID]*schedule.Link)}
	for a := range n {
		for b := range n {
			net.links[[2]ids.NodeID{ids.NodeID(a), ids.NodeID(b)}] = &schedule.Link{Delay: 2, HeldUpTo: 1}
		}
	}
	return net
}

func (n *network) link(a, b int) *schedule.Link {
	return n.links[[2]ids.NodeID{ids.NodeID(a), ids.NodeID(b)}]
}

// heal makes every link a good one.
func (n *network) heal() {
	for _, l := range n.links {
		*l = schedule.Link{Delay: 2, HeldUpTo: 1}
	}
}

// disturb changes the network for a while, and says how.
func (n *network) disturb(rng *rand.Rand, nodes int) string {
	n.heal()
	switch rng.IntN(6) {
	case 0:
		one := rng.IntN(nodes)
		for other := range nodes {
			n.link(one, other).Cut, n.link(other, one).Cut = true, true
		}
		return fmt.Sprintf("node %d is cut off", one)
	case 1:
		from := rng.IntN(nodes)
		to := (from + 1 + rng.IntN(nodes-1)) % nodes
		n.link(from, to).Cut = true
		return fmt.Sprintf("nothing gets from node %d to node %d", from, to)
	case 2:
		one := rng.IntN(nodes)
		for other := range nodes {
			n.link(one, other).Cut = true
		}
		return fmt.Sprintf("node %d hears and is not heard", one)
	case 3:
		side := rng.IntN(1 << nodes)
		for a := range nodes {
			for b := range nodes {
				n.link(a, b).Cut = side>>a&1 != side>>b&1
			}
		}
		return fmt.Sprintf("the network is split, sides %b", side)
	case 4:
		for a := range nodes {
			for b := range nodes {
				*n.link(a, b) = schedule.Link{Lost: rng.Float64() / 2, Doubled: rng.Float64() / 3, Late: rng.Float64() / 3, Delay: 1 + rng.IntN(200), HeldUpTo: 1 + rng.IntN(20_000)}
			}
		}
		return "links are bad"
	}
	return "the network is well"
}

// deliver sends a message on its way.
func (w *world) deliver(m quorum.Message) {
	w.judge.sent(m)
	for _, after := range w.net.link(int(m.From.Node), int(m.To)).Arrivals(w.rng) {
		w.at(after, event{kind: eventMessage, node: m.To, message: m})
	}
}
