package sim

import (
	"bytes"
	"fmt"
	"slices"
)

// findings is what a judge has recognised in a view.
type findings struct {
	topics map[*topic]*topicView
	at     map[*batch]int64
	keys   map[*partition]map[string]int64 // the last offset of each key of a compacted topic
}

// judge tells whether what a broker shows after a power cut is what clients were promised.
func (h *history) judge(v *view, c *cut) (*findings, error) {
	f := &findings{topics: make(map[*topic]*topicView), at: make(map[*batch]int64), keys: make(map[*partition]map[string]int64)}
	if c.from > 0 && v.clusterID != h.clusterID {
		return nil, fmt.Errorf("the cluster's id was %s and is %s", h.clusterID, v.clusterID)
	}
	if err := f.matchTopics(h, v, c); err != nil {
		return nil, err
	}
	for _, t := range h.topics { // in their order: the same fault is found first every time
		if tv := f.topics[t]; tv != nil {
			if err := f.judgeTopic(t, tv, c); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

func (f *findings) matchTopics(h *history, v *view, c *cut) error {
	known := make(map[*topicView]bool)
	for _, t := range h.topics {
		tv := v.topics[t.id]
		if t.created.acked == never {
			for _, o := range v.sorted() {
				if o.name == t.name && !h.hasTopic(o) {
					tv = o
				}
			}
		}
		switch {
		case tv == nil && t.created.acked <= c.from && t.deleted.asked > c.to:
			return fmt.Errorf("topic %s (%s) was created, and is gone", t.name, t.id)
		case tv == nil:
			continue
		case tv.name != t.name:
			return fmt.Errorf("topic %s was named %s, and is named %s", t.id, t.name, tv.name)
		case t.deleted.acked <= c.from:
			return fmt.Errorf("topic %s (%s) was deleted, and is back", t.name, t.id)
		case t.created.asked > c.to:
			return fmt.Errorf("topic %s (%s) is there before it was asked for", t.name, t.id)
		}
		f.topics[t], known[tv] = tv, true
	}
	for _, tv := range v.sorted() {
		if !known[tv] {
			return fmt.Errorf("topic %s (%s) was never asked for, or was found missing before", tv.name, tv.id)
		}
	}
	return nil
}

func (h *history) hasTopic(tv *topicView) bool {
	return slices.ContainsFunc(h.topics, func(t *topic) bool { return t.id == tv.id })
}

func (f *findings) judgeTopic(t *topic, tv *topicView, c *cut) error {
	least, most := t.partitionsBetween(c)
	if n := int32(len(tv.partitions)); n < least || n > most {
		return fmt.Errorf("topic %s has %d partitions, and should have %d to %d", t.name, n, least, most)
	}
	for _, change := range t.configs {
		if allowed := t.config(change.name, c); !slices.Contains(allowed, tv.configs[change.name]) {
			return fmt.Errorf("config %s of topic %s is %q, and should be one of %q", change.name, t.name, tv.configs[change.name], allowed)
		}
	}
	for i, pv := range tv.partitions {
		if err := f.judgePartition(t.partitions[i], pv, c); err != nil {
			return fmt.Errorf("%s-%d, offsets [%d, %d): %w", t.name, i, pv.start, pv.end, err)
		}
	}
	return nil
}

func (f *findings) judgePartition(p *partition, pv *partitionView, c *cut) error {
	if least, most := p.startBetween(c); pv.start < least || pv.start > most {
		return fmt.Errorf("the log should start at %d to %d", least, most)
	}
	if len(pv.dirs) != 1 {
		return fmt.Errorf("it is in the data directories %q", pv.dirs)
	}
	recognise := f.recognise
	if p.topic.compacted {
		recognise = f.recogniseCompacted
	}
	if err := recognise(p, pv, c); err != nil {
		return err
	}
	for _, b := range p.batches {
		at, found := f.at[b]
		switch {
		case found && b.acked < never && b.offset != at:
			return fmt.Errorf("%v was acknowledged at offset %d, and is at %d", b, b.offset, at)
		case !found && !p.topic.compacted && b.isPromised(c) && b.offset+int64(b.records) > pv.start:
			return fmt.Errorf("%v was acknowledged at offset %d, and is gone", b, b.offset)
		}
	}
	if p.topic.compacted {
		return f.judgeKeys(p, pv, c)
	}
	return nil
}

// recognise finds out which batches are there, and whether each may be, once, in order,
// as it was sent.
func (f *findings) recognise(p *partition, pv *partitionView, c *cut) error {
	next := int64(-1)
	last := make(map[*producer]*batch)
	for _, got := range pv.batches {
		base := int64(got.BaseOffset())
		if next >= 0 && base != next {
			return fmt.Errorf("offset %d follows after %d", base, next-1)
		}
		next = int64(got.NextOffset())
		b := p.byBytes[identity(got)]
		if b == nil {
			return fmt.Errorf("the batch at %d is none that was sent to this topic: %s", base, stranger(got))
		}
		if !bytes.Equal(got[16:], b.bytes[16:]) || !got.CheckCRC() {
			return fmt.Errorf("the bytes of %v at %d are not those that were sent", b, base)
		}
		if before := last[b.producer]; before != nil && b.producer.id >= 0 && before.sequence+int32(before.records) != b.sequence {
			return fmt.Errorf("%v at %d comes after %v: a sequence is missing, or twice", b, base, before)
		}
		if err := f.place(b, base, c, last); err != nil {
			return err
		}
	}
	return nil
}

// place notes that a batch is at an offset, if it may be. last is that of each producer before it.
func (f *findings) place(b *batch, base int64, c *cut, last map[*producer]*batch) error {
	if first, twice := f.at[b]; twice {
		return fmt.Errorf("%v is there twice, at %d and at %d", b, first, base)
	}
	if b.asked > c.to || b.dead <= c.from {
		return fmt.Errorf("%v at %d was not sent yet, or had been missing after an earlier start", b, base)
	}
	if before := last[b.producer]; before != nil && before.order > b.order {
		return fmt.Errorf("%v at %d comes after %v, which was sent later", b, base, before)
	}
	f.at[b], last[b.producer] = base, b
	return nil
}

func stranger(b []byte) string {
	if len(b) > 140 {
		b = b[:140]
	}
	return fmt.Sprintf("%q", b[61:])
}

func (b *batch) String() string {
	return fmt.Sprintf("batch %d (%d records, acks=%d, producer %d, sequence %d)", b.order, b.records, b.acks, b.producer.id, b.sequence)
}
