package group

import (
	"cmp"
	"math"
	"slices"
)

// assignUniform gives members as many partitions as each other or one more, and moves as few as that needs.
func assignUniform(spec *groupSpec) []assignment {
	if len(spec.members) == 0 {
		return nil
	}
	if spec.homogeneous() {
		return assignHomogeneous(spec)
	}
	return assignHeterogeneous(spec)
}

// assignHomogeneous is for members of equal subscriptions. Each has a quota, up to which it keeps what it has; then
// what is open goes to whoever is below. Kafka gives the remainder to the first members, here those come
// first that have it already, for they need not give it up.
func assignHomogeneous(spec *groupSpec) []assignment {
	total := 0
	for _, topic := range spec.members[0].topics {
		total += int(spec.topics[topic].partitions)
	}
	quota, extra := total/len(spec.members), total%len(spec.members)
	quotas := slices.Repeat([]int{quota}, len(spec.members))
	d := newDistribution(spec)
	for i := range spec.members {
		d.keep(i, quota+1)
		if d.counts[i] > quota && extra > 0 {
			quotas[i]++
			extra--
		}
	}
	for i := range quotas {
		if extra > 0 && quotas[i] == quota {
			quotas[i]++
			extra--
		}
	}
	d.shrink(quotas)
	d.fill(quotas)
	return d.assignments()
}

// shrink takes from each member the last of what it has above its quota.
func (d *distribution) shrink(quotas []int) {
	for topic := len(d.owners) - 1; topic >= 0; topic-- {
		for p := len(d.owners[topic]) - 1; p >= 0; p-- {
			if owner := d.owners[topic][p]; owner != nobody && d.counts[owner] > quotas[owner] {
				d.owners[topic][p] = nobody
				d.counts[owner]--
			}
		}
	}
}

// fill gives what is open to the members, one after the other, up to their quotas.
func (d *distribution) fill(quotas []int) {
	member := 0
	for _, topic := range d.spec.members[0].topics {
		for p, owner := range d.owners[topic] {
			if owner != nobody {
				continue
			}
			for d.counts[member] == quotas[member] {
				member++
			}
			d.give(topic, p, member)
		}
	}
}

// balanceRoundsMax bounds how often all topics are balanced again. Where subscriptions overlap, moving
// partitions of one topic changes what is even for another; every round about halves what is left.
const balanceRoundsMax = 16

// assignHeterogeneous is for members of different subscriptions. What is open goes to the subscribers that
// have least, beginning with the topics whose subscribers can least be spared; then each topic is balanced among
// its own subscribers. Java: UniformHeterogeneousAssignmentBuilder.
func assignHeterogeneous(spec *groupSpec) []assignment {
	d := newDistribution(spec)
	subscribers := make([][]int, len(spec.topics))
	for i := range spec.members {
		d.keep(i, math.MaxInt)
		for _, topic := range spec.members[i].topics {
			subscribers[topic] = append(subscribers[topic], i)
		}
	}
	topics := spec.byLoad(subscribers)
	for _, topic := range topics {
		least := newMemberHeap(d, subscribers[topic], ascending)
		for p, owner := range d.owners[topic] {
			if owner == nobody {
				d.give(topic, p, least.top())
				least.settle()
			}
		}
	}
	for range balanceRoundsMax {
		moved := 0
		for _, topic := range topics {
			moved += d.balance(topic, subscribers[topic])
		}
		if moved == 0 {
			break
		}
	}
	return d.assignments()
}

// byLoad orders topics by partitions for each subscriber, most first, then by subscribers, fewest first.
func (s *groupSpec) byLoad(subscribers [][]int) []int {
	var topics []int
	for i := range s.topics {
		if len(subscribers[i]) > 0 {
			topics = append(topics, i)
		}
	}
	slices.SortStableFunc(topics, func(a, b int) int {
		load := func(t int) float64 { return float64(s.topics[t].partitions) / float64(len(subscribers[t])) }
		return cmp.Or(cmp.Compare(load(b), load(a)), cmp.Compare(len(subscribers[a]), len(subscribers[b])))
	})
	return topics
}

// balance moves partitions of a topic from those of its subscribers that have most partitions to those that have
// least, until they differ by one or have none of the topic to give. It returns how many it moved.
func (d *distribution) balance(topic int, subscribers []int) int {
	least := newMemberHeap(d, subscribers, ascending)
	most := newMemberHeap(d, subscribers, descending)
	have := make(map[int][]int, len(subscribers)) // member -> its partitions of the topic
	for p, owner := range d.owners[topic] {
		have[int(owner)] = append(have[int(owner)], p)
	}
	moved := 0
	for {
		for !most.empty() && len(have[most.top()]) == 0 {
			most.pop()
		}
		if most.empty() || d.counts[most.top()]-d.counts[least.top()] <= 1 {
			return moved
		}
		from, to := most.top(), least.top()
		partitions := have[from]
		d.give(topic, partitions[len(partitions)-1], to)
		have[from] = partitions[:len(partitions)-1]
		most.settle()
		least.settle()
		moved++
	}
}

const (
	ascending  = 1
	descending = -1
)

// memberHeap has the member with fewest partitions on top, or the one with most. Of those that are
// equal the one comes first that came first when the heap was made.
//
// Only the top is brought up to date when its count changes. That is enough: while a topic is given out
// or balanced, who gets a partition never has more than the next that gives one.
type memberHeap struct {
	d         *distribution
	direction int
	entries   []heapEntry
}

type heapEntry struct{ member, count, position int }

func newMemberHeap(d *distribution, members []int, direction int) *memberHeap {
	sorted := slices.Clone(members)
	slices.SortStableFunc(sorted, func(a, b int) int { return cmp.Compare(d.counts[a], d.counts[b]) })
	if direction == descending {
		slices.Reverse(sorted)
	}
	h := &memberHeap{d: d, direction: direction, entries: make([]heapEntry, len(sorted))}
	for i, m := range sorted { // a sorted list is a heap
		h.entries[i] = heapEntry{m, d.counts[m], i}
	}
	return h
}

func (h *memberHeap) empty() bool { return len(h.entries) == 0 }

// top returns the first member, with the count that it has now.
func (h *memberHeap) top() int {
	for h.entries[0].count != h.d.counts[h.entries[0].member] {
		h.settle()
	}
	return h.entries[0].member
}

// settle puts the top where its count of now belongs.
func (h *memberHeap) settle() {
	h.entries[0].count = h.d.counts[h.entries[0].member]
	h.down()
}

func (h *memberHeap) pop() {
	last := len(h.entries) - 1
	h.entries[0] = h.entries[last]
	h.entries = h.entries[:last]
	if last > 0 {
		h.down()
	}
}

func (h *memberHeap) down() {
	for i := 0; ; {
		first := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(h.entries) && h.before(child, first) {
				first = child
			}
		}
		if first == i {
			return
		}
		h.entries[i], h.entries[first] = h.entries[first], h.entries[i]
		i = first
	}
}

func (h *memberHeap) before(i, j int) bool {
	a, b := h.entries[i], h.entries[j]
	return cmp.Or(h.direction*cmp.Compare(a.count, b.count), cmp.Compare(a.position, b.position)) < 0
}
