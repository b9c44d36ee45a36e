// Command sarama is the conformance program of IBM/sarama; package conform says what its verbs do. SARAMA_VERSION is the
// version of Kafka that the client is told to speak to, else the newest that it knows.
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

	"github.com/IBM/sarama"

	"github.com/moldau/moldau/test/conformance/go/conform"
)

func main() {
	conform.Main(map[string]func(context.Context, []string) error{
		"produce": produce, "consume": consume, "member": member, "positions": positions, "recreate": recreate,
	})
}

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func config() (*sarama.Config, error) {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	if v := os.Getenv("SARAMA_VERSION"); v != "" {
		var err error
		if c.Version, err = sarama.ParseKafkaVersion(v); err != nil {
			return nil, err
		}
	}
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.MaxMessageBytes = conform.MaxBytes
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.Flush.Frequency = 5 * time.Millisecond
	c.Producer.Return.Successes = true
	c.Consumer.Return.Errors = true
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Group.Session.Timeout = 30 * time.Second
	c.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	return c, nil
}

func create(adm sarama.ClusterAdmin, topic string) error {
	forever := "-1"
	return adm.CreateTopic(topic, &sarama.TopicDetail{
		NumPartitions: conform.Partitions, ReplicationFactor: conform.Replicas, ConfigEntries: map[string]*string{"retention.ms": &forever},
	}, false)
}

func produce(ctx context.Context, args []string) error {
	bootstrap, topic, codec, idempotent, want := args[0], args[1], args[2], args[3] == "true", args[4]
	records, err := conform.ReadFile(want)
	if err != nil {
		return err
	}
	c, err := config()
	if err != nil {
		return err
	}
	c.Producer.Compression = codecs[codec]
	if idempotent {
		c.Producer.Idempotent = true
		c.Net.MaxOpenRequests = 1
	}
	cl, err := sarama.NewClient(conform.Addresses(bootstrap), c)
	if err != nil {
		return err
	}
	adm, err := sarama.NewClusterAdminFromClient(cl)
	if err != nil {
		return err
	}
	defer adm.Close()
	if err := create(adm, topic); err != nil {
		return err
	}
	producer, err := sarama.NewAsyncProducerFromClient(cl)
	if err != nil {
		return err
	}
	return errors.Join(write(producer, topic, records), producer.Close())
}

// write sends records and waits for the answer to each.
func write(producer sarama.AsyncProducer, topic string, records []conform.Record) error {
	var failed error
	var answers sync.WaitGroup
	answers.Go(func() {
		for range records {
			select {
			case <-producer.Successes():
			case err := <-producer.Errors():
				failed = err
			}
		}
	})
	for _, r := range records {
		m := &sarama.ProducerMessage{Topic: topic, Partition: r.Partition, Timestamp: r.Time}
		if r.Key != nil {
			m.Key = sarama.ByteEncoder(r.Key)
		}
		if r.Value != nil {
			m.Value = sarama.ByteEncoder(r.Value)
		}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		producer.Input() <- m
	}
	answers.Wait()
	return failed
}

// A reader reads every partition of a topic, into one channel.
type reader struct {
	consumer   sarama.Consumer
	partitions []sarama.PartitionConsumer
	messages   chan *sarama.ConsumerMessage
	errors     chan *sarama.ConsumerError
}

func open(cl sarama.Client, topic string, at func(partition int32) int64) (*reader, error) {
	consumer, err := sarama.NewConsumerFromClient(cl)
	if err != nil {
		return nil, err
	}
	r := &reader{consumer: consumer, messages: make(chan *sarama.ConsumerMessage), errors: make(chan *sarama.ConsumerError)}
	for p := range int32(conform.Partitions) {
		pc, err := consumer.ConsumePartition(topic, p, at(p))
		if err != nil {
			return nil, err
		}
		r.partitions = append(r.partitions, pc)
		go func() {
			for m := range pc.Messages() {
				r.messages <- m
			}
		}()
		go func() {
			for e := range pc.Errors() {
				r.errors <- e
			}
		}()
	}
	return r, nil
}

// next returns the next message. The only error of the client's that it does not get over by itself is an offset that is gone.
func (r *reader) next(ctx context.Context) (*sarama.ConsumerMessage, error) {
	for {
		select {
		case m := <-r.messages:
			return m, nil
		case err := <-r.errors:
			if errors.Is(err, sarama.ErrOffsetOutOfRange) {
				return nil, err
			}
			fmt.Fprintln(os.Stderr, "reader:", err)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// close lets what is on its way go.
func (r *reader) close() {
	for _, pc := range r.partitions {
		pc.AsyncClose()
	}
	go func() {
		for {
			select {
			case <-r.messages:
			case <-r.errors:
			}
		}
	}()
}

func dial(bootstrap string) (sarama.Client, error) {
	c, err := config()
	if err != nil {
		return nil, err
	}
	return sarama.NewClient(conform.Addresses(bootstrap), c)
}

func oldest(int32) int64 { return sarama.OffsetOldest }

func consume(ctx context.Context, args []string) error {
	total, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	cl, err := dial(args[0])
	if err != nil {
		return err
	}
	r, err := open(cl, args[1], oldest)
	if err != nil {
		return err
	}
	out, err := conform.Create(args[3])
	if err != nil {
		return err
	}
	for out.Count < total {
		m, err := r.next(ctx)
		if err != nil {
			return fmt.Errorf("read %d of %d: %w", out.Count, total, err)
		}
		c := conform.Record{Partition: m.Partition, Time: m.Timestamp, Key: m.Key, Value: m.Value}
		for _, h := range m.Headers {
			c.Headers = append(c.Headers, conform.Header{Key: string(h.Key), Value: h.Value})
		}
		if err := out.Put(c, m.Offset); err != nil {
			return err
		}
	}
	return out.Close()
}

func member(ctx context.Context, args []string) error {
	c, err := config()
	if err != nil {
		return err
	}
	group, err := sarama.NewConsumerGroup([]string{args[0]}, args[2], c)
	if err != nil {
		return err
	}
	go func() {
		for err := range group.Errors() {
			fmt.Fprintln(os.Stderr, "member:", err)
		}
	}()
	claims := &claims{out: bufio.NewWriter(os.Stdout)}
	for leave := conform.UntilStdinEnds(ctx); leave.Err() == nil; {
		if err := group.Consume(leave, []string{args[1]}, claims); err != nil {
			return err
		}
	}
	return group.Close()
}

// claims prints what is read; mu keeps lines and the commits that follow them whole.
type claims struct {
	mu  sync.Mutex
	out *bufio.Writer
}

func (c *claims) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup runs when no claim is read any more, and before they are given up.
func (c *claims) Cleanup(s sarama.ConsumerGroupSession) error {
	err := c.out.Flush()
	s.Commit()
	return err
}

func (c *claims) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case <-s.Context().Done():
			return nil
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			c.mu.Lock()
			fmt.Fprintln(c.out, m.Partition, m.Offset)
			s.MarkMessage(m, "")
			if len(claim.Messages()) == 0 {
				c.out.Flush()
				s.Commit()
			}
			c.mu.Unlock()
		}
	}
}

func positions(ctx context.Context, args []string) error {
	bootstrap, topic, group := args[0], args[1], args[2]
	cl, err := dial(bootstrap)
	if err != nil {
		return err
	}
	r, err := open(cl, topic, func(int32) int64 { return conform.SeekTo })
	if err != nil {
		return err
	}
	for seen := map[int32]bool{}; len(seen) < conform.Partitions; {
		m, err := r.next(ctx)
		if err != nil {
			return err
		}
		if !seen[m.Partition] {
			fmt.Println("seek", m.Partition, m.Offset)
		}
		seen[m.Partition] = true
	}
	r.close()
	for _, text := range args[3:] {
		at, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		for p := range int32(conform.Partitions) {
			offset, err := cl.GetOffset(topic, p, at)
			if err != nil {
				return err
			}
			fmt.Println("time", at, p, offset)
		}
	}
	if err := lag(cl, topic, group); err != nil {
		return err
	}
	return pause(ctx, cl, topic)
}

func lag(cl sarama.Client, topic, group string) error {
	offsets, err := sarama.NewOffsetManagerFromClient(group, cl)
	if err != nil {
		return err
	}
	for p := range int32(conform.Partitions) {
		of, err := offsets.ManagePartition(topic, p)
		if err != nil {
			return err
		}
		of.MarkOffset(conform.CommittedIn(int(p)), "")
	}
	adm, err := sarama.NewClusterAdminFromClient(cl)
	if err != nil {
		return err
	}
	// This interface does not ask again where the broker has yet to load the group.
	var committed *sarama.OffsetFetchResponse
	for err = sarama.ErrNotCoordinatorForConsumer; errors.Is(err, sarama.ErrNotCoordinatorForConsumer); {
		offsets.Commit()
		committed, err = adm.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0, 1, 2}})
	}
	if err != nil {
		return err
	}
	for p := range int32(conform.Partitions) {
		end, err := cl.GetOffset(topic, p, sarama.OffsetNewest)
		if err != nil {
			return err
		}
		at := committed.GetBlock(topic, p).Offset
		fmt.Println("lag", p, at, end, end-at)
	}
	return nil
}

// pause pauses partition 0 at its end, as this client cannot seek what is paused. A fetch that holds partition 0 may be
// on its way then: only when a record of another has come do those that follow leave it out.
func pause(ctx context.Context, cl sarama.Client, topic string) error {
	producer, err := sarama.NewAsyncProducerFromClient(cl)
	if err != nil {
		return err
	}
	r, err := open(cl, topic, func(int32) int64 { return sarama.OffsetNewest })
	if err != nil {
		return err
	}
	r.partitions[0].Pause()
	paused, others := 0, 0
	readOthers := func(n int) error {
		for ; others < n; others++ {
			m, err := r.next(ctx)
			if err != nil {
				return err
			}
			if m.Partition == 0 {
				paused++
				others--
			}
		}
		return nil
	}
	one := []conform.Record{{Partition: 1, Time: time.Now(), Value: []byte("x")}}
	if err := errors.Join(write(producer, topic, one), readOthers(1)); err != nil {
		return err
	}
	if err := errors.Join(write(producer, topic, conform.Text("more", conform.ReadOthers*2)), readOthers(conform.ReadOthers)); err != nil {
		return err
	}
	fmt.Println("paused 0", paused)
	r.partitions[0].Resume()
	for {
		m, err := r.next(ctx)
		if err != nil {
			return err
		}
		if m.Partition == 0 {
			fmt.Println("resumed 0", m.Offset)
			return nil
		}
	}
}

// recreate has one client write and another read all the while. This client tells the reader when an offset is gone, and
// leaves it to the program to go on from another.
func recreate(ctx context.Context, args []string) error {
	topic := args[1]
	cl, err := dial(args[0])
	if err != nil {
		return err
	}
	adm, err := sarama.NewClusterAdminFromClient(cl)
	if err != nil {
		return err
	}
	if err := create(adm, topic); err != nil {
		return err
	}
	producer, err := sarama.NewAsyncProducerFromClient(cl)
	if err != nil {
		return err
	}
	if err := write(producer, topic, conform.Text("old", conform.OldRecords)); err != nil {
		return err
	}
	reading, err := dial(args[0])
	if err != nil {
		return err
	}
	r, err := open(reading, topic, oldest)
	if err != nil {
		return err
	}
	if err := printRecords(ctx, r, "old", conform.OldRecords); err != nil {
		return err
	}
	if err := adm.DeleteTopic(topic); err != nil {
		return err
	}
	for err = sarama.ErrTopicAlreadyExists; errors.Is(err, sarama.ErrTopicAlreadyExists); err = create(adm, topic) {
	}
	if err != nil {
		return err
	}
	fmt.Println("recreated")
	if err := write(producer, topic, conform.Text("new", conform.NewRecords)); err != nil {
		return err
	}
	if err := printRecords(ctx, r, "new", conform.NewRecords); err == nil || ctx.Err() != nil {
		return err
	}
	r.close()
	fmt.Println("reopened")
	if r, err = open(reading, topic, oldest); err != nil {
		return err
	}
	return printRecords(ctx, r, "new", conform.NewRecords)
}

// printRecords prints records until it has seen n that begin with prefix, or an offset is gone.
func printRecords(ctx context.Context, r *reader, prefix string, n int) error {
	for n > 0 {
		m, err := r.next(ctx)
		if err != nil {
			return err
		}
		fmt.Println("record", m.Partition, m.Offset, string(m.Value))
		if strings.HasPrefix(string(m.Value), prefix) {
			n--
		}
	}
	return nil
}
