package replica

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
)

// A damaged replica goes in four steps, each of which another one may follow a restart later: its log is offline (log.ErrCorrupt); the controller
// is told that it is lost, and has others lead and be in sync; what is left of the log is deleted, once another broker leads; and an
// empty one is fetched full again, and is told of, so that it may be in sync. Until another broker leads the damaged log stays as it is.

// Damaged is told of a log that was found damaged while it is used.
func (t *Table) Damaged(tp ids.TopicPartition, cause error) {
	p, err := t.ByName([]byte(tp.Topic), tp.Partition)
	if err != nil {
		return // deleted meanwhile
	}
	if len(p.State().Replicas) < 2 || t.cfg.Places == nil {
		t.cfg.Logger.Error("partition is offline where its log is damaged, and has no other replica: restore its directory from a backup, or delete the topic", "partition", tp.String(), "cause", cause)
		return
	}
	p.Log().GiveUp(cause)
	t.lost(keyOf(p), tp, cause)
}

func (t *Table) lost(key PartitionKey, tp ids.TopicPartition, cause error) {
	t.cfg.Logger.Error("replica is offline: its log is damaged. It is deleted and fetched again once another broker leads the partition", "partition", tp.String(), "cause", cause)
	t.cfg.Places.Assign(key, metadata.LostDirectory)
}

// replaceable tells whether the replica here is known to be lost and another broker leads, from which it can be fetched.
func (t *Table) replaceable(local *metadata.LocalPartition) bool {
	return local.Directory(t.cfg.Node) == metadata.LostDirectory && local.Leader != ids.NoNode && local.Leader != t.cfg.Node && t.cfg.Places != nil
}

// giveUp ends a replica whose log is damaged. The error says that there is none any more.
func (t *Table) giveUp(p *partition.Partition, local *metadata.LocalPartition) error {
	if t.cfg.Followers != nil {
		t.cfg.Followers.Unfollow(p)
	}
	t.mu.Lock()
	known := t.mu.byID[local.TopicID]
	known.partitions[local.TP.Partition] = nil
	known.here--
	t.mu.Unlock()
	p.Close(kerr.KafkaStorageError)
	return kerr.KafkaStorageError
}

// failed notes why a partition that this broker should have is not served.
func (t *Table) failed(local *metadata.LocalPartition, cause error) {
	t.mu.Lock()
	if known := t.mu.byID[local.TopicID]; known != nil {
		if known.failed == nil {
			known.failed = make(map[int32]error)
		}
		known.failed[local.TP.Partition] = errors.Join(kerr.KafkaStorageError, cause)
	}
	t.mu.Unlock()
	key := PartitionKey{local.TopicID, local.TP.Partition}
	if errors.Is(cause, log.ErrCorrupt) && len(local.Replicas) > 1 && t.cfg.Places != nil {
		if local.Directory(t.cfg.Node) != metadata.LostDirectory {
			t.lost(key, local.TP, cause)
		}
		return
	}
	t.cfg.Logger.Error("partition cannot be opened and is not served", "partition", local.TP.String(), "err", cause)
}

// offline tells whether the log of a replica that is not here may be in a directory that is offline: another one must not
// be made, or there would be two when the directory comes back.
func (t *Table) offline(local *metadata.LocalPartition, img *metadata.Image) bool {
	b, ok := img.Broker(t.cfg.Node)
	if !ok || !img.KnowsDirectories() || local.Directory(t.cfg.Node) == metadata.LostDirectory {
		return false
	}
	return t.cfg.Logs.AnyOffline() && !b.Holds(&local.Partition)
}

// place tells the controller where a replica is, if it knows it otherwise.
func (t *Table) place(p *partition.Partition, local *metadata.LocalPartition) {
	if t.cfg.Places == nil || errors.Is(p.Log().Err(), log.ErrCorrupt) {
		return
	}
	if dir := t.cfg.Logs.Directory(p.Log()); dir != local.Directory(t.cfg.Node) {
		t.cfg.Places.Assign(keyOf(p), dir)
	}
}

// Moved tells the controller of a replica that is in another directory now.
func (t *Table) Moved(p *partition.Partition) {
	if t.cfg.Places != nil {
		t.cfg.Places.Assign(keyOf(p), t.cfg.Logs.Directory(p.Log()))
	}
}
