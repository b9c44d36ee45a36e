package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/coordinator/group"
)

// groupSettings are the settings of a group, in the order of the alphabet (GroupConfig). A broker's setting gives each its
// default, and two more of the broker its bounds: boundNames.
var groupSettings = []Setting{
	{Name: group.AssignmentIntervalMs, Type: Int, Unit: "ms", Default: "1000", Valid: atLeast(0), Synonyms: []string{"group.consumer.assignment.interval.ms"},
		Doc: "How long the coordinator waits between two assignments of the group (KIP-1263)."},
	{Name: group.HeartbeatIntervalMs, Type: Int, Unit: "ms", Default: "5000", Valid: atLeast(1), Synonyms: []string{"group.consumer.heartbeat.interval.ms"},
		Doc: "How often members of the consumer protocol send heartbeats."},
	{Name: group.SessionTimeoutMs, Type: Int, Unit: "ms", Default: "45000", Valid: atLeast(1), Synonyms: []string{"group.consumer.session.timeout.ms"},
		Doc: "A member of the consumer protocol that is silent for this long is removed."},
}

// boundNames returns the broker's settings that bound the one called name.
func boundNames(name string) (least, most string) {
	rest := strings.TrimPrefix(name, "group.consumer.")
	return "group.consumer.min." + rest, "group.consumer.max." + rest
}

func (v *values) bounded(name string) group.Bounded {
	least, most := boundNames(name)
	return group.Bounded{Default: int32(v.number(name)), Min: int32(v.number(least)), Max: int32(v.number(most))}
}

// checkBounds judges whether a value is between the bounds of a broker's setting.
func (v *values) checkBounds(name, broker string, n int64) error {
	least, most := boundNames(broker)
	switch {
	case n < v.number(least):
		return fmt.Errorf("%s=%d is less than %s=%d", name, n, least, v.number(least))
	case n > v.number(most):
		return fmt.Errorf("%s=%d is more than %s=%d", name, n, most, v.number(most))
	}
	return nil
}

// checkGroups judges what the settings of consumer groups say together.
func (b *Broker) checkGroups() error {
	for i := range groupSettings {
		name := groupSettings[i].Synonyms[0]
		if err := b.values.checkBounds(name, name, b.values.number(name)); err != nil {
			return err
		}
	}
	if len(b.Groups.ConsumerAssignors) == 0 {
		return errors.New("group.consumer.assignors is empty, but has to name an assignor")
	}
	if c := &b.Groups; c.ConsumerHeartbeatIntervalMs.Default >= c.ConsumerSessionTimeoutMs.Default {
		return fmt.Errorf("group.consumer.heartbeat.interval.ms=%d has to be less than group.consumer.session.timeout.ms=%d",
			c.ConsumerHeartbeatIntervalMs.Default, c.ConsumerSessionTimeoutMs.Default)
	}
	return nil
}

// ValidateGroup judges everything that is set for a group.
func (s *Schema) ValidateGroup(overrides map[string]string) error {
	v := &s.current().values
	ms := make(map[string]int64, len(groupSettings))
	for i := range groupSettings {
		row := &groupSettings[i]
		ms[row.Name] = v.number(row.Synonyms[0])
	}
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		row := groupByName[name]
		if row == nil {
			return unknown("group", name, groupNames)
		}
		parsed, err := row.parse(overrides[name])
		if err != nil {
			return err
		}
		if err := v.checkBounds(name, row.Synonyms[0], parsed.n); err != nil {
			return err
		}
		ms[name] = parsed.n
	}
	if ms[group.HeartbeatIntervalMs] >= ms[group.SessionTimeoutMs] {
		return fmt.Errorf("%s=%d has to be less than %s=%d",
			group.HeartbeatIntervalMs, ms[group.HeartbeatIntervalMs], group.SessionTimeoutMs, ms[group.SessionTimeoutMs])
	}
	return nil
}
