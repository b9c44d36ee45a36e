package main

import (
	"errors"
	"fmt"

	"github.com/moldau/moldau/test/bench/internal/measure"
)

// scaleBars are upper bounds of what `bench scale` finds.
var scaleBars = []struct {
	name, what string
	most       float64
}{
	{"create_s", "partitions made and led, s", 30},
	{"idle_cpu_percent", "CPU of the busiest idle broker, % of a core", 5},
	{"led_again_s", "all led again after a kill, s", 3},
	{"back_in_sync_s", "back in sync after its start, s", 10},
}

// What one partition costs beside others, in raw produce of 64 KiB batches.
const (
	manyCPUMost     = 1.5 // CPU a GB with the most partitions over that with 10
	twelveRateLeast = 0.9 // throughput of 12 partitions over that of one
)

// runScales judges what `bench scale` and `bench reqs` found, and returns an error where a bar is missed.
func runScales(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: bench scales SCALE.json RAW.jsonl")
	}
	found, err := readResults(args[0])
	if err != nil {
		return err
	}
	raw, err := readResults(args[1])
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("%s has %d results, not one", args[0], len(found))
	}
	extra := found[0].Extra
	fmt.Printf("%v topics of %v partitions; idle brokers hold %v MiB at most.\n\n", found[0].Flags["topics"], found[0].Flags["per-topic"], extra["idle_rss_mib"])
	fmt.Println("| what | found | bar | verdict |")
	fmt.Println("| --- | --- | --- | --- |")
	missed := 0
	row := func(what string, v, bar float64, sign string, met bool) {
		fmt.Printf("| %s | %.4g | %s %g | %s |\n", what, v, sign, bar, verdict(met))
		if !met {
			missed++
		}
	}
	for _, b := range scaleBars {
		v, ok := extra[b.name].(float64)
		row(b.what, v, b.most, "<", ok && v < b.most)
	}
	most := mostPartitions(raw)
	few, n := median(raw, into("10"), brokerCPU)
	many, m := median(raw, into(most), brokerCPU)
	row(fmt.Sprintf("CPU a GB at %s partitions over that at 10", most), many/few, manyCPUMost, "<=", n > 0 && m > 0 && many/few <= manyCPUMost)
	one, n := median(raw, into("1"), rate)
	twelve, m := median(raw, into("12"), rate)
	row("MB/s of 12 partitions over one", twelve/one, twelveRateLeast, ">=", n > 0 && m > 0 && twelve/one >= twelveRateLeast)
	fmt.Printf("\n%.4g and %.4g CPU-s/GB at 10 and %s partitions; %.4g and %.4g MB/s at 1 and 12.\n", few, many, most, one, twelve)
	if missed > 0 {
		return fmt.Errorf("%d bars MISSED", missed)
	}
	return nil
}

func rate(r *measure.Result) float64 { return r.MBs }

func into(partitions string) func(*measure.Result) bool {
	return is("reqs", map[string]string{"partitions": partitions})
}

// mostPartitions returns the largest number of partitions of any result, as its flag says it.
func mostPartitions(raw []measure.Result) (most string) {
	n := 0
	for i := range raw {
		var v int
		if _, err := fmt.Sscan(raw[i].Flags["partitions"], &v); err == nil && v > n {
			n, most = v, raw[i].Flags["partitions"]
		}
	}
	return most
}
