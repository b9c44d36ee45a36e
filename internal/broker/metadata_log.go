package broker

import (
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
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
}

// metadataLog turns committed entries into images. It is the quorum's StateMachine; all
// calls but Image come from the quorum's goroutine.
type metadataLog struct {
	image     atomic.Pointer[metadata.Image]
	followers followers
	// caughtUp is false while entries of earlier lives are read again; the quorum's goroutine's.
	// The table is not shown these: what it did then must not be done twice, like deleting the
	// log of a topic whose name, and directory, another one has since.
	caughtUp bool
	broken   error // why the table could not be shown them; the quorum's goroutine's
	logger   *slog.Logger
}

func newMetadataLog(logger *slog.Logger) *metadataLog {
	m := &metadataLog{logger: logger}
	m.image.Store(metadata.NewDelta(nil).Apply(0, 0))
	return m
}

// Image returns the metadata as this node knows it now.
func (m *metadataLog) Image() *metadata.Image { return m.image.Load() }

// Apply takes one committed entry: the envelope of a decision, or nothing.
func (m *metadataLog) Apply(offset ids.Offset, epoch ids.LeaderEpoch, data []byte) error {
	if m.broken != nil {
		return m.broken
	}
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
	delta := metadata.NewDelta(m.image.Load())
	for rec := range img.Records() {
		if err := delta.Replay(rec); err != nil {
			return fmt.Errorf("metadata snapshot of offset %d: %w", offset, err)
		}
	}
	m.publish(delta, delta.Apply(offset, epoch), nil)
	return nil
}

// publish shows the image to everybody. Partitions come first: a client that was told of
// a topic finds it served.
func (m *metadataLog) publish(delta *metadata.Delta, img *metadata.Image, data []byte) {
	if slices.ContainsFunc(delta.ChangedConfigs(), func(r metadata.ConfigResource) bool { return r.Type == metadata.ResourceBroker }) {
		m.followers.configs.Reconfigure(img)
	}
	if m.caughtUp {
		m.followers.partitions.Apply(delta, img)
		m.followers.coordinators.Apply(delta, img)
	}
	m.image.Store(img)
	m.followers.controller.Applied(img, data)
}

// Snapshot returns the image of now for the quorum to keep.
func (m *metadataLog) Snapshot() ([]byte, error) { return m.image.Load().AppendSnapshot(nil), nil }

// catchUp shows the table everything that has come so far, in one change.
func (m *metadataLog) catchUp() error {
	img := m.image.Load()
	all := metadata.NewDelta(nil)
	for rec := range img.Records() {
		if err := all.Replay(rec); err != nil {
			return fmt.Errorf("metadata up to offset %d: %w", img.Offset, err)
		}
	}
	all.Apply(img.Offset, img.Epoch)
	m.followers.partitions.Apply(all, img)
	m.followers.coordinators.Apply(all, img)
	m.caughtUp = true
	return nil
}

// LeaderChanged tells that this node leads the quorum in epoch from now on, or does not. Who
// leads has applied every entry of earlier epochs.
func (m *metadataLog) LeaderChanged(leader bool, epoch ids.LeaderEpoch) {
	m.logger.Info("metadata leader changed", "leading", leader, "epoch", int32(epoch))
	if leader && !m.caughtUp {
		m.broken = m.catchUp() // the next Apply reports it
	}
	m.followers.controller.LeaderChanged(leader, epoch)
}
