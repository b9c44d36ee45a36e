package replica

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/metadata"
)

// places notes what the controller is told.
type places map[PartitionKey]ids.DirectoryID

func (p places) Assign(key PartitionKey, dir ids.DirectoryID) { p[key] = dir }

// TestDamagedReplica goes from the damage to the replica that takes its place, and no further than others allow.
func TestDamagedReplica(t *testing.T) {
	f := newFixture(t)
	told := places{}
	f.Table = NewTable(Config{Node: self, Logs: f.store, Settings: settings, Places: told, Logger: slog.New(slog.DiscardHandler)})
	const other = self + 1
	pair, alone := ids.NewUUID(), ids.NewUUID()
	f.apply(topicOf("pair", pair, self)...)
	f.apply(topicOf("alone", alone, self)...)
	key, dir := PartitionKey{pair, 0}, f.store.Directory(f.partition("pair", 0).Log())
	change := func(leader ids.NodeID, dir ids.DirectoryID) {
		f.apply(&metadata.PartitionChangeRecord{
			TopicID: pair, Leader: leader, Replicas: []ids.NodeID{self, other}, ISR: []ids.NodeID{self, other}, Directories: []ids.DirectoryID{dir, ids.NewUUID()},
		})
	}
	change(self, dir)
	clear(told)
	damaged := f.partition("pair", 0)
	put(t, damaged)

	f.Damaged(ids.TopicPartition{Topic: "alone"}, log.ErrCorrupt)
	if err := f.partition("alone", 0).Log().Err(); len(told) != 0 || err != nil {
		t.Fatalf("the only replica: the controller was told %v, the log says %v", told, err)
	}
	f.Damaged(ids.TopicPartition{Topic: "pair"}, log.ErrCorrupt)
	if err := damaged.Log().Err(); told[key] != metadata.LostDirectory || !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatalf("the controller was told %v, the log says %v", told, err)
	}
	clear(told)
	for _, undecided := range []struct {
		leader ids.NodeID
		dir    ids.DirectoryID
	}{{other, dir}, {ids.NoNode, metadata.LostDirectory}} {
		change(undecided.leader, undecided.dir)
		if f.partition("pair", 0) != damaged || len(told) != 0 {
			t.Fatalf("with leader %d and directory %s it is given up, or told of again: %v", undecided.leader, undecided.dir, told)
		}
	}
	change(other, metadata.LostDirectory)
	fresh := f.partition("pair", 0)
	if fresh == damaged || fresh.Log().Err() != nil || fresh.Log().EndOffset() != 0 || told[key] == metadata.LostDirectory || told[key].IsZero() {
		t.Fatalf("with another leader: a log of %d records, and the controller was told %v", fresh.Log().EndOffset(), told)
	}
	change(other, metadata.LostDirectory)
	if f.partition("pair", 0) != fresh {
		t.Fatal("what has taken its place is given up too")
	}
	now := told[key]
	clear(told)
	change(other, now)
	if f.partition("pair", 0) != fresh || len(told) != 0 {
		t.Fatalf("at the end the controller was told %v", told)
	}
}

// TestAssignRequest has what was assigned, once, by directory and topic.
func TestAssignRequest(t *testing.T) {
	want := map[PartitionKey]ids.DirectoryID{}
	topics, dirs := []ids.TopicID{ids.NewUUID(), ids.NewUUID()}, []ids.DirectoryID{ids.NewUUID(), metadata.LostDirectory}
	for i := range 20 {
		want[PartitionKey{topics[i%2], int32(i)}] = dirs[i%3%2]
	}
	req := AssignRequest(3, 7, want)
	if req.BrokerID != 3 || req.BrokerEpoch != 7 || len(req.Directories) != 2 || len(req.Directories[0].Topics) != 2 {
		t.Fatalf("%+v", req)
	}
	for _, dir := range req.Directories {
		for _, topic := range dir.Topics {
			for _, p := range topic.Partitions {
				key := PartitionKey{topic.TopicID, p.Partition}
				if want[key] != ids.DirectoryID(dir.ID) {
					t.Errorf("%v is assigned to %v", key, dir.ID)
				}
				delete(want, key)
			}
		}
	}
	if len(want) != 0 {
		t.Errorf("left out: %v", want)
	}
}
