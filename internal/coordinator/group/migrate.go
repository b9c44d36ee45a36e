package group

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// Values of group.consumer.migration.policy: which way groups with members may go.
const (
	migrateUpgrade       = "upgrade"
	migrateDowngrade     = "downgrade"
	migrateBidirectional = "bidirectional"
	migrateDisabled      = "disabled" // and no member of the classic protocol joins a consumer group
)

func (s *Shard) migrationPolicy() string { return strings.ToLower(s.cfg().ConsumerMigrationPolicy) }

func (s *Shard) migrates(direction string) bool {
	policy := s.migrationPolicy()
	return policy == migrateBidirectional || policy == direction
}

// upgrade writes a classic group as a consumer group of the same members and assignment, and returns that.
// The next decision moves it to another epoch. Java: convertToConsumerGroup.
func (s *Shard) upgrade(ev *event, old *classicGroup) (*consumerGroup, error) {
	refused := func(why string) error {
		return refuse(kerr.GroupIDNotFound, fmt.Sprintf("Cannot upgrade classic group %s to consumer group because %s.", old.name, why))
	}
	switch {
	case !s.migrates(migrateUpgrade):
		return nil, refused("online upgrade is disabled")
	case old.typ != consumerProtocolType:
		return nil, refused("the group does not use the consumer embedded protocol")
	case len(old.members) > int(s.cfg().ConsumerMaxSize):
		return nil, refused("the group size exceeds the consumer group maximum size")
	}
	g := newConsumerGroup(old.name)
	g.epoch, g.targetEpoch = old.generation, old.generation
	img := s.image()
	for _, m := range old.members {
		upgraded, why := upgradeMember(old, m, img)
		if why != "" {
			return nil, refused(why)
		}
		upgraded.assigned, _ = upgraded.assigned.split(g.free) // a leader may have assigned a partition twice
		g.put(upgraded)
		g.target[m.id] = upgraded.assigned.bare()
	}
	g.metadataHash = s.metadataHash((&groupChange{group: g}).topicNames())
	ev.write(old.tombstones()...)
	ev.write(g.records()...)
	return g, nil
}

// upgradeMember makes a member of a consumer group of one of a classic group; why says why it cannot.
func upgradeMember(g *classicGroup, m *member, img *metadata.Image) (upgraded *consumerMember, why string) {
	subscription, err := readSubscription(m.protocols[0].Metadata)
	if metadata := m.metadata(g.protocol); metadata != nil {
		subscription, err = readSubscription(metadata)
	}
	var assigned kmsg.ConsumerMemberAssignment
	if err == nil && len(m.assignment) > 0 {
		err = assigned.ReadFrom(m.assignment)
	}
	switch {
	case err != nil:
		return nil, "the embedded consumer protocol is malformed"
	case len(assigned.UserData) > 0:
		return nil, "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before re-attempting the upgrade"
	}
	partitions := newAssignmentBuilder()
	for _, t := range assigned.Topics {
		if topic, ok := img.Topic(t.Topic); ok {
			for _, p := range t.Partitions {
				partitions.add(topic.ID, p, g.generation)
			}
		}
	}
	return &consumerMember{
		id:                 m.id,
		instanceID:         m.instanceID,
		rackID:             subscription.Rack,
		clientID:           m.clientID,
		clientHost:         m.clientHost,
		rebalanceTimeoutMs: m.rebalanceTimeoutMs,
		topics:             withoutDuplicates(subscription.Topics),
		classic:            &classicMetadata{sessionTimeoutMs: m.sessionTimeoutMs, protocols: m.protocols},
		epoch:              g.generation,
		previousEpoch:      g.generation,
		assigned:           partitions.build(),
	}, ""
}

// consumerMetadataNewest is the newest version of a consumer's subscription that can be read; later ones begin as it does.
const consumerMetadataNewest = 3

// readSubscription reads what a consumer of the classic protocol says that it subscribes to.
func readSubscription(raw []byte) (*kmsg.ConsumerMemberMetadata, error) {
	raw = slices.Clone(raw)
	if len(raw) > 1 && metadataVersion(raw) > consumerMetadataNewest {
		raw[0], raw[1] = 0, consumerMetadataNewest
	}
	subscription := new(kmsg.ConsumerMemberMetadata)
	return subscription, subscription.ReadFrom(raw)
}

func metadataVersion(raw []byte) int16 {
	if len(raw) < 2 {
		return 0
	}
	return min(int16(raw[0])<<8|int16(raw[1]), consumerMetadataNewest+1)
}

// endClassic has those come again who wait for a classic group that has become a consumer group.
func (s *Shard) endClassic(ev *event, old *classicGroup) {
	for _, m := range old.members {
		if m.join != nil {
			ev.refuseJoin(m.join, m.id, kerr.RebalanceInProgress)
			old.setJoin(m, nil)
			old.refreshSession(m, ev.now)
		}
		if m.sync != nil {
			ev.refuseSync(m.sync, kerr.RebalanceInProgress)
			m.sync = nil
			old.refreshSession(m, ev.now)
		}
	}
	ev.after(func() {
		if g := s.consumers[old.name]; g != nil {
			s.startSessions(g, ev)
		}
	})
}

// startSessions gives every member a new session.
func (s *Shard) startSessions(g *consumerGroup, ev *event) {
	timeoutMs := s.groupConfig(g.name).sessionTimeoutMs
	for _, m := range g.members {
		ms := timeoutMs
		if m.classic != nil {
			ms = m.classic.sessionTimeoutMs
		}
		s.timers.schedule(sessionKey(g.name, m.id), ev.now, int64(ms))
	}
}

// records write the whole group.
func (g *consumerGroup) records() []runtime.Record {
	members := slices.Sorted(maps.Keys(g.members))
	var records []runtime.Record
	for _, id := range members {
		records = append(records, g.memberRecord(g.members[id]))
	}
	records = append(records, g.epochRecord(g.epoch, g.metadataHash))
	for _, id := range members {
		records = append(records, g.targetRecord(id, g.target[id]))
	}
	records = append(records, g.targetEpochRecord(g.targetEpoch, g.targetMs))
	for _, id := range members {
		records = append(records, g.currentRecord(g.members[id]))
	}
	return records
}

// bare returns the partitions without their epochs.
func (a assignment) bare() assignment {
	out := slices.Clone(a)
	for i := range out {
		out[i].epochs = nil
	}
	return out
}

// downgrades tells whether those who stay when members go, or one comes for another, all speak the classic protocol,
// and the group may become a classic one.
func (s *Shard) downgrades(c *groupChange, gone []*consumerMember) bool {
	classicGone := 0
	for _, m := range gone {
		if m.classic != nil {
			classicGone++
		}
	}
	stay := len(c.group.members) - len(gone)
	switch {
	case classicGone == len(gone), c.group.classicMembers()-classicGone != stay:
		return false
	case c.member == nil && stay == 0:
		return false
	}
	return s.migrates(migrateDowngrade) && c.size() <= int(s.cfg().MaxSize)
}

// downgrade writes the changed group as a classic group of the same members and assignment. These have to join
// again, but where only a static member came back that subscribes to what it did. Java: convertToClassicGroup.
func (s *Shard) downgrade(ev *event, c *groupChange, reason string) {
	g := c.group
	staying := slices.SortedFunc(c.members(), func(a, b *consumerMember) int { return cmp.Compare(a.id, b.id) })
	written := *g // with whom records are
	written.members = maps.Clone(g.members)
	delete(written.members, c.replaces)
	if c.member != nil {
		written.members[c.member.id] = c.member
	}
	ev.write(written.tombstones()...)

	classic := s.newGroup(g.name, ev.now)
	for _, m := range staying {
		target, _ := c.target(m)
		classic.add(&member{
			id:                 m.id,
			instanceID:         m.instanceID,
			clientID:           m.clientID,
			clientHost:         m.clientHost,
			rebalanceTimeoutMs: m.rebalanceTimeoutMs,
			sessionTimeoutMs:   m.classic.sessionTimeoutMs,
			protocols:          m.classic.protocols,
			assignment:         s.classicAssignment(m, target),
		}, consumerProtocolType)
	}
	classic.generation, classic.protocol = g.epoch, classic.selectProtocol()
	ev.write(groupRecord(classic, func(m *member) []byte { return m.assignment }))
	s.logger.Info("a consumer group becomes a classic group", "group", g.name, "reason", reason, "members", len(staying))
	ev.after(func() { s.enterClassic(ev, classic, reason) })
}

// enterClassic puts the classic group in place that a consumer group has become. Of what its members support its record
// has the elected protocol alone.
func (s *Shard) enterClassic(ev *event, classic *classicGroup, reason string) {
	s.groups[classic.name] = classic
	classic.transition(stateStable, ev.now)
	classic.topics = classic.subscribedTopics()
	for _, m := range classic.members {
		classic.refreshSession(m, ev.now)
	}
	if reason != "" {
		s.prepareRebalance(ev, classic, reason)
	}
}

// classicAssignment writes partitions in the form of the classic protocol, in the version of a member's subscription.
func (s *Shard) classicAssignment(m *consumerMember, partitions assignment) []byte {
	out := kmsg.NewConsumerMemberAssignment()
	out.Version = min(metadataVersion(m.classic.protocols[0].Metadata), consumerMetadataNewest)
	img := s.image()
	for _, t := range partitions {
		if topic, ok := img.TopicByID(t.topic); ok {
			assigned := kmsg.NewConsumerMemberAssignmentTopic()
			assigned.Topic, assigned.Partitions = topic.Name, t.partitions
			out.Topics = append(out.Topics, assigned)
		}
	}
	return out.AppendTo(nil)
}

// namedPartitions returns the partitions of topics by name.
func namedPartitions(img *metadata.Image, named []kmsg.ConsumerMemberMetadataOwnedPartition) *assignment {
	b := newAssignmentBuilder()
	for _, t := range named {
		topic, ok := img.Topic(t.Topic)
		if !ok {
			continue
		}
		for _, p := range t.Partitions {
			b.add(ids.TopicID(topic.ID), p, 0)
		}
	}
	owned := b.build()
	return &owned
}
