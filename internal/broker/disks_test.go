package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// seeds knows all nodes.
func (c *cluster) seeds() kgo.Opt { return kgo.SeedBrokers(c.clients[:]...) }

// write produces that many records to each partition of a topic, through any node, and fails the test where one is refused.
func (c *cluster) write(topic string, partitions, count int) {
	c.t.Helper()
	cl, err := kgo.NewClient(c.seeds(), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableIdempotentWrite(),
		kgo.MetadataMinAge(50*time.Millisecond), kgo.RecordRetries(1000))
	if err != nil {
		c.t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	var records []*kgo.Record
	for p := range partitions {
		for n := range count {
			records = append(records, &kgo.Record{Partition: int32(p), Value: fmt.Appendf(nil, "%d of partition %d", n, p)})
		}
	}
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
}

// until waits for a condition of a topic's partitions, as node i sees them.
func (c *cluster) until(i int, topic, what string, holds func(kmsg.MetadataResponseTopicPartition) bool) {
	c.t.Helper()
	cl := c.client(i)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		partitions := c.metadata(cl, topic).Topics[0].Partitions
		if len(partitions) > 0 && !slices.ContainsFunc(partitions, func(p kmsg.MetadataResponseTopicPartition) bool { return !holds(p) }) {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("not all partitions are %s: %+v", what, partitions)
		}
	}
}

// sameLogs fails unless all nodes have the same bytes of partition 0 of a topic on their disks, all of which is readable.
func (c *cluster) sameLogs(topic string) {
	c.t.Helper()
	const name = "/data/%s-0/00000000000000000000.log"
	var first []byte
	for i, disk := range c.disks {
		content, err := vfs.ReadFile(disk, fmt.Sprintf(name, topic), 1<<24)
		if err != nil {
			c.t.Fatalf("node %d: %v", i+1, err)
		}
		if i == 0 {
			first = content
		}
		if !bytes.Equal(content, first) {
			c.t.Errorf("nodes 1 and %d differ, %d and %d bytes", i+1, len(first), len(content))
		}
	}
}

// flip changes one byte of a replica's first segment.
func (c *cluster) flip(i int, topic string, at int64) {
	c.t.Helper()
	f, err := c.disks[i].OpenExisting("/data/" + topic + "-0/00000000000000000000.log")
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		c.t.Fatal(err)
	}
	b[0] ^= 0x40
	if _, err := f.WriteAt(b, at); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) create(topic string, partitions int32) {
	c.t.Helper()
	if _, err := kadm.NewClient(c.client(0)).CreateTopic(c.t.Context(), partitions, 3, nil, topic); err != nil {
		c.t.Fatal(err)
	}
	for i := range c.nodes {
		c.inSync(i, topic, 3)
	}
}

// One of a broker's directories fails: others lead and are in sync for what is in it, and only for that. After a restart with the directory
// well again its replicas are fetched anew.
func TestFailedDirectory(t *testing.T) {
	c := newCluster(t)
	c.settings = []string{"log.dirs", "/data,/more"}
	c.faults[0] = vfs.NewFault(c.disks[0])
	c.start(0, 1, 2)
	const partitions = 6
	c.create("t", partitions)
	c.write("t", partitions, 10)
	var there, elsewhere []int32
	for p := range int32(partitions) {
		if l := c.nodes[0].store.Log(ids.TopicPartition{Topic: "t", Partition: p}); l.DataDir() == "/more" {
			there = append(there, p)
		} else {
			elsewhere = append(elsewhere, p)
		}
	}
	if len(there) == 0 || len(elsewhere) == 0 {
		t.Fatalf("partitions %v are in the one directory, %v in the other", there, elsewhere)
	}
	fault := c.faults[0].Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpWrite, vfs.OpSync}, Path: "/more/*/*", Err: syscall.EIO})
	c.write("t", partitions, 10)
	for i := range c.nodes {
		c.until(i, "t", "served without the directory", func(p kmsg.MetadataResponseTopicPartition) bool {
			if slices.Contains(there, p.Partition) {
				return p.Leader > 1 && !slices.Contains(p.ISR, 1) && slices.Equal(p.OfflineReplicas, []int32{1})
			}
			return len(p.ISR) == 3 && len(p.OfflineReplicas) == 0
		})
	}
	c.write("t", partitions, 10)
	cl := c.client(0)
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	asked := kmsg.NewListOffsetsRequestTopicPartition()
	asked.Partition, asked.Timestamp = there[0], -1
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{asked}}}
	resp, err := cl.SeedBrokers()[0].Request(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if code := resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].ErrorCode; code != kerr.KafkaStorageError.Code {
		t.Errorf("offsets in the failed directory: error %d", code)
	}
	select {
	case err := <-c.nodes[0].Failed():
		t.Errorf("the broker cannot go on: %v", err)
	default:
	}
	restart := func() {
		if err := c.nodes[0].Stop(context.Background()); err != nil {
			t.Log(err)
		}
		c.start(0)
	}
	fault.Remove()
	fault = c.faults[0].Inject(vfs.Rule{Path: "/more/*", Err: syscall.EIO})
	restart()
	for i := range c.nodes {
		c.until(i, "t", "served without the directory after a restart", func(p kmsg.MetadataResponseTopicPartition) bool {
			if slices.Contains(there, p.Partition) {
				return p.Leader > 1 && !slices.Contains(p.ISR, 1) && slices.Equal(p.OfflineReplicas, []int32{1})
			}
			return len(p.ISR) == 3 && len(p.OfflineReplicas) == 0
		})
	}
	for _, p := range there { // or there would be two when the directory is well
		if l := c.nodes[0].store.Log(ids.TopicPartition{Topic: "t", Partition: p}); l != nil {
			t.Errorf("partition %d has been made anew in %s", p, l.DataDir())
		}
	}
	fault.Remove()
	restart()
	for i := range c.nodes {
		c.until(i, "t", "in sync again", func(p kmsg.MetadataResponseTopicPartition) bool {
			return len(p.ISR) == 3 && len(p.OfflineReplicas) == 0
		})
	}
}

// A broker without any directory stops.
func TestEveryDirectoryFails(t *testing.T) {
	c := newCluster(t)
	c.settings = []string{"log.dirs", "/one,/two", "metadata.log.dir", "/meta"}
	c.faults[2] = vfs.NewFault(c.disks[2])
	c.start(0, 1, 2)
	c.create("t", 4)
	for _, dir := range []string{"/one", "/two"} {
		c.faults[2].Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpWrite, vfs.OpSync}, Path: dir + "/*/*", Err: syscall.EIO})
	}
	c.write("t", 4, 10)
	select {
	case err := <-c.nodes[2].Failed():
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("it stops because %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the broker goes on without a directory")
	}
	c.until(0, "t", "served without broker 3", func(p kmsg.MetadataResponseTopicPartition) bool { return p.Leader < 3 && !slices.Contains(p.ISR, 3) })
}

// A broker whose disk is full leads nothing and is out of sync, the others go on; when there is room again it catches up and leads.
func TestFullDisk(t *testing.T) {
	c := newCluster(t)
	c.settings = []string{"leader.imbalance.check.interval.seconds", "1"}
	c.start(0, 1, 2)
	const partitions = 3
	c.create("t", partitions)
	c.write("t", partitions, 10)
	free, total, err := c.disks[1].Usage("/data")
	if err != nil {
		t.Fatal(err)
	}
	c.disks[1].SetCapacity(int64(total-free) + 64<<10)
	c.until(0, "t", "served without broker 2", func(p kmsg.MetadataResponseTopicPartition) bool {
		return p.Leader != 2 && p.Leader > 0 && !slices.Contains(p.ISR, 2)
	})
	c.write("t", partitions, 100)
	select {
	case err := <-c.nodes[1].Failed():
		t.Errorf("the broker cannot go on: %v", err)
	default:
	}
	c.disks[1].SetCapacity(int64(total))
	c.until(0, "t", "in sync, and led by their preferred replicas", func(p kmsg.MetadataResponseTopicPartition) bool {
		return len(p.ISR) == 3 && p.Leader == p.Replicas[0]
	})
	c.write("t", partitions, 1)
	for i := range c.nodes {
		c.inSync(i, "t", 3)
	}
	c.sameLogs("t")
}

// The leader's replica is damaged: a follower finds out, the leader gives up leading, and fetches its replica again.
func TestDamagedLeader(t *testing.T) {
	c := newCluster(t)
	c.start(0, 1, 2)
	c.create("t", 1)
	c.write("t", 1, 1000)
	leader := int(c.metadata(c.client(0), "t").Topics[0].Partitions[0].Leader) - 1
	behind := (leader + 1) % 3
	c.stop(behind)
	if err := c.disks[behind].RemoveAll("/data/t-0"); err != nil {
		t.Fatal(err)
	}
	c.flip(leader, "t", 500)
	c.start(behind)
	for i := range c.nodes {
		c.until(i, "t", "in sync", func(p kmsg.MetadataResponseTopicPartition) bool {
			return len(p.ISR) == 3 && int(p.Leader)-1 != leader && len(p.OfflineReplicas) == 0
		})
	}
	c.write("t", 1, 1)
	c.inSync(0, "t", 3)
	c.sameLogs("t")
}

// A follower that finds its own replica damaged when it opens has it fetched again.
func TestDamagedFollower(t *testing.T) {
	c := newCluster(t)
	c.start(0, 1, 2)
	c.create("t", 1)
	c.write("t", 1, 10)
	leader := int(c.metadata(c.client(0), "t").Topics[0].Partitions[0].Leader) - 1
	damaged := (leader + 1) % 3
	c.stop(damaged)
	c.flip(damaged, "t", 16) // the first batch is of another format
	c.start(damaged)
	for i := range c.nodes {
		c.inSync(i, "t", 3)
	}
	c.write("t", 1, 10)
	c.inSync(0, "t", 3)
	c.sameLogs("t")
}

// DeleteRecords is answered once the records are gone on every broker.
func TestDeleteRecordsOnEveryReplica(t *testing.T) {
	c := newCluster(t)
	c.start(0, 1, 2)
	c.create("t", 1)
	c.write("t", 1, 100)
	admin := kadm.NewClient(c.client(0))
	for below := int64(10); below <= 100; below += 10 {
		var offsets kadm.Offsets
		offsets.AddOffset("t", 0, below, -1)
		deleted, err := admin.DeleteRecords(t.Context(), offsets)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := deleted.Lookup("t", 0); got.Err != nil || got.LowWatermark != below {
			t.Fatalf("%+v", got)
		}
		for i, b := range c.nodes {
			if start := b.store.Log(ids.TopicPartition{Topic: "t"}).StartOffset(); start != ids.Offset(below) {
				t.Errorf("the log of node %d starts at %d, its records below %d were deleted", i+1, start, below)
			}
		}
	}
}
