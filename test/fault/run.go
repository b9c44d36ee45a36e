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

// run is one scenario on a cluster of its own.
type run struct {
	cluster *nodes.Cluster
	links   links
	dir     string
	rng     *rand.Rand
	time    time.Duration // for faults
	load    *load.Load
	struck  int        // faults so far
	failed  chan error // the first of what the clients run into
}

func newRun(moldau, dir string, port int, seed uint64, d time.Duration) *run {
	c := nodes.New(moldau, dir, port)
	return &run{
		cluster: c, dir: dir, rng: rand.New(rand.NewPCG(seed, 0)), time: d, failed: make(chan error, 1),
		load: &load.Load{
			Brokers: strings.Split(c.Addresses(), ","),
			Options: []kgo.Opt{kgo.RequestTimeoutOverhead(2 * time.Second)},
			Topic:   topic, Partitions: partitions, Producers: 3, Groups: 2, Rate: 500, Size: 300,
			Acked: load.NewAcks(partitions),
		},
	}
}

// scenario returns its numbers. What fails leaves the data.
func (r *run) scenario(ctx context.Context, s scenario) (note string, err error) {
	if err := r.cluster.Empty(); err != nil {
		return "", err
	}
	defer r.cluster.KillAll()
	if s.linked {
		if r.links, err = newLinks(r.cluster); err != nil {
			return "", err
		}
		defer r.links.close()
	}
	if err := r.cluster.StartAll(ctx); err != nil {
		return "", err
	}
	if err := r.createTopic(ctx); err != nil {
		return "", err
	}
	name := filepath.Join(r.dir, "history.txt")
	file, err := os.Create(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	r.load.Out = history.NewWriter(file)
	well, err := r.underLoad(ctx, s)
	if err = errors.Join(err, r.load.Out.Flush()); err != nil {
		return "", fmt.Errorf("after %d faults: %w", r.struck, err)
	}
	if err := r.cluster.StopAll(); err != nil {
		return "", err
	}
	verdict, err := judge(name)
	if err != nil {
		return "", err
	}
	same, err := compareReplicas(r.dir)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d faults; longest without an acknowledgement %v; well again %v after the last; %s; %s",
		r.struck, r.load.Acked.LongestPause(), well.Round(time.Millisecond), verdict, same), nil
}

func (r *run) createTopic(ctx context.Context) error {
	cl, err := r.load.Client()
	if err != nil {
		return err
	}
	defer cl.Close()
	two, forever := "2", "-1"
	_, err = kadm.NewClient(cl).CreateTopic(ctx, partitions, nodes.Count, map[string]*string{"min.insync.replicas": &two, "retention.ms": &forever}, topic)
	return err
}

// underLoad lets faults happen under load, and then everything come to its end. It returns how long after the last fault
// all was well.
func (r *run) underLoad(ctx context.Context, s scenario) (well time.Duration, err error) {
	writing, stopWriting := context.WithCancel(ctx)
	defer stopWriting()
	producers := r.load.Produce(ctx, writing, r.failed)
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	members := r.load.Consume(ctx, reading, r.failed)
	ends := make(chan map[int32]int64, 1)
	seen := make(chan error, 1)
	go func() { seen <- r.load.ReadAlong(ctx, ends) }()

	err = r.strikeOverAndOver(ctx, s)
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

// strikeOverAndOver lets one fault follow the other, 3 to 6 s from the beginning of one to that of the next, or later where a partition takes longer
// to acknowledge something again.
func (r *run) strikeOverAndOver(ctx context.Context, s scenario) error {
	if err := r.progress(ctx); err != nil {
		return err
	}
	for begun := time.Now(); time.Since(begun) < r.time; {
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

// judge says what a history shows, and returns an error where a promise was broken.
func judge(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h, err := history.Parse(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	v := h.Judge()
	if !v.OK() {
		const shown = 20
		lines := []string{fmt.Sprintf("%d promises broken", len(v.Violations))}
		for _, violation := range v.Violations[:min(len(v.Violations), shown)] {
			lines = append(lines, violation.String())
		}
		return "", errors.New(strings.Join(lines, "\n  "))
	}
	return fmt.Sprintf("%d sent, %d acknowledged, %d read, %d of them while it happened; %d commits, %d answers of offsets", v.Sent, v.Acked, v.Read, v.Seen, v.Commits, v.Answers), nil
}
