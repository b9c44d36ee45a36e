package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

const putHelp = `Write records to a topic: one for each line of standard input, or one for each VALUE.

With -f json the input is one JSON value a record, as moldau cat -o json prints it:

  {"key":"k","value":"v","headers":[{"name":"h","value":"x"}],"partition":0,"timestamp_ms":1700000000000}

Every field may be missing; a missing or null key or value is Kafka's null. key_base64 and
value_base64 carry bytes that are no text. topic and offset are accepted and do not count.

With any other -f the input is read as kgo's record format says, for instance '%k\t%v\n'.`

// putFlags are those of put.
type putFlags struct {
	key, separator string
	keyGiven       bool // -k stands there, be it empty
	partitionGiven bool // -p likewise
	headers        []string
	partition      int32
	format         string
	codec, acks    string
	null           bool
	batchBytesMax  int32
}

func (p *Program) put() *cobra.Command {
	client, output, flags := clientFlags{p: p}, outputFlag{}, putFlags{}
	cmd := &cobra.Command{
		Use:   "put TOPIC [VALUE...]",
		Short: "Write records",
		Long:  putHelp,
		Example: `  echo hello | moldau put words
  moldau put users -k 7 '{"name":"Ann"}'
  moldau put users -k 7 --null
  moldau cat words -e -o json | moldau put copy -f json`,
		Args: names(1, -1, "a topic"),
		RunE: run(func(cmd *cobra.Command, args []string) error {
			flags.keyGiven, flags.partitionGiven = cmd.Flags().Changed("key"), cmd.Flags().Changed("partition")
			next, err := flags.source(p.Stdin, args[1:])
			if err != nil {
				return err
			}
			opts, err := flags.options()
			if err != nil {
				return err
			}
			c, err := client.dial(cmd.Context(), opts...)
			if err != nil {
				return err
			}
			defer c.Close()
			return p.putAll(cmd.Context(), c, args[0], next, &output)
		}),
	}
	client.add(cmd)
	output.add(cmd, "none", "json")
	cmd.ValidArgsFunction = client.completeTopics
	flags.add(cmd)
	return cmd
}

func (f *putFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVarP(&f.key, "key", "k", "", "the key of every record; none where not given")
	fl.StringVarP(&f.separator, "key-separator", "K", "", "what stands between key and value in a line")
	fl.StringArrayVarP(&f.headers, "header", "H", nil, "a header of every record, NAME=VALUE; may be repeated")
	fl.Int32VarP(&f.partition, "partition", "p", noPartition, "the partition; -1 goes by the key, even where the input names one")
	fl.StringVarP(&f.format, "format", "f", "", "how the input is read: json, or a format such as '%k %v\\n'; lines where not given")
	fl.StringVarP(&f.codec, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	fl.StringVar(&f.acks, "acks", "all", "who must have a record: all (every in-sync replica), 1 (the leader) or 0 (nobody)")
	fl.BoolVar(&f.null, "null", false, "write one record whose value is null, a tombstone for its key")
	fl.Int32Var(&f.batchBytesMax, "batch-bytes", 1_000_012, "the largest batch, and so the largest record")
}

// options checks the flags and makes the client's options of them.
func (f *putFlags) options() ([]kgo.Opt, error) {
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	codec, ok := codecs[f.codec]
	if !ok {
		return nil, usagef("--compression %s: it must be none, gzip, snappy, lz4 or zstd", f.codec)
	}
	if f.batchBytesMax < 1024 || f.batchBytesMax > 1<<30 {
		return nil, usagef("--batch-bytes %d: it must be between 1024 and %d", f.batchBytesMax, 1<<30)
	}
	opts := []kgo.Opt{kgo.AllowAutoTopicCreation(), kgo.ProducerBatchCompression(codec), kgo.RecordPartitioner(givenPartitioner{kgo.StickyKeyPartitioner(nil)}),
		kgo.ProducerBatchMaxBytes(f.batchBytesMax), kgo.BrokerMaxWriteBytes(max(100<<20, 2*f.batchBytesMax)), kgo.RecordRetries(10)}
	switch f.acks {
	case "all", "-1":
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	default:
		return nil, usagef("--acks %s: it must be all, 1 or 0", f.acks)
	}
	return opts, nil
}

// source returns the function that gives the records to write, io.EOF after the last.
func (f *putFlags) source(in io.Reader, values []string) (func() (*kgo.Record, error), error) {
	headers, err := f.parseHeaders()
	if err != nil {
		return nil, err
	}
	if f.partition < noPartition {
		return nil, usagef("--partition %d: it must be 0 or more, or -1 to go by the key", f.partition)
	}
	next, err := f.input(in, values)
	if err != nil {
		return nil, err
	}
	return func() (*kgo.Record, error) {
		r, err := next()
		if err != nil {
			return nil, err
		}
		if f.keyGiven {
			r.Key = []byte(f.key)
		}
		if f.partitionGiven {
			r.Partition = f.partition
		}
		r.Headers = append(r.Headers, headers...)
		return r, nil
	}, nil
}

func (f *putFlags) parseHeaders() ([]kgo.RecordHeader, error) {
	var headers []kgo.RecordHeader
	for _, h := range f.headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok || name == "" {
			return nil, usagef("--header %s: write it as NAME=VALUE", h)
		}
		headers = append(headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	return headers, nil
}

// input chooses where the records come from.
func (f *putFlags) input(in io.Reader, values []string) (func() (*kgo.Record, error), error) {
	switch {
	case f.format != "" && (len(values) > 0 || f.null || f.separator != ""):
		return nil, usagef("--format reads standard input; it goes with no VALUE, --null or --key-separator")
	case f.null && len(values) > 0:
		return nil, usagef("--null goes with no VALUE")
	case f.null:
		values = []string{""}
		return sequence(func(string) *kgo.Record { return &kgo.Record{Partition: noPartition} }, values), nil
	case len(values) > 0:
		return sequence(func(v string) *kgo.Record { return f.line([]byte(v)) }, values), nil
	case f.format == "json":
		return readJSON(in), nil
	case f.format != "":
		return f.readFormat(in)
	}
	return f.readLines(in), nil
}

func sequence(record func(string) *kgo.Record, values []string) func() (*kgo.Record, error) {
	return func() (*kgo.Record, error) {
		if len(values) == 0 {
			return nil, io.EOF
		}
		r := record(values[0])
		values = values[1:]
		return r, nil
	}
}

// line makes a record of a line. One without the separator has no key.
func (f *putFlags) line(line []byte) *kgo.Record {
	r := &kgo.Record{Partition: noPartition, Value: line}
	if f.separator != "" {
		if key, value, ok := bytes.Cut(line, []byte(f.separator)); ok {
			r.Key, r.Value = key, value
		}
	}
	return r
}

func (f *putFlags) readLines(in io.Reader) func() (*kgo.Record, error) {
	reader := bufio.NewReaderSize(in, 64<<10)
	return func() (*kgo.Record, error) {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) > 0 {
			err = nil
		}
		if err != nil {
			return nil, err
		}
		return f.line(bytes.TrimSuffix(line, []byte("\n"))), nil
	}
}

func (f *putFlags) readFormat(in io.Reader) (func() (*kgo.Record, error), error) {
	reader, err := kgo.NewRecordReader(in, f.format)
	if err != nil {
		return nil, usagef("--format: %v", err)
	}
	partitioned := strings.Contains(f.format, "%p")
	return func() (*kgo.Record, error) {
		r, err := reader.ReadRecord()
		if err == nil && !partitioned {
			r.Partition = noPartition
		}
		return r, err
	}, nil
}

// givenPartitioner takes the partition that a record names, and asks another
// partitioner where it names none.
type givenPartitioner struct{ kgo.Partitioner }

func (g givenPartitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return &givenTopicPartitioner{g.Partitioner.ForTopic(topic)}
}

type givenTopicPartitioner struct{ kgo.TopicPartitioner }

func (g *givenTopicPartitioner) RequiresConsistency(r *kgo.Record) bool {
	return r.Partition >= 0 || g.TopicPartitioner.RequiresConsistency(r)
}

func (g *givenTopicPartitioner) Partition(r *kgo.Record, n int) int {
	if r.Partition >= 0 {
		return int(r.Partition)
	}
	return g.TopicPartitioner.Partition(r, n)
}

// OnNewBatch lets the other partitioner move on to another partition.
func (g *givenTopicPartitioner) OnNewBatch() {
	if p, ok := g.TopicPartitioner.(kgo.TopicPartitionerOnNewBatch); ok {
		p.OnNewBatch()
	}
}

// written collects what became of records; the client's goroutines report to it.
type written struct {
	mu struct {
		sync.Mutex
		count int
		err   error         // the first
		json  *json.Encoder // nil where nothing is printed
	}
	cancel context.CancelFunc // stops the reading of more after an error
}

func (w *written) done(r *kgo.Record, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil && w.mu.err == nil:
		w.mu.err = err
		w.cancel()
	case err == nil:
		w.mu.count++
		if w.mu.json != nil {
			w.mu.err = errors.Join(w.mu.err, w.mu.json.Encode(struct {
				Topic     string `json:"topic"`
				Partition int32  `json:"partition"`
				Offset    int64  `json:"offset"`
			}{r.Topic, r.Partition, r.Offset}))
		}
	}
}

func (p *Program) putAll(ctx context.Context, client *kgo.Client, topic string, next func() (*kgo.Record, error), output *outputFlag) error {
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &written{cancel: cancel}
	if output.json() {
		w.mu.json = json.NewEncoder(p.Stdout)
	}
	var inputErr error
	for reading.Err() == nil {
		r, err := next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				inputErr = err
			}
			break
		}
		r.Topic = topic
		client.Produce(ctx, r, w.done)
	}
	flushErr := client.Flush(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	err := errors.Join(inputErr, putProblem(topic, w.mu.err))
	if err == nil {
		err = flushErr
	}
	fmt.Fprintf(p.Stderr, "%d record%s written to %s\n", w.mu.count, plural(w.mu.count), topic)
	return err
}

func putProblem(topic string, err error) error {
	if err == nil {
		return nil
	}
	if strings.Contains(err.Error(), "invalid record partitioning choice") {
		return fmt.Errorf("topic %q has no such partition (%w); moldau topic describe %s shows those that it has, and -p -1 goes by the key", topic, err, topic)
	}
	return topicProblem(topic, err, "")
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}
