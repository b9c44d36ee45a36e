package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

func (p *Program) debug() *cobra.Command {
	return group("debug", "Look into files of a broker, offline", p.dumpLog())
}

func (p *Program) dumpLog() *cobra.Command {
	var output outputFlag
	var records bool
	cmd := &cobra.Command{
		Use:   "dump-log FILE...",
		Short: "Print and check segments, their indexes and producer snapshots",
		Long: `Print what is in .log, .index, .timeindex, .txnindex and .snapshot files, of Moldau or of Apache Kafka, and check it:
batches whole, in order and with the right CRC, index entries rising and pointing at the batch that they name.
The exit status is 1 where a file is damaged. Files are only read.
Checkpoints and partition.metadata are text and printed as they are.`,
		Example: "  moldau debug dump-log --records /data/orders-0/00000000000000000000.log",
		Args:    names(1, -1, "at least one file"),
		RunE: run(func(_ *cobra.Command, files []string) error {
			d := &dumper{out: bufio.NewWriterSize(p.Stdout, 64<<10), records: records}
			if output.json() {
				d.json = json.NewEncoder(d.out)
				d.json.SetEscapeHTML(false)
			}
			var errs []error
			for _, file := range files {
				if err := d.file(file, len(files) > 1); err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", file, err))
				}
			}
			return errors.Join(append(errs, d.out.Flush())...)
		}),
	}
	cmd.Flags().BoolVarP(&records, "records", "r", false, "print the records of each batch too")
	output.add(cmd, "text", "json")
	return cmd
}

// dumper prints files.
type dumper struct {
	out     *bufio.Writer
	json    *json.Encoder // nil for text
	records bool
}

func (d *dumper) file(name string, several bool) error {
	dump := map[string]func(string) error{".log": d.segment, ".index": d.offsetIndex, ".timeindex": d.timeIndex,
		".txnindex": d.txnIndex, ".snapshot": d.snapshot, ".metadata": d.text}[filepath.Ext(name)]
	if strings.HasSuffix(name, "-checkpoint") {
		dump = d.text
	}
	if dump == nil {
		return errors.New("its name does not end in .log, .index, .timeindex, .txnindex, .snapshot, .metadata or -checkpoint")
	}
	if several && d.json == nil {
		fmt.Fprintf(d.out, "%s:\n", name)
	}
	return dump(name)
}

// print writes one entry: v as a line of JSON, or the text.
func (d *dumper) print(v any, format string, args ...any) error {
	if d.json != nil {
		return d.json.Encode(v)
	}
	_, err := fmt.Fprintf(d.out, format+"\n", args...)
	return err
}

// readFullAt reads p whole; fewer bytes are io.ErrUnexpectedEOF, none io.EOF.
func readFullAt(r io.ReaderAt, p []byte, at int64) error {
	n, err := r.ReadAt(p, at)
	switch {
	case n == len(p):
		return nil
	case n > 0 && errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}

// text prints a small file of lines.
func (d *dumper) text(name string) error {
	content, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSuffix(line, "\n")
		v := struct {
			Line string `json:"line"`
		}{line}
		if err := d.print(v, "%s", line); err != nil {
			return err
		}
	}
	return nil
}
