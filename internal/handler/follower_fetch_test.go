package handler

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
)

// followed makes a topic of one partition that this broker leads and otherNode follows.
func (b *broker) followed(name string) ids.TopicID {
	b.t.Helper()
	id := ids.NewUUID()
	both := []ids.NodeID{testNode, otherNode}
	p := leads(id, 0, 3)
	p.Replicas, p.ISR, p.Directories = both, both, append(p.Directories, metadata.UnassignedDirectory)
	b.applyTopic(name, id, p)
	b.partition(name, 0).SetPeers(partition.Peers{Standing: func(ids.NodeID) int64 { return 1 }})
	return id
}

// asFollower asks for partition 0 of a topic as a replica of a node does.
func asFollower(node ids.NodeID, id ids.TopicID, from int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MinBytes, req.MaxBytes, req.SessionEpoch = 17, 1, 1<<20, finalEpoch
	req.ReplicaState.ID, req.ReplicaState.Epoch = int32(node), 1
	t := kmsg.NewFetchRequestTopic()
	t.TopicID = id
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LogStartOffset = from, 1<<20, 3, 0
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// A follower reads what is not committed yet, and has it committed by asking for what comes after it.
func TestFollowerReadsBeyondTheHighWatermark(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	id := b.followed("t")
	producer, consumer, follower := b.dial(), b.dial(), b.dialAsNode()
	defer producer.close()
	defer consumer.close()
	defer follower.close()
	follower.fetch(asFollower(otherNode, id, 0))

	sent := produceRequest(9, partition.AcksAll, "t", values("a", "b"))
	producer.send(sent)
	got := firstPartition(t, follower.fetch(waiting(asFollower(otherNode, id, 0), 10*time.Second)))
	if got.ErrorCode != 0 || len(got.RecordBatches) == 0 || got.HighWatermark != 0 {
		t.Fatalf("the follower got %+v", got)
	}
	if seen := firstPartition(t, consumer.fetch(fetchRequest("t", 0, 0))); len(seen.RecordBatches) != 0 || seen.HighWatermark != 0 {
		t.Errorf("a client sees what one replica has: %+v", seen)
	}
	if got := firstPartition(t, follower.fetch(asFollower(otherNode, id, 2))); got.ErrorCode != 0 || got.HighWatermark != 2 {
		t.Errorf("the follower, which has all, got %+v", got)
	}
	if p := only(t, answer[*kmsg.ProduceResponse](producer, sent)); p.ErrorCode != 0 {
		t.Errorf("the producer got %+v", p)
	}
	if seen := firstPartition(t, consumer.fetch(fetchRequest("t", 0, 0))); len(seen.RecordBatches) == 0 || seen.HighWatermark != 2 {
		t.Errorf("a client sees %+v", seen)
	}
}

// Only the node that a connection has proved to be fetches as that replica, and its session is no client's.
func TestReplicaHasToProveItself(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	id := b.followed("t")
	client, node := b.dial(), b.dialAsNode()
	defer client.close()
	defer node.close()
	for _, refused := range []struct {
		name string
		got  *kmsg.FetchResponse
	}{
		{"a client", client.fetch(asFollower(otherNode, id, 0))},
		{"a node as another", node.fetch(asFollower(otherNode+1, id, 0))},
		{"a node as this one", node.fetch(asFollower(testNode, id, 0))},
	} {
		wantCode(t, refused.name, firstPartition(t, refused.got).ErrorCode, kerr.ClusterAuthorizationFailed)
	}

	opening := asFollower(otherNode, id, 0)
	opening.SessionEpoch = initialEpoch
	session := node.fetch(opening).SessionID
	if session == 0 {
		t.Fatal("no session for a follower")
	}
	stolen := kmsg.NewPtrFetchRequest()
	stolen.Version, stolen.SessionID, stolen.SessionEpoch, stolen.MaxBytes = 17, session, 1, 1<<20
	wantCode(t, "a client in a follower's session", client.fetch(stolen).ErrorCode, kerr.FetchSessionIDNotFound)
	next := *stolen
	next.ReplicaState.ID, next.ReplicaState.Epoch = int32(otherNode), 1
	if got := node.fetch(&next); got.ErrorCode != 0 {
		t.Errorf("the follower in its session: %+v", got)
	}
}

// A follower that is before the beginning of the leader's log is told where that is.
func TestFollowerBeforeTheLogStart(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	id := b.create("t", 1)
	producer := b.dial()
	defer producer.close()
	for range 3 {
		ask[*kmsg.ProduceResponse](producer, produceRequest(9, partition.AcksAll, "t", values("a", "b")))
	}
	if _, err := b.partition("t", 0).DeleteRecords(4); err != nil {
		t.Fatal(err)
	}
	b.apply(&metadata.PartitionChangeRecord{TopicID: id, Leader: testNode, Replicas: []ids.NodeID{testNode, otherNode}})
	_, epoch := b.partition("t", 0).Leader()
	node := b.dialAsNode()
	defer node.close()
	req := asFollower(otherNode, id, 1)
	req.Topics[0].Partitions[0].CurrentLeaderEpoch = int32(epoch)
	got := firstPartition(t, node.fetch(req))
	wantCode(t, "below the log start", got.ErrorCode, kerr.OffsetOutOfRange)
	if got.LogStartOffset != 4 {
		t.Errorf("the log begins at %d, want 4", got.LogStartOffset)
	}
}

// What an answer has no room for comes with the next one, though it is not committed and the follower does not name it again.
func TestFollowerGetsWhatHadNoRoom(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	one, two := b.followed("one"), b.followed("two")
	producer, follower := b.dial(), b.dialAsNode()
	defer producer.close()
	defer follower.close()
	opening := asFollower(otherNode, one, 0)
	opening.SessionEpoch = initialEpoch
	opening.Topics = append(opening.Topics, asFollower(otherNode, two, 0).Topics...)
	session := follower.fetch(waiting(opening, time.Millisecond)).SessionID
	for _, topic := range []string{"one", "two"} {
		ask[*kmsg.ProduceResponse](producer, produceRequest(9, 1, topic, values("a")))
	}
	next := func(epoch int32, topics ...kmsg.FetchRequestTopic) []kmsg.FetchResponseTopic {
		req := asFollower(otherNode, one, 0)
		req.SessionID, req.SessionEpoch, req.MaxBytes, req.Topics = session, epoch, 1, topics
		return follower.fetch(req).Topics
	}
	got := next(1)
	if len(got) != 1 || len(got[0].Partitions[0].RecordBatches) == 0 {
		t.Fatalf("the first answer is %+v", got)
	}
	other := map[ids.TopicID]ids.TopicID{one: two, two: one}[ids.TopicID(got[0].TopicID)]
	got = next(2, asFollower(otherNode, got[0].TopicID, 1).Topics...)
	for _, topic := range got {
		if topic.TopicID == other && len(topic.Partitions[0].RecordBatches) > 0 {
			return
		}
	}
	t.Errorf("the second answer is %+v", got)
}

// DeleteRecords waits until the follower has deleted the records too, for as long as the client does.
func TestDeleteRecordsWaitsForReplicas(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	id := b.followed("t")
	client, follower := b.dial(), b.dialAsNode()
	defer client.close()
	defer follower.close()
	ask[*kmsg.ProduceResponse](client, produceRequest(9, 1, "t", values("a", "b")))
	follower.fetch(asFollower(otherNode, id, 2))
	deletion := func(below int64, timeout time.Duration) *kmsg.DeleteRecordsRequest {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.Version, req.TimeoutMillis = 2, int32(timeout.Milliseconds())
		req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "t", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: below}}}}
		return req
	}
	one := func(resp *kmsg.DeleteRecordsResponse) kmsg.DeleteRecordsResponseTopicPartition {
		return resp.Topics[0].Partitions[0]
	}
	late := one(ask[*kmsg.DeleteRecordsResponse](client, deletion(1, time.Millisecond)))
	wantCode(t, "a follower that has not deleted", late.ErrorCode, kerr.RequestTimedOut)
	if late.LowWatermark != 0 || b.partition("t", 0).Log().StartOffset() != 1 {
		t.Errorf("low watermark %d, the leader's log starts at %d", late.LowWatermark, b.partition("t", 0).Log().StartOffset())
	}
	sent := deletion(2, time.Minute)
	client.send(sent)
	for _, start := range []int64{0, 1, 2} {
		fetch := asFollower(otherNode, id, 2)
		fetch.Topics[0].Partitions[0].LogStartOffset = start
		follower.fetch(fetch)
	}
	if got := one(answer[*kmsg.DeleteRecordsResponse](client, sent)); got.ErrorCode != 0 || got.LowWatermark != 2 {
		t.Errorf("%+v", got)
	}
}

// ledLongAgo has fetches of followers wait for as long as they ask.
type ledLongAgo struct{ Partitions }

func (ledLongAgo) Led() (time.Time, <-chan struct{}) { return time.Time{}, nil }

// A follower whose fetch is parked hears of records that are deleted at once.
func TestFollowerHearsOfDeletedRecords(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.handlers.Partitions = ledLongAgo{b.handlers.Partitions}
	id := b.followed("t")
	client, follower := b.dial(), b.dialAsNode()
	defer client.close()
	defer follower.close()
	ask[*kmsg.ProduceResponse](client, produceRequest(9, 1, "t", values("a", "b")))
	opening := asFollower(otherNode, id, 2)
	opening.SessionEpoch = initialEpoch
	session := follower.fetch(waiting(opening, time.Millisecond)).SessionID
	parked := waiting(asFollower(otherNode, id, 2), time.Hour)
	parked.SessionID, parked.SessionEpoch, parked.Topics = session, 1, nil
	follower.send(parked)
	if _, err := b.partition("t", 0).DeleteRecords(1); err != nil {
		t.Fatal(err)
	}
	if got := firstPartition(t, answer[*kmsg.FetchResponse](follower, parked)); got.LogStartOffset != 1 {
		t.Errorf("%+v", got)
	}
}

// Kafka's debug reader (kafka-replica-verification) reads every replica, as far as that knows what is committed; a client reads the leader.
func TestDebugReaderReadsOfFollowers(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	id := b.create("t", 1)
	client := b.dial()
	defer client.close()
	ask[*kmsg.ProduceResponse](client, produceRequest(9, partition.AcksAll, "t", values("a", "b")))
	b.apply(&metadata.PartitionChangeRecord{TopicID: id, Leader: otherNode, Replicas: []ids.NodeID{testNode, otherNode}})
	_, epoch := b.partition("t", 0).Leader()
	for _, c := range []struct {
		name    string
		replica int32
		epoch   ids.LeaderEpoch
		want    int16
	}{
		{"a client", noReplica, epoch, kerr.NotLeaderForPartition.Code},
		{"the debug reader", debugReplica, epoch, 0},
		{"the debug reader without an epoch", debugReplica, ids.NoLeaderEpoch, 0},
		{"the debug reader in an epoch that has ended", debugReplica, epoch - 1, kerr.FencedLeaderEpoch.Code},
		{"the debug reader in an epoch to come", debugReplica, epoch + 1, kerr.UnknownLeaderEpoch.Code},
	} {
		req := asFollower(ids.NodeID(c.replica), id, 0)
		req.Topics[0].Partitions[0].CurrentLeaderEpoch = int32(c.epoch)
		got := firstPartition(t, client.fetch(req))
		if got.ErrorCode != c.want || c.want == 0 && (got.HighWatermark != 2 || len(got.RecordBatches) == 0) {
			t.Errorf("%s got %+v", c.name, got)
		}
		if req.Version, req.ReplicaID = 12, c.replica; c.want == 0 { // which carries the replica elsewhere
			req.Topics[0].Topic = "t"
			if got := firstPartition(t, client.fetch(req)); got.ErrorCode != 0 || len(got.RecordBatches) == 0 {
				t.Errorf("%s of version 12 got %+v", c.name, got)
			}
		}
	}
}
