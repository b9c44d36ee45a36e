//go:build linux

// Command fault drives a cluster of three nodes through faults while clients write and read, and judges what was promised.
//
//	fault -moldau bin/moldau -dir DIR -port 21300 -seed 1 -seconds 120
//	fault -moldau bin/moldau -dir DIR -port 21300 -seed 1 -schedules 100 -results FILE
//	fault -moldau bin/moldau -dir DIR -port 21300 -rounds 3 -with 'java=java -cp CP Rolling'
//
// DIR holds node1.properties to node3.properties. Idempotent producers write with acks=all to a topic of three replicas, of which
// two have to be in sync; groups consume and commit; a reader reads everything. Each scenario has a new cluster and a part of
// the time, each schedule a new cluster and a minute. At its end the cluster has to get well, package history judges what the clients
// have recorded, and the three data directories have to hold the same bytes. The first scenario that fails ends the run and leaves
// its data. A schedule that fails is noted in FILE, and leaves its data beside FILE.
//
// With -rounds brokers are restarted in turn under applications of several clients (rolling.sh), which say what they are told.
//
// With -isolated the process has network, mount and process namespaces of its own: run.sh sees to that. Without it faults of links are
// not run.
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
	s := &stage{}
	flag.StringVar(&s.moldau, "moldau", "bin/moldau", "the program")
	flag.StringVar(&s.faulty, "faulty", "", "the program, built with -tags fault; without it disks neither fail nor are slow")
	flag.StringVar(&s.dir, "dir", "", "the directory with the properties, where data, logs and histories go too")
	flag.IntVar(&s.port, "port", 19392, "the first port, below the ephemeral range")
	flag.StringVar(&s.commit, "commit", "", "what the program was built from, for the results of schedules")
	isolated := flag.Bool("isolated", false, "the process has namespaces of its own")
	seed := flag.Uint64("seed", 1, "of which nodes fail and when; of the first schedule")
	seconds := flag.Int("seconds", 120, "how long faults happen, all scenarios together")
	only := flag.String("scenarios", "", "comma-separated names of those to run; all if empty")
	schedules := flag.Int("schedules", 0, "run so many schedules, and no scenario")
	results := flag.String("results", "", "the file with a line for each schedule that was run")
	rounds := flag.Int("rounds", 0, "restart all brokers in turn so many times under applications, and run no scenario")
	application := flag.Bool("application", false, "be an application of franz-go; BOOTSTRAP TOPIC PARTITIONS RATE")
	var with []string
	flag.Func("with", "one more application, NAME=COMMAND", func(c string) error {
		with = append(with, c)
		return nil
	})
	limit := flag.Duration("limit", 30*time.Minute, "give up after this long; begin no further schedule where it might take longer")
	flag.Parse()
	if *application {
		exitOn(runApplication(flag.Args()))
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	exitOn(s.prepare(*isolated))
	if *rounds > 0 {
		apps, err := applications(with)
		exitOn(err)
		os.Exit(s.rolling(ctx, *rounds, apps))
	}
	if *schedules > 0 {
		os.Exit(s.random(ctx, *seed, *schedules, *results))
	}
	os.Exit(s.each(ctx, *seed, time.Duration(*seconds)*time.Second, *only))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "fault:", err)
		os.Exit(1)
	}
}

// each runs scenarios and returns the status to end with.
func (s *stage) each(ctx context.Context, seed uint64, d time.Duration, only string) int {
	chosen := slices.Clone(scenarios)
	if only != "" {
		names := strings.Split(only, ",")
		chosen = slices.DeleteFunc(chosen, func(s scenario) bool { return !slices.Contains(names, s.name) })
	}
	chosen = slices.DeleteFunc(chosen, func(c scenario) bool {
		if !s.has(c.need) {
			fmt.Printf("not run: %s: needs %s\n", c.what, needed[c.need])
		}
		return !s.has(c.need)
	})
	for _, c := range chosen {
		o, err := s.newRun(seed).scenario(ctx, c, d/time.Duration(len(chosen)))
		if err != nil {
			fmt.Printf("FAILED %s: %v\n", c.what, err)
			fmt.Fprintln(os.Stderr, "fault: what is left is in", s.dir)
			return 1
		}
		fmt.Printf("ok     %s: %v\n", c.what, o)
	}
	return 0
}
