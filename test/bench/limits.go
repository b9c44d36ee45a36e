package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/moldau/moldau/test/bench/internal/measure"
)

// A limit is one measured bound of the machine: the median, least and greatest of its repetitions.
type limit struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	CPU    float64 `json:"cpu_s_per_gb,omitempty"` // of the measuring process
	Peer   float64 `json:"peer_cpu_s_per_gb,omitempty"`
}

type limiter struct {
	reps  int
	dir   string
	total int
	out   *json.Encoder
}

func runLimits(args []string) error {
	fs := flag.NewFlagSet("limits", flag.ExitOnError)
	only := fs.String("only", "mem,disk,net,sched", "sections to measure")
	dir := fs.String("dir", os.TempDir(), "directory for the disk section's file")
	reps := fs.Int("reps", 5, "repetitions of each measurement")
	mib := fs.Int("mib", 512, "MiB moved per repetition")
	serve := fs.String("serve", "", "internal: act as the peer process")
	fs.Parse(args)
	if *serve != "" {
		return servePeer(*serve, *dir)
	}
	l := &limiter{reps: *reps, dir: *dir, total: *mib << 20, out: json.NewEncoder(os.Stdout)}
	sections := map[string]func() error{"mem": l.memory, "disk": l.disk, "net": l.network, "sched": l.sched}
	for name := range strings.SplitSeq(*only, ",") {
		section, ok := sections[name]
		if !ok {
			return fmt.Errorf("no section %q", name)
		}
		if err := section(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// report prints the median of the repetitions.
func (l *limiter) report(name, unit string, values []float64, cpu, peer float64) {
	slices.Sort(values)
	l.out.Encode(limit{name, unit, measure.Round(values[len(values)/2]), measure.Round(values[0]), measure.Round(values[len(values)-1]), measure.Round(cpu), measure.Round(peer)})
}

// bandwidth runs move, which moves n bytes, several times and reports MB/s and CPU seconds per GB.
func (l *limiter) bandwidth(name string, n int, peer []int, move func() error) error {
	var rates []float64
	cpu, peerCPU := measure.SelfCPU(), measure.CPU(peer)
	for range l.reps {
		start := time.Now()
		if err := move(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		rates = append(rates, float64(n)/1e6/time.Since(start).Seconds())
	}
	gb := float64(n) * float64(l.reps) / 1e9
	l.report(name, "MB/s", rates, (measure.SelfCPU()-cpu)/gb, (measure.CPU(peer)-peerCPU)/gb)
	return nil
}

// latency reports the median and 99th percentile of op's time, in µs.
func (l *limiter) latency(name string, n int, op func() error) error {
	var p50, p99, p999 []float64
	for range l.reps {
		times := make([]float64, n)
		for i := range times {
			start := time.Now()
			if err := op(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			times[i] = float64(time.Since(start).Nanoseconds()) / 1e3
		}
		slices.Sort(times)
		p50, p99, p999 = append(p50, times[n/2]), append(p99, times[n*99/100]), append(p999, times[n*999/1000])
	}
	l.report(name+"_p50", "us", p50, 0, 0)
	l.report(name+"_p99", "us", p99, 0, 0)
	l.report(name+"_p999", "us", p999, 0, 0)
	return nil
}

func (l *limiter) memory() error {
	src, dst := make([]byte, 256<<20), make([]byte, 256<<20)
	fill(src)
	fill(dst)
	table := crc32.MakeTable(crc32.Castagnoli)
	var sum uint32
	for _, size := range []int{64 << 10, 1 << 20, len(src)} {
		name := fmt.Sprintf("%dKiB", size>>10)
		// The smaller blocks stay in cache: the cost that a broker sees for a batch just received.
		loops := len(src) / size
		if err := l.bandwidth("memcpy_"+name, loops*size, nil, func() error {
			for range loops {
				copy(dst[:size], src[:size])
			}
			return nil
		}); err != nil {
			return err
		}
		if err := l.bandwidth("crc32c_"+name, loops*size, nil, func() error {
			for range loops {
				sum = crc32.Update(sum, table, src[:size])
			}
			return nil
		}); err != nil {
			return err
		}
	}
	runtime.KeepAlive(sum)
	return nil
}

func (l *limiter) sched() error {
	ping, pong := make(chan struct{}), make(chan struct{})
	go func() {
		for range ping {
			pong <- struct{}{}
		}
	}()
	if err := l.latency("channel_round_trip", 20000, func() error {
		ping <- struct{}{}
		<-pong
		return nil
	}); err != nil {
		return err
	}
	close(ping)
	for _, d := range []time.Duration{50 * time.Microsecond, 200 * time.Microsecond, time.Millisecond} {
		if err := l.latency("sleep_"+fmt.Sprintf("%dus", d.Microseconds()), 500, func() error { time.Sleep(d); return nil }); err != nil {
			return err
		}
		if err := l.latency("nanosleep_"+fmt.Sprintf("%dus", d.Microseconds()), 500, func() error { measure.Nanosleep(d); return nil }); err != nil {
			return err
		}
	}
	return nil
}

// fill writes bytes that hardly compress.
func fill(b []byte) { rand.NewChaCha8([32]byte{2}).Read(b) }
