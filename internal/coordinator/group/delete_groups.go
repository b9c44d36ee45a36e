package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// deleteGroups: v0-v2 (KIP-229). A group goes with its offsets, where it has no members.
func (s *Shard) deleteGroups(ev *event, m *kmsg.DeleteGroupsRequest) *kmsg.DeleteGroupsResponse {
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Version = m.Version
	for _, name := range m.Groups {
		deleted := kmsg.NewDeleteGroupsResponseGroup()
		deleted.Group = name
		switch g, ok := s.group(name); {
		case !ok:
			deleted.ErrorCode = kerr.GroupIDNotFound.Code
		case !g.isEmpty():
			deleted.ErrorCode = kerr.NonEmptyGroup.Code
		default:
			ev.write(s.offsetTombstones(name)...)
			ev.write(g.tombstones()...)
		}
		resp.Groups = append(resp.Groups, deleted)
	}
	return resp
}
