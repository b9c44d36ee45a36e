package behaviour

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A batch is what one Produce request writes to one partition.
type batch struct {
	records  []*kgo.Record // Key, Value, Headers, and Timestamp where it is not that of the batch
	time     time.Time     // of its records; now where not set
	codec    kgo.CompressionCodec
	producer *producer // nil for one that is not idempotent
	sequence int32
}

// A producer is an idempotent one.
type producer struct {
	id    int64
	epoch int16
}

// rec is a record: "key=value", "key" for a tombstone and "=value" for one without a key.
func rec(text string) *kgo.Record {
	key, value, valued := strings.Cut(text, "=")
	r := new(kgo.Record)
	if key != "" {
		r.Key = []byte(key)
	}
	if valued {
		r.Value = []byte(value)
	}
	return r
}

// recs is a batch of records, each as rec takes it.
func recs(texts ...string) batch {
	var b batch
	for _, text := range texts {
		b.records = append(b.records, rec(text))
	}
	return b
}

func (b batch) at(t time.Time) batch                    { b.time = t; return b }
func (b batch) by(p *producer, sequence int32) batch    { b.producer, b.sequence = p, sequence; return b }
func (b batch) packed(codec kgo.CompressionCodec) batch { b.codec = codec; return b }

// text is a record as rec takes it, behind its offset.
func text(r *kgo.Record) string {
	if r.Value == nil {
		return fmt.Sprintf("%d:%s", r.Offset, r.Key)
	}
	return fmt.Sprintf("%d:%s=%s", r.Offset, r.Key, r.Value)
}

func texts(records []*kgo.Record) string {
	var all []string
	for _, r := range records {
		all = append(all, text(r))
	}
	return list(all...)
}

// encode returns the batch as it goes over the wire.
func (b batch) encode() []byte {
	first := b.time
	if first.IsZero() {
		first = time.Now()
	}
	greatest := int64(0)
	var body []byte
	for i, r := range b.records {
		at := r.Timestamp
		if at.IsZero() {
			at = first
		}
		greatest = max(greatest, at.UnixMilli())
		body = appendRecord(body, i, at.UnixMilli()-first.UnixMilli(), r)
	}
	n := int32(len(b.records))
	kb := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: n - 1, NumRecords: n,
		FirstTimestamp: first.UnixMilli(), MaxTimestamp: greatest,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, Records: body,
	}
	if b.codec != (kgo.CompressionCodec{}) {
		kb.Records, kb.Attributes = compress(b.codec, body)
	}
	if b.producer != nil {
		kb.ProducerID, kb.ProducerEpoch, kb.FirstSequence = b.producer.id, b.producer.epoch, b.sequence
	}
	raw := kb.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

func appendRecord(dst []byte, i int, delta int64, r *kgo.Record) []byte {
	kr := kmsg.Record{TimestampDelta64: delta, OffsetDelta: int32(i), Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		kr.Headers = append(kr.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
	}
	kr.Length = int32(len(kr.AppendTo(nil)) - 1) // what follows the one byte of a zero length
	return kr.AppendTo(dst)
}

// compress returns the compressed records and their bits of the attributes.
func compress(codec kgo.CompressionCodec, body []byte) ([]byte, int16) {
	c, err := kgo.DefaultCompressor(codec)
	if err != nil {
		panic(err) // of a codec that is not built in
	}
	out, kind := c.Compress(new(bytes.Buffer), body)
	return out, int16(kind)
}

// produce writes batches to the first partitions of a topic, one each, and returns the answers in their order. It waits for
// all replicas.
func (b *broker) produce(topic string, batches ...batch) []kmsg.ProduceResponseTopicPartition {
	b.Helper()
	answers := only(b, ask(b, produceRequest(-1, topic, batches...)).Topics).Partitions
	slices.SortFunc(answers, func(x, y kmsg.ProduceResponseTopicPartition) int { return int(x.Partition - y.Partition) })
	return answers
}

func produceRequest(acks int16, topic string, batches ...batch) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 10_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	for i, one := range batches {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i), one.encode()
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return req
}

// produceOne writes a batch to partition 0 and returns the answer.
func (b *broker) produceOne(topic string, one batch) kmsg.ProduceResponseTopicPartition {
	b.Helper()
	return only(b, b.produce(topic, one))
}

// append writes batches to partition 0 and returns the offset of the last one's first record.
func (b *broker) append(topic string, batches ...batch) (offset int64) {
	b.Helper()
	for _, one := range batches {
		p := b.produceOne(topic, one)
		b.is("writing", p.ErrorCode, nil)
		offset = p.BaseOffset
	}
	return offset
}

// refused writes a batch to partition 0 that must fail and leave nothing.
func (b *broker) refused(topic string, one batch, want *kerr.Error) kmsg.ProduceResponseTopicPartition {
	b.Helper()
	end := b.latest(topic)
	p := b.produceOne(topic, one)
	b.is("writing", p.ErrorCode, want)
	same(b, "the end of the log afterwards", b.latest(topic), end)
	return p
}

// fetchRequest asks for partition 0 of a topic, and waits for nothing.
func fetchRequest(topic string, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionEpoch = 16<<20, -1
	req.Topics = append(req.Topics, fetchTopic(topic, fetchPartition(0, offset)))
	return req
}

func fetchTopic(topic string, partitions ...kmsg.FetchRequestTopicPartition) kmsg.FetchRequestTopic {
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.Partitions = topic, partitions
	return t
}

func fetchPartition(partition int32, offset int64) kmsg.FetchRequestTopicPartition {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, 16<<20
	return p
}

// fetchOne asks once for what is in partition 0 from an offset on.
func (b *broker) fetchOne(topic string, offset int64) kmsg.FetchResponseTopicPartition {
	b.Helper()
	resp := ask(b, fetchRequest(topic, offset))
	b.is("fetching", resp.ErrorCode, nil)
	return only(b, only(b, resp.Topics).Partitions)
}

// records are those of an answer from an offset on, and the offset that follows.
func (b *broker) records(p kmsg.FetchResponseTopicPartition, from int64) ([]*kgo.Record, int64) {
	b.Helper()
	fetched, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: from}, &p, kgo.DefaultDecompressor(), nil)
	b.must("reading", fetched.Err)
	return fetched.Records, next
}

// readFrom returns the records of partition 0 from an offset up to the high watermark.
func (b *broker) readFrom(topic string, offset int64) []*kgo.Record {
	b.Helper()
	var all []*kgo.Record
	for {
		p := b.fetchOne(topic, offset)
		b.is("reading", p.ErrorCode, nil)
		records, next := b.records(p, offset)
		all = append(all, records...)
		if next >= p.HighWatermark || next == offset {
			return all
		}
		offset = next
	}
}

// read returns all records of partition 0.
func (b *broker) read(topic string) []*kgo.Record {
	b.Helper()
	return b.readFrom(topic, b.earliest(topic))
}

func (b *broker) earliest(topic string) int64 { b.Helper(); return b.offset(topic, -2).Offset }
func (b *broker) latest(topic string) int64   { b.Helper(); return b.offset(topic, -1).Offset }

// offset looks a time up in partition 0, in ms or one of the special ones.
func (b *broker) offset(topic string, ms int64) kmsg.ListOffsetsResponseTopicPartition {
	b.Helper()
	p := b.lookup(topic, 0, ms, -1)
	b.is("looking up an offset", p.ErrorCode, nil)
	return p
}

func (b *broker) lookup(topic string, partition int32, ms int64, epoch int32) kmsg.ListOffsetsResponseTopicPartition {
	b.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	t, p := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
	t.Topic, p.Partition, p.Timestamp, p.CurrentLeaderEpoch = topic, partition, ms, epoch
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return only(b, only(b, ask(b, req).Topics).Partitions)
}

// payload is a value that does not compress.
func payload(size int) []byte {
	out := make([]byte, size)
	state := uint32(1)
	for i := range out {
		state = state*1664525 + 1013904223
		out[i] = byte(state >> 24)
	}
	return out
}
