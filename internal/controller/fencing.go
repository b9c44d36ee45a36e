package controller

import (
	"fmt"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// Decision is one that no request asked for. One without records is none.
type Decision struct {
	Why     string
	Records []metadata.Record
}

// Expire decides on one broker whose session is over: it is fenced and leaves the
// partitions. It is called until it decides nothing more.
func (c *Core) Expire(now time.Time) Decision {
	for id := range c.sessions {
		if _, ok := c.pending.Broker(id); !ok {
			delete(c.sessions, id)
		}
	}
	if !c.replicates() {
		return Decision{}
	}
	for b := range c.pending.Brokers() {
		s := c.session(b.ID, now)
		if _, ok := c.settled(b.ID); !ok || s.silent || !s.over(now, c.config.SessionTimeout) {
			continue
		}
		s.silent = true
		if recs := c.fence(b); len(recs) > 0 {
			return Decision{Why: silence(b, s, now), Records: recs}
		}
	}
	return Decision{}
}

func silence(b *metadata.Broker, s *session, now time.Time) string {
	if s.gone {
		return fmt.Sprintf("broker %d closed its connection and cannot be reached", b.ID)
	}
	return fmt.Sprintf("broker %d was silent for %v", b.ID, now.Sub(s.heard).Round(time.Millisecond))
}

// settled returns a broker whose registration is committed and is the latest, so that
// its epoch is known: that of one in flight is only a guess.
func (c *Core) settled(id ids.NodeID) (*metadata.Broker, bool) {
	latest, ok := c.pending.Broker(id)
	if !ok {
		return nil, false
	}
	known, ok := c.committed.Broker(id)
	return latest, ok && known.Incarnation == latest.Incarnation && known.Epoch == latest.Epoch
}

// fence fences b, where it is not, and takes it out of the partitions.
func (c *Core) fence(b *metadata.Broker) []metadata.Record {
	var recs []metadata.Record
	if !b.Fenced {
		recs = append(recs, &metadata.BrokerChangeRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch, Fenced: true, InControlledShutdown: b.InControlledShutdown})
	}
	return c.withdrawAll(recs, b.ID)
}

// unfence lets b lead and be in sync, and has those partitions elect a leader that have
// none and may have b.
func (c *Core) unfence(b *metadata.Broker) []metadata.Record {
	recs := []metadata.Record{&metadata.BrokerChangeRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch}}
	for t := range c.pending.Topics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if p.Leader != ids.NoNode || !slices.Contains(p.Replicas, b.ID) {
				continue
			}
			ch := c.change(t, p)
			ch.joining = b.ID
			recs = ch.appendTo(recs, t, i)
		}
	}
	return recs
}

// withdrawAll takes a broker out of every ISR and elects who leads instead. Where it was
// the last, nobody leads, and it stays eligible.
func (c *Core) withdrawAll(recs []metadata.Record, node ids.NodeID) []metadata.Record {
	for t := range c.pending.Topics() {
		for i := range t.Partitions {
			recs = c.withdraw(recs, t, i, node, false)
		}
	}
	return recs
}

// withdraw takes a broker out of the ISR of one partition; lost tells that it may have
// lost records, so that it is not eligible either.
func (c *Core) withdraw(recs []metadata.Record, t *metadata.Topic, i int, node ids.NodeID, lost bool) []metadata.Record {
	p := &t.Partitions[i]
	if p.Leader != node && !slices.Contains(p.ISR, node) && !(lost && slices.Contains(p.ELR, node)) {
		return recs
	}
	ch := c.change(t, p)
	ch.isr = without(p.ISR, node)
	ch.leaving = node
	ch.lost = lost
	return ch.appendTo(recs, t, i)
}

// leads tells whether a broker leads any partition.
func (c *Core) leads(node ids.NodeID) bool {
	for t := range c.pending.Topics() {
		for i := range t.Partitions {
			if t.Partitions[i].Leader == node {
				return true
			}
		}
	}
	return false
}

// without returns the others, in a list of its own.
func without(nodes []ids.NodeID, node ids.NodeID) []ids.NodeID {
	out := make([]ids.NodeID, 0, len(nodes))
	for _, n := range nodes {
		if n != node {
			out = append(out, n)
		}
	}
	return out
}
