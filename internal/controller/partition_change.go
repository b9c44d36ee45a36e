package controller

import (
	"slices"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// partitionChange works out what becomes of a partition whose ISR is to be another, or
// that needs a leader (KIP-966; Java: PartitionChangeBuilder).
//
// While fewer than min.insync.replicas are in sync, the high watermark stands still, so
// who leaves the ISR then has everything below it, and stays eligible (ELR) until it may
// have lost records or the high watermark moves on. A leader is, in this order, in sync;
// eligible, where nobody is in sync; the last that led, where nobody is eligible either;
// and any replica at all where unclean elections are allowed. The last two may lose
// records.
type partitionChange struct {
	core   *Core
	before *metadata.Partition
	isr    []ids.NodeID // to be; not changed in place
	minISR int

	directories []ids.DirectoryID // to be, nil for as they are

	leaving   ids.NodeID // counts as not available, ids.NoNode for nobody
	lost      bool       // leaving may have lost records
	empty     bool       // leaving has none: it is not elected for having led last
	joining   ids.NodeID // counts as available, ids.NoNode for nobody
	preferred bool       // the first replica leads where it can
	renewed   bool       // the leader begins a new epoch even if it stays
	unclean   bool       // any available replica leads where no other can
}

// change returns a change of p, a partition of t, that aims at what there is.
func (c *Core) change(t *metadata.Topic, p *metadata.Partition) *partitionChange {
	return c.changeUnder(c.pending.Config(metadata.ConfigResource{Type: metadata.ResourceTopic, Name: t.Name}), p)
}

// changeUnder is change for a topic for which set is configured.
func (c *Core) changeUnder(set map[string]string, p *metadata.Partition) *partitionChange {
	return &partitionChange{
		core: c, before: p, isr: p.ISR, leaving: ids.NoNode, joining: ids.NoNode,
		minISR:  min(c.schema.MinISR(set, len(p.Replicas)), len(p.Replicas)),
		unclean: c.schema.UncleanElection(set),
	}
}

// appendTo adds the record of the change where it changes anything.
func (ch *partitionChange) appendTo(recs []metadata.Record, t *metadata.Topic, i int) []metadata.Record {
	if rec := ch.record(); rec != nil {
		rec.TopicID, rec.PartitionID = t.ID, int32(i)
		return append(recs, rec)
	}
	return recs
}

// record returns the change, nil where there is none. Its partition is not named yet.
func (ch *partitionChange) record() *metadata.PartitionChangeRecord {
	p, isr := ch.before, ch.isr
	elr, last := ch.eligible(), p.LastKnownELR
	if len(isr) == 0 && p.Leader != ids.NoNode {
		last = []ids.NodeID{p.Leader}
	}
	if ch.empty {
		last = without(last, ch.leaving)
	}
	leader, unclean := ch.elect(isr, elr, last)
	if leader != ids.NoNode {
		if last = nil; unclean {
			elr = nil
		}
		if unclean || !slices.Contains(isr, leader) {
			isr, elr = []ids.NodeID{leader}, without(elr, leader)
		}
	}
	if len(isr) >= ch.minISR {
		elr = nil
	}
	rec := &metadata.PartitionChangeRecord{
		Leader: metadata.NoLeaderChange, ISR: changed(p.ISR, isr), ELR: changed(p.ELR, elr), LastKnownELR: changed(p.LastKnownELR, last),
		Directories: ch.directories,
	}
	if leader != p.Leader || ch.renewed && leader != ids.NoNode {
		rec.Leader = leader
	}
	if rec.Leader == metadata.NoLeaderChange && rec.ISR == nil && rec.ELR == nil && rec.LastKnownELR == nil && rec.Directories == nil {
		return nil
	}
	return rec
}

// changed returns what a record says of a list: nil where it stays.
func changed(before, now []ids.NodeID) []ids.NodeID {
	if slices.Equal(before, now) {
		return nil
	}
	if now == nil {
		return []ids.NodeID{}
	}
	return now
}

// eligible returns the ELR of the ISR aimed at, where that is smaller than min.insync.replicas.
func (ch *partitionChange) eligible() []ids.NodeID {
	var elr []ids.NodeID
	for _, id := range slices.Concat(ch.before.ELR, ch.before.ISR) {
		if !slices.Contains(ch.isr, id) && !slices.Contains(elr, id) && !(ch.lost && id == ch.leaving) {
			elr = append(elr, id)
		}
	}
	return elr
}

// elect returns who leads, ids.NoNode for nobody, and whether that may lose records.
func (ch *partitionChange) elect(isr, elr, last []ids.NodeID) (leader ids.NodeID, unclean bool) {
	p := ch.before
	valid := func(id ids.NodeID) bool {
		return ch.available(id) && (slices.Contains(isr, id) || len(isr) == 0 && slices.Contains(elr, id))
	}
	if ch.preferred && valid(p.Replicas[0]) {
		return p.Replicas[0], false
	}
	if valid(p.Leader) {
		return p.Leader, false
	}
	if i := slices.IndexFunc(p.Replicas, valid); i >= 0 {
		return p.Replicas[i], false
	}
	if len(isr) == 0 && len(elr) == 0 && len(last) > 0 && ch.available(last[0]) {
		return last[0], true
	}
	if i := slices.IndexFunc(p.Replicas, ch.available); i >= 0 && ch.unclean {
		return p.Replicas[i], true
	}
	return ids.NoNode, false
}

func (ch *partitionChange) available(id ids.NodeID) bool {
	b, ok := ch.core.pending.Broker(id)
	return ok && id != ch.leaving && (b.Active() || id == ch.joining) && ch.core.pending.Online(b, ch.placed())
}

// placed is the partition with its replicas in the directories aimed at.
func (ch *partitionChange) placed() *metadata.Partition {
	if ch.directories == nil {
		return ch.before
	}
	p := *ch.before
	p.Directories = ch.directories
	return &p
}

// reconfigured adds what new configurations of a topic mean for its partitions: with a
// lower min.insync.replicas the high watermark moves on without those that were eligible,
// and an unclean election may be allowed now.
func (c *Core) reconfigured(recs []metadata.Record, topic string, set map[string]string) []metadata.Record {
	t, ok := c.pending.Topic(topic)
	if !ok {
		return recs
	}
	for i := range t.Partitions {
		if p := &t.Partitions[i]; p.Leader == ids.NoNode || len(p.ELR) > 0 {
			recs = c.changeUnder(set, p).appendTo(recs, t, i)
		}
	}
	return recs
}

// forgetEligible empties the ELR of every partition whose topic sets no
// min.insync.replicas: the default changes, and with it who is eligible (KIP-966).
func (c *Core) forgetEligible(recs []metadata.Record) []metadata.Record {
	for t := range c.pending.Topics() {
		if _, own := c.pending.Config(metadata.ConfigResource{Type: metadata.ResourceTopic, Name: t.Name})[minISRConfig]; own {
			continue
		}
		for i := range t.Partitions {
			if len(t.Partitions[i].ELR) > 0 {
				recs = append(recs, &metadata.PartitionChangeRecord{TopicID: t.ID, PartitionID: int32(i), Leader: metadata.NoLeaderChange, ELR: []ids.NodeID{}})
			}
		}
	}
	return recs
}
