package oracle

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Times of the records that the suite writes: long past, so that answers are the same in every run.
const (
	firstTime = 1_700_000_000_000
	timeStep  = 1000
)

// A record of a batch; a nil key or value is null.
type record struct {
	key, value []byte
	headers    []kmsg.Header
}

// A batch describes a record batch, right or wrong.
type batch struct {
	records    []record
	codec      int16 // 0 to 4, in the attributes
	attributes int16 // besides the codec
	first      int64 // timestamp; 0: firstTime
	producer   int64 // 0: none
	epoch      int16
	sequence   int32

	change func(*kmsg.RecordBatch) // before encoding
	body   func([]byte) []byte     // the encoded records, before compression
	packed func([]byte) []byte     // the compressed records
	spoil  func([]byte) []byte     // the whole batch, checksum included
}

func simple(n int) batch {
	b := batch{}
	for i := range n {
		b.records = append(b.records, record{value: []byte{'v', byte('0' + i)}})
	}
	return b
}

func (b batch) encode() []byte {
	first := b.first
	if first == 0 {
		first = firstTime
	}
	var body []byte
	for i, r := range b.records {
		body = appendRecord(body, i, r)
	}
	if b.body != nil {
		body = b.body(body)
	}
	body = compress(b.codec, body)
	if b.packed != nil {
		body = b.packed(body)
	}
	n := int32(len(b.records))
	kb := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: b.attributes | b.codec, LastOffsetDelta: n - 1,
		FirstTimestamp: first, MaxTimestamp: first + int64(max(n-1, 0))*timeStep,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: n, Records: body,
	}
	if b.producer != 0 {
		kb.ProducerID, kb.ProducerEpoch, kb.FirstSequence = b.producer, b.epoch, b.sequence
	}
	if b.change != nil {
		b.change(&kb)
	}
	raw := kb.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	seal(raw)
	if b.spoil != nil {
		raw = b.spoil(raw)
	}
	return raw
}

// seal writes the checksum of a batch.
func seal(raw []byte) {
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
}

func appendRecord(dst []byte, i int, r record) []byte {
	kr := kmsg.Record{TimestampDelta64: int64(i) * timeStep, OffsetDelta: int32(i), Key: r.key, Value: r.value, Headers: r.headers}
	kr.Length = int32(len(kr.AppendTo(nil)) - 1) // what follows the one byte of a zero length
	return kr.AppendTo(dst)
}

func compress(codec int16, body []byte) []byte {
	var out bytes.Buffer
	switch codec {
	case 1:
		w := gzip.NewWriter(&out)
		w.Write(body)
		w.Close()
	case 2:
		return snappy.Encode(nil, body)
	case 3:
		w := lz4.NewWriter(&out)
		w.Write(body)
		w.Close()
	case 4:
		w, _ := zstd.NewWriter(&out)
		w.Write(body)
		w.Close()
	default:
		return body
	}
	return out.Bytes()
}

// xerial frames snappy blocks as the Java library does.
func xerial(body []byte) []byte {
	out := append([]byte{130, 'S', 'N', 'A', 'P', 'P', 'Y', 0}, 0, 0, 0, 1, 0, 0, 0, 1)
	for len(body) > 0 {
		n := min(len(body), 32<<10)
		block := snappy.Encode(nil, body[:n])
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(block))), block...)
		body = body[n:]
	}
	return out
}
