package broker

import (
	"log/slog"
	"testing"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/replica"
)

// shown is everybody who follows the metadata, and calls look when partitions are shown something.
type shown struct{ look func() }

func (s shown) Apply(*metadata.Delta, *metadata.Image) { s.look() }
func (shown) Reconfigure(*metadata.Image)              {}
func (shown) Applied(*metadata.Image, []byte)          {}
func (shown) LeaderChanged(bool, ids.LeaderEpoch)      {}

// A partition that is shown a new leader or other in-sync replicas goes by the brokers of the same entry: it must not wait for a replica
// whose broker is fenced in it.
func TestPartitionsSeeTheBrokersOfTheirEntry(t *testing.T) {
	m := newMetadataLog(1, slog.New(slog.DiscardHandler))
	var seen []int64
	m.followers = followers{configs: shown{}, partitions: shown{func() { seen = append(seen, m.standing(replica.PartitionKey{}, 2)) }}, coordinators: shown{func() {}},
		controller: shown{}, elected: func(*metadata.Image) {}, brokers: func() {}}
	apply := func(offset ids.Offset, recs ...metadata.Record) {
		t.Helper()
		if err := m.Apply(offset, 1, metadata.AppendEnvelope(nil, recs)); err != nil {
			t.Fatal(err)
		}
	}
	apply(1, &metadata.RegisterBrokerRecord{BrokerID: 1, IncarnationID: m.incarnation, BrokerEpoch: metadata.EpochOfEntry})
	apply(2, &metadata.RegisterBrokerRecord{BrokerID: 2, IncarnationID: ids.NewUUID(), BrokerEpoch: metadata.EpochOfEntry})
	apply(3, &metadata.RegisterBrokerRecord{BrokerID: 2, IncarnationID: ids.NewUUID(), BrokerEpoch: metadata.EpochOfEntry, Fenced: true})
	if len(seen) != 3 || seen[0] != partition.NoBrokerEpoch || seen[1] != 2 || seen[2] != partition.NoBrokerEpoch {
		t.Errorf("partitions saw broker 2 stand at %v", seen)
	}
}
