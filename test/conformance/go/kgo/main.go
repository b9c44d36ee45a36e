// Command kgo is the conformance program of franz-go; package conform says what its verbs do. Its verb load writes for the
// groups of every client until its standard input ends; create, delete, ready,
// leader and count look after topics for the others.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/test/conformance/go/conform"
)

func main() {
	conform.Main(map[string]func(context.Context, []string) error{
		"produce": produce, "consume": consume, "member": member, "positions": positions, "recreate": recreate,
		"load": load, "create": createTopic, "delete": deleteTopic, "ready": ready, "leader": leader, "count": count,
	})
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

// dial returns a client with the options that all writers have.
func dial(bootstrap string, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(conform.Addresses(bootstrap)...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(conform.MaxBytes),
	}, opts...)...)
}

func create(ctx context.Context, cl *kgo.Client, topic string) error {
	forever := "-1"
	_, err := kadm.NewClient(cl).CreateTopic(ctx, conform.Partitions, conform.Replicas, map[string]*string{"retention.ms": &forever}, topic)
	return err
}

// createTopic waits until a deletion of it is through.
func createTopic(ctx context.Context, args []string) error {
	cl, err := dial(args[0])
	if err != nil {
		return err
	}
	defer cl.Close()
	for err = kerr.TopicAlreadyExists; errors.Is(err, kerr.TopicAlreadyExists); err = create(ctx, cl, args[1]) {
	}
	return err
}

// ready waits until every partition has a leader that answers.
func ready(ctx context.Context, args []string) error {
	cl, err := dial(args[0])
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		listed, err := kadm.NewClient(cl).ListEndOffsets(ctx, args[1])
		if err = errors.Join(err, listed.Error()); err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// leader prints who leads partition 0.
func leader(ctx context.Context, args []string) error {
	cl, err := dial(args[0])
	if err != nil {
		return err
	}
	defer cl.Close()
	topics, err := kadm.NewClient(cl).ListTopics(ctx, args[1])
	if err != nil {
		return err
	}
	p, ok := topics[args[1]].Partitions[0]
	if !ok || p.Leader < 0 {
		return errors.Join(errors.New("no leader"), topics[args[1]].Err, p.Err)
	}
	fmt.Println(p.Leader)
	return nil
}

// count prints how many records a topic has of which none is deleted.
func count(ctx context.Context, args []string) error {
	cl, err := dial(args[0])
	if err != nil {
		return err
	}
	defer cl.Close()
	listed, err := kadm.NewClient(cl).ListEndOffsets(ctx, args[1])
	if err := errors.Join(err, listed.Error()); err != nil {
		return err
	}
	n := int64(0)
	listed.Each(func(o kadm.ListedOffset) { n += o.Offset })
	fmt.Println(n)
	return nil
}

func deleteTopic(ctx context.Context, args []string) error {
	cl, err := dial(args[0])
	if err != nil {
		return err
	}
	defer cl.Close()
	gone, err := kadm.NewClient(cl).DeleteTopics(ctx, args[1])
	return errors.Join(err, gone.Error())
}

func produce(ctx context.Context, args []string) error {
	bootstrap, topic, codec, idempotent, want := args[0], args[1], args[2], args[3] == "true", args[4]
	records, err := conform.ReadFile(want)
	if err != nil {
		return err
	}
	opts := []kgo.Opt{kgo.ProducerBatchCompression(codecs[codec]), kgo.ProducerLinger(5 * time.Millisecond)}
	if !idempotent {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	cl, err := dial(bootstrap, opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := create(ctx, cl, topic); err != nil {
		return err
	}
	return write(ctx, cl, topic, records)
}

func write(ctx context.Context, cl *kgo.Client, topic string, records []conform.Record) error {
	var failed atomic.Pointer[error]
	for _, r := range records {
		k := &kgo.Record{Topic: topic, Partition: r.Partition, Timestamp: r.Time, Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		cl.Produce(ctx, k, func(_ *kgo.Record, err error) {
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

// everyPartition is an assignment from one offset on.
func everyPartition(topic string, at kgo.Offset) map[string]map[int32]kgo.Offset {
	from := map[int32]kgo.Offset{}
	for p := range int32(conform.Partitions) {
		from[p] = at
	}
	return map[string]map[int32]kgo.Offset{topic: from}
}

func consume(ctx context.Context, args []string) error {
	bootstrap, topic, got := args[0], args[1], args[3]
	total, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	cl, err := dial(bootstrap, kgo.ConsumePartitions(everyPartition(topic, kgo.NewOffset().AtStart())))
	if err != nil {
		return err
	}
	defer cl.Close()
	out, err := conform.Create(got)
	if err != nil {
		return err
	}
	for out.Count < total {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read %d of %d: %w", out.Count, total, err)
		}
		for _, r := range fetches.Records() {
			c := conform.Record{Partition: r.Partition, Time: r.Timestamp, Key: r.Key, Value: r.Value}
			for _, h := range r.Headers {
				c.Headers = append(c.Headers, conform.Header{Key: h.Key, Value: h.Value})
			}
			if err := out.Put(c, r.Offset); err != nil {
				return err
			}
		}
	}
	return out.Close()
}

// member lets go of partitions between two polls only, when everything is committed.
func member(ctx context.Context, args []string) error {
	opts := []kgo.Opt{
		kgo.ConsumeTopics(args[1]), kgo.ConsumerGroup(args[2]), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.SessionTimeout(30 * time.Second), kgo.HeartbeatInterval(500 * time.Millisecond),
	}
	if args[3] == "consumer" {
		opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer()))
	}
	cl, err := dial(args[0], opts...)
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	out := bufio.NewWriter(os.Stdout)
	for leave := conform.UntilStdinEnds(ctx); leave.Err() == nil; cl.AllowRebalance() {
		fetches := cl.PollFetches(leave)
		for _, e := range fetches.Errors() {
			if !errors.Is(e.Err, context.Canceled) {
				return e.Err
			}
		}
		for _, r := range fetches.Records() {
			fmt.Fprintln(out, r.Partition, r.Offset)
		}
		if err := errors.Join(out.Flush(), cl.CommitUncommittedOffsets(ctx)); err != nil {
			return err
		}
	}
	return nil
}

func positions(ctx context.Context, args []string) error {
	bootstrap, topic, group := args[0], args[1], args[2]
	cl, err := dial(bootstrap, kgo.ConsumePartitions(everyPartition(topic, kgo.NewOffset().AtStart())))
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := seekAndPause(ctx, cl, topic); err != nil {
		return err
	}
	adm := kadm.NewClient(cl)
	for _, text := range args[3:] {
		at, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		listed, err := adm.ListOffsetsAfterMilli(ctx, at, topic)
		if err := errors.Join(err, listed.Error()); err != nil {
			return err
		}
		listed.Each(func(o kadm.ListedOffset) { fmt.Println("time", at, o.Partition, o.Offset) })
	}
	var commit kadm.Offsets
	for p := range conform.Partitions {
		commit.AddOffset(topic, int32(p), conform.CommittedIn(p), -1)
	}
	if err := adm.CommitAllOffsets(ctx, group, commit); err != nil {
		return err
	}
	lags, err := adm.Lag(ctx, group)
	if err := errors.Join(err, lags.Error()); err != nil {
		return err
	}
	for _, l := range lags[group].Lag.Sorted() {
		fmt.Println("lag", l.Partition, l.Commit.At, l.End.Offset, l.Lag)
	}
	return nil
}

func seekAndPause(ctx context.Context, cl *kgo.Client, topic string) error {
	seek := func(offset int64) {
		to := map[int32]kgo.EpochOffset{}
		for p := range int32(conform.Partitions) {
			to[p] = kgo.EpochOffset{Epoch: -1, Offset: offset}
		}
		cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{topic: to})
	}
	started := map[int32]bool{} // the client seeks only what it reads already
	if err := each(ctx, cl, func(r *kgo.Record) bool {
		started[r.Partition] = true
		return len(started) == conform.Partitions
	}); err != nil {
		return err
	}
	seek(conform.SeekTo)
	first := map[int32]int64{}
	if err := each(ctx, cl, func(r *kgo.Record) bool {
		if _, ok := first[r.Partition]; !ok {
			first[r.Partition] = r.Offset
		}
		return len(first) == conform.Partitions
	}); err != nil {
		return err
	}
	for p, offset := range first {
		fmt.Println("seek", p, offset)
	}
	cl.PauseFetchPartitions(map[string][]int32{topic: {0}})
	seek(conform.PausedAt)
	paused, others := 0, 0
	if err := each(ctx, cl, func(r *kgo.Record) bool {
		if r.Partition == 0 {
			paused++
		} else {
			others++
		}
		return others >= conform.ReadOthers
	}); err != nil {
		return err
	}
	fmt.Println("paused 0", paused)
	cl.ResumeFetchPartitions(map[string][]int32{topic: {0}})
	return each(ctx, cl, func(r *kgo.Record) bool {
		if r.Partition == 0 {
			fmt.Println("resumed 0", r.Offset)
		}
		return r.Partition == 0
	})
}

// each polls until done says so of some record; the rest of that poll is dropped.
func each(ctx context.Context, cl *kgo.Client, done func(*kgo.Record) bool) error {
	for {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		for _, r := range fetches.Records() {
			if done(r) {
				return nil
			}
		}
	}
}

// recreate has one client write and another read all the while, by assignment. This client takes a topic with another id
// for another topic: the program has to tell it to forget the one that it knew.
func recreate(ctx context.Context, args []string) error {
	bootstrap, topic := args[0], args[1]
	writer, err := dial(bootstrap)
	if err != nil {
		return err
	}
	defer writer.Close()
	if err := create(ctx, writer, topic); err != nil {
		return err
	}
	if err := write(ctx, writer, topic, conform.Text("old", conform.OldRecords)); err != nil {
		return err
	}
	assigned := everyPartition(topic, kgo.NewOffset().AtStart())
	reader, err := dial(bootstrap, kgo.ConsumePartitions(assigned), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer reader.Close()
	if err := printRecords(ctx, reader, "old", conform.OldRecords); err != nil {
		return err
	}
	if err := deleteTopic(ctx, args); err != nil {
		return err
	}
	if err := createTopic(ctx, args); err != nil {
		return err
	}
	fmt.Println("recreated")
	err = write(ctx, writer, topic, conform.Text("new", conform.NewRecords))
	if errors.Is(err, kerr.UnknownTopicID) {
		writer.PurgeTopicsFromClient(topic)
		err = write(ctx, writer, topic, conform.Text("new", conform.NewRecords))
	}
	if err != nil {
		return err
	}
	err = printRecords(ctx, reader, "new", conform.NewRecords)
	if errors.Is(err, kerr.UnknownTopicID) {
		fmt.Println("reopened")
		reader.PurgeTopicsFromClient(topic)
		reader.AddConsumePartitions(assigned)
		err = printRecords(ctx, reader, "new", conform.NewRecords)
	}
	return err
}

// printRecords prints records until it has seen n that begin with prefix. That the topic is not there is no reason to stop.
func printRecords(ctx context.Context, cl *kgo.Client, prefix string, n int) error {
	for n > 0 {
		fetches := cl.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			if !errors.Is(e.Err, kerr.UnknownTopicOrPartition) {
				return e.Err
			}
		}
		for _, r := range fetches.Records() {
			fmt.Println("record", r.Partition, r.Offset, string(r.Value))
			if strings.HasPrefix(string(r.Value), prefix) {
				n--
			}
		}
	}
	return nil
}

// load writes 5,000 records a second, over the partitions in turn, and prints how many each has: none when the topic is
// there, all of them at its end.
func load(ctx context.Context, args []string) error {
	cl, err := dial(args[0], kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := create(ctx, cl, args[1]); err != nil {
		return err
	}
	written := [conform.Partitions]int{}
	report := func() {
		for p, n := range written {
			fmt.Println("written", p, n)
		}
	}
	report()
	stop := conform.UntilStdinEnds(ctx)
	for tick := time.NewTicker(18 * time.Millisecond); stop.Err() == nil; <-tick.C {
		records := conform.Text("load", 90)
		if err := write(ctx, cl, args[1], records); err != nil {
			return err
		}
		for _, r := range records {
			written[r.Partition]++
		}
	}
	report()
	return nil
}
