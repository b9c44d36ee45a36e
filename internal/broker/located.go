package broker

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/replica"
)

// located is the table for requests: of what is not in it, it knows whether another broker has it (error 6).
type located struct {
	table *replica.Table
	image func() *metadata.Image
}

// ByName finds a partition.
func (l located) ByName(topic []byte, number int32) (*partition.Partition, error) {
	p, err := l.table.ByName(topic, number)
	if err != nil && errors.Is(err, kerr.UnknownTopicOrPartition) {
		if t, known := l.image().Topic(string(topic)); known {
			return nil, elsewhere(t, number, err)
		}
	}
	return p, err
}

// ByID finds a partition.
func (l located) ByID(id ids.TopicID, number int32) (*partition.Partition, error) {
	p, err := l.table.ByID(id, number)
	if err != nil && errors.Is(err, kerr.UnknownTopicID) {
		if t, known := l.image().TopicByID(id); known {
			return nil, elsewhere(t, number, fmt.Errorf("partition %d of %s: %w", number, t.Name, kerr.UnknownTopicOrPartition))
		}
	}
	return p, err
}

// Led implements handler.Partitions.
func (l located) Led() (began time.Time, next <-chan struct{}) { return l.table.Led() }

// elsewhere is why a partition that the cluster may have is not here: unknown where it has it not.
func elsewhere(t *metadata.Topic, number int32, unknown error) error {
	if number < 0 || int(number) >= len(t.Partitions) {
		return unknown
	}
	return fmt.Errorf("partition %s-%d has no replica on this broker: %w", t.Name, number, kerr.NotLeaderForPartition)
}
