package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/moldau/moldau/test/bench/internal/measure"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// runScale starts a cluster, has many partitions made, watches it idle, kills a broker that is not the active controller
// and starts it again. Nothing is written.
func runScale(args []string) error {
	c := newConfig("scale")
	nodes := c.Int("nodes", 3, "how many nodes")
	topics := c.Int("topics", 100, "topics")
	perTopic := c.Int("per-topic", 100, "partitions of each")
	idle := c.Duration("idle", 20*time.Second, "how long to watch the idle cluster")
	output := c.String("output", os.DevNull, "file for what node {} says")
	c.Set("rf", "3")
	ctx, cancel, err := c.parse(args)
	if err != nil {
		return err
	}
	defer cancel()
	if c.NArg() == 0 {
		return errors.New("usage: bench scale [flags] -- COMMAND ARGS, where {} stands for the node's id")
	}
	cl, err := c.client(kgo.MetadataMinAge(50 * time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	s := &scale{failover: &failover{cluster: newProcesses(c.Args(), *output), client: cl, nodes: *nodes, replicas: c.replication}}
	s.many = &many{config: c, client: cl, admin: kadm.NewClient(cl), perTopic: *perTopic, topics: make([]string, *topics), extra: map[string]any{}}
	s.many.admin.SetTimeoutMillis(120_000)
	for i := range s.many.topics {
		s.many.topics[i] = fmt.Sprintf("%s-%d", c.topic, i)
	}
	defer s.cluster.stop()
	if err := s.cluster.startAll(*nodes); err != nil {
		return err
	}
	if err := s.failover.awaitCluster(ctx); err != nil {
		return err
	}
	m := c.meter()
	if err := s.run(ctx, *idle); err != nil {
		return err
	}
	r := m.Finish(0, 0)
	r.Extra = s.many.extra
	return r.Print()
}

// scale is a cluster of many partitions. It belongs to one goroutine.
type scale struct {
	*failover
	many *many
}

func (s *scale) run(ctx context.Context, idle time.Duration) error {
	s.many.lap = time.Now()
	if err := s.many.step("create_s", func() error {
		if err := s.many.create(ctx); err != nil {
			return err
		}
		return s.await(ctx, 1, func(p *kmsg.MetadataResponseTopicPartition) bool { return p.Leader >= 0 })
	}); err != nil {
		return err
	}
	if err := s.many.step("in_sync_s", func() error { return s.await(ctx, 1, s.inSync) }); err != nil {
		return err
	}
	if err := sleep(ctx, 5*time.Second); err != nil { // what follows a creation has been done
		return err
	}
	if err := s.watch(ctx, idle); err != nil {
		return err
	}
	return s.loseOne(ctx)
}

// watch notes the CPU of the busiest idle broker, in percent of a core, and what each of them holds.
func (s *scale) watch(ctx context.Context, d time.Duration) error {
	before := map[int]float64{}
	for id, n := range s.cluster.running {
		before[id] = measure.CPU([]int{n.Process.Pid})
	}
	if err := sleep(ctx, d); err != nil {
		return err
	}
	busiest, largest := 0.0, int64(0)
	for id, n := range s.cluster.running {
		pids := []int{n.Process.Pid}
		busiest = max(busiest, 100*(measure.CPU(pids)-before[id])/d.Seconds())
		largest = max(largest, measure.Hold(pids).RSS)
	}
	s.many.extra["idle_cpu_percent"], s.many.extra["idle_rss_mib"] = measure.Round(busiest), largest>>20
	return nil
}

// loseOne kills a broker and starts it again once everything is led by others.
func (s *scale) loseOne(ctx context.Context) error {
	victim, err := s.victim(ctx, fault{}, 0)
	if err != nil {
		return err
	}
	other := int(victim)%s.nodes + 1
	s.many.lap = time.Now()
	if err := s.cluster.signal(int(victim), syscall.SIGKILL); err != nil {
		return err
	}
	if err := s.many.step("led_again_s", func() error {
		return s.await(ctx, other, func(p *kmsg.MetadataResponseTopicPartition) bool { return p.Leader >= 0 && p.Leader != victim })
	}); err != nil {
		return err
	}
	if err := s.cluster.still(ctx, int(victim)); err != nil {
		return err
	}
	s.many.lap = time.Now()
	if err := s.cluster.start(int(victim)); err != nil {
		return err
	}
	return s.many.step("back_in_sync_s", func() error { return s.await(ctx, other, s.inSync) })
}

func (s *scale) inSync(p *kmsg.MetadataResponseTopicPartition) bool { return len(p.ISR) == s.replicas }

// await returns once a broker says of every partition what is asked for.
func (s *scale) await(ctx context.Context, node int, holds func(*kmsg.MetadataResponseTopicPartition) bool) error {
	for {
		left, err := s.count(ctx, node, holds)
		if err == nil && left == 0 {
			return nil
		}
		if sleep(ctx, 20*time.Millisecond) != nil {
			return fmt.Errorf("broker %d says that %d partitions are not as they should be: %v", node, left, err)
		}
	}
}

// count returns of how many partitions a broker says what is not asked for.
func (s *scale) count(ctx context.Context, node int, holds func(*kmsg.MetadataResponseTopicPartition) bool) (left int, err error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	for i := range s.many.topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &s.many.topics[i]
		req.Topics = append(req.Topics, t)
	}
	resp, err := s.client.Broker(node).Request(ctx, req)
	if err != nil {
		return -1, fmt.Errorf("broker %d: %w", node, err)
	}
	for _, t := range resp.(*kmsg.MetadataResponse).Topics {
		left += max(0, s.many.perTopic-len(t.Partitions))
		for i := range t.Partitions {
			if !holds(&t.Partitions[i]) {
				left++
			}
		}
	}
	return left, nil
}
