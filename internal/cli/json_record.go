package cli

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// jsonRecord is a record as a line of JSON: what cat -o json prints and put -f json
// reads. Bytes that are not UTF-8 stand in the field that ends in _base64, and the other
// is null; both null is Kafka's null.
type jsonRecord struct {
	Topic       string       `json:"topic,omitempty"`
	Partition   *int32       `json:"partition,omitempty"`
	Offset      *int64       `json:"offset,omitempty"`
	TimestampMs *int64       `json:"timestamp_ms,omitempty"`
	Key         *string      `json:"key"`
	KeyBase64   *string      `json:"key_base64,omitempty"`
	Value       *string      `json:"value"`
	ValueBase64 *string      `json:"value_base64,omitempty"`
	Headers     []jsonHeader `json:"headers,omitempty"`
}

type jsonHeader struct {
	Name        string  `json:"name"`
	Value       *string `json:"value"`
	ValueBase64 *string `json:"value_base64,omitempty"`
}

func newJSONRecord(r *kgo.Record) jsonRecord {
	timestamp := r.Timestamp.UnixMilli()
	j := jsonRecord{Topic: r.Topic, Partition: &r.Partition, Offset: &r.Offset, TimestampMs: &timestamp}
	j.Key, j.KeyBase64 = jsonBytes(r.Key)
	j.Value, j.ValueBase64 = jsonBytes(r.Value)
	for _, h := range r.Headers {
		header := jsonHeader{Name: h.Key}
		header.Value, header.ValueBase64 = jsonBytes(h.Value)
		j.Headers = append(j.Headers, header)
	}
	return j
}

// jsonBytes returns b as text or, where JSON cannot carry it so, as base64.
func jsonBytes(b []byte) (text, base *string) {
	if b == nil {
		return nil, nil
	}
	if utf8.Valid(b) {
		s := string(b)
		return &s, nil
	}
	s := base64.StdEncoding.EncodeToString(b)
	return nil, &s
}

// bytesOf is the reverse of jsonBytes.
func bytesOf(name string, text, base *string) ([]byte, error) {
	switch {
	case base != nil && text != nil:
		return nil, fmt.Errorf("%s and %s_base64 are both given; give one", name, name)
	case base != nil:
		b, err := base64.StdEncoding.DecodeString(*base)
		if err != nil {
			return nil, fmt.Errorf("%s_base64 is no base64: %w", name, err)
		}
		return append([]byte{}, b...), nil
	case text != nil:
		return []byte(*text), nil
	}
	return nil, nil
}

// noPartition lets the partitioner choose.
const noPartition = -1

// record makes a record to produce. The topic and the offset are of the place where the
// record was read, and do not count.
func (j *jsonRecord) record() (*kgo.Record, error) {
	r := &kgo.Record{Partition: noPartition}
	var err error
	if r.Key, err = bytesOf("key", j.Key, j.KeyBase64); err != nil {
		return nil, err
	}
	if r.Value, err = bytesOf("value", j.Value, j.ValueBase64); err != nil {
		return nil, err
	}
	for _, h := range j.Headers {
		value, err := bytesOf("value", h.Value, h.ValueBase64)
		if err != nil {
			return nil, fmt.Errorf("header %q: %w", h.Name, err)
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Name, Value: value})
	}
	if j.Partition != nil {
		r.Partition = *j.Partition
	}
	if j.TimestampMs != nil {
		r.Timestamp = time.UnixMilli(*j.TimestampMs)
	}
	return r, nil
}

// readJSON returns the function that reads the next record, io.EOF after the last.
func readJSON(in io.Reader) func() (*kgo.Record, error) {
	decoder := json.NewDecoder(in)
	decoder.DisallowUnknownFields()
	n := 0
	return func() (*kgo.Record, error) {
		n++
		var j jsonRecord
		err := decoder.Decode(&j)
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		var r *kgo.Record
		if err == nil {
			r, err = j.record()
		}
		if err != nil {
			return nil, fmt.Errorf("record %d of the input: %w; moldau put --help shows the fields", n, err)
		}
		return r, nil
	}
}
