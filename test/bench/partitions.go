package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/moldau/moldau/test/bench/internal/measure"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func runPartitions(args []string) error {
	c := newConfig("partitions")
	var p producing
	p.flags(c)
	count := c.Int("count", 1000, "partitions in all")
	perTopic := c.Int("per-topic", 100, "partitions of one topic")
	rounds := c.Int("rounds", 2, "records to write to each partition, a round at a time")
	idle := c.Duration("idle", 5*time.Second, "how long to watch the idle broker")
	remove := c.Bool("delete", true, "delete the topics at the end")
	ctx, cancel, err := c.parse(args)
	if err != nil {
		return err
	}
	defer cancel()
	opts, err := p.options(c)
	if err != nil {
		return err
	}
	cl, err := c.client(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	m := &many{config: c, client: cl, admin: kadm.NewClient(cl), perTopic: *perTopic, topics: make([]string, (*count+*perTopic-1) / *perTopic)}
	m.admin.SetTimeoutMillis(120_000)
	for i := range m.topics {
		m.topics[i] = fmt.Sprintf("%s-%d-%d", c.topic, time.Now().UnixNano(), i)
	}
	value := measure.Payloads(p.size, p.random)[0]

	meter := c.meter()
	m.lap = meter.Start
	m.extra = map[string]any{"topics": len(m.topics), "partitions": len(m.topics) * *perTopic}
	err = m.step("create_s", func() error { return m.create(ctx) })
	if err == nil {
		err = m.step("leaders_s", func() error { return m.awaitLeaders(ctx) })
	}
	for round := 0; err == nil && round < *rounds; round++ {
		err = m.step(fmt.Sprintf("write_round_%d_s", round+1), func() error { return m.write(ctx, value) })
	}
	if err == nil {
		err = m.step("list_offsets_s", func() error { return m.listEnds(ctx) })
	}
	if err != nil {
		return err
	}
	n := int64(len(m.topics) * *perTopic * *rounds)
	r := meter.Finish(n, n*int64(p.size))
	if err := m.watchIdle(ctx, *idle); err != nil {
		return err
	}
	if *remove {
		m.lap = time.Now()
		if err := m.step("delete_s", func() error { return m.remove(ctx) }); err != nil {
			return err
		}
	}
	r.Extra = m.extra
	return r.Print()
}

// many is the partitions of one run.
type many struct {
	*config
	client   *kgo.Client
	admin    *kadm.Client
	topics   []string
	perTopic int
	lap      time.Time // when the last step ended
	extra    map[string]any
}

// step does one thing and notes the seconds since the one before.
func (m *many) step(name string, do func() error) error {
	if err := do(); err != nil {
		return err
	}
	m.extra[name] = measure.Round(time.Since(m.lap).Seconds())
	m.lap = time.Now()
	return nil
}

func (m *many) create(ctx context.Context) error {
	settings, err := topicSettings(m.topicConfig)
	if err != nil {
		return err
	}
	const batch = 50 // topics in one request
	for i := 0; i < len(m.topics); i += batch {
		made, err := m.admin.CreateTopics(ctx, int32(m.perTopic), int16(m.replication), settings, m.topics[i:min(i+batch, len(m.topics))]...)
		if err == nil {
			err = made.Error()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *many) awaitLeaders(ctx context.Context) error {
	for {
		listed, err := m.admin.ListTopics(ctx, m.topics...)
		if err != nil {
			return err
		}
		missing := 0
		for _, t := range listed {
			if missing += leaderless(t); len(t.Partitions) < m.perTopic {
				missing++
			}
		}
		if missing == 0 {
			return nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("%d partitions without a leader: %w", missing, err)
		}
	}
}

// write writes a record to each partition.
func (m *many) write(ctx context.Context, value []byte) error {
	records := make([]*kgo.Record, 0, len(m.topics)*m.perTopic)
	for _, topic := range m.topics {
		for i := range m.perTopic {
			records = append(records, &kgo.Record{Topic: topic, Partition: int32(i), Value: value})
		}
	}
	return m.client.ProduceSync(ctx, records...).FirstErr()
}

func (m *many) listEnds(ctx context.Context) error {
	ends, err := m.admin.ListEndOffsets(ctx, m.topics...)
	if err == nil {
		err = ends.Error()
	}
	return err
}

// watchIdle notes the CPU of brokers that have nothing to do.
func (m *many) watchIdle(ctx context.Context, d time.Duration) error {
	if len(m.pids) == 0 {
		return nil
	}
	before := measure.CPU(m.pids)
	if err := sleep(ctx, d); err != nil {
		return err
	}
	m.extra["idle_cpu_percent"] = measure.Round(100 * (measure.CPU(m.pids) - before) / d.Seconds())
	return nil
}

func (m *many) remove(ctx context.Context) error {
	gone, err := m.admin.DeleteTopics(ctx, m.topics...)
	return errors.Join(err, gone.Error())
}
