package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/deferred"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

// member is a broker of a cluster of tables that replicate to each other.
type member struct {
	*Table
	cluster  *cluster
	node     ids.NodeID
	store    *log.Store
	fs       *vfs.Fault
	fetchers *Fetchers
	sender   *ISRSender
}

// cluster is tables that replicate to each other in memory, and what decides for them.
type cluster struct {
	t       *testing.T
	id      ids.TopicID
	policy  partition.Policy
	members []*member
	logger  *slog.Logger // of the senders
	logged  strings.Builder

	mu struct {
		sync.Mutex
		image *metadata.Image
		cut   map[ids.NodeID]bool // whom nobody reaches, and who hears nothing of the metadata
		seen  map[ids.NodeID]*metadata.Image
	}
}

const lagMax = 2 * time.Second

func newCluster(t *testing.T, nodes int, d partition.Durability) *cluster {
	c := &cluster{t: t, id: ids.NewUUID()}
	c.logger = slog.New(slog.NewTextHandler(&c.logged, nil))
	c.policy = partition.Policy{Durability: d, MinInSyncReplicas: min(nodes, 2), ReplicaLagMax: lagMax, MaxMessageBytes: 1 << 20, SegmentBytes: 1 << 30}
	c.mu.image = metadata.NewDelta(nil).Apply(0, 0)
	c.mu.cut, c.mu.seen = map[ids.NodeID]bool{}, map[ids.NodeID]*metadata.Image{}
	for n := range nodes {
		c.add(ids.NodeID(n + 1))
	}
	return c
}

func (c *cluster) add(node ids.NodeID) {
	m := &member{cluster: c, node: node, fs: vfs.NewFault(vfs.NewMem())}
	discard := slog.New(slog.DiscardHandler)
	var err error
	m.store, err = log.OpenStore(log.StoreConfig{
		FS: m.fs, Dirs: []string{"/data"}, NodeID: node, ClusterID: "wzfeT1BvQ5C-sWlyGfvXRg", Logger: discard,
		Config: func(string) log.Config { return log.DefaultConfig() },
	})
	if err != nil {
		c.t.Fatal(err)
	}
	epoch := func() int64 { return int64(node) }
	m.fetchers = NewFetchers(FetchersConfig{
		FetcherConfig: FetcherConfig{Node: node, MaxBytes: 1 << 20, PartitionBytes: 1 << 20, MinBytes: 1, MaxWait: 500 * time.Millisecond, Backoff: time.Second},
		Requester:     m, BrokerEpoch: epoch, Logger: discard,
	})
	m.sender = NewISRSender(ISRSenderConfig{Node: node, BrokerEpoch: epoch, Controller: m, LagMax: lagMax, Logger: c.logger})
	m.Table = NewTable(Config{
		Node: node, Logs: m.store, Logger: discard, Followers: m.fetchers,
		Settings: func(*metadata.Image, string) (log.Config, partition.Policy) { return log.DefaultConfig(), c.policy },
		Peers:    partition.Peers{Standing: func(n ids.NodeID) int64 { return int64(n) }, ISRWanted: m.sender.Want},
	})
	m.sender.Start(m.Table)
	c.mu.seen[node] = c.mu.image
	c.members = append(c.members, m)
}

func (c *cluster) stop() {
	for _, m := range c.members {
		m.fetchers.Stop()
		m.sender.Stop()
		m.CloseAll(kerr.NotLeaderForPartition)
	}
	for _, m := range c.members {
		if err := m.store.Close(); err != nil {
			c.t.Error(err)
		}
	}
}

// decide has everybody who can be reached follow new metadata.
func (c *cluster) decide(records ...metadata.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.decideLocked(records)
}

func (c *cluster) decideLocked(records []metadata.Record) {
	delta := metadata.NewDelta(c.mu.image)
	for _, r := range records {
		if err := delta.Replay(r); err != nil {
			c.t.Error(err)
			return
		}
	}
	c.mu.image = delta.Apply(c.mu.image.Offset+1, 1)
	c.spreadLocked()
}

func (c *cluster) spreadLocked() {
	for _, m := range c.members {
		if seen := c.mu.seen[m.node]; seen != c.mu.image && !c.mu.cut[m.node] {
			c.mu.seen[m.node] = c.mu.image
			m.Apply(deltaTo(c.t, seen, c.mu.image), c.mu.image)
		}
	}
}

// deltaTo has the one topic of these tests be as in now.
func deltaTo(t *testing.T, before, now *metadata.Image) *metadata.Delta {
	d := metadata.NewDelta(before)
	for topic := range now.Topics() {
		if _, known := before.Topic(topic.Name); !known {
			if err := d.Replay(&metadata.TopicRecord{Name: topic.Name, TopicID: topic.ID}); err != nil {
				t.Error(err)
			}
		}
		for i := range topic.Partitions {
			if err := d.Replay(&metadata.PartitionRecord{TopicID: topic.ID, PartitionID: int32(i), Partition: topic.Partitions[i]}); err != nil {
				t.Error(err)
			}
		}
	}
	d.Apply(now.Offset, 1)
	return d
}

// cut has a node reach nobody and hear nothing, or lets it again.
func (c *cluster) cut(node ids.NodeID, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.cut[node] = cut
	c.spreadLocked()
}

// topic makes partitions that leaders lead, all nodes replicate and only the leader has in sync.
func (c *cluster) topic(leaders ...ids.NodeID) {
	records := []metadata.Record{&metadata.TopicRecord{Name: "t", TopicID: c.id}}
	for i, leader := range leaders {
		p := metadata.Partition{ISR: []ids.NodeID{leader}, Leader: leader}
		for _, m := range c.members {
			p.Replicas = append(p.Replicas, m.node)
			p.Directories = append(p.Directories, metadata.UnassignedDirectory)
		}
		records = append(records, &metadata.PartitionRecord{TopicID: c.id, PartitionID: int32(i), Partition: p})
	}
	c.decide(records...)
}

// elect has a node lead, with the others that are given in sync.
func (c *cluster) elect(number int32, leader ids.NodeID, others ...ids.NodeID) {
	c.decide(&metadata.PartitionChangeRecord{TopicID: c.id, PartitionID: number, Leader: leader, ISR: append([]ids.NodeID{leader}, others...)})
}

func (c *cluster) inSync(number int32) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, _ := c.mu.image.Topic("t")
	return len(t.Partitions[number].ISR)
}

var errCut = errors.New("the network is cut")

// AlterPartition implements ISRController: it agrees to what is not outdated.
func (m *member) AlterPartition(_ context.Context, req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
	c := m.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.cut[m.node] {
		return nil, errCut
	}
	resp := kmsg.NewPtrAlterPartitionResponse()
	var records []metadata.Record
	for _, t := range req.Topics {
		out := kmsg.NewAlterPartitionResponseTopic()
		out.TopidID = t.TopicID
		topic, _ := c.mu.image.TopicByID(t.TopicID)
		for _, p := range t.Partitions {
			said := kmsg.NewAlterPartitionResponseTopicPartition()
			said.Partition = p.Partition
			now := &topic.Partitions[p.Partition]
			if now.Leader != m.node || now.PartitionEpoch != p.PartitionEpoch {
				said.ErrorCode = kerr.InvalidUpdateVersion.Code
			} else {
				var isr []ids.NodeID
				for _, in := range p.NewEpochISR {
					isr = append(isr, ids.NodeID(in.BrokerID))
				}
				records = append(records, &metadata.PartitionChangeRecord{TopicID: t.TopicID, PartitionID: p.Partition, Leader: metadata.NoLeaderChange, ISR: isr})
			}
			out.Partitions = append(out.Partitions, said)
		}
		resp.Topics = append(resp.Topics, out)
	}
	if len(records) > 0 {
		c.decideLocked(records)
	}
	return resp, nil
}

// RequestLent implements Requester.
func (m *member) RequestLent(ctx context.Context, to ids.NodeID, req kmsg.Request) (kmsg.Response, func(), error) {
	resp, err := m.request(ctx, to, req)
	return resp, func() {}, err
}

// request has the other table answer, without sessions.
func (m *member) request(ctx context.Context, to ids.NodeID, req kmsg.Request) (kmsg.Response, error) {
	c := m.cluster
	if c.isCut(m.node, to) {
		return nil, errCut
	}
	fetch := req.(*kmsg.FetchRequest)
	other := c.members[to-1]
	w := partition.NewWatch()
	for _, t := range fetch.Topics {
		for _, p := range t.Partitions {
			if part, err := other.ByID(t.TopicID, p.Partition); err == nil {
				part.WatchAsFollower(w, p.Partition)
				defer part.UnwatchAsFollower(w, p.Partition)
			}
		}
	}
	deadline := time.After(time.Duration(fetch.MaxWaitMillis) * time.Millisecond)
	for {
		resp, news, err := other.answer(fetch)
		if c.isCut(m.node, to) { // while it was waiting
			return nil, errCut
		}
		if news || err != nil {
			return resp, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-deadline:
			return resp, nil
		case <-w.C:
			w.Take(nil)
		}
	}
}

func (c *cluster) isCut(one, other ids.NodeID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.cut[one] || c.mu.cut[other]
}

func (m *member) answer(fetch *kmsg.FetchRequest) (resp *kmsg.FetchResponse, news bool, err error) {
	resp = kmsg.NewPtrFetchResponse()
	for _, t := range fetch.Topics {
		out := kmsg.NewFetchResponseTopic()
		out.TopicID = t.TopicID
		for _, p := range t.Partitions {
			said, err := m.answerPartition(fetch, t.TopicID, &p)
			if err != nil {
				return nil, false, err
			}
			news = news || len(said.RecordBatches) > 0 || said.ErrorCode != 0 || said.DivergingEpoch.EndOffset >= 0
			if mine, err := m.cluster.members[fetch.ReplicaState.ID-1].ByID(t.TopicID, p.Partition); err == nil {
				news = news || int64(mine.Log().HighWatermark()) < min(said.HighWatermark, p.FetchOffset)
			}
			out.Partitions = append(out.Partitions, said)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, news, nil
}

func (m *member) answerPartition(fetch *kmsg.FetchRequest, id ids.TopicID, p *kmsg.FetchRequestTopicPartition) (kmsg.FetchResponseTopicPartition, error) {
	out := kmsg.NewFetchResponseTopicPartition()
	out.Partition = p.Partition
	part, err := m.ByID(id, p.Partition)
	var res partition.FetchResult
	if err == nil {
		res, err = part.ReadAsFollower(&partition.FollowerRead{
			Node: ids.NodeID(fetch.ReplicaState.ID), BrokerEpoch: fetch.ReplicaState.Epoch, From: ids.Offset(p.FetchOffset), Start: ids.Offset(p.LogStartOffset),
			CurrentEpoch: ids.LeaderEpoch(p.CurrentLeaderEpoch), LastFetchedEpoch: ids.LeaderEpoch(p.LastFetchedEpoch), MaxBytes: p.PartitionMaxBytes, AtLeastOne: true,
		})
	}
	out.HighWatermark, out.LogStartOffset = int64(res.HighWatermark), int64(res.LogStart)
	if err != nil {
		var code *kerr.Error
		if !errors.As(err, &code) {
			return out, err
		}
		out.ErrorCode = code.Code
		return out, nil
	}
	defer res.Slice.Release()
	if res.Diverging != nil {
		out.DivergingEpoch.Epoch, out.DivergingEpoch.EndOffset = int32(res.Diverging.Epoch), int64(res.Diverging.End)
	}
	out.RecordBatches = make([]byte, res.Slice.Len())
	_, err = res.Slice.ReadInto(out.RecordBatches)
	return out, err
}

func (c *cluster) partition(node ids.NodeID, number int32) *partition.Partition {
	c.t.Helper()
	p, err := c.members[node-1].ByID(c.id, number)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// produce appends a batch of records at a leader and returns the wait for it.
func (c *cluster) produce(node ids.NodeID, number int32, acks int16, records int) (chan error, error) {
	b := record.NewBuilder()
	for n := range records {
		b.Append(time.Now().UnixMilli(), nil, fmt.Appendf(nil, "%d of node %d", n, node))
	}
	p := c.partition(node, number)
	a, err := p.AppendAsLeader(b.MustBuild(), acks)
	if err != nil {
		return nil, err
	}
	told := make(chan error, 1)
	p.WhenCommitted(a.LastOffset+1, deferred.Func(func(err error) { told <- err }))
	return told, nil
}

// until waits, in the time of the bubble.
func (c *cluster) until(what string, holds func() bool) {
	c.t.Helper()
	for range 100_000 {
		if synctest.Wait(); holds() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	c.t.Fatalf("in vain: %s", what)
}

// contents is a log from its start to its end.
func contents(t *testing.T, l *log.Log) []byte {
	t.Helper()
	s, err := l.Read(l.StartOffset(), l.EndOffset(), 1<<30, true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	out := make([]byte, s.Len())
	if _, err := s.ReadInto(out); err != nil {
		t.Fatal(err)
	}
	return out
}

// whole waits until all replicas of a partition are in sync and have the same.
func (c *cluster) whole(number int32) {
	c.t.Helper()
	c.until("all in sync with the same", func() bool {
		first := c.partition(1, number).Log()
		for _, m := range c.members {
			l := c.partition(m.node, number).Log()
			if l.EndOffset() != first.EndOffset() || l.HighWatermark() != first.EndOffset() || l.StartOffset() != first.StartOffset() {
				return false
			}
		}
		return c.inSync(number) == len(c.members)
	})
	want := contents(c.t, c.partition(1, number).Log())
	for _, m := range c.members {
		if got := contents(c.t, c.partition(m.node, number).Log()); !slices.Equal(got, want) {
			c.t.Fatalf("node %d has %d bytes of partition %d, others than node 1 with %d", m.node, len(got), number, len(want))
		}
	}
}

func inBubble(t *testing.T, nodes int, d partition.Durability, run func(*cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, nodes, d)
		defer c.stop()
		run(c)
	})
}

// TestReplication: followers come into sync and have what is acknowledged, under each ack.durability.
func TestReplication(t *testing.T) {
	for _, d := range []partition.Durability{partition.DurabilityAuto, partition.DurabilityFsync, partition.DurabilityOS} {
		inBubble(t, 3, d, func(c *cluster) {
			c.cut(2, true)
			c.cut(3, true)
			c.topic(1, 2)
			if _, err := c.produce(1, 0, partition.AcksAll, 1); !errors.Is(err, kerr.NotEnoughReplicas) {
				t.Fatalf("with one in sync: %v", err)
			}
			c.cut(2, false)
			c.cut(3, false)
			c.until("all in sync", func() bool { return c.inSync(0) == 3 && c.inSync(1) == 3 })
			for n := range 20 {
				number := int32(n % 2)
				told, err := c.produce(ids.NodeID(number+1), number, partition.AcksAll, 1+n%3)
				if err != nil {
					t.Fatal(err)
				}
				if err := <-told; err != nil {
					t.Fatal(err)
				}
				end := c.partition(ids.NodeID(number+1), number).Log().EndOffset()
				for _, m := range c.members {
					l := c.partition(m.node, number).Log()
					if l.EndOffset() < end || d == partition.DurabilityFsync && l.DurableEnd() < end {
						t.Fatalf("acknowledged up to %d, and node %d has %d, %d synced", end, m.node, l.EndOffset(), l.DurableEnd())
					}
				}
			}
			c.whole(0)
			c.whole(1)
		})
	}
}

// TestDirectoriesOfFollowersAppearLate: with their first record.
func TestDirectoriesOfFollowersAppearLate(t *testing.T) {
	inBubble(t, 2, partition.DurabilityOS, func(c *cluster) {
		c.topic(1)
		c.until("all in sync", func() bool { return c.inSync(0) == 2 })
		exists := func() bool {
			_, err := c.members[1].fs.Stat(c.partition(2, 0).Log().Dir())
			return err == nil
		}
		if exists() {
			t.Fatal("there is a directory before there is a record")
		}
		if _, err := c.produce(1, 0, 1, 1); err != nil {
			t.Fatal(err)
		}
		c.until("a directory", exists)
	})
}

// TestSucceededLeader: what a leader had to itself is gone when another leads, and it follows.
func TestSucceededLeader(t *testing.T) {
	inBubble(t, 3, partition.DurabilityAuto, func(c *cluster) {
		c.topic(1)
		c.until("all in sync", func() bool { return c.inSync(0) == 3 })
		told, err := c.produce(1, 0, partition.AcksAll, 2)
		if err != nil || <-told != nil {
			t.Fatal(err)
		}
		c.whole(0)
		c.cut(1, true)
		lost, err := c.produce(1, 0, partition.AcksAll, 3)
		if err != nil {
			t.Fatal(err)
		}
		c.elect(0, 2, 3)
		told, err = c.produce(2, 0, partition.AcksAll, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-told; err != nil {
			t.Fatal(err)
		}
		c.cut(1, false)
		if err := <-lost; !errors.Is(err, kerr.NotLeaderForPartition) {
			t.Fatalf("what nobody else had: %v", err)
		}
		c.whole(0)
		if end := c.partition(1, 0).Log().EndOffset(); end != 3 {
			t.Fatalf("ends at %d", end)
		}
		c.elect(0, 1, 2, 3)
		c.elect(0, 3, 1, 2) // which node 1 has led without a record
		c.elect(0, 2, 1, 3)
		if told, err = c.produce(2, 0, partition.AcksAll, 1); err != nil || <-told != nil {
			t.Fatal(err)
		}
		c.whole(0)
	})
}

// TestSlowFollower leaves the ISR after replica.lag.time.max.ms, with it what waits goes on, and it comes back.
func TestSlowFollower(t *testing.T) {
	inBubble(t, 3, partition.DurabilityAuto, func(c *cluster) {
		c.topic(1)
		c.until("all in sync", func() bool { return c.inSync(0) == 3 })
		c.cut(3, true)
		begin := time.Now()
		told, err := c.produce(1, 0, partition.AcksAll, 1)
		if err != nil || <-told != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begin); waited < lagMax || waited > 2*lagMax || c.inSync(0) != 2 {
			t.Fatalf("waited for %v with %d in sync", waited, c.inSync(0))
		}
		c.cut(3, false)
		c.whole(0)
	})
}

// A leader that finds no controller says so once, however many partitions wait for it.
func TestControllerThatDoesNotAnswer(t *testing.T) {
	inBubble(t, 3, partition.DurabilityAuto, func(c *cluster) {
		c.topic(1, 1, 1)
		c.until("all in sync", func() bool { return c.inSync(0) == 3 && c.inSync(1) == 3 && c.inSync(2) == 3 })
		c.cut(1, true)
		for number := range int32(3) {
			if _, err := c.produce(1, number, partition.AcksAll, 1); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * lagMax)
		c.cut(1, false)
		for number := range int32(3) {
			c.whole(number)
		}
		time.Sleep(2 * lagMax)
		synctest.Wait()
		if said, again := strings.Count(c.logged.String(), "level=WARN"), strings.Count(c.logged.String(), "answered again"); said != 1 || again != 1 {
			t.Errorf("%d warnings, %d times over:\n%.2000s", said, again, c.logged.String())
		}
	})
}

// TestFollowerBehindTheLogStart begins anew where the leader's log does, though that is within a batch.
func TestFollowerBehindTheLogStart(t *testing.T) {
	inBubble(t, 3, partition.DurabilityAuto, func(c *cluster) {
		c.topic(1)
		c.until("all in sync", func() bool { return c.inSync(0) == 3 })
		if _, err := c.produce(1, 0, 1, 2); err != nil {
			t.Fatal(err)
		}
		c.whole(0)
		c.cut(3, true)
		for range 5 {
			told, err := c.produce(1, 0, partition.AcksAll, 5)
			if err != nil || <-told != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.partition(1, 0).DeleteRecords(14); err != nil {
			t.Fatal(err)
		}
		c.cut(3, false)
		c.whole(0)
		if start := c.partition(3, 0).Log().StartOffset(); start != 14 {
			t.Fatalf("starts at %d", start)
		}
	})
}

// TestFollowersWhileLeadersChange has elections, producers and deletions at once; what was acknowledged stays, and the
// race detector looks on.
func TestFollowersWhileLeadersChange(t *testing.T) {
	inBubble(t, 3, partition.DurabilityAuto, func(c *cluster) {
		c.topic(1, 2, 3, 1)
		for number := range int32(4) {
			c.until("all in sync", func() bool { return c.inSync(number) == 3 })
		}
		var wg sync.WaitGroup
		acked := make([]ids.Offset, 4)
		for number := range int32(4) {
			wg.Go(func() { acked[number] = c.produceAnywhere(number, 150) })
		}
		wg.Go(func() {
			for n := range 60 {
				time.Sleep(30 * time.Millisecond)
				number, leader := int32(n%4), ids.NodeID(1+n%3)
				c.decide(&metadata.PartitionChangeRecord{TopicID: c.id, PartitionID: number, Leader: c.electable(number, leader)})
			}
		})
		wg.Wait()
		for number := range int32(4) {
			c.whole(number)
			if end := c.partition(1, number).Log().EndOffset(); end < acked[number] {
				t.Fatalf("partition %d ends at %d, and %d were acknowledged", number, end, acked[number])
			}
		}
	})
}

// electable returns a node in sync, the one that is asked for if it is.
func (c *cluster) electable(number int32, wanted ids.NodeID) ids.NodeID {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, _ := c.mu.image.Topic("t")
	if isr := t.Partitions[number].ISR; !slices.Contains(isr, wanted) {
		return isr[0]
	}
	return wanted
}

// produceAnywhere has so many records acknowledged, one by one, wherever the leader is, and returns how many there have to be at least.
func (c *cluster) produceAnywhere(number int32, records int) (acked ids.Offset) {
	for n := 0; int(acked) < records; n++ {
		told, err := c.produce(ids.NodeID(1+n%3), number, partition.AcksAll, 1)
		if err == nil {
			err = <-told
		}
		if err == nil {
			acked++
			continue
		}
		if !errors.Is(err, kerr.NotLeaderForPartition) && !errors.Is(err, kerr.NotEnoughReplicas) {
			c.t.Error(err)
			return acked
		}
		time.Sleep(time.Millisecond)
	}
	return acked
}
