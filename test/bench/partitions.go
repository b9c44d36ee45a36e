package main

import (
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
	settings, err := topicSettings(c.topicConfig)
	if err != nil {
		return err
	}
	topics := make([]string, (*count+*perTopic-1) / *perTopic)
	for i := range topics {
		topics[i] = fmt.Sprintf("%s-%d-%d", c.topic, time.Now().UnixNano(), i)
	}
	opts, err := p.options(c)
	if err != nil {
		return err
	}
	cl, err := c.client(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	adm.SetTimeoutMillis(120_000)

	m := c.meter()
	lap := m.Start
	took := func() float64 {
		d := time.Since(lap)
		lap = time.Now()
		return measure.Round(d.Seconds())
	}
	extra := map[string]any{"topics": len(topics), "partitions": len(topics) * *perTopic}

	const batch = 50 // topics in one request
	for i := 0; i < len(topics); i += batch {
		made, err := adm.CreateTopics(ctx, int32(*perTopic), int16(c.replication), settings, topics[i:min(i+batch, len(topics))]...)
		if err == nil {
			err = made.Error()
		}
		if err != nil {
			return err
		}
	}
	extra["create_s"] = took()
	for missing := 1; missing > 0; {
		listed, err := adm.ListTopics(ctx, topics...)
		if err != nil {
			return err
		}
		missing = 0
		for _, t := range listed {
			if missing += leaderless(t); len(t.Partitions) < *perTopic {
				missing++
			}
		}
		if missing > 0 {
			if err := sleep(ctx, 50*time.Millisecond); err != nil {
				return fmt.Errorf("%d partitions without a leader: %w", missing, err)
			}
		}
	}
	extra["leaders_s"] = took()

	value := measure.Payloads(p.size, p.random)[0]
	for round := range *rounds {
		records := make([]*kgo.Record, 0, *count)
		for _, topic := range topics {
			for i := range *perTopic {
				records = append(records, &kgo.Record{Topic: topic, Partition: int32(i), Value: value})
			}
		}
		if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return err
		}
		extra[fmt.Sprintf("write_round_%d_s", round+1)] = took()
	}
	ends, err := adm.ListEndOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return err
	}
	extra["list_offsets_s"] = took()
	n := int64(len(topics) * *perTopic * *rounds)
	r := m.Finish(n, n*int64(p.size))

	if len(c.pids) > 0 {
		before := measure.CPU(c.pids)
		if err := sleep(ctx, *idle); err != nil {
			return err
		}
		extra["idle_cpu_percent"] = measure.Round(100 * (measure.CPU(c.pids) - before) / idle.Seconds())
	}
	if *remove {
		took()
		gone, err := adm.DeleteTopics(ctx, topics...)
		if err := errors.Join(err, gone.Error()); err != nil {
			return err
		}
		extra["delete_s"] = took()
	}
	r.Extra = extra
	return r.Print()
}
