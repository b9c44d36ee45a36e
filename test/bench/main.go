// Command bench loads a Kafka-compatible broker and measures what it does.
//
// Each run prints one JSON object. With -pid it tells the CPU that the broker
// spent, the figure that stays comparable where client and broker share cores.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

type command struct {
	name string
	what string
	run  func(args []string) error
}

var commands = []command{
	{"produce", "write records, as fast as possible or at a rate", runProduce},
	{"consume", "read records from the start of a topic", runConsume},
	{"e2e", "end-to-end latency at a fixed rate", runE2E},
	{"fanout", "one producer, several consumer groups", runFanout},
	{"partitions", "create many partitions and write to each", runPartitions},
	{"reqs", "pipelined raw requests with prepared batches", runReqs},
	{"failover", "start a cluster, lose brokers of it and time each partition until its next acknowledged write", runFailover},
	{"stalls", "a table of what failover has found, with the project's bars", runStalls},
	{"spread", "one record to each partition at the same time, over and over", runSpread},
	{"scale", "start a cluster with many partitions, lose a broker and get it back", runScale},
	{"scales", "what scale and reqs have found of many partitions, with the project's bars", runScales},
	{"ready", "start a broker and time it to its first answer", runReady},
	{"idle", "hold many connections that say nothing", runIdle},
	{"serves", "exit status 0 where the broker advertises an API", runServes},
	{"delete", "remove the topics whose names begin with -topic", runDelete},
	{"summary", "a table of medians from results on standard input", runSummary},
	{"ratio", "medians of one file of results over those of another", runRatio},
	{"bars", "the project's bars, each passed or MISSED", runBars},
	{"limits", "what this machine can do without a broker", runLimits},
}

func main() {
	if len(os.Args) < 2 {
		usageExit()
	}
	i := slices.IndexFunc(commands, func(c command) bool { return c.name == os.Args[1] })
	if i < 0 {
		usageExit()
	}
	if err := commands[i].run(os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func usageExit() {
	var b strings.Builder
	b.WriteString("usage: bench COMMAND [flags]; bench COMMAND -h lists a command's flags\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "  %-11s %s\n", c.name, c.what)
	}
	fmt.Fprint(os.Stderr, b.String())
	os.Exit(2)
}
