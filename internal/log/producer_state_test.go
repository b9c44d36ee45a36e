package log

import (
	"errors"
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

// sent describes a batch as a producer sends it.
type sent struct {
	pid   ids.ProducerID
	epoch ids.ProducerEpoch
	seq   int32
	count int
	txn   bool
}

func (s sent) batch() record.Batch {
	b := record.NewBuilder()
	b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = s.pid, s.epoch, s.seq, s.txn
	for range max(1, s.count) {
		b.Append(1000, nil, []byte("v"))
	}
	return b.MustBuild()
}

func marker(pid ids.ProducerID, epoch ids.ProducerEpoch, coordinatorEpoch int32, commit bool) record.Batch {
	return record.EndTxnMarker{ProducerID: pid, ProducerEpoch: epoch, Commit: commit, CoordinatorEpoch: coordinatorEpoch}.Build(2000)
}

// appender is the part of a log that producerState needs: the next offset.
type appender struct {
	producerState
	next ids.Offset
}

func (a *appender) append(b record.Batch, nowMs int64) (Appended, error) {
	dup, isDup, err := a.check(b, nowMs, true)
	if err != nil || isDup {
		return dup, err
	}
	base := a.next
	a.update(b, base)
	a.next = base + ids.Offset(b.LastOffsetDelta()) + 1
	return Appended{BaseOffset: base, LastOffset: a.next - 1}, nil
}

func TestProducerRules(t *testing.T) {
	p := func(epoch ids.ProducerEpoch, seq int32, count int) record.Batch {
		return sent{pid: 7, epoch: epoch, seq: seq, count: count}.batch()
	}
	six := []record.Batch{p(0, 0, 2), p(0, 2, 1), p(0, 3, 1), p(0, 4, 1), p(0, 5, 1), p(0, 6, 1)}
	tx := func(seq int32) record.Batch { return sent{pid: 7, seq: seq, txn: true}.batch() }
	for _, c := range []struct {
		rule    string
		earlier []record.Batch
		batch   record.Batch
		err     error
		base    ids.Offset
		dup     bool
	}{
		{rule: "a batch without a producer id is not looked at", batch: sent{pid: -1, epoch: -1, seq: -1}.batch()},
		{rule: "an unknown producer may begin anywhere", batch: p(3, 99, 1)},
		{rule: "the next sequence follows", earlier: six[:1], batch: p(0, 2, 1), base: 2},
		{rule: "a gap is out of order", earlier: six[:1], batch: p(0, 3, 1), err: kerr.OutOfOrderSequenceNumber},
		{rule: "the newest batch again is a duplicate", earlier: six, batch: six[5], base: 6, dup: true},
		{rule: "the fifth last batch again is a duplicate", earlier: six, batch: six[1], base: 2, dup: true},
		{rule: "the sixth last batch again is out of order", earlier: six, batch: six[0], err: kerr.OutOfOrderSequenceNumber},
		{rule: "a duplicate of several records has their offsets", earlier: six[:2], batch: six[0], base: 0, dup: true},
		{rule: "the same first sequence with another count is out of order", earlier: six[:2], batch: p(0, 2, 2), err: kerr.OutOfOrderSequenceNumber},
		{rule: "an older epoch is refused", earlier: []record.Batch{p(2, 0, 1)}, batch: p(1, 1, 1), err: kerr.InvalidProducerEpoch},
		{rule: "a new epoch begins at 0", earlier: six, batch: p(1, 0, 1), base: 7},
		{rule: "a new epoch that does not begin at 0 is out of order", earlier: six, batch: p(1, 7, 1), err: kerr.OutOfOrderSequenceNumber},
		{rule: "a batch of an older epoch is no duplicate", earlier: []record.Batch{p(0, 0, 1), p(1, 0, 1)}, batch: p(0, 0, 1), err: kerr.InvalidProducerEpoch},
		{rule: "sequences wrap between batches", earlier: []record.Batch{p(0, math.MaxInt32, 1)}, batch: p(0, 0, 1), base: 1},
		{rule: "sequences wrap inside a batch", earlier: []record.Batch{p(0, math.MaxInt32, 3)}, batch: p(0, 2, 1), base: 3},
		{rule: "a duplicate of a batch that wraps", earlier: []record.Batch{p(0, math.MaxInt32, 3), p(0, 2, 1)}, batch: p(0, math.MaxInt32, 3), dup: true},
		{rule: "after 2^31-1 comes 0 and not 1", earlier: []record.Batch{p(0, math.MaxInt32, 1)}, batch: p(0, 1, 1), err: kerr.OutOfOrderSequenceNumber},
		{rule: "a batch outside of the open transaction is refused", earlier: []record.Batch{tx(0)}, batch: p(0, 1, 1), err: kerr.InvalidTxnState},
		{rule: "a duplicate is answered before the transaction is looked at", earlier: []record.Batch{p(0, 0, 1), tx(1)}, batch: p(0, 0, 1), dup: true},
		{rule: "a marker keeps the sequences of its epoch", earlier: []record.Batch{tx(0), marker(7, 0, 0, true)}, batch: p(0, 1, 1), base: 2},
		{rule: "a marker of a new epoch begins sequences again", earlier: []record.Batch{tx(0), marker(7, 1, 0, true)}, batch: p(1, 0, 1), base: 2},
		{rule: "after a marker of a new epoch only 0 will do", earlier: []record.Batch{tx(0), marker(7, 1, 0, true)}, batch: p(1, 1, 1), err: kerr.OutOfOrderSequenceNumber},
		{rule: "a marker of an older epoch is refused", earlier: []record.Batch{p(2, 0, 1)}, batch: marker(7, 1, 0, true), err: kerr.InvalidProducerEpoch},
		{rule: "a marker of a replaced coordinator is refused", earlier: []record.Batch{marker(7, 0, 5, true)}, batch: marker(7, 0, 4, true), err: kerr.TransactionCoordinatorFenced},
		{rule: "batches of a coordinator have no sequence", earlier: []record.Batch{tx(0)}, batch: sent{pid: 7, seq: -1, txn: true}.batch(), base: 1},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var a appender
			for _, b := range c.earlier {
				if _, err := a.append(b, 0); err != nil {
					t.Fatal(err)
				}
			}
			got, err := a.append(c.batch, 0)
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if err == nil && (got.BaseOffset != c.base || got.Duplicate != c.dup || got.LastOffset != c.base+ids.Offset(c.batch.LastOffsetDelta())) {
				t.Fatalf("got %+v, want base %d, duplicate %v", got, c.base, c.dup)
			}
		})
	}
}

func TestFollowersRefuseNothing(t *testing.T) {
	var s producerState
	s.update(sent{pid: 7, epoch: 3, seq: 0}.batch(), 0)
	if _, dup, err := s.check(sent{pid: 7, epoch: 1, seq: 50}.batch(), 0, false); dup || err != nil {
		t.Fatal(dup, err)
	}
}

func TestExpiry(t *testing.T) {
	const expirationMs = 100
	var a appender
	mustAppend := func(s sent, nowMs int64) {
		t.Helper()
		if _, err := a.append(s.batch(), nowMs); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(sent{pid: 1}, 1000)
	mustAppend(sent{pid: 2, txn: true}, 1000)
	mustAppend(sent{pid: 3}, 1001)
	a.expire(1100, expirationMs)
	if a.producers[1] != nil || a.producers[2] == nil || a.producers[3] == nil {
		t.Fatalf("the silent one goes, the one in a transaction and the younger one stay: %v", a.producers)
	}
	mustAppend(sent{pid: 1, seq: 77}, 1100) // the first batch after expiry may begin anywhere
	if _, err := a.append(sent{pid: 1, seq: 79}.batch(), 1100); !errors.Is(err, kerr.OutOfOrderSequenceNumber) {
		t.Fatalf("the second may not: %v", err)
	}
}

// A producer that copies old records writes timestamps of long ago; it is not silent.
func TestExpiryGoesByTheTimeOfTheAppend(t *testing.T) {
	var a appender
	now := int64(1 << 40) // the records say 1000
	if _, err := a.append(sent{pid: 1}.batch(), now); err != nil {
		t.Fatal(err)
	}
	a.expire(now+99, 100)
	if a.producers[1] == nil {
		t.Fatal("forgotten 99 ms after it wrote, with an expiration of 100")
	}
	if a.expire(now+100, 100); a.producers != nil {
		t.Fatal("an empty map stays")
	}
}

func TestTransactionsHoldBackTheLastStableOffset(t *testing.T) {
	var s producerState
	open := func(want ids.Offset) {
		t.Helper()
		if got, ok := s.firstOpenTxn(); got != want || ok != (want >= 0) {
			t.Fatalf("first open transaction at %d %v, want %d", got, ok, want)
		}
	}
	open(-1)
	s.update(sent{pid: 1, txn: true}.batch(), 10)
	s.update(sent{pid: 2, txn: true}.batch(), 11)
	s.update(sent{pid: 1, seq: 1, txn: true}.batch(), 12)
	open(10)

	c := s.update(marker(1, 0, 0, false), 13)
	want := completedTxn{abortedTxn{producerID: 1, firstOffset: 10, lastOffset: 13, lastStable: 11}, true}
	if c == nil || *c != want {
		t.Fatalf("completed %+v, want %+v", c, want)
	}
	s.completeBelow(13)
	open(10) // the marker itself is not below the high watermark
	s.completeBelow(14)
	open(11)

	c = s.update(marker(2, 0, 0, true), 14)
	want = completedTxn{abortedTxn{producerID: 2, firstOffset: 11, lastOffset: 14, lastStable: 15}, false}
	if c == nil || *c != want {
		t.Fatalf("completed %+v, want %+v", c, want)
	}
	s.completeBelow(100)
	open(-1)
	if c := s.update(marker(2, 0, 0, false), 15); c != nil {
		t.Fatalf("a marker without a transaction completed %+v", c)
	}
	if s.mapEnd != 16 {
		t.Fatalf("map ends at %d, want 16", s.mapEnd)
	}
}

func TestOtherControlBatchesSayNothingOfAProducer(t *testing.T) {
	var s producerState
	s.update(sent{pid: 1, txn: true}.batch(), 10)
	empty := marker(1, 0, 0, true)[:record.HeaderBytes] // compaction dropped the marker's transaction whole
	copy(empty[8:], []byte{0, 0, 0, record.HeaderBytes - 12})
	copy(empty[57:], []byte{0, 0, 0, 0})
	if c := s.update(empty, 11); c != nil {
		t.Fatalf("completed %+v", c)
	}
	if first, ok := s.firstOpenTxn(); !ok || first != 10 {
		t.Fatal("the transaction is not open any more")
	}
}

func TestAdvanceStartAndReset(t *testing.T) {
	var s producerState
	s.update(sent{pid: 1}.batch(), 3)
	s.advanceStart(50)
	if s.mapEnd != 50 || s.producers[1] == nil {
		t.Fatalf("end %d, producers %v", s.mapEnd, s.producers)
	}
	s.reset(20)
	if s.mapEnd != 20 || s.producers != nil {
		t.Fatalf("end %d, producers %v", s.mapEnd, s.producers)
	}
}

func TestKnownProducersAllocateNothing(t *testing.T) {
	var s producerState
	b := sent{pid: 1}.batch()
	s.update(b, 0)
	seq := int32(1)
	if n := testing.AllocsPerRun(100, func() {
		b[53], b[54], b[55], b[56] = byte(seq>>24), byte(seq>>16), byte(seq>>8), byte(seq)
		if _, dup, err := s.check(b, 0, true); dup || err != nil {
			t.Fatal(dup, err)
		}
		s.update(b, ids.Offset(seq))
		if _, dup, _ := s.check(b, 0, true); !dup {
			t.Fatal("no duplicate")
		}
		seq++
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkProducerCheckUpdate(b *testing.B) {
	var s producerState
	batch := sent{pid: 1}.batch()
	for seq := int32(0); b.Loop(); seq++ {
		batch[53], batch[54], batch[55], batch[56] = byte(seq>>24), byte(seq>>16), byte(seq>>8), byte(seq)
		if _, _, err := s.check(batch, 0, true); err != nil {
			b.Fatal(err)
		}
		s.update(batch, ids.Offset(seq))
	}
}
