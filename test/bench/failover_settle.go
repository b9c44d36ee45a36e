package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// askWithin is how long one broker may take to say what it knows: one that has just been started may not answer at all.
const askWithin = 2 * time.Second

// waitBrokers returns once all nodes are brokers that each of them knows.
func (f *failover) waitBrokers(ctx context.Context) error {
	for id := 1; id <= f.nodes; id++ {
		resp, err := f.ask(ctx, id)
		if err == nil && len(resp.Brokers) != f.nodes {
			err = fmt.Errorf("broker %d knows of %d brokers", id, len(resp.Brokers))
		}
		if err != nil {
			_ = sleep(ctx, 50*time.Millisecond) // the caller asks ctx
			return err
		}
	}
	return nil
}

// settle returns once every broker says of every partition that all of its replicas are in sync and its preferred one
// leads, which it then has elected: the leader by partition.
func (f *failover) settle(ctx context.Context) ([]int32, error) {
	for {
		leaders, err := f.settled(ctx)
		if err == nil {
			return leaders, nil
		}
		if sleep(ctx, 100*time.Millisecond) != nil {
			return nil, fmt.Errorf("not all replicas are in sync: %w", err)
		}
	}
}

func (f *failover) settled(ctx context.Context) (leaders []int32, err error) {
	for id := 1; id <= f.nodes; id++ {
		resp, err := f.ask(ctx, id)
		if err != nil {
			return nil, err
		}
		slices.SortFunc(resp.Topics[0].Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int {
			return int(a.Partition - b.Partition)
		})
		leaders = leaders[:0]
		preferred := true
		for _, p := range resp.Topics[0].Partitions {
			if len(p.ISR) != f.replicas {
				return nil, fmt.Errorf("broker %d says that %d replicas of partition %d are in sync", id, len(p.ISR), p.Partition)
			}
			preferred = preferred && p.Leader == p.Replicas[0]
			leaders = append(leaders, p.Leader)
		}
		if !preferred {
			return nil, f.elect(ctx, len(leaders))
		}
	}
	return leaders, nil
}

// ask returns what one broker knows of the cluster and, once it is made, of the topic.
func (f *failover) ask(ctx context.Context, node int) (*kmsg.MetadataResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	if f.writer != nil {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &f.topic
		req.Topics = append(req.Topics, t)
	}
	resp, err := f.client.Broker(node).Request(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("broker %d: %w", node, err)
	}
	known := resp.(*kmsg.MetadataResponse)
	for _, t := range known.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return nil, fmt.Errorf("broker %d: %w", node, err)
		}
	}
	return known, nil
}

// elect has the preferred replicas lead, and returns an error in any case: it shows only later that they do.
func (f *failover) elect(ctx context.Context, partitions int) error {
	all := kadm.TopicsSet{}
	for p := range partitions {
		all.Add(f.topic, int32(p))
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	if _, err := kadm.NewClient(f.client).ElectLeaders(ctx, kadm.ElectPreferredReplica, all); err != nil {
		return fmt.Errorf("electing preferred leaders: %w", err)
	}
	return fmt.Errorf("preferred replicas do not lead yet")
}

// victim returns the broker to lose: the active controller, or each of the others in turn.
func (f *failover) victim(ctx context.Context, kind fault, turn int) (int32, error) {
	controller, err := f.controller(ctx)
	if err != nil || kind.controller {
		return controller, err
	}
	var others []int32
	for id := int32(1); id <= int32(f.nodes); id++ {
		if id != controller {
			others = append(others, id)
		}
	}
	return others[turn%len(others)], nil
}

func (f *failover) controller(ctx context.Context) (int32, error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	t := kmsg.NewDescribeQuorumRequestTopic()
	t.Topic = "__cluster_metadata"
	t.Partitions = append(t.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, f.client)
	if err != nil {
		return 0, fmt.Errorf("asking for the active controller: %w", err)
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return 0, fmt.Errorf("asking for the active controller: %w", err)
	}
	return resp.Topics[0].Partitions[0].LeaderID, nil
}
