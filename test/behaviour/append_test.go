package behaviour

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var appendScenarios = []scenario{
	{name: "keys, values, headers and times come back as they were sent", run: func(b *broker) {
		topic := b.topic(1)
		at := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
		sent := []*kgo.Record{
			{Key: []byte("k"), Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}, {Key: "h"}}},
			{Key: []byte{}, Value: []byte{}},
			{},
		}
		b.append(topic, batch{records: sent, time: at})
		got := b.read(topic)
		same(b, "records", len(got), 3)
		for i, r := range got {
			same(b, "the time", r.Timestamp.Equal(at), true)
			same(b, "the key", fmt.Sprintf("%#v", r.Key), fmt.Sprintf("%#v", sent[i].Key))
			same(b, "the value", fmt.Sprintf("%#v", r.Value), fmt.Sprintf("%#v", sent[i].Value))
			same(b, "headers", len(r.Headers), len(sent[i].Headers))
		}
		same(b, "the second header is null", got[0].Headers[1].Value == nil, true)
	}},
	{name: "one log holds batches of every codec", run: func(b *broker) {
		topic := b.topic(1)
		codecs := []kgo.CompressionCodec{{}, kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
		for i, codec := range codecs {
			b.append(topic, recs(fmt.Sprintf("a=%d", i), "b="+strings.Repeat("b", 1000)).packed(codec))
		}
		got := b.read(topic)
		same(b, "records", len(got), 10)
		for i := range codecs {
			same(b, "the record", text(got[2*i]), fmt.Sprintf("%d:a=%d", 2*i, i))
			same(b, "its codec", got[2*i].Attrs.CompressionType(), uint8(i))
		}
	}},
	{name: "a topic with a codec of its own compresses what comes", run: func(b *broker) {
		topic := b.topic(1, "compression.type=lz4")
		b.append(topic, recs("a="+strings.Repeat("a", 1000)), recs("b="+strings.Repeat("b", 1000)).packed(kgo.GzipCompression()))
		for _, r := range b.read(topic) {
			same(b, "the codec", r.Attrs.CompressionType(), 3)
			same(b, "the value", string(r.Value), strings.Repeat(string(r.Key), 1000))
		}
		b.set(topic, "compression.type=uncompressed")
		b.append(topic, recs("c=c").packed(kgo.ZstdCompression()))
		got := b.read(topic)
		same(b, "the codec after the change", got[2].Attrs.CompressionType(), 0)
		same(b, "records", texts(got[2:]), "2:c=c")
	}},
	{name: "a batch above max.message.bytes is refused and leaves nothing", run: func(b *broker) {
		topic := b.topic(1, "max.message.bytes=1000")
		b.refused(topic, batch{records: []*kgo.Record{{Value: payload(1001)}}}, kerr.MessageTooLarge)
		b.append(topic, recs("k=v"))
		same(b, "what is there", texts(b.read(topic)), "0:k=v")
	}},
	{name: "a topic may take larger batches than the broker's default", run: func(b *broker) {
		big := batch{records: []*kgo.Record{{Value: payload(2 << 20)}}}
		b.refused(b.topic(1), big, kerr.MessageTooLarge)
		topic := b.topic(1, "max.message.bytes=4194304")
		b.append(topic, big)
		got := b.read(topic)
		same(b, "records", len(got), 1)
		same(b, "the value", bytes.Equal(got[0].Value, payload(2<<20)), true)
	}},
	{name: "max.message.bytes is of the compressed batch", run: func(b *broker) {
		topic := b.topic(1, "max.message.bytes=1000")
		large := recs("k=" + strings.Repeat("v", 10_000))
		b.refused(topic, large, kerr.MessageTooLarge)
		b.append(topic, large.packed(kgo.ZstdCompression()))
		same(b, "records", len(b.read(topic)), 1)
	}},
	{name: "one partition's refusal does not keep back the others of a request", run: func(b *broker) {
		topic := b.topic(3, "max.message.bytes=1000")
		got := b.produce(topic, recs("a=1"), batch{records: []*kgo.Record{{Value: payload(2000)}}}, recs("c=3"))
		for _, p := range got {
			want := kerr.MessageTooLarge
			if p.Partition != 1 {
				want = nil
			}
			b.is("writing", p.ErrorCode, want)
		}
		same(b, "the end of the one that was refused", b.lookup(topic, 1, -1, -1).Offset, 0)
		same(b, "the end of another", b.lookup(topic, 2, -1, -1).Offset, 1)
	}},
	{name: "a record too far ahead of the clock is refused with its whole batch", run: func(b *broker) {
		topic := b.topic(1)
		bad := timed(time.Now().UnixMilli(), time.Now().Add(2*time.Hour).UnixMilli())
		p := b.refused(topic, bad, kerr.InvalidTimestamp)
		same(b, "the record that is told", only(b, p.ErrorRecords).RelativeOffset, 1)
		b.set(topic, "message.timestamp.after.max.ms=86400000")
		b.append(topic, bad)
		same(b, "records", len(b.read(topic)), 2)
	}},
	{name: "a record too far behind the clock is refused with its whole batch", run: func(b *broker) {
		topic := b.topic(1, "message.timestamp.before.max.ms=60000")
		p := b.refused(topic, timed(time.Now().UnixMilli(), time.Now().Add(-time.Hour).UnixMilli()), kerr.InvalidTimestamp)
		same(b, "the record that is told", only(b, p.ErrorRecords).RelativeOffset, 1)
		b.append(topic, timed(time.Now().Add(-time.Second).UnixMilli()))
	}},
	{name: "the broker's time takes the place of the producer's where the topic says so", run: func(b *broker) {
		topic := b.topic(1, "message.timestamp.type=LogAppendTime")
		before := time.Now().Add(-time.Second)
		p := b.produceOne(topic, timed(1000, 2000))
		b.is("writing", p.ErrorCode, nil)
		for _, r := range b.read(topic) {
			same(b, "the time", r.Timestamp.UnixMilli(), p.LogAppendTime)
			same(b, "its type", r.Attrs.TimestampType(), 1)
			same(b, "it is now", r.Timestamp.After(before), true)
		}
	}},
	{name: "a change of the timestamp type goes for new records", run: func(b *broker) {
		topic := b.topic(1)
		old := time.Now().Add(-time.Hour).UnixMilli()
		same(b, "the append time", b.produceOne(topic, timed(old)).LogAppendTime, -1)
		b.set(topic, "message.timestamp.type=LogAppendTime")
		b.append(topic, timed(old))
		b.set(topic, "message.timestamp.type=CreateTime")
		b.append(topic, timed(old))
		got := b.read(topic)
		same(b, "records", len(got), 3)
		for i, kept := range []bool{true, false, true} {
			same(b, "the time is the producer's", got[i].Timestamp.UnixMilli() == old, kept)
		}
	}},
	{name: "a write without acknowledgement has no answer and is there", run: func(b *broker) {
		topic := b.topic(1)
		req := produceRequest(0, topic, recs("k=v"))
		req.SetVersion(9)
		b.must("sending", b.send(req))
		b.until("it is there, says the next answer", func() bool { return b.latest(topic) == 1 })
	}},
	{name: "a write without acknowledgement that fails closes the connection", run: func(b *broker) {
		topic := b.topic(1)
		other := dial(b.T)
		req := produceRequest(0, topic, recs("a=1"), recs("b=2"))
		req.SetVersion(9)
		b.must("sending", other.send(req))
		same(b, "the connection is closed", other.closed(), true)
	}},
	{name: "a write that the leader acknowledges is there", run: func(b *broker) {
		topic := b.topic(1)
		p := only(b, only(b, ask(b, produceRequest(1, topic, recs("k=v"))).Topics).Partitions)
		b.is("writing", p.ErrorCode, nil)
		b.until("it is there", func() bool { return texts(b.read(topic)) == "0:k=v" })
	}},
	{name: "a number of acknowledgements that there is not is refused", run: func(b *broker) {
		topic := b.topic(1)
		for _, acks := range []int16{2, -2} {
			p := only(b, only(b, ask(b, produceRequest(acks, topic, recs("k=v"))).Topics).Partitions)
			b.is("writing", p.ErrorCode, kerr.InvalidRequiredAcks)
		}
		same(b, "the end of the log", b.latest(topic), 0)
	}},
	{name: "a topic of one replica takes writes though min.insync.replicas is greater", run: func(b *broker) {
		topic := b.topic(1, "min.insync.replicas=2")
		b.append(topic, recs("k=v"))
		same(b, "what is there", texts(b.read(topic)), "0:k=v")
	}},
	{name: "a batch with a wrong checksum is refused and leaves nothing", run: func(b *broker) {
		topic := b.topic(1)
		req := produceRequest(-1, topic, recs("k=v"))
		raw := req.Topics[0].Partitions[0].Records
		raw[len(raw)-1]++
		b.is("writing", only(b, only(b, ask(b, req).Topics).Partitions).ErrorCode, kerr.CorruptMessage)
		same(b, "the end of the log", b.latest(topic), 0)
	}},
}

var producerScenarios = []scenario{
	{name: "every producer gets an id of its own", run: func(b *broker) {
		seen := map[int64]bool{}
		conns := []*conn{dial(b.T), dial(b.T), dial(b.T)}
		for i := range 300 {
			p := newProducer(b, conns[i%len(conns)])
			same(b, "the id was given before", seen[p.id], false)
			same(b, "the epoch", p.epoch, 0)
			seen[p.id] = true
		}
	}},
	{name: "a batch that is sent again is answered with its offset and not written again", run: func(b *broker) {
		topic, p := b.topic(1), newProducer(b, b)
		for i := range int32(5) {
			same(b, "the offset", b.append(topic, recs("k=v").by(p, i)), int64(i))
		}
		for i := range int32(5) {
			same(b, "the offset again", b.append(topic, recs("k=v").by(p, i)), int64(i))
		}
		same(b, "the end of the log", b.latest(topic), 5)
	}},
	{name: "the five last batches of a producer are remembered, and none before", run: func(b *broker) {
		topic, p := b.topic(1), newProducer(b, b)
		for i := range int32(6) {
			b.append(topic, recs("k=v").by(p, i))
		}
		same(b, "the offset of the oldest", b.append(topic, recs("k=v").by(p, 1)), 1)
		b.refused(topic, recs("k=v").by(p, 0), kerr.OutOfOrderSequenceNumber)
	}},
	{name: "a gap in the sequence is refused and leaves nothing", run: func(b *broker) {
		topic, p := b.topic(1), newProducer(b, b)
		b.append(topic, recs("a=1", "b=2").by(p, 0))
		b.refused(topic, recs("d=4").by(p, 3), kerr.OutOfOrderSequenceNumber)
		same(b, "the next in order", b.append(topic, recs("c=3").by(p, 2)), 2)
	}},
	{name: "a new epoch begins again at sequence 0, and the old one is fenced", run: func(b *broker) {
		topic, p := b.topic(1), newProducer(b, b)
		b.append(topic, recs("a=1").by(p, 0))
		next := &producer{p.id, p.epoch + 1}
		b.refused(topic, recs("b=2").by(next, 1), kerr.OutOfOrderSequenceNumber)
		same(b, "the offset", b.append(topic, recs("b=2").by(next, 0)), 1)
		b.refused(topic, recs("c=3").by(p, 1), kerr.InvalidProducerEpoch)
		same(b, "the offset", b.append(topic, recs("c=3").by(next, 1)), 2)
	}},
	{name: "sequences go on at 0 after the greatest", run: func(b *broker) {
		topic, p := b.topic(1), newProducer(b, b)
		const last = 1<<31 - 1
		b.append(topic, recs("a=1").by(p, last))
		same(b, "the offset after it", b.append(topic, recs("b=2").by(p, 0)), 1)
		same(b, "the offset of the greatest again", b.append(topic, recs("a=1").by(p, last)), 0)
	}},
	{name: "a producer that a partition does not know may begin anywhere", run: func(b *broker) {
		topic, p := b.topic(1), newProducer(b, b)
		b.append(topic, recs("a=1").by(p, 77))
		b.refused(topic, recs("c=3").by(p, 79), kerr.OutOfOrderSequenceNumber)
		b.append(topic, recs("b=2").by(p, 78))
	}},
	{name: "each partition has sequences of its own", run: func(b *broker) {
		topic, p := b.topic(2), newProducer(b, b)
		for range 2 { // the second time is a duplicate in both
			for _, of := range b.produce(topic, recs("a=1").by(p, 0), recs("b=2").by(p, 0)) {
				b.is("writing", of.ErrorCode, nil)
				same(b, "the offset", of.BaseOffset, 0)
			}
		}
	}},
	{name: "producers of one partition do not disturb each other", run: func(b *broker) {
		topic, one, two := b.topic(1), newProducer(b, b), newProducer(b, b)
		for i := range int32(3) {
			b.append(topic, recs("a=1").by(one, i), recs("b=2").by(two, i))
		}
		same(b, "the offset of a duplicate", b.append(topic, recs("a=1").by(one, 1)), 2)
		same(b, "the end of the log", b.latest(topic), 6)
	}},
	{name: "what a producer wrote counts though its records were deleted", run: func(b *broker) {
		topic, p := b.topic(1), newProducer(b, b)
		b.append(topic, recs("a=1").by(p, 0))
		b.is("deleting", b.deleteRecords(topic, -1).ErrorCode, nil)
		same(b, "the offset of a duplicate", b.append(topic, recs("a=1").by(p, 0)), 0)
		same(b, "the end of the log", b.latest(topic), 1)
	}},
	{name: "a partition tells which producers write to it", run: func(b *broker) {
		topic, p := b.topic(1), newProducer(b, b)
		same(b, "producers at first", len(b.producers(topic)), 0)
		b.append(topic, recs("a=1", "b=2").by(p, 0), recs("c=3").by(p, 2))
		of := only(b, b.producers(topic))
		same(b, "the id", of.ProducerID, p.id)
		same(b, "the epoch", of.ProducerEpoch, int32(p.epoch))
		same(b, "the last sequence", of.LastSequence, 2)
		same(b, "the start of a transaction", of.CurrentTxnStartOffset, -1)
	}},
	{name: "an idempotent client writes each record once and in order", run: func(b *broker) {
		topic := b.topic(1)
		cl := b.client(kgo.DefaultProduceTopic(topic), kgo.MaxBufferedRecords(2000))
		for i := range 2000 {
			cl.Produce(b.context(), rec(fmt.Sprintf("k=%d", i)), func(_ *kgo.Record, err error) {
				if err != nil {
					b.Errorf("writing: %v", err)
				}
			})
		}
		b.must("flushing", cl.Flush(b.context()))
		got := b.read(topic)
		same(b, "records", len(got), 2000)
		for i, r := range got {
			same(b, "the record", text(r), fmt.Sprintf("%d:k=%[1]d", i))
		}
	}},
}

// newProducer asks for an id.
func newProducer(b *broker, on asker) *producer {
	b.Helper()
	var resp *kmsg.InitProducerIDResponse
	b.until("there are ids", func() bool {
		resp = ask(on, kmsg.NewPtrInitProducerIDRequest())
		return resp.ErrorCode != kerr.CoordinatorLoadInProgress.Code
	})
	b.is("asking for an id", resp.ErrorCode, nil)
	return &producer{resp.ProducerID, resp.ProducerEpoch}
}

// producers are those of partition 0.
func (b *broker) producers(topic string) []kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
	b.Helper()
	req := kmsg.NewPtrDescribeProducersRequest()
	t := kmsg.NewDescribeProducersRequestTopic()
	t.Topic, t.Partitions = topic, []int32{0}
	req.Topics = append(req.Topics, t)
	p := only(b, only(b, ask(b, req).Topics).Partitions)
	b.is("describing", p.ErrorCode, nil)
	return p.ActiveProducers
}
