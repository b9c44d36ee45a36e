package oracle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// produce returns a request that writes what is given to partition 0 of a topic, named, or from version 13 by id.
func (s *suite) produceTo(topic string, records ...[]byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = s.topic(topic), s.ids[topic]
	for i, r := range records {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i), r
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return req
}

func (s *suite) produce() {
	each(0, func(v int16) {
		topic := "produce" + strconv.Itoa(int(v))
		s.make(topic, 2, "retention.ms", "-1")
		req := s.produceTo(topic, simple(3).encode(), simple(2).encode())
		s.good(v, "two partitions", req)
		if v < 3 { // refused whatever they hold
			s.bad(v, "acks 1", withAcks(s.produceTo(topic, simple(1).encode()), 1))
			return
		}
		s.good(v, "acks 1", withAcks(s.produceTo(topic, simple(1).encode()), 1))
		s.bad(v, "acks 2", withAcks(s.produceTo(topic, simple(1).encode()), 2))
		s.bad(v, "a checksum that is wrong", s.produceTo(topic, batch{records: simple(1).records, spoil: flip(17)}.encode(), simple(1).encode()))
		s.bad(v, "an unknown partition", s.elsewhere(topic, 9))
		zstd := simple(2)
		zstd.codec = 4
		if v >= 7 {
			s.good(v, "zstd", s.produceTo(topic, zstd.encode()))
		} else {
			s.bad(v, "zstd before it was known", s.produceTo(topic, zstd.encode()))
		}
		// A failed append tells the offset at which the partition begins.
		s.bad(v, "records at odds", s.produceTo(topic, batch{records: simple(2).records, change: func(b *kmsg.RecordBatch) { b.NumRecords = 3 }}.encode()))
	})
	s.produceUnknown()
	s.produceValid()
	s.produceRefused()
	s.produceLimits()
	s.produceTimes()
	s.produceStamped()
	s.produceRecompressed()
	s.produceCompacted()
	s.produceIdempotent()
	s.produceSilent()
	s.produceInternal()
}

func withAcks(req *kmsg.ProduceRequest, acks int16) *kmsg.ProduceRequest {
	req.Acks = acks
	return req
}

// elsewhere writes to a partition that the topic does not have.
func (s *suite) elsewhere(topic string, partition int32) *kmsg.ProduceRequest {
	req := s.produceTo(topic, simple(1).encode())
	req.Topics[0].Partitions[0].Partition = partition
	return req
}

// flip inverts one byte of a batch.
func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[at] ^= 0xff
		return b
	}
}

func (s *suite) produceUnknown() {
	s.bad(12, "an unknown topic", s.produceTo("nosuch", simple(1).encode()))
	s.bad(12, "an impossible name", func() *kmsg.ProduceRequest {
		req := s.produceTo("nosuch", simple(1).encode())
		req.Topics[0].Topic = "not a name!"
		return req
	}())
	byID := s.produceTo("produce13", simple(1).encode())
	byID.Topics[0].TopicID = unknownTopicID
	s.bad(13, "an unknown topic id", byID)
	zero := s.produceTo("produce13", simple(1).encode())
	zero.Topics[0].TopicID = [16]byte{}
	s.bad(13, "no topic id", zero)
	s.bad(12, "a partition below zero", s.elsewhere("produce12", -1))
	empty := kmsg.NewPtrProduceRequest()
	empty.Acks = -1
	s.good(12, "no topic", empty)
	for _, v := range []int16{3, 9} { // arrays that claim more than there is
		req := kmsg.NewPtrProduceRequest()
		req.SetVersion(v)
		body := header(0, v, s.correl, clientID, v >= 9)
		if v >= 9 {
			body = append(body, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f)
		} else {
			body = append(body, 0xff, 0xff, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff)
		}
		s.raw(req, "an array of 2^31 topics", body)
	}
}

// rich has every kind of key, value and header.
func rich() batch {
	value := bytes.Repeat([]byte("moldau "), 50)
	return batch{records: []record{
		{},
		{key: []byte("k"), value: nil},
		{key: []byte{}, value: []byte{}},
		{key: []byte("k"), value: value, headers: []kmsg.Header{{Key: "h", Value: []byte("v")}, {Key: "h", Value: nil}, {Key: "", Value: []byte{}}}},
	}}
}

func (s *suite) produceValid() {
	const topic = "valid"
	s.make(topic, 1, "retention.ms", "-1")
	for codec, name := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		b := rich()
		b.codec = int16(codec)
		s.good(12, "compressed: "+name, s.produceTo(topic, b.encode()))
	}
	x := rich()
	x.codec = 2
	plain := rich().encode()[61:]
	x.packed = func([]byte) []byte { return xerial(plain) }
	s.good(12, "compressed: snappy as the Java library frames it", s.produceTo(topic, x.encode()))
	s.good(12, "a leader epoch of its own", s.produceTo(topic, batch{records: simple(1).records, change: func(b *kmsg.RecordBatch) { b.PartitionLeaderEpoch = 77 }}.encode()))
	s.good(12, "no timestamp", s.produceTo(topic, batch{records: simple(1).records, change: func(b *kmsg.RecordBatch) { b.FirstTimestamp, b.MaxTimestamp = -1, -1 }}.encode()))
	s.good(12, "unused attribute bits", s.produceTo(topic, batch{records: simple(1).records, attributes: 0x7f80}.encode()))
	s.good(12, "the delete horizon bit", s.produceTo(topic, batch{records: simple(1).records, attributes: 0x40}.encode()))
	s.good(12, "the log append time bit", s.produceTo(topic, batch{records: simple(1).records, attributes: 0x08}.encode()))
	s.good(12, "a greatest timestamp that no record has", s.produceTo(topic, batch{records: simple(2).records, change: func(b *kmsg.RecordBatch) { b.MaxTimestamp += 5000 }}.encode()))
	// A topic or partition twice is not asked: Kafka keeps the last and drops the others without a word (ADR 0009).
	s.look(topic, "valid batches")
}

// look fetches a whole partition and records what it holds.
func (s *suite) look(topic, what string) {
	req := s.fetchFrom(topic, 0, 0)
	s.good(12, "everything after "+what, req)
}

// produceRefused has a case a row of what Kafka refuses.
func (s *suite) produceRefused() {
	const topic = "refuse"
	s.make(topic, 1, "retention.ms", "-1")
	s.good(12, "before what is refused", s.produceTo(topic, simple(1).encode()))
	one, two := simple(1), simple(2)
	header := func(f func(*kmsg.RecordBatch)) []byte { b := two; b.change = f; return b.encode() }
	body := func(f func([]byte) []byte) []byte { b := two; b.body = f; return b.encode() }
	whole := func(f func([]byte) []byte) []byte { b := two; b.spoil = f; return b.encode() }
	gz := func(f func([]byte) []byte) []byte { b := rich(); b.codec, b.body = 1, f; return b.encode() }
	packed := func(codec int16, bytes []byte) []byte {
		b := two
		b.codec, b.packed = codec, func([]byte) []byte { return bytes }
		return b.encode()
	}
	for _, c := range []struct {
		what string
		raw  []byte
	}{
		// Null records are not asked: Kafka fails on them and never answers.
		{"an empty set of records", []byte{}},
		{"two batches", append(one.encode(), two.encode()...)},
		{"a batch and a piece of another", append(one.encode(), two.encode()[:30]...)},
		{"a batch and one byte", append(one.encode(), 0)},
		{"magic 0", whole(func(b []byte) []byte { b[16] = 0; return b })},
		{"magic 1", whole(func(b []byte) []byte { b[16] = 1; return b })},
		{"magic 3", whole(func(b []byte) []byte { b[16] = 3; return b })},
		{"magic -1", whole(func(b []byte) []byte { b[16] = 0xff; return b })},
		{"rubbish of 100 bytes", bytes.Repeat([]byte{0x5a}, 100)},
		{"sixty zeros", make([]byte, 60)},
		{"a batch cut short", two.encode()[:70]},
		{"a header cut short", two.encode()[:40]},
		{"eleven bytes", two.encode()[:11]},
		{"a length below a header", whole(func(b []byte) []byte { binary.BigEndian.PutUint32(b[8:], 40); return b })},
		{"a length below zero", whole(func(b []byte) []byte { binary.BigEndian.PutUint32(b[8:], 0xffffff00); return b })},
		{"a length beyond the request", whole(func(b []byte) []byte { binary.BigEndian.PutUint32(b[8:], 100_000); return b })},
		{"a checksum that is wrong", whole(flip(17))},
		{"a bit flipped in a value", whole(func(b []byte) []byte { b[len(b)-2] ^= 1; return b })},
		{"a base offset", header(func(b *kmsg.RecordBatch) { b.FirstOffset = 5 })},
		{"a base offset below zero", header(func(b *kmsg.RecordBatch) { b.FirstOffset = -1 })},
		{"a count of zero", header(func(b *kmsg.RecordBatch) { b.NumRecords = 0 })},
		{"a count below zero", header(func(b *kmsg.RecordBatch) { b.NumRecords = -1 })},
		{"a count of one more", header(func(b *kmsg.RecordBatch) { b.NumRecords = 3 })},
		{"a count and last offset of one more", header(func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 3, 2 })},
		{"a count and last offset of one less", header(func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 1, 0 })},
		{"a last offset that is too great", header(func(b *kmsg.RecordBatch) { b.LastOffsetDelta = 7 })},
		{"a last offset below zero", header(func(b *kmsg.RecordBatch) { b.LastOffsetDelta = -1 })},
		{"no records inside and a count of zero", batch{}.encode()},
		{"the control bit", batch{records: two.records, attributes: 0x20}.encode()},
		{"the control and the transactional bit", batch{records: two.records, attributes: 0x30}.encode()},
		{"the transactional bit without a transaction", batch{records: two.records, attributes: 0x10}.encode()},
		{"the transactional bit with a producer", batch{records: two.records, attributes: 0x10, producer: 4242}.encode()},
		{"codec 5", header(func(b *kmsg.RecordBatch) { b.Attributes = 5 })},
		{"codec 7", header(func(b *kmsg.RecordBatch) { b.Attributes = 7 })},
		{"a producer without a sequence", batch{records: two.records, producer: 4242, sequence: -1}.encode()},
		{"a producer with an epoch below zero", batch{records: two.records, producer: 4242, epoch: -1}.encode()},
		{"a sequence without a producer", header(func(b *kmsg.RecordBatch) { b.FirstSequence = 0 })},
		{"records cut short", body(func(b []byte) []byte { return b[:len(b)-3] })},
		{"a byte after the records", body(func(b []byte) []byte { return append(b, 0) })},
		{"a record length that is too great", body(func(b []byte) []byte { b[0] += 2; return b })},
		{"a record length that is too small", body(func(b []byte) []byte { b[0] -= 2; return b })},
		{"a record length below zero", body(func(b []byte) []byte { b[0] = 1; return b })},
		{"record attributes", body(func(b []byte) []byte { b[1] = 0x55; return b })},
		{"a key length below null", body(func(b []byte) []byte { b[4] = 3; return b })},
		{"a value longer than the record", body(func(b []byte) []byte { b[5] = 40; return b })},
		{"more headers than there are", body(func(b []byte) []byte { b[8] = 4; return b })},
		{"headers below zero", body(func(b []byte) []byte { b[8] = 1; return b })},
		{"rubbish that claims gzip", packed(1, []byte("this is no gzip at all"))},
		{"rubbish that claims snappy", packed(2, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3})},
		{"rubbish that claims lz4", packed(3, []byte("this is no lz4 at all"))},
		{"rubbish that claims zstd", packed(4, []byte("this is no zstd at all"))},
		{"nothing that claims gzip", packed(1, nil)},
		{"gzip cut short", packed(1, compress(1, rich().encode()[61:])[:30])},
		{"gzip with records cut short", gz(func(b []byte) []byte { return b[:len(b)-3] })},
		{"gzip with a byte after the records", gz(func(b []byte) []byte { return append(b, 0) })},
		{"gzip with offsets that do not follow", gz(func(b []byte) []byte { b[3] = 8; return b })},
		{"gzip of nothing", gz(func([]byte) []byte { return nil })},
	} {
		req := s.produceTo(topic, c.raw)
		s.bad(12, "refused: "+c.what, req)
	}
	s.look(topic, "what was refused")
	s.make("refuse-deltas", 1, "retention.ms", "-1") // Kafka takes this one in, so that it gets a topic of its own
	s.bad(12, "refused: offsets of records that do not follow", s.produceTo("refuse-deltas", body(func(b []byte) []byte { return append(b[:len(b)/2], again(b[len(b)/2:], 3)...) })))
}

// again renumbers an encoded record: its offset delta is its fourth byte where all lengths are short.
func again(record []byte, delta byte) []byte {
	record = bytes.Clone(record)
	record[len(record)-6] = delta << 1
	return record
}

func (s *suite) produceLimits() {
	s.make("small", 1, "max.message.bytes", "1000")
	size := func(n int) []byte { return batch{records: []record{{value: make([]byte, n)}}}.encode() }
	fits := 1000 - (len(size(500)) - 500) // the header of a longer value has as many bytes
	s.good(12, "a batch of max.message.bytes", s.produceTo("small", size(fits)))
	s.bad(12, "a batch of one byte more", s.produceTo("small", size(fits+1)))
	tight := batch{records: []record{{value: make([]byte, 5000)}}, codec: 1}
	s.good(12, "a greater batch that compresses below it", s.produceTo("small", tight.encode()))
	s.make("segment", 1, "max.message.bytes", "4000000", "segment.bytes", "1048576")
	s.bad(12, "a batch greater than a segment", s.produceTo("segment", size(1_100_000)))
	s.good(12, "a batch below a segment", s.produceTo("segment", size(1_000_000)))
	s.make("isr", 1, "min.insync.replicas", "2")
	s.good(12, "fewer replicas than min.insync.replicas", s.produceTo("isr", simple(1).encode()))
}

func (s *suite) produceTimes() {
	now := time.Now().UnixMilli()
	s.make("times", 1, "retention.ms", "-1")
	at := func(t int64) []byte { return batch{records: simple(2).records, first: t}.encode() }
	s.good(12, "half an hour from now", s.produceTo("times", at(now+30*60_000)))
	s.bad(12, "two hours from now", s.produceTo("times", at(now+120*60_000)))
	late := batch{records: simple(2).records, first: now + 3_600_000 - timeStep/2}
	s.bad(12, "the second record an hour from now and more", s.produceTo("times", late.encode()))
	s.good(12, "the epoch", s.produceTo("times", at(1)))
	s.bad(12, "before the epoch", s.produceTo("times", at(-5000)))
	s.make("fresh", 1, "message.timestamp.before.max.ms", "60000")
	s.bad(12, "older than the topic takes", s.produceTo("fresh", at(now-120_000)))
	s.good(12, "as young as the topic takes", s.produceTo("fresh", at(now-30_000)))
	s.bad(8, "older than the topic takes", s.produceTo("fresh", at(now-120_000)))
	s.bad(7, "older than the topic takes", s.produceTo("fresh", at(now-120_000)))
	gz := batch{records: simple(2).records, first: now - 120_000, codec: 1}
	s.bad(12, "older than the topic takes, in gzip", s.produceTo("fresh", gz.encode()))
}

// produceStamped writes to a topic that has the time of the append.
func (s *suite) produceStamped() {
	s.make("stamped", 1, "message.timestamp.type", "LogAppendTime", "message.timestamp.after.max.ms", "1000", "message.timestamp.before.max.ms", "1000")
	for v := int16(3); v <= 13; v++ {
		s.good(v, "stamped by the broker", s.produceTo("stamped", simple(2).encode()))
		s.bad(v, "stamped by the producer", s.produceTo("stamped", batch{records: simple(2).records, attributes: 8}.encode()))
	}
	gz := batch{records: simple(2).records, codec: 1}
	s.good(12, "stamped, in gzip", s.produceTo("stamped", gz.encode()))
	gz.attributes = 8
	s.bad(12, "stamped by the producer, in gzip", s.produceTo("stamped", gz.encode()))
	idem := batch{records: simple(2).records, producer: 4343}
	s.good(12, "stamped, with a sequence", s.produceTo("stamped", idem.encode()))
	s.good(12, "stamped, with the same sequence", s.produceTo("stamped", idem.encode()))
}

// produceRecompressed writes to topics that have a codec of their own.
func (s *suite) produceRecompressed() {
	large := make([]byte, 5000)
	for _, topic := range []string{"uncompressed", "gzip", "snappy", "lz4", "zstd"} {
		s.make("to-"+topic, 1, "compression.type", topic, "max.message.bytes", "1000")
		for codec := range int16(5) {
			b := simple(3)
			b.codec = codec
			s.good(12, fmt.Sprintf("codec %d to %s", codec, topic), s.produceTo("to-"+topic, b.encode()))
		}
		b := batch{records: []record{{value: large}}, codec: 4}
		if req := s.produceTo("to-"+topic, b.encode()); topic == "uncompressed" {
			s.bad(12, "too large once it is uncompressed", req)
		} else {
			s.good(12, "5000 zeros in zstd to "+topic, req)
		}
		b.codec = 0
		s.bad(12, "too large before it is compressed with "+topic, s.produceTo("to-"+topic, b.encode()))
		damaged := batch{records: simple(3).records, codec: 1, packed: func(p []byte) []byte { return p[:len(p)/2] }}
		s.bad(12, "refused: rubbish that is to be compressed with "+topic, s.produceTo("to-"+topic, damaged.encode()))
	}
}

// produceCompacted writes to topics of which compaction keeps the last record of each key: there must be one.
func (s *suite) produceCompacted() {
	k, v := []byte("k"), []byte("v")
	keyed := []record{{key: k, value: v}, {key: k}, {key: []byte{}, value: v}}
	mixed := []record{{key: k, value: v}, {value: v}, {key: k}, {}}
	for name, policy := range map[string]string{"compacted": "compact", "compacted-too": "compact,delete"} {
		s.make(name, 1, "cleanup.policy", policy, "retention.ms", "-1")
		for version := int16(3); version <= 13; version++ {
			s.good(version, "records with keys to "+policy, s.produceTo(name, batch{records: keyed}.encode()))
			s.bad(version, "a record without a key to "+policy, s.produceTo(name, simple(1).encode()))
			s.bad(version, "records without a key among others to "+policy, s.produceTo(name, batch{records: mixed}.encode()))
		}
		s.bad(12, "records without a key in gzip to "+policy, s.produceTo(name, batch{records: mixed, codec: 1}.encode()))
		s.bad(12, "records without a key and with a sequence to "+policy, s.produceTo(name, batch{records: mixed, producer: 4344}.encode()))
		s.good(12, "records with keys and a sequence to "+policy, s.produceTo(name, batch{records: keyed, producer: 4344}.encode()))
	}
	s.make("compacted-late", 1, "retention.ms", "-1", "message.timestamp.before.max.ms", "60000", "cleanup.policy", "compact")
	s.bad(12, "neither a key nor a good time", s.produceTo("compacted-late", simple(2).encode()))
}

func (s *suite) produceIdempotent() {
	const topic = "idem"
	s.make(topic, 1, "retention.ms", "-1")
	send := func(good bool, what string, producer int64, epoch int16, sequence int32, n int) {
		req := s.produceTo(topic, batch{records: simple(n).records, producer: producer, epoch: epoch, sequence: sequence}.encode())
		if good {
			s.good(12, "sequence: "+what, req)
		} else {
			s.bad(12, "sequence: "+what, req)
		}
	}
	const p = 4242
	send(true, "the first", p, 0, 0, 2)
	send(true, "the second", p, 0, 2, 2)
	send(true, "the first again", p, 0, 0, 2)
	send(true, "the second again", p, 0, 2, 2)
	send(false, "part of the second", p, 0, 2, 1)
	send(false, "a gap", p, 0, 5, 1)
	send(false, "below what is expected", p, 0, 3, 1)
	for i := range 5 {
		send(true, fmt.Sprintf("number %d", i+3), p, 0, int32(4+i), 1)
	}
	send(true, "the third again", p, 0, 4, 1)
	send(false, "the first once more, which is forgotten", p, 0, 0, 2)
	send(false, "a new epoch that does not begin at zero", p, 1, 3, 1)
	send(true, "a new epoch", p, 1, 0, 1)
	send(false, "the old epoch", p, 0, 9, 1)
	send(true, "a new epoch, two on", p, 3, 0, 1)
	send(true, "an unknown producer in the midst of things", p+1, 7, 77, 1)
	send(true, "and on", p+1, 7, 78, 1)
	send(true, "up to the greatest", p+2, 0, 1<<31-2, 1)
	send(true, "the greatest", p+2, 0, 1<<31-1, 1)
	send(true, "round to zero", p+2, 0, 0, 1)
	send(true, "across the end", p+3, 0, 1<<31-1, 2)
	send(true, "after the end", p+3, 0, 1, 1)
	s.look(topic, "idempotent batches")
}

// produceSilent asks with acks 0: what is answered is the request behind it, or nothing where the write failed.
func (s *suite) produceSilent() {
	s.make("silent", 1, "retention.ms", "-1")
	for _, c := range []struct {
		what string
		req  *kmsg.ProduceRequest
	}{
		{"acks 0", withAcks(s.produceTo("silent", simple(2).encode()), 0)},
		{"acks 0 to an unknown partition", withAcks(s.elsewhere("silent", 9), 0)},
		{"acks 0 with a wrong checksum", withAcks(s.produceTo("silent", batch{records: simple(1).records, spoil: flip(17)}.encode()), 0)},
	} {
		c.req.SetVersion(12)
		s.correl++
		conn := dial(s.t, s.address)
		conn.Write(frame(payload(c.req, 1, clientID)))
		next := kmsg.NewPtrApiVersionsRequest()
		next.SetVersion(0)
		conn.Write(frame(payload(next, s.correl, clientID)))
		word := "the request behind it is answered"
		if _, lines := s.await(conn, next); lines[0].path != "answer" {
			word = lines[0].path
		}
		conn.Close()
		s.add(0, "v12 "+c.what, []line{{path: word}})
	}
	// Nobody was told when they are visible, which on a lone broker they are once they are synced (ADR 0003).
	s.until("two records are visible", func() bool {
		resp := s.quiet(at(4, s.offsetsOf("silent", 0, -1))).(*kmsg.ListOffsetsResponse)
		return resp.Topics[0].Partitions[0].Offset == 2
	})
	s.look("silent", "acks 0")
}

// produceInternal writes to a topic that belongs to the broker.
func (s *suite) produceInternal() {
	const name = "__share_group_state"
	create := createTopics(newTopic(name, 1, 1))
	create.SetVersion(5)
	if code := s.quiet(create).(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode; code != 0 && code != 36 {
		s.t.Fatalf("topic %s: error %d", name, code)
	}
	full := name
	for deadline := time.Now().Add(answerTimeout); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		m := kmsg.NewMetadataRequest()
		m.SetVersion(9)
		m.Topics = []kmsg.MetadataRequestTopic{{Topic: &full}}
		if s.quiet(&m).(*kmsg.MetadataResponse).Topics[0].ErrorCode == 0 {
			break
		}
	}
	req := s.produceTo("x", simple(1).encode())
	req.Topics[0].Topic = name
	s.bad(12, "an internal topic", req)
	again := *req
	again.SetVersion(12)
	s.correl++
	_, lines := s.exchange(&again, payload(&again, s.correl, "__admin_client"))
	s.add(0, "v12 invalid: an internal topic, as the admin client", maskOffsets(lines))
	del := kmsg.NewDeleteTopicsRequest()
	del.SetVersion(5)
	del.TopicNames = []string{name}
	del.TimeoutMillis = 30_000
	s.quiet(&del)
}

// maskOffsets hides where a record went in a topic that outlives the run.
func maskOffsets(lines []line) []line {
	for i := range lines {
		for j := range lines[i].fields {
			if f := &lines[i].fields[j]; strings.HasSuffix(f.name, "Offset") && f.value != "-1" {
				f.value = "<offset>"
			}
		}
	}
	return lines
}
