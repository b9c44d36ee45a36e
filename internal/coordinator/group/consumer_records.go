package group

import (
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
	"github.com/moldau/moldau/internal/ids"
)

// Types of the records of consumer groups: the versions of their keys.
const (
	consumerGroupKeyVersion     = 3
	partitionMetadataKeyVersion = 4 // Kafka 4.0 and older; passed over
	consumerMemberKeyVersion    = 5
	targetMetadataKeyVersion    = 6
	targetMemberKeyVersion      = 7
	currentAssignmentKeyVersion = 8
	regexKeyVersion             = 16
)

// consumerValueVersion is that of all their values.
const consumerValueVersion = 0

// Numbers of tagged fields, which are left out where they have their default.
const (
	tagMetadataHash     = 0
	tagClassicMember    = 0
	tagTargetTimestamp  = 0
	tagAssignmentEpochs = 0
)

// consumerKey is a key of any record of a consumer group. kind is its version; name is the member's id or the regular expression.
type consumerKey struct {
	kind  int16
	group string
	name  string
}

func (k consumerKey) named() bool {
	return k.kind != consumerGroupKeyVersion && k.kind != partitionMetadataKeyVersion && k.kind != targetMetadataKeyVersion
}

func (k consumerKey) appendTo() []byte {
	b := kbin.AppendInt16(nil, k.kind)
	b = kbin.AppendString(b, k.group)
	if k.named() {
		b = kbin.AppendString(b, k.name)
	}
	return b
}

func decodeConsumerKey(key []byte) (*consumerKey, error) {
	r := kbin.Reader{Src: key}
	k := &consumerKey{kind: r.Int16(), group: r.String()}
	if k.named() {
		k.name = r.String()
	}
	if !r.Ok() {
		return nil, fmt.Errorf("the key of a record of a consumer group, of type %d and %d bytes: %w", k.kind, len(key), kbin.ErrNotEnoughData)
	}
	return k, nil
}

func (g *consumerGroup) record(kind int16, name string, value []byte) runtime.Record {
	return runtime.Record{Key: consumerKey{kind, g.name, name}.appendTo(), Value: value}
}

func beginValue() []byte { return kbin.AppendInt16(nil, consumerValueVersion) }

// appendTag ends a value or a part of one that has at most one tagged field; nil for none.
func appendTag(b []byte, tag uint32, field []byte) []byte {
	if field == nil {
		return append(b, 0)
	}
	b = kbin.AppendUvarint(b, 1)
	b = kbin.AppendUvarint(b, tag)
	b = kbin.AppendUvarint(b, uint32(len(field)))
	return append(b, field...)
}

// epochRecord writes that the group enters an epoch.
func (g *consumerGroup) epochRecord(epoch int32, metadataHash int64) runtime.Record {
	var tag []byte
	if metadataHash != 0 {
		tag = kbin.AppendInt64(nil, metadataHash)
	}
	return g.record(consumerGroupKeyVersion, "", appendTag(kbin.AppendInt32(beginValue(), epoch), tagMetadataHash, tag))
}

func (g *consumerGroup) memberRecord(m *consumerMember) runtime.Record {
	b := beginValue()
	b = kbin.AppendCompactNullableString(b, m.instanceID)
	b = kbin.AppendCompactNullableString(b, m.rackID)
	b = kbin.AppendCompactString(b, m.clientID)
	b = kbin.AppendCompactString(b, m.clientHost)
	b = appendStrings(b, m.topics)
	b = kbin.AppendCompactString(b, m.regex)
	b = kbin.AppendInt32(b, m.rebalanceTimeoutMs)
	b = kbin.AppendCompactNullableString(b, m.assignor)
	return g.record(consumerMemberKeyVersion, m.id, appendTag(b, tagClassicMember, m.classic.appendTo()))
}

// appendTo returns the tagged field, or nil. A struct that may be null begins with a byte that says whether it is.
func (c *classicMetadata) appendTo() []byte {
	if c == nil {
		return nil
	}
	b := kbin.AppendInt8(nil, 1)
	b = kbin.AppendInt32(b, c.sessionTimeoutMs)
	b = kbin.AppendCompactArrayLen(b, len(c.protocols))
	for i := range c.protocols {
		b = kbin.AppendCompactString(b, c.protocols[i].Name)
		b = kbin.AppendCompactBytes(b, c.protocols[i].Metadata)
		b = append(b, 0)
	}
	return append(b, 0)
}

func (g *consumerGroup) targetEpochRecord(epoch int32, timestampMs int64) runtime.Record {
	var tag []byte
	if timestampMs != 0 {
		tag = kbin.AppendInt64(nil, timestampMs)
	}
	return g.record(targetMetadataKeyVersion, "", appendTag(kbin.AppendInt32(beginValue(), epoch), tagTargetTimestamp, tag))
}

func (g *consumerGroup) targetRecord(member string, target assignment) runtime.Record {
	return g.record(targetMemberKeyVersion, member, append(appendPartitions(beginValue(), target), 0))
}

func (g *consumerGroup) currentRecord(m *consumerMember) runtime.Record {
	b := beginValue()
	b = kbin.AppendInt32(b, m.epoch)
	b = kbin.AppendInt32(b, m.previousEpoch)
	b = kbin.AppendInt8(b, int8(m.state))
	b = appendPartitions(b, m.assigned)
	b = appendPartitions(b, m.revoking)
	return g.record(currentAssignmentKeyVersion, m.id, append(b, 0))
}

func (g *consumerGroup) regexRecord(pattern string, r *resolvedRegex) runtime.Record {
	b := appendStrings(beginValue(), r.topics)
	b = kbin.AppendInt64(b, r.version)
	b = kbin.AppendInt64(b, r.timestampMs)
	return g.record(regexKeyVersion, pattern, append(b, 0))
}

// memberTombstones remove a member, in the order in which readers can follow.
func (g *consumerGroup) memberTombstones(id string) []runtime.Record {
	return []runtime.Record{
		g.record(currentAssignmentKeyVersion, id, nil), g.record(targetMemberKeyVersion, id, nil), g.record(consumerMemberKeyVersion, id, nil),
	}
}

// tombstones remove the group.
func (g *consumerGroup) tombstones() []runtime.Record {
	var records []runtime.Record
	ids := slices.Sorted(maps.Keys(g.members))
	for _, kind := range []int16{currentAssignmentKeyVersion, targetMemberKeyVersion} {
		for _, id := range ids {
			records = append(records, g.record(kind, id, nil))
		}
	}
	records = append(records, g.record(targetMetadataKeyVersion, "", nil))
	for _, id := range ids {
		records = append(records, g.record(consumerMemberKeyVersion, id, nil))
	}
	for _, pattern := range slices.Sorted(maps.Keys(g.resolved)) {
		records = append(records, g.record(regexKeyVersion, pattern, nil))
	}
	return append(records, g.record(consumerGroupKeyVersion, "", nil))
}

func appendStrings(b []byte, list []string) []byte {
	b = kbin.AppendCompactArrayLen(b, len(list))
	for _, s := range list {
		b = kbin.AppendCompactString(b, s)
	}
	return b
}

func appendPartitions(b []byte, a assignment) []byte {
	b = kbin.AppendCompactArrayLen(b, len(a))
	for _, t := range a {
		b = append(b, t.topic[:]...)
		b = appendInts(b, t.partitions)
		var epochs []byte
		if t.epochs != nil {
			epochs = appendInts(nil, t.epochs)
		}
		b = appendTag(b, tagAssignmentEpochs, epochs)
	}
	return b
}

func appendInts(b []byte, list []int32) []byte {
	b = kbin.AppendCompactArrayLen(b, len(list))
	for _, n := range list {
		b = kbin.AppendInt32(b, n)
	}
	return b
}

// replayConsumerRecord takes a record of a consumer group. A tombstone of what is not there says nothing.
func (s *Shard) replayConsumerRecord(k *consumerKey, value []byte) error {
	g := s.consumers[k.group]
	if value == nil {
		if g != nil {
			s.replayConsumerTombstone(g, k)
		}
		return nil
	}
	r := &valueReader{Reader: kbin.Reader{Src: value}}
	if version := r.Int16(); version != consumerValueVersion {
		return fmt.Errorf("a record of type %d of group %q has version %d, which is not known", k.kind, k.group, version)
	}
	if g == nil {
		if have, ok := s.groups[k.group]; ok {
			if !have.isSimple() {
				return fmt.Errorf("a record of type %d of group %q, which is a classic group", k.kind, k.group)
			}
			delete(s.groups, k.group)
		}
		g = newConsumerGroup(k.group)
	}
	if err := g.replay(k, r); err != nil {
		return fmt.Errorf("a record of type %d of group %q: %w", k.kind, k.group, err)
	}
	s.consumers[k.group] = g
	return nil
}

func (s *Shard) replayConsumerTombstone(g *consumerGroup, k *consumerKey) {
	switch k.kind {
	case consumerGroupKeyVersion:
		s.removeConsumerGroup(g)
	case consumerMemberKeyVersion:
		g.drop(k.name)
		s.cancelMemberTimers(g.name, k.name)
	case targetMetadataKeyVersion:
		g.targetEpoch, g.targetMs = -1, 0
	case targetMemberKeyVersion:
		delete(g.target, k.name)
	case currentAssignmentKeyVersion:
		if m := g.members[k.name]; m != nil {
			gone := *m
			gone.epoch, gone.previousEpoch, gone.assigned, gone.revoking = epochLeave, epochLeave, nil, nil
			g.put(&gone)
		}
	case regexKeyVersion:
		delete(g.resolved, k.name)
	}
}

// replay takes a value. It changes the group only where the value can be read to its end.
func (g *consumerGroup) replay(k *consumerKey, r *valueReader) error {
	switch k.kind {
	case consumerGroupKeyVersion:
		epoch := r.Int32()
		var hash int64
		r.tags(func(tag uint32, field *valueReader) {
			if tag == tagMetadataHash {
				hash = field.Int64()
			}
		})
		return r.then(func() { g.epoch, g.metadataHash = epoch, hash })
	case consumerMemberKeyVersion:
		m := g.memberOf(k.name)
		m.readMetadata(r)
		return r.then(func() { g.put(m) })
	case targetMetadataKeyVersion:
		epoch := r.Int32()
		var timestampMs int64
		r.tags(func(tag uint32, field *valueReader) {
			if tag == tagTargetTimestamp {
				timestampMs = field.Int64()
			}
		})
		return r.then(func() { g.targetEpoch, g.targetMs = epoch, timestampMs })
	case targetMemberKeyVersion:
		target := r.partitions(false)
		r.tags(nil)
		return r.then(func() { g.target[k.name] = target })
	case currentAssignmentKeyVersion:
		m := g.memberOf(k.name)
		m.epoch, m.previousEpoch, m.state = r.Int32(), r.Int32(), memberState(r.Int8())
		m.assigned, m.revoking = r.partitions(true), r.partitions(true)
		r.tags(nil)
		return r.then(func() { g.put(m) })
	case regexKeyVersion:
		resolved := &resolvedRegex{topics: withoutDuplicates(r.strings()), version: r.Int64(), timestampMs: r.Int64()}
		r.tags(nil)
		return r.then(func() { g.resolved[k.name] = resolved })
	}
	return nil // of an older release
}

// memberOf returns a copy of a member, or a new one, to be changed.
func (g *consumerGroup) memberOf(id string) *consumerMember {
	if m := g.members[id]; m != nil {
		changed := *m
		return &changed
	}
	return newConsumerMember(id)
}

func (m *consumerMember) readMetadata(r *valueReader) {
	m.instanceID, m.rackID = r.CompactNullableString(), r.CompactNullableString()
	m.clientID, m.clientHost = r.CompactString(), r.CompactString()
	m.topics = withoutDuplicates(r.strings())
	m.regex = deref(r.CompactNullableString())
	m.rebalanceTimeoutMs = r.Int32()
	m.assignor = r.CompactNullableString()
	m.classic = nil
	r.tags(func(tag uint32, field *valueReader) {
		if tag == tagClassicMember && field.Int8() >= 0 {
			m.classic = field.classicMetadata()
		}
	})
}

// valueReader reads the parts that these values have in common.
type valueReader struct{ kbin.Reader }

// then ends a value: it has apply take over what was read, or returns an error.
func (r *valueReader) then(apply func()) error {
	if !r.Ok() {
		return kbin.ErrNotEnoughData
	}
	apply()
	return nil
}

// tags reads tagged fields; those that take does not know are passed over.
func (r *valueReader) tags(take func(tag uint32, field *valueReader)) {
	for n := r.Uvarint(); n > 0 && r.Ok(); n-- {
		tag, size := r.Uvarint(), r.Uvarint()
		field := &valueReader{Reader: kbin.Reader{Src: r.Span(int(size))}}
		if take != nil && r.Ok() {
			take(tag, field)
		}
	}
}

func (r *valueReader) strings() []string {
	n := r.CompactArrayLen()
	var list []string
	for ; n > 0 && r.Ok(); n-- {
		list = append(list, r.CompactString())
	}
	return list
}

func (r *valueReader) ints() []int32 {
	n := r.CompactArrayLen()
	var list []int32
	for ; n > 0 && r.Ok(); n-- {
		list = append(list, r.Int32())
	}
	return list
}

// partitions reads an assignment. Where there are to be epochs, those that a record of Kafka 4.2 or older lacks are 0.
func (r *valueReader) partitions(epochs bool) assignment {
	b := newAssignmentBuilder()
	for n := r.CompactArrayLen(); n > 0 && r.Ok(); n-- {
		topic, partitions := ids.TopicID(r.Uuid()), r.ints()
		var given []int32
		r.tags(func(tag uint32, field *valueReader) {
			if tag == tagAssignmentEpochs {
				given = field.ints()
			}
		})
		for i, p := range partitions {
			var epoch int32
			if i < len(given) {
				epoch = given[i]
			}
			b.add(topic, p, epoch)
		}
	}
	a := b.build()
	if !epochs {
		for i := range a {
			a[i].epochs = nil
		}
	}
	return a
}

func (r *valueReader) classicMetadata() *classicMetadata {
	c := &classicMetadata{sessionTimeoutMs: r.Int32()}
	for n := r.CompactArrayLen(); n > 0 && r.Ok(); n-- {
		p := kmsg.JoinGroupRequestProtocol{Name: r.CompactString(), Metadata: r.CompactBytes()}
		r.tags(nil)
		c.protocols = append(c.protocols, p)
	}
	r.tags(nil)
	if !r.Ok() || len(c.protocols) == 0 {
		return nil
	}
	return c
}
