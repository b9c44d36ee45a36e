package broker

import (
	"log/slog"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/coordinator/group"
	"github.com/moldau/moldau/internal/coordinator/runtime"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// coordinators have the shards of the partitions of internal topics that this broker leads.
type coordinators struct {
	node   ids.NodeID
	groups *runtime.Runtime
}

// newCoordinators returns coordinators that have no partition yet. current and image give the broker's configuration
// and the metadata of now.
func newCoordinators(node ids.NodeID, partitions runtime.Partitions, current func() *config.Broker, image func() *metadata.Image, logger *slog.Logger) *coordinators {
	return &coordinators{node: node, groups: runtime.New(runtime.Config{
		Topic:      config.OffsetsTopic,
		Partitions: partitions,
		NewShard: func(number int32) runtime.Shard {
			return group.New(func() group.Config { return current().Groups }, image, logger, number)
		},
		Logger: logger,
	})}
}

// Apply follows a change of the metadata, after the table of partitions has.
func (c *coordinators) Apply(delta *metadata.Delta, img *metadata.Image) {
	changes := delta.LocalChanges(c.node)
	var deleted []group.DeletedTopic
	for i := range changes.Deleted {
		gone := &changes.Deleted[i]
		_, there := img.TopicByID(gone.TopicID)
		switch n := len(deleted); {
		case gone.TP.Topic == config.OffsetsTopic:
			c.groups.Resigned(gone.TP.Partition)
		case !there && (n == 0 || deleted[n-1].ID != gone.TopicID):
			deleted = append(deleted, group.DeletedTopic{Name: gone.TP.Topic, ID: gone.TopicID})
		}
	}
	for i := range changes.Leaders {
		if led := &changes.Leaders[i]; led.TP.Topic == config.OffsetsTopic {
			c.groups.Elected(led.TP.Partition, led.LeaderEpoch)
		}
	}
	for i := range changes.Followers {
		if led := &changes.Followers[i]; led.TP.Topic == config.OffsetsTopic {
			c.groups.Resigned(led.TP.Partition)
		}
	}
	if len(deleted) > 0 {
		c.groups.Each(&group.TopicsDeleted{Topics: deleted})
	}
}
