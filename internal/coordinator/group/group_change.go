package group

import (
	"cmp"
	"encoding/binary"
	"hash"
	"hash/fnv"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// groupChange is a consumer group as it will be when the records of an event are replayed. The zero values of
// its fields change nothing.
type groupChange struct {
	group    *consumerGroup
	member   *consumerMember           // who is new or has changed
	gone     map[string]bool           // ids of members that are removed; of one that member takes the place of, too
	replaces string                    // the id of that one
	resolved map[string]*resolvedRegex // expressions that were resolved
	upgraded *classicGroup             // the group that it was before
}

// members yields who will be in the group.
func (c *groupChange) members() iter.Seq[*consumerMember] {
	return func(yield func(*consumerMember) bool) {
		for id, m := range c.group.members {
			if !c.gone[id] && (c.member == nil || id != c.member.id) && !yield(m) {
				return
			}
		}
		if c.member != nil {
			yield(c.member)
		}
	}
}

// size is how many members there will be.
func (c *groupChange) size() int {
	n := len(c.group.members) - len(c.gone)
	if c.member != nil && c.group.members[c.member.id] == nil {
		n++
	}
	return n
}

// target returns what a member is to have until there is a new target. Who takes a place takes its target.
func (c *groupChange) target(m *consumerMember) (assignment, bool) {
	if c.replaces != "" && m == c.member {
		return c.group.target[c.replaces], true // it has been written
	}
	target, ok := c.group.target[m.id]
	return target, ok
}

// counted returns how many members there will be for each topic name and regular expression.
func (c *groupChange) counted() (topics, regexes map[string]int) {
	after := consumerGroup{topics: maps.Clone(c.group.topics), regexes: maps.Clone(c.group.regexes)}
	for id := range c.gone {
		after.countSubscription(c.group.members[id], -1)
	}
	if c.member != nil {
		after.countSubscription(c.group.members[c.member.id], -1)
		after.countSubscription(c.member, 1)
	}
	return after.topics, after.regexes
}

// regex returns what an expression stands for; nil where that is not known yet.
func (c *groupChange) regex(pattern string) *resolvedRegex {
	if r, ok := c.resolved[pattern]; ok {
		return r
	}
	return c.group.resolved[pattern]
}

// topicNames returns the names of all topics that members will subscribe to, in order.
func (c *groupChange) topicNames() []string {
	topics, regexes := c.counted()
	for pattern := range regexes {
		if r := c.regex(pattern); r != nil {
			for _, name := range r.topics {
				topics[name]++
			}
		}
	}
	return slices.Sorted(maps.Keys(topics))
}

// subscribes tells whether a member subscribes to a topic. An expression that is not resolved stands for none.
func (c *groupChange) subscribes(m *consumerMember, topic string) bool {
	if _, ok := slices.BinarySearch(m.topics, topic); ok {
		return true
	}
	r := c.regex(m.regex)
	if r == nil {
		return false
	}
	_, ok := slices.BinarySearch(r.topics, topic)
	return ok
}

// spec describes the group to an assignor, along with its members in the same order.
func (c *groupChange) spec(img *metadata.Image) (*groupSpec, []*consumerMember) {
	members := slices.SortedFunc(c.members(), func(a, b *consumerMember) int { return cmp.Compare(a.id, b.id) })
	var topics []*metadata.Topic
	for _, name := range c.topicNames() {
		if t, ok := img.Topic(name); ok {
			topics = append(topics, t)
		}
	}
	slices.SortFunc(topics, func(a, b *metadata.Topic) int { return compareTopics(a.ID, b.ID) })
	spec := &groupSpec{topics: make([]topicSpec, len(topics)), members: make([]memberSpec, len(members))}
	for i, t := range topics {
		spec.topics[i] = topicSpec{id: t.ID, partitions: int32(len(t.Partitions))}
	}
	known := make(map[string][]int) // most members subscribe to the same
	for i, m := range members {
		key := strings.Join(m.topics, "\x00") + "\x00\x00" + m.regex
		subscription, ok := known[key]
		if !ok {
			for j, t := range topics {
				if c.subscribes(m, t.Name) {
					subscription = append(subscription, j)
				}
			}
			known[key] = subscription
		}
		before, _ := c.target(m)
		spec.members[i] = memberSpec{id: m.id, instanceID: m.instanceID, topics: subscription, before: before}
	}
	return spec, members
}

// topicHashes remembers the hashes of topics; the zero value none.
type topicHashes struct {
	racks  string // of the brokers, as of which the hashes are
	offset ids.Offset
	topics map[string]topicHash
}

type topicHash struct {
	topic *metadata.Topic // another pointer may be another topic, or one that changed
	hash  uint64
}

// metadataHash returns a number that is another one where a topic of these comes or goes, gets more partitions or
// has replicas in other racks; 0 where none of them is there (KIP-1101).
func (s *Shard) metadataHash(names []string) int64 {
	img := s.image()
	s.hashes.refresh(img)
	all := fnv.New64a()
	found := false
	for _, name := range names {
		if t, ok := img.Topic(name); ok {
			found = true
			writeInt(all, s.hashes.of(t, img))
		}
	}
	if !found {
		return 0
	}
	return int64(all.Sum64())
}

// refresh forgets hashes of which racks have changed, and those of topics that have gone once they are many.
func (h *topicHashes) refresh(img *metadata.Image) {
	if h.topics != nil && img.Offset == h.offset {
		return
	}
	var racks strings.Builder
	for b := range img.Brokers() {
		if b.Rack != nil {
			racks.WriteString(string(binary.BigEndian.AppendUint32(nil, uint32(b.ID))) + *b.Rack + "\x00")
		}
	}
	if h.topics == nil || racks.String() != h.racks || len(h.topics) > img.TopicCount() {
		h.topics = make(map[string]topicHash)
	}
	h.racks, h.offset = racks.String(), img.Offset
}

func (h *topicHashes) of(t *metadata.Topic, img *metadata.Image) uint64 {
	if have, ok := h.topics[t.Name]; ok && have.topic == t {
		return have.hash
	}
	sum := fnv.New64a()
	_, _ = sum.Write(t.ID[:])
	_, _ = sum.Write([]byte(t.Name))
	writeInt(sum, uint64(len(t.Partitions)))
	for i := range t.Partitions {
		if h.racks == "" {
			break
		}
		for _, rack := range replicaRacks(&t.Partitions[i], img) {
			_, _ = sum.Write([]byte(rack + "\x00"))
		}
		writeInt(sum, uint64(i))
	}
	h.topics[t.Name] = topicHash{topic: t, hash: sum.Sum64()}
	return sum.Sum64()
}

// replicaRacks returns the racks of a partition's replicas, in order.
func replicaRacks(p *metadata.Partition, img *metadata.Image) []string {
	var racks []string
	for _, id := range p.Replicas {
		if b, ok := img.Broker(id); ok && b.Rack != nil {
			racks = append(racks, *b.Rack)
		}
	}
	return withoutDuplicates(racks)
}

func writeInt(h hash.Hash, n uint64) {
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, n))
}
