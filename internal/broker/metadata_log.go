package broker

import (
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/replica"
)

// followers are told of each image, in order.
type followers struct {
	configs interface{ Reconfigure(*metadata.Image) }
	// partitions and then coordinators, which have their shards on them.
	partitions, coordinators interface {
		Apply(*metadata.Delta, *metadata.Image)
	}
	controller interface {
		Applied(img *metadata.Image, data []byte)
		LeaderChanged(leader bool, epoch ids.LeaderEpoch)
	}
	elected func(img *metadata.Image) // this node leads from now on
	brokers func()                    // which brokers are at work has changed
}

// metadataLog turns committed entries into images. It is the quorum's StateMachine; all
// calls but Image come from the quorum's goroutine.
type metadataLog struct {
	image     atomic.Pointer[metadata.Image]
	followers followers
	// node and incarnation are how this process registers.
	node        ids.NodeID
	incarnation ids.UUID
	epoch       atomic.Int64 // of this process's registration, -1 before
	// coming is what the table is being shown, or has been. The high watermark of a partition that has lost a replica must
	// not wait for it because the image that everybody reads still has that broker at work.
	coming atomic.Pointer[metadata.Image]
	// caughtUp is false until this process has registered; the quorum's goroutine's. The table is not shown
	// what comes before, entries of earlier lives: what it did then must not be done twice, like deleting the
	// log of a topic whose name, and directory, another one has since.
	caughtUp bool
	logger   *slog.Logger
}

func newMetadataLog(node ids.NodeID, logger *slog.Logger) *metadataLog {
	m := &metadataLog{node: node, incarnation: ids.NewUUID(), logger: logger}
	m.epoch.Store(-1)
	m.image.Store(metadata.NewDelta(nil).Apply(0, 0))
	m.coming.Store(m.image.Load())
	return m
}

// standing is the epoch under which a broker may be in sync with a partition, NoBrokerEpoch where it may not.
func (m *metadataLog) standing(key replica.PartitionKey, node ids.NodeID) int64 {
	img := m.coming.Load()
	b, ok := img.Broker(node)
	if !ok || !b.Active() {
		return partition.NoBrokerEpoch
	}
	t, ok := img.TopicByID(key.Topic)
	if ok && int(key.Partition) < len(t.Partitions) && !img.MayJoin(b, &t.Partitions[key.Partition]) {
		return partition.NoBrokerEpoch
	}
	return b.Epoch
}

// Image returns the metadata as this node knows it now.
func (m *metadataLog) Image() *metadata.Image { return m.image.Load() }

// Apply takes one committed entry: the envelope of a decision, or nothing.
func (m *metadataLog) Apply(offset ids.Offset, epoch ids.LeaderEpoch, data []byte) error {
	delta := metadata.NewDelta(m.image.Load())
	if len(data) > 0 {
		recs, err := metadata.ReadEnvelope(data)
		if err != nil {
			return fmt.Errorf("metadata at offset %d: %w", offset, err)
		}
		for _, rec := range recs {
			if err := delta.Replay(rec); err != nil {
				return fmt.Errorf("metadata at offset %d: %w", offset, err)
			}
		}
	}
	m.publish(delta, delta.Apply(offset, epoch), data)
	return nil
}

// Restore takes a snapshot in place of every entry before it.
func (m *metadataLog) Restore(offset ids.Offset, epoch ids.LeaderEpoch, snapshot []byte) error {
	img, err := metadata.ReadSnapshot(snapshot, offset, epoch)
	if err != nil {
		return fmt.Errorf("metadata snapshot of offset %d: %w", offset, err)
	}
	m.publish(metadata.Between(m.image.Load(), img), img, nil)
	return nil
}

// publish shows the image to everybody. Partitions come first: a client that was told of
// a topic finds it served.
func (m *metadataLog) publish(delta *metadata.Delta, img *metadata.Image, data []byte) {
	if slices.ContainsFunc(delta.ChangedConfigs(), func(r metadata.ConfigResource) bool { return r.Type == metadata.ResourceBroker }) {
		m.followers.configs.Reconfigure(img)
	}
	if !m.caughtUp && m.registered(img) {
		delta, m.caughtUp = metadata.Between(nil, img), true
		b, _ := img.Broker(m.node)
		m.epoch.Store(b.Epoch) // before there is a partition: what is fetched says it
	}
	m.coming.Store(img)
	if m.caughtUp {
		m.followers.partitions.Apply(delta, img)
		m.followers.coordinators.Apply(delta, img)
	}
	m.image.Store(img)
	if delta.BrokersChanged() {
		m.followers.brokers()
	}
	m.followers.controller.Applied(img, data)
}

// Snapshot returns the image of now for the quorum to keep.
func (m *metadataLog) Snapshot() ([]byte, error) { return m.image.Load().AppendSnapshot(nil), nil }

// registered tells whether the cluster knows this process.
func (m *metadataLog) registered(img *metadata.Image) bool {
	b, known := img.Broker(m.node)
	return known && b.Incarnation == m.incarnation
}

// LeaderChanged tells that this node leads the quorum in epoch from now on, or does not. Who
// leads has applied every entry of earlier epochs.
func (m *metadataLog) LeaderChanged(leader bool, epoch ids.LeaderEpoch) {
	m.logger.Info("metadata leader changed", "leading", leader, "epoch", int32(epoch))
	m.followers.controller.LeaderChanged(leader, epoch)
	if leader {
		m.followers.elected(m.image.Load())
	}
}
