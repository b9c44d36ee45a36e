package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const catHelp = `Print the records of topics, and go on with new ones until stopped; -e ends at the end.

--from says where to begin in every partition:
  start, end, an offset, -N (the last N records), or @TIME: a date (2026-01-31),
  RFC 3339 (2026-01-31T12:00:00Z), milliseconds since 1970, or so long ago (@-15m).

-f is kgo's record format: %t topic, %p partition, %o offset, %k key, %v value, %d timestamp,
%h{...} headers, \n and \t; the default is the value and a line end. -o json prints one line a
record, which moldau put -f json reads:

  {"topic":"t","partition":0,"offset":5,"timestamp_ms":1700000000000,"key":null,"value":"v"}

Bytes that are not UTF-8 stand in key_base64 and value_base64.`

// catFlags are those of cat.
type catFlags struct {
	partitions []int32
	from       string
	count      int64
	format     string
	exitAtEnd  bool
}

func (p *Program) cat() *cobra.Command {
	client, output, flags := clientFlags{p: p}, outputFlag{}, catFlags{}
	cmd := &cobra.Command{
		Use:   "cat TOPIC...",
		Short: "Print records",
		Long:  catHelp,
		Example: `  moldau cat words
  moldau cat words -e -n 10 --from -10
  moldau cat orders -p 3 --from @-1h -f '%o %k %v\n'`,
		Args: names(1, -1, "at least one topic"),
		RunE: run(func(cmd *cobra.Command, topics []string) error {
			print, err := flags.printer(p.Stdout, &output)
			if err != nil {
				return err
			}
			from, err := parseFrom(flags.from)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("count") && flags.count < 1 {
				return usagef("--count %d: it must be 1 or more", flags.count)
			}
			ranges, err := client.ranges(cmd.Context(), topics, flags.partitions, from)
			if err != nil {
				return err
			}
			return client.read(cmd.Context(), ranges, &flags, print)
		}),
	}
	client.add(cmd)
	output.add(cmd, "text", "json")
	cmd.ValidArgsFunction = client.completeTopics
	cmd.Flags().Int32SliceVarP(&flags.partitions, "partition", "p", nil, "only these partitions, separated by commas")
	cmd.Flags().StringVar(&flags.from, "from", "start", "where to begin: start, end, OFFSET, -N or @TIME")
	cmd.Flags().Int64VarP(&flags.count, "count", "n", 0, "stop after this many records")
	cmd.Flags().StringVarP(&flags.format, "format", "f", "", `how to print a record (default "%v\n")`)
	cmd.Flags().BoolVarP(&flags.exitAtEnd, "exit", "e", false, "stop at what is the end when it begins")
	return cmd
}

// recordPrinter writes records to a buffer.
type recordPrinter struct {
	out    *bufio.Writer
	json   *json.Encoder        // or nil
	format *kgo.RecordFormatter // or nil
	text   []byte               // reused
}

func (f *catFlags) printer(w io.Writer, output *outputFlag) (*recordPrinter, error) {
	p := &recordPrinter{out: bufio.NewWriterSize(w, 64<<10)}
	if output.json() {
		if f.format != "" {
			return nil, usagef("-f and -o json exclude each other")
		}
		p.json = json.NewEncoder(p.out)
		p.json.SetEscapeHTML(false)
		return p, nil
	}
	layout := f.format
	if layout == "" {
		layout = `%v\n`
	}
	var err error
	if p.format, err = kgo.NewRecordFormatter(layout); err != nil {
		return nil, usagef("--format: %v", err)
	}
	return p, nil
}

func (p *recordPrinter) print(r *kgo.Record) error {
	if p.json != nil {
		return p.json.Encode(newJSONRecord(r))
	}
	p.text = p.format.AppendRecord(p.text[:0], r)
	_, err := p.out.Write(p.text)
	return err
}

// ranges finds out which offsets of which partitions there are to read.
func (f *clientFlags) ranges(ctx context.Context, topics []string, partitions []int32, from fromOffset) (readRanges, error) {
	var ranges readRanges
	err := f.admin(ctx, func(ctx context.Context, admin *kadm.Client) error {
		starts, err := listOffsets(ctx, admin.ListStartOffsets, topics)
		if err != nil {
			return err
		}
		ends, err := listOffsets(ctx, admin.ListEndOffsets, topics)
		if err != nil {
			return err
		}
		var times kadm.ListedOffsets
		if from.kind == fromTime {
			after := func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
				return admin.ListOffsetsAfterMilli(ctx, from.time.UnixMilli(), topics...)
			}
			if times, err = listOffsets(ctx, after, topics); err != nil {
				return err
			}
		}
		ranges, err = newReadRanges(topics, partitions, from, starts, ends, times)
		return err
	})
	return ranges, err
}

// listOffsets asks for offsets of all partitions of topics and refuses the answer where
// one of them has none.
func listOffsets(ctx context.Context, list func(context.Context, ...string) (kadm.ListedOffsets, error), topics []string) (kadm.ListedOffsets, error) {
	listed, err := list(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("listing offsets: %w", err)
	}
	for _, topic := range topics {
		for _, o := range listed[topic] {
			if o.Err != nil {
				return nil, topicProblem(topic, o.Err, "")
			}
		}
	}
	return listed, nil
}

// read prints the records of the ranges until there is a reason to stop.
func (f *clientFlags) read(ctx context.Context, ranges readRanges, flags *catFlags, p *recordPrinter) error {
	if flags.exitAtEnd && ranges.unread() == 0 {
		return nil
	}
	client, err := f.dial(ctx, kgo.ConsumePartitions(ranges.offsets()), kgo.KeepControlRecords(), kgo.FetchMaxWait(500_000_000))
	if err != nil {
		return err
	}
	defer client.Close()
	left := flags.count
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return p.out.Flush()
		}
		done, err := p.printFetches(fetches, ranges, flags, &left)
		if ferr := p.out.Flush(); err == nil {
			err = ferr
		}
		if err != nil || done {
			return err
		}
	}
}

// printFetches prints what was fetched; done tells that nothing is left to read. left
// counts down to 0, or from 0 for ever.
func (p *recordPrinter) printFetches(fetches kgo.Fetches, ranges readRanges, flags *catFlags, left *int64) (done bool, err error) {
	fetches.EachError(func(topic string, partition int32, e error) {
		err = errors.Join(err, fmt.Errorf("reading %s-%d: %w", topic, partition, e))
	})
	if err != nil {
		return false, err
	}
	for it := fetches.RecordIter(); !it.Done(); {
		r := it.Next()
		beyond := ranges.read(r.Topic, r.Partition, r.Offset)
		if r.Attrs.IsControl() || flags.exitAtEnd && beyond {
			continue
		}
		if err := p.print(r); err != nil {
			return false, err
		}
		if *left--; *left == 0 {
			return true, nil
		}
	}
	return flags.exitAtEnd && ranges.unread() == 0, nil
}
