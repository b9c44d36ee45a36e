package group

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
)

const (
	groupKeyVersion   = 2 // offsets have keys of versions 0 and 1
	groupValueVersion = 3 // what Kafka 4.3 writes
	groupValueNewest  = 4 // what can be read
)

// groupRecord writes a generation. assignment is asked for each member.
func groupRecord(g *classicGroup, assignment func(*member) []byte) runtime.Record {
	value := kmsg.NewGroupMetadataValue()
	value.Version = groupValueVersion
	value.ProtocolType, value.Protocol = g.typ, g.protocol
	value.Generation = g.generation
	if g.leader != "" {
		value.Leader = &g.leader
	}
	value.CurrentStateTimestamp = g.sinceMs()
	for _, m := range g.members {
		written := kmsg.NewGroupMetadataValueMember()
		written.MemberID, written.InstanceID = m.id, m.instanceID
		written.ClientID, written.ClientHost = m.clientID, m.clientHost
		written.RebalanceTimeoutMillis, written.SessionTimeoutMillis = m.rebalanceTimeoutMs, m.sessionTimeoutMs
		written.Subscription, written.Assignment = m.metadata(g.protocol), assignment(m)
		value.Members = append(value.Members, written)
	}
	return runtime.Record{Key: groupKey(g.name), Value: value.AppendTo(nil)}
}

// newGroupRecord writes that there is a group, without a generation.
func newGroupRecord(g *classicGroup) runtime.Record {
	value := kmsg.NewGroupMetadataValue()
	value.Version = groupValueVersion
	value.CurrentStateTimestamp = g.sinceMs()
	return runtime.Record{Key: groupKey(g.name), Value: value.AppendTo(nil)}
}

// tombstones remove the group.
func (g *classicGroup) tombstones() []runtime.Record {
	return []runtime.Record{{Key: groupKey(g.name)}}
}

func groupKey(name string) []byte {
	key := kmsg.GroupMetadataKey{Version: groupKeyVersion, Group: name}
	return key.AppendTo(nil)
}

// sinceMs is when the state was entered, -1 where it is not known.
func (g *classicGroup) sinceMs() int64 {
	if g.since.IsZero() {
		return -1
	}
	return g.since.UnixMilli()
}

// Replay takes a record of a group or of an offset. Records of share and streams groups are passed over.
func (s *Shard) Replay(key, value []byte, timestamp int64) error {
	decoded, err := decodeKey(key)
	if errors.Is(err, errUnknownKey) {
		return nil
	}
	if err != nil {
		return err
	}
	switch k := decoded.(type) {
	case *kmsg.OffsetCommitKey:
		return s.replayOffsetRecord(k, value, timestamp)
	case *kmsg.GroupMetadataKey:
		return s.replayGroupRecord(k, value, timestamp)
	case *consumerKey:
		return s.replayConsumerRecord(k, value)
	}
	return nil
}

func (s *Shard) replayOffsetRecord(k *kmsg.OffsetCommitKey, value []byte, timestamp int64) error {
	if value == nil {
		return s.replayOffset(k, nil, timestamp)
	}
	v, err := decodeOffsetValue(value)
	if err != nil {
		return fmt.Errorf("group %q, %s-%d: %w", k.Group, k.Topic, k.Partition, err)
	}
	return s.replayOffset(k, v, timestamp)
}

func (s *Shard) replayGroupRecord(k *kmsg.GroupMetadataKey, value []byte, timestamp int64) error {
	if value == nil {
		s.removeGroup(k.Group)
		return nil
	}
	v := kmsg.NewGroupMetadataValue()
	if err := v.ReadFrom(value); err != nil {
		return fmt.Errorf("the record of group %q: %w", k.Group, err)
	}
	if v.Version < 0 || v.Version > groupValueNewest {
		return fmt.Errorf("the record of group %q has version %d, which is not known", k.Group, v.Version)
	}
	if g, ok := s.groups[k.Group]; ok && s.loaded {
		g.written(&v, timestamp)
		return nil
	}
	g, err := s.restored(k.Group, &v)
	if err != nil {
		return err
	}
	if before, ok := s.consumers[k.Group]; ok { // its tombstones were compacted away
		s.removeConsumerGroup(before)
	}
	s.groups[k.Group] = g
	return nil
}

func (s *Shard) removeGroup(name string) {
	g, ok := s.groups[name]
	if !ok {
		return
	}
	for _, m := range g.members {
		s.timers.cancel(sessionKey(name, m.id))
	}
	for id := range g.pending {
		s.timers.cancel(sessionKey(name, id))
	}
	s.timers.cancel(g.joinKey())
	s.timers.cancel(g.syncKey())
	delete(s.groups, name)
}

// restored makes a group of its last record.
func (s *Shard) restored(name string, v *kmsg.GroupMetadataValue) (*classicGroup, error) {
	g := s.newGroup(name, time.Time{})
	if v.CurrentStateTimestamp >= 0 {
		g.since = time.UnixMilli(v.CurrentStateTimestamp)
	}
	g.typ, g.protocol, g.generation = v.ProtocolType, v.Protocol, v.Generation
	if v.Leader != nil {
		g.leader = *v.Leader
	}
	if len(v.Members) > 0 {
		g.state = stateStable
		if g.protocol == nil {
			g.protocol = kmsg.StringPtr("")
		}
	}
	for i := range v.Members {
		stored := &v.Members[i]
		if g.byID[stored.MemberID] != nil || stored.InstanceID != nil && g.static[*stored.InstanceID] != "" {
			return nil, fmt.Errorf("the record of group %q has member %q more than once", name, stored.MemberID)
		}
		m := &member{
			id:                 stored.MemberID,
			instanceID:         stored.InstanceID,
			clientID:           stored.ClientID,
			clientHost:         stored.ClientHost,
			rebalanceTimeoutMs: stored.RebalanceTimeoutMillis,
			sessionTimeoutMs:   stored.SessionTimeoutMillis,
			protocols:          []kmsg.JoinGroupRequestProtocol{{Name: *g.protocol, Metadata: stored.Subscription}},
			assignment:         stored.Assignment,
		}
		if m.rebalanceTimeoutMs < 0 { // a record of version 0
			m.rebalanceTimeoutMs = m.sessionTimeoutMs
		}
		g.add(m, v.ProtocolType)
	}
	g.topics = g.subscribedTopics()
	return g, nil
}

// written makes true what the living group has had written: the assignment of its generation, and the
// ids under which static members came back. An empty generation needs nothing more.
func (g *classicGroup) written(v *kmsg.GroupMetadataValue, timestamp int64) {
	if v.Generation != g.generation || len(v.Members) == 0 {
		return
	}
	for i := range v.Members {
		stored := &v.Members[i]
		m := g.byID[stored.MemberID]
		if m == nil && stored.InstanceID != nil {
			if m = g.byID[g.static[*stored.InstanceID]]; m != nil {
				g.rename(m, stored.MemberID)
			}
		}
		if m != nil {
			m.assignment = stored.Assignment
		}
	}
	if g.state == stateCompletingRebalance {
		g.transition(stateStable, time.UnixMilli(timestamp))
	}
}
