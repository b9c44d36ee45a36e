package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// RegisterBroker is what a broker tells of itself when its process starts.
type RegisterBroker struct {
	NodeID      ids.NodeID
	Incarnation ids.UUID // of this process, never used before
	ClusterID   string   // "" where the broker does not know it yet
	Endpoints   []metadata.Endpoint
	Rack        *string
	LogDirs     []ids.DirectoryID
	// CleanShutdown tells that every log directory was closed by the process before,
	// so that nothing it acknowledged can have been lost.
	CleanShutdown bool
}

// RegisterBroker admits a broker, unfenced. A new incarnation gets a new broker epoch,
// the offset of the entry that holds its record; the same incarnation again only
// changes what it tells of itself.
//
// A partition that the broker leads alone gets a new leader epoch after an unclean
// restart: batches of the epoch before may have been lost with the power, so their
// offsets must not be given again under the same epoch. After a clean restart the
// epoch stays, and clients notice nothing.
func (c *Core) RegisterBroker(b *RegisterBroker) ([]metadata.Record, *Refusal) {
	if refusal := c.checkRegistration(b); refusal != nil {
		return nil, refusal
	}
	dirs := slices.Clone(b.LogDirs)
	slices.SortFunc(dirs, func(x, y ids.DirectoryID) int { return slices.Compare(x[:], y[:]) })
	rec := &metadata.RegisterBrokerRecord{
		BrokerID:      b.NodeID,
		IncarnationID: b.Incarnation,
		BrokerEpoch:   metadata.EpochOfEntry,
		Endpoints:     slices.Clone(b.Endpoints),
		Rack:          cloneString(b.Rack),
		LogDirs:       dirs,
		CleanShutdown: b.CleanShutdown,
	}
	before, known := c.pending.Broker(b.NodeID)
	if known && before.Incarnation == b.Incarnation {
		rec.Fenced, rec.CleanShutdown = before.Fenced, before.CleanShutdown
		if now, ok := c.committed.Broker(b.NodeID); ok && now.Incarnation == b.Incarnation {
			rec.BrokerEpoch = now.Epoch
		}
		return []metadata.Record{rec}, nil
	}
	recs := []metadata.Record{rec}
	if known && !b.CleanShutdown {
		recs = c.bumpLedAlone(recs, b.NodeID)
	}
	return recs, nil
}

func (c *Core) checkRegistration(b *RegisterBroker) *Refusal {
	if b.ClusterID != "" && b.ClusterID != c.pending.ClusterID() {
		return refuse(kerr.InconsistentClusterID, "broker %d belongs to cluster %s, this is cluster %s: check its log directories and its voters",
			b.NodeID, b.ClusterID, c.pending.ClusterID())
	}
	if b.NodeID < 0 || b.Incarnation.IsZero() {
		return refuse(kerr.InvalidRegistration, "broker %d with incarnation %s names itself by neither", b.NodeID, b.Incarnation)
	}
	if len(b.LogDirs) == 0 {
		return refuse(kerr.InvalidRegistration, "broker %d has no log directory", b.NodeID)
	}
	for i, dir := range b.LogDirs {
		if dir.Reserved() {
			return refuse(kerr.InvalidRegistration, "log directory id %s of broker %d is reserved", dir, b.NodeID)
		}
		if slices.Contains(b.LogDirs[:i], dir) {
			return refuse(kerr.InvalidRegistration, "two log directories of broker %d have the id %s: one is a copy, remove it", b.NodeID, dir)
		}
	}
	for other := range c.pending.Brokers() {
		if other.ID == b.NodeID {
			continue
		}
		for _, dir := range b.LogDirs {
			if slices.Contains(other.Dirs, dir) {
				return refuse(kerr.InvalidRegistration, "log directory %s of broker %d is broker %d's", dir, b.NodeID, other.ID)
			}
		}
	}
	return nil
}

// bumpLedAlone begins a new leader epoch of every partition that node leads with no
// other replica in sync.
func (c *Core) bumpLedAlone(recs []metadata.Record, node ids.NodeID) []metadata.Record {
	for t := range c.pending.Topics() {
		for i := range t.Partitions {
			if p := &t.Partitions[i]; p.Leader == node && len(p.ISR) == 1 {
				recs = append(recs, &metadata.PartitionChangeRecord{TopicID: t.ID, PartitionID: int32(i), Leader: node})
			}
		}
	}
	return recs
}

func cloneString(s *string) *string {
	if s == nil {
		return nil
	}
	c := *s
	return &c
}
