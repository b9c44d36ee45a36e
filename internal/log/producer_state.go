package log

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// producerBatchesKept is how many batches of a producer id a retry is recognised by, as
// many as a client may have in flight. Java: ProducerStateEntry.NUM_BATCHES_TO_RETAIN.
const producerBatchesKept = 5

// producerState knows what each idempotent producer wrote last to one log, and which
// transactions are open in it (KIP-98).
//
// A batch goes through check before it is appended and through update after. Batches
// that were appended by somebody else, an earlier life of the broker or the leader, go
// through update alone. Neither allocates for a producer that is known.
//
// Not safe for concurrent use: Log.mu guards it. The zero value is an empty log's.
// Java: ProducerStateManager, ProducerAppendInfo.
type producerState struct {
	producers map[ids.ProducerID]*producerEntry // nil until there is one

	// txns are the transactions that hold back the last stable offset, by first offset: those
	// that are open, and those whose marker may still be at or above the high watermark.
	txns []heldTxn

	// mapEnd is exclusive: every batch below it has been seen.
	mapEnd ids.Offset

	nowMs int64 // the time of the latest check, append or load
}

// producerEntry is what is known of one producer id.
type producerEntry struct {
	epoch            ids.ProducerEpoch // NoProducerEpoch until the first batch or marker
	coordinatorEpoch int32             // of the last marker; -1 until there is one
	timestamp        int64             // of the last batch or marker, the records' time; for DescribeProducers and snapshots
	txnFirst         ids.Offset        // first offset of the open transaction, NoOffset without one

	// seenMs is this broker's time when the producer last wrote. Expiry goes by it, not by the
	// records' time as in Kafka, where a producer that writes old records is forgotten while it writes.
	seenMs int64

	// batches are the last ones of this epoch, a ring: the newest is batches[newest], kept of them are filled.
	batches [producerBatchesKept]batchSpan
	newest  uint8
	kept    uint8
}

// batchSpan is the place of one batch in sequences and offsets.
type batchSpan struct {
	lastOffset  ids.Offset
	lastSeq     int32
	offsetDelta int32 // last offset less first offset; sequences span as much
}

func (s batchSpan) firstOffset() ids.Offset { return s.lastOffset - ids.Offset(s.offsetDelta) }

type heldTxn struct {
	producerID ids.ProducerID
	first      ids.Offset
	marker     ids.Offset // NoOffset while the transaction is open
}

// completedTxn is a transaction that a marker has ended.
type completedTxn struct {
	abortedTxn      // what the transaction index says of it if it was aborted
	aborted    bool // or committed
}

// check tells whether b may be appended. Where it is one of the producer's last batches once
// more, dup holds the offsets that it got then. fromClient says that this broker decides, as
// the leader; otherwise the leader has decided and nothing is refused.
func (s *producerState) check(b record.Batch, nowMs int64, fromClient bool) (dup Appended, isDup bool, err error) {
	s.nowMs = nowMs
	id := b.ProducerID()
	if id < 0 || !fromClient {
		return Appended{}, false, nil
	}
	e := s.producers[id]
	if e == nil {
		return Appended{}, false, nil // never heard of, or forgotten: any sequence will do
	}
	if b.Attributes().Control() {
		return Appended{}, false, e.checkMarker(b)
	}
	if span, found := e.find(b); found {
		e.seenMs = nowMs
		return Appended{BaseOffset: span.firstOffset(), LastOffset: span.lastOffset, Duplicate: true, TimestampMs: e.timestamp}, true, nil
	}
	return Appended{}, false, e.checkData(b)
}

// checkData applies the rules of KIP-98 and KIP-360 to a batch of records of a known producer.
func (e *producerEntry) checkData(b record.Batch) error {
	if b.ProducerEpoch() < e.epoch {
		return e.staleEpoch(b)
	}
	if first := b.BaseSequence(); first >= 0 && first != e.nextSequence(b.ProducerEpoch()) {
		return fmt.Errorf("%w: producer %d with epoch %d sent sequence %d, expected %d of epoch %d",
			kerr.OutOfOrderSequenceNumber, b.ProducerID(), b.ProducerEpoch(), first, e.nextSequence(b.ProducerEpoch()), e.epoch)
	}
	if e.txnFirst >= 0 && !b.Attributes().Transactional() {
		return fmt.Errorf("%w: producer %d sent a batch outside of its transaction, which is open since offset %d",
			kerr.InvalidTxnState, b.ProducerID(), e.txnFirst)
	}
	return nil
}

// checkMarker refuses the marker of a coordinator, or of a producer's incarnation, that has been replaced.
func (e *producerEntry) checkMarker(b record.Batch) error {
	if b.ProducerEpoch() < e.epoch {
		return e.staleEpoch(b)
	}
	m, err := b.EndTxnMarker()
	if err != nil {
		return nil // some other control record: nothing to compare
	}
	if m.CoordinatorEpoch < e.coordinatorEpoch {
		return fmt.Errorf("%w: marker of producer %d from coordinator epoch %d, the last one was from %d",
			kerr.TransactionCoordinatorFenced, m.ProducerID, m.CoordinatorEpoch, e.coordinatorEpoch)
	}
	return nil
}

func (e *producerEntry) staleEpoch(b record.Batch) error {
	return fmt.Errorf("%w: producer %d sent epoch %d, its epoch is %d", kerr.InvalidProducerEpoch, b.ProducerID(), b.ProducerEpoch(), e.epoch)
}

// nextSequence is the one sequence that a batch of the given epoch may begin with. An epoch
// begins at 0, and so does one that a marker has opened without a batch yet.
func (e *producerEntry) nextSequence(epoch ids.ProducerEpoch) int32 {
	if epoch != e.epoch || e.kept == 0 {
		return 0
	}
	return record.AddSequence(e.batches[e.newest].lastSeq, 1)
}

// find looks for b among the last batches of its epoch. Only the exact range is a duplicate.
func (e *producerEntry) find(b record.Batch) (batchSpan, bool) {
	if b.ProducerEpoch() != e.epoch || b.BaseSequence() < 0 {
		return batchSpan{}, false
	}
	last, delta := b.LastSequence(), b.LastOffsetDelta()
	for i := range e.kept {
		span := e.batches[(e.newest+producerBatchesKept-i)%producerBatchesKept]
		if span.lastSeq == last && span.offsetDelta == delta {
			return span, true
		}
	}
	return batchSpan{}, false
}

// update takes in a batch that has been appended at base. completed is non-nil where it is a
// marker that ended a transaction with records in this log.
func (s *producerState) update(b record.Batch, base ids.Offset) (completed *completedTxn) {
	last := base + ids.Offset(b.LastOffsetDelta())
	s.mapEnd = last + 1
	if b.ProducerID() < 0 {
		return nil
	}
	if b.Attributes().Control() {
		return s.updateMarker(b, base)
	}
	e := s.entry(b.ProducerID())
	e.enter(b.ProducerEpoch())
	e.add(batchSpan{lastOffset: last, lastSeq: b.LastSequence(), offsetDelta: b.LastOffsetDelta()})
	e.timestamp, e.seenMs = b.MaxTimestamp(), s.nowMs
	if b.Attributes().Transactional() && e.txnFirst < 0 {
		e.txnFirst = base
		s.txns = append(s.txns, heldTxn{producerID: b.ProducerID(), first: base, marker: ids.NoOffset})
	}
	return nil
}

// updateMarker ends the producer's transaction. A control batch that is empty (compaction has
// dropped a transaction whole) or of another kind says nothing about the producer.
func (s *producerState) updateMarker(b record.Batch, at ids.Offset) *completedTxn {
	m, err := b.EndTxnMarker()
	if err != nil {
		return nil // a marker that nobody can read leaves its transaction open: nothing is shown too early
	}
	e := s.entry(m.ProducerID)
	e.enter(m.ProducerEpoch)
	e.coordinatorEpoch = m.CoordinatorEpoch
	e.timestamp, e.seenMs = b.MaxTimestamp(), s.nowMs
	first := e.txnFirst
	e.txnFirst = ids.NoOffset
	if first < 0 {
		return nil
	}
	c := &completedTxn{aborted: !m.Commit}
	c.producerID, c.firstOffset, c.lastOffset, c.lastStable = m.ProducerID, first, at, at+1
	for i := range s.txns {
		if t := &s.txns[i]; t.producerID == m.ProducerID && t.first == first {
			t.marker = at
		} else if t.marker < 0 && t.first < c.lastStable {
			c.lastStable = t.first
		}
	}
	return c
}

func (s *producerState) entry(id ids.ProducerID) *producerEntry {
	e := s.producers[id]
	if e == nil {
		e = newProducerEntry()
		s.put(id, e)
	}
	return e
}

func newProducerEntry() *producerEntry {
	return &producerEntry{epoch: ids.NoProducerEpoch, coordinatorEpoch: -1, timestamp: record.NoTimestamp, txnFirst: ids.NoOffset}
}

func (s *producerState) put(id ids.ProducerID, e *producerEntry) {
	if s.producers == nil {
		s.producers = make(map[ids.ProducerID]*producerEntry)
	}
	s.producers[id] = e
}

// enter moves the producer to an epoch; batches of another one are no duplicates any more.
func (e *producerEntry) enter(epoch ids.ProducerEpoch) {
	if e.epoch != epoch {
		e.epoch, e.kept = epoch, 0
	}
}

func (e *producerEntry) add(span batchSpan) {
	e.newest = (e.newest + 1) % producerBatchesKept
	e.batches[e.newest] = span
	e.kept = min(e.kept+1, producerBatchesKept)
}

// firstOpenTxn returns where the first transaction begins that holds back the last stable
// offset: an open one, or one whose marker completeBelow has not released yet.
func (s *producerState) firstOpenTxn() (ids.Offset, bool) {
	if len(s.txns) == 0 {
		return ids.NoOffset, false
	}
	return s.txns[0].first, true
}

// completeBelow releases the transactions whose marker lies below the high watermark: nobody
// can take the marker back now. Java: ProducerStateManager.onHighWatermarkUpdated.
func (s *producerState) completeBelow(hw ids.Offset) {
	if len(s.txns) == 0 {
		return
	}
	s.txns = slices.DeleteFunc(s.txns, func(t heldTxn) bool { return t.marker >= 0 && t.marker < hw })
	if len(s.txns) == 0 {
		s.txns = nil
	}
}

// expire forgets producers that have been silent for expirationMs and have no transaction open.
func (s *producerState) expire(nowMs, expirationMs int64) {
	for id, e := range s.producers {
		if e.txnFirst < 0 && nowMs-e.seenMs >= expirationMs {
			delete(s.producers, id)
		}
	}
	if len(s.producers) == 0 {
		s.producers = nil // a map keeps its buckets
	}
}

// reset forgets everything: the next batch that update sees is at end or above.
func (s *producerState) reset(end ids.Offset) {
	*s = producerState{mapEnd: end, nowMs: s.nowMs}
}

// advanceStart follows the log's start. What producers wrote below it stays known.
func (s *producerState) advanceStart(start ids.Offset) {
	s.completeBelow(start)
	s.mapEnd = max(s.mapEnd, start)
}
