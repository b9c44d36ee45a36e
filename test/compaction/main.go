// Command compaction writes the same records to any broker, reads back what its log cleaner has left, and says what that must be.
//
//	compaction write BOOTSTRAP TOPIC CODEC IDEMPOTENT RECORDS [CONFIG=VALUE...]
//	                                               makes the topic and writes the records; the topic may be cleaned meanwhile
//	compaction roll BOOTSTRAP TOPIC ROUND          writes a record so much younger that a new segment begins with it; prints its offset
//	compaction read BOOTSTRAP TOPIC                prints OFFSET KEY VALUE for every record
//	compaction want RECORDS ROUNDS TOMBSTONES      prints what read has to, once everything below the last roll has been cleaned;
//	                                               TOMBSTONES is kept or gone
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	keys       = 20_000
	oneInTombs = 10 // of the records, one is a tombstone
	rollAfter  = 2 * time.Hour
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	err := run(ctx, os.Args[1:], out)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compaction:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	switch {
	case len(args) >= 6 && args[0] == "write":
		n, err := strconv.Atoi(args[5])
		if err != nil {
			return err
		}
		return write(ctx, args[1], args[2], args[3], args[4] == "true", n, args[6:])
	case len(args) == 4 && args[0] == "roll":
		round, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		return roll(ctx, args[1], args[2], round, out)
	case len(args) == 3 && args[0] == "read":
		return read(ctx, args[1], args[2], out)
	case len(args) == 4 && args[0] == "want":
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		rounds, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return want(n, rounds, args[3] == "kept", out)
	}
	return fmt.Errorf("usage: see main.go")
}

// records calls each with record 0 to n-1: the same every time. A nil value is a tombstone.
func records(n int, each func(i int, key string, value []byte) error) error {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		key := fmt.Sprintf("key-%d", rng.IntN(keys))
		var value []byte
		if rng.IntN(oneInTombs) > 0 {
			value = []byte(fmt.Sprintf("%d:%s", i, strings.Repeat("x", rng.IntN(80))))
		}
		if err := each(i, key, value); err != nil {
			return err
		}
	}
	return nil
}

// began is when the first record was made, by its timestamp: before all rolls, and after no clock of a broker.
func began() time.Time { return time.Now().Add(-24 * time.Hour).Truncate(time.Hour) }

func client(bootstrap string, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(bootstrap))...)
}

func write(ctx context.Context, bootstrap, topic, codec string, idempotent bool, n int, configs []string) error {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	opts := []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codecs[codec]),
		kgo.ProducerBatchMaxBytes(16384), kgo.ProducerLinger(20 * time.Millisecond), kgo.MaxBufferedRecords(20_000),
		// One batch after the other: what an error has sent again must not change the order.
		kgo.MaxProduceRequestsInflightPerBroker(1),
	}
	if !idempotent {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	cl, err := client(bootstrap, opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	set := map[string]*string{"cleanup.policy": kadm.StringPtr("compact"), "segment.ms": kadm.StringPtr(fmt.Sprint(time.Hour.Milliseconds()))}
	for _, c := range configs {
		name, value, _ := strings.Cut(c, "=")
		set[name] = &value
	}
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, set, topic); err != nil {
		return fmt.Errorf("creating %s: %w", topic, err)
	}
	start := began()
	failed := make(chan error, 1)
	err = records(n, func(i int, key string, value []byte) error {
		select {
		case err := <-failed:
			return err
		default:
		}
		r := &kgo.Record{Topic: topic, Key: []byte(key), Value: value, Timestamp: start.Add(time.Duration(i) * time.Microsecond)}
		cl.Produce(ctx, r, func(r *kgo.Record, err error) {
			if err == nil && r.Offset != int64(i) {
				err = fmt.Errorf("record %d is at offset %d", i, r.Offset)
			}
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
		return nil
	})
	if err != nil {
		return err
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func rollKey(round int) string { return fmt.Sprintf("roll-%d", round%2) }

func roll(ctx context.Context, bootstrap, topic string, round int, out io.Writer) error {
	cl, err := client(bootstrap, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	r := &kgo.Record{Topic: topic, Key: []byte(rollKey(round)), Value: []byte(fmt.Sprint(round)), Timestamp: began().Add(time.Duration(round) * rollAfter)}
	if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, r.Offset)
	return err
}

func read(ctx context.Context, bootstrap, topic string, out io.Writer) error {
	cl, err := client(bootstrap, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	end, _ := ends.Lookup(topic, 0)
	if end.Err != nil || end.Offset == 0 {
		return fmt.Errorf("end of %s: %d, %v", topic, end.Offset, end.Err)
	}
	for last := int64(-1); last < end.Offset-1; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		for r := range fetches.RecordsAll() {
			if r.Offset <= last {
				return fmt.Errorf("offset %d after %d", r.Offset, last)
			}
			last = r.Offset
			if err := printRecord(out, r.Offset, string(r.Key), r.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

func printRecord(out io.Writer, offset int64, key string, value []byte) error {
	text := "(null)"
	if value != nil {
		text = string(value)
	}
	_, err := fmt.Fprintf(out, "%d %s %s\n", offset, key, text)
	return err
}

// want applies the rules: of each key the last record, and of those the tombstones only where they are kept. The last
// roll is in the active segment.
func want(n, rounds int, tombstones bool, out io.Writer) error {
	type survivor struct {
		offset int64
		value  []byte
	}
	last := make(map[string]survivor)
	if err := records(n, func(i int, key string, value []byte) error {
		last[key] = survivor{int64(i), value}
		return nil
	}); err != nil {
		return err
	}
	var left []int64
	at := make(map[int64]string)
	for key, s := range last {
		if s.value != nil || tombstones {
			left, at[s.offset] = append(left, s.offset), key
		}
	}
	slices.Sort(left)
	for _, o := range left {
		if err := printRecord(out, o, at[o], last[at[o]].value); err != nil {
			return err
		}
	}
	cleaned := make(map[string]int)
	for round := 1; round < rounds; round++ {
		cleaned[rollKey(round)] = round
	}
	for round := 1; round <= rounds; round++ {
		if round < rounds && cleaned[rollKey(round)] != round {
			continue
		}
		if err := printRecord(out, int64(n+round-1), rollKey(round), []byte(fmt.Sprint(round))); err != nil {
			return err
		}
	}
	return nil
}
