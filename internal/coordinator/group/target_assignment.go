package group

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// targetDue tells whether a target may be made at a time: two have an interval between them, so that members
// who come one after the other do not each cost one (KIP-1263). Java: GroupMetadataManager.maybeUpdateTargetAssignment.
func (g *consumerGroup) targetDue(intervalMs int32, now time.Time) bool {
	elapsed := now.UnixMilli() - g.targetMs
	return g.targetMs == 0 || elapsed >= int64(intervalMs) || elapsed < 0
}

// makeTarget writes the target of an epoch, which is that of changed.
func (s *Shard) makeTarget(ev *event, g *consumerGroup, changed *groupChange, epoch int32) assignment {
	name := changed.preferredAssignor(s.assignors())
	spec, members := changed.spec(s.image())
	made := assignors[name](spec)
	records := 0
	var own assignment
	for i, m := range members {
		if m == changed.member {
			own = made[i]
		}
		if before, ok := changed.target(m); !ok || !before.equal(made[i]) {
			ev.write(g.targetRecord(m.id, made[i]))
			records++
		}
	}
	ev.write(g.targetEpochRecord(epoch, ev.now.UnixMilli()))
	s.logger.Debug("a group has a new target", "group", g.name, "epoch", epoch, "assignor", name, "members", len(members), "moved", records)
	return own
}

// assignors returns those that may be asked for. The first is for groups that ask for none.
func (s *Shard) assignors() []string {
	return slices.DeleteFunc(slices.Clone(s.cfg().ConsumerAssignors), func(name string) bool { return assignors[name] == nil })
}

// preferredAssignor returns what most members ask for that ask at all.
func (c *groupChange) preferredAssignor(known []string) string {
	votes := make(map[string]int)
	for m := range c.members() {
		if m.assignor != nil && slices.Contains(known, *m.assignor) {
			votes[*m.assignor]++
		}
	}
	if len(votes) == 0 {
		return known[0]
	}
	return slices.MaxFunc(slices.Sorted(maps.Keys(votes)), func(a, b string) int { return cmp.Compare(votes[a], votes[b]) })
}
