package log

import (
	"fmt"
	"slices"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// sieve decides what a cleaning keeps. It sees every batch from the log's first to the last that
// is cleaned, in order. Java: Cleaner.cleanInto.
type sieve struct {
	nowMs     int64
	offsets   *offsetMap
	until     ids.Offset // exclusive: from here on the map knows no keys, and everything stays
	producers map[ids.ProducerID]lastWrite
	txns      cleanedTxns

	keyless int64 // records without a key, which had no place in the log
}

// lastWrite is where a producer that is remembered wrote last.
type lastWrite struct {
	offset ids.Offset // last offset of its last batch, NoOffset where it is not remembered
	epoch  ids.ProducerEpoch
}

// verdict is what becomes of a batch.
type verdict struct {
	drop  bool // all its records
	stay  bool // if only as an empty batch
	stamp bool // it holds a marker whose transaction has nothing left: it gets a delete horizon
}

// judge looks at a batch. last says that no other of its segment follows.
func (v *sieve) judge(b record.Batch, last bool) (verdict, error) {
	var out verdict
	var err error
	if b.Attributes().Control() {
		if out.stamp, err = v.txns.seeMarker(b); err != nil {
			return out, err
		}
		horizon, set := b.DeleteHorizon()
		out.drop = out.stamp && set && horizon <= v.nowMs
	} else {
		out.drop = v.txns.seeData(b)
	}
	// The last batch tells where the log's offsets go on should the segment become its last. The last
	// of each of its segments stays, unlike in Java: a segment that lost its end can so be told from
	// one that was cleaned.
	out.stay = last || v.isLastOfProducer(b)
	return out, nil
}

// isLastOfProducer tells whether the batch alone says what the sequence or epoch of an active producer is.
func (v *sieve) isLastOfProducer(b record.Batch) bool {
	w, active := v.producers[b.ProducerID()]
	switch {
	case b.ProducerID() < 0 || !active:
		return false
	case w.offset >= 0:
		return b.LastOffset() == w.offset
	}
	return b.Attributes().Control() && b.ProducerEpoch() == w.epoch
}

// keeps tells whether a record of a batch whose records are not all dropped stays.
func (v *sieve) keeps(b record.Batch, r *record.Record) bool {
	switch {
	case b.Attributes().Control() || r.Offset >= v.until:
		return true
	case r.Key == nil:
		v.keyless++
		return false
	case r.Offset < v.offsets.last(r.Key):
		return false
	}
	horizon, set := b.DeleteHorizon()
	return r.Value != nil || !set || v.nowMs < horizon
}

// cleanedTxns follows the transactions of batches that are seen in order. A marker has to stay
// while anything of its transaction does. Java: CleanedTransactionMetadata.
type cleanedTxns struct {
	coming    []abortedTxn // aborted transactions not met yet, by first offset
	aborted   map[ids.ProducerID]*metTxn
	committed map[ids.ProducerID]struct{} // with batches that were met, of transactions that were not aborted
	kept      []abortedTxn                // those of coming whose marker has to stay, by marker
}

type metTxn struct {
	abortedTxn
	met bool // a batch of it
}

// expect adds aborted transactions that may come.
func (t *cleanedTxns) expect(txns []abortedTxn) {
	t.coming = append(t.coming, txns...)
	slices.SortStableFunc(t.coming, func(a, b abortedTxn) int { return int(min(1, max(-1, a.firstOffset-b.firstOffset))) })
}

// reach opens the aborted transactions that begin at o or below.
func (t *cleanedTxns) reach(o ids.Offset) {
	for len(t.coming) > 0 && t.coming[0].firstOffset <= o {
		txn := t.coming[0]
		t.coming = t.coming[1:]
		if t.aborted == nil {
			t.aborted = make(map[ids.ProducerID]*metTxn)
		}
		if t.aborted[txn.producerID] == nil {
			t.aborted[txn.producerID] = &metTxn{abortedTxn: txn}
		}
	}
}

// seeData notes a batch of records and tells whether it belongs to an aborted transaction.
func (t *cleanedTxns) seeData(b record.Batch) (aborted bool) {
	t.reach(b.LastOffset())
	if !b.Attributes().Transactional() {
		return false
	}
	if txn := t.aborted[b.ProducerID()]; txn != nil {
		txn.met = true
		return true
	}
	if t.committed == nil {
		t.committed = make(map[ids.ProducerID]struct{})
	}
	t.committed[b.ProducerID()] = struct{}{}
	return false
}

// seeMarker notes a control batch and tells whether nothing of its transaction is left.
func (t *cleanedTxns) seeMarker(b record.Batch) (done bool, err error) {
	t.reach(b.LastOffset())
	if b.Count() == 0 {
		return true, nil // emptied before
	}
	m, err := b.EndTxnMarker()
	switch {
	case err == record.ErrNoMarker:
		return false, nil
	case err != nil:
		return false, fmt.Errorf("the marker at offset %d: %w", b.BaseOffset(), err)
	case m.Commit:
		_, met := t.committed[m.ProducerID]
		delete(t.committed, m.ProducerID)
		return !met, nil
	}
	txn := t.aborted[m.ProducerID]
	delete(t.aborted, m.ProducerID)
	if txn == nil || !txn.met {
		return true, nil
	}
	t.kept = append(t.kept, txn.abortedTxn)
	return false, nil
}

// takeKept returns the entries of the transaction index for the markers that had to stay since the last call.
func (t *cleanedTxns) takeKept() []abortedTxn {
	kept := t.kept
	t.kept = nil
	return kept
}
