//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// A file of results has a line for each schedule that was run, its fields with tabs between them: commit, seed, ok or FAILED, whether
// three replicas bear it, faults, longest time without an acknowledgement, time until all was well, records sent, acknowledged and
// read, what happened, and what was found.

type resultKey struct {
	commit string
	seed   uint64
}

type result struct {
	key resultKey
	// of a schedule that was just run
	plan    schedule
	outcome outcome
	err     error
	left    string // where its data is

	line string // as it is in the file
}

func (r result) String() string {
	if r.line != "" {
		return r.line
	}
	word, bears, found := "ok", "bearable", r.outcome.same
	if !r.plan.bearable() {
		bears = "beyond"
	}
	if r.err != nil {
		word, found = "FAILED", fmt.Sprintf("%v; %s", r.err, r.left)
	}
	sent, acked, read := 0, 0, 0
	if v := r.outcome.verdict; v != nil {
		sent, acked, read = v.Sent, v.Acked, v.Read
	}
	fields := []any{
		r.key.commit, r.key.seed, word, bears, r.outcome.faults, r.outcome.longest.Length.Round(time.Millisecond), r.outcome.well.Round(time.Millisecond), sent, acked, read,
		r.plan, strings.Join(strings.Fields(found), " "),
	}
	var texts []string
	for _, f := range fields {
		texts = append(texts, fmt.Sprint(f))
	}
	return strings.Join(texts, "\t")
}

// ok tells whether it went well.
func (r result) ok() bool {
	fields := strings.Split(r.String(), "\t")
	return len(fields) > 2 && fields[2] == "ok"
}

// append adds the line to a file.
func (r result) append(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, r)
	return errors.Join(err, f.Close())
}

// readResults returns what a file has, and nothing where there is none.
func readResults(name string) (map[resultKey]result, error) {
	all := make(map[resultKey]result)
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		r := result{line: lines.Text()}
		fields := strings.Split(r.line, "\t")
		if len(fields) < 3 {
			return nil, fmt.Errorf("%s: %q is no result", name, r.line)
		}
		r.key.commit = fields[0]
		if r.key.seed, err = strconv.ParseUint(fields[1], 10, 64); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[r.key] = r
	}
	return all, lines.Err()
}

// summary prints how many of the schedules went well, and returns the status to end with.
func summary(done map[resultKey]result, commit string, first uint64, count int) int {
	well, status := 0, 0
	for seed := first; seed < first+uint64(count); seed++ {
		if r := done[resultKey{commit, seed}]; r.ok() {
			well++
		} else {
			fmt.Println(r)
			status = 1
		}
	}
	fmt.Printf("%d of %d schedules from seed %d on went well at %s\n", well, count, first, commit)
	return status
}
