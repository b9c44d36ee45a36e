//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/moldau/moldau/test/nodes"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// cluster is the nodes, and what the scenarios ask of them.
type cluster struct{ *nodes.Cluster }

// failoverMax is how long a cluster may be without decisions after its controller was killed: some elections of half a second.
const failoverMax = 10 * time.Second

func (s *suite) formsInOrder(ctx context.Context) (string, error) {
	return s.forms(ctx, 300*time.Millisecond, 1, 2, 3)
}

func (s *suite) formsLate(ctx context.Context) (string, error) {
	return s.forms(ctx, 2*time.Second, 3, 1, 2)
}

// forms starts nodes with empty directories, pausing before each but the first.
func (s *suite) forms(ctx context.Context, pause time.Duration, order ...int32) (string, error) {
	c := s.cluster
	c.KillAll()
	if err := c.Empty(); err != nil {
		return "", err
	}
	for i, id := range order {
		if i > 0 {
			time.Sleep(pause)
		}
		if err := c.Node(id).Start(); err != nil {
			return "", err
		}
	}
	begun := time.Now()
	if err := c.Await(ctx, "the cluster is well", c.Well); err != nil {
		return "", err
	}
	return fmt.Sprintf(" (%v after the last start)", since(begun)), nil
}

func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }

// create asks one broker to create a topic; it decides or has it decided.
func (c *cluster) create(ctx context.Context, id int32, topic string, partitions int32) error {
	cl, err := c.Client(c.Address(id))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, nodes.Patience)
	defer cancel()
	if err := cl.Ping(ctx); err != nil {
		return err
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, partitions, 1
	req.Topics = append(req.Topics, t)
	req.TimeoutMillis = 1000
	resp, err := req.RequestWith(ctx, cl.Broker(int(id)))
	if err != nil {
		return err
	}
	if message := resp.Topics[0].ErrorMessage; message != nil && *message != "" {
		return fmt.Errorf("%w: %s", kerr.ErrorForCode(resp.Topics[0].ErrorCode), *message)
	}
	return kerr.ErrorForCode(resp.Topics[0].ErrorCode)
}

// createWithin creates a topic through any of some brokers, again and again until one does, and returns how long that took.
func (c *cluster) createWithin(ctx context.Context, limit time.Duration, topic string, through ...int32) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	begun := time.Now()
	for {
		var err error
		for _, id := range through {
			if err = c.create(ctx, id, topic, 3); err == nil || errors.Is(err, kerr.TopicAlreadyExists) { // an answer may have been lost
				return since(begun), nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("nothing could be created within %v: %w", limit, err)
		case <-time.After(nodes.Poll):
		}
	}
}

// topics lists topics with their ids as one broker knows them.
func (c *cluster) topics(ctx context.Context, id int32) (map[string]kadm.TopicID, error) {
	cl, err := c.Client(c.Address(id))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	if err := cl.Ping(ctx); err != nil {
		return nil, err
	}
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, cl.Broker(int(id)))
	if err != nil {
		return nil, err
	}
	found := make(map[string]kadm.TopicID)
	for _, t := range resp.Topics {
		found[*t.Topic] = t.TopicID
	}
	return found, nil
}

// sameTopics wants every broker to know just the topics that the first knows, these among them.
func (c *cluster) sameTopics(want ...string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		first, err := c.topics(ctx, 1)
		if err != nil {
			return err
		}
		for _, name := range want {
			if _, ok := first[name]; !ok {
				return fmt.Errorf("broker 1 does not know %s", name)
			}
		}
		for id := int32(2); id <= nodes.Count; id++ {
			if others, err := c.topics(ctx, id); err != nil || !maps.Equal(first, others) {
				return fmt.Errorf("broker 1 knows %v, broker %d %v (%w)", first, id, others, err)
			}
		}
		return nil
	}
}

func (s *suite) createsEverywhere(ctx context.Context) (string, error) {
	c := s.cluster
	var names []string
	for id := int32(1); id <= nodes.Count; id++ {
		name := fmt.Sprintf("through-%d", id)
		if err := c.create(ctx, id, name, 6); err != nil {
			return "", fmt.Errorf("through broker %d: %w", id, err)
		}
		names = append(names, name)
	}
	if err := c.create(ctx, 2, names[0], 6); !errors.Is(err, kerr.TopicAlreadyExists) {
		return "", fmt.Errorf("created a second time: %v", err)
	}
	if err := c.Await(ctx, "all know the topics", c.sameTopics(names...)); err != nil {
		return "", err
	}
	return "", c.Await(ctx, "the cluster is well", c.Well)
}

func (s *suite) servesRecords(ctx context.Context) (string, error) {
	c := s.cluster
	const topic, partitions = "records", 9
	if err := c.create(ctx, 1, topic, partitions); err != nil {
		return "", err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Address(3)), kgo.DisableClientMetrics(), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(-1),
		kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return "", err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, nodes.Patience)
	defer cancel()
	for partition := range int32(partitions) {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: partition, Value: []byte{byte(partition)}}).FirstErr(); err != nil {
			return "", fmt.Errorf("to partition %d: %w", partition, err)
		}
	}
	var got []int32
	for len(got) < partitions {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return "", fmt.Errorf("%d of %d records were read: %w", len(got), partitions, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, r.Partition) })
	}
	if slices.Sort(got); len(slices.Compact(got)) != partitions {
		return "", fmt.Errorf("records of partitions %v", got)
	}
	leaders, err := c.leaders(ctx, topic)
	if err == nil && len(leaders) != nodes.Count {
		err = fmt.Errorf("all is led by brokers %v", leaders)
	}
	return "", err
}

// leaders lists the brokers that lead partitions of a topic.
func (c *cluster) leaders(ctx context.Context, topic string) ([]int32, error) {
	cl, err := c.Client(strings.Split(c.Addresses(), ",")...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	topics, err := kadm.NewClient(cl).ListTopics(ctx, topic)
	if err != nil {
		return nil, err
	}
	var leaders []int32
	for _, p := range topics[topic].Partitions {
		leaders = append(leaders, p.Leader)
	}
	slices.Sort(leaders)
	return slices.Compact(leaders), nil
}

func (s *suite) controllerDies(ctx context.Context) (string, error) {
	c := s.cluster
	before, err := c.Quorum(ctx)
	if err != nil {
		return "", err
	}
	c.Node(before.Leader).Kill()
	took, err := c.createWithin(ctx, failoverMax, "after-the-kill", c.Others(before.Leader)...)
	if err != nil {
		return "", err
	}
	after, err := c.Quorum(ctx)
	if err != nil {
		return "", err
	}
	if after.Leader == before.Leader || after.Epoch <= before.Epoch {
		return "", fmt.Errorf("node %d led in epoch %d, and now node %d in epoch %d", before.Leader, before.Epoch, after.Leader, after.Epoch)
	}
	return fmt.Sprintf(" (%v to the first topic)", took), s.missedAndBack(ctx, before.Leader)
}

// missedAndBack wants health to miss a node that does not run, and that alone, starts it, and wants all to be well.
func (s *suite) missedAndBack(ctx context.Context, id int32) error {
	c := s.cluster
	if err := c.Await(ctx, "the node is missed", c.missed(id)); err != nil {
		return err
	}
	if err := c.Node(id).Start(); err != nil {
		return err
	}
	if err := c.Await(ctx, "the cluster is well again", c.Well); err != nil {
		return err
	}
	return c.Await(ctx, "all know the same topics", c.sameTopics())
}

// missed wants health to miss a broker, and that alone.
func (c *cluster) missed(id int32) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		h, err := c.Health(ctx)
		switch {
		case err != nil:
			return err
		case h.Healthy || !slices.Equal(h.MissingBrokers, []int32{id}) || h.Controller < 1:
			return fmt.Errorf("healthy %v, controller %d, missing %v", h.Healthy, h.Controller, h.MissingBrokers)
		}
		return nil
	}
}

// follower is a node that does not lead the quorum.
func (c *cluster) follower(ctx context.Context) (int32, error) {
	q, err := c.Quorum(ctx)
	if err != nil {
		return 0, err
	}
	return c.Others(q.Leader)[0], nil
}

func (s *suite) brokerDies(ctx context.Context) (string, error) {
	c := s.cluster
	id, err := c.follower(ctx)
	if err != nil {
		return "", err
	}
	from := c.Said()
	c.Node(id).Kill()
	begun := time.Now()
	if err := c.Await(ctx, "the broker is fenced", c.State(id, "fenced")); err != nil {
		return "", err
	}
	took := since(begun)
	// Its connections are closed: nobody has to wait until it was silent for a session.
	why := regexp.MustCompile(fmt.Sprintf(`broker is fenced.* broker=%d .*closed its connection`, id))
	if lines, err := c.Lines(from, why); err != nil || len(lines) == 0 {
		return "", fmt.Errorf("it took %v, and no node says /%s/ (%v)", took, why, err)
	}
	return fmt.Sprintf(" (%v to the fence)", took), s.missedAndBack(ctx, id)
}

func (s *suite) brokerHangs(ctx context.Context) (string, error) {
	c := s.cluster
	id, err := c.follower(ctx)
	if err != nil {
		return "", err
	}
	if err := c.Node(id).Pause(); err != nil {
		return "", err
	}
	begun := time.Now()
	err = c.awaitAt(ctx, c.Others(id), "the broker is fenced", "fenced", id)
	took := since(begun)
	if err := errors.Join(err, c.Node(id).Continue()); err != nil {
		return "", err
	}
	return fmt.Sprintf(" (%v to the fence)", took), c.Await(ctx, "the cluster is well again", c.Well)
}

// awaitAt waits for a state of a broker as others than all are asked: one that stands still takes connections and does not answer.
func (c *cluster) awaitAt(ctx context.Context, asked []int32, what, state string, id int32) error {
	some := &nodes.Cluster{Moldau: c.Moldau, Port: c.Port}
	for _, a := range asked {
		some.Nodes = append(some.Nodes, c.Node(a))
	}
	return some.Await(ctx, what, some.State(id, state))
}

func (s *suite) restartsInTurn(ctx context.Context) (string, error) {
	for id := int32(1); id <= nodes.Count; id++ {
		if err := s.cluster.Node(id).Stop(); err != nil {
			return "", err
		}
		if err := s.missedAndBack(ctx, id); err != nil {
			return "", fmt.Errorf("node %d: %w", id, err)
		}
	}
	return "", nil
}

func (s *suite) allDie(ctx context.Context) (string, error) {
	c := s.cluster
	before, err := c.topics(ctx, 1)
	if err != nil {
		return "", err
	}
	c.KillAll()
	for _, n := range c.Nodes {
		if err := n.Start(); err != nil {
			return "", err
		}
	}
	begun := time.Now()
	if err := c.Await(ctx, "the cluster is well again", c.Well); err != nil {
		return "", err
	}
	took := since(begun)
	return fmt.Sprintf(" (%v)", took), c.Await(ctx, "all know what they knew", func(ctx context.Context) error {
		after, err := c.topics(ctx, 1)
		if err == nil && !maps.Equal(before, after) {
			err = fmt.Errorf("%v before, %v after", before, after)
		}
		return err
	})
}

func (s *suite) diskIsEmptied(ctx context.Context) (string, error) {
	c := s.cluster
	before, err := c.Quorum(ctx)
	if err != nil {
		return "", err
	}
	id := c.Others(before.Leader)[1]
	n := c.Node(id)
	if err := n.Stop(); err != nil {
		return "", err
	}
	if err := c.Await(ctx, "the node is missed", c.missed(id)); err != nil {
		return "", err
	}
	if err := os.RemoveAll(n.Data); err != nil {
		return "", err
	}
	if err := n.Start(); err != nil {
		return "", err
	}
	directory := func(q nodes.Quorum) string {
		for _, v := range q.Voters {
			if v.ID == id {
				return v.DirectoryID
			}
		}
		return ""
	}
	return "", c.Await(ctx, "the node votes with its new directory", func(ctx context.Context) error {
		if err := c.Complete(ctx); err != nil {
			return err
		}
		q, err := c.Quorum(ctx)
		switch {
		case err != nil:
			return err
		case len(q.Voters) != nodes.Count || directory(q) == "" || directory(q) == directory(before):
			return fmt.Errorf("the voters are %v; before %v", q.Voters, before.Voters)
		}
		return nil
	})
}
