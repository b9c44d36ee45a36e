// Command kgo creates a topic, writes the records of a file to it with franz-go, reads them back into another file and
// looks offsets up by time: kgo BOOTSTRAP TOPIC CODEC IDEMPOTENT WANT GOT; the files are the judge's.
// KEEP_TOPIC in the environment leaves the topic; READ_ONLY reads one that is there.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const partitions = 3

func main() {
	if len(os.Args) != 7 {
		fmt.Fprintln(os.Stderr, "usage: kgo BOOTSTRAP TOPIC CODEC IDEMPOTENT WANT GOT")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := run(ctx, os.Args[1], os.Args[2], os.Args[3], os.Args[4] == "true", os.Args[5], os.Args[6]); err != nil {
		fmt.Fprintln(os.Stderr, "kgo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bootstrap, topic, codec string, idempotent bool, want, got string) error {
	records, err := readFile(topic, want)
	if err != nil {
		return err
	}
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codecs[codec]), kgo.ProducerBatchMaxBytes(1048588), kgo.ProducerLinger(5 * time.Millisecond),
	}
	if !idempotent {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	if os.Getenv("READ_ONLY") != "" {
		if err := read(ctx, bootstrap, topic, got, len(records)); err != nil {
			return err
		}
		return lookUp(ctx, adm, topic, records)
	}
	forever := "-1"
	if _, err := adm.CreateTopic(ctx, partitions, 1, map[string]*string{"retention.ms": &forever}, topic); err != nil {
		return err
	}
	if err := write(ctx, cl, records); err != nil {
		return err
	}
	if err := read(ctx, bootstrap, topic, got, len(records)); err != nil {
		return err
	}
	if err := lookUp(ctx, adm, topic, records); err != nil {
		return err
	}
	for _, protocol := range []string{"classic", "consumer"} {
		if err := inAGroup(ctx, bootstrap, topic, len(records), protocol); err != nil {
			return err
		}
	}
	if os.Getenv("KEEP_TOPIC") != "" {
		return nil
	}
	gone, err := adm.DeleteTopics(ctx, topic)
	return errors.Join(err, gone.Error())
}

func write(ctx context.Context, cl *kgo.Client, records []*kgo.Record) error {
	var failed atomic.Pointer[error]
	for _, r := range records {
		cl.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func read(ctx context.Context, bootstrap, topic, got string, total int) error {
	from := map[int32]kgo.Offset{}
	for p := range int32(partitions) {
		from[p] = kgo.NewOffset().AtStart()
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		return err
	}
	defer cl.Close()
	f, err := os.Create(got)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 1<<20)
	next := map[int32]int64{}
	for n := 0; n < total; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read %d of %d: %w", n, total, err)
		}
		for _, r := range fetches.Records() {
			if r.Offset != next[r.Partition] {
				return fmt.Errorf("partition %d: offset %d instead of %d", r.Partition, r.Offset, next[r.Partition])
			}
			next[r.Partition]++
			out.Write(encode(r))
			n++
		}
	}
	return errors.Join(out.Flush(), f.Close())
}

// lookUp asks for the first record at or after some times.
func lookUp(ctx context.Context, adm *kadm.Client, topic string, records []*kgo.Record) error {
	for _, at := range []int{0, 1, len(records) / 3, len(records) / 2, len(records) - partitions} {
		target := records[at].Timestamp
		listed, err := adm.ListOffsetsAfterMilli(ctx, target.UnixMilli(), topic)
		if err := errors.Join(err, listed.Error()); err != nil {
			return err
		}
		for p := range int32(partitions) {
			expected := int64(0)
			for _, r := range records {
				if r.Partition == p && r.Timestamp.Before(target) {
					expected++
				}
			}
			if o, _ := listed.Lookup(topic, p); o.Offset != expected {
				return fmt.Errorf("partition %d at %v: offset %d instead of %d", p, target, o.Offset, expected)
			}
		}
	}
	return nil
}

func readFile(topic, name string) ([]*kgo.Record, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	number := func(size int) int64 {
		b := make([]byte, size)
		if err == nil {
			_, err = io.ReadFull(in, b)
		}
		if size == 4 {
			return int64(int32(binary.BigEndian.Uint32(b)))
		}
		return int64(binary.BigEndian.Uint64(b))
	}
	blob := func() []byte {
		n := number(4)
		if err != nil || n < 0 {
			return nil
		}
		b := make([]byte, n)
		_, err = io.ReadFull(in, b)
		return b
	}
	var records []*kgo.Record
	for {
		r := &kgo.Record{Topic: topic, Partition: int32(number(4))}
		if err == io.EOF {
			return records, nil
		}
		r.Timestamp = time.UnixMilli(number(8))
		r.Key, r.Value = blob(), blob()
		for range number(4) {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: string(blob()), Value: blob()})
		}
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
}

func encode(r *kgo.Record) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(r.Partition))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Timestamp.UnixMilli()))
	b = appendBlob(appendBlob(b, r.Key), r.Value)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Headers)))
	for _, h := range r.Headers {
		b = appendBlob(appendBlob(b, []byte(h.Key)), h.Value)
	}
	return b
}

func appendBlob(b, v []byte) []byte {
	if v == nil {
		return binary.BigEndian.AppendUint32(b, 1<<32-1)
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}
