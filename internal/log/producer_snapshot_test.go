package log

import (
	"bytes"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(string(bytes.Join(bytes.Fields([]byte(s)), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// kafkaSnapshot is what Apache Kafka 4.3.1 wrote after a producer's seven records in one batch.
const kafkaSnapshot = `0001 5bd72656 00000001
	0000000000000000 0000 00000006 0000000000000006 00000006 000001a1fc8ded5b ffffffff ffffffffffffffff`

func TestSnapshotOfKafka(t *testing.T) {
	golden := unhex(t, kafkaSnapshot)
	producers, err := decodeProducerSnapshot(golden)
	if err != nil {
		t.Fatal(err)
	}
	want := newProducerEntry()
	want.epoch, want.timestamp = 0, 0x1a1fc8ded5b
	want.add(batchSpan{lastOffset: 6, lastSeq: 6, offsetDelta: 6})
	if len(producers) != 1 || !reflect.DeepEqual(producers[0], want) {
		t.Fatalf("got %+v, want %+v", producers[0], want)
	}
	again := (&producerState{producers: producers}).snapshot(7)
	if !bytes.Equal(again.content, golden) {
		t.Fatalf("written again:\n%x, want\n%x", again.content, golden)
	}
}

// snapshotOfThree is what Apache Kafka 4.3.1's kafka-dump-log reads as
//
//	producerId: 1 producerEpoch: 2 coordinatorEpoch: -1 currentTxnFirstOffset: OptionalLong.empty lastTimestamp: 1000 firstSequence: 0 lastSequence: 4 lastOffset: 14 offsetDelta: 4 timestamp: 1000
//	producerId: 2 producerEpoch: 0 coordinatorEpoch: -1 currentTxnFirstOffset: OptionalLong[15] lastTimestamp: 1000 firstSequence: 0 lastSequence: 0 lastOffset: 15 offsetDelta: 0 timestamp: 1000
//	producerId: 9 producerEpoch: 3 coordinatorEpoch: 6 currentTxnFirstOffset: OptionalLong.empty lastTimestamp: 2000
const snapshotOfThree = `0001 d097d573 00000003
	0000000000000001 0002 00000004 000000000000000e 00000004 00000000000003e8 ffffffff ffffffffffffffff
	0000000000000002 0000 00000000 000000000000000f 00000000 00000000000003e8 ffffffff 000000000000000f
	0000000000000009 0003 ffffffff ffffffffffffffff 00000000 00000000000007d0 00000006 ffffffffffffffff`

func threeProducers() *producerState {
	var s producerState
	s.update(marker(9, 3, 6, true), 9)
	s.update(sent{pid: 1, epoch: 2, count: 5}.batch(), 10)
	s.update(sent{pid: 2, txn: true}.batch(), 15)
	return &s
}

func TestSnapshotRoundTrip(t *testing.T) {
	s := threeProducers()
	golden := unhex(t, snapshotOfThree)
	if got := s.snapshot(16).content; !bytes.Equal(got, golden) {
		t.Fatalf("wrote\n%x, want\n%x", got, golden)
	}
	fsys := vfs.NewMem()
	mustMkdir(t, fsys, "p")
	if err := s.snapshot(16).write(fsys, "p"); err != nil {
		t.Fatal(err)
	}
	var back producerState
	if damagedFiles, err := back.load(fsys, "p", 0, 100, 5); err != nil || damagedFiles != nil {
		t.Fatal(damagedFiles, err)
	}
	if back.mapEnd != 16 || len(back.producers) != 3 {
		t.Fatalf("loaded %+v", back)
	}
	if first, _ := back.firstOpenTxn(); first != 15 {
		t.Fatalf("first open transaction at %d, want 15", first)
	}
	if dup, isDup, err := back.check(sent{pid: 1, epoch: 2, count: 5}.batch(), 6, true); !isDup || err != nil || dup.BaseOffset != 10 {
		t.Fatal("the last batch is not known any more:", dup, err)
	}
	if !bytes.Equal(back.snapshot(16).content, golden) {
		t.Fatal("the loaded state does not write the same snapshot")
	}
	back.expire(5+99, 100)
	if len(back.producers) != 3 {
		t.Fatal("expiry does not count from the time of loading")
	}
}

// Five batches may be on their way when the broker ends: each is recognised after a restart.
func TestSnapshotKeepsTheLastFiveBatches(t *testing.T) {
	var s, back producerState
	batch := func(i int) sent { return sent{pid: 7, epoch: 1, seq: int32(2 * i), count: 2} }
	for i := range 7 {
		s.update(batch(i).batch(), ids.Offset(2*i))
	}
	fsys := vfs.NewMem()
	mustMkdir(t, fsys, "p")
	if err := s.snapshot(14).write(fsys, "p"); err != nil {
		t.Fatal(err)
	}
	if damagedFiles, err := back.load(fsys, "p", 0, 14, 5); err != nil || damagedFiles != nil {
		t.Fatal(damagedFiles, err)
	}
	for i := range 7 {
		dup, isDup, _ := back.check(batch(i).batch(), 6, true)
		if isDup != (i >= 2) || isDup && dup.BaseOffset != ids.Offset(2*i) {
			t.Errorf("batch %d sent again: recognised %v, at %d", i, isDup, dup.BaseOffset)
		}
	}
	if _, isDup, err := back.check(batch(7).batch(), 6, true); isDup || err != nil {
		t.Error("the next batch:", isDup, err)
	}
}

func mustMkdir(t testing.TB, fsys vfs.FS, dir string) {
	t.Helper()
	if err := fsys.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
}

func TestSnapshotChoice(t *testing.T) {
	states := map[ids.Offset]*producerState{}
	for _, at := range []ids.Offset{5, 10, 20, 30} {
		states[at] = &producerState{}
		states[at].update(sent{pid: ids.ProducerID(at)}.batch(), at-1)
	}
	for _, c := range []struct {
		rule       string
		start, end ids.Offset
		damage     []ids.Offset
		loads      ids.Offset // 0: none
		left       []ids.Offset
		complaints int
	}{
		{"the newest", 0, 100, nil, 30, []ids.Offset{5, 10, 20, 30}, 0},
		{"the newest that does not go beyond the end", 0, 29, nil, 20, []ids.Offset{5, 10, 20}, 0},
		{"one at the end itself", 0, 30, nil, 30, []ids.Offset{5, 10, 20, 30}, 0},
		{"those at the start and below go", 10, 100, nil, 30, []ids.Offset{20, 30}, 0},
		{"a damaged one is removed and the one before serves", 0, 100, []ids.Offset{30, 20}, 10, []ids.Offset{5, 10}, 2},
		{"none left: from the start", 30, 100, nil, 0, nil, 0},
	} {
		t.Run(c.rule, func(t *testing.T) {
			fsys := vfs.NewMem()
			mustMkdir(t, fsys, "p")
			for at, s := range states {
				p := s.snapshot(at)
				if slices.Contains(c.damage, at) {
					p.content[len(p.content)-1] ^= 1
				}
				if err := p.write(fsys, "p"); err != nil {
					t.Fatal(err)
				}
			}
			s := threeProducers() // whatever was there before is gone after
			complaints, err := s.load(fsys, "p", c.start, c.end, 0)
			if err != nil || len(complaints) != c.complaints {
				t.Fatal(complaints, err)
			}
			for _, e := range complaints {
				if !errors.Is(e, errDamagedFile) {
					t.Fatal(e)
				}
			}
			if left, _ := listProducerSnapshots(fsys, "p"); !slices.Equal(left, c.left) {
				t.Fatalf("left %v, want %v", left, c.left)
			}
			wantEnd, wantIDs := c.start, []ids.ProducerID(nil)
			if c.loads > 0 {
				wantEnd, wantIDs = c.loads, []ids.ProducerID{ids.ProducerID(c.loads)}
			}
			if got := slices.Sorted(maps.Keys(s.producers)); s.mapEnd != wantEnd || !slices.Equal(got, wantIDs) || s.txns != nil {
				t.Fatalf("end %d, producers %v, transactions %v", s.mapEnd, got, s.txns)
			}
		})
	}
}

func TestDamagedSnapshots(t *testing.T) {
	good := unhex(t, snapshotOfThree)
	restamp := func(b []byte) []byte {
		c := crc32.Checksum(b[snapshotCRCFrom:], snapshotCRC)
		b[2], b[3], b[4], b[5] = byte(c>>24), byte(c>>16), byte(c>>8), byte(c)
		return b
	}
	edit := func(f func([]byte) []byte) []byte { return f(bytes.Clone(good)) }
	for name, b := range map[string][]byte{
		"empty":             {},
		"half a head":       good[:9],
		"torn":              good[:len(good)-1],
		"another version":   edit(func(b []byte) []byte { b[1] = 2; return b }),
		"a flipped bit":     edit(func(b []byte) []byte { b[40] ^= 4; return b }),
		"a count of 2^32-1": edit(func(b []byte) []byte { copy(b[6:], "\xff\xff\xff\xff"); return restamp(b) }),
		"bytes too many":    edit(func(b []byte) []byte { return restamp(append(b, 0)) }),
		"a producer twice":  edit(func(b []byte) []byte { copy(b[56:64], b[10:18]); return restamp(b) }),
		"producer -1":       edit(func(b []byte) []byte { copy(b[10:], "\xff\xff\xff\xff\xff\xff\xff\xff"); return restamp(b) }),
		"a negative delta":  edit(func(b []byte) []byte { b[32] = 0x80; return restamp(b) }),
		"a first offset <0": edit(func(b []byte) []byte { b[34] = 1; return restamp(b) }),
	} {
		if _, err := decodeProducerSnapshot(b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRemoveSnapshots(t *testing.T) {
	fsys := vfs.NewMem()
	mustMkdir(t, fsys, "p")
	for _, at := range []ids.Offset{1, 2, 3, 4} {
		if err := (&producerState{}).snapshot(at).write(fsys, "p"); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeProducerSnapshots(fsys, "p", 2, 4); err != nil {
		t.Fatal(err)
	}
	if left, err := listProducerSnapshots(fsys, "p"); err != nil || !slices.Equal(left, []ids.Offset{1, 4}) {
		t.Fatal(left, err)
	}
	if left, err := listProducerSnapshots(fsys, "missing"); err != nil || left != nil {
		t.Fatal(left, err)
	}
}

func FuzzProducerSnapshot(f *testing.F) {
	f.Add(unhex(f, kafkaSnapshot))
	f.Add(unhex(f, snapshotOfThree))
	f.Add([]byte{0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= snapshotHeadBytes { // let the fuzzer past the CRC
			c := crc32.Checksum(b[snapshotCRCFrom:], snapshotCRC)
			b[2], b[3], b[4], b[5] = byte(c>>24), byte(c>>16), byte(c>>8), byte(c)
		}
		producers, err := decodeProducerSnapshot(b)
		if err != nil {
			return
		}
		// What can be read is written again and read as the same.
		again := (&producerState{producers: producers}).snapshot(0).content
		back, err := decodeProducerSnapshot(again)
		if err != nil || !reflect.DeepEqual(back, producers) {
			t.Fatalf("%x: %v", again, err)
		}
	})
}
