// Command segmentio is the conformance program of segmentio/kafka-go; package conform says what its verbs do.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/moldau/moldau/test/conformance/go/conform"
)

func main() {
	conform.Main(map[string]func(context.Context, []string) error{
		"produce": produce, "consume": consume, "member": member, "positions": positions, "recreate": recreate,
	})
}

var codecs = map[string]kafka.Compression{
	"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
}

func client(bootstrap string) *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(conform.Addresses(bootstrap)...)}
}

func create(ctx context.Context, cl *kafka.Client, topic string) error {
	answer, err := cl.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: topic, NumPartitions: conform.Partitions, ReplicationFactor: int(conform.Replicas),
		ConfigEntries: []kafka.ConfigEntry{{ConfigName: "retention.ms", ConfigValue: "-1"}},
	}}})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

// writer writes each record to the partition that its WriterData names.
func writer(bootstrap, topic, codec string) *kafka.Writer {
	return &kafka.Writer{
		Addr: kafka.TCP(conform.Addresses(bootstrap)...), Topic: topic, RequiredAcks: kafka.RequireAll, Compression: codecs[codec],
		BatchSize: 1000, BatchBytes: conform.MaxBytes, BatchTimeout: 5 * time.Millisecond,
		Balancer: kafka.BalancerFunc(func(m kafka.Message, _ ...int) int { return int(m.WriterData.(int32)) }),
	}
}

func messages(records []conform.Record) []kafka.Message {
	out := make([]kafka.Message, len(records))
	for i, r := range records {
		out[i] = kafka.Message{Time: r.Time, Key: r.Key, Value: r.Value, WriterData: r.Partition}
		for _, h := range r.Headers {
			out[i].Headers = append(out[i].Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
	}
	return out
}

func produce(ctx context.Context, args []string) error {
	bootstrap, topic, codec, want := args[0], args[1], args[2], args[4]
	records, err := conform.ReadFile(want)
	if err != nil {
		return err
	}
	if err := create(ctx, client(bootstrap), topic); err != nil {
		return err
	}
	w := writer(bootstrap, topic, codec)
	return errors.Join(w.WriteMessages(ctx, messages(records)...), w.Close())
}

// readers reads every partition of a topic from an offset on, each with a reader of its own, until ctx is done.
func readers(ctx context.Context, bootstrap, topic string, at int64) (<-chan kafka.Message, <-chan error) {
	out, failed := make(chan kafka.Message), make(chan error, conform.Partitions)
	for p := range conform.Partitions {
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: conform.Addresses(bootstrap), Topic: topic, Partition: p, MaxBytes: 4 << 20, MaxWait: 500 * time.Millisecond})
		go func() {
			defer r.Close()
			if err := r.SetOffset(at); err != nil {
				failed <- err
				return
			}
			for {
				m, err := r.FetchMessage(ctx)
				if err != nil {
					failed <- err
					return
				}
				select {
				case out <- m:
				case <-ctx.Done():
				}
			}
		}()
	}
	return out, failed
}

func consume(ctx context.Context, args []string) error {
	total, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	out, err := conform.Create(args[3])
	if err != nil {
		return err
	}
	messages, failed := readers(ctx, args[0], args[1], kafka.FirstOffset)
	for out.Count < total {
		select {
		case m := <-messages:
			r := conform.Record{Partition: int32(m.Partition), Time: m.Time, Key: m.Key, Value: m.Value}
			for _, h := range m.Headers {
				r.Headers = append(r.Headers, conform.Header{Key: h.Key, Value: h.Value})
			}
			if err := out.Put(r, m.Offset); err != nil {
				return err
			}
		case err := <-failed:
			return fmt.Errorf("read %d of %d: %w", out.Count, total, err)
		}
	}
	return out.Close()
}

// member takes part by generations: each ends when every partition's goroutine has committed and returned.
func member(ctx context.Context, args []string) error {
	bootstrap, topic := args[0], args[1]
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: args[2], Brokers: conform.Addresses(bootstrap), Topics: []string{topic}, StartOffset: kafka.FirstOffset,
		SessionTimeout: 30 * time.Second, HeartbeatInterval: 500 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	m := &printer{bootstrap: bootstrap, topic: topic, out: bufio.NewWriter(os.Stdout)}
	leave := conform.UntilStdinEnds(ctx)
	for {
		generation, err := group.Next(leave)
		if leave.Err() != nil {
			return group.Close()
		}
		if err != nil {
			return err
		}
		for _, a := range generation.Assignments[topic] {
			generation.Start(func(ctx context.Context) {
				if err := m.read(ctx, generation, a); err != nil {
					fmt.Fprintln(os.Stderr, "member:", err)
				}
			})
		}
	}
}

type printer struct {
	bootstrap, topic string
	mu               sync.Mutex // keeps lines whole
	out              *bufio.Writer
}

// read prints records and commits every hundred of them, those at the end, and the last ones before it returns.
func (m *printer) read(ctx context.Context, generation *kafka.Generation, a kafka.PartitionAssignment) error {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: conform.Addresses(m.bootstrap), Topic: m.topic, Partition: a.ID, MaxBytes: 4 << 20, MaxWait: 200 * time.Millisecond})
	defer r.Close()
	if err := r.SetOffset(a.Offset); err != nil {
		return err
	}
	next, uncommitted := int64(0), 0
	commit := func() error {
		if uncommitted == 0 {
			return nil
		}
		m.mu.Lock()
		m.out.Flush()
		m.mu.Unlock()
		uncommitted = 0
		return generation.CommitOffsets(map[string]map[int]int64{m.topic: {a.ID: next}})
	}
	for {
		record, err := r.FetchMessage(ctx)
		if ctx.Err() != nil {
			return commit()
		}
		if err != nil {
			return errors.Join(err, commit())
		}
		m.mu.Lock()
		fmt.Fprintln(m.out, record.Partition, record.Offset)
		m.mu.Unlock()
		next = record.Offset + 1
		if uncommitted++; uncommitted >= 100 || next == record.HighWaterMark {
			if err := commit(); err != nil {
				return err
			}
		}
	}
}

func positions(ctx context.Context, args []string) error {
	bootstrap, topic, group := args[0], args[1], args[2]
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, failed := readers(reading, bootstrap, topic, conform.SeekTo)
	for seen := map[int]bool{}; len(seen) < conform.Partitions; {
		select {
		case m := <-messages:
			if !seen[m.Partition] {
				fmt.Println("seek", m.Partition, m.Offset)
			}
			seen[m.Partition] = true
		case err := <-failed:
			return err
		}
	}
	fmt.Println("- pause")
	cl := client(bootstrap)
	for _, text := range args[3:] {
		at, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		var asked []kafka.OffsetRequest
		for p := range conform.Partitions {
			asked = append(asked, kafka.TimeOffsetOf(p, time.UnixMilli(at)))
		}
		answer, err := cl.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: asked}})
		if err != nil {
			return err
		}
		for _, p := range answer.Topics[topic] {
			offset := int64(-1)
			for o := range p.Offsets {
				offset = o
			}
			fmt.Println("time", at, p.Partition, offset)
		}
	}
	return lag(ctx, cl, topic, group)
}

func lag(ctx context.Context, cl *kafka.Client, topic, group string) error {
	var commits []kafka.OffsetCommit
	var ends []kafka.OffsetRequest
	var partitions []int
	for p := range conform.Partitions {
		commits = append(commits, kafka.OffsetCommit{Partition: p, Offset: conform.CommittedIn(p)})
		ends = append(ends, kafka.LastOffsetOf(p))
		partitions = append(partitions, p)
	}
	if err := patiently(func() error {
		answer, err := cl.OffsetCommit(ctx, &kafka.OffsetCommitRequest{GroupID: group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{topic: commits}})
		if err == nil {
			err = answer.Topics[topic][0].Error
		}
		return err
	}); err != nil {
		return err
	}
	var fetched *kafka.OffsetFetchResponse
	if err := patiently(func() (err error) {
		fetched, err = cl.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: partitions}})
		if err == nil {
			err = fetched.Error
		}
		return err
	}); err != nil {
		return err
	}
	listed, err := cl.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: ends}})
	if err != nil {
		return err
	}
	for _, c := range fetched.Topics[topic] {
		for _, l := range listed.Topics[topic] {
			if l.Partition == c.Partition {
				fmt.Println("lag", c.Partition, c.CommittedOffset, l.LastOffset, l.LastOffset-c.CommittedOffset)
			}
		}
	}
	return nil
}

// patiently asks until the broker has loaded what it needs: this client's requests are not repeated.
func patiently(ask func() error) error {
	for {
		err := ask()
		var code kafka.Error
		if !errors.As(err, &code) || !code.Temporary() {
			return err
		}
	}
}

// recreate writes with one writer all the while. A reader of this client that is past the end waits for the end to come:
// the program has to begin anew.
func recreate(ctx context.Context, args []string) error {
	bootstrap, topic := args[0], args[1]
	cl := client(bootstrap)
	if err := create(ctx, cl, topic); err != nil {
		return err
	}
	w := writer(bootstrap, topic, "none")
	if err := w.WriteMessages(ctx, messages(conform.Text("old", conform.OldRecords))...); err != nil {
		return err
	}
	read, failed := readers(ctx, bootstrap, topic, kafka.FirstOffset)
	if err := printRecords(read, failed, "old", conform.OldRecords); err != nil {
		return err
	}
	gone, err := cl.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err := errors.Join(err, gone.Errors[topic]); err != nil {
		return err
	}
	for err = kafka.TopicAlreadyExists; errors.Is(err, kafka.TopicAlreadyExists); err = create(ctx, cl, topic) {
	}
	if err != nil {
		return err
	}
	fmt.Println("recreated")
	if err := w.WriteMessages(ctx, messages(conform.Text("new", conform.NewRecords))...); err != nil {
		return err
	}
	fmt.Println("reopened")
	read, failed = readers(ctx, bootstrap, topic, kafka.FirstOffset)
	return printRecords(read, failed, "new", conform.NewRecords)
}

// printRecords prints records until it has seen n that begin with prefix.
func printRecords(read <-chan kafka.Message, failed <-chan error, prefix string, n int) error {
	for n > 0 {
		select {
		case m := <-read:
			fmt.Println("record", m.Partition, m.Offset, string(m.Value))
			if strings.HasPrefix(string(m.Value), prefix) {
				n--
			}
		case err := <-failed:
			return err
		}
	}
	return nil
}
