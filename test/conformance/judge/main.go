// Command judge makes the records that the clients of the conformance suite write, and compares what they read back.
//
//	judge make -n N [-text] FILE        records for a client with a library; -text: no headers, no nulls, no binary
//	judge compare [-no-times] [-empty-is-null] [-at-least-once] WANT GOT  equal, partition by partition, or exit status 1 with the first difference
//	judge kcat [-no-times] [-at-least-once] WANT <OUT    compares what kcat -C -f FORMAT printed
//	judge lines FILE                    the records of partition 0 as lines for a console producer
//	judge blobs DIR FILE                values as files in DIR, and the records that kcat makes of them
//	judge format                        the FORMAT for kcat
//	judge times WANT                    the times that a client looks up
//	judge positions [-without X,Y] WANT <OUT   judges seek, pause, offsets by time and lag; X and Y the client does not offer
//	judge recreate <OUT                 judges a consumer whose topic was deleted and created again
//	judge group [-at-least-once] LOAD... -- MEMBER...   starts and stops members of a group, and judges what they read
//
// The last three print rows for the table: a feature, a tab and a word.
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
	"strings"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: judge make|compare|kcat|lines|blobs|format|times|positions|recreate|group ...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "judge %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// options are the flags of all commands.
type options struct {
	n, partitions                            int
	text, noTimes, noNullHeaders, keyOrValue bool
	emptyIsNull, atLeastOnce                 bool
	without                                  string
}

// commands take their arguments, of which there are as many as said, or -1 for any number.
var commands = map[string]struct {
	args int
	run  func(o options, args []string) error
}{
	"make": {1, func(o options, args []string) error {
		records := makeRecords(o.n, o.partitions, o.text, !o.noNullHeaders)
		if o.keyOrValue {
			giveKeys(records)
		}
		return writeFile(args[0], records)
	}},
	"compare": {2, compareFiles},
	"kcat":    {1, compareKcat},
	"lines": {1, func(_ options, args []string) error {
		return withFile(args[0], func(want []record) error { return writeLines(os.Stdout, want) })
	}},
	"blobs": {2, func(_ options, args []string) error { return writeBlobs(args[0], args[1]) }},
	"format": {0, func(options, []string) error {
		_, err := io.WriteString(os.Stdout, kcatFormat)
		return err
	}},
	"times": {1, func(_ options, args []string) error {
		return withFile(args[0], func(want []record) error {
			_, err := fmt.Println(strings.Trim(fmt.Sprint(lookUpTimes(want)), "[]"))
			return err
		})
	}},
	"positions": {1, func(o options, args []string) error {
		return withFile(args[0], func(want []record) error {
			table, err := judgePositions(want, os.Stdin, strings.FieldsFunc(o.without, func(r rune) bool { return r == ',' }))
			for _, row := range table {
				fmt.Printf("%s\t%s\n", row[0], row[1])
			}
			return err
		})
	}},
	"recreate": {0, func(options, []string) error {
		return printRow("recreated topic", func() (string, error) { return judgeRecreate(os.Stdin) })
	}},
	"group": {-1, func(o options, args []string) error {
		load, member, err := splitCommands(args)
		if err != nil {
			return err
		}
		return printRow("group", func() (string, error) { return runGroup(load, member, o.atLeastOnce) })
	}},
}

func run(name string, args []string) error {
	var o options
	fs := flag.NewFlagSet(name, flag.ExitOnError)
	fs.IntVar(&o.n, "n", 100_000, "records to make")
	fs.BoolVar(&o.text, "text", false, "make lines of text only: no headers, no nulls, nothing binary")
	fs.IntVar(&o.partitions, "partitions", 3, "partitions to spread them over")
	fs.BoolVar(&o.noTimes, "no-times", false, "do not compare timestamps")
	fs.BoolVar(&o.emptyIsNull, "empty-is-null", false, "compare: the client reads what is empty as null")
	fs.BoolVar(&o.noNullHeaders, "no-null-headers", false, "make no header without a value")
	fs.BoolVar(&o.keyOrValue, "key-or-value", false, "make no record that has neither")
	fs.StringVar(&o.without, "without", "", "what the client does not offer, with commas")
	fs.BoolVar(&o.atLeastOnce, "at-least-once", false, "a record may be there again: the client cannot hand over cleanly, or what writes is not idempotent")
	fs.Parse(args)
	command, ok := commands[name]
	if !ok || command.args >= 0 && command.args != fs.NArg() {
		return fmt.Errorf("wrong arguments %q", fs.Args())
	}
	return command.run(o, fs.Args())
}

func withFile(name string, use func([]record) error) error {
	records, err := readFile(name)
	if err != nil {
		return err
	}
	return use(records)
}

// compare is what judges: where records may be there again, their order is not in question either.
func (o options) compare() func(want, got []record, noTimes, kcat bool) error {
	if o.atLeastOnce {
		return compareAtLeastOnce
	}
	return compare
}

func compareFiles(o options, args []string) error {
	return withFile(args[0], func(want []record) error {
		return withFile(args[1], func(got []record) error {
			if o.emptyIsNull {
				forgetEmpty(want)
				forgetEmpty(got)
			}
			return o.compare()(want, got, o.noTimes, false)
		})
	})
}

func compareKcat(o options, args []string) error {
	return withFile(args[0], func(want []record) error {
		got, err := readKcat(bufio.NewReaderSize(os.Stdin, 1<<20))
		if err != nil {
			return err
		}
		return o.compare()(want, got, o.noTimes, true)
	})
}

func printRow(feature string, judge func() (string, error)) error {
	word, err := judge()
	if err == nil {
		fmt.Printf("%s\t%s\n", feature, word)
	}
	return err
}
