package group

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/moldau/moldau/internal/ids"
)

// assignment is a set of partitions: by topic id in order, and by number. It is not changed once made; no entry is empty.
type assignment []topicPartitions

// topicPartitions has partitions of one topic, in order and each once.
type topicPartitions struct {
	topic      ids.TopicID
	partitions []int32
	// epochs says for each partition in which epoch of the group its member was given it (KIP-1251). Only what a member
	// has or gives up has them, a target has none.
	epochs []int32
}

func compareTopics(a, b ids.TopicID) int { return bytes.Compare(a[:], b[:]) }

// topic returns what the assignment has of a topic; the zero value where that is nothing.
func (a assignment) topic(id ids.TopicID) topicPartitions {
	i, ok := slices.BinarySearchFunc(a, id, func(t topicPartitions, id ids.TopicID) int { return compareTopics(t.topic, id) })
	if !ok {
		return topicPartitions{}
	}
	return a[i]
}

func (t topicPartitions) has(partition int32) bool {
	_, ok := slices.BinarySearch(t.partitions, partition)
	return ok
}

// epoch returns the epoch in which a partition was given.
func (t topicPartitions) epoch(partition int32) (int32, bool) {
	i, ok := slices.BinarySearch(t.partitions, partition)
	if !ok || i >= len(t.epochs) {
		return 0, false
	}
	return t.epochs[i], true
}

// equal compares the partitions, and not when they were given.
func (a assignment) equal(b assignment) bool {
	return slices.EqualFunc(a, b, func(x, y topicPartitions) bool {
		return x.topic == y.topic && slices.Equal(x.partitions, y.partitions)
	})
}

// same compares the epochs, too.
func (a assignment) same(b assignment) bool {
	return a.equal(b) && slices.EqualFunc(a, b, func(x, y topicPartitions) bool { return slices.Equal(x.epochs, y.epochs) })
}

// contains tells whether every partition of b is in a.
func (a assignment) contains(b assignment) bool {
	for _, t := range b {
		have := a.topic(t.topic)
		for _, p := range t.partitions {
			if !have.has(p) {
				return false
			}
		}
	}
	return true
}

// overlaps tells whether a partition is in both.
func (a assignment) overlaps(b assignment) bool {
	for _, t := range b {
		have := a.topic(t.topic)
		if slices.ContainsFunc(t.partitions, have.has) {
			return true
		}
	}
	return false
}

func (a assignment) count() int {
	n := 0
	for _, t := range a {
		n += len(t.partitions)
	}
	return n
}

// split returns the partitions for which keep holds, and the others, with their epochs.
func (a assignment) split(keep func(topic ids.TopicID, partition int32) bool) (kept, others assignment) {
	for _, t := range a {
		in, out := topicPartitions{topic: t.topic}, topicPartitions{topic: t.topic}
		for i, p := range t.partitions {
			to := &out
			if keep(t.topic, p) {
				to = &in
			}
			to.partitions = append(to.partitions, p)
			if t.epochs != nil {
				to.epochs = append(to.epochs, t.epochs[i])
			}
		}
		kept, others = kept.and(in), others.and(out)
	}
	return kept, others
}

func (a assignment) and(t topicPartitions) assignment {
	if len(t.partitions) == 0 {
		return a
	}
	return append(a, t)
}

// union returns the partitions of both, of which none is in both, with their epochs.
func (a assignment) union(b assignment) assignment {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	all := newAssignmentBuilder()
	for _, t := range slices.Concat(a, b) {
		for i, p := range t.partitions {
			all.add(t.topic, p, t.epochs[i])
		}
	}
	return all.build()
}

// given returns the partitions as given in an epoch.
func (a assignment) given(epoch int32) assignment {
	out := make(assignment, len(a))
	for i, t := range a {
		out[i] = topicPartitions{topic: t.topic, partitions: t.partitions, epochs: slices.Repeat([]int32{epoch}, len(t.partitions))}
	}
	return out
}

// assignmentBuilder takes partitions in any order.
type assignmentBuilder struct {
	topics map[ids.TopicID][]partitionEpoch
}

type partitionEpoch struct{ partition, epoch int32 }

func newAssignmentBuilder() *assignmentBuilder {
	return &assignmentBuilder{topics: make(map[ids.TopicID][]partitionEpoch)}
}

func (b *assignmentBuilder) add(topic ids.TopicID, partition, epoch int32) {
	b.topics[topic] = append(b.topics[topic], partitionEpoch{partition, epoch})
}

// build returns the assignment; of a partition that was added more than once the first counts.
func (b *assignmentBuilder) build() assignment {
	out := make(assignment, 0, len(b.topics))
	for topic, list := range b.topics {
		slices.SortStableFunc(list, func(x, y partitionEpoch) int { return cmp.Compare(x.partition, y.partition) })
		list = slices.CompactFunc(list, func(x, y partitionEpoch) bool { return x.partition == y.partition })
		t := topicPartitions{topic: topic, partitions: make([]int32, len(list)), epochs: make([]int32, len(list))}
		for i, e := range list {
			t.partitions[i], t.epochs[i] = e.partition, e.epoch
		}
		out = out.and(t)
	}
	slices.SortFunc(out, func(x, y topicPartitions) int { return compareTopics(x.topic, y.topic) })
	return out
}
