package quorum

import (
	"maps"
	"time"

	"github.com/moldau/moldau/internal/ids"
)

// observed is what a leader knows of a node that follows the log and has no vote.
type observed struct {
	next  ids.Offset // that it has asked for
	heard time.Time
}

const (
	// observedFor is how long an observer is listed that asks no more (Kafka: OBSERVER_SESSION_TIMEOUT_MS).
	observedFor = 5 * time.Minute
	// observersMax bounds how many are listed; those beyond are answered all the same.
	observersMax = 1000
)

// observe notes what an observer has asked a leader.
func (n *Node) observe(who Identity, next ids.Offset, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.status.Leader != n.cfg.NodeID {
		return
	}
	if _, known := n.mu.observers[who]; !known && len(n.mu.observers) >= observersMax {
		n.forgetObserversLocked(now)
		if len(n.mu.observers) >= observersMax {
			return
		}
	}
	if n.mu.observers == nil {
		n.mu.observers = make(map[Identity]observed)
	}
	n.mu.observers[who] = observed{next, now}
}

func (n *Node) forgetObserversLocked(now time.Time) {
	maps.DeleteFunc(n.mu.observers, func(_ Identity, o observed) bool { return now.Sub(o.heard) > observedFor })
}

// observing returns the observers that a leader hears of, as members of a Description.
func (n *Node) observing(now time.Time) (out []Replica) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forgetObserversLocked(now)
	for who, o := range n.mu.observers {
		out = append(out, Replica{Peer: Peer{Identity: who}, LogEnd: o.next, Heard: o.heard})
	}
	return out
}
