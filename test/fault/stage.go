//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moldau/moldau/test/nodes"
)

// needed says what a need is of.
var needed = map[need]string{
	needsNetwork: "root, ip, nft and namespaces",
	needsMount:   "root and namespaces",
	needsControl: "the program built with -tags fault",
}

// prepare makes the network, and has the nodes listen in it.
func (s *stage) prepare(isolated bool) error {
	if !isolated {
		return nil
	}
	s.disks = true
	var err error
	if s.network, err = newNetwork(); err != nil {
		return fmt.Errorf("the network: %w", err)
	}
	secret := filepath.Join(s.dir, "cluster.secret")
	if err := command(clients, "", s.moldau, "secret", "new", "--out", secret); err != nil {
		return err
	}
	for id := int32(1); id <= nodes.Count; id++ {
		name := filepath.Join(s.dir, fmt.Sprintf("node%d.properties", id))
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		text := elsewhere(string(b), s.port) + "cluster.secret.file=" + secret + "\n"
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// elsewhere gives each node in a file of properties the address that it has in the network.
func elsewhere(properties string, port int) string {
	local := nodes.New("", "", port)
	for id := int32(1); id <= nodes.Count; id++ {
		for _, at := range []string{local.Address(id), local.ControllerAddress(id)} {
			properties = strings.ReplaceAll(properties, at, address(id)+strings.TrimPrefix(at, local.Node(id).Host))
		}
	}
	return properties
}

// scheduleMax is about the longest that a schedule takes, from its start to its verdict.
const scheduleMax = 3 * time.Minute

// random runs schedules from a seed on, but for those that have a result for this commit, and returns the status to end with: 1 where one
// has failed, 3 where the time was over before all had been run.
func (s *stage) random(ctx context.Context, first uint64, count int, results string) int {
	var here []*kind
	for _, k := range kinds {
		if s.has(k.need) {
			here = append(here, k)
		} else {
			fmt.Printf("not run: %s: needs %s\n", k.name, needed[k.need])
		}
	}
	done, err := readResults(results)
	for seed := first; err == nil && seed < first+uint64(count); seed++ {
		if _, ok := done[resultKey{s.commit, seed}]; ok {
			continue
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < scheduleMax {
			fmt.Printf("the time is over before the schedule of seed %d; the next run goes on\n", seed)
			return 3
		}
		var r result
		if r, err = s.schedule(ctx, seed, here, filepath.Dir(results)); err == nil {
			done[r.key] = r
			fmt.Println(r)
			err = r.append(results)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fault:", err)
		return 1
	}
	return summary(done, s.commit, first, count)
}

// schedule runs that of a seed. An error is one of the machinery, or the end of the time: then there is no result.
func (s *stage) schedule(ctx context.Context, seed uint64, from []*kind, kept string) (result, error) {
	plan := draw(seed, from)
	run := s.newRun(seed)
	o, err := run.judged(ctx, plan.needs, func(ctx context.Context) error { return run.play(ctx, plan) })
	if ctx.Err() != nil {
		return result{}, ctx.Err()
	}
	if err == nil && plan.bearable() && o.longest.Length > stallMax {
		err = fmt.Errorf("no acknowledgement for %v, which three replicas should have borne", o.longest)
	}
	r := result{key: resultKey{s.commit, seed}, plan: plan, outcome: o, err: err}
	if err != nil {
		r.left = filepath.Join(kept, fmt.Sprintf("failed-%d-%s", seed, s.commit))
		return r, s.leave(r.left)
	}
	return r, nil
}

// leave copies what a run has left to where it stays.
func (s *stage) leave(to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "*.*"))
	if err != nil {
		return err
	}
	var errs []error
	for id := 1; id <= nodes.Count; id++ {
		name := fmt.Sprintf("node%d", id)
		from := filepath.Join(s.dir, "kept", name)
		if _, err := os.Stat(from); err != nil {
			from = filepath.Join(s.dir, name)
		}
		errs = append(errs, os.CopyFS(filepath.Join(to, name), os.DirFS(from)))
	}
	for _, file := range slices.DeleteFunc(files, func(name string) bool { return strings.HasSuffix(name, ".secret") }) {
		b, err := os.ReadFile(file)
		errs = append(errs, err, os.WriteFile(filepath.Join(to, filepath.Base(file)), b, 0o644))
	}
	return errors.Join(append(errs, os.RemoveAll(filepath.Join(s.dir, "kept")))...)
}
