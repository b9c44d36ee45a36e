//go:build linux

// Command fault drives a cluster of three nodes through faults while clients write and read, and judges what was promised.
//
//	fault -moldau bin/moldau -dir DIR -port 21300 -seed 1 -seconds 120
//
// DIR holds node1.properties to node3.properties. Idempotent producers write with acks=all to a topic of three replicas, of which
// two have to be in sync; groups consume and commit; a reader reads everything. Each scenario has a new cluster and a part of
// the time. At its end the cluster has to get well, package history judges what the clients have recorded, and the three
// data directories have to hold the same bytes. The first scenario that fails ends the run and leaves its data.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

func main() {
	moldau := flag.String("moldau", "bin/moldau", "the program")
	dir := flag.String("dir", "", "the directory with the properties, where data, logs and histories go too")
	port := flag.Int("port", 19392, "the first port, below the ephemeral range")
	seed := flag.Uint64("seed", 1, "of which nodes fail and when")
	seconds := flag.Int("seconds", 120, "how long faults happen, all scenarios together")
	only := flag.String("scenarios", "", "comma-separated names of those to run; all if empty")
	limit := flag.Duration("limit", 30*time.Minute, "give up after this long")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	chosen := scenarios
	if *only != "" {
		names := strings.Split(*only, ",")
		chosen = slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool { return !slices.Contains(names, s.name) })
	}
	each := time.Duration(*seconds) * time.Second / time.Duration(max(len(chosen), 1))
	for _, s := range chosen {
		note, err := newRun(*moldau, *dir, *port, *seed, each).scenario(ctx, s)
		if err != nil {
			fmt.Printf("FAILED %s: %v\n", s.what, err)
			fmt.Fprintln(os.Stderr, "fault: what is left is in", *dir)
			os.Exit(1)
		}
		fmt.Printf("ok     %s: %s\n", s.what, note)
	}
}
