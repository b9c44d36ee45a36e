package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/moldau/moldau/test/bench/internal/measure"
)

// A bar is what one load may cost of what Apache Kafka spends on it in the same run.
type bar struct {
	what     string
	load     func(*measure.Result) bool
	of       func(*measure.Result) float64
	ratio    float64
	absolute float64 // 0: none; it counts only where the machine is about as fast as when it was set
	unit     string
}

func is(cmd string, flags map[string]string) func(*measure.Result) bool {
	return func(r *measure.Result) bool {
		if r.Cmd != cmd {
			return false
		}
		for name, value := range flags {
			if r.Flags[name] != value {
				return false
			}
		}
		return true
	}
}

func p50(r *measure.Result) float64 {
	return quantile(r, func(q *measure.Quantiles) int64 { return q.P50 })
}

func p99(r *measure.Result) float64 {
	return quantile(r, func(q *measure.Quantiles) int64 { return q.P99 })
}

var bars = []bar{
	{"raw produce, 1 MB batches: broker CPU", is("reqs", map[string]string{"api": "produce", "records": "1000"}), brokerCPU, 0.65, 0.65, "s/GB"},
	{"raw produce, 64 KiB batches: broker CPU", is("reqs", map[string]string{"api": "produce", "records": "64"}), brokerCPU, 0.35, 0.75, "s/GB"},
	{"one record a request, 64 in flight: broker CPU", is("reqs", map[string]string{"api": "produce", "records": "1", "depth": "32"}), perRequest, 0.30, 8, "us a request"},
	{"one record a request, one in flight: p50", is("reqs", map[string]string{"api": "produce", "records": "1", "depth": "1"}), p50, 0.7, 0, "us"},
	{"raw fetch of 1 MB answers: broker CPU", is("reqs", map[string]string{"api": "fetch"}), brokerCPU, 0.45, 0.15, "s/GB"},
	{"ApiVersions: broker CPU", is("reqs", map[string]string{"api": "apiversions"}), perRequest, 0.15, 0, "us a request"},
	{"Metadata: broker CPU", is("reqs", map[string]string{"api": "metadata"}), perRequest, 0.30, 0, "us a request"},
	{"offset commits: broker CPU", is("reqs", map[string]string{"api": "offsetcommit"}), perRequest, 0.30, 0, "us a request"},
	{"end to end at 1,000 records/s: p50", is("e2e", map[string]string{"rate": "1000"}), p50, 1.0, 0, "us"},
	{"end to end at 1,000 records/s: p99", is("e2e", map[string]string{"rate": "1000"}), p99, 0.6, 0, "us"},
}

// clusterBars are for clusters of three, every partition replicated on all of them.
var clusterBars = []bar{
	{"produce 1 KiB with kgo: CPU of all brokers", is("produce", map[string]string{"size": "1024"}), brokerCPU, 0.25, 0, "s/GB"},
	{"raw produce, 64 KiB batches: CPU of all brokers", is("reqs", map[string]string{"api": "produce", "records": "64"}), brokerCPU, 0.25, 0, "s/GB"},
	{"one record a request, one in flight: p50", is("reqs", map[string]string{"api": "produce", "records": "1", "depth": "1"}), p50, 0.3, 0, "us"},
	{"end to end at 1,000 records/s: p50", is("e2e", map[string]string{"rate": "1000"}), p50, 0.3, 0, "us"},
	{"end to end at 1,000 records/s: p99", is("e2e", map[string]string{"rate": "1000"}), p99, 0.2, 0, "us"},
}

// perRequest is the broker's CPU in microseconds a request.
func perRequest(r *measure.Result) float64 {
	v, _ := r.Extra["broker_us_per_request"].(float64)
	return v
}

// runBars judges one file of results against another: a line a bar, and an error where one is missed.
func runBars(args []string) error {
	fs := flag.NewFlagSet("bars", flag.ExitOnError)
	limits := fs.String("limits", "", "the output of `bench limits` made just before; without it absolute bars are not judged")
	cluster := fs.Bool("cluster", false, "the bars of a cluster of three")
	fs.Parse(args)
	if fs.NArg() != 2 {
		return errors.New("usage: bench bars [-cluster] [-limits FILE] OURS.jsonl THEIRS.jsonl")
	}
	judged := bars
	if *cluster {
		judged = clusterBars
	}
	ours, err := readResults(fs.Arg(0))
	if err != nil {
		return err
	}
	theirs, err := readResults(fs.Arg(1))
	if err != nil {
		return err
	}
	quiet, why, err := machineQuiet(*limits)
	if err != nil {
		return err
	}
	fmt.Println("| bar | ours / Kafka's | ratio | bar | absolute bar | verdict |")
	fmt.Println("| --- | --- | --- | --- | --- | --- |")
	missed := 0
	for i := range judged {
		if !judged[i].judge(ours, theirs, quiet) {
			missed++
		}
	}
	if !judgePeak(ours, theirs) {
		missed++
	}
	fmt.Printf("\nAbsolute bars: %s.\n", why)
	if missed > 0 {
		return fmt.Errorf("%d bars MISSED", missed)
	}
	return nil
}

// judge prints the bar's line and tells whether it was met.
func (b *bar) judge(ours, theirs []measure.Result, quiet bool) bool {
	a, n := median(ours, b.load, b.of)
	k, m := median(theirs, b.load, b.of)
	if n == 0 || m == 0 || k == 0 {
		fmt.Printf("| %s | no result | | <= %.2f | | MISSED |\n", b.what, b.ratio)
		return false
	}
	met, absolute := a/k <= b.ratio, ""
	if b.absolute > 0 {
		absolute = fmt.Sprintf("%.4g <= %.4g", a, b.absolute)
		if !quiet {
			absolute += " (not judged)"
		} else if a > b.absolute {
			met = false
		}
	}
	fmt.Printf("| %s | %.4g / %.4g %s | %.3f | <= %.2f | %s | %s |\n", b.what, a, k, b.unit, a/k, b.ratio, absolute, verdict(met))
	return met
}

// judgePeak compares the greatest resident size that any load reached.
func judgePeak(ours, theirs []measure.Result) bool {
	const most = 0.15
	a, k := peak(ours), peak(theirs)
	if a == 0 || k == 0 {
		fmt.Printf("| peak RSS | no result | | <= %.2f | | MISSED |\n", most)
		return false
	}
	fmt.Printf("| peak RSS | %.4g / %.4g MiB | %.3f | <= %.2f | | %s |\n", a, k, a/k, most, verdict(a/k <= most))
	return a/k <= most
}

func peak(runs []measure.Result) float64 {
	v := 0.0
	for i := range runs {
		if runs[i].Broker != nil && runs[i].Cmd != "partitions" {
			v = max(v, runs[i].Broker.PeakRSS)
		}
	}
	return v
}

func verdict(met bool) string {
	if met {
		return "pass"
	}
	return "MISSED"
}

func median(runs []measure.Result, load func(*measure.Result) bool, of func(*measure.Result) float64) (float64, int) {
	var chosen []measure.Result
	for i := range runs {
		if load(&runs[i]) {
			chosen = append(chosen, runs[i])
		}
	}
	if len(chosen) == 0 {
		return 0, 0
	}
	return medianOf(chosen, of), len(chosen)
}

func readResults(name string) ([]measure.Result, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	order, groups, err := readRuns(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var all []measure.Result
	for _, key := range order {
		all = append(all, groups[key]...)
	}
	return all, nil
}

// machineQuiet tells whether the machine is within 1.3 of the one that the absolute bars were set on: a frame taken
// in, checked and appended at 0.49 CPU seconds a GB, and a loopback round trip with a p50 of at most 19 us. The file may
// hold several runs of limits; the worst counts.
func machineQuiet(name string) (bool, string, error) {
	if name == "" {
		return false, "not judged, no limits given", nil
	}
	f, err := os.Open(name)
	if err != nil {
		return false, "", err
	}
	defer f.Close()
	ingest, rtt := 0.0, 0.0
	for d := json.NewDecoder(f); d.More(); {
		var l limit
		if err := d.Decode(&l); err != nil {
			return false, "", fmt.Errorf("%s: %w", name, err)
		}
		switch l.Name {
		case "ingest_1024KiB":
			ingest = max(ingest, l.Peer)
		case "tcp_rtt_64B_p50":
			rtt = max(rtt, l.Median)
		}
	}
	const within, ingestThen, rttThen = 1.3, 0.49, 19.0
	quiet := ingest > 0 && rtt > 0 && ingest <= within*ingestThen && rtt <= within*rttThen
	word := "judged"
	if !quiet {
		word = "not judged"
	}
	return quiet, fmt.Sprintf("%s: taking in 1 MiB frames cost %.3g CPU-s/GB (reference %.3g), a round trip %.3g us (reference %.3g)", word, ingest, ingestThen, rtt, rttThen), nil
}
