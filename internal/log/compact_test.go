package log

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

func compactLog(t testing.TB) (*testEnv, *Log) {
	e := newTestEnv(t, vfs.NewMem())
	return e, e.create(compactConfig())
}

// The last record of each key stays at its offset, and every batch keeps its range.
func TestCompaction(t *testing.T) {
	_, l := compactLog(t)
	mustAppend(t, l, kv("a=1", "b=1", "a=2"))
	mustAppend(t, l, kv("c=1"))
	mustAppend(t, l, kv("b=2", "d=1"))
	seal(t, l)
	mustAppend(t, l, kv("a=3")) // active: neither cleaned nor looked at
	l.SetHighWatermark(l.EndOffset())
	stats := mustClean(t, l)
	wantVisible(t, l, "2 a=2", "3 c=1", "4 b=2", "5 d=1", "6 a=3")
	if got := offsetsOf(readAll(t, l, 1<<20)); got != "0-2 3-3 4-5 6-6" {
		t.Errorf("batches %s", got)
	}
	if stats.records != 6 || stats.kept != 4 || stats.keys != 4 || stats.from != 0 || stats.to != 6 || l.CleanedOffset() != 6 {
		t.Errorf("%+v, cleaned up to %d", stats, l.CleanedOffset())
	}
	if _, cleaned, err := cleanOnce(l, plenty()); cleaned || err != nil {
		t.Errorf("cleaned once more: %v, %v", cleaned, err)
	}
}

// A dirty key takes clean records away, a clean one does not need another cleaning.
func TestCompactionGoesOnWhereItEnded(t *testing.T) {
	_, l := compactLog(t)
	mustAppend(t, l, kv("a=1", "b=1"))
	seal(t, l)
	mustClean(t, l)
	mustAppend(t, l, kv("a=2"))
	seal(t, l)
	if stats := mustClean(t, l); stats.from != 2 || stats.to != 3 || stats.keys != 1 {
		t.Errorf("%+v", stats)
	}
	wantVisible(t, l, "1 b=1", "2 a=2")
}

// A tombstone stays for delete.retention.ms after the first cleaning, not after it was written (KIP-534).
func TestTombstones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l := compactLog(t)
		mustAppend(t, l, kv("a=1", "b=1"))
		mustAppend(t, l, kv("a=-"))
		seal(t, l)
		time.Sleep(time.Minute)
		mustClean(t, l)
		wantVisible(t, l, "1 b=1", "2 a=-")
		cleaned := time.Now().UnixMilli()
		if ms, set := readAll(t, l, 1<<20)[1].DeleteHorizon(); !set || ms != cleaned+10_000 {
			t.Fatalf("delete horizon %d, want %d", ms, cleaned+10_000)
		}
		time.Sleep(9 * time.Second)
		more(t, l)
		mustClean(t, l)
		wantVisible(t, l, "1 b=1", "2 a=-", "3 x=x")
		time.Sleep(time.Second)
		more(t, l)
		mustClean(t, l)
		wantVisible(t, l, "1 b=1", "4 x=x")
	})
}

// more makes a log dirty.
func more(t testing.TB, l *Log) {
	t.Helper()
	mustAppend(t, l, kv("x=x"))
	seal(t, l)
}

// Aborted records go with the first cleaning. A marker outlives its transaction by two: one that sees
// nothing of it any more stamps the horizon, one after the horizon removes it.
func TestTransactionsAreCleaned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l := compactLog(t)
		txn := func(id ids.ProducerID, seq int32, pairs ...string) record.Batch {
			b := record.NewBuilder()
			b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = id, 0, seq, true
			return kvOf(b, pairs...)
		}
		mustAppend(t, l, kv("a=1", "b=1"))
		mustAppend(t, l, txn(1, 0, "a=aborted"))   // 2
		mustAppend(t, l, txn(2, 0, "b=committed")) // 3
		mustAppend(t, l, endTxn(1, false))         // 4
		mustAppend(t, l, endTxn(2, true))          // 5
		mustAppend(t, l, txn(1, 1, "c=c"))         // 6
		mustAppend(t, l, endTxn(1, true))          // 7
		mustAppend(t, l, txn(2, 1, "c=d"))         // 8
		mustAppend(t, l, endTxn(2, true))          // 9
		seal(t, l)
		mustClean(t, l)
		wantVisible(t, l, "0 a=1", "3 b=committed", "8 c=d")
		// 6 is the last batch of producer 1: empty, it keeps its sequence. 2 is gone, its marker is not.
		wantBatches := func(want string) {
			t.Helper()
			if got := offsetsOf(readAll(t, l, 1<<20)); got != want {
				t.Fatalf("batches %s, want %s", got, want)
			}
		}
		wantBatches("0-1 3-3 4-4 5-5 6-6 7-7 8-8 9-9")
		more(t, l)
		mustClean(t, l)
		wantBatches("0-1 3-3 4-4 5-5 6-6 7-7 8-8 9-9 10-10")
		if ms, set := readAll(t, l, 1<<20)[2].DeleteHorizon(); !set || ms != time.Now().UnixMilli()+10_000 {
			t.Errorf("the marker of nothing has delete horizon %d, %v", ms, set)
		}
		time.Sleep(10 * time.Second)
		more(t, l)
		mustClean(t, l)
		wantBatches("0-1 3-3 5-5 6-6 7-7 8-8 9-9 11-11")
		if txns, err := l.AbortedTxns(0, l.EndOffset()); err != nil || len(txns) != 0 {
			t.Errorf("aborted: %v, %v", txns, err)
		}
		l.mu.Lock()
		l.mu.producers.expire(time.Now().UnixMilli()+l.Config().ProducerExpirationMs+1, l.Config().ProducerExpirationMs)
		l.mu.Unlock()
		more(t, l)
		mustClean(t, l)
		wantBatches("0-1 3-3 5-5 7-7 8-8 9-9 12-12") // nobody needs 6, so that its marker has nothing left
	})
}

// An open transaction stops the cleaner at the segment that it begins in.
func TestOpenTransactionIsNotCleaned(t *testing.T) {
	_, l := compactLog(t)
	mustAppend(t, l, kv("a=1", "a=2"))
	seal(t, l)
	mustAppend(t, l, kv("a=3"))
	mustAppend(t, l, txnBatch(1, 0))
	seal(t, l)
	mustAppend(t, l, kv("a=4"))
	seal(t, l)
	if stats := mustClean(t, l); stats.to != 2 {
		t.Errorf("%+v", stats)
	}
	mustAppend(t, l, endTxn(1, false))
	seal(t, l)
	mustClean(t, l)
	wantVisible(t, l, "5 a=4")
}

// What a power cut could still take must not take older records away.
func TestUnsyncedRecordsAreNotCleaned(t *testing.T) {
	_, l := compactLog(t)
	mustAppend(t, l, kv("a=1"))
	seal(t, l)
	synced := l.DurableEnd()
	for range 100 {
		mustAppend(t, l, kv("a=2"))
	}
	l.SetHighWatermark(l.EndOffset())
	if len(*l.segments.Load()) < 4 {
		t.Fatal("too few segments")
	}
	if stats := mustClean(t, l); stats.to > synced {
		t.Fatalf("cleaned up to %d, synced up to %d", stats.to, synced)
	}
	if got, err := visible(l, 1<<20); err != nil || got[0] != "0 a=1" {
		t.Fatalf("%v, %v", got[:1], err)
	}
}

// Records without a key, from before the topic was compacted, go.
func TestKeylessRecordsGo(t *testing.T) {
	_, l := compactLog(t)
	mustAppend(t, l, batch(1, 3, 10))
	mustAppend(t, l, kv("a=1", "=empty key"))
	seal(t, l)
	if stats := mustClean(t, l); stats.keyless != 3 || stats.kept != 2 {
		t.Errorf("%+v", stats)
	}
	wantVisible(t, l, "3 a=1", "4 =empty key")
}

// More keys than the map holds take several passes, each over what the one before left.
func TestCompactionInPasses(t *testing.T) {
	_, l := compactLog(t)
	const keys = 40
	var want []string
	for round := range 3 {
		for k := range keys {
			a := mustAppend(t, l, kv(fmt.Sprintf("key %c=%d", 'A'+k, round)))
			if round == 2 {
				want = append(want, fmt.Sprintf("%d key %c=2", a.BaseOffset, 'A'+k))
			}
		}
	}
	seal(t, l)
	limits := plenty()
	limits.mapBytes = 10 * keyEntryBytes
	passes := 0
	for from := ids.Offset(0); ; passes++ {
		stats, cleaned, err := cleanOnce(l, limits)
		if err != nil {
			t.Fatal(err)
		}
		if !cleaned {
			break
		}
		if stats.from != from || stats.to <= from || stats.keys > 9 {
			t.Fatalf("pass %d: %+v, the one before ended at %d", passes, stats, from)
		}
		from = stats.to
	}
	if passes < 3*keys/9 {
		t.Errorf("%d passes", passes)
	}
	wantVisible(t, l, want...)
}

// Beyond what the offset map of a pass covers everything stays. A tombstone there is written anew with the rest of its
// segment and gets its delete horizon, but may not go by it before a pass has taken the record that it deletes.
func TestTombstoneBeyondThePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l := compactLog(t)
		mustAppend(t, l, kv("gone=value"))
		seal(t, l)
		// One segment that takes three passes, with the tombstone at its end.
		mustAppend(t, l, kv("a=0", "b=0", "c=0", "d=0", "gone=-"))
		seal(t, l)
		left := "0 gone=value\n1 a=0\n2 b=0\n3 c=0\n4 d=0\n5 gone=-"
		limits := plenty()
		limits.mapBytes, limits.mapLoad = 3*keyEntryBytes, 1 // two keys
		for _, to := range []ids.Offset{2, 4} {
			wantVisible(t, l, strings.Split(left, "\n")...)
			stats, _, err := cleanOnce(l, limits)
			if err != nil || stats.to != to {
				t.Fatalf("%+v, %v; want a pass up to %d", stats, err, to)
			}
			time.Sleep(2 * time.Duration(l.Config().DeleteRetentionMs) * time.Millisecond)
		}
		wantVisible(t, l, strings.Split(left, "\n")...)
		if _, cleaned, err := cleanOnce(l, limits); err != nil || !cleaned {
			t.Fatalf("cleaned %v: %v", cleaned, err)
		}
		wantVisible(t, l, "1 a=0", "2 b=0", "3 c=0", "4 d=0")
	})
}

// Many small segments become few, each no larger than segment.bytes, and each ends where the next begins.
func TestCleanedSegmentsAreMerged(t *testing.T) {
	e, l := compactLog(t)
	for i := range 300 {
		mustAppend(t, l, kv("a="+itoa(ids.Offset(i)), "b"+itoa(ids.Offset(i%7))+"=x"))
	}
	seal(t, l)
	before := len(*l.segments.Load())
	mustClean(t, l)
	more(t, l)
	mustClean(t, l)
	more(t, l)
	mustClean(t, l)
	segs := *l.segments.Load()
	if before < 10 || len(segs) > 3 {
		t.Errorf("%d segments, before %d", len(segs), before)
	}
	for i, s := range segs[:len(segs)-1] {
		if s.sizeBytes.Load() > int64(l.Config().SegmentBytes) {
			t.Errorf("segment %d has %d bytes", s.base, s.sizeBytes.Load())
		}
		sl, err := l.Read(s.base, segs[i+1].base, 1<<20, true)
		if err != nil {
			t.Fatal(err)
		}
		if bs := sliceBatches(t, sl); bs[len(bs)-1].NextOffset() != segs[i+1].base {
			t.Errorf("segment %d ends at offset %d, the next begins at %d", s.base, bs[len(bs)-1].NextOffset(), segs[i+1].base)
		}
	}
	if err := l.removeDropped(noDelay()); err != nil {
		t.Fatal(err)
	}
	names, err := e.fs.List(l.Dir())
	if err != nil || len(names) > 3*len(segs)+5 {
		t.Errorf("files left: %v, %v", names, err)
	}
}

// A producer's last batch stays, emptied, so that a log that is read anew still knows its sequence.
func TestProducersOutliveTheirRecords(t *testing.T) {
	e, l := compactLog(t)
	idem := func(seq int32, pairs ...string) record.Batch {
		b := record.NewBuilder()
		b.ProducerID, b.ProducerEpoch, b.BaseSequence = 9, 3, seq
		return kvOf(b, pairs...)
	}
	mustAppend(t, l, idem(0, "a=1"))
	mustAppend(t, l, idem(1, "a=2", "a=3"))
	mustAppend(t, l, kv("a=4"))
	seal(t, l)
	mustClean(t, l)
	wantVisible(t, l, "3 a=4")
	l.closeAbrupt()
	if err := removeProducerSnapshots(e.fs, l.Dir(), 0, 1<<60); err != nil {
		t.Fatal(err)
	}
	l = e.mustOpen(compactConfig(), false)
	if a, err := l.AppendAsLeader(idem(1, "a=2", "a=3"), 0); err != nil || !a.Duplicate || a.BaseOffset != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := l.AppendAsLeader(idem(3, "a=5"), 0); err != nil || a.Duplicate {
		t.Errorf("%+v, %v", a, err)
	}
}

// Retained records stay in their batch's codec.
func TestCompactionKeepsCodecs(t *testing.T) {
	_, l := compactLog(t)
	for codec := record.None; codec <= record.Zstd; codec++ {
		b := record.NewBuilder().Append(1000, []byte("k"), []byte("old")).Append(1001, []byte{byte('a' + codec)}, []byte("kept"))
		built, err := b.Build(codec)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, built)
	}
	mustAppend(t, l, kv("k=new"))
	seal(t, l)
	mustClean(t, l)
	wantVisible(t, l, "1 a=kept", "3 b=kept", "5 c=kept", "7 d=kept", "9 e=kept", "10 k=new")
	for i, b := range readAll(t, l, 1<<20)[:5] {
		if b.Attributes().Codec() != record.Codec(i) || b.Count() != 1 || b.MaxTimestamp() != 1001 {
			t.Errorf("%+v", b.Header())
		}
	}
}

// Offsets and times are found in what is left, and a fetch from a gap goes on behind it.
func TestLookupsOverGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, l := compactLog(t)
		began := time.Now()
		for i := range 200 {
			time.Sleep(time.Second)
			key := "x"
			if i%20 == 0 {
				key = itoa(ids.Offset(i))
			}
			mustAppend(t, l, kv(key+"=value"))
		}
		seal(t, l)
		mustClean(t, l)
		for range 2 {
			for o := range l.EndOffset() {
				want := (o + 19) / 20 * 20
				if o > 180 {
					want = 199
				}
				if got := firstRecord(t, l, o); got != want {
					t.Fatalf("the first record from %d on is at %d, want %d", o, got, want)
				}
				ts := began.Add(time.Duration(o+1) * time.Second).UnixMilli()
				if got, _, _, found, err := l.OffsetForTimestamp(ts, l.EndOffset()); err != nil || !found || got != want {
					t.Fatalf("time of offset %d is found at %d, want %d: %v", o, got, want, err)
				}
			}
			if o, _, _, err := l.MaxTimestamp(l.EndOffset()); err != nil || o != 199 {
				t.Fatalf("the newest record is at %d: %v", o, err)
			}
			e.closeClean(l)
			l = e.mustOpen(compactConfig(), true)
			l.SetHighWatermark(l.EndOffset())
		}
	})
}

func firstRecord(t testing.TB, l *Log, from ids.Offset) ids.Offset {
	t.Helper()
	for from < l.EndOffset() {
		s, err := l.Read(from, l.EndOffset(), 1, true)
		if err != nil {
			t.Fatal(err)
		}
		next := s.NextOffset()
		for _, b := range sliceBatches(t, s) {
			for r, err := range b.Records() {
				if err != nil {
					t.Fatal(err)
				}
				if r.Offset >= from {
					return r.Offset
				}
			}
		}
		from = next
	}
	return ids.NoOffset
}

// A log that is cut within what was cleaned is cleaned from there on once more.
func TestTruncationIntoCleanedSegments(t *testing.T) {
	_, l := compactLog(t)
	for i := range 60 {
		mustAppend(t, l, kv(itoa(ids.Offset(i%9))+"=value"))
	}
	seal(t, l)
	mustClean(t, l)
	if err := l.TruncateTo(55); err != nil {
		t.Fatal(err)
	}
	if l.CleanedOffset() > l.active().base {
		t.Errorf("cleaned up to %d, the active segment begins at %d", l.CleanedOffset(), l.active().base)
	}
	end := l.EndOffset()
	mustAppend(t, l, kv("z=z"))
	seal(t, l)
	mustClean(t, l)
	got, err := visible(l, 1<<20)
	if err != nil || !slices.Contains(got, itoa(end)+" z=z") {
		t.Errorf("%v, %v", got, err)
	}
	if err := l.TruncateFullyAndStartAt(5); err != nil || l.CleanedOffset() != 5 {
		t.Errorf("cleaned up to %d, %v", l.CleanedOffset(), err)
	}
}

// DeleteRecords within and above what was cleaned.
func TestDeleteRecordsOfCleanedSegments(t *testing.T) {
	_, l := compactLog(t)
	for i := range 60 {
		mustAppend(t, l, kv(itoa(ids.Offset(i%9))+"=value", "k=v"))
	}
	seal(t, l)
	mustClean(t, l)
	if err := l.AdvanceStart(113); err != nil {
		t.Fatal(err)
	}
	more(t, l)
	if stats := mustClean(t, l); stats.from != 120 || stats.to != 121 {
		t.Errorf("%+v", stats)
	}
	wantVisible(t, l, "114 3=value", "116 4=value", "118 5=value", "119 k=v", "120 x=x")
}

func itoa(o ids.Offset) string { return strconv.FormatInt(int64(o), 10) }

// A log is not cleaned while it moves to another directory, where it goes on with what has been cleaned.
func TestMoveOfACompactedLog(t *testing.T) {
	cfg := storeConfig(vfs.NewMem(), "/a", "/b")
	cfg.Config = func(string) Config { return compactConfig() }
	s, tp := openedStore(t, cfg), partition("t", 0)
	l, err := s.Create(tp, testTopicID("t"), compactConfig())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		mustAppend(t, l, kv(itoa(ids.Offset(i%9))+"=value", "k=v"))
	}
	seal(t, l)
	mustClean(t, l)
	more(t, l)
	want, err := visible(l, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	m := begunMove(t, s, tp, "/b")
	if _, cleaned, err := cleanOnce(l, plenty()); cleaned || !errors.Is(err, errCleaningStopped) {
		t.Errorf("cleaned %v while it moves: %v", cleaned, err)
	}
	m.Cancel()
	if _, end, ok := l.beginCleaning(t.Context()); !ok {
		t.Error("it is not cleaned again")
	} else {
		end()
	}
	moved := movedTo(t, s, tp, "/b")
	moved.SetHighWatermark(moved.EndOffset())
	wantVisible(t, moved, want...)
	if moved.CleanedOffset() != 120 || moved.StartOffset() != 0 {
		t.Errorf("it starts at %d and is cleaned up to %d", moved.StartOffset(), moved.CleanedOffset())
	}
	seal(t, moved) // the copy has other segments
	mustClean(t, moved)
	if err := s.dirOf(moved).cleanedOffsets.write(); err != nil {
		t.Fatal(err)
	}
	closedStore(t, s)
	s = openedStore(t, cfg)
	again := s.Log(tp)
	again.SetHighWatermark(again.EndOffset())
	wantVisible(t, again, want...)
	if again.CleanedOffset() != 121 || again.StartOffset() != 0 {
		t.Errorf("after a restart it starts at %d and is cleaned up to %d", again.StartOffset(), again.CleanedOffset())
	}
	closedStore(t, s)
}

// A reader that still has an old segment does not take the new one's files, which have its names, for it.
func TestReplacedSegmentIsNotOpenedByItsName(t *testing.T) {
	e, l := compactLog(t)
	mustAppend(t, l, kv("a=1", "a=2"))
	seal(t, l)
	old := (*l.segments.Load())[0]
	mustClean(t, l)
	old.closeFiles(e.files)
	if _, err := old.open(e.files); !errors.Is(err, errSegmentGone) {
		t.Errorf("the log file: %v", err)
	}
	if _, err := old.offsets.open(e.files, old, false); !errors.Is(err, errSegmentGone) {
		t.Errorf("the index: %v", err)
	}
	if err := old.aborted(e.fs, func(abortedTxn) bool { return true }); !errors.Is(err, errSegmentGone) {
		t.Errorf("the transaction index: %v", err)
	}
}
