package group

import (
	"maps"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/coordinator/runtime"
)

// A check that finds more than expiryBytesMax of keys goes on after expiryPause: its records are one batch, which
// must fit the topic, and the shard does nothing else meanwhile.
const (
	expiryBytesMax = 256 << 10
	expiryPause    = time.Second
)

// expiryDue returns when expireOffsets wants to be called next; the zero time while there is nothing that could
// expire, and where no interval is set. A shard that is empty forgets its rhythm, so that the next group has a whole interval before the first look at it.
func (s *Shard) expiryDue() time.Time {
	if len(s.groups) == 0 && len(s.consumers) == 0 && len(s.offsets.groups) == 0 || s.cfg().OffsetsCheckIntervalMs <= 0 && len(s.offsets.deleted) == 0 {
		s.offsets.nextCheck = time.Time{}
		return time.Time{}
	}
	if s.offsets.nextCheck.IsZero() || len(s.offsets.deleted) > 0 {
		return time.UnixMilli(0)
	}
	return s.offsets.nextCheck
}

// expireOffsets returns the records that remove what is too old, where it is time to look: offsets, and then groups that
// have neither offsets nor members (KIP-211). The first call only sets when to look.
// Java: GroupCoordinatorShard.cleanupGroupMetadata.
func (s *Shard) expireOffsets(now time.Time) []runtime.Record {
	if len(s.offsets.deleted) > 0 {
		return s.removeDeleted()
	}
	cfg := s.cfg()
	interval := time.Duration(cfg.OffsetsCheckIntervalMs) * time.Millisecond
	if now.Before(s.offsets.nextCheck) {
		return nil
	}
	first := s.offsets.nextCheck.IsZero()
	s.offsets.nextCheck = now.Add(interval)
	if first {
		return nil
	}
	e := offsetExpiry{nowMs: now.UnixMilli(), retentionMs: cfg.OffsetsRetentionMs}
	for _, name := range s.groupNames() {
		e.group(s, name)
		if e.bytes > expiryBytesMax {
			s.offsets.nextCheck = now.Add(min(interval, expiryPause))
			break
		}
	}
	return e.records
}

// offsetExpiry is one check.
type offsetExpiry struct {
	nowMs       int64
	retentionMs int64
	records     []runtime.Record
	bytes       int // of the keys of records
}

func (e *offsetExpiry) add(r runtime.Record) {
	e.records = append(e.records, r)
	e.bytes += len(r.Key)
}

// group checks one group. It may stop before its end, when the records are too many for one batch.
func (e *offsetExpiry) group(s *Shard, name string) {
	topics := s.offsets.groups[name]
	g, _ := s.group(name)
	rule, expires := g.retention()
	if !expires {
		return
	}
	stays := false
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		if readsTopic(g, topic) {
			continue // and the group stays, for it has members
		}
		var expired []int32
		for partition, c := range topics[topic] {
			if e.expired(c, rule) {
				expired = append(expired, partition)
			} else {
				stays = true
			}
		}
		slices.Sort(expired)
		for _, partition := range expired {
			if e.bytes > expiryBytesMax {
				return
			}
			e.add(offsetTombstone(name, topic, partition))
		}
	}
	if !stays && g.isEmpty() {
		for _, r := range g.tombstones() {
			e.add(r)
		}
	}
}

// expired tells whether an offset is too old. Java: OffsetExpirationConditionImpl.
func (e *offsetExpiry) expired(c *committedOffset, rule offsetRetention) bool {
	switch {
	case c.expireTimestampMs != noTimestamp:
		return e.nowMs >= c.expireTimestampMs
	case rule.sinceEmpty:
		return e.nowMs-rule.emptyMs >= e.retentionMs
	default:
		return e.nowMs-c.commitTimestampMs >= e.retentionMs
	}
}

// offsetRetention says from when on the offsets of a group age: from its last member's leaving, or each from its commit.
type offsetRetention struct {
	sinceEmpty bool
	emptyMs    int64 // where sinceEmpty
}

// Java: ClassicGroup.offsetExpirationCondition.
func (g *classicGroup) retention() (rule offsetRetention, expires bool) {
	switch {
	case g.protocolType() == "":
		return offsetRetention{}, true
	case g.isEmpty():
		since, known := g.emptySince()
		if !known {
			return offsetRetention{}, true
		}
		return offsetRetention{sinceEmpty: true, emptyMs: since.UnixMilli()}, true
	default:
		// Topics that the group does not read age while it does read others.
		return offsetRetention{}, g.protocolType() == consumerProtocolType && g.state == stateStable
	}
}

// retention: topics that nobody subscribes to age, whether or not there are members.
func (g *consumerGroup) retention() (rule offsetRetention, expires bool) {
	return offsetRetention{}, true
}

// groupNames returns the names of all groups, in order.
func (s *Shard) groupNames() []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(s.groups)), maps.Keys(s.consumers))
	slices.Sort(names)
	return names
}
