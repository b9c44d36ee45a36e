// Command badinput sends a broker what no client should, and checks that each such connection is closed with one line in
// the broker's log that names the peer, that memory stays bounded, and that a well-behaved client beside it never notices.
//
//	badinput -address 127.0.0.1:19892 -pid PID -log moldau.log
//	badinput -address 127.0.0.1:19892 -full        fill the broker's disk and see that it refuses, serves and keeps
//
// Without -log the lines are not checked, so that Apache Kafka, which logs none, can be tried.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	address := flag.String("address", "127.0.0.1:9092", "the broker")
	pid := flag.Int("pid", 0, "its process, whose memory to watch")
	logName := flag.String("log", "", "its log")
	full := flag.Bool("full", false, "the broker's disk is small: fill it")
	patience := flag.Duration("patience", 10*time.Second, "how long a close may take")
	stall := flag.Duration("stall", 75*time.Second, "how long a client that never reads may be kept")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var failed int
	if *full {
		failed = fill(ctx, *address)
	} else {
		s := &suite{address: *address, pid: *pid, logName: *logName, patience: *patience, stall: *stall}
		failed = s.run(ctx)
	}
	if failed > 0 {
		fmt.Fprintf(os.Stderr, "badinput: %d checks failed\n", failed)
		os.Exit(1)
	}
}
