package handler

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/vfs"
)

func moveRequest(version int16, dir, topic string, partitions ...int32) *kmsg.AlterReplicaLogDirsRequest {
	req := kmsg.NewPtrAlterReplicaLogDirsRequest()
	req.Version = version
	req.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: dir, Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: topic, Partitions: partitions}}}}
	return req
}

// codesOf writes an answer as "TOPIC-PARTITION=CODE ...".
func codesOf(resp *kmsg.AlterReplicaLogDirsResponse) string {
	text := ""
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			text += fmt.Sprintf(" %s-%d=%d", t.Topic, p.Partition, p.ErrorCode)
		}
	}
	return text
}

// TestAlterReplicaLogDirs moves a partition and reads it where it is then; DescribeLogDirs tells the copy from the replica.
func TestAlterReplicaLogDirs(t *testing.T) {
	b := startBrokerOn(t, vfs.NewMem(), "/a:/b")
	defer b.stop()
	b.create("t", 2)
	c := b.dial()
	defer c.close()
	c.produce("t", values("v"))
	p := b.partition("t", 0)
	for version := int16(1); version <= 2; version++ {
		if got := codesOf(ask[*kmsg.AlterReplicaLogDirsResponse](c, moveRequest(version, "/c", "t", 0, 7))); got != fmt.Sprintf(" t-0=%d t-7=%d", kerr.LogDirNotFound.Code, kerr.LogDirNotFound.Code) {
			t.Errorf("v%d to an unknown directory:%s", version, got)
		}
		if got := codesOf(ask[*kmsg.AlterReplicaLogDirsResponse](c, moveRequest(version, "/b", "t", 7))); got != fmt.Sprintf(" t-7=%d", kerr.UnknownTopicOrPartition.Code) {
			t.Errorf("v%d an unknown partition:%s", version, got)
		}
		if got := codesOf(ask[*kmsg.AlterReplicaLogDirsResponse](c, moveRequest(version, "/a", "t", 0))); got != " t-0=0" {
			t.Errorf("v%d to where it is:%s", version, got)
		}
	}
	if _, err := b.store.BeginMove(p.TopicPartition(), "/b"); err != nil {
		t.Fatal(err)
	}
	described := ask[*kmsg.DescribeLogDirsResponse](c, logDirsRequest(5, logDirsTopic("t", 0)))
	if got := described.Dirs[1].Topics[0].Partitions[0]; !got.IsFuture || got.OffsetLag != 1 || got.Size != 0 {
		t.Errorf("the copy is %+v", got)
	}
	if got := described.Dirs[0].Topics[0].Partitions[0]; got.IsFuture {
		t.Errorf("the replica is %+v", got)
	}
	if got := codesOf(ask[*kmsg.AlterReplicaLogDirsResponse](c, moveRequest(2, "/a", "t", 0))); got != " t-0=0" {
		t.Errorf("calling it off:%s", got)
	}
	watch := partition.NewWatch()
	p.Watch(watch, 0)
	defer p.Unwatch(watch, 0)
	if got := codesOf(ask[*kmsg.AlterReplicaLogDirsResponse](c, moveRequest(2, "/b", "t", 0))); got != " t-0=0" {
		t.Errorf("moving:%s", got)
	}
	for p.Log().DataDir() != "/b" {
		<-watch.C
	}
	if got := c.produce("t", values("w")); got != 1 {
		t.Errorf("the next record is at %d", got)
	}
}
