package sim

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// numberHeader is the name of the header that tells one record of a compacted topic from all others.
const numberHeader = "number"

// keysOf is how many keys a partition of a compacted topic has: few, so that most records get replaced.
const keysOf = 6

// addEntries fills a batch for a compacted topic.
func (w *workload) addEntries(b *batch, builder *record.Builder) {
	for i := range b.records {
		e := &entry{batch: b, delta: i, key: fmt.Sprint("key ", w.rng.IntN(keysOf))}
		if !w.chance(4) {
			filler := strings.Repeat(string(rune('a'+w.rng.IntN(26))), w.rng.IntN(200))
			e.value = fmt.Appendf(nil, "record %d, %d of %s, %s", w.sent, i, b.partition.topic.id, filler)
		}
		number := fmt.Sprint(w.sent)
		builder.Append(time.Now().UnixMilli(), []byte(e.key), e.value, record.RecordHeader{Key: numberHeader, Value: []byte(number)})
		b.entries = append(b.entries, e)
		w.history.addEntry(b.partition, number, e)
		w.sent++
	}
}

// recogniseCompacted is recognise where the cleaner may have taken records and whole batches away. What is
// left of a batch has its offsets and its producer, and each record all that was sent.
func (f *findings) recogniseCompacted(p *partition, pv *partitionView, c *cut) error {
	next := int64(-1)
	last := make(map[*producer]*batch)
	for _, got := range pv.batches {
		base := int64(got.BaseOffset())
		if base < next {
			return fmt.Errorf("offset %d follows after %d", base, next-1)
		}
		next = int64(got.NextOffset())
		if !got.CheckCRC() {
			return fmt.Errorf("the bytes of the batch at %d are damaged", base)
		}
		b, err := f.recogniseEntries(p, got, pv.start, c)
		if err != nil {
			return err
		}
		if b == nil {
			continue // without a record, and of nobody: it may be any that was replaced
		}
		if n := got.NextOffset() - got.BaseOffset(); n != ids.Offset(b.records) || int64(got.ProducerID()) != b.producer.id || got.BaseSequence() != b.sequence {
			return fmt.Errorf("%v at %d has %d offsets, producer %d and sequence %d", b, base, n, got.ProducerID(), got.BaseSequence())
		}
		if err := f.place(b, base, c, last); err != nil {
			return err
		}
	}
	return nil
}

// recogniseEntries notes the records of a batch and returns whose they are; nil where there is none to tell by.
func (f *findings) recogniseEntries(p *partition, got record.Batch, start int64, c *cut) (b *batch, err error) {
	for r, err := range got.Records() {
		if err != nil {
			return nil, fmt.Errorf("the batch at %d: %w", got.BaseOffset(), err)
		}
		var e *entry
		for h := range r.Headers() {
			if h.Key == numberHeader {
				e = p.entries[string(h.Value)]
			}
		}
		switch {
		case e == nil:
			return nil, fmt.Errorf("the record at %d is none that was sent to this topic: %.60q=%.60q", r.Offset, r.Key, r.Value)
		case string(r.Key) != e.key || !bytes.Equal(r.Value, e.value) || (r.Value == nil) != (e.value == nil):
			return nil, fmt.Errorf("the record at %d is %.60q=%.60q, and was sent as %.60q=%.60q", r.Offset, r.Key, r.Value, e.key, e.value)
		case b != nil && e.batch != b:
			return nil, fmt.Errorf("the record at %d is of %v, and shares a batch with those of %v", r.Offset, e.batch, b)
		case int(r.OffsetDelta) != e.delta:
			return nil, fmt.Errorf("the record at %d is %d of its batch, and was %d of %v", r.Offset, r.OffsetDelta, e.delta, e.batch)
		}
		b = e.batch
		if int64(r.Offset) >= start {
			f.note(p, e.key, int64(r.Offset))
		}
	}
	if b != nil || got.ProducerID() < 0 {
		return b, nil
	}
	i := slices.IndexFunc(p.batches, func(b *batch) bool {
		return b.producer.id == int64(got.ProducerID()) && b.sequence == got.BaseSequence() && b.dead > c.from
	})
	if i < 0 {
		return nil, fmt.Errorf("the batch at %d is none that was sent: producer %d, sequence %d", got.BaseOffset(), got.ProducerID(), got.BaseSequence())
	}
	return p.batches[i], nil
}

// note notes the last offset that a consumer sees of a key.
func (f *findings) note(p *partition, key string, offset int64) {
	if f.keys[p] == nil {
		f.keys[p] = make(map[string]int64)
	}
	f.keys[p][key] = offset
}

// judgeKeys tells whether a consumer sees of each key the last value that was promised, or one that came after
// it. A key is gone only by a tombstone that was sent long enough ago.
func (f *findings) judgeKeys(p *partition, pv *partitionView, c *cut) error {
	last := make(map[string]*entry)
	for _, b := range p.batches {
		if !b.isPromised(c) {
			continue
		}
		for _, e := range b.entries {
			if before := last[e.key]; e.offset() >= pv.start && (before == nil || before.offset() < e.offset()) {
				last[e.key] = e
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(last)) {
		e := last[key]
		at, found := f.keys[p][key]
		if found && at >= e.offset() || !found && p.mayBeGone(key, e.offset(), c) {
			continue
		}
		if !found {
			return fmt.Errorf("%q is gone, and %v with its value at %d was acknowledged", key, e.batch, e.offset())
		}
		return fmt.Errorf("%q is what it was at %d, and %v with a newer value at %d was acknowledged", key, at, e.batch, e.offset())
	}
	return nil
}

// mayBeGone tells whether a tombstone from an offset on may have taken a key away and left itself. A cleaning
// may do that after the cut, when the broker has started again.
func (p *partition) mayBeGone(key string, from int64, c *cut) bool {
	for _, e := range p.entries {
		b := e.batch
		if e.key == key && e.value == nil && b.asked <= c.to && (b.acked == never || e.offset() >= from) && time.Since(b.sentAt) >= p.topic.tombstonesStay {
			return true
		}
	}
	return false
}
