// Command confluent is the conformance program of confluent-kafka-go; package conform says what its verbs do.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"github.com/moldau/moldau/test/conformance/go/conform"
)

const patience = 30 * time.Second // for one request

func main() {
	conform.Main(map[string]func(context.Context, []string) error{
		"produce": produce, "consume": consume, "member": member, "positions": positions, "recreate": recreate,
	})
}

func create(ctx context.Context, adm *kafka.AdminClient, topic string) error {
	return first(adm.CreateTopics(ctx, []kafka.TopicSpecification{{
		Topic: topic, NumPartitions: conform.Partitions, ReplicationFactor: int(conform.Replicas), Config: map[string]string{"retention.ms": "-1"},
	}}))
}

// first is what was answered for the only topic.
func first(results []kafka.TopicResult, err error) error {
	if err == nil && results[0].Error.Code() != kafka.ErrNoError {
		return results[0].Error
	}
	return err
}

func newProducer(bootstrap, codec string, idempotent bool) (*kafka.Producer, error) {
	return kafka.NewProducer(&kafka.ConfigMap{
		"bootstrap.servers": bootstrap, "compression.type": codec, "acks": "all", "enable.idempotence": idempotent,
		"message.max.bytes": conform.MaxBytes, "linger.ms": 5, "queue.buffering.max.messages": 200000,
	})
}

// newConsumer sets timeouts where the protocol lets clients do so.
func newConsumer(bootstrap, group, protocol string) (*kafka.Consumer, error) {
	conf := kafka.ConfigMap{
		"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": false, "auto.offset.reset": "earliest",
		"check.crcs": true, "group.protocol": protocol,
	}
	if protocol == "classic" {
		conf["session.timeout.ms"], conf["heartbeat.interval.ms"] = 30000, 500
	}
	return kafka.NewConsumer(&conf)
}

func produce(ctx context.Context, args []string) error {
	bootstrap, topic, codec, idempotent, want := args[0], args[1], args[2], args[3] == "true", args[4]
	records, err := conform.ReadFile(want)
	if err != nil {
		return err
	}
	producer, err := newProducer(bootstrap, codec, idempotent)
	if err != nil {
		return err
	}
	defer producer.Close()
	adm, err := kafka.NewAdminClientFromProducer(producer)
	if err != nil {
		return err
	}
	defer adm.Close()
	if err := create(ctx, adm, topic); err != nil {
		return err
	}
	return write(producer, topic, records)
}

// write sends records and waits for the answer to each. What is refused for want of the topic is sent again: the client
// remembers for a while that the topic was gone.
func write(producer *kafka.Producer, topic string, records []conform.Record) error {
	answers := make(chan kafka.Event, len(records))
	for _, r := range records {
		m := &kafka.Message{
			TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: r.Partition}, Timestamp: r.Time, Key: r.Key, Value: r.Value,
		}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
		for {
			err := producer.Produce(m, answers)
			var e kafka.Error
			if errors.As(err, &e) && e.Code() == kafka.ErrQueueFull {
				producer.Flush(100)
				continue
			}
			if err != nil {
				return err
			}
			break
		}
	}
	for left := len(records); left > 0; {
		m := (<-answers).(*kafka.Message)
		err := m.TopicPartition.Error
		var e kafka.Error
		switch {
		case err == nil:
			left--
		case errors.As(err, &e) && (e.Code() == kafka.ErrUnknownTopicOrPart || e.Code() == kafka.ErrUnknownTopic || e.Code() == kafka.ErrUnknownPartition):
			m.TopicPartition.Error = nil
			if err := producer.Produce(m, answers); err != nil {
				return err
			}
		default:
			return err
		}
	}
	return nil
}

func everyPartition(topic string, at func(partition int) kafka.Offset) []kafka.TopicPartition {
	var list []kafka.TopicPartition
	for p := range conform.Partitions {
		list = append(list, kafka.TopicPartition{Topic: &topic, Partition: int32(p), Offset: at(p)})
	}
	return list
}

func from(offset kafka.Offset) func(int) kafka.Offset {
	return func(int) kafka.Offset { return offset }
}

// poll returns the next record; an error of the client's that it will get over is printed.
func poll(ctx context.Context, c *kafka.Consumer) (*kafka.Message, error) {
	for {
		switch e := c.Poll(100).(type) {
		case *kafka.Message:
			if e.TopicPartition.Error != nil {
				fmt.Fprintln(os.Stderr, "record:", e.TopicPartition.Error)
				continue
			}
			return e, nil
		case kafka.Error:
			if e.IsFatal() {
				return nil, e
			}
			fmt.Fprintln(os.Stderr, "consumer:", e)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

func consume(ctx context.Context, args []string) error {
	total, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	c, err := newConsumer(args[0], "unused", "classic")
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Assign(everyPartition(args[1], from(kafka.OffsetBeginning))); err != nil {
		return err
	}
	out, err := conform.Create(args[3])
	if err != nil {
		return err
	}
	for out.Count < total {
		m, err := poll(ctx, c)
		if err != nil {
			return fmt.Errorf("read %d of %d: %w", out.Count, total, err)
		}
		r := conform.Record{Partition: m.TopicPartition.Partition, Time: m.Timestamp, Key: m.Key, Value: m.Value}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, conform.Header{Key: h.Key, Value: h.Value})
		}
		if err := out.Put(r, int64(m.TopicPartition.Offset)); err != nil {
			return err
		}
	}
	return out.Close()
}

func member(ctx context.Context, args []string) error {
	c, err := newConsumer(args[0], args[2], args[3])
	if err != nil {
		return err
	}
	next := map[int32]kafka.Offset{} // read, not yet committed
	out := bufio.NewWriter(os.Stdout)
	commit := func() error {
		out.Flush()
		if len(next) == 0 {
			return nil
		}
		var list []kafka.TopicPartition
		for p, o := range next {
			list = append(list, kafka.TopicPartition{Topic: &args[1], Partition: p, Offset: o})
		}
		clear(next)
		_, err := c.CommitOffsets(list)
		return err
	}
	revoked := func(_ *kafka.Consumer, e kafka.Event) error {
		if _, ok := e.(kafka.RevokedPartitions); ok {
			return commit()
		}
		return nil
	}
	if err := c.Subscribe(args[1], revoked); err != nil {
		return err
	}
	for leave := conform.UntilStdinEnds(ctx); leave.Err() == nil; {
		switch e := c.Poll(100).(type) {
		case *kafka.Message:
			fmt.Fprintln(out, e.TopicPartition.Partition, int64(e.TopicPartition.Offset))
			next[e.TopicPartition.Partition] = e.TopicPartition.Offset + 1
			if out.Buffered() < 2000 {
				continue
			}
		case kafka.Error:
			fmt.Fprintln(os.Stderr, "member:", e)
		}
		if err := commit(); err != nil {
			return err
		}
	}
	return errors.Join(commit(), c.Close())
}

func positions(ctx context.Context, args []string) error {
	bootstrap, topic, group := args[0], args[1], args[2]
	c, err := newConsumer(bootstrap, group, "classic")
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Assign(everyPartition(topic, from(kafka.OffsetBeginning))); err != nil {
		return err
	}
	if err := seekAndPause(ctx, c, topic); err != nil {
		return err
	}
	for _, text := range args[3:] {
		at, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		found, err := c.OffsetsForTimes(everyPartition(topic, from(kafka.Offset(at))), int(patience.Milliseconds()))
		if err != nil {
			return err
		}
		for _, tp := range found {
			fmt.Println("time", at, tp.Partition, int64(tp.Offset))
		}
	}
	if _, err := c.CommitOffsets(everyPartition(topic, func(p int) kafka.Offset { return kafka.Offset(conform.CommittedIn(p)) })); err != nil {
		return err
	}
	committed, err := c.Committed(everyPartition(topic, from(kafka.OffsetInvalid)), int(patience.Milliseconds()))
	if err != nil {
		return err
	}
	for _, tp := range committed {
		_, end, err := c.QueryWatermarkOffsets(topic, tp.Partition, int(patience.Milliseconds()))
		if err != nil {
			return err
		}
		fmt.Println("lag", tp.Partition, int64(tp.Offset), end, end-int64(tp.Offset))
	}
	return nil
}

func seekAndPause(ctx context.Context, c *kafka.Consumer, topic string) error {
	// The client seeks only what it reads already.
	started := map[int32]bool{}
	if err := each(ctx, c, func(m *kafka.Message) bool {
		started[m.TopicPartition.Partition] = true
		return len(started) == conform.Partitions
	}); err != nil {
		return err
	}
	if _, err := c.SeekPartitions(everyPartition(topic, from(conform.SeekTo))); err != nil {
		return err
	}
	seen := map[int32]bool{}
	if err := each(ctx, c, func(m *kafka.Message) bool {
		p := m.TopicPartition.Partition
		if !seen[p] {
			fmt.Println("seek", p, int64(m.TopicPartition.Offset))
		}
		seen[p] = true
		return len(seen) == conform.Partitions
	}); err != nil {
		return err
	}
	zero := []kafka.TopicPartition{{Topic: &topic, Partition: 0}}
	if err := c.Pause(zero); err != nil {
		return err
	}
	if _, err := c.SeekPartitions(everyPartition(topic, from(conform.PausedAt))); err != nil {
		return err
	}
	paused, others := 0, 0
	if err := each(ctx, c, func(m *kafka.Message) bool {
		if m.TopicPartition.Partition == 0 {
			paused++
		} else {
			others++
		}
		return others >= conform.ReadOthers
	}); err != nil {
		return err
	}
	fmt.Println("paused 0", paused)
	if err := c.Resume(zero); err != nil {
		return err
	}
	return each(ctx, c, func(m *kafka.Message) bool {
		if m.TopicPartition.Partition != 0 {
			return false
		}
		fmt.Println("resumed 0", int64(m.TopicPartition.Offset))
		return true
	})
}

func each(ctx context.Context, c *kafka.Consumer, done func(*kafka.Message) bool) error {
	for {
		m, err := poll(ctx, c)
		if err != nil {
			return err
		}
		if done(m) {
			return nil
		}
	}
}

// recreate has one producer write and one consumer read all the while, by assignment.
func recreate(ctx context.Context, args []string) error {
	bootstrap, topic := args[0], args[1]
	producer, err := newProducer(bootstrap, "none", true)
	if err != nil {
		return err
	}
	adm, err := kafka.NewAdminClientFromProducer(producer)
	if err != nil {
		return err
	}
	if err := create(ctx, adm, topic); err != nil {
		return err
	}
	if err := write(producer, topic, conform.Text("old", conform.OldRecords)); err != nil {
		return err
	}
	c, err := newConsumer(bootstrap, "unused", "classic")
	if err != nil {
		return err
	}
	if err := c.Assign(everyPartition(topic, from(kafka.OffsetBeginning))); err != nil {
		return err
	}
	if err := printRecords(ctx, c, "old", conform.OldRecords); err != nil {
		return err
	}
	if err := first(adm.DeleteTopics(ctx, []string{topic})); err != nil {
		return err
	}
	for {
		err := create(ctx, adm, topic)
		var e kafka.Error
		if err == nil {
			break
		}
		if !errors.As(err, &e) || e.Code() != kafka.ErrTopicAlreadyExists {
			return err
		}
	}
	fmt.Println("recreated")
	if err := write(producer, topic, conform.Text("new", conform.NewRecords)); err != nil {
		return err
	}
	return printRecords(ctx, c, "new", conform.NewRecords)
}

// printRecords prints records until it has seen n that begin with prefix.
func printRecords(ctx context.Context, c *kafka.Consumer, prefix string, n int) error {
	return each(ctx, c, func(m *kafka.Message) bool {
		fmt.Println("record", m.TopicPartition.Partition, int64(m.TopicPartition.Offset), string(m.Value))
		if strings.HasPrefix(string(m.Value), prefix) {
			n--
		}
		return n == 0
	})
}
