//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/test/history"
	"github.com/moldau/moldau/test/load"
	"github.com/moldau/moldau/test/nodes"
)

const (
	topic      = "fault"
	partitions = 6
	// recoveryMax is how long a partition may acknowledge nothing: some requests that time out, one after the other.
	recoveryMax = 60 * time.Second
)

// stage is what scenarios and schedules have to happen on.
type stage struct {
	moldau  string
	faulty  string // the same program, built with -tags fault; "" for none
	dir     string
	port    int
	network *network // nil for none: all is on loopback
	disks   bool     // a node's data may have a file system of its own
	commit  string   // what the program was built from
}

// has tells whether a kind of fault can happen here.
func (s *stage) has(n need) bool {
	switch n {
	case needsNetwork:
		return s.network != nil
	case needsMount:
		return s.disks
	case needsControl:
		return s.faulty != ""
	}
	return true
}

// run is one scenario or schedule on a cluster of its own.
type run struct {
	*stage
	cluster *nodes.Cluster
	links   links
	rng     *rand.Rand
	load    *load.Load
	now     []fault    // that have begun and not ended
	struck  int        // faults so far
	failed  chan error // the first of what the clients run into
	log     *os.File   // which fault began and ended when
}

func (s *stage) newRun(seed uint64) *run {
	c := nodes.New(s.moldau, s.dir, s.port)
	if s.network != nil {
		for _, n := range c.Nodes {
			n.Host, n.Via = address(int32(n.ID)), inside(int32(n.ID))
		}
	}
	return &run{
		stage: s, cluster: c, rng: rand.New(rand.NewPCG(seed, 0)), failed: make(chan error, 1),
		load: &load.Load{
			Brokers: strings.Split(c.Addresses(), ","),
			Options: []kgo.Opt{kgo.RequestTimeoutOverhead(2 * time.Second)},
			Topic:   topic, Partitions: partitions, Producers: 3, Groups: 2, Rate: 500, Size: 300,
			Acked: load.NewAcks(partitions),
		},
	}
}

// say notes what happens and when.
func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.log, time.Now().UTC().Format("15:04:05.000 ")+format+"\n", args...)
}

// outcome is what a run has shown.
type outcome struct {
	faults  int
	longest load.Pause
	well    time.Duration // after the last fault
	verdict *history.Verdict
	same    string // of the replicas
}

func (o outcome) String() string {
	return fmt.Sprintf("%d faults; longest without an acknowledgement %v; well again %v after the last; %s; %s",
		o.faults, o.longest, o.well.Round(time.Millisecond), counts(o.verdict), o.same)
}

// judged has faults happen to a new cluster under load, and judges what is left. What fails leaves the data.
func (r *run) judged(ctx context.Context, needs func(need) bool, faults func(ctx context.Context) error) (o outcome, err error) {
	tearDown, err := r.setUp(needs)
	if err != nil {
		return o, err
	}
	defer func() {
		r.cluster.KillAll()
		if err != nil && needs(needsMount) {
			err = errors.Join(err, r.keep())
		}
		err = errors.Join(err, tearDown())
	}()
	if err := r.cluster.StartAll(ctx); err != nil {
		return o, err
	}
	if err := r.createTopic(ctx); err != nil {
		return o, err
	}
	name := filepath.Join(r.dir, "history.txt")
	file, err := os.Create(name)
	if err != nil {
		return o, err
	}
	defer file.Close()
	r.load.Out = history.NewWriter(file)
	o.well, err = r.underLoad(ctx, faults)
	o.faults, o.longest = r.struck, r.load.Acked.LongestPause()
	if err = errors.Join(err, r.load.Out.Flush()); err != nil {
		return o, fmt.Errorf("after %d faults: %w", r.struck, err)
	}
	if err := r.cluster.StopAll(); err != nil {
		return o, err
	}
	if o.verdict, err = judge(name); err != nil {
		return o, err
	}
	o.same, err = compareReplicas(r.dir)
	return o, err
}

// setUp makes what the faults need. tearDown ends that.
func (r *run) setUp(needs func(need) bool) (tearDown func() error, err error) {
	if r.log, err = os.Create(filepath.Join(r.dir, "faults.txt")); err != nil {
		return nil, err
	}
	if needs(needsControl) {
		for _, n := range r.cluster.Nodes {
			name := r.control(int32(n.ID))
			if err := os.WriteFile(name, nil, 0o644); err != nil {
				return nil, err
			}
			n.Moldau, n.Via = r.faulty, append([]string{"env", "FAULT_DISK=" + name}, n.Via...)
		}
	}
	for _, n := range r.cluster.Nodes {
		if err := os.RemoveAll(n.Log); err != nil {
			return nil, err
		}
	}
	tearDown = r.log.Close
	if needs(needsMount) {
		if err := r.mountDisks(); err != nil {
			return nil, err
		}
		tearDown = func() error { return errors.Join(r.unmountDisks(), r.log.Close()) }
	}
	return tearDown, r.cluster.Empty()
}

func (r *run) createTopic(ctx context.Context) error {
	cl, err := r.load.Client()
	if err != nil {
		return err
	}
	defer cl.Close()
	two, forever := "2", "-1"
	_, err = kadm.NewClient(cl).CreateTopic(ctx, partitions, nodes.Count, map[string]*string{"min.insync.replicas": &two, "retention.ms": &forever}, r.load.Topic)
	return err
}

// underLoad lets faults happen under load, and then everything come to its end. It returns how long after the last fault
// all was well.
func (r *run) underLoad(ctx context.Context, faults func(ctx context.Context) error) (well time.Duration, err error) {
	writing, stopWriting := context.WithCancel(ctx)
	defer stopWriting()
	producers := r.load.Produce(ctx, writing, r.failed)
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	members := r.load.Consume(ctx, reading, r.failed)
	ends := make(chan map[int32]int64, 1)
	seen := make(chan error, 1)
	go func() { seen <- r.load.ReadAlong(ctx, ends) }()

	if err = r.progress(ctx); err == nil {
		err = faults(ctx)
	}
	last := time.Now()
	if err == nil {
		err = r.cluster.Await(ctx, "the cluster is well again", r.cluster.Well)
	}
	well = time.Since(last)
	stopWriting()
	producers.Wait()
	if err == nil {
		err = r.ends(ctx, ends, seen)
	}
	stopReading()
	members.Wait()
	select {
	case first := <-r.failed:
		err = errors.Join(err, first)
	default:
	}
	return well, err
}

// scenario lets one fault follow the other for a time, 3 to 6 s from the beginning of one to that of the next, or later where a partition takes
// longer to acknowledge something again.
func (r *run) scenario(ctx context.Context, s scenario, d time.Duration) (outcome, error) {
	if s.linked {
		var err error
		if r.links, err = newLinks(r.cluster, r.network != nil); err != nil {
			return outcome{}, err
		}
		defer r.links.close()
	}
	return r.judged(ctx, func(n need) bool { return n == s.need }, func(ctx context.Context) error {
		for begun := time.Now(); time.Since(begun) < d; {
			next := time.Now().Add(3*time.Second + time.Duration(r.rng.Int64N(int64(3*time.Second))))
			if err := s.strike(ctx, r); err != nil {
				return err
			}
			r.struck++
			if err := r.progress(ctx); err != nil {
				return err
			}
			if err := pause(ctx, time.Until(next)); err != nil {
				return err
			}
		}
		return nil
	})
}

// progress returns once every partition has acknowledged something more.
func (r *run) progress(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recoveryMax)
	defer cancel()
	before := r.load.Acked.Counts()
	for p := 0; p < partitions; {
		if now := r.load.Acked.Counts(); now[p] > before[p] {
			p++
			continue
		}
		select {
		case err := <-r.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("partition %d acknowledges nothing for %v: %w", p, recoveryMax, ctx.Err())
		case <-time.After(nodes.Poll):
		}
	}
	return nil
}

// ends waits until the groups and the reader have everything, and reads it all once more.
func (r *run) ends(ctx context.Context, ends chan<- map[int32]int64, seen <-chan error) error {
	waiting, cancel := context.WithTimeout(ctx, recoveryMax)
	defer cancel()
	if err := r.load.AwaitGroups(waiting); err != nil {
		return err
	}
	reads, err := r.load.ReadAll(ctx)
	if err != nil {
		return err
	}
	at := make(map[int32]int64)
	for _, read := range reads {
		r.load.Out.Read(read)
		at[read.Partition] = read.Offset + 1
	}
	ends <- at
	select {
	case err := <-seen:
		return err
	case <-waiting.Done():
		return fmt.Errorf("the reader of everything does not come to the end: %w", waiting.Err())
	}
}

// leader is the broker that leads a partition of the topic.
func (r *run) leader(ctx context.Context, partition int32) (int32, error) {
	cl, err := r.load.Client()
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	topics, err := kadm.NewClient(cl).ListTopics(ctx, topic)
	if err != nil {
		return 0, err
	}
	leader := topics[topic].Partitions[partition].Leader
	if leader < 1 {
		return 0, fmt.Errorf("partition %d has no leader", partition)
	}
	return leader, nil
}

// judge returns an error where a history shows that a promise was broken.
func judge(name string) (*history.Verdict, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h, err := history.Parse(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	v := h.Judge()
	if !v.OK() {
		const shown = 20
		lines := []string{fmt.Sprintf("%d promises broken", len(v.Violations))}
		for _, violation := range v.Violations[:min(len(v.Violations), shown)] {
			lines = append(lines, violation.String())
		}
		return v, errors.New(strings.Join(lines, "\n  "))
	}
	return v, nil
}

func counts(v *history.Verdict) string {
	return fmt.Sprintf("%d sent, %d acknowledged, %d read, %d of them while it happened; %d commits, %d answers of offsets", v.Sent, v.Acked, v.Read, v.Seen, v.Commits, v.Answers)
}
