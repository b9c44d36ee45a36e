package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

func mustAccept(t rapid.TB, c *Core, recs []metadata.Record) {
	t.Helper()
	if err := c.Accept(recs, c.pending.Offset+1, 1); err != nil {
		t.Fatalf("a decision cannot be replayed: %v", err)
	}
}

func coreWithBrokers(t rapid.TB, n int) *Core {
	c := newTestCore(testConfig)
	mustAccept(t, c, c.Bootstrap("cluster", nil))
	for i := range n {
		recs, refusal := c.BrokerRegistration(registration(i+1, 900+i, testID(800+i)), testTime)
		if refusal != nil {
			t.Fatal(refusal)
		}
		mustAccept(t, c, recs)
		c.Commit(c.pending, true)
		_, recs = c.BrokerHeartbeat(heartbeat(c, i+1), testTime)
		mustAccept(t, c, recs)
		c.Commit(c.pending, true)
	}
	return c
}

func newTopic(name string, partitions int32, factor int16) kmsg.CreateTopicsRequestTopic {
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, factor
	return topic
}

// Whatever is created in whatever portions, brokers differ by one in the partitions
// they lead and by no more than the replication factor in the replicas they have.
func TestPlacementIsEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		brokers := rapid.IntRange(1, 7).Draw(t, "brokers")
		factor := rapid.IntRange(1, brokers).Draw(t, "factor")
		c := coreWithBrokers(t, brokers)
		for i := range rapid.IntRange(1, 30).Draw(t, "topics") {
			req := kmsg.NewPtrCreateTopicsRequest()
			req.Topics = append(req.Topics, newTopic(fmt.Sprint("t", i), rapid.Int32Range(1, 12).Draw(t, "partitions"), int16(factor)))
			_, recs := c.CreateTopics(req)
			mustAccept(t, c, recs)
		}
		leads, has := make(map[ids.NodeID]int), make(map[ids.NodeID]int)
		for topic := range c.pending.Topics() {
			for _, p := range topic.Partitions {
				leads[p.Leader]++
				seen := make(map[ids.NodeID]bool)
				for _, r := range p.Replicas {
					has[r]++
					if seen[r] {
						t.Fatalf("replicas %v", p.Replicas)
					}
					seen[r] = true
				}
			}
		}
		for _, count := range []struct {
			what  string
			of    map[ids.NodeID]int
			apart int
		}{{"leads", leads, 1}, {"has", has, factor}} {
			lowest, highest := 1<<30, 0
			for b := range c.pending.Brokers() {
				lowest, highest = min(lowest, count.of[b.ID]), max(highest, count.of[b.ID])
			}
			if highest-lowest > count.apart {
				t.Fatalf("%d brokers, factor %d: what each %s: %v", brokers, factor, count.what, count.of)
			}
		}
	})
}

// The walk over ordered names finds a colliding topic exactly where comparing with
// every topic does.
func TestCollidingTopic(t *testing.T) {
	name := rapid.StringMatching(`[ab._]{1,5}`)
	unified := func(s string) string { return strings.ReplaceAll(s, ".", "_") }
	rapid.Check(t, func(t *rapid.T) {
		d := metadata.NewDelta(nil)
		existing := rapid.SliceOfNDistinct(name, 0, 20, rapid.ID[string]).Draw(t, "existing")
		for i, n := range existing {
			if err := d.Replay(&metadata.TopicRecord{Name: n, TopicID: testID(i)}); err != nil {
				t.Fatal(err)
			}
		}
		img := d.Apply(1, 1)
		wanted := name.Draw(t, "name")
		found, ok := collidingTopic(img, wanted)
		want := false
		for _, n := range existing {
			want = want || unified(n) == unified(wanted)
		}
		if ok != want {
			t.Fatalf("%q among %q: found %q, %v", wanted, existing, found, ok)
		}
		if _, exists := img.Topic(found); ok && (!exists || unified(found) != unified(wanted)) {
			t.Fatalf("%q among %q: found %q", wanted, existing, found)
		}
	})
}

// decideAny makes any request over a few names, good or bad, and decides on it.
func decideAny(t *rapid.T, c *Core) []metadata.Record {
	name := rapid.SampledFrom([]string{"a", "b", "c.d", "c_d", "", "a/b", metadataTopic})
	count := rapid.Int32Range(-2, 5)
	nodes := rapid.SliceOfN(rapid.Int32Range(1, 4), 0, 3)
	several := func(f func()) {
		for range rapid.IntRange(0, 4).Draw(t, "several") {
			f()
		}
	}
	switch rapid.IntRange(0, 7).Draw(t, "request") {
	case 0:
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version = 7
		several(func() {
			topic := newTopic(name.Draw(t, "name"), count.Draw(t, "partitions"), int16(count.Draw(t, "factor")))
			several(func() {
				a := kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: count.Draw(t, "partition"), Replicas: nodes.Draw(t, "replicas")}
				if topic.ReplicationFactor == -1 {
					topic.ReplicaAssignment = append(topic.ReplicaAssignment, a)
				}
			})
			req.Topics = append(req.Topics, topic)
		})
		_, recs := c.CreateTopics(req)
		return recs
	case 1:
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.Version = 6
		several(func() {
			topic := kmsg.NewDeleteTopicsRequestTopic()
			n := name.Draw(t, "name")
			if existing, ok := c.pending.Topic(n); ok && rapid.Bool().Draw(t, "by id") {
				topic.TopicID = existing.ID
			} else {
				topic.Topic = &n
			}
			req.Topics = append(req.Topics, topic)
		})
		_, recs := c.DeleteTopics(req)
		return recs
	case 2:
		req := kmsg.NewPtrCreatePartitionsRequest()
		several(func() {
			topic := kmsg.NewCreatePartitionsRequestTopic()
			topic.Topic, topic.Count = name.Draw(t, "name"), count.Draw(t, "partitions")
			several(func() {
				topic.Assignment = append(topic.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: nodes.Draw(t, "replicas")})
			})
			req.Topics = append(req.Topics, topic)
		})
		_, recs := c.CreatePartitions(req)
		return recs
	case 3:
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		several(func() {
			r := kmsg.NewIncrementalAlterConfigsRequestResource()
			r.ResourceType = kmsg.ConfigResourceType(rapid.SampledFrom([]int8{2, 4, 32}).Draw(t, "type"))
			r.ResourceName = rapid.OneOf(name, rapid.Just("1")).Draw(t, "resource")
			several(func() {
				c := alteration(rapid.SampledFrom([]string{"cleanup.policy+=compact", "cleanup.policy-=delete", "retention.ms=5", "!retention.ms",
					"nope=1", "log.cleanup.policy+=compact", "log.retention.ms=x", "?9:retention.ms=5", "?3:cleanup.policy"}).Draw(t, "alteration"))
				r.Configs = append(r.Configs, c)
			})
			req.Resources = append(req.Resources, r)
		})
		_, recs := c.IncrementalAlterConfigs(1, req)
		return recs
	case 6:
		req := kmsg.NewPtrAlterConfigsRequest()
		several(func() {
			r := kmsg.NewAlterConfigsRequestResource()
			r.ResourceType = kmsg.ConfigResourceType(rapid.SampledFrom([]int8{2, 4, 8}).Draw(t, "type"))
			r.ResourceName = rapid.OneOf(name, rapid.Just("1")).Draw(t, "resource")
			several(func() {
				a := alteration(rapid.SampledFrom([]string{"cleanup.policy=compact", "retention.ms=5", "!retention.ms", "nope=1"}).Draw(t, "config"))
				r.Configs = append(r.Configs, kmsg.AlterConfigsRequestResourceConfig{Name: a.Name, Value: a.Value})
			})
			req.Resources = append(req.Resources, r)
		})
		_, recs := c.AlterConfigs(1, req)
		return recs
	case 4:
		node := rapid.IntRange(1, 4).Draw(t, "node")
		req := registration(node, rapid.IntRange(900, 905).Draw(t, "incarnation"), testID(rapid.IntRange(800, 805).Draw(t, "dir")))
		if b, ok := c.committed.Broker(ids.NodeID(node)); ok && rapid.Bool().Draw(t, "clean") {
			req.PreviousBrokerEpoch = b.Epoch
		}
		recs, _ := c.BrokerRegistration(req, testTime.Add(testConfig.SessionTimeout))
		return recs
	case 5:
		_, _, recs, _ := c.AllocateProducerIDs(1, rapid.Int64Range(1, 4).Draw(t, "epoch"))
		return recs
	}
	recs, _ := c.AdoptTopic(&AdoptTopic{Name: name.Draw(t, "name"), ID: testID(rapid.IntRange(1000, 1009).Draw(t, "id")), Node: 1, LatestEpochs: []ids.LeaderEpoch{3}})
	return recs
}

// Every decision on any request can be replayed, also on decisions that are only
// pending, and leaves metadata that is sound.
func TestDecisionsCanBeReplayed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := coreWithBrokers(t, 3)
		for range rapid.IntRange(1, 40).Draw(t, "requests") {
			mustAccept(t, c, decideAny(t, c))
			if rapid.Bool().Draw(t, "commit") {
				c.Commit(c.pending, true)
			}
		}
		for topic := range c.pending.Topics() {
			if checkTopicName(topic.Name) != nil || len(topic.Partitions) == 0 {
				t.Fatalf("topic %+v", topic)
			}
			for i, p := range topic.Partitions {
				if len(p.Replicas) == 0 || len(p.Replicas) != len(topic.Partitions[0].Replicas) || len(p.Directories) != len(p.Replicas) ||
					len(p.ISR) == 0 != (p.Leader == ids.NoNode) || len(p.ISR) > 0 && !slices.Contains(p.ISR, p.Leader) {
					t.Fatalf("partition %d of topic %s: %+v", i, topic.Name, p)
				}
			}
		}
	})
}
