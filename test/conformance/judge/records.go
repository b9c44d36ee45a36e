package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// A record is what a client writes or has read; nil bytes are null.
type record struct {
	partition  int32
	timestamp  int64
	key, value []byte
	headers    []header
}

type header struct {
	key   string
	value []byte
}

const (
	firstTime = 1_700_000_000_000
	nearLimit = 1_047_500 // of a value: max.message.bytes is 1,048,588
)

// makeRecords returns the same records for the same arguments, always.
func makeRecords(n, partitions int, text, nullHeaders bool) []record {
	src := rand.New(rand.NewChaCha8([32]byte{7}))
	out := make([]record, n)
	for i := range out {
		r := &out[i]
		r.partition, r.timestamp = int32(i%partitions), firstTime+int64(i)
		if text {
			r.key, r.value = fmt.Appendf(nil, "key-%d", src.IntN(1000)), textValue(src, i)
			continue
		}
		r.value = value(src, i, n)
		switch i % 4 {
		case 0:
			r.key = fmt.Appendf(nil, "key-%d", src.IntN(1000))
		case 1:
			r.key = bytes(src, 1+src.IntN(20))
		case 2:
			if i%100 == 2 {
				r.key = []byte{}
			}
		}
		r.headers = headers(src, i, nullHeaders)
	}
	return out
}

// giveKeys gives an empty key to each record that has neither a key nor a value.
func giveKeys(records []record) {
	for i := range records {
		if r := &records[i]; r.key == nil && r.value == nil {
			r.key = []byte{}
		}
	}
}

// value makes text, JSON and binary in turn, now and then nothing, and a few values near the size limit.
func value(src *rand.Rand, i, n int) []byte {
	switch {
	case i == n/4 || i == n/2 || i == n-1:
		return append(bytes(src, nearLimit/2), make([]byte, nearLimit-nearLimit/2)...)
	case i%50 == 7:
		return nil
	case i%50 == 19:
		return []byte{}
	case i%3 == 0:
		return textValue(src, i)
	case i%3 == 1:
		return fmt.Appendf(nil, `{"id":%d,"name":"Vltava č. %d","nested":{"list":[1,2.5,null,true],"text":"\"quoted\" \\ \u00e9"},"pad":"%s"}`, i, src.IntN(1e6), strings.Repeat("x", src.IntN(200)))
	default:
		return bytes(src, src.IntN(400))
	}
}

func textValue(src *rand.Rand, i int) []byte {
	words := []string{"moldau", "Vltava", "žluťoučký", "kůň", "река", "川", "🌊", "plain", "words"}
	var b strings.Builder
	fmt.Fprintf(&b, "record %d:", i)
	for range 1 + src.IntN(20) {
		b.WriteString(" " + words[src.IntN(len(words))])
	}
	return []byte(b.String())
}

func headers(src *rand.Rand, i int, null bool) []header {
	switch i % 5 {
	case 1:
		return []header{{"source", fmt.Appendf(nil, "file-%d", src.IntN(9))}}
	case 3:
		hs := []header{{"a", []byte("1")}, {"a", []byte("2")}, {"empty", []byte{}}}
		if null {
			hs = append(hs, header{"null", nil})
		}
		return hs
	}
	return nil
}

func bytes(src *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(src.Uint32())
	}
	return b
}

func writeFile(name string, records []record) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	var b []byte
	for _, r := range records {
		b = appendRecord(b[:0], &r)
		if _, err := w.Write(b); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(w.Flush(), f.Close())
}

func appendRecord(b []byte, r *record) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(r.partition))
	b = binary.BigEndian.AppendUint64(b, uint64(r.timestamp))
	b = appendBytes(appendBytes(b, r.key), r.value)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.headers)))
	for _, h := range r.headers {
		b = appendBytes(appendBytes(b, append([]byte{}, h.key...)), h.value)
	}
	return b
}

func appendBytes(b, v []byte) []byte {
	if v == nil {
		return binary.BigEndian.AppendUint32(b, 1<<32-1)
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}

func readFile(name string) ([]record, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := &reader{r: bufio.NewReaderSize(f, 1<<20)}
	var out []record
	for {
		var r record
		r.partition = int32(in.number(4))
		if in.err == io.EOF {
			return out, nil
		}
		r.timestamp = in.number(8)
		r.key, r.value = in.bytes(), in.bytes()
		for range in.number(4) {
			r.headers = append(r.headers, header{string(in.bytes()), in.bytes()})
		}
		if in.err != nil {
			return nil, fmt.Errorf("%s: record %d: %w", name, len(out), in.err)
		}
		out = append(out, r)
	}
}

// A reader reads fields until the first error.
type reader struct {
	r   *bufio.Reader
	err error
}

func (r *reader) number(size int) int64 {
	b := make([]byte, 8)
	if r.err == nil {
		_, r.err = io.ReadFull(r.r, b[8-size:])
	}
	if size == 4 {
		return int64(int32(binary.BigEndian.Uint32(b[4:])))
	}
	return int64(binary.BigEndian.Uint64(b))
}

func (r *reader) bytes() []byte {
	n := r.number(4)
	if r.err != nil || n < 0 {
		return nil
	}
	b := make([]byte, n)
	_, r.err = io.ReadFull(r.r, b)
	return b
}

// writeBlobs makes a file of each of some values, and a file of the records that a client makes of them.
func writeBlobs(dir, name string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	src := rand.New(rand.NewChaCha8([32]byte{9}))
	records := make([]record, 30)
	for i := range records {
		v := value(src, i, len(records))
		if len(v) == 0 { // kcat takes no empty file
			v = []byte{0}
		}
		records[i] = record{value: v, headers: []header{{"a", []byte("1")}, {"b", []byte("zwei")}}}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d", i)), v, 0o644); err != nil {
			return err
		}
	}
	return writeFile(name, records)
}

// writeLines writes key, tab and value of each record.
func writeLines(w io.Writer, records []record) error {
	out := bufio.NewWriter(w)
	for _, r := range records {
		fmt.Fprintf(out, "%s\t%s\n", r.key, r.value)
	}
	return out.Flush()
}
