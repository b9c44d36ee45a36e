// Package conform is what the conformance programs in Go share: the judge's files, and verbs with their arguments.
//
// Every program, in any language, has the verbs
//
//	produce BOOTSTRAP TOPIC CODEC IDEMPOTENT WANT  creates the topic with three partitions and writes the records of WANT
//	consume BOOTSTRAP TOPIC COUNT GOT              reads COUNT records by assignment and writes them to GOT
//	member BOOTSTRAP TOPIC GROUP PROTOCOL          is a member until its standard input ends: prints "PARTITION OFFSET" of
//	                                               each record, then commits; what it gives up it has committed.
//	                                               PROTOCOL is classic or, where the client has it, consumer (KIP-848)
//	positions BOOTSTRAP TOPIC GROUP TIME...        prints "seek P OFFSET", "paused 0 COUNT", "resumed 0 OFFSET", "time T P
//	                                               OFFSET" and "lag P COMMITTED END LAG"; "- pause" for what there is no way to do
//	recreate BOOTSTRAP TOPIC                       see judgeRecreate
//
// BOOTSTRAP is one address or several with commas. The variable REPLICAS is how many each partition gets, 1 by default.
package conform

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	Partitions = 3
	MaxBytes   = 1048588 // of a batch: max.message.bytes
	SeekTo     = 100
	PausedAt   = 150
	ReadOthers = 100
	OldRecords = 300
	NewRecords = 30
)

// Replicas is how many each partition of a created topic gets.
var Replicas = replicas()

func replicas() int16 {
	n, err := strconv.ParseInt(cmp.Or(os.Getenv("REPLICAS"), "1"), 10, 16)
	if err != nil {
		panic("REPLICAS: " + err.Error())
	}
	return int16(n)
}

// Addresses are those of BOOTSTRAP.
func Addresses(bootstrap string) []string { return strings.Split(bootstrap, ",") }

// CommittedIn is what the verb positions commits.
func CommittedIn(partition int) int64 { return 50 * (int64(partition) + 1) }

// Main runs the verb that the arguments name, for five minutes at most.
func Main(verbs map[string]func(ctx context.Context, args []string) error) {
	if len(os.Args) < 4 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: VERB BOOTSTRAP TOPIC ...")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := verbs[os.Args[1]](ctx, os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, os.Args[0], os.Args[1]+":", err)
		os.Exit(1)
	}
}

// UntilStdinEnds is done when the standard input ends.
func UntilStdinEnds(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx
}

// A Record is one of the judge's; nil is null.
type Record struct {
	Partition  int32
	Time       time.Time
	Key, Value []byte
	Headers    []Header
}

type Header struct {
	Key   string
	Value []byte
}

// Text makes records "old-0" and so on, over the partitions in turn.
func Text(prefix string, n int) []Record {
	records := make([]Record, n)
	for i := range records {
		records[i] = Record{Partition: int32(i % Partitions), Time: time.Now(), Value: fmt.Appendf(nil, "%s-%d", prefix, i)}
	}
	return records
}

func ReadFile(name string) ([]Record, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	number := func(size int) int64 {
		b := make([]byte, size)
		if err == nil {
			_, err = io.ReadFull(in, b)
		}
		if size == 4 {
			return int64(int32(binary.BigEndian.Uint32(b)))
		}
		return int64(binary.BigEndian.Uint64(b))
	}
	blob := func() []byte {
		n := number(4)
		if err != nil || n < 0 {
			return nil
		}
		b := make([]byte, n)
		_, err = io.ReadFull(in, b)
		return b
	}
	var records []Record
	for {
		r := Record{Partition: int32(number(4))}
		if err == io.EOF {
			return records, nil
		}
		r.Time = time.UnixMilli(number(8))
		r.Key, r.Value = blob(), blob()
		for range number(4) {
			r.Headers = append(r.Headers, Header{string(blob()), blob()})
		}
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
}

// A Writer writes what was read, and finds gaps in the offsets of a partition.
type Writer struct {
	f     *os.File
	out   *bufio.Writer
	next  map[int32]int64
	Count int
}

func Create(name string) (*Writer, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	return &Writer{f: f, out: bufio.NewWriterSize(f, 1<<20), next: map[int32]int64{}}, nil
}

func (w *Writer) Put(r Record, offset int64) error {
	if offset != w.next[r.Partition] {
		return fmt.Errorf("partition %d: offset %d instead of %d", r.Partition, offset, w.next[r.Partition])
	}
	w.next[r.Partition]++
	w.Count++
	b := binary.BigEndian.AppendUint32(nil, uint32(r.Partition))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Time.UnixMilli()))
	b = appendBlob(appendBlob(b, r.Key), r.Value)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Headers)))
	for _, h := range r.Headers {
		b = appendBlob(appendBlob(b, []byte(h.Key)), h.Value)
	}
	_, err := w.out.Write(b)
	return err
}

func (w *Writer) Close() error { return errors.Join(w.out.Flush(), w.f.Close()) }

func appendBlob(b, v []byte) []byte {
	if v == nil {
		return binary.BigEndian.AppendUint32(b, 1<<32-1)
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}
