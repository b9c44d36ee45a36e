package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/moldau/moldau/test/bench/internal/measure"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// config holds the flags that every load command takes.
type config struct {
	*flag.FlagSet
	brokers     string
	topic       string
	topicConfig string
	partitions  int
	replication int
	pidList     string
	limit       time.Duration

	pids []int
}

func newConfig(command string) *config {
	c := &config{FlagSet: flag.NewFlagSet(command, flag.ExitOnError)}
	c.StringVar(&c.brokers, "brokers", "127.0.0.1:9092", "bootstrap addresses, comma-separated")
	c.StringVar(&c.topic, "topic", "bench", "topic; created if absent")
	c.StringVar(&c.topicConfig, "config", "", "settings of a created topic: name=value,name=value")
	c.IntVar(&c.partitions, "partitions", 1, "partitions of a created topic")
	c.IntVar(&c.replication, "rf", 1, "replication factor of a created topic")
	c.StringVar(&c.pidList, "pid", "", "broker process ids, comma-separated, whose CPU and memory to report")
	c.DurationVar(&c.limit, "timeout", 5*time.Minute, "give up after this long")
	return c
}

// meter starts measuring the run.
func (c *config) meter() *measure.Meter { return measure.StartMeter(c.FlagSet, c.pids) }

// parse reads the flags and returns a context that ends with the time limit or an interrupt.
func (c *config) parse(args []string) (context.Context, context.CancelFunc, error) {
	if err := c.Parse(args); err != nil {
		return nil, nil, err
	}
	var err error
	if c.pids, err = measure.ParsePIDs(c.pidList); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.limit)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	return ctx, func() { stop(); cancel() }, nil
}

func (c *config) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(c.brokers, ",")...),
		kgo.DisableClientMetrics(),
	}, opts...)...)
}

// partitionsAtOnce keeps a request below the 10,000 records that Apache Kafka takes of one.
const partitionsAtOnce = 6000

// ensureTopic creates the topic unless it exists, and returns its partition count.
func (c *config) ensureTopic(ctx context.Context) (int, error) {
	cl, err := c.client()
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	settings, err := topicSettings(c.topicConfig)
	if err != nil {
		return 0, err
	}
	_, err = adm.CreateTopic(ctx, int32(min(c.partitions, partitionsAtOnce)), int16(c.replication), settings, c.topic)
	if err == nil && c.partitions > partitionsAtOnce {
		_, err = adm.UpdatePartitions(ctx, c.partitions, c.topic)
	}
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return 0, err
	}
	for {
		topics, err := adm.ListTopics(ctx, c.topic)
		if err != nil {
			return 0, err
		}
		if t := topics[c.topic]; t.Err == nil && len(t.Partitions) > 0 && leaderless(t) == 0 {
			return len(t.Partitions), nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return 0, fmt.Errorf("topic %s has no leaders: %w", c.topic, err)
		}
	}
}

// leaderless counts the partitions that nothing can be written to yet.
func leaderless(t kadm.TopicDetail) int {
	n := 0
	for _, p := range t.Partitions {
		if p.Err != nil || p.Leader < 0 {
			n++
		}
	}
	return n
}

func topicSettings(list string) (map[string]*string, error) {
	settings := map[string]*string{}
	for pair := range strings.SplitSeq(list, ",") {
		if pair == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("topic setting %q is not name=value", pair)
		}
		settings[name] = &value
	}
	return settings, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
