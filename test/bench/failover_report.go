package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// A stallBar is how long partitions whose leader is lost may be without an acknowledged write, in milliseconds; 0: no bar.
type stallBar struct {
	fault, what string
	p50, p99    float64
}

var stallBars = []stallBar{
	{"kill", "kill -9 of a leader", 1000, 2000},
	{"controller", "kill -9 of the active controller", 2000, 4000},
	{"stop", "SIGSTOP of a leader", 5000, 0},
}

// runStalls prints what `bench failover` found as a table, with the bars, and returns an error where one is missed.
func runStalls(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return errors.New("usage: bench stalls OURS.json [THEIRS.json]")
	}
	var results []map[string]stalls
	for _, name := range args {
		r, err := readStalls(name)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	fmt.Println("| fault | cluster | times | partitions | median | p99 | max | verdict |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- |")
	missed := 0
	for _, b := range stallBars {
		for i, r := range results {
			s, found := r[b.fault]
			if i > 0 {
				s.row(b.what, "Apache Kafka", "")
				continue
			}
			met := found && b.met(&s)
			if !met {
				missed++
			}
			s.row(b.what, "Moldau", b.String()+": "+verdict(met))
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d bars MISSED", missed)
	}
	return nil
}

func readStalls(name string) (map[string]stalls, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var r struct {
		Extra map[string]stalls `json:"extra"`
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r.Extra, nil
}

// met tells whether every partition came back, and soon enough.
func (b *stallBar) met(s *stalls) bool {
	return len(s.Partition) > 0 && s.Never == 0 && s.P50 < b.p50 && (b.p99 == 0 || s.P99 < b.p99)
}

func (b *stallBar) String() string {
	if b.p99 == 0 {
		return fmt.Sprintf("median < %g", b.p50)
	}
	return fmt.Sprintf("median < %g, p99 < %g", b.p50, b.p99)
}

func (s *stalls) row(what, cluster, verdict string) {
	partitions := fmt.Sprint(len(s.Partition))
	if s.Never > 0 {
		partitions += fmt.Sprintf(" (%d more were not back within %v)", s.Never, patience)
	}
	fmt.Printf("| %s | %s | %d | %s | %.0f ms | %.0f ms | %.0f ms | %s |\n", what, cluster, s.Times, partitions, s.P50, s.P99, s.Max, verdict)
}
