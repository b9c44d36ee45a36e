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

	"golang.org/x/sys/unix"

	"github.com/moldau/moldau/test/nodes"
)

// need is what a kind of fault needs of the machine and of the program.
type need int

const (
	needsNothing need = iota
	needsNetwork      // namespaces
	needsMount        // a file system of its own for each node's data
	needsControl      // a program that was built with -tags fault
)

// kind is something that can be wrong for a while.
type kind struct {
	name string
	need need
	// process tells that the node's process ends or stands still, so that no two of these fit one node.
	process bool
	// Each kind has begin and end, or paths, or rule.
	begin, end func(r *run, on int32) error
	paths      map[string]quality // of node, "peers", "peer" and "clients": see directions
	rule       string             // of package vfs's control; %s is where the node has its data
}

// A fault is a kind that happens to a node.
type fault struct {
	*kind
	on   int32
	peer int32 // the other end where it is one link
}

func (f fault) String() string {
	if _, ok := f.pair(); ok {
		return fmt.Sprintf("%s(%d,%d)", f.name, f.on, f.peer)
	}
	return fmt.Sprintf("%s(%d)", f.name, f.on)
}

const (
	lossy = 20
	slow  = "Write,Sync,SyncFS,SyncDir * 150ms\n"
	// changes are all operations of package vfs that change what is on a disk.
	changes = "Create,OpenReadWrite,Remove,RemoveAll,Rename,MkdirAll,SyncDir,SyncFS,Write,Sync,Truncate"
)

var (
	cut  = quality{lost: 100}
	late = quality{late: 120 * time.Millisecond}
	lose = quality{lost: lossy}
)

var kinds = []*kind{
	{name: "killed", process: true, begin: killed, end: start},
	{name: "still", process: true, begin: func(r *run, on int32) error { return r.cluster.Node(on).Pause() }, end: func(r *run, on int32) error { return r.cluster.Node(on).Continue() }},
	{name: "stopped", process: true, begin: func(r *run, on int32) error { return r.cluster.Node(on).Terminate() }, end: restart},
	{name: "all-killed", process: true, begin: killedAll, end: startAll},
	{name: "isolated", need: needsNetwork, paths: map[string]quality{"from peers": cut, "to peers": cut}},
	{name: "alone", need: needsNetwork, paths: map[string]quality{"from peers": cut, "to peers": cut, "from clients": cut, "to clients": cut}},
	{name: "deaf", need: needsNetwork, paths: map[string]quality{"from peers": cut}},
	{name: "mute", need: needsNetwork, paths: map[string]quality{"to peers": cut}},
	{name: "cut", need: needsNetwork, paths: map[string]quality{"from peer": cut, "to peer": cut}},
	{name: "one-way", need: needsNetwork, paths: map[string]quality{"from peer": cut}},
	{name: "lossy", need: needsNetwork, paths: map[string]quality{"from peers": lose, "to peers": lose}},
	{name: "late", need: needsNetwork, paths: map[string]quality{"from peers": late, "to peers": late}},
	{name: "away", need: needsNetwork, paths: map[string]quality{"from clients": cut, "to clients": cut}},
	{name: "unheard", need: needsNetwork, paths: map[string]quality{"to clients": cut}},
	{name: "lossy-clients", need: needsNetwork, paths: map[string]quality{"from clients": lose, "to clients": lose}},
	{name: "full", need: needsMount, process: true, begin: full, end: emptied},
	{name: "slow-disk", need: needsControl, rule: slow},
	{name: "failing-disk", need: needsControl, process: true, rule: changes + " * EIO\n", end: again},
	{name: "failing-partitions", need: needsControl, process: true, rule: changes + " %s/" + topic + "-*/* EIO\n", end: again},
}

func kindOf(name string) *kind {
	return kinds[slices.IndexFunc(kinds, func(k *kind) bool { return k.name == name })]
}

// pair is what is wrong with one link alone.
func (f fault) pair() (quality, bool) {
	q, ok := f.paths["from peer"]
	return q, ok
}

// directions are those that a fault concerns.
func (f fault) directions() map[direction]quality {
	all := make(map[direction]quality)
	for id := clients; id <= nodes.Count; id++ {
		group := "peers"
		switch id {
		case f.on:
			continue
		case clients:
			group = "clients"
		case f.peer:
			all[direction{id, f.on}] = f.paths["from peer"]
			all[direction{f.on, id}] = f.paths["to peer"]
		}
		in, out := direction{id, f.on}, direction{f.on, id}
		all[in] = all[in].worse(f.paths["from "+group])
		all[out] = all[out].worse(f.paths["to "+group])
	}
	return all
}

// begin has a fault begin.
func (r *run) begin(f fault) error {
	r.now = append(r.now, f)
	return r.change(f, f.kind.begin)
}

// end has it end.
func (r *run) end(f fault) error {
	r.now = slices.DeleteFunc(r.now, func(other fault) bool { return other == f })
	return r.change(f, f.kind.end)
}

// change brings the links and the disks to what the faults of now make of them, before it does what else belongs to the one that changes.
func (r *run) change(f fault, do func(r *run, on int32) error) error {
	var err error
	if f.paths != nil {
		err = r.relink()
	}
	if f.rule != "" {
		err = r.redisk(f.on)
	}
	if err == nil && do != nil {
		err = do(r, f.on)
	}
	if err != nil {
		return fmt.Errorf("%v: %w", f, err)
	}
	return nil
}

// endAll ends whatever is wrong.
func (r *run) endAll() error {
	var errs []error
	for len(r.now) > 0 {
		errs = append(errs, r.end(r.now[0]))
	}
	return errors.Join(errs...)
}

func (r *run) relink() error {
	want := make(map[direction]quality)
	for _, f := range r.now {
		for d, q := range f.directions() {
			want[d] = want[d].worse(q)
		}
	}
	return r.network.set(want)
}

// redisk writes what a node's disk does from now on.
func (r *run) redisk(on int32) error {
	var rules strings.Builder
	for _, f := range r.now {
		if f.on == on && strings.Contains(f.rule, "%s") {
			fmt.Fprintf(&rules, f.rule, r.cluster.Node(on).Data)
		} else if f.on == on {
			rules.WriteString(f.rule)
		}
	}
	name := r.control(on)
	if err := os.WriteFile(name+".new", []byte(rules.String()), 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name) // for the node to read all of it or nothing
}

// control is the file that tells a node what its disk does.
func (r *run) control(on int32) string { return filepath.Join(r.dir, fmt.Sprintf("node%d.disk", on)) }

// runs returns an error where a node should run and has ended by itself.
func (r *run) runs(on int32) error {
	if n := r.cluster.Node(on); n.Ended() {
		return fmt.Errorf("node %d has ended by itself: %s", on, n.Log)
	}
	return nil
}

func killed(r *run, on int32) error {
	err := r.runs(on)
	r.cluster.Node(on).Kill()
	return err
}

func start(r *run, on int32) error { return r.cluster.Node(on).Start() }

func restart(r *run, on int32) error {
	return errors.Join(r.cluster.Node(on).AwaitEnd(), start(r, on))
}

// again starts a node whose disk is well again. It may have ended by itself, for that disk.
func again(r *run, on int32) error {
	r.cluster.Node(on).Kill()
	return start(r, on)
}

func killedAll(r *run, _ int32) error {
	r.cluster.KillAll()
	return nil
}

func startAll(r *run, _ int32) error {
	var errs []error
	for _, n := range r.cluster.Nodes {
		errs = append(errs, n.Start())
	}
	return errors.Join(errs...)
}

// diskSize is that of a node's file system where disks fill up.
const diskSize = 512 << 20

func (r *run) ballast(on int32) string {
	return filepath.Join(r.cluster.Node(on).Data, "..", fmt.Sprintf("disk%d", on), "ballast")
}

// full leaves not one byte.
func full(r *run, on int32) error {
	f, err := os.Create(r.ballast(on))
	if err != nil {
		return err
	}
	defer f.Close()
	const step = 4 << 10
	for size, by := int64(0), int64(32<<20); by >= step; {
		switch err := unix.Fallocate(int(f.Fd()), 0, size, by); {
		case err == nil:
			size += by
		case errors.Is(err, unix.ENOSPC):
			by /= 2
		default:
			return err
		}
	}
	return nil
}

func emptied(r *run, on int32) error {
	return errors.Join(os.Remove(r.ballast(on)), again(r, on))
}

// mountDisks gives each node a file system for its data.
func (r *run) mountDisks() error {
	for _, n := range r.cluster.Nodes {
		disk := filepath.Dir(r.ballast(int32(n.ID)))
		if err := errors.Join(os.MkdirAll(disk, 0o755), os.MkdirAll(n.Data, 0o755)); err != nil {
			return err
		}
		if err := command(clients, "", "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", diskSize), "disk", disk); err != nil {
			return err
		}
		data := filepath.Join(disk, "data")
		if err := os.Mkdir(data, 0o755); err != nil {
			return err
		}
		if err := command(clients, "", "mount", "--bind", data, n.Data); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) unmountDisks() error {
	var errs []error
	for _, n := range r.cluster.Nodes {
		errs = append(errs, command(clients, "", "umount", n.Data), command(clients, "", "umount", filepath.Dir(r.ballast(int32(n.ID)))))
	}
	return errors.Join(errs...)
}

// keep copies what a file system that ends with this process holds.
func (r *run) keep() error {
	var errs []error
	for _, n := range r.cluster.Nodes {
		errs = append(errs, os.CopyFS(filepath.Join(r.dir, "kept", filepath.Base(n.Data)), os.DirFS(n.Data)))
	}
	return errors.Join(errs...)
}

// hold has faults begin, lets them last, and has them end. Where through is set the clients get on meanwhile.
func (r *run) hold(ctx context.Context, through bool, faults ...fault) (err error) {
	defer func() {
		r.say("%v end", faults)
		err = errors.Join(err, r.endAll())
	}()
	for _, f := range faults {
		r.say("%v begins", f)
		if err := r.begin(f); err != nil {
			return err
		}
	}
	if through {
		if err := r.progress(ctx); err != nil {
			return fmt.Errorf("during %v: %w", faults, err)
		}
	}
	return pause(ctx, 3*time.Second+time.Duration(r.rng.Int64N(int64(3*time.Second))))
}
