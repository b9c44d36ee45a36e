//go:build linux

// Command cluster drives three nodes as processes, each from the server.properties that Kafka's would get, through what
// happens to a cluster: it forms, decides, loses nodes and gets them back, and refuses who does not belong to it.
//
//	cluster -moldau bin/moldau -dir DIR -port 19292
//
// DIR/cluster and DIR/other hold node1.properties to node3.properties of two clusters, at -port and ten ports further on.
// What clients see comes from the program's own commands (cluster health, cluster brokers, quorum status), so that these
// are tried too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/moldau/moldau/test/nodes"
)

func main() {
	moldau := flag.String("moldau", "bin/moldau", "the program")
	dir := flag.String("dir", "", "the directory with the properties, where data and logs go too")
	port := flag.Int("port", 19292, "the first port, below the ephemeral range")
	limit := flag.Duration("limit", 10*time.Minute, "give up after this long")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	s := &suite{
		cluster: &cluster{nodes.New(*moldau, filepath.Join(*dir, "cluster"), *port)},
		other:   &cluster{nodes.New(*moldau, filepath.Join(*dir, "other"), *port+10)},
		dir:     *dir,
	}
	err := s.run(ctx)
	s.cluster.KillAll()
	s.other.KillAll()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// suite runs scenarios one after the other on the same cluster. What fails is reported, and the rest goes on as far
// as it can.
type suite struct {
	cluster, other *cluster
	dir            string
	failed         int
}

// scenario is one thing that happens to a cluster whose three nodes run; it leaves the cluster like that.
type scenario struct {
	what string
	run  func(ctx context.Context) (note string, err error)
}

func (s *suite) run(ctx context.Context) error {
	for _, sc := range []scenario{
		{"started one after the other, the nodes form a cluster", s.formsInOrder},
		{"so they do in another order, with their last one late", s.formsLate},
		{"topics are created through every broker, and all of them know each", s.createsEverywhere},
		{"records go in and out wherever a partition leads", s.servesRecords},
		{"kill -9 of the active controller: another decides", s.controllerDies},
		{"kill -9 of a broker: it is fenced, and back when it runs again", s.brokerDies},
		{"a broker that stands still is fenced, and back when it goes on", s.brokerHangs},
		{"each node stops cleanly in turn, and is missed and taken back", s.restartsInTurn},
		{"after kill -9 of all three everything is as it was", s.allDie},
		{"a node with an emptied directory joins as a new member", s.diskIsEmptied},
		{"a node with another secret is refused, and so is one without", s.wrongSecret},
		{"the disk of another cluster is refused", s.otherDisk},
		{"a second node of the same id is refused", s.duplicateNode},
		{"a node that is told wrong addresses is refused", s.wrongAddress},
		{"controllers and brokers that are nodes of their own", s.rolesApart},
	} {
		note, err := sc.run(ctx)
		if err == nil {
			fmt.Printf("ok     %s%s\n", sc.what, note)
			continue
		}
		s.failed++
		fmt.Printf("FAILED %s: %v\n", sc.what, err)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := s.begin(ctx); err != nil {
			return fmt.Errorf("a new cluster for what follows: %w", err)
		}
	}
	if s.failed > 0 {
		return errors.New("a scenario has failed; the logs say more: " + s.dir)
	}
	return nil
}

// begin makes a new cluster of empty directories.
func (s *suite) begin(ctx context.Context) error {
	s.cluster.KillAll()
	if err := s.cluster.Empty(); err != nil {
		return err
	}
	return s.cluster.StartAll(ctx)
}
