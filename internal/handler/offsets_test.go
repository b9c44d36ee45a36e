package handler

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
)

func listRequest(version int16, topic string, partition int32, timestamp int64) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID = version, -1
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition, timestamp
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
	return req
}

func (c *client) listOffsets(req *kmsg.ListOffsetsRequest) kmsg.ListOffsetsResponseTopicPartition {
	c.t.Helper()
	return ask[*kmsg.ListOffsetsResponse](c, req).Topics[0].Partitions[0]
}

// timed writes a batch with one record a timestamp.
func (c *client) timed(topic string, timestamps ...int64) {
	c.t.Helper()
	b := record.NewBuilder()
	for _, ts := range timestamps {
		b.Append(ts, nil, []byte("x"))
	}
	c.produce(topic, b.MustBuild())
}

func TestListOffsets(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	id := b.create("t", 1)
	b.create("empty", 1)
	c := b.dial()
	defer c.close()
	c.timed("t", 100, 300, 200) // 0..3 in epoch 0
	b.newEpoch(id, 0)
	c.timed("t", 250, 400, 400) // 3..6 in epoch 1
	if _, err := b.partition("t", 0).DeleteRecords(1); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name             string
		version          int16
		topic            string
		partition        int32
		timestamp        int64
		want             *kerr.Error
		offset, found    int64
		epoch            int32
		currentEpoch     int32 // -1: none
		replicaOrIsolate int8
	}{
		{"latest", 11, "t", 0, -1, nil, 6, -1, 1, -1, 0},
		{"latest, committed", 11, "t", 0, -1, nil, 6, -1, 1, -1, 1},
		{"latest in version 1", 1, "t", 0, -1, nil, 6, -1, -1, -1, 0},
		{"earliest", 11, "t", 0, -2, nil, 1, -1, 0, -1, 0},
		{"largest timestamp", 11, "t", 0, -3, nil, 4, 400, 1, -1, 0},
		{"largest timestamp before its version", 6, "t", 0, -3, kerr.UnsupportedVersion, -1, -1, -1, -1, 0},
		{"earliest local", 11, "t", 0, -4, nil, 1, -1, 0, -1, 0},
		{"earliest local before its version", 7, "t", 0, -4, kerr.UnsupportedVersion, -1, -1, -1, -1, 0},
		{"latest tiered", 11, "t", 0, -5, nil, -1, -1, -1, -1, 0},
		{"latest tiered before its version", 8, "t", 0, -5, kerr.UnsupportedVersion, -1, -1, -1, -1, 0},
		{"pending upload", 11, "t", 0, -6, nil, -1, -1, -1, -1, 0},
		{"pending upload before its version", 10, "t", 0, -6, kerr.UnsupportedVersion, -1, -1, -1, -1, 0},
		{"no such special", 11, "t", 0, -7, kerr.UnsupportedVersion, -1, -1, -1, -1, 0},
		{"first at or after", 11, "t", 0, 201, nil, 1, 300, 0, -1, 0},
		{"exactly", 11, "t", 0, 400, nil, 4, 400, 1, -1, 0},
		{"from the beginning", 11, "t", 0, 0, nil, 1, 300, 0, -1, 0},
		{"after the last", 11, "t", 0, 401, nil, -1, -1, -1, -1, 0},
		{"latest of nothing", 11, "empty", 0, -1, nil, 0, -1, 0, -1, 0},
		{"earliest of nothing", 11, "empty", 0, -2, nil, 0, -1, 0, -1, 0},
		{"largest timestamp of nothing", 11, "empty", 0, -3, nil, -1, -1, -1, -1, 0},
		{"time of nothing", 11, "empty", 0, 5, nil, -1, -1, -1, -1, 0},
		{"epoch of now", 11, "t", 0, -1, nil, 6, -1, 1, 1, 0},
		{"older epoch", 11, "t", 0, -1, kerr.FencedLeaderEpoch, -1, -1, -1, 0, 0},
		{"newer epoch", 11, "t", 0, -1, kerr.UnknownLeaderEpoch, -1, -1, -1, 2, 0},
		{"unknown topic", 11, "nobody", 0, -1, kerr.UnknownTopicOrPartition, -1, -1, -1, -1, 0},
		{"unknown partition", 11, "t", 5, -1, kerr.UnknownTopicOrPartition, -1, -1, -1, -1, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := listRequest(tc.version, tc.topic, tc.partition, tc.timestamp)
			req.IsolationLevel = tc.replicaOrIsolate
			req.Topics[0].Partitions[0].CurrentLeaderEpoch = tc.currentEpoch
			got := c.listOffsets(req)
			wantCode(t, "list offsets", got.ErrorCode, tc.want)
			if got.Offset != tc.offset || got.Timestamp != tc.found || tc.version >= 4 && got.LeaderEpoch != tc.epoch {
				t.Errorf("offset %d timestamp %d epoch %d, want %d %d %d", got.Offset, got.Timestamp, got.LeaderEpoch, tc.offset, tc.found, tc.epoch)
			}
		})
	}
	t.Run("named twice", func(t *testing.T) {
		req := listRequest(11, "t", 0, -1)
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, req.Topics[0].Partitions[0])
		resp := ask[*kmsg.ListOffsetsResponse](c, req)
		if n := len(resp.Topics[0].Partitions); n != 1 {
			t.Fatalf("%d answers", n)
		}
		wantCode(t, "list offsets", resp.Topics[0].Partitions[0].ErrorCode, kerr.InvalidRequest)
	})
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	id := b.create("t", 1)
	b.create("empty", 1)
	c := b.dial()
	defer c.close()
	c.produce("t", values("a", "b")) // epoch 0: 0..2
	b.newEpoch(id, 0)
	b.newEpoch(id, 0)
	c.produce("t", values("c")) // epoch 2: 2..3
	b.newEpoch(id, 0)           // epoch 3 begins at 3
	for _, tc := range []struct {
		name           string
		topic          string
		partition      int32
		asked, current int32
		want           *kerr.Error
		epoch          int32
		end            int64
	}{
		{"first epoch", "t", 0, 0, -1, nil, 0, 2},
		{"an epoch without records", "t", 0, 1, -1, nil, 0, 2},
		{"an epoch that ended", "t", 0, 2, -1, nil, 2, 3},
		{"epoch of now", "t", 0, 3, 3, nil, 3, 3},
		{"an epoch to come", "t", 0, 9, -1, nil, -1, -1},
		{"no epoch", "t", 0, -1, -1, nil, -1, -1},
		{"nothing was ever written", "empty", 0, 0, -1, nil, 0, 0},
		{"older epoch", "t", 0, 0, 2, kerr.FencedLeaderEpoch, -1, -1},
		{"newer epoch", "t", 0, 0, 4, kerr.UnknownLeaderEpoch, -1, -1},
		{"unknown topic", "nobody", 0, 0, -1, kerr.UnknownTopicOrPartition, -1, -1},
		{"unknown partition", "t", 1, 0, -1, kerr.UnknownTopicOrPartition, -1, -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for version := int16(2); version <= 4; version++ {
				req := kmsg.NewPtrOffsetForLeaderEpochRequest()
				req.Version = version
				p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
				p.Partition, p.LeaderEpoch, p.CurrentLeaderEpoch = tc.partition, tc.asked, tc.current
				req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: tc.topic, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
				got := ask[*kmsg.OffsetForLeaderEpochResponse](c, req).Topics[0].Partitions[0]
				wantCode(t, "offset for leader epoch", got.ErrorCode, tc.want)
				if got.LeaderEpoch != tc.epoch || got.EndOffset != tc.end {
					t.Errorf("v%d: epoch %d ends at %d, want %d at %d", version, got.LeaderEpoch, got.EndOffset, tc.epoch, tc.end)
				}
			}
		})
	}
}

func TestDeleteRecords(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("t", 1)
	c := b.dial()
	defer c.close()
	for range 5 {
		c.produce("t", values("x", "y"))
	}
	for _, tc := range []struct {
		name      string
		topic     string
		partition int32
		before    int64
		want      *kerr.Error
		low       int64
	}{
		{"some", "t", 0, 4, nil, 4},
		{"within a batch", "t", 0, 5, nil, 5},
		{"less than is gone", "t", 0, 2, nil, 5},
		{"beyond the high watermark", "t", 0, 11, kerr.OffsetOutOfRange, -1},
		{"negative", "t", 0, -2, kerr.OffsetOutOfRange, -1},
		{"unknown topic", "nobody", 0, 0, kerr.UnknownTopicOrPartition, -1},
		{"unknown partition", "t", 4, 0, kerr.UnknownTopicOrPartition, -1},
		{"all", "t", 0, -1, nil, 10},
		{"all of nothing", "t", 0, -1, nil, 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := kmsg.NewPtrDeleteRecordsRequest()
			req.Version = 2
			p := kmsg.NewDeleteRecordsRequestTopicPartition()
			p.Partition, p.Offset = tc.partition, tc.before
			req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: tc.topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{p}}}
			got := ask[*kmsg.DeleteRecordsResponse](c, req).Topics[0].Partitions[0]
			wantCode(t, "delete records", got.ErrorCode, tc.want)
			if got.LowWatermark != tc.low {
				t.Errorf("low watermark %d, want %d", got.LowWatermark, tc.low)
			}
		})
	}
	if start := b.partition("t", 0).Log().StartOffset(); start != 10 {
		t.Errorf("log starts at %d", start)
	}
}

func TestInitProducerID(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	c := b.dial()
	defer c.close()
	name, empty := "txn", ""
	for _, tc := range []struct {
		name  string
		txn   *string
		id    int64
		epoch int16
		want  *kerr.Error
	}{
		{"transactional id", &name, -1, -1, kerr.UnsupportedVersion},
		{"empty transactional id", &empty, -1, -1, kerr.InvalidRequest},
		{"id without epoch", nil, 7, -1, kerr.InvalidRequest},
		{"epoch without id", nil, -1, 7, kerr.InvalidRequest},
		{"id and epoch", nil, 7, 7, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := kmsg.NewPtrInitProducerIDRequest()
			req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.TransactionTimeoutMillis = 4, tc.txn, tc.id, tc.epoch, 1000
			got := ask[*kmsg.InitProducerIDResponse](c, req)
			wantCode(t, "init producer id", got.ErrorCode, tc.want)
			if tc.want != nil && (got.ProducerID != -1 || got.ProducerEpoch != -1) {
				t.Errorf("an error with producer %d epoch %d", got.ProducerID, got.ProducerEpoch)
			}
		})
	}
	seen := map[int64]bool{}
	for version := int16(0); version <= 5; version++ {
		for range producerIDBlock {
			req := kmsg.NewPtrInitProducerIDRequest()
			req.Version = version
			got := ask[*kmsg.InitProducerIDResponse](c, req)
			if got.ErrorCode != 0 || got.ProducerEpoch != 0 || got.ProducerID < 0 || seen[got.ProducerID] {
				t.Errorf("v%d: %+v", version, got)
			}
			seen[got.ProducerID] = true
		}
	}
	next := b.image.Load().NextProducerID()
	for id := range seen {
		if id >= int64(next) {
			t.Errorf("id %d is of a block that nobody has: they end at %d", id, next)
		}
	}
}

// TestDeletedRecordsStayDeleted: what was deleted is neither read nor found by time.
func TestDeletedRecordsStayDeleted(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("t", 1)
	c := b.dial()
	defer c.close()
	now := time.Now().UnixMilli()
	c.timed("t", now, now+1, now+2)
	if _, err := b.partition("t", 0).DeleteRecords(2); err != nil {
		t.Fatal(err)
	}
	if got := c.listOffsets(listRequest(11, "t", 0, now)); got.Offset != 2 || got.Timestamp != now+2 {
		t.Errorf("found %d at %d", got.Timestamp, got.Offset)
	}
	if got := b.partition("t", 0).Log().StartOffset(); got != ids.Offset(2) {
		t.Errorf("log starts at %d", got)
	}
}
