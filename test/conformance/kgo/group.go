package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// inAGroup has two members share a topic, one of which leaves in the midst of it; every record is read once.
func inAGroup(ctx context.Context, bootstrap, topic string, total int, protocol string) error {
	seen := make(map[string]bool)
	member := func() (*kgo.Client, error) {
		opts := []kgo.Opt{
			kgo.SeedBrokers(bootstrap), kgo.ConsumerGroup(topic + "-" + protocol), kgo.ConsumeTopics(topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		}
		if protocol == "consumer" {
			opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer()))
		}
		return kgo.NewClient(opts...)
	}
	take := func(cl *kgo.Client) error {
		poll, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		fetches := cl.PollRecords(poll, total/20+1)
		defer cl.AllowRebalance()
		records := fetches.Records()
		for _, r := range records {
			at := fmt.Sprintf("%d-%d", r.Partition, r.Offset)
			if seen[at] {
				return fmt.Errorf("%s was read twice", at)
			}
			seen[at] = true
		}
		if len(records) == 0 {
			return ctx.Err()
		}
		return cl.CommitRecords(ctx, records...)
	}
	first, err := member()
	if err != nil {
		return err
	}
	defer first.Close()
	second, err := member()
	if err != nil {
		return err
	}
	for len(seen) < total/2 {
		for _, cl := range []*kgo.Client{first, second} {
			if err := take(cl); err != nil {
				second.Close()
				return fmt.Errorf("%d of %d records of a group of two (%s): %w", len(seen), total, protocol, err)
			}
		}
	}
	second.Close()
	for len(seen) < total {
		if err := take(first); err != nil {
			return fmt.Errorf("%d of %d records of a group that one has left (%s): %w", len(seen), total, protocol, err)
		}
	}
	return nil
}
