package replica

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Logs keeps the logs of this broker; *log.Store does.
type Logs interface {
	Log(ids.TopicPartition) *log.Log
	Create(ids.TopicPartition, ids.TopicID, log.Config) (*log.Log, error)
	Delete(ids.TopicPartition) error
	Directory(*log.Log) ids.DirectoryID // that a log is in
	AnyOffline() bool
}

// Settings says what the configs of a topic mean for its partitions, as of an image.
type Settings func(img *metadata.Image, topic string) (log.Config, partition.Policy)

// Followers have the partitions that this broker follows be fetched; *Fetchers do.
type Followers interface {
	Follow(p *partition.Partition, leader ids.NodeID, epoch ids.LeaderEpoch)
	Unfollow(p *partition.Partition)
}

// Config is what a Table needs.
type Config struct {
	Node      ids.NodeID
	Logs      Logs
	Settings  Settings
	Peers     partition.Peers // of every partition; zero where there is no other broker
	Followers Followers       // nil where there is no other broker
	// Standing is partition.Standing for each partition, in place of that of Peers where it is set: directories differ.
	Standing func(PartitionKey, ids.NodeID) int64
	Places   Places // nil where the controller is not told where replicas are
	Logger   *slog.Logger
}

// Places tells the controller in which directory this broker has a replica, metadata.LostDirectory for one that is damaged; *Assigner does.
type Places interface {
	Assign(PartitionKey, ids.DirectoryID)
}

// Table is the partitions of this broker.
type Table struct {
	cfg        Config
	leadership leadership

	mu struct {
		sync.RWMutex
		byName map[string]*topic
		byID   map[ids.TopicID]*topic
	}
}

// topic is what the table has of one topic. All of it is guarded by Table.mu.
type topic struct {
	id         ids.TopicID
	partitions []*partition.Partition // of all partitions by number; nil where this broker has no replica
	here       int                    // how many are not nil
	failed     map[int32]error        // why those are nil that this broker should have; nil for none
}

// NewTable returns a table of nothing.
func NewTable(cfg Config) *Table {
	t := &Table{cfg: cfg}
	t.mu.byName = map[string]*topic{}
	t.mu.byID = map[ids.TopicID]*topic{}
	return t
}

// ByName finds a partition. Its errors are 3 where there is no such partition and 6 where
// it is not here.
func (t *Table) ByName(name []byte, number int32) (*partition.Partition, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	known := t.mu.byName[string(name)]
	if known == nil {
		return nil, fmt.Errorf("partition %s-%d: %w", name, number, kerr.UnknownTopicOrPartition)
	}
	return known.partitionLocked(number)
}

// ByID finds a partition by the id of its topic: error 100 where no topic has it.
func (t *Table) ByID(id ids.TopicID, number int32) (*partition.Partition, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	known := t.mu.byID[id]
	if known == nil {
		return nil, fmt.Errorf("partition %d of topic id %s: %w", number, id, kerr.UnknownTopicID)
	}
	return known.partitionLocked(number)
}

func (k *topic) partitionLocked(number int32) (*partition.Partition, error) {
	if number < 0 || int(number) >= len(k.partitions) {
		return nil, fmt.Errorf("partition %d of %d: %w", number, len(k.partitions), kerr.UnknownTopicOrPartition)
	}
	if err := k.failed[number]; err != nil {
		return nil, fmt.Errorf("partition %d cannot be opened: %w", number, err)
	}
	if k.partitions[number] == nil {
		return nil, fmt.Errorf("partition %d has no replica on this broker: %w", number, kerr.NotLeaderForPartition)
	}
	return k.partitions[number], nil
}

// Apply follows one change of the metadata. What fails for one partition is logged and
// leaves the others alone: the metadata is decided, whatever this broker's disks say.
func (t *Table) Apply(delta *metadata.Delta, img *metadata.Image) {
	changes := delta.LocalChanges(t.cfg.Node)
	for i := range changes.Deleted {
		t.remove(&changes.Deleted[i])
	}
	for _, here := range [][]metadata.LocalPartition{changes.Leaders, changes.Followers} {
		t.noteTopics(here, img)
		led := false
		for i := range here {
			led = t.adopt(&here[i], img) || led
		}
		if led {
			t.leadership.begin()
		}
	}
	for _, r := range delta.ChangedConfigs() {
		switch {
		case r.Type == metadata.ResourceTopic:
			t.reconfigure(r.Name, img)
		case r.Type == metadata.ResourceBroker:
			for known := range img.Topics() {
				t.reconfigure(known.Name, img)
			}
		}
	}
}

// noteTopics makes room for topics that are new here, or have more partitions now.
func (t *Table) noteTopics(changed []metadata.LocalPartition, img *metadata.Image) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := ""
	for i := range changed {
		name := changed[i].TP.Topic
		if name == last {
			continue
		}
		last = name
		now, ok := img.Topic(name)
		if !ok {
			continue
		}
		known := t.mu.byName[name]
		if known == nil || known.id != now.ID {
			known = &topic{id: now.ID}
			t.mu.byName[name], t.mu.byID[now.ID] = known, known
		}
		if more := len(now.Partitions) - len(known.partitions); more > 0 {
			known.partitions = append(known.partitions, make([]*partition.Partition, more)...)
		}
	}
}

// adopt makes the partition where it is new, gives it its state, and has it follow whoever leads. It tells whether this
// broker leads it from now on.
func (t *Table) adopt(local *metadata.LocalPartition, img *metadata.Image) (led bool) {
	p, err := t.ByID(local.TopicID, local.TP.Partition)
	if err == nil && t.replaceable(local) && errors.Is(p.Log().Err(), log.ErrCorrupt) {
		err = t.giveUp(p, local)
	}
	if err != nil {
		if p, err = t.open(local, img); err != nil {
			t.failed(local, err)
			return false
		}
	}
	t.place(p, local)
	_, epoch := p.Leader()
	p.SetState(partition.State{
		Leader:         local.Leader,
		LeaderEpoch:    local.LeaderEpoch,
		PartitionEpoch: local.PartitionEpoch,
		Replicas:       local.Replicas,
		ISR:            local.ISR,
	})
	switch {
	case t.cfg.Followers == nil:
	case local.Leader == t.cfg.Node || local.Leader == ids.NoNode:
		t.cfg.Followers.Unfollow(p)
	default:
		t.cfg.Followers.Follow(p, local.Leader, local.LeaderEpoch)
	}
	return local.Leader == t.cfg.Node && local.LeaderEpoch > epoch
}

// open takes over the log that is on disk, or makes one. A log of an earlier life of the
// topic is deleted first.
func (t *Table) open(local *metadata.LocalPartition, img *metadata.Image) (*partition.Partition, error) {
	config, policy := t.cfg.Settings(img, local.TP.Topic)
	l := t.cfg.Logs.Log(local.TP)
	if t.replaceable(local) {
		if err := t.cfg.Logs.Delete(local.TP); err != nil {
			return nil, fmt.Errorf("delete a damaged log: %w", err)
		}
		l = nil
	}
	if l == nil && t.offline(local, img) {
		return nil, fmt.Errorf("its log is in a data directory that is offline: %w", kerr.KafkaStorageError)
	}
	if l != nil && l.TopicID() != local.TopicID {
		if err := t.cfg.Logs.Delete(local.TP); err != nil {
			return nil, fmt.Errorf("delete the log of topic id %s, whose name topic id %s has now: %w", l.TopicID(), local.TopicID, err)
		}
		l = nil
	}
	if l == nil {
		var err error
		if l, err = t.cfg.Logs.Create(local.TP, local.TopicID, config); err != nil {
			return nil, err
		}
	} else {
		l.SetConfig(config)
	}
	p := partition.New(local.TopicID, t.cfg.Node, l, policy)
	peers := t.cfg.Peers
	if t.cfg.Standing != nil {
		key := keyOf(p)
		peers.Standing = func(n ids.NodeID) int64 { return t.cfg.Standing(key, n) }
	}
	p.SetPeers(peers)
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.mu.byID[local.TopicID]
	known.partitions[local.TP.Partition] = p
	known.here++
	delete(known.failed, local.TP.Partition)
	return p, nil
}

// remove ends a partition that this broker has no more, and deletes its log.
func (t *Table) remove(gone *metadata.LocalPartition) {
	if p := t.take(gone); p != nil {
		if t.cfg.Followers != nil {
			t.cfg.Followers.Unfollow(p)
		}
		p.Close(kerr.UnknownTopicOrPartition)
	}
	if l := t.cfg.Logs.Log(gone.TP); l == nil || l.TopicID() != gone.TopicID {
		return // never made, or of another topic
	}
	if err := t.cfg.Logs.Delete(gone.TP); err != nil {
		t.cfg.Logger.Error("deleted partition leaves its log behind", "partition", gone.TP.String(), "err", err)
	}
}

// take takes a partition out of the table, and its topic with the last one. It returns nil
// where the partition could not be opened.
func (t *Table) take(gone *metadata.LocalPartition) *partition.Partition {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.mu.byID[gone.TopicID]
	if known == nil || int(gone.TP.Partition) >= len(known.partitions) {
		return nil
	}
	p := known.partitions[gone.TP.Partition]
	if p != nil {
		known.partitions[gone.TP.Partition] = nil
		known.here--
	}
	if known.here == 0 {
		delete(t.mu.byID, gone.TopicID)
		if t.mu.byName[gone.TP.Topic] == known {
			delete(t.mu.byName, gone.TP.Topic)
		}
	}
	return p
}

// reconfigure gives the partitions of a topic its configs of now.
func (t *Table) reconfigure(name string, img *metadata.Image) {
	t.mu.RLock()
	var here []*partition.Partition
	if known := t.mu.byName[name]; known != nil {
		here = known.appendHereLocked(nil)
	}
	t.mu.RUnlock()
	if len(here) == 0 {
		return
	}
	config, policy := t.cfg.Settings(img, name)
	for _, p := range here {
		p.Configure(config, policy)
	}
}

func (k *topic) appendHereLocked(dst []*partition.Partition) []*partition.Partition {
	for _, p := range k.partitions {
		if p != nil {
			dst = append(dst, p)
		}
	}
	return dst
}

// CloseAll ends every partition, so that nobody waits any more; the logs stay the store's.
func (t *Table) CloseAll(err error) {
	for _, p := range t.all() {
		p.Close(err)
	}
}

func (t *Table) all() []*partition.Partition {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var here []*partition.Partition
	for _, known := range t.mu.byName {
		here = known.appendHereLocked(here)
	}
	return here
}
