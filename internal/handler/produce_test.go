package handler

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/record"
)

// values makes a batch of one record a value, with the time of now.
func values(vs ...string) record.Batch { return batch(record.NewBuilder(), vs...) }

func batch(b *record.Builder, vs ...string) record.Batch {
	for _, v := range vs {
		b.Append(time.Now().UnixMilli(), nil, []byte(v))
	}
	return b.MustBuild()
}

// from makes a batch of an idempotent producer.
func from(producer ids.ProducerID, epoch ids.ProducerEpoch, sequence int32, vs ...string) record.Batch {
	b := record.NewBuilder()
	b.ProducerID, b.ProducerEpoch, b.BaseSequence = producer, epoch, sequence
	return batch(b, vs...)
}

// Where the fields of a batch that tests break stand.
const (
	lengthAt          = 8
	magicAt           = 16
	crcAt             = 17
	attributesAt      = 21
	lastOffsetDeltaAt = 23
	producerIDAt      = 43
	countAt           = 57
)

// broken changes a batch and makes its CRC right again.
func broken(b record.Batch, change func(b record.Batch) record.Batch) record.Batch {
	b = change(bytes.Clone(b))
	if len(b) >= attributesAt {
		binary.BigEndian.PutUint32(b[crcAt:], crc32.Checksum(b[attributesAt:], crc32.MakeTable(crc32.Castagnoli)))
	}
	return b
}

// with sets four bytes of a batch.
func with(b record.Batch, at int, v int32) record.Batch {
	return broken(b, func(b record.Batch) record.Batch {
		binary.BigEndian.PutUint32(b[at:], uint32(v))
		return b
	})
}

// produceRequest asks for one batch to be written to partition 0 of a topic.
func produceRequest(version, acks int16, topic string, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, acks, 5000
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Records: records}}}}
	return req
}

// only returns the one partition of an answer.
func only(t testing.TB, resp *kmsg.ProduceResponse) kmsg.ProduceResponseTopicPartition {
	t.Helper()
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		t.Fatalf("want one partition: %+v", resp)
	}
	return resp.Topics[0].Partitions[0]
}

// produce writes a batch with acks=all and returns its base offset.
func (c *client) produce(topic string, b record.Batch) int64 {
	c.t.Helper()
	req := produceRequest(9, -1, topic, b)
	p := only(c.t, ask[*kmsg.ProduceResponse](c, req))
	wantCode(c.t, "produce", p.ErrorCode, nil)
	return p.BaseOffset
}

// A topic with LogAppendTime answers with the time of the append, a duplicate with that of the producer's last batch.
func TestProduceLogAppendTime(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("t", 1, "message.timestamp.type", "LogAppendTime")
	c := b.dial()
	defer c.close()
	ask1 := func(batch record.Batch) kmsg.ProduceResponseTopicPartition {
		return only(t, ask[*kmsg.ProduceResponse](c, produceRequest(latest, -1, "t", batch)))
	}
	before := time.Now().UnixMilli()
	old := record.NewBuilder().Append(1000, nil, []byte("x")).MustBuild()
	p := ask1(old)
	wantCode(t, "append", p.ErrorCode, nil)
	if p.LogAppendTime < before || p.LogAppendTime > time.Now().UnixMilli() {
		t.Errorf("append time %d, sent at %d", p.LogAppendTime, before)
	}
	first := ask1(from(7, 0, 0, "a"))
	again := ask1(from(7, 0, 0, "a"))
	if again.BaseOffset != first.BaseOffset || again.LogAppendTime != first.LogAppendTime {
		t.Errorf("%+v, and again %+v", first, again)
	}
}

// compression.type has batches stored with its codec, whatever they came with.
func TestProduceRecompresses(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	c := b.dial()
	defer c.close()
	for name, codec := range map[string]record.Codec{"uncompressed": record.None, "gzip": record.Gzip, "snappy": record.Snappy, "lz4": record.LZ4, "zstd": record.Zstd} {
		b.create(name, 1, "compression.type", name)
		for sent := record.None; sent <= record.Zstd; sent++ {
			made, err := record.NewBuilder().Append(1, []byte("k"), []byte("v")).Build(sent)
			if err != nil {
				t.Fatal(err)
			}
			at := c.produce(name, made)
			s, err := b.partition(name, 0).Log().Read(ids.Offset(at), ids.Offset(at+1), 1<<20, true)
			if err != nil {
				t.Fatal(err)
			}
			p := make([]byte, s.Len())
			if _, err := s.ReadInto(p); err != nil && err != io.EOF {
				t.Fatal(err)
			}
			s.Release()
			if stored := record.Batch(p); stored.Attributes().Codec() != codec || !stored.CheckCRC() || stored.BaseOffset() != ids.Offset(at) {
				t.Errorf("%s to %s is stored as %+v", sent, name, stored.Header())
			}
		}
	}
}

// latest is the newest version of Produce that names topics.
const latest = 12

// refusal is one row of what a bad Produce gets.
type refusal struct {
	name    string
	version int16 // 0: latest
	acks    int16 // 0: -1
	topic   string
	number  int32
	client  string
	txn     *string
	records record.Batch
	want    *kerr.Error
	record  int32 // index of the record that is to blame; -1: none
}

func (r *refusal) request() *kmsg.ProduceRequest {
	version, acks, topic := r.version, r.acks, r.topic
	if version == 0 {
		version = latest
	}
	if acks == 0 {
		acks = -1
	}
	if topic == "" {
		topic = "t"
	}
	req := produceRequest(version, acks, topic, r.records)
	req.TransactionID = r.txn
	req.Topics[0].Partitions[0].Partition = r.number
	return req
}

func trailing(b record.Batch) record.Batch {
	b = append(b, 0, 0, 0)
	binary.BigEndian.PutUint32(b[lengthAt:], uint32(len(b)-12))
	return b
}

func transactional() record.Batch {
	b := record.NewBuilder()
	b.ProducerID, b.ProducerEpoch, b.BaseSequence, b.Transactional = 77, 0, 0, true
	return batch(b, "x")
}

func at(timestamp int64) record.Batch {
	return record.NewBuilder().Append(time.Now().UnixMilli(), nil, []byte("x")).Append(timestamp, nil, []byte("y")).MustBuild()
}

func compressed(t *testing.T, codec record.Codec) record.Batch {
	b, err := record.NewBuilder().Append(time.Now().UnixMilli(), nil, bytes.Repeat([]byte("x"), 1000)).Build(codec)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func attribute(bit uint16) record.Batch {
	return broken(values("x"), func(b record.Batch) record.Batch {
		binary.BigEndian.PutUint16(b[attributesAt:], bit)
		return b
	})
}

func refusals(t *testing.T) []refusal {
	txn, now := "txn", time.Now().UnixMilli()
	const hour = int64(time.Hour / time.Millisecond)
	ok := values("x", "y")
	crc := bytes.Clone(ok)
	crc[len(crc)-2] ^= 1
	magic1 := bytes.Clone(ok)
	magic1[magicAt] = 1
	short := broken(ok[:60], func(b record.Batch) record.Batch {
		binary.BigEndian.PutUint32(b[lengthAt:], 60-12)
		return b
	})
	base := bytes.Clone(ok)
	base[7] = 1
	malformed := broken(ok, func(b record.Batch) record.Batch {
		b[record.HeaderBytes] = 0x7e // the first record claims 63 bytes
		return b
	})
	big, huge := values(strings.Repeat("x", 3000)), values(strings.Repeat("x", 1500))
	none := int32(-1)
	return []refusal{
		{"acks 2", 0, 2, "", 0, "", nil, ok, kerr.InvalidRequiredAcks, none},
		{"acks -2", 0, -2, "", 0, "", nil, ok, kerr.InvalidRequiredAcks, none},
		{"a transactional batch, null transactional id", 0, 0, "", 0, "", nil, transactional(), kerr.TransactionalIDAuthorizationFailed, none},
		{"unknown topic", 0, 0, "nobody", 0, "", nil, ok, kerr.UnknownTopicOrPartition, none},
		{"unknown partition", 0, 0, "", 9, "", nil, ok, kerr.UnknownTopicOrPartition, none},
		{"negative partition", 0, 0, "", -1, "", nil, ok, kerr.UnknownTopicOrPartition, none},
		{"another broker leads", 0, 0, "elsewhere", 0, "", nil, ok, kerr.NotLeaderForPartition, none},
		{"a client writes offsets", 0, 0, "__consumer_offsets", 0, "", nil, ok, kerr.InvalidTopicException, none},
		{"a client writes transactions", 0, 0, "__transaction_state", 0, "", nil, ok, kerr.InvalidTopicException, none},
		{"a client writes share states", 0, 0, "__share_group_state", 0, "", nil, ok, kerr.InvalidTopicException, none},
		{"an admin client may write offsets", 0, 0, "__consumer_offsets", 0, "__admin_client", nil, ok, nil, none},
		{"no batch", 0, 0, "", 0, "", nil, record.Batch{}, kerr.InvalidRecord, none},
		{"half a batch", 0, 0, "", 0, "", nil, ok[:len(ok)-1], kerr.InvalidRecord, none},
		{"two batches", 0, 0, "", 0, "", nil, append(values("x"), values("y")...), kerr.InvalidRecord, none},
		{"magic 1", 0, 0, "", 0, "", nil, magic1, kerr.InvalidRecord, none},
		{"zstd on version 6", 6, 0, "", 0, "", nil, compressed(t, record.Zstd), kerr.UnsupportedCompressionType, none},
		{"zstd on version 7", 7, 0, "", 0, "", nil, compressed(t, record.Zstd), nil, none},
		{"gzip on version 3", 3, 0, "", 0, "", nil, compressed(t, record.Gzip), nil, none},
		{"CRC", 0, 0, "", 0, "", nil, crc, kerr.CorruptMessage, none},
		{"smaller than a header", 0, 0, "", 0, "", nil, short, kerr.CorruptMessage, none},
		{"larger than max.message.bytes", 0, 0, "small", 0, "", nil, big, kerr.MessageTooLarge, none},
		{"larger than segment.bytes", 0, 0, "small", 0, "", nil, huge, kerr.RecordListTooLarge, none},
		{"base offset 1", 0, 0, "", 0, "", nil, base, kerr.InvalidRecord, none},
		{"no records", 0, 0, "", 0, "", nil, with(with(ok, countAt, 0), lastOffsetDeltaAt, -1), kerr.InvalidRecord, none},
		{"negative count", 0, 0, "", 0, "", nil, with(ok, countAt, -1), kerr.InvalidRecord, none},
		{"last offset delta and count differ", 0, 0, "", 0, "", nil, with(ok, lastOffsetDeltaAt, 4), kerr.InvalidRecord, none},
		{"more records than there are", 0, 0, "", 0, "", nil, with(with(ok, countAt, 3), lastOffsetDeltaAt, 2), kerr.InvalidRecord, none},
		{"malformed record", 0, 0, "", 0, "", nil, malformed, kerr.InvalidRecord, none},
		{"bytes behind the records", 0, 0, "", 0, "", nil, broken(ok, trailing), kerr.InvalidRecord, none},
		{"control batch", 0, 0, "", 0, "", nil, attribute(1 << 5), kerr.InvalidRecord, none},
		{"producer id without a sequence", 0, 0, "", 0, "", nil, with(with(ok, producerIDAt, 0), producerIDAt+4, 9), kerr.InvalidRecord, none},
		{"timestamp too old", 0, 0, "dated", 0, "", nil, at(now - 2*hour), kerr.InvalidTimestamp, 1},
		{"timestamp too new", 0, 0, "dated", 0, "", nil, at(now + 2*hour), kerr.InvalidTimestamp, 1},
		{"timestamp within bounds", 0, 0, "dated", 0, "", nil, at(now - hour/2), nil, none},
		{"no timestamp", 0, 0, "dated", 0, "", nil, at(-1), nil, none},
		{"old producer epoch", 0, 0, "", 0, "", nil, from(8, 1, 1, "x"), kerr.InvalidProducerEpoch, none},
		{"sequence gap", 0, 0, "", 0, "", nil, from(8, 2, 5, "x"), kerr.OutOfOrderSequenceNumber, none},
		{"new epoch with another sequence than 0", 0, 0, "", 0, "", nil, from(8, 3, 1, "x"), kerr.OutOfOrderSequenceNumber, none},
		{"unknown producer with any sequence", 0, 0, "", 0, "", nil, from(9, 0, 1234, "x"), nil, none},
		{"partition in no transaction, version 10", 10, 0, "", 0, "", &txn, transactional(), kerr.InvalidTxnState, none},
		{"partition in no transaction, version 11", 11, 0, "", 0, "", &txn, transactional(), kerr.TransactionAbortable, none},
		{"partition in no transaction, version 12", 12, 0, "", 0, "", &txn, transactional(), kerr.TransactionAbortable, none},
	}
}

// startProduce starts a broker with the topics of the refusals.
func startProduce(t *testing.T) (*broker, *client) {
	b := startBroker(t)
	b.create("t", 1)
	b.create("small", 1, "max.message.bytes", "2000", "internal.segment.bytes", "1000")
	b.create("dated", 1, "message.timestamp.before.max.ms", "3600000", "message.timestamp.after.max.ms", "3600000")
	b.create("__consumer_offsets", 1)
	b.create("__transaction_state", 1)
	b.create("__share_group_state", 1)
	id := ids.NewUUID()
	other := leads(id, 0, 0)
	other.Leader, other.Replicas, other.ISR = testNode+1, []ids.NodeID{testNode + 1}, []ids.NodeID{testNode + 1}
	here := leads(id, 1, 0) // so that the topic is one of this broker
	b.applyTopic("elsewhere", id, other, here)
	c := b.dial()
	c.produce("t", from(8, 2, 0, "x")) // producer 8 is at epoch 2, sequence 1
	return b, c
}

// TestProduceRefusals has one case for each row of what Apache Kafka refuses.
func TestProduceRefusals(t *testing.T) {
	b, c := startProduce(t)
	defer b.stop()
	defer c.close()
	for _, tc := range refusals(t) {
		t.Run(tc.name, func(t *testing.T) {
			if c.id = "test"; tc.client != "" {
				c.id = tc.client
			}
			p := only(t, ask[*kmsg.ProduceResponse](c, tc.request()))
			wantCode(t, "produce", p.ErrorCode, tc.want)
			if refused := p.BaseOffset < 0; refused != (tc.want != nil) {
				t.Errorf("base offset %d", p.BaseOffset)
			}
			if tc.record >= 0 && (len(p.ErrorRecords) != 1 || p.ErrorRecords[0].RelativeOffset != tc.record) {
				t.Errorf("records to blame: %+v, want %d", p.ErrorRecords, tc.record)
			}
			if tc.want != nil && c.id == "test" && tc.version == 0 && p.ErrorMessage == nil {
				t.Error("no message says why")
			}
		})
	}
}

// TestProduceRefusedWithoutAcks: with acks=0 nobody hears of an error but by the end of the connection.
func TestProduceRefusedWithoutAcks(t *testing.T) {
	b, c := startProduce(t)
	defer b.stop()
	defer c.close()
	for _, tc := range refusals(t) {
		if tc.acks != 0 {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			c := b.dial()
			defer c.close()
			if tc.client != "" {
				c.id = tc.client
			}
			req := tc.request()
			req.Acks = 0
			c.send(req)
			if tc.want != nil {
				c.wantClosed()
				return
			}
			c.read++ // that request has no answer
			ask[*kmsg.ApiVersionsResponse](c, kmsg.NewPtrApiVersionsRequest())
		})
	}
}

func TestProduceByTopicID(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	id := b.create("t", 1)
	c := b.dial()
	defer c.close()
	for _, tc := range []struct {
		name string
		id   ids.TopicID
		want *kerr.Error
	}{
		{"the topic's", id, nil},
		{"unknown", ids.NewUUID(), kerr.UnknownTopicID},
		{"zero", ids.ZeroUUID, kerr.UnknownTopicID},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := produceRequest(13, -1, "", values("x"))
			req.Topics[0].TopicID = tc.id
			p := only(t, ask[*kmsg.ProduceResponse](c, req))
			wantCode(t, "produce", p.ErrorCode, tc.want)
		})
	}
}

// TestProduceEveryVersion writes one batch in each version that is served, and each
// number of acks.
func TestProduceEveryVersion(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	id := b.create("t", 1)
	c := b.dial()
	defer c.close()
	offset := int64(0)
	for version := int16(3); version <= 13; version++ {
		for _, acks := range []int16{-1, 1, 0} {
			req := produceRequest(version, acks, "t", values("x", "y"))
			req.Topics[0].TopicID = id
			c.send(req)
			if acks == 0 {
				c.read++
			} else {
				p := only(t, answer[*kmsg.ProduceResponse](c, req))
				wantCode(t, "produce", p.ErrorCode, nil)
				if p.BaseOffset != offset || p.LogAppendTime != -1 || version >= 5 && p.LogStartOffset != 0 {
					t.Errorf("v%d acks %d: %+v, want base offset %d", version, acks, p, offset)
				}
			}
			offset += 2
		}
	}
	for version := int16(0); version < 3; version++ {
		c := b.dial()
		c.send(produceRequest(version, 1, "t", nil))
		c.wantClosed()
		c.close()
	}
}

func TestProduceDuplicates(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("t", 1)
	c := b.dial()
	defer c.close()
	const kept = 5 // batches of a producer that are known again
	for i := range int32(kept + 2) {
		if got := c.produce("t", from(8, 0, i*2, "x", "y")); got != int64(i*2) {
			t.Fatalf("batch %d at %d", i, got)
		}
	}
	for i := int32(2); i < kept+2; i++ {
		if got := c.produce("t", from(8, 0, i*2, "x", "y")); got != int64(i*2) {
			t.Errorf("duplicate of batch %d answers %d", i, got)
		}
	}
	p := only(t, ask[*kmsg.ProduceResponse](c, produceRequest(9, -1, "t", from(8, 0, 2, "x", "y"))))
	wantCode(t, "duplicate that is forgotten", p.ErrorCode, kerr.OutOfOrderSequenceNumber)
	if end := b.partition("t", 0).Log().EndOffset(); end != 2*(kept+2) {
		t.Errorf("log ends at %d: a duplicate was written", end)
	}
}

// TestProduceManyPartitions: one bad partition leaves the others alone, and the answer keeps the order.
func TestProduceManyPartitions(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("t", 3)
	c := b.dial()
	defer c.close()
	req := produceRequest(9, -1, "t", values("x"))
	req.Topics[0].Partitions = []kmsg.ProduceRequestTopicPartition{
		{Partition: 2, Records: values("x")}, {Partition: 7, Records: values("x")}, {Partition: 0, Records: values("x")}}
	req.Topics = append(req.Topics, kmsg.ProduceRequestTopic{Topic: "nobody", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: values("x")}}})
	resp := ask[*kmsg.ProduceResponse](c, req)
	var got []string
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			got = append(got, fmt.Sprintf("%s-%d:%d@%d", topic.Topic, p.Partition, p.ErrorCode, p.BaseOffset))
		}
	}
	if want := "t-2:0@0 t-7:3@-1 t-0:0@0 nobody-0:3@-1"; strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, " "), want)
	}
}

// TestProduceWhatIsWritten: the bytes on disk are the producer's with offset and epoch.
func TestProduceWhatIsWritten(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("t", 1)
	c := b.dial()
	defer c.close()
	sent := values("x", "y")
	c.produce("t", bytes.Clone(sent))
	c.produce("t", bytes.Clone(sent))
	got := readAll(t, b.partition("t", 0).Log())
	for i, base := range []ids.Offset{0, 2} {
		want := record.Batch(bytes.Clone(sent))
		want.SetBaseOffset(base)
		want.SetLeaderEpoch(0)
		if !bytes.Equal(got[i*len(sent):(i+1)*len(sent)], want) {
			t.Errorf("batch %d differs from what was sent", i)
		}
	}
}

func readAll(t *testing.T, l *log.Log) []byte {
	t.Helper()
	s, err := l.Read(l.StartOffset(), l.EndOffset(), 1<<30, true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	p := make([]byte, s.Len())
	if _, err := s.ReadInto(p); err != nil {
		t.Fatal(err)
	}
	return p
}
