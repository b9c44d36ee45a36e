package broker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/ids"
)

// inSync waits until every partition of a topic has that many replicas in sync, as node i sees it.
func (c *cluster) inSync(i int, topic string, want int) {
	c.t.Helper()
	cl := c.client(i)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		short := 0
		partitions := c.metadata(cl, topic).Topics[0].Partitions
		for _, p := range partitions {
			if len(p.ISR) != want || p.Leader == int32(ids.NoNode) {
				short++
			}
		}
		if short == 0 && len(partitions) > 0 {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%d of %d partitions have not %d replicas in sync: %+v", short, len(partitions), want, partitions)
		}
	}
}

// Records are on every replica, whoever leads: each broker ends in turn, the others go on, and it is in sync again after it has come back.
func TestReplicationOutlivesEachBroker(t *testing.T) {
	c := newCluster(t)
	c.start(0, 1, 2)
	admin := kadm.NewClient(c.client(0))
	if _, err := admin.CreateTopic(t.Context(), 4, 3, nil, "t"); err != nil {
		t.Fatal(err)
	}
	written := 0
	seeds := kgo.SeedBrokers(c.clients[0], c.clients[1], c.clients[2])
	write := func(count int) {
		t.Helper()
		cl, err := kgo.NewClient(seeds, kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		for range count {
			if err := cl.ProduceSync(t.Context(), kgo.StringRecord(fmt.Sprint(written))).FirstErr(); err != nil {
				t.Fatal(err)
			}
			written++
		}
	}
	write(50)
	c.inSync(0, "t", 3)
	for round := range 3 {
		c.stop(round)
		write(50)
		c.inSync((round+1)%3, "t", 2)
		c.start(round)
		c.inSync(round, "t", 3)
		write(10)
	}
	cl, err := kgo.NewClient(seeds, kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	seen := map[string]int{}
	for len(seen) < written {
		fetches := cl.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Value)]++ })
	}
	for value, n := range seen {
		if n != 1 {
			t.Errorf("record %s is there %d times", value, n)
		}
	}
}

// committed asks for a group's offsets with a client of its own: one that knows a coordinator goes on dialling it.
func (c *cluster) committed(group string, seeds kgo.Opt) (kadm.OffsetResponses, error) {
	cl, err := kgo.NewClient(seeds)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	return kadm.NewClient(cl).FetchOffsets(c.t.Context(), group)
}

// A group goes on after its coordinator is lost: what was committed is known to the next one, and does not go back.
func TestGroupsOutliveTheirCoordinator(t *testing.T) {
	c := newCluster(t)
	c.start(0, 1, 2)
	admin := kadm.NewClient(c.client(0))
	if _, err := admin.CreateTopic(t.Context(), 1, 3, nil, "t"); err != nil {
		t.Fatal(err)
	}
	for i := range c.nodes {
		c.inSync(i, "t", 3)
	}
	seeds := kgo.SeedBrokers(c.clients[0], c.clients[1], c.clients[2])
	for round := range 3 {
		cl, err := kgo.NewClient(seeds)
		if err != nil {
			t.Fatal(err)
		}
		admin := kadm.NewClient(cl)
		for n := range 10 {
			var offsets kadm.Offsets
			offsets.AddOffset("t", 0, int64(10*round+n), -1)
			if err := admin.CommitAllOffsets(t.Context(), "g", offsets); err != nil {
				t.Fatal(err)
			}
		}
		coordinators := admin.FindGroupCoordinators(t.Context(), "g")
		if err := coordinators.Error(); err != nil {
			t.Fatal(err)
		}
		cl.Close()
		ended := int(coordinators["g"].NodeID) - 1
		c.stop(ended)
		committed, err := c.committed("g", seeds)
		for deadline := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(deadline); {
			committed, err = c.committed("g", seeds) // a broker may not know yet that the coordinator has ended
		}
		if err != nil {
			t.Fatal(err)
		}
		if o, ok := committed.Lookup("t", 0); !ok || o.At != int64(10*round+9) {
			t.Fatalf("after broker %d has ended the group is at %+v, it had committed %d", ended+1, o, 10*round+9)
		}
		c.start(ended)
		c.inSync(ended, "__consumer_offsets", 3)
	}
}

// Whoever begins to lead is followed at once, though its followers are waiting for news of other partitions.
func TestNewLeaderIsFollowedAtOnce(t *testing.T) {
	c := newCluster(t)
	c.settings = []string{"replica.fetch.wait.max.ms", "120000", "replica.lag.time.max.ms", "240000"}
	c.start(0, 1, 2)
	admin := kadm.NewClient(c.client(0))
	if _, err := admin.CreateTopic(t.Context(), 6, 3, nil, "idle"); err != nil {
		t.Fatal(err)
	}
	c.inSync(0, "idle", 3)
	write := func(to int, topic string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.client(to).ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatalf("%s: %v", topic, err)
		}
	}
	const topics = 20
	for i := range topics {
		topic := fmt.Sprint(i)
		if _, err := admin.CreateTopic(t.Context(), 1, 3, nil, topic); err != nil {
			t.Fatal(err)
		}
		write(i%3, topic)
	}
	c.stop(2)
	for i := range topics {
		write(0, fmt.Sprint(i))
	}
}
