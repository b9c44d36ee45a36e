package group

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// classicType is the type of classic groups in ListGroups (KIP-848).
const classicType = "classic"

// listGroups lists the groups of the states (KIP-518) and types that are asked for, by name.
func (s *Shard) listGroups(r *ListGroups) []kmsg.ListGroupsResponseGroup {
	listed := []kmsg.ListGroupsResponseGroup{}
	for _, name := range s.groupNames() {
		entry := kmsg.NewListGroupsResponseGroup()
		entry.Group = name
		if g, ok := s.groups[name]; ok {
			entry.ProtocolType, entry.GroupState, entry.GroupType = g.typ, string(g.state), classicType
		} else {
			entry.ProtocolType, entry.GroupState, entry.GroupType = consumerProtocolType, string(s.consumers[name].state()), consumerType
		}
		if passes(r.Types, entry.GroupType) && passes(r.States, entry.GroupState) {
			listed = append(listed, entry)
		}
	}
	return listed
}

// passes tells whether a filter is empty or has a value, in whatever case.
func passes(filter []string, value string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool {
		return strings.EqualFold(strings.TrimSpace(f), value)
	})
}
