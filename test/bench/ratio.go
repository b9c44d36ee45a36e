package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/moldau/moldau/test/bench/internal/measure"
)

// figures are what runRatio compares, each with the direction that is better.
var figures = []struct {
	name string
	of   func(*measure.Result) float64
}{
	{"MB/s (more is better)", func(r *measure.Result) float64 { return r.MBs }},
	{"p50", func(r *measure.Result) float64 { return quantile(r, func(q *measure.Quantiles) int64 { return q.P50 }) }},
	{"p99", func(r *measure.Result) float64 { return quantile(r, func(q *measure.Quantiles) int64 { return q.P99 }) }},
	{"broker CPU", brokerCPU},
	{"broker peak memory", func(r *measure.Result) float64 {
		if r.Broker == nil {
			return 0
		}
		return r.Broker.PeakRSS
	}},
}

// runRatio reads two files of results of the same set of runs and prints, for each kind of run, the median of the
// first over the median of the second. Make both files in turn on one machine, or the ratio means nothing.
func runRatio(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: bench ratio OURS.jsonl THEIRS.jsonl")
	}
	var order []string
	var runs [2]map[string][]measure.Result
	for i, name := range args {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		order, runs[i], err = readRuns(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	header, rule := "| run | n |", "| --- | --- |"
	for _, f := range figures {
		header += " " + f.name + " |"
		rule += " --- |"
	}
	fmt.Println(header)
	fmt.Println(rule)
	for _, key := range order {
		ours, theirs := runs[0][key], runs[1][key]
		if len(ours) == 0 {
			fmt.Printf("| %s | missing in %s |\n", key, args[0])
			continue
		}
		fmt.Printf("| %s | %d, %d |", key, len(ours), len(theirs))
		for _, f := range figures {
			a, b := medianOf(ours, f.of), medianOf(theirs, f.of)
			if a == 0 || b == 0 {
				fmt.Print(" |")
				continue
			}
			fmt.Printf(" %.2f (%.4g / %.4g) |", a/b, a, b)
		}
		fmt.Println()
	}
	return nil
}

// brokerCPU is the broker's cost of a run: CPU seconds per GB where bytes moved, microseconds per request where
// requests were counted without bytes.
func brokerCPU(r *measure.Result) float64 {
	if r.Broker == nil {
		return 0
	}
	if r.Broker.CPUGB > 0 {
		return r.Broker.CPUGB
	}
	v, _ := r.Extra["broker_us_per_request"].(float64)
	return v
}

func quantile(r *measure.Result, f func(*measure.Quantiles) int64) float64 {
	if r.Latency == nil {
		return 0
	}
	return float64(f(r.Latency))
}

func medianOf(runs []measure.Result, f func(*measure.Result) float64) float64 {
	var v []float64
	for i := range runs {
		v = append(v, f(&runs[i]))
	}
	slices.Sort(v)
	return v[len(v)/2]
}
