package group

import (
	"cmp"
	"slices"

	"github.com/moldau/moldau/internal/ids"
)

// assignors are what group.consumer.assignors can name (Java: UniformAssignor, RangeAssignor). Like those of Kafka since
// 4.0 they do not look at racks.
var assignors = map[string]func(*groupSpec) []assignment{
	"uniform": assignUniform,
	"range":   assignRange,
}

// groupSpec is what an assignor knows.
type groupSpec struct {
	topics  []topicSpec  // that anybody subscribes to and that there are, in order of their ids
	members []memberSpec // in order of their ids
}

type topicSpec struct {
	id         ids.TopicID
	partitions int32
}

type memberSpec struct {
	id         string
	instanceID *string
	topics     []int      // indices of groupSpec.topics, ascending
	before     assignment // its target until now
}

// homogeneous tells whether all members subscribe to the same topics.
func (s *groupSpec) homogeneous() bool {
	for i := range s.members {
		if !slices.Equal(s.members[i].topics, s.members[0].topics) {
			return false
		}
	}
	return true
}

const nobody = -1

// distribution is an assignment in the making: for each topic who has which partition, as indices of members.
type distribution struct {
	spec   *groupSpec
	owners [][]int32 // by topic and partition; nobody where it is open
	counts []int     // partitions of each member
}

func newDistribution(spec *groupSpec) *distribution {
	d := &distribution{spec: spec, owners: make([][]int32, len(spec.topics)), counts: make([]int, len(spec.members))}
	for i, t := range spec.topics {
		d.owners[i] = slices.Repeat([]int32{nobody}, int(t.partitions))
	}
	return d
}

// keep gives a member what it had of the topics that it still subscribes to, up to a number of partitions.
func (d *distribution) keep(member, limit int) {
	m := &d.spec.members[member]
	for _, topic := range m.topics {
		for _, p := range m.before.topic(d.spec.topics[topic].id).partitions {
			if d.counts[member] < limit && int(p) < len(d.owners[topic]) && d.owners[topic][p] == nobody {
				d.give(topic, int(p), member)
			}
		}
	}
}

func (d *distribution) give(topic, partition, member int) {
	if before := d.owners[topic][partition]; before != nobody {
		d.counts[before]--
	}
	d.owners[topic][partition] = int32(member)
	d.counts[member]++
}

// assignments returns what each member has.
func (d *distribution) assignments() []assignment {
	out := make([]assignment, len(d.spec.members))
	for i, t := range d.spec.topics {
		for p, owner := range d.owners[i] {
			if owner == nobody {
				continue
			}
			a := out[owner]
			if n := len(a); n == 0 || a[n-1].topic != t.id {
				a = append(a, topicPartitions{topic: t.id})
			}
			last := &a[len(a)-1]
			last.partitions = append(last.partitions, int32(p))
			out[owner] = a
		}
	}
	return out
}

// bySeniority orders members so that those who keep their names come first: static ones by their instance, then others.
func (s *groupSpec) bySeniority() []int {
	order := make([]int, len(s.members))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int {
		a, b := &s.members[x], &s.members[y]
		switch {
		case a.instanceID != nil && b.instanceID != nil:
			return cmp.Compare(*a.instanceID, *b.instanceID)
		case a.instanceID != nil:
			return -1
		case b.instanceID != nil:
			return 1
		}
		return cmp.Compare(a.id, b.id)
	})
	return order
}
