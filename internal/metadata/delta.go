package metadata

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tidwall/btree"

	"github.com/moldau/moldau/internal/ids"
)

// ErrInconsistent marks a record that does not fit the image it is replayed on: the
// log is damaged or whoever decided had a bug.
var ErrInconsistent = errors.New("metadata record does not fit")

// Delta makes the next image out of one image and the records of one entry. It
// copies what it changes and nothing else. After Replay failed it is of no use.
type Delta struct {
	base *Image
	next *Image // owned until Apply hands it out; its trees may still be base's, see the flags

	// Which trees of next are edited copies already.
	ownTopics, ownBrokers, ownConfigs, ownFeatures bool

	// topics holds what became of every topic that this delta touched, by id. The
	// topics in it belong to the delta and may be changed in place.
	topics map[ids.TopicID]*topicChange
	// configs holds the value maps that belong to the delta.
	configs map[ConfigResource]map[string]string
	// registered are the brokers whose epoch is the offset given to Apply.
	registered []*Broker
	applied    bool // next is handed out and must not change
}

// topicChange is one life of a topic within a delta.
type topicChange struct {
	before *Topic // nil where the delta made it
	now    *Topic // nil where the delta removed it
}

// NewDelta begins a delta on base, nil for the image before the first entry.
func NewDelta(base *Image) *Delta {
	if base == nil {
		base = &Image{}
	}
	next := *base
	return &Delta{base: base, next: &next}
}

// Base returns the image that the delta began with.
func (d *Delta) Base() *Image { return d.base }

// Level returns the level of moldau.version after the records so far.
func (d *Delta) Level() int16 { return d.next.features[VersionFeature] }

// Apply ends the delta and returns its image, as of the entry at offset. Another call
// returns the same image.
func (d *Delta) Apply(offset ids.Offset, epoch ids.LeaderEpoch) *Image {
	if d.applied {
		return d.next
	}
	d.applied = true
	d.next.Offset, d.next.Epoch = offset, epoch
	for _, b := range d.registered {
		b.Epoch = int64(offset)
	}
	return d.next
}

// Replay adds one record. The record stays the caller's, but what it points to must
// not change any more. Errors are ErrInconsistent.
func (d *Delta) Replay(rec Record) error {
	if d.applied {
		return fmt.Errorf("%w: %T: its delta was applied at offset %d", ErrInconsistent, rec, d.next.Offset)
	}
	var err error
	switch rec := rec.(type) {
	case *ClusterRecord:
		err = d.replayCluster(rec)
	case *FeatureLevelRecord:
		d.replayFeature(rec)
	case *RegisterBrokerRecord:
		d.replayRegister(rec)
	case *UnregisterBrokerRecord:
		err = d.replayUnregister(rec)
	case *BrokerChangeRecord:
		err = d.replayBrokerChange(rec)
	case *TopicRecord:
		err = d.replayTopic(rec)
	case *PartitionRecord:
		err = d.replayPartition(rec)
	case *PartitionChangeRecord:
		err = d.replayPartitionChange(rec)
	case *RemoveTopicRecord:
		err = d.replayRemoveTopic(rec)
	case *ConfigRecord:
		err = d.replayConfig(rec)
	case *ProducerIdsRecord:
		err = d.replayProducerIDs(rec)
	default:
		err = errors.New("no record of this package")
	}
	if err != nil {
		return fmt.Errorf("%w: %T: %w", ErrInconsistent, rec, err)
	}
	return nil
}

func (d *Delta) replayCluster(rec *ClusterRecord) error {
	if d.next.clusterID != "" {
		return fmt.Errorf("cluster %s already has its id, %s is another", d.next.clusterID, rec.ClusterID)
	}
	if rec.ClusterID == "" {
		return errors.New("the cluster id is empty")
	}
	d.next.clusterID, d.next.voters = rec.ClusterID, rec.Voters
	return nil
}

func (d *Delta) replayFeature(rec *FeatureLevelRecord) {
	if !d.ownFeatures {
		d.ownFeatures = true
		d.next.features = maps.Clone(d.next.features)
		if d.next.features == nil {
			d.next.features = make(map[string]int16)
		}
	}
	if rec.FeatureLevel == 0 {
		delete(d.next.features, rec.Name)
		return
	}
	d.next.features[rec.Name] = rec.FeatureLevel
}

func (d *Delta) editBrokers() *btree.Map[ids.NodeID, *Broker] {
	if !d.ownBrokers {
		d.ownBrokers = true
		d.next.brokers = *edit(&d.base.brokers)
	}
	return &d.next.brokers
}

func (d *Delta) replayRegister(rec *RegisterBrokerRecord) {
	b := &Broker{
		ID: rec.BrokerID, Epoch: rec.BrokerEpoch, Incarnation: rec.IncarnationID, Endpoints: rec.Endpoints,
		Rack: rec.Rack, Dirs: rec.LogDirs, Fenced: rec.Fenced, CleanShutdown: rec.CleanShutdown,
		InControlledShutdown: rec.InControlledShutdown, OfflineDirs: orNil(rec.OfflineDirs), FullDirs: orNil(rec.FullDirs),
	}
	if b.Epoch == EpochOfEntry {
		d.registered = append(d.registered, b)
	}
	d.editBrokers().Set(b.ID, b)
}

func (d *Delta) replayUnregister(rec *UnregisterBrokerRecord) error {
	if _, err := d.registeredBroker(rec.BrokerID, rec.BrokerEpoch); err != nil {
		return err
	}
	d.editBrokers().Delete(rec.BrokerID)
	return nil
}

func (d *Delta) replayBrokerChange(rec *BrokerChangeRecord) error {
	b, err := d.registeredBroker(rec.BrokerID, rec.BrokerEpoch)
	if err != nil {
		return err
	}
	changed := *b
	changed.Fenced, changed.InControlledShutdown = rec.Fenced, rec.InControlledShutdown
	if rec.OfflineDirs != nil {
		changed.OfflineDirs = orNil(rec.OfflineDirs)
	}
	if rec.FullDirs != nil {
		changed.FullDirs = orNil(rec.FullDirs)
	}
	d.editBrokers().Set(changed.ID, &changed)
	return nil
}

// registeredBroker returns the broker of that epoch. One that this very delta
// registered has none yet.
func (d *Delta) registeredBroker(id ids.NodeID, epoch int64) (*Broker, error) {
	b, ok := d.next.brokers.Get(id)
	if !ok {
		return nil, fmt.Errorf("broker %d is not registered", id)
	}
	if b.Epoch != epoch {
		return nil, fmt.Errorf("broker %d is registered with epoch %d, not %d", id, b.Epoch, epoch)
	}
	return b, nil
}

func (d *Delta) editTopics() (byName, byID *btree.Map[string, *Topic]) {
	if !d.ownTopics {
		d.ownTopics = true
		d.next.topics = *edit(&d.base.topics)
		d.next.topicsByID = *edit(&d.base.topicsByID)
		d.topics = make(map[ids.TopicID]*topicChange)
	}
	return &d.next.topics, &d.next.topicsByID
}

func (d *Delta) setTopic(t *Topic) {
	byName, byID := d.editTopics()
	byName.Set(t.Name, t)
	byID.Set(string(t.ID[:]), t)
}

func (d *Delta) replayTopic(rec *TopicRecord) error {
	if rec.Name == "" || rec.TopicID.IsZero() {
		return fmt.Errorf("topic %q of id %s lacks one of both", rec.Name, rec.TopicID)
	}
	if t, ok := d.next.Topic(rec.Name); ok {
		return fmt.Errorf("topic %q exists with id %s", rec.Name, t.ID)
	}
	if t, ok := d.next.TopicByID(rec.TopicID); ok {
		return fmt.Errorf("id %s is topic %q already", rec.TopicID, t.Name)
	}
	d.editTopics()
	if d.topics[rec.TopicID] != nil {
		return fmt.Errorf("id %s was another topic before %q", rec.TopicID, rec.Name)
	}
	t := &Topic{Name: rec.Name, ID: rec.TopicID}
	d.topics[t.ID] = &topicChange{now: t}
	d.setTopic(t)
	return nil
}

// editTopic returns the topic of that id as one that may be changed in place.
func (d *Delta) editTopic(id ids.TopicID) (*Topic, error) {
	if c := d.topics[id]; c != nil && c.now != nil {
		return c.now, nil
	}
	before, ok := d.next.TopicByID(id)
	if !ok {
		return nil, fmt.Errorf("no topic has id %s", id)
	}
	now := &Topic{Name: before.Name, ID: before.ID, Partitions: slices.Clone(before.Partitions)}
	d.setTopic(now)
	d.topics[id] = &topicChange{before: before, now: now}
	return now, nil
}

func (d *Delta) replayPartition(rec *PartitionRecord) error {
	t, err := d.editTopic(rec.TopicID)
	if err != nil {
		return err
	}
	switch n := int64(len(t.Partitions)); {
	case rec.PartitionID < 0 || int64(rec.PartitionID) > n:
		return fmt.Errorf("partition %d of topic %q, which has %d", rec.PartitionID, t.Name, n)
	case int64(rec.PartitionID) == n:
		t.Partitions = append(t.Partitions, rec.Partition)
		d.next.partitionCount++
	default:
		t.Partitions[rec.PartitionID] = rec.Partition
	}
	return nil
}

func (d *Delta) replayPartitionChange(rec *PartitionChangeRecord) error {
	t, err := d.editTopic(rec.TopicID)
	if err != nil {
		return err
	}
	if rec.PartitionID < 0 || int(rec.PartitionID) >= len(t.Partitions) {
		return fmt.Errorf("partition %d of topic %q, which has %d", rec.PartitionID, t.Name, len(t.Partitions))
	}
	p := &t.Partitions[rec.PartitionID]
	if rec.Leader != NoLeaderChange {
		p.Leader = rec.Leader
		p.LeaderEpoch++
	}
	if rec.ISR != nil {
		p.ISR = rec.ISR
	}
	if rec.Replicas != nil {
		p.Replicas = rec.Replicas
	}
	if rec.Directories != nil {
		p.Directories = rec.Directories
	}
	if rec.ELR != nil {
		p.ELR = orNil(rec.ELR)
	}
	if rec.LastKnownELR != nil {
		p.LastKnownELR = orNil(rec.LastKnownELR)
	}
	p.PartitionEpoch++
	return nil
}

// orNil makes an empty list nil.
func orNil[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

func (d *Delta) replayRemoveTopic(rec *RemoveTopicRecord) error {
	t, ok := d.next.TopicByID(rec.TopicID)
	if !ok {
		return fmt.Errorf("no topic has id %s", rec.TopicID)
	}
	byName, byID := d.editTopics()
	byName.Delete(t.Name)
	byID.Delete(string(t.ID[:]))
	d.next.partitionCount -= len(t.Partitions)
	if c := d.topics[t.ID]; c != nil {
		c.now = nil
	} else {
		d.topics[t.ID] = &topicChange{before: t}
	}
	r := ConfigResource{ResourceTopic, t.Name}
	if set := d.next.Config(r); set != nil {
		d.setConfig(r, nil)
	}
	return nil
}

// setConfig makes values all that is set for r, with values from now on the delta's.
func (d *Delta) setConfig(r ConfigResource, values map[string]string) {
	if !d.ownConfigs {
		d.ownConfigs = true
		d.next.configs = *edit(&d.base.configs)
		d.configs = make(map[ConfigResource]map[string]string)
	}
	d.configs[r] = values
	if len(values) == 0 {
		d.next.configs.Delete(r.key())
		return
	}
	d.next.configs.Set(r.key(), &resourceConfig{resource: r, values: values})
}

func (d *Delta) replayConfig(rec *ConfigRecord) error {
	if rec.Resource.Type == ResourceTopic {
		if _, ok := d.next.Topic(rec.Resource.Name); !ok {
			return fmt.Errorf("there is no topic %q", rec.Resource.Name)
		}
	}
	values := d.configs[rec.Resource]
	if values == nil {
		values = maps.Clone(d.next.Config(rec.Resource))
	}
	if values == nil {
		values = make(map[string]string)
	}
	if rec.Value == nil {
		delete(values, rec.Name)
	} else {
		values[rec.Name] = *rec.Value
	}
	d.setConfig(rec.Resource, values)
	return nil
}

func (d *Delta) replayProducerIDs(rec *ProducerIdsRecord) error {
	if rec.NextProducerID <= d.next.nextProducerID {
		return fmt.Errorf("producer ids below %d are handed out already, not only those below %d",
			d.next.nextProducerID, rec.NextProducerID)
	}
	d.next.nextProducerID = rec.NextProducerID
	return nil
}
