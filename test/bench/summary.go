package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/moldau/moldau/test/bench/internal/measure"
)

// readRuns reads results as JSON lines and groups them by kind of run, in order of first appearance.
func readRuns(in io.Reader) (order []string, groups map[string][]measure.Result, err error) {
	groups = map[string][]measure.Result{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r measure.Result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, nil, fmt.Errorf("%w in %s", err, lines.Text())
		}
		key := describe(&r)
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], r)
	}
	return order, groups, lines.Err()
}

// runSummary reads results as JSON lines and prints one table row for each kind of run, with medians.
func runSummary([]string) error {
	order, groups, err := readRuns(os.Stdin)
	if err != nil {
		return err
	}
	fmt.Println("| run | n | MB/s | krec/s | p50 µs | p99 µs | p99.9 µs | broker CPU-s/GB | client CPU-s/GB | broker peak MiB | more |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, key := range order {
		g := groups[key]
		median := func(f func(*measure.Result) float64) string {
			var v []float64
			for i := range g {
				v = append(v, f(&g[i]))
			}
			slices.Sort(v)
			return fmt.Sprintf("%.4g", v[len(v)/2])
		}
		latency := func(f func(*measure.Quantiles) int64) func(*measure.Result) float64 {
			return func(r *measure.Result) float64 {
				if r.Latency == nil {
					return 0
				}
				return float64(f(r.Latency))
			}
		}
		broker := func(f func(*measure.Use) float64) func(*measure.Result) float64 {
			return func(r *measure.Result) float64 {
				if r.Broker == nil {
					return 0
				}
				return f(r.Broker)
			}
		}
		var more []string
		for _, name := range slices.Sorted(maps.Keys(g[0].Extra)) {
			if _, number := g[0].Extra[name].(float64); number && name != "topic_partitions" {
				more = append(more, name+" "+median(func(r *measure.Result) float64 { v, _ := r.Extra[name].(float64); return v }))
			}
		}
		fmt.Printf("| %s | %d | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", key, len(g),
			median(func(r *measure.Result) float64 { return r.MBs }),
			median(func(r *measure.Result) float64 { return r.RecS / 1e3 }),
			median(latency(func(q *measure.Quantiles) int64 { return q.P50 })),
			median(latency(func(q *measure.Quantiles) int64 { return q.P99 })),
			median(latency(func(q *measure.Quantiles) int64 { return q.P999 })),
			median(broker(func(u *measure.Use) float64 { return u.CPUGB })),
			median(func(r *measure.Result) float64 { return r.Client.CPUGB }),
			median(broker(func(u *measure.Use) float64 { return u.PeakRSS })),
			strings.Join(more, ", "))
	}
	return nil
}

// describe names a kind of run: its command and the flags that shape the load.
func describe(r *measure.Result) string {
	words := []string{r.Cmd}
	for _, name := range slices.Sorted(maps.Keys(r.Flags)) {
		switch name {
		case "brokers", "pid", "rf", "topic", "partitions", "duration", "timeout":
		default:
			words = append(words, name+"="+r.Flags[name])
		}
	}
	return strings.Join(words, " ")
}
