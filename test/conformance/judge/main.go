// Command judge makes the records that the clients of the conformance suite write, and compares what they read back.
//
//	judge make -n N [-text] FILE        records for a client with a library; -text: no headers, no nulls, no binary
//	judge compare [-no-times] WANT GOT  equal, partition by partition, or exit status 1 with the first difference
//	judge kcat [-no-times] WANT <OUT    compares what kcat -C -f FORMAT printed
//	judge lines FILE                    the records of partition 0 as lines for a console producer
//	judge blobs DIR FILE                values as files in DIR, and the records that kcat makes of them
//	judge format                        the FORMAT for kcat
//
// A file holds records one after another, big-endian: int32 partition, int64 timestamp, key and value as int32 length
// (-1: null) and bytes, int32 count of headers, and each header's key and value like a key.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: judge make|compare|kcat|lines|blobs|format ...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "judge %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func run(command string, args []string) error {
	fs := flag.NewFlagSet(command, flag.ExitOnError)
	n := fs.Int("n", 100_000, "records to make")
	text := fs.Bool("text", false, "make lines of text only: no headers, no nulls, nothing binary")
	partitions := fs.Int("partitions", 3, "partitions to spread them over")
	noTimes := fs.Bool("no-times", false, "do not compare timestamps")
	noNullHeaders := fs.Bool("no-null-headers", false, "make no header without a value")
	fs.Parse(args)
	switch {
	case command == "make" && fs.NArg() == 1:
		return writeFile(fs.Arg(0), makeRecords(*n, *partitions, *text, !*noNullHeaders))
	case command == "compare" && fs.NArg() == 2:
		want, err := readFile(fs.Arg(0))
		if err != nil {
			return err
		}
		got, err := readFile(fs.Arg(1))
		if err != nil {
			return err
		}
		return compare(want, got, *noTimes, false)
	case command == "kcat" && fs.NArg() == 1:
		want, err := readFile(fs.Arg(0))
		if err != nil {
			return err
		}
		got, err := readKcat(bufio.NewReaderSize(os.Stdin, 1<<20))
		if err != nil {
			return err
		}
		return compare(want, got, *noTimes, true)
	case command == "lines" && fs.NArg() == 1:
		want, err := readFile(fs.Arg(0))
		if err != nil {
			return err
		}
		return writeLines(os.Stdout, want)
	case command == "blobs" && fs.NArg() == 2:
		return writeBlobs(fs.Arg(0), fs.Arg(1))
	case command == "format":
		_, err := io.WriteString(os.Stdout, kcatFormat)
		return err
	}
	return fmt.Errorf("wrong arguments %q", fs.Args())
}
