//go:build linux

// Command crash kills a broker with SIGKILL, over and over, under load from idempotent acks=all producers, groups that consume and
// commit, a compacted topic and topics that are deleted, and records what was sent, what was acknowledged and what is
// there at the end; package history judges it.
//
//	crash -port 19592 -kills 100 -every 1s -history FILE -- moldau server --config server.properties
//	crash -judge FILE
//
// The producers keep sending while the broker is down. The broker is started again at once after each kill and must
// acknowledge something before the next one. At the end everything is read twice: after the last kill, and again after
// a clean stop and start.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/moldau/moldau/test/history"
	"github.com/moldau/moldau/test/load"
)

// flags are what a run is made of.
type flags struct {
	load         load.Load
	kills        int
	every, limit time.Duration
	segmentBytes int
	history      string
	log          string
	command      []string
}

func main() {
	var f flags
	port := flag.Int("port", 19592, "port of the broker, below the ephemeral range")
	flag.IntVar(&f.kills, "kills", 100, "how often to kill the broker")
	flag.DurationVar(&f.every, "every", time.Second, "from the broker's first answer to the next kill")
	flag.DurationVar(&f.limit, "limit", 8*time.Minute, "give up after this long")
	flag.IntVar(&f.load.Producers, "producers", 4, "producers")
	flag.IntVar(&f.load.Partitions, "partitions", 8, "partitions")
	flag.IntVar(&f.load.Groups, "groups", 2, "groups that consume meanwhile, of two members each")
	flag.Float64Var(&f.load.Rate, "rate", 1500, "records a second of each producer")
	flag.IntVar(&f.load.Size, "size", 400, "bytes of a value")
	flag.IntVar(&f.segmentBytes, "segment-bytes", 1<<20, "segment.bytes of the topic; Kafka's least is 1 MiB")
	flag.StringVar(&f.history, "history", "history.txt", "file for the history")
	flag.StringVar(&f.log, "log", os.DevNull, "file for the broker's output")
	judge := flag.String("judge", "", "judge this history and do nothing else")
	flag.Parse()
	f.command = flag.Args()
	f.load.Brokers, f.load.Topic = []string{fmt.Sprintf("127.0.0.1:%d", *port)}, topic
	var err error
	switch {
	case *judge != "":
		err = judgeFile(*judge)
	case len(f.command) == 0:
		flag.Usage()
		os.Exit(2)
	default:
		ctx, cancel := context.WithTimeout(context.Background(), f.limit)
		defer cancel()
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
		defer stop()
		if err = run(ctx, &f); err == nil {
			err = judgeFile(f.history)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

// judgeFile prints the verdict on a history, and returns an error where a promise was broken.
func judgeFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	h, err := history.Parse(f)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	v := h.Judge()
	fmt.Printf("%d sent, %d acknowledged, %d read, %d of them never acknowledged\n", v.Sent, v.Acked, v.Read, v.Unacked)
	fmt.Printf("%d commits acknowledged, %d answers of offsets; %d values of keys sent, %d left by compaction; %d topics deleted\n",
		v.Commits, v.Answers, v.KeysSent, v.KeysRead, v.Deleted)
	const enough = 5000 // values of keys, for the cleaner to have had work
	if v.KeysSent > enough && v.KeysRead > v.KeysSent/2 {
		return fmt.Errorf("%s: of %d values %d are left: the cleaner was hardly at work", name, v.KeysSent, v.KeysRead)
	}
	if v.OK() {
		fmt.Println("nothing acknowledged was lost, doubled, reordered or torn; no offset went back, no key lost its last value, no topic came back")
		return nil
	}
	const shown = 20
	for _, violation := range v.Violations[:min(len(v.Violations), shown)] {
		fmt.Println(violation)
	}
	return fmt.Errorf("%s: %d promises broken", name, len(v.Violations))
}
