package sim

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/moldau/moldau/internal/broker"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/vfs"
	"github.com/moldau/moldau/sim/machine"
)

// node is a running broker and the way to it.
type node struct {
	broker  *broker.Broker
	clients *machine.Process
	began   time.Time
}

// cleanerBackoff is how often a broker looks for something to compact, from its start on.
const cleanerBackoff = 3 * time.Second

const (
	nodeHost    = "broker"
	nodeAddress = nodeHost + ":9092"
)

// startNode starts a broker on a disk, with settings over those that make checkpoints,
// snapshots and removals frequent.
func startNode(fs vfs.FS, settings map[string]string, logger *slog.Logger) (*node, error) {
	entries := []config.Entry{}
	add := func(name, value string) {
		entries = append(entries, config.Entry{Name: name, Value: value, Where: "sim"})
	}
	add("node.id", "1")
	add("listeners", "PLAINTEXT://"+nodeAddress)
	add("log.dirs", "/data")
	add("auto.create.topics.enable", "false")
	add("log.flush.offset.checkpoint.interval.ms", "5000")
	add("log.flush.start.offset.checkpoint.interval.ms", "7000")
	add("replica.high.watermark.checkpoint.interval.ms", "3000")
	add("log.retention.check.interval.ms", "11000")
	add("log.segment.delete.delay.ms", "4000")
	add("log.cleaner.backoff.ms", fmt.Sprint(cleanerBackoff.Milliseconds()))
	over := []config.Entry{}
	for name, value := range settings {
		over = append(over, config.Entry{Name: name, Value: value, Where: "sim"})
	}
	cfg, err := config.New(entries, over)
	if err != nil {
		return nil, err
	}
	net := machine.NewNetwork(0)
	n := &node{clients: net.Start("clients"), began: time.Now()}
	if n.broker, err = broker.New(cfg, broker.Deps{FS: fs, Listen: net.Start(nodeHost).Listen, Logger: logger}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.broker.Start(ctx); err != nil {
		return nil, fmt.Errorf("the broker does not start: %w", err)
	}
	return n, nil
}

func (n *node) connect() (*client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return newClient(ctx, n.clients, nodeAddress)
}

// stop stops the broker as a signal would. Clients are gone by then.
func (n *node) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	return n.broker.Stop(ctx)
}
