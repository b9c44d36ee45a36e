package metadata

import (
	"cmp"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/ids"
)

// LocalPartition is one partition that a broker has, or had, a replica of.
type LocalPartition struct {
	TP      ids.TopicPartition
	TopicID ids.TopicID
	Partition
}

// LocalChanges is what a delta means for one broker, each list sorted by topic and
// partition. A topic that was deleted and made again within the delta is in Deleted
// under its old id and in another list under its new one.
type LocalChanges struct {
	Leaders   []LocalPartition // it leads, and something about the partition changed
	Followers []LocalPartition // it has a replica that does not lead, and something changed
	Deleted   []LocalPartition // it has no replica any more; the partition as it last was
}

// Empty tells whether nothing changed for the broker.
func (c *LocalChanges) Empty() bool {
	return len(c.Leaders) == 0 && len(c.Followers) == 0 && len(c.Deleted) == 0
}

// LocalChanges compares the delta with its base for the broker node.
func (d *Delta) LocalChanges(node ids.NodeID) LocalChanges {
	var out LocalChanges
	for _, c := range d.topics {
		out.add(c, node)
	}
	for _, list := range [][]LocalPartition{out.Leaders, out.Followers, out.Deleted} {
		slices.SortFunc(list, func(a, b LocalPartition) int {
			return cmp.Or(strings.Compare(a.TP.Topic, b.TP.Topic), cmp.Compare(a.TP.Partition, b.TP.Partition))
		})
	}
	return out
}

func (c *LocalChanges) add(change *topicChange, node ids.NodeID) {
	var before, now []Partition
	if change.before != nil {
		before = change.before.Partitions
	}
	if change.now != nil {
		now = change.now.Partitions
	}
	for i := range now {
		p := &now[i]
		switch {
		case !slices.Contains(p.Replicas, node):
			if i < len(before) && slices.Contains(before[i].Replicas, node) {
				c.Deleted = append(c.Deleted, localPartition(change.before, i))
			}
		case i < len(before) && before[i].PartitionEpoch == p.PartitionEpoch:
			// As it was.
		case p.Leader == node:
			c.Leaders = append(c.Leaders, localPartition(change.now, i))
		default:
			c.Followers = append(c.Followers, localPartition(change.now, i))
		}
	}
	for i := len(now); i < len(before); i++ {
		if slices.Contains(before[i].Replicas, node) {
			c.Deleted = append(c.Deleted, localPartition(change.before, i))
		}
	}
}

func localPartition(t *Topic, i int) LocalPartition {
	return LocalPartition{
		TP:        ids.TopicPartition{Topic: t.Name, Partition: int32(i)},
		TopicID:   t.ID,
		Partition: t.Partitions[i],
	}
}

// ChangedConfigs returns the resources whose configurations the delta touched,
// sorted by type and name.
func (d *Delta) ChangedConfigs() []ConfigResource {
	out := make([]ConfigResource, 0, len(d.configs))
	for r := range d.configs {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b ConfigResource) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), strings.Compare(a.Name, b.Name))
	})
	return out
}

// BrokersChanged tells whether the delta registered, changed or removed a broker.
func (d *Delta) BrokersChanged() bool { return d.ownBrokers }
