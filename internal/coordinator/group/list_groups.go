package group

import (
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// classicType is the type of classic groups in ListGroups (KIP-848).
const classicType = "classic"

// listGroups lists the groups of the states (KIP-518) and types that are asked for, by name.
func (s *Shard) listGroups(r *ListGroups) []kmsg.ListGroupsResponseGroup {
	listed := []kmsg.ListGroupsResponseGroup{}
	if !passes(r.Types, classicType) {
		return listed
	}
	for _, name := range slices.Sorted(maps.Keys(s.groups)) {
		g := s.groups[name]
		if !passes(r.States, string(g.state)) {
			continue
		}
		entry := kmsg.NewListGroupsResponseGroup()
		entry.Group, entry.ProtocolType = name, g.typ
		entry.GroupState, entry.GroupType = string(g.state), classicType
		listed = append(listed, entry)
	}
	return listed
}

// passes tells whether a filter is empty or has a value, in whatever case.
func passes(filter []string, value string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool {
		return strings.EqualFold(strings.TrimSpace(f), value)
	})
}
