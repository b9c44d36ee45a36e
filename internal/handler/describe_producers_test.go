package handler

import (
	"reflect"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

func producersRequest(topic string, partitions ...int32) *kmsg.DescribeProducersRequest {
	req := kmsg.NewPtrDescribeProducersRequest()
	req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: topic, Partitions: partitions}}
	return req
}

// fromAt makes a batch of one record a timestamp of a producer, within a transaction or not.
func fromAt(producer ids.ProducerID, epoch ids.ProducerEpoch, sequence int32, transactional bool, timestamps ...int64) record.Batch {
	b := record.NewBuilder()
	b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = producer, epoch, sequence, transactional
	for _, ts := range timestamps {
		b.Append(ts, nil, []byte("x"))
	}
	return b.MustBuild()
}

type activeProducer = kmsg.DescribeProducersResponseTopicPartitionActiveProducer

func TestDescribeProducers(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("t", 2)
	c := b.dial()
	defer c.close()
	ask0 := func() []activeProducer {
		got := ask[*kmsg.DescribeProducersResponse](c, producersRequest("t", 0)).Topics[0].Partitions[0]
		wantCode(t, "describe producers", got.ErrorCode, nil)
		return got.ActiveProducers
	}
	want := func(what string, want ...activeProducer) {
		t.Helper()
		for range 2 { // asking changes nothing
			if got := ask0(); len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v, want %+v", what, got, want)
			}
		}
	}
	want("nothing was written")
	c.produce("t", values("no producer id"))
	want("nobody with an id wrote")
	c.produce("t", fromAt(70, 3, 0, false, 100, 300, 200))
	c.produce("t", fromAt(9, 0, 5, false, 50))
	nine := activeProducer{ProducerID: 9, LastSequence: 5, LastTimestamp: 50, CoordinatorEpoch: -1, CurrentTxnStartOffset: -1}
	want("two producers", nine,
		activeProducer{ProducerID: 70, ProducerEpoch: 3, LastSequence: 2, LastTimestamp: 300, CoordinatorEpoch: -1, CurrentTxnStartOffset: -1})

	l := b.partition("t", 0).Log()
	for _, batch := range []record.Batch{fromAt(70, 4, 0, true, 400), fromAt(70, 4, 1, true, 500)} {
		if _, err := l.AppendAsLeader(batch, 0); err != nil {
			t.Fatal(err)
		}
	}
	want("an open transaction", nine,
		activeProducer{ProducerID: 70, ProducerEpoch: 4, LastSequence: 1, LastTimestamp: 500, CoordinatorEpoch: -1, CurrentTxnStartOffset: 5})
	marker := record.EndTxnMarker{ProducerID: 70, ProducerEpoch: 4, CoordinatorEpoch: 6, Commit: true}
	if _, err := l.AppendAsLeader(marker.Build(600), 0); err != nil {
		t.Fatal(err)
	}
	want("a transaction that ended", nine,
		activeProducer{ProducerID: 70, ProducerEpoch: 4, LastSequence: 1, LastTimestamp: 600, CoordinatorEpoch: 6, CurrentTxnStartOffset: -1})
}

func TestDescribeProducersRefusals(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("t", 1)
	elsewhere := ids.NewUUID()
	p := leads(elsewhere, 0, 0)
	p.Partition.Replicas, p.Partition.ISR, p.Partition.Leader = []ids.NodeID{testNode + 1}, []ids.NodeID{testNode + 1}, testNode+1
	b.applyTopic("elsewhere", elsewhere, p)
	c := b.dial()
	defer c.close()
	c.produce("t", from(1, 0, 0, "a"))
	for _, tc := range []struct {
		name, topic string
		partition   int32
		want        *kerr.Error
	}{
		{"a partition", "t", 0, nil},
		{"unknown topic", "nobody", 0, kerr.UnknownTopicOrPartition},
		{"unknown partition", "t", 1, kerr.UnknownTopicOrPartition},
		{"a partition below zero", "t", -1, kerr.UnknownTopicOrPartition},
		{"a topic that cannot be", "not a name!", 0, kerr.InvalidTopicException},
		{"no topic name", "", 0, kerr.InvalidTopicException},
		{"no replica here", "elsewhere", 0, kerr.NotLeaderForPartition},
		{"unknown partition of such a topic", "elsewhere", 1, kerr.UnknownTopicOrPartition},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ask[*kmsg.DescribeProducersResponse](c, producersRequest(tc.topic, tc.partition))
			if len(got.Topics) != 1 || got.Topics[0].Topic != tc.topic || len(got.Topics[0].Partitions) != 1 {
				t.Fatalf("%+v", got)
			}
			p := got.Topics[0].Partitions[0]
			wantCode(t, "describe producers", p.ErrorCode, tc.want)
			if p.Partition != tc.partition || (p.ErrorMessage == nil) != (tc.want == nil) || tc.want != nil && len(p.ActiveProducers) > 0 {
				t.Errorf("%+v", p)
			}
		})
	}
	t.Run("a partition twice", func(t *testing.T) {
		got := ask[*kmsg.DescribeProducersResponse](c, producersRequest("t", 0, 0))
		if len(got.Topics[0].Partitions) != 2 {
			t.Errorf("%+v", got.Topics)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		if got := ask[*kmsg.DescribeProducersResponse](c, kmsg.NewPtrDescribeProducersRequest()); len(got.Topics) != 0 {
			t.Errorf("%+v", got.Topics)
		}
	})
}

func TestDescribeProducersOfAnOfflineDirectory(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("t", 1)
	c := b.dial()
	defer c.close()
	c.produce("t", from(1, 0, 0, "a"))
	b.fs.Inject(vfs.Rule{Ops: []vfs.Op{vfs.OpWrite}, Path: "*.log", Err: syscall.EIO})
	_ = ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", from(1, 0, 1, "b"))) // fails, and its directory
	got := ask[*kmsg.DescribeProducersResponse](c, producersRequest("t", 0)).Topics[0].Partitions[0]
	wantCode(t, "describe producers", got.ErrorCode, kerr.KafkaStorageError)
}
