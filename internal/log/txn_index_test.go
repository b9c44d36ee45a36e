package log

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

func allAborted(t testing.TB, fsys vfs.FS, path string) []abortedTxn {
	t.Helper()
	var all []abortedTxn
	if err := readAborted(fsys, path, func(a abortedTxn) bool { all = append(all, a); return true }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTxnIndex(t *testing.T) {
	const path = "p/00000000000000000000.txnindex"
	fsys := vfs.NewMem()
	mustMkdir(t, fsys, "p")
	if got := allAborted(t, fsys, path); got != nil {
		t.Fatal("a missing index has no entries:", got)
	}
	if err := truncateAborted(fsys, path, 0); err != nil {
		t.Fatal(err)
	}
	var want []abortedTxn
	for i := range ids.Offset(300) { // more than one buffer of the reader
		a := abortedTxn{producerID: ids.ProducerID(i), firstOffset: 10 * i, lastOffset: 10*i + 5, lastStable: 10 * i}
		if err := appendAborted(fsys, path, a); err != nil {
			t.Fatal(err)
		}
		want = append(want, a)
	}
	if got := allAborted(t, fsys, path); !slices.Equal(got, want) {
		t.Fatalf("read %d entries, wrote %d", len(got), len(want))
	}
	if err := truncateAborted(fsys, path, 26); err != nil {
		t.Fatal(err)
	}
	if got := allAborted(t, fsys, path); !slices.Equal(got, want[:3]) {
		t.Fatal("markers below 26 stay:", got)
	}
}

// The bytes were read by Apache Kafka 4.3.1's kafka-dump-log as
// version: 0 producerId: 7 firstOffset: 10 lastOffset: 13 lastStableOffset: 11.
func TestTxnIndexBytes(t *testing.T) {
	got := abortedTxn{producerID: 7, firstOffset: 10, lastOffset: 13, lastStable: 11}.encode(nil)
	want := unhex(t, "0000 0000000000000007 000000000000000a 000000000000000d 000000000000000b")
	if !bytes.Equal(got, want) {
		t.Fatalf("%x, want %x", got, want)
	}
}

func TestTornEntryIsWrittenOver(t *testing.T) {
	fsys := vfs.NewMem()
	mustMkdir(t, fsys, "p")
	a := abortedTxn{producerID: 7, firstOffset: 10, lastOffset: 13, lastStable: 11}
	putFile(t, fsys, "p/i", string(a.encode(nil))+"torn")
	if got := allAborted(t, fsys, "p/i"); !slices.Equal(got, []abortedTxn{a}) {
		t.Fatal(got)
	}
	b := abortedTxn{producerID: 8, firstOffset: 20, lastOffset: 23, lastStable: 21}
	if err := appendAborted(fsys, "p/i", b); err != nil {
		t.Fatal(err)
	}
	if got := allAborted(t, fsys, "p/i"); !slices.Equal(got, []abortedTxn{a, b}) {
		t.Fatal(got)
	}
}

func TestDamagedTxnIndex(t *testing.T) {
	good := abortedTxn{producerID: 7, firstOffset: 10, lastOffset: 13, lastStable: 11}
	for name, a := range map[string]abortedTxn{
		"a negative producer":  {producerID: -1, firstOffset: 20, lastOffset: 21},
		"a marker too early":   {producerID: 1, firstOffset: 20, lastOffset: 19},
		"a marker not in turn": {producerID: 1, firstOffset: 9, lastOffset: 13},
	} {
		fsys := vfs.NewMem()
		mustMkdir(t, fsys, "p")
		putFile(t, fsys, "p/i", string(a.encode(good.encode(nil))))
		if err := readAborted(fsys, "p/i", func(abortedTxn) bool { return true }); !errors.Is(err, errDamagedFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	fsys := vfs.NewMem()
	mustMkdir(t, fsys, "p")
	putFile(t, fsys, "p/i", "\x00\x01"+string(good.encode(nil)[2:]))
	if err := readAborted(fsys, "p/i", func(abortedTxn) bool { return true }); !errors.Is(err, errDamagedFile) {
		t.Error("another version:", err)
	}
}
