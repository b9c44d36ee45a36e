package metadata

import (
	"iter"
	"maps"
	"slices"

	"github.com/tidwall/btree"

	"github.com/moldau/moldau/internal/ids"
)

// Image is the metadata after one entry of the metadata log. It and everything that
// it hands out never change, and must not be changed by who gets it.
type Image struct {
	Offset ids.Offset      // of the last entry applied; 0 before the first, which has 1
	Epoch  ids.LeaderEpoch // of that entry

	clusterID      string
	voters         []Voter
	features       map[string]int16
	nextProducerID ids.ProducerID
	partitionCount int

	// Nodes of these trees are shared between images: see edit.
	topics     btree.Map[string, *Topic] // by name
	topicsByID btree.Map[string, *Topic] // by the 16 bytes of the id
	brokers    btree.Map[ids.NodeID, *Broker]
	configs    btree.Map[string, *resourceConfig] // by ConfigResource.key
}

// treeDegree bounds a node of a tree to 31 elements: a change copies one node a level.
const treeDegree = 16

// edit returns a tree that can be changed without changing m. Nothing is written to
// m, as the library's own Copy would do, so goroutines may edit the same image.
func edit[K ids.NodeID | string, V any](m *btree.Map[K, V]) *btree.Map[K, V] {
	if m.Len() == 0 {
		return btree.NewMap[K, V](treeDegree)
	}
	head := *m
	return head.Copy()
}

// Topic is a topic and its partitions, by number.
type Topic struct {
	Name       string
	ID         ids.TopicID
	Partitions []Partition
}

// Partition is one partition.
type Partition struct {
	Replicas       []ids.NodeID // in order of preference
	ISR            []ids.NodeID
	Leader         ids.NodeID // ids.NoNode while nobody leads
	LeaderEpoch    ids.LeaderEpoch
	PartitionEpoch int32             // counts every change (KIP-497)
	Directories    []ids.DirectoryID // of Replicas, one for one; see UnassignedDirectory

	// ELR are the eligible leader replicas (KIP-966): they left the ISR when it had no more
	// than min.insync.replicas, so they have every record that was ever visible. Nil for none.
	ELR []ids.NodeID
	// LastKnownELR has the last leader of a partition without ISR, where it may have lost
	// records; it may lead again where no replica is left that cannot. Nil for none.
	LastKnownELR []ids.NodeID
}

// UnassignedDirectory stands for a directory that the broker has yet to choose (KIP-858).
var UnassignedDirectory = ids.ZeroUUID

// Broker is a registered broker.
type Broker struct {
	ID            ids.NodeID
	Epoch         int64 // the offset of the entry that registered this incarnation
	Incarnation   ids.UUID
	Endpoints     []Endpoint
	Rack          *string
	Dirs          []ids.DirectoryID
	Fenced        bool
	CleanShutdown bool // the incarnation before this one closed its directories
	// InControlledShutdown tells that the broker has asked to leave: it leads nothing new.
	InControlledShutdown bool
	// OfflineDirs are those of Dirs that have failed since, FullDirs those without room. Nil for none.
	OfflineDirs, FullDirs []ids.DirectoryID
}

// Active tells whether the broker may lead and be in sync.
func (b *Broker) Active() bool { return !b.Fenced && !b.InControlledShutdown }

// Resource types of Kafka that have configurations here.
const (
	ResourceTopic  int8 = 2
	ResourceBroker int8 = 4 // the name is a node id, or "" for all brokers
	ResourceGroup  int8 = 32
)

// ConfigResource names what has configurations.
type ConfigResource struct {
	Type int8
	Name string
}

func (r ConfigResource) key() string { return string([]byte{byte(r.Type)}) + r.Name }

type resourceConfig struct {
	resource ConfigResource
	values   map[string]string
}

// ClusterID returns the cluster's id, "" before the first entry.
func (img *Image) ClusterID() string { return img.clusterID }

// Voters returns the members that the quorum began with.
func (img *Image) Voters() []Voter { return img.voters }

// Features returns the finalized features and their levels, all above 0.
func (img *Image) Features() map[string]int16 { return img.features }

// NextProducerID returns the lowest producer id never handed out.
func (img *Image) NextProducerID() ids.ProducerID { return img.nextProducerID }

// Topic returns the topic of that name.
func (img *Image) Topic(name string) (*Topic, bool) { return img.topics.Get(name) }

// TopicByID returns the topic of that id.
func (img *Image) TopicByID(id ids.TopicID) (*Topic, bool) {
	return img.topicsByID.Get(string(id[:]))
}

// Topics returns all topics in the order of their names.
func (img *Image) Topics() iter.Seq[*Topic] { return img.TopicsFrom("") }

// TopicsFrom returns the topics whose name is from or greater, in the order of names.
func (img *Image) TopicsFrom(from string) iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		img.topics.Ascend(from, func(_ string, t *Topic) bool { return yield(t) })
	}
}

// TopicCount returns how many topics there are.
func (img *Image) TopicCount() int { return img.topics.Len() }

// PartitionCount returns how many partitions all topics have together.
func (img *Image) PartitionCount() int { return img.partitionCount }

// Partition returns partition p of the topic named.
func (img *Image) Partition(tp ids.TopicPartition) (*Partition, bool) {
	t, ok := img.topics.Get(tp.Topic)
	if !ok || tp.Partition < 0 || int(tp.Partition) >= len(t.Partitions) {
		return nil, false
	}
	return &t.Partitions[tp.Partition], true
}

// Broker returns a registered broker.
func (img *Image) Broker(id ids.NodeID) (*Broker, bool) { return img.brokers.Get(id) }

// Brokers returns all registered brokers in the order of their ids.
func (img *Image) Brokers() iter.Seq[*Broker] {
	return func(yield func(*Broker) bool) {
		img.brokers.Scan(func(_ ids.NodeID, b *Broker) bool { return yield(b) })
	}
}

// Config returns what is set for a resource, nil where nothing is.
func (img *Image) Config(r ConfigResource) map[string]string {
	if c, ok := img.configs.Get(r.key()); ok {
		return c.values
	}
	return nil
}

// Configured returns the names of the resources of a type that have configurations, in order.
func (img *Image) Configured(resourceType int8) []string {
	var names []string
	img.configs.Ascend(ConfigResource{Type: resourceType}.key(), func(_ string, c *resourceConfig) bool {
		if c.resource.Type != resourceType {
			return false
		}
		names = append(names, c.resource.Name)
		return true
	})
	return names
}

// Records returns the records which, replayed on an empty image, give one equal to
// img but for Offset and Epoch.
func (img *Image) Records() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		_ = img.yieldCluster(yield) && img.yieldBrokers(yield) && img.yieldTopics(yield) && img.yieldConfigs(yield)
	}
}

func (img *Image) yieldCluster(yield func(Record) bool) bool {
	if img.clusterID != "" && !yield(&ClusterRecord{ClusterID: img.clusterID, Voters: img.voters}) {
		return false
	}
	for _, name := range slices.Sorted(maps.Keys(img.features)) {
		if !yield(&FeatureLevelRecord{Name: name, FeatureLevel: img.features[name]}) {
			return false
		}
	}
	if img.nextProducerID == 0 {
		return true
	}
	return yield(&ProducerIdsRecord{BrokerID: ids.NoNode, BrokerEpoch: -1, NextProducerID: img.nextProducerID})
}

func (img *Image) yieldBrokers(yield func(Record) bool) bool {
	for b := range img.Brokers() {
		if !yield(&RegisterBrokerRecord{
			BrokerID: b.ID, IncarnationID: b.Incarnation, BrokerEpoch: b.Epoch, Endpoints: b.Endpoints,
			Rack: b.Rack, LogDirs: b.Dirs, Fenced: b.Fenced, CleanShutdown: b.CleanShutdown,
			InControlledShutdown: b.InControlledShutdown, OfflineDirs: b.OfflineDirs, FullDirs: b.FullDirs,
		}) {
			return false
		}
	}
	return true
}

func (img *Image) yieldTopics(yield func(Record) bool) bool {
	for t := range img.Topics() {
		if !yield(&TopicRecord{Name: t.Name, TopicID: t.ID}) {
			return false
		}
		for i := range t.Partitions {
			if !yield(&PartitionRecord{TopicID: t.ID, PartitionID: int32(i), Partition: t.Partitions[i]}) {
				return false
			}
		}
	}
	return true
}

func (img *Image) yieldConfigs(yield func(Record) bool) bool {
	more := true
	img.configs.Scan(func(_ string, c *resourceConfig) bool {
		for _, name := range slices.Sorted(maps.Keys(c.values)) {
			value := c.values[name]
			if more = yield(&ConfigRecord{Resource: c.resource, Name: name, Value: &value}); !more {
				return false
			}
		}
		return true
	})
	return more
}

// DefaultMinISR returns min.insync.replicas of a topic that sets none and inherits
// none: a majority of the usual three replicas, and one of fewer.
func DefaultMinISR(replicationFactor int) int {
	if replicationFactor >= 3 {
		return 2
	}
	return 1
}
