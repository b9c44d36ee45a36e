package controller

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// world is a cluster of several brokers on one Core, with what each replica would have:
// records are counted, not kept.
type world struct {
	t     *rapid.T
	core  *Core
	now   time.Time
	nodes int
	fresh int // incarnations and directories used

	replicas map[replicaKey]int   // records that a replica has
	promised map[partitionKey]int // records below the high watermark
	dirs     map[int]ids.DirectoryID
	unclean  bool // the decision at hand is an unclean election that somebody asked for
}

type partitionKey struct {
	topic ids.TopicID
	n     int
}

type replicaKey struct {
	partitionKey
	node ids.NodeID
}

// TestReplicationRules: whatever brokers do and suffer, each step leaves metadata that
// is sound, and no leader that is elected cleanly lacks a record that was promised.
func TestReplicationRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{
			t: t, core: newTestCore(testConfig), now: testTime, nodes: rapid.IntRange(3, 5).Draw(t, "brokers"),
			replicas: map[replicaKey]int{}, promised: map[partitionKey]int{}, dirs: map[int]ids.DirectoryID{},
		}
		w.core.config.BalanceInterval = 10 * time.Second
		for node := 1; node <= w.nodes; node++ {
			w.start(node, false)
			w.beat(node, false, false)
		}
		w.createTopic()
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.step()
			w.produce()
		}
	})
}

func (w *world) step() {
	node := rapid.IntRange(1, w.nodes).Draw(w.t, "node")
	switch rapid.SampledFrom([]string{"beat", "beat", "beat", "start", "crash", "crash", "gone", "leave", "fence", "pass", "alter", "alter", "alter",
		"topic", "partitions", "delete", "elect", "lead", "unregister", "minISR"}).Draw(w.t, "step") {
	case "beat":
		w.beat(node, false, false)
	case "start":
		w.start(node, rapid.Bool().Draw(w.t, "clean"))
	case "crash":
		w.gone(node)
		w.start(node, rapid.Bool().Draw(w.t, "clean"))
	case "gone":
		w.gone(node)
	case "leave":
		w.beat(node, false, true)
	case "fence":
		w.beat(node, true, false)
	case "pass":
		w.pass(time.Duration(rapid.IntRange(1, 30).Draw(w.t, "tenths")) * 100 * time.Millisecond)
	case "alter":
		w.alter()
	case "topic":
		w.createTopic()
	case "partitions":
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.Topics = append(req.Topics, kmsg.CreatePartitionsRequestTopic{Topic: w.anyTopic(), Count: 4})
		_, recs := w.core.CreatePartitions(req)
		w.accept(recs)
	case "delete":
		name := w.anyTopic()
		_, recs := w.core.DeleteTopics(&kmsg.DeleteTopicsRequest{Version: 6, Topics: []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}})
		w.accept(recs)
	case "elect":
		req := kmsg.NewPtrElectLeadersRequest()
		req.ElectionType = int8(rapid.IntRange(0, 1).Draw(w.t, "election"))
		_, recs := w.core.ElectLeaders(req)
		w.unclean = req.ElectionType == electUnclean
		w.accept(recs)
	case "lead":
		w.core.Lead(w.now)
	case "unregister":
		_, recs := w.core.UnregisterBroker(&kmsg.UnregisterBrokerRequest{BrokerID: int32(node)})
		w.accept(recs)
	case "minISR":
		w.alterMinISR()
	}
}

func (w *world) anyTopic() string { return fmt.Sprint("t", rapid.IntRange(0, 2).Draw(w.t, "topic")) }

func (w *world) createTopic() {
	topic := newTopic(w.anyTopic(), int32(rapid.IntRange(1, 3).Draw(w.t, "partitions")), int16(rapid.IntRange(1, 3).Draw(w.t, "factor")))
	set := func(name, value string) {
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: name, Value: &value})
	}
	if n := rapid.IntRange(0, 3).Draw(w.t, "min.insync.replicas"); n > 0 {
		set("min.insync.replicas", fmt.Sprint(n))
	}
	if rapid.IntRange(0, 3).Draw(w.t, "unclean") == 0 {
		set("unclean.leader.election.enable", "true")
	}
	_, recs := w.core.CreateTopics(&kmsg.CreateTopicsRequest{Version: 7, Topics: []kmsg.CreateTopicsRequestTopic{topic}})
	w.accept(recs)
}

func (w *world) alterMinISR() {
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceType(metadata.ResourceTopic), w.anyTopic()
	value := fmt.Sprint(rapid.IntRange(1, 3).Draw(w.t, "min.insync.replicas"))
	r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: "min.insync.replicas", Value: &value})
	_, recs := w.core.IncrementalAlterConfigs(1, &kmsg.IncrementalAlterConfigsRequest{Resources: []kmsg.IncrementalAlterConfigsRequestResource{r}})
	w.accept(recs)
}

// start starts a process of a broker. After an unclean stop everything is lost that it had,
// and of one that was unregistered nobody knows what it has.
func (w *world) start(node int, clean bool) {
	w.fresh++
	if w.dirs[node].IsZero() {
		w.dirs[node] = testID(2000 + w.fresh)
	}
	req := registration(node, 3000+w.fresh, w.dirs[node])
	before, known := w.core.committed.Broker(ids.NodeID(node))
	if clean && known {
		req.PreviousBrokerEpoch = before.Epoch
	}
	recs, refusal := w.core.BrokerRegistration(req, w.now)
	if refusal != nil {
		return
	}
	if !clean || !known {
		for key := range w.replicas {
			if key.node == ids.NodeID(node) {
				w.replicas[key] = 0
			}
		}
	}
	w.accept(recs)
}

func (w *world) beat(node int, fence, shutdown bool) {
	req := heartbeat(w.core, node)
	req.WantFence, req.WantShutdown = fence, shutdown
	resp, recs := w.core.BrokerHeartbeat(req, w.now)
	w.accept(recs)
	if b, ok := w.core.committed.Broker(ids.NodeID(node)); ok && resp.ErrorCode == 0 && len(recs) > 0 && b.Fenced != resp.IsFenced {
		w.t.Fatalf("broker %d fenced %v, told %v", node, b.Fenced, resp.IsFenced)
	}
	if resp.ShouldShutdown && w.core.leads(ids.NodeID(node)) {
		if b, _ := w.core.committed.Broker(ids.NodeID(node)); !b.Fenced {
			w.t.Fatalf("broker %d may stop and leads", node)
		}
	}
}

func (w *world) gone(node int) {
	if b, ok := w.core.committed.Broker(ids.NodeID(node)); ok {
		w.core.Gone(b.ID, b.Epoch, w.now)
		w.look()
	}
}

// pass lets time pass, in which the brokers of one half are heard.
func (w *world) pass(d time.Duration) {
	for ; d > 0; d -= time.Second {
		w.now = w.now.Add(min(d, time.Second))
		for node := 1; node <= w.nodes; node += 2 {
			w.beat(node, false, false)
		}
		w.look()
	}
	for b := range w.core.committed.Brokers() {
		if s := w.core.sessions[b.ID]; !b.Fenced && w.now.Sub(s.heard) >= testConfig.SessionTimeout {
			w.t.Fatalf("broker %d is silent since %v and not fenced", b.ID, w.now.Sub(s.heard))
		}
	}
}

func (w *world) look() {
	w.core.Look(w.now)
	for {
		d := w.core.Expire(w.now)
		if len(d.Records) == 0 {
			if d = w.core.Balance(w.now); len(d.Records) == 0 {
				return
			}
		}
		w.accept(d.Records)
	}
}

// alter has the leader of a partition say who is in sync; who comes in has what the leader has.
func (w *world) alter() {
	topic, ok := w.core.committed.Topic(w.anyTopic())
	if !ok {
		return
	}
	n := rapid.IntRange(0, len(topic.Partitions)-1).Draw(w.t, "partition")
	p := &topic.Partitions[n]
	req := kmsg.NewPtrAlterPartitionRequest()
	req.Version, req.BrokerID = 3, int32(p.Leader)
	if b, ok := w.core.committed.Broker(p.Leader); ok {
		req.BrokerEpoch = b.Epoch
	}
	asked := kmsg.NewAlterPartitionRequestTopicPartition()
	asked.Partition, asked.LeaderEpoch, asked.PartitionEpoch = int32(n), int32(p.LeaderEpoch), p.PartitionEpoch
	var joins []ids.NodeID
	for _, r := range p.Replicas {
		if r != p.Leader && rapid.Bool().Draw(w.t, "stays out") {
			continue
		}
		member := kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: int32(r)}
		if b, ok := w.core.committed.Broker(r); ok {
			member.BrokerEpoch = b.Epoch
		}
		asked.NewEpochISR = append(asked.NewEpochISR, member)
		if !slices.Contains(p.ISR, r) {
			joins = append(joins, r)
		}
	}
	req.Topics = append(req.Topics, kmsg.AlterPartitionRequestTopic{TopicID: topic.ID, Partitions: []kmsg.AlterPartitionRequestTopicPartition{asked}})
	resp, recs := w.core.AlterPartition(req)
	if resp.ErrorCode == 0 && resp.Topics[0].Partitions[0].ErrorCode == 0 {
		key := partitionKey{topic.ID, n}
		for _, r := range joins {
			w.replicas[replicaKey{key, r}] = w.replicas[replicaKey{key, p.Leader}]
		}
	}
	w.accept(recs)
}

// produce has a record promised wherever the high watermark may move: it is on everyone in sync.
func (w *world) produce() {
	for topic := range w.core.committed.Topics() {
		for i := range topic.Partitions {
			p := &topic.Partitions[i]
			leader, ok := w.core.committed.Broker(p.Leader)
			if !ok || leader.Fenced || len(p.ISR) < w.minISR(topic, p) {
				continue
			}
			key := partitionKey{topic.ID, i}
			w.promised[key] = w.replicas[replicaKey{key, p.Leader}] + 1
			for _, r := range p.ISR {
				w.replicas[replicaKey{key, r}] = w.promised[key]
			}
		}
	}
}

func (w *world) config(t *metadata.Topic) map[string]string {
	return w.core.committed.Config(metadata.ConfigResource{Type: metadata.ResourceTopic, Name: t.Name})
}

func (w *world) minISR(t *metadata.Topic, p *metadata.Partition) int {
	return min(testSchema{}.MinISR(w.config(t), len(p.Replicas)), len(p.Replicas))
}

// accept commits a decision, or now and then has the quorum refuse it, and judges what it did.
func (w *world) accept(recs []metadata.Record) {
	unclean := w.unclean
	w.unclean = false
	if len(recs) == 0 {
		return
	}
	if rapid.IntRange(0, 20).Draw(w.t, "refused") == 0 {
		mustAccept(w.t, w.core, recs)
		w.core.Reset(w.core.committed)
	}
	before := w.core.committed
	mustAccept(w.t, w.core, recs)
	w.core.Commit(w.core.pending, true)
	w.checkBrokers(before)
	for topic := range w.core.committed.Topics() {
		was, _ := before.TopicByID(topic.ID)
		for i := range topic.Partitions {
			w.checkPartition(topic, i)
			if was != nil && i < len(was.Partitions) {
				w.checkTransition(topic, i, &was.Partitions[i], unclean)
			}
		}
	}
}

func (w *world) checkBrokers(before *metadata.Image) {
	for b := range before.Brokers() {
		if now, ok := w.core.committed.Broker(b.ID); ok && (now.Epoch < b.Epoch || (now.Incarnation == b.Incarnation) != (now.Epoch == b.Epoch)) {
			w.t.Fatalf("broker %+v became %+v", b, now)
		}
	}
}

func (w *world) checkPartition(topic *metadata.Topic, i int) {
	p := &topic.Partitions[i]
	fail := func(rule string) {
		w.t.Helper()
		w.t.Fatalf("%s-%d %s: %s; brokers %v", topic.Name, i, partitionText(p), rule, w.brokers())
	}
	for _, list := range [][]ids.NodeID{p.ISR, p.ELR, p.LastKnownELR} {
		for j, id := range list {
			if !slices.Contains(p.Replicas, id) || slices.Contains(list[:j], id) {
				fail("a list has others than replicas, or one twice")
			}
		}
	}
	for _, id := range p.ISR {
		if slices.Contains(p.ELR, id) {
			fail("one is in sync and eligible")
		}
		if b, ok := w.core.committed.Broker(id); !holdsAlone(p, id) && (!ok || !b.Active()) {
			fail("one is in sync and not at work")
		}
		if s := w.core.sessions[id]; s != nil && s.silent {
			fail("one is in sync and silent")
		}
	}
	switch {
	case len(p.ISR) > 0 && !slices.Contains(p.ISR, p.Leader):
		fail("the leader is not in sync")
	case len(p.ISR) == 0 && p.Leader != ids.NoNode:
		fail("somebody leads and is not in sync")
	case len(p.ISR) >= w.minISR(topic, p) && len(p.ELR) > 0:
		fail("the high watermark moves on, and some are eligible that do not follow")
	case len(p.ISR) > 0 && len(p.LastKnownELR) > 0 || len(p.LastKnownELR) > 1:
		fail("a last leader is kept for nothing")
	case len(p.ISR) == 0 && w.electable(topic, p):
		fail("nobody leads, and somebody could")
	}
}

func (w *world) electable(topic *metadata.Topic, p *metadata.Partition) bool {
	atWork := func(id ids.NodeID) bool {
		b, ok := w.core.committed.Broker(id)
		return ok && b.Active()
	}
	return slices.ContainsFunc(p.ELR, atWork) || len(p.ELR) == 0 && slices.ContainsFunc(p.LastKnownELR, atWork) ||
		testSchema{}.UncleanElection(w.config(topic)) && slices.ContainsFunc(p.Replicas, atWork)
}

func (w *world) brokers() (out []string) {
	for b := range w.core.committed.Brokers() {
		out = append(out, fmt.Sprintf("%d fenced %v leaving %v", b.ID, b.Fenced, b.InControlledShutdown))
	}
	return out
}

func (w *world) checkTransition(topic *metadata.Topic, i int, was *metadata.Partition, unclean bool) {
	p := &topic.Partitions[i]
	fail := func(rule string) {
		w.t.Helper()
		w.t.Fatalf("%s-%d %s became %s: %s; replicas have %v", topic.Name, i, partitionText(was), partitionText(p), rule, w.replicas)
	}
	switch {
	case p.LeaderEpoch < was.LeaderEpoch || p.PartitionEpoch < was.PartitionEpoch:
		fail("an epoch went back")
	case p.PartitionEpoch == was.PartitionEpoch:
		if partitionText(p) != partitionText(was) {
			fail("a change without an epoch")
		}
		return
	case p.Leader != was.Leader && p.LeaderEpoch == was.LeaderEpoch:
		fail("another leader in the same epoch")
	case p.LeaderEpoch == was.LeaderEpoch || p.Leader == ids.NoNode:
		return
	}
	key := partitionKey{topic.ID, i}
	has := w.replicas[replicaKey{key, p.Leader}]
	promised := w.promised[key]
	lost := has < promised
	w.promised[key] = has
	// The last leader may lead again where no eligible replica has what was promised either.
	nobodyHas := !slices.ContainsFunc(was.ELR, func(id ids.NodeID) bool { return w.replicas[replicaKey{key, id}] >= promised })
	lastKnown := nobodyHas && (slices.Contains(was.LastKnownELR, p.Leader) || holdsAlone(was, p.Leader))
	if lost && !unclean && !lastKnown && !(testSchema{}.UncleanElection(w.config(topic))) {
		fail(fmt.Sprintf("%d is elected and lacks what was promised", p.Leader))
	}
}

// Racks of equal size: a partition is in as many of them as it can be, and every broker
// has its share of leaders and replicas.
func TestPlacementOverRacks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		racks, each := rapid.IntRange(1, 4).Draw(t, "racks"), rapid.IntRange(1, 3).Draw(t, "brokers in each")
		equal := rapid.Bool().Draw(t, "equal")
		c := newTestCore(testConfig)
		rackOfNode := make(map[ids.NodeID]int)
		for node := 1; node <= racks*each; node++ {
			rack := (node - 1) / each
			if !equal {
				rack = rapid.IntRange(0, racks-1).Draw(t, "rack")
			}
			rackOfNode[ids.NodeID(node)] = rack
			req := registration(node, 900+node, testID(800+node))
			req.Rack = kmsg.StringPtr(fmt.Sprint("rack-", rack))
			recs, refusal := c.BrokerRegistration(req, testTime)
			if refusal != nil {
				t.Fatal(refusal)
			}
			mustAccept(t, c, recs)
			c.Commit(c.pending, true)
			_, recs = c.BrokerHeartbeat(heartbeat(c, node), testTime)
			mustAccept(t, c, recs)
			c.Commit(c.pending, true)
		}
		inUse := len(slices.Compact(slices.Sorted(maps.Values(rackOfNode))))
		factor := rapid.IntRange(1, racks*each).Draw(t, "factor")
		leads, has := make(map[ids.NodeID]int), make(map[ids.NodeID]int)
		for i := range rapid.IntRange(1, 20).Draw(t, "topics") {
			_, recs := c.CreateTopics(&kmsg.CreateTopicsRequest{Version: 7, Topics: []kmsg.CreateTopicsRequestTopic{newTopic(fmt.Sprint("t", i), rapid.Int32Range(1, 8).Draw(t, "partitions"), int16(factor))}})
			mustAccept(t, c, recs)
		}
		for topic := range c.pending.Topics() {
			for _, p := range topic.Partitions {
				leads[p.Leader]++
				seen := make(map[int]bool)
				for _, r := range p.Replicas {
					has[r]++
					seen[rackOfNode[r]] = true
				}
				if len(seen) != min(factor, inUse) || len(slices.Compact(slices.Sorted(slices.Values(p.Replicas)))) != factor {
					t.Fatalf("replicas %v are in %d of %d racks: %v", p.Replicas, len(seen), inUse, rackOfNode)
				}
			}
		}
		apart := func(of map[ids.NodeID]int) int {
			lowest, highest := 1<<30, 0
			for node := 1; node <= racks*each; node++ {
				lowest, highest = min(lowest, of[ids.NodeID(node)]), max(highest, of[ids.NodeID(node)])
			}
			return highest - lowest
		}
		if apart(leads) > 1 || equal && apart(has) > factor {
			t.Fatalf("%d racks of %d, factor %d: leads %v, has %v", racks, each, factor, leads, has)
		}
	})
}
