package log

import (
	"slices"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// AbortedTxn is a transaction that was aborted: a read_committed consumer drops what its
// producer wrote from FirstOffset on, up to the producer's next marker.
type AbortedTxn struct {
	ProducerID  ids.ProducerID
	FirstOffset ids.Offset
}

// noteProducerLocked brings the producers' state, and the transaction index where a
// transaction was aborted, up to date with a batch that has been written to seg.
func (l *Log) noteProducerLocked(seg *segment, b record.Batch) {
	done := l.mu.producers.update(b, b.BaseOffset())
	if b.ProducerID() == ids.NoProducerID {
		return
	}
	if done != nil && done.aborted {
		l.mu.aborted = append(l.mu.aborted, abortedIn{seg, done.abortedTxn})
	}
	if b.Attributes().Transactional() {
		l.updateUnstableLocked()
	}
}

// abortedIn is an entry of a segment's transaction index that is not in the file yet.
type abortedIn struct {
	segment *segment
	txn     abortedTxn
}

// flushAbortedLocked writes the entries that wait. They wait for the time that the disk has no room.
func (l *Log) flushAbortedLocked() error {
	for len(l.mu.aborted) > 0 {
		a := l.mu.aborted[0]
		if err := appendAborted(l.env.fs, a.segment.path(txnIndexSuffix), a.txn); err != nil {
			return err
		}
		a.segment.txnDirty = true
		l.mu.namesDirty = true
		l.mu.aborted = l.mu.aborted[1:]
	}
	l.mu.aborted = nil
	return nil
}

// forgetAbortedLocked gives up waiting entries of markers at end or later.
func (l *Log) forgetAbortedLocked(end ids.Offset) {
	l.mu.aborted = slices.DeleteFunc(l.mu.aborted, func(a abortedIn) bool { return a.txn.lastOffset >= end })
}

// updateUnstableLocked finds the first transaction that holds back the last stable offset.
func (l *Log) updateUnstableLocked() {
	l.mu.producers.completeBelow(l.HighWatermark())
	first, held := l.mu.producers.firstOpenTxn()
	if !held {
		first = noUnstable
	}
	l.unstable.Store(int64(first))
}

// AbortedTxns returns the aborted transactions that a consumer of the offsets [from, to) has to know.
func (l *Log) AbortedTxns(from, to ids.Offset) ([]AbortedTxn, error) {
	for {
		before := l.view()
		found, err := l.abortedIn(*before.segments, from, to)
		if err != nil && before.outdated(l, err) {
			continue
		}
		if err != nil {
			return nil, l.readError(err)
		}
		var out []AbortedTxn
		for _, t := range found {
			out = append(out, AbortedTxn{t.producerID, t.firstOffset})
		}
		return out, nil
	}
}

// abortedIn returns the aborted transactions that have anything in [from, to), by their markers.
func (l *Log) abortedIn(segs segmentList, from, to ids.Offset) ([]abortedTxn, error) {
	l.mu.Lock()
	waiting := append([]abortedIn(nil), l.mu.aborted...)
	l.mu.Unlock()
	var out []abortedTxn
	add := func(t abortedTxn) bool {
		if t.lastOffset >= from && t.firstOffset < to {
			out = append(out, t)
		}
		return t.lastStable < to
	}
	// The marker of a transaction that reaches into the range may lie in a later segment.
	for _, s := range segs[max(segs.floor(from), 0):] {
		more := true
		err := s.aborted(l.env.fs, func(t abortedTxn) bool {
			more = add(t)
			return more
		})
		if err != nil || !more {
			return out, err
		}
	}
	for _, a := range waiting {
		add(a.txn)
	}
	return out, nil
}

// Producer is what a log knows of one producer id.
type Producer struct {
	ID                    ids.ProducerID
	Epoch                 ids.ProducerEpoch
	LastSequence          int32
	LastTimestamp         int64
	CoordinatorEpoch      int32
	CurrentTxnFirstOffset ids.Offset // NoOffset without an open transaction
}

// ActiveProducers returns the producers that the log remembers, in no order.
func (l *Log) ActiveProducers() []Producer {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Producer, 0, len(l.mu.producers.producers))
	for id, e := range l.mu.producers.producers {
		p := Producer{id, e.epoch, record.NoSequence, e.timestamp, e.coordinatorEpoch, e.txnFirst}
		if e.kept > 0 {
			p.LastSequence = e.batches[e.newest].lastSeq
		}
		out = append(out, p)
	}
	return out
}
