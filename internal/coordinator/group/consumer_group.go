package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// States of a consumer group; they follow from its epochs and are in no record. Empty and Stable are as of classic groups.
const (
	stateAssigning   groupState = "Assigning"   // the group has an epoch for which there is no target yet
	stateReconciling groupState = "Reconciling" // members are on their way to the target
)

// Epochs that a member sends in place of its own.
const (
	epochJoin        int32 = 0
	epochLeave       int32 = -1
	epochLeaveStatic int32 = -2 // a static member goes and will come back
)

// consumerGroup is a group whose assignment the coordinator makes (KIP-848; Java: ConsumerGroup). Only replayed
// records change it, but for what is marked as soft, which is made anew where it is lost.
type consumerGroup struct {
	name         string
	epoch        int32 // grows with every change that asks for another assignment
	metadataHash int64 // of the topics that the members subscribe to, as of epoch

	members map[string]*consumerMember // by id. They are not changed once they are in here
	static  map[string]string          // instance id -> member id

	target      map[string]assignment // by member id
	targetEpoch int32
	targetMs    int64 // when it was made

	owners   map[ids.TopicID]map[int32]string // the member that a partition is with, be it about to give it up
	topics   map[string]int                   // topic name -> members that subscribe to it by name
	regexes  map[string]int                   // regular expression -> members that subscribe by it
	resolved map[string]*resolvedRegex        // by regular expression

	seen     ids.Offset    // soft: the metadata as of which metadataHash was last computed
	matching *regexMatcher // soft: nil, or the resolution of the expressions that is under way
	matched  regexCheck    // soft: the last resolution
}

// consumerMember is a member of a consumer group (Java: ConsumerGroupMember). It is a value: who changes one, copies it.
type consumerMember struct {
	id                 string
	instanceID         *string
	rackID             *string
	clientID           string
	clientHost         string
	rebalanceTimeoutMs int32
	topics             []string         // that it subscribes to by name, in order
	regex              string           // that it subscribes by; "" for none
	assignor           *string          // that it prefers
	classic            *classicMetadata // nil but of a member that speaks the classic protocol

	epoch         int32
	previousEpoch int32
	state         memberState
	assigned      assignment
	revoking      assignment // that it was told to give up
}

// classicMetadata is what a consumer group keeps of a member that joined by the classic protocol.
type classicMetadata struct {
	sessionTimeoutMs int32
	protocols        []kmsg.JoinGroupRequestProtocol // in order of preference; never empty
}

// firstEpoch is that of a group without a record of its own: nobody subscribes to a topic that is known.
const firstEpoch = 1

func newConsumerGroup(name string) *consumerGroup {
	return &consumerGroup{
		name:     name,
		epoch:    firstEpoch,
		members:  make(map[string]*consumerMember),
		static:   make(map[string]string),
		target:   make(map[string]assignment),
		owners:   make(map[ids.TopicID]map[int32]string),
		topics:   make(map[string]int),
		regexes:  make(map[string]int),
		resolved: make(map[string]*resolvedRegex),
	}
}

func newConsumerMember(id string) *consumerMember {
	return &consumerMember{id: id, rebalanceTimeoutMs: -1, previousEpoch: -1}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func equalStrings(a, b *string) bool { return (a == nil) == (b == nil) && deref(a) == deref(b) }

// sameMetadata tells whether the record of two members' metadata is the same.
func (m *consumerMember) sameMetadata(other *consumerMember) bool {
	return m.id == other.id && equalStrings(m.instanceID, other.instanceID) && equalStrings(m.rackID, other.rackID) &&
		m.clientID == other.clientID && m.clientHost == other.clientHost && m.rebalanceTimeoutMs == other.rebalanceTimeoutMs &&
		slices.Equal(m.topics, other.topics) && m.regex == other.regex && equalStrings(m.assignor, other.assignor) &&
		m.classic.equal(other.classic)
}

func (c *classicMetadata) equal(other *classicMetadata) bool {
	if c == nil || other == nil {
		return c == other
	}
	return c.sessionTimeoutMs == other.sessionTimeoutMs && sameProtocols(c.protocols, other.protocols)
}

func (g *consumerGroup) state() groupState {
	switch {
	case len(g.members) == 0:
		return stateEmpty
	case g.epoch > g.targetEpoch:
		return stateAssigning
	}
	for _, m := range g.members {
		if !m.reconciled(g.targetEpoch) {
			return stateReconciling
		}
	}
	return stateStable
}

func (g *consumerGroup) isEmpty() bool { return len(g.members) == 0 }

func (g *consumerGroup) protocolType() string { return consumerProtocolType }

// subscribed tells whether a member subscribes to a topic, by name or by expression.
func (g *consumerGroup) subscribed(topic string) (subscribed, known bool) {
	return g.subscribesTo(topic), true
}

func (g *consumerGroup) subscribesTo(topic string) bool {
	if g.topics[topic] > 0 {
		return true
	}
	for _, r := range g.resolved {
		if _, ok := slices.BinarySearch(r.topics, topic); ok {
			return true
		}
	}
	return false
}

// staticMember returns the member with an instance id, or nil.
func (g *consumerGroup) staticMember(instanceID *string) *consumerMember {
	if instanceID == nil {
		return nil
	}
	return g.members[g.static[*instanceID]]
}

// free tells whether no member has a partition.
func (g *consumerGroup) free(topic ids.TopicID, partition int32) bool {
	_, taken := g.owners[topic][partition]
	return !taken
}

// put has m take the place of what the group knows under its id, which may be nothing.
func (g *consumerGroup) put(m *consumerMember) {
	g.countSubscription(g.members[m.id], -1)
	g.release(g.members[m.id])
	g.members[m.id] = m
	g.countSubscription(m, 1)
	for _, have := range [2]assignment{m.assigned, m.revoking} {
		for _, t := range have {
			partitions := g.owners[t.topic]
			if partitions == nil {
				partitions = make(map[int32]string)
				g.owners[t.topic] = partitions
			}
			for _, p := range t.partitions {
				partitions[p] = m.id
			}
		}
	}
	if m.instanceID != nil {
		g.static[*m.instanceID] = m.id
	}
}

// drop removes a member.
func (g *consumerGroup) drop(id string) {
	m := g.members[id]
	if m == nil {
		return
	}
	g.countSubscription(m, -1)
	g.release(m)
	delete(g.members, id)
	if m.instanceID != nil && g.static[*m.instanceID] == id {
		delete(g.static, *m.instanceID)
	}
}

// release takes from a member, which may be nil, what it has. In a log that was compacted another may have it already.
func (g *consumerGroup) release(m *consumerMember) {
	if m == nil {
		return
	}
	for _, had := range [2]assignment{m.assigned, m.revoking} {
		for _, t := range had {
			partitions := g.owners[t.topic]
			for _, p := range t.partitions {
				if partitions[p] == m.id {
					delete(partitions, p)
				}
			}
			if len(partitions) == 0 {
				delete(g.owners, t.topic)
			}
		}
	}
}

func (g *consumerGroup) countSubscription(m *consumerMember, by int) {
	if m == nil {
		return
	}
	for _, topic := range m.topics {
		count(g.topics, topic, by)
	}
	if m.regex != "" {
		count(g.regexes, m.regex, by)
	}
}

func count(counts map[string]int, name string, by int) {
	if counts[name] += by; counts[name] == 0 {
		delete(counts, name)
	}
}

// classicMembers returns how many members speak the classic protocol.
func (g *consumerGroup) classicMembers() int {
	n := 0
	for _, m := range g.members {
		if m.classic != nil {
			n++
		}
	}
	return n
}

// checkCommit decides whether a member, or with epoch -1 anybody while there are no members, may commit an offset.
// Where it may commit only some, partition tells which (KIP-1251). Java: ConsumerGroup.validateOffsetCommit.
func (g *consumerGroup) checkCommit(m *kmsg.OffsetCommitRequest, img *metadata.Image) (partition commitCheck, err error) {
	if m.Generation < 0 && len(g.members) == 0 {
		return nil, nil
	}
	member := g.members[m.MemberID]
	switch {
	case member == nil:
		return nil, kerr.UnknownMemberID
	case member.classic == nil && m.Version < commitMemberEpochs:
		return nil, kerr.UnsupportedVersion
	case m.Generation == member.epoch:
		return nil, nil
	}
	stale := kerr.StaleMemberEpoch
	if member.classic != nil {
		stale = kerr.IllegalGeneration
	}
	if m.Generation > member.epoch {
		return nil, stale
	}
	return func(topic string, id ids.TopicID, p int32) error {
		if t, ok := img.Topic(topic); ok && id.IsZero() {
			id = t.ID
		}
		given, ok := member.assigned.topic(id).epoch(p)
		if !ok {
			given, ok = member.revoking.topic(id).epoch(p)
		}
		if !ok || m.Generation < given {
			return stale
		}
		return nil
	}, nil
}

// checkFetch decides whether a member may read offsets, as a member alone.
func (g *consumerGroup) checkFetch(memberID *string, epoch int32) error {
	if memberID == nil && epoch < 0 {
		return nil
	}
	member := g.members[deref(memberID)]
	switch {
	case member == nil:
		return kerr.UnknownMemberID
	case member.epoch == epoch:
		return nil
	case member.classic != nil:
		return kerr.IllegalGeneration
	default:
		return kerr.StaleMemberEpoch
	}
}
