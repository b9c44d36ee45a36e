package runtime

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

// build makes a batch of one record per pair of key and value; an empty value is a tombstone.
func build(codec record.Codec, timestamp int64, pairs ...string) record.Batch {
	b := record.NewBuilder()
	for i := 0; i < len(pairs); i += 2 {
		value := []byte(pairs[i+1])
		if len(value) == 0 {
			value = nil
		}
		b.Append(timestamp+int64(i/2), []byte(pairs[i]), value)
	}
	batch, err := b.Build(codec)
	if err != nil {
		panic(err)
	}
	return batch
}

// TestLoad: everything is replayed in order and with its timestamp, however it is stored.
func TestLoad(t *testing.T) {
	f := newFixture(t, 1, partition.DurabilityOS)
	p := f.partitions[0]
	appendTo(t, p, build(record.None, 100, "gone", "1", "gone too", "1", "a", "1"))
	appendTo(t, p, build(record.Zstd, 200, "b", strings.Repeat("b", 1<<20), "a", "2"))
	appendTo(t, p, build(record.LZ4, 300, "a", "", "c", "3"))
	appendTo(t, p, record.EndTxnMarker{ProducerID: 1, Commit: true}.Build(400))
	appendTo(t, p, build(record.None, 500, "d", strings.Repeat("d", loadBytes), "e", "5"))
	appendTo(t, p, build(record.Gzip, 600, "f", strings.Repeat("f", 1000)))
	if _, err := p.DeleteRecords(2); err != nil {
		t.Fatal(err)
	}
	f.elect(0, 1)
	f.want(t, put{"g", "7"}, "ok")
	want := []string{
		"a=1 at 102", "b=bbbbbbbbbb at 200", "a=2 at 201", "a deleted at 300", "c=3 at 301",
		"d=dddddddddd at 500", "e=5 at 501", "f=ffffffffff at 600",
	}
	k := f.shard(0)
	if got := k.replayed[:len(k.replayed)-1]; !slices.Equal(got, want) {
		t.Errorf("replayed %q, want %q", got, want)
	}
	if _, there := k.values["a"]; there || len(k.values["b"]) != 1<<20 || k.values["f"] != strings.Repeat("f", 1000) {
		t.Error("the values are others")
	}
	f.Stop() // so that the line is there
	f.wantLogged(t, "level=INFO", "loaded a partition", "partition=__t-0 epoch=1 records=8 bytes=")
}

// TestLoadedShardKeepsWhatItWasGiven: keys and values are not views of a buffer that is used again.
func TestLoadedShardKeepsWhatItWasGiven(t *testing.T) {
	f := newFixture(t, 1, partition.DurabilityAuto)
	const batches = 500 // of which the uncompressed ones alone are more than is read at a time
	for i := range batches {
		appendTo(t, f.partitions[0], build(record.Codec(i%5), 1, fmt.Sprint("key ", i), strings.Repeat(fmt.Sprint(i%10), 10_000)))
	}
	kept := &keeper{kv: kv{loaded: make(chan struct{})}}
	f.cfg.NewShard = func(int32) Shard { return kept }
	f.Elected(0, 0)
	<-kept.loaded
	if len(kept.keys) != batches {
		t.Fatalf("%d records", len(kept.keys))
	}
	for i := range batches {
		if string(kept.keys[i]) != fmt.Sprint("key ", i) || string(kept.values[i]) != strings.Repeat(fmt.Sprint(i%10), 10_000) {
			t.Fatalf("record %d is %q with a value of %d bytes, %.10q", i, kept.keys[i], len(kept.values[i]), kept.values[i])
		}
	}
}

func TestOwned(t *testing.T) {
	for _, tc := range []struct{ key, value []byte }{
		{nil, nil}, {[]byte{}, nil}, {nil, []byte{}}, {[]byte("k"), nil}, {nil, []byte("v")}, {[]byte("k"), []byte("v")},
	} {
		k, v := owned(tc.key, tc.value)
		if string(k) != string(tc.key) || string(v) != string(tc.value) || (k == nil) != (tc.key == nil) || (v == nil) != (tc.value == nil) {
			t.Errorf("%v, %v became %v, %v", tc.key, tc.value, k, v)
		}
		if longer := append(k, 'x'); string(v) != string(tc.value) || len(longer) == 0 {
			t.Errorf("a longer key overwrites the value: %q", v)
		}
	}
}

func TestRequestWhileLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, partition.DurabilityAuto)
		gate := make(chan struct{})
		f.prepare = func(*kv) { <-gate }
		f.Elected(0, 0)
		wantError(t, f.send(0, get{"a"}), kerr.CoordinatorLoadInProgress)
		f.Each(note{"n"})
		close(gate)
		synctest.Wait()
		f.want(t, get{"n"}, "")
	})
}

// TestLoadedEffects: what the shard wants when it is loaded is done before the first request.
func TestLoadedEffects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, partition.DurabilityAuto)
		f.prepare = func(k *kv) { k.onLoaded = Effects{Records: []Record{{[]byte("a"), []byte("loaded")}}} }
		f.Elected(0, 0)
		synctest.Wait()
		f.want(t, get{"a"}, "loaded")
	})
}

// TestUncommittedWhenLoaded: replies wait for what was loaded, too.
func TestUncommittedWhenLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, partition.DurabilityFsync)
		unstall := f.stall()
		defer unstall()
		appendTo(t, f.partitions[0], build(record.None, 1, "a", "1"))
		f.Elected(0, 0)
		synctest.Wait()
		read := f.send(0, get{"a"})
		synctest.Wait()
		if read.ended() {
			t.Fatal("told what is not committed")
		}
		unstall()
		if <-read.done; read.response != "1" {
			t.Fatal(read.response, read.err)
		}
	})
}

func TestResignedWhileLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, partition.DurabilityAuto)
		for range 5 {
			appendTo(t, f.partitions[0], build(record.None, 1, "a", "1"))
		}
		gate := make(chan struct{})
		f.prepare = func(k *kv) {
			k.onReplay = func() error {
				<-gate
				return nil
			}
		}
		f.Elected(0, 0)
		synctest.Wait()
		f.Resigned(0)
		wantError(t, f.send(0, get{"a"}), kerr.NotCoordinator)
		close(gate)
		synctest.Wait()
		if k := f.shard(0); len(k.replayed) != 1 || isClosed(k.loaded) {
			t.Fatalf("the load went on: %q", k.replayed)
		}
		if strings.Contains(f.logged.String(), "loaded") {
			t.Fatal(f.logged.String())
		}
	})
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestUnreadablePartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, partition.DurabilityAuto)
		appendTo(t, f.partitions[0], build(record.None, 1, "a", "1"))
		f.fs.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpRead}, Path: "*.log", Err: syscall.EIO})
		f.Elected(0, 0)
		synctest.Wait()
		wantError(t, f.send(0, get{"a"}), kerr.NotCoordinator)
		f.wantLogged(t, "level=ERROR", "cannot be read, its requests are refused until the next election", "partition=__t-0", "input/output error")
	})
}

func TestDamagedBatch(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func(record.Batch)
		logged string
	}{
		{"a bit", func(b record.Batch) { b[len(b)-2] ^= 1 }, "checksum"},
		{"written so", func(b record.Batch) {
			binary.BigEndian.PutUint32(b[57:], 2) // the count of records
			binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
		}, "record 1 of 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, 1, partition.DurabilityAuto)
				b := build(record.None, 1, "a", "1")
				tc.damage(b)
				appendTo(t, f.partitions[0], b)
				f.Elected(0, 0)
				synctest.Wait()
				wantError(t, f.send(0, get{"a"}), kerr.NotCoordinator)
				f.wantLogged(t, "level=ERROR", "cannot be read", tc.logged)
			})
		})
	}
}

// TestRefusedRecords: a record that the shard refuses is left out; however many there are, the log line stays short.
func TestRefusedRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1, partition.DurabilityAuto)
		for i := range 100 {
			appendTo(t, f.partitions[0], build(record.None, 1, "a", fmt.Sprint(i)))
		}
		n := 0
		f.prepare = func(k *kv) {
			k.onReplay = func() error {
				if n++; n <= 99 {
					return errors.New("what is this")
				}
				return nil
			}
		}
		f.Elected(0, 0)
		synctest.Wait()
		f.want(t, get{"a"}, "99")
		f.wantLogged(t, "level=ERROR", "left out", "count=99", "offset 0: what is this", "offset 2: what is this", "records=100")
		if strings.Contains(f.logged.String(), "offset 3") {
			t.Fatal(f.logged.String())
		}
	})
}

// keeper is a shard that keeps the slices that it is given.
type keeper struct {
	kv
	keys, values [][]byte
}

func (k *keeper) Replay(key, value []byte, _ int64) error {
	k.keys, k.values = append(k.keys, key), append(k.values, value)
	return nil
}
