package group

import (
	"slices"

	"github.com/moldau/moldau/internal/ids"
)

// memberState is how far a member of a consumer group is with its target; the numbers are Kafka's, in its records.
type memberState int8

const (
	// memberStable: the member has what it is to have.
	memberStable memberState = 0
	// memberUnrevoked: the member was told to give up partitions and has not yet said that it has. It stays in its epoch.
	memberUnrevoked memberState = 1
	// memberUnreleased: partitions of the member's target are with others still.
	memberUnreleased memberState = 2
)

// reconciliation is one step of a member to the target assignment of its group. Nothing is given to a member
// before whoever had it has said that it is given up: at any moment a partition belongs to at most one member.
// Java: CurrentAssignmentBuilder.
type reconciliation struct {
	targetEpoch int32
	target      assignment
	// subscribed tells whether the member subscribes to a topic, which the target may not know of yet.
	subscribed func(ids.TopicID) bool
	// changed: the subscription is not what it was when the target was made.
	changed bool
	// owned is what the member says it has; nil where it does not say.
	owned *assignment
	// free tells whether no member has a partition.
	free func(ids.TopicID, int32) bool
}

// next returns the member after the step: m itself where nothing changes.
func (r *reconciliation) next(m *consumerMember) *consumerMember {
	switch {
	case m.state == memberStable && m.epoch == r.targetEpoch, m.state == memberUnrevoked && r.owns(m.revoking):
		if r.changed {
			return r.narrow(m)
		}
		return m
	default:
		return r.step(m)
	}
}

// owns tells whether the member has, as far as is known, any of these partitions.
func (r *reconciliation) owns(partitions assignment) bool {
	return r.owned == nil || r.owned.overlaps(partitions)
}

// narrow takes away topics that the member no longer subscribes to, before there is a target that does.
func (r *reconciliation) narrow(m *consumerMember) *consumerMember {
	kept, gone := m.assigned.split(func(topic ids.TopicID, _ int32) bool { return r.subscribed(topic) })
	if len(gone) == 0 {
		return m
	}
	revoking := m.revoking.union(gone)
	next := *m
	next.assigned = kept
	next.enter(m.epoch)
	if r.owns(revoking) {
		next.state, next.revoking = memberUnrevoked, revoking
	}
	return &next
}

// step moves the member as far towards the target as it can go now.
func (r *reconciliation) step(m *consumerMember) *consumerMember {
	target, _ := r.target.split(func(topic ids.TopicID, _ int32) bool { return r.subscribed(topic) })
	kept, revoking := m.assigned.split(func(topic ids.TopicID, p int32) bool { return target.topic(topic).has(p) })
	next := *m
	next.assigned = kept
	if len(revoking) > 0 && r.owns(revoking) {
		next.state, next.revoking = memberUnrevoked, revoking
		next.enter(m.epoch)
		return &next
	}
	_, missing := target.split(func(topic ids.TopicID, p int32) bool { return kept.topic(topic).has(p) })
	// What the member itself was to give up, and has, it can have back.
	available, held := missing.split(func(topic ids.TopicID, p int32) bool {
		return r.free(topic, p) || m.revoking.topic(topic).has(p)
	})
	next.state, next.revoking = memberStable, nil
	if len(held) > 0 {
		next.state = memberUnreleased
	}
	next.assigned = kept.union(available.given(r.targetEpoch))
	next.enter(r.targetEpoch)
	return &next
}

// enter puts the member into an epoch. The one before is remembered for as long as the answer may have been lost.
func (m *consumerMember) enter(epoch int32) { m.previousEpoch, m.epoch = m.epoch, epoch }

// sameProgress tells whether the fields that a reconciliation changes are equal.
func (m *consumerMember) sameProgress(other *consumerMember) bool {
	return m.epoch == other.epoch && m.previousEpoch == other.previousEpoch && m.state == other.state &&
		m.assigned.same(other.assigned) && m.revoking.same(other.revoking)
}

// reconciled tells whether a member has the target of an epoch.
func (m *consumerMember) reconciled(epoch int32) bool {
	return m.state == memberStable && m.epoch == epoch
}

// withoutDuplicates returns a sorted copy of names.
func withoutDuplicates(names []string) []string {
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}
