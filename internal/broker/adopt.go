package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/metadata"
)

// Adopted is a topic that Adopt registered.
type Adopted struct {
	Topic      string
	ID         ids.TopicID
	Partitions int
}

// Adopt registers the partition directories in dir, one of the node's data directories,
// that belong to no topic: somebody copied them there from a stopped Kafka. The node must not
// run; it is started without listeners for as long as that takes.
func Adopt(ctx context.Context, cfg *config.Broker, deps Deps, dir string) ([]Adopted, error) {
	b, err := New(cfg, deps)
	if err != nil {
		return nil, err
	}
	adopted, err := b.adopt(ctx, dir)
	return adopted, errors.Join(err, b.Stop(context.WithoutCancel(ctx)))
}

func (b *Broker) adopt(ctx context.Context, dir string) ([]Adopted, error) {
	switch {
	case b.cfg.Lone():
	case len(b.cfg.Voters) > 1:
		return nil, fmt.Errorf("topics are adopted on a lone node, and controller.quorum.voters names %d", len(b.cfg.Voters))
	default:
		return nil, fmt.Errorf("topics are adopted on a lone node, and process.roles is %s", b.cfg.Roles)
	}
	if !slices.ContainsFunc(b.cfg.LogDirs, func(d string) bool { return samePath(d, dir) }) {
		return nil, fmt.Errorf("%s is none of log.dirs=%s: copy the partition directories into one of these first", dir, strings.Join(b.cfg.LogDirs, ","))
	}
	for _, step := range []func(context.Context) error{b.open, b.join, b.belong, b.register, b.unfence} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	found := b.straysIn(dir)
	if len(found) == 0 {
		return nil, fmt.Errorf("%s has no partition directory that belongs to no topic yet", dir)
	}
	var out []Adopted
	for _, topic := range slices.Sorted(maps.Keys(found)) {
		a, err := b.adoptTopic(ctx, topic, found[topic])
		if err != nil {
			return out, fmt.Errorf("adopt topic %s: %w", topic, err)
		}
		out = append(out, a)
	}
	return out, nil
}

func samePath(a, b string) bool {
	absA, errA := filepath.Abs(a)
	absB, errB := filepath.Abs(b)
	return errA == nil && errB == nil && absA == absB
}

// straysIn returns the logs in dir that belong to no topic, by topic and partition.
func (b *Broker) straysIn(dir string) map[string]map[int32]*log.Log {
	found := map[string]map[int32]*log.Log{}
	for _, l := range b.store.Found() {
		tp := l.TopicPartition()
		if !b.isStray(l) || !samePath(filepath.Dir(l.Dir()), dir) {
			continue
		}
		if found[tp.Topic] == nil {
			found[tp.Topic] = map[int32]*log.Log{}
		}
		found[tp.Topic][tp.Partition] = l
	}
	return found
}

// adoptTopic registers one topic. Its partitions must count up from 0 and agree on the topic's id.
func (b *Broker) adoptTopic(ctx context.Context, topic string, logs map[int32]*log.Log) (Adopted, error) {
	a := &controller.AdoptTopic{Name: topic, Node: b.cfg.NodeID, Directory: metadata.UnassignedDirectory}
	for p := range int32(len(logs)) {
		l := logs[p]
		if l == nil {
			return Adopted{}, fmt.Errorf("partition %d is missing among the %d that are there: copy it too", p, len(logs))
		}
		if p == 0 {
			a.ID = l.TopicID()
		}
		if l.TopicID() != a.ID {
			return Adopted{}, fmt.Errorf("partition %d has topic id %s, partition 0 has %s: they come from different topics", p, l.TopicID(), a.ID)
		}
		a.LatestEpochs = append(a.LatestEpochs, l.LatestEpoch())
	}
	if a.ID.IsZero() {
		return Adopted{}, errors.New("partition.metadata is missing, so the topic's id is not known: copy it too")
	}
	if err := b.controller.AdoptTopic(ctx, a); err != nil {
		return Adopted{}, err
	}
	return Adopted{Topic: topic, ID: a.ID, Partitions: len(logs)}, nil
}
