package record

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// kafkaBatches returns the batches of a segment that Apache Kafka 4.3.1 wrote, as its
// own producer sent them.
func kafkaBatches(t testing.TB, name string) []Batch {
	t.Helper()
	return batchesOf(t, "kafka-4.3.1", name)
}

// batchesOf returns the batches that a client sent and Kafka only stamped.
func batchesOf(t testing.TB, client, name string) []Batch {
	t.Helper()
	p, err := os.ReadFile(filepath.Join("testdata", client, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	var batches []Batch
	for len(p) > 0 {
		var b Batch
		if b, p, err = First(p); err != nil {
			t.Fatalf("after %d batches: %v", len(batches), err)
		}
		batches = append(batches, b)
	}
	return batches
}

// consoleRecord is the i-th record that the console producer was given.
func consoleRecord(i int, codec Codec) made {
	switch i {
	case 0:
		return made{key: fmt.Appendf(nil, "key-%s", codec), value: []byte("value one"), headers: []RecordHeader{{"h1", []byte("v1")}, {"h2", nil}}}
	case 1:
		return made{value: []byte("value two, no key"), headers: []RecordHeader{{"h", []byte{}}}}
	case 2:
		return made{key: []byte("key3"), headers: []RecordHeader{{"x", []byte("y")}}}
	default:
		n := i - 2
		return made{
			key:     fmt.Appendf(nil, "key-%d", n),
			value:   fmt.Appendf(nil, "value %d of a batch that %s compresses, value %d again", n, codec, n),
			headers: []RecordHeader{{"n", fmt.Append(nil, n)}},
		}
	}
}

// The bytes of Kafka's own producer, 303 records with each codec, are what we take
// them for.
func TestKafkaProducersBatches(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		t.Run(codec.String(), func(t *testing.T) {
			n := 0
			for _, b := range kafkaBatches(t, codec.String()) {
				if !b.CheckCRC() || b.Attributes().Codec() != codec {
					t.Fatalf("CRC good: %v, attributes %#x", b.CheckCRC(), b.Attributes())
				}
				for r, err := range b.Records() {
					if err != nil {
						t.Fatal(err)
					}
					want := consoleRecord(n, codec)
					want.delta, want.timestamp = r.OffsetDelta, r.Timestamp
					if err := checkRecord(&r, b.BaseOffset(), &want); err != nil {
						t.Fatalf("record %d: %v", n, err)
					}
					if int(r.Offset) != n {
						t.Fatalf("record %d has offset %d", n, r.Offset)
					}
					n++
				}
			}
			if n != 303 {
				t.Fatalf("%d records", n)
			}
		})
	}
}

// They validate as they were sent, and come out unchanged.
func TestKafkaProducersBatchesValidate(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		for _, b := range kafkaBatches(t, codec.String()) {
			sent := append(Batch{}, b...)
			sent.SetBaseOffset(0)
			lim := openLimits()
			lim.Now = b.MaxTimestamp()
			got, err := Validate(sent, lim)
			if err != nil {
				t.Fatalf("%s: %v", codec, err)
			}
			got.SetBaseOffset(b.BaseOffset())
			if !bytes.Equal(got, b) {
				t.Errorf("%s: changed", codec)
			}
		}
	}
}

// Building the same records gives the same bytes, but for what compresses them.
func TestBuilderMakesKafkasBytes(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		for _, want := range kafkaBatches(t, codec.String()) {
			b := NewBuilder()
			b.BaseOffset, b.LeaderEpoch = want.BaseOffset(), want.LeaderEpoch()
			b.ProducerID, b.ProducerEpoch, b.BaseSequence = want.ProducerID(), want.ProducerEpoch(), want.BaseSequence()
			for r, err := range want.Records() {
				if err != nil {
					t.Fatal(err)
				}
				b.Append(r.Timestamp, r.Key, r.Value, slices.Collect(r.Headers())...)
			}
			got := mustBuild(t, b, None)
			if codec == None && !bytes.Equal(got, want) {
				t.Fatalf("built\n% x\nwant\n% x", []byte(got[:100]), []byte(want[:100]))
			}
			plain, _, err := inflatePayload(t, want)
			if err != nil || !bytes.Equal(got.payload(), plain) {
				t.Fatalf("%s: the records differ: %v", codec, err)
			}
		}
	}
}

func inflatePayload(t *testing.T, b Batch) ([]byte, int, error) {
	if b.Attributes().Codec() == None {
		return b.payload(), 0, nil
	}
	return inflateAll(t, b.Attributes().Codec(), b.payload())
}

// Two transactions of a producer that speaks KIP-890: each marker has the epoch
// after that of the records it ends, and is byte for byte what we write.
func TestKafkaTransactionMarkers(t *testing.T) {
	batches := kafkaBatches(t, "txn")
	if len(batches) != 4 {
		t.Fatalf("%d batches", len(batches))
	}
	for i := 0; i < len(batches); i += 2 {
		data, marker := batches[i], batches[i+1]
		if a := data.Attributes(); !a.Transactional() || a.Control() {
			t.Errorf("batch %d: attributes %#x", i, a)
		}
		if _, err := data.EndTxnMarker(); err != ErrNoMarker {
			t.Errorf("batch %d: %v", i, err)
		}
		m, err := marker.EndTxnMarker()
		want := EndTxnMarker{ProducerID: data.ProducerID(), ProducerEpoch: data.ProducerEpoch() + 1, Commit: true}
		if err != nil || m != want {
			t.Errorf("batch %d: %+v, %v, want %+v", i+1, m, err, want)
		}
		ours := m.Build(marker.BaseTimestamp())
		ours.SetBaseOffset(marker.BaseOffset())
		ours.SetLeaderEpoch(marker.LeaderEpoch())
		if !bytes.Equal(ours, marker) {
			t.Errorf("our marker\n% x\nKafka's\n% x", []byte(ours), []byte(marker))
		}
	}
}

// franz-go sends snappy without a frame and lz4 in blocks of 4 MiB with checksums,
// librdkafka has codecs of its own.
func TestOtherProducersBatches(t *testing.T) {
	for _, client := range []string{"franz-go-1.22.2", "librdkafka-2.0.2"} {
		for codec := None; codec <= Zstd; codec++ {
			n, seen := 0, false
			for _, b := range batchesOf(t, client, codec.String()) {
				sent := append(Batch{}, b...)
				sent.SetBaseOffset(0)
				lim := openLimits()
				lim.Now = b.MaxTimestamp()
				if _, err := Validate(sent, lim); err != nil {
					t.Fatalf("%s, %s: %v", client, codec, err)
				}
				seen = seen || b.Attributes().Codec() == codec // not where it would gain nothing
				for r, err := range b.Records() {
					if err != nil {
						t.Fatalf("%s, %s: %v", client, codec, err)
					}
					want := fmt.Sprintf("value %d of a batch that %s compresses, value %d again", n, codec, n)
					if string(r.Key) != fmt.Sprintf("key-%d", n) || string(r.Value) != want || r.HeaderCount() != 1 {
						t.Fatalf("%s, %s: record %d is %q: %q, %d headers", client, codec, n, r.Key, r.Value, r.HeaderCount())
					}
					n++
				}
			}
			if n != 20 || !seen {
				t.Errorf("%s, %s: %d records, codec seen: %v", client, codec, n, seen)
			}
		}
	}
}
