package group

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeGroups: v0-v6
//
//	v4 instance ids (KIP-345); v6 GROUP_ID_NOT_FOUND (KIP-1043): before, a group that there is not is Dead
//
// The authorized operations of version 3 are the caller's to fill in.
func (s *Shard) describeGroups(m *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse {
	resp := kmsg.NewPtrDescribeGroupsResponse()
	resp.Version = m.Version
	for _, name := range m.Groups {
		resp.Groups = append(resp.Groups, s.describe(name, m.Version))
	}
	return resp
}

func (s *Shard) describe(name string, version int16) kmsg.DescribeGroupsResponseGroup {
	resp := kmsg.NewDescribeGroupsResponseGroup()
	resp.Group = name
	g, ok := s.groups[name]
	if !ok {
		resp.State = string(stateDead)
		if version >= 6 {
			resp.ErrorCode = kerr.GroupIDNotFound.Code
			resp.ErrorMessage = kmsg.StringPtr(fmt.Sprintf("group %q does not exist", name))
			if s.consumers[name] != nil {
				resp.ErrorMessage = kmsg.StringPtr(fmt.Sprintf("Group %s is not a classic group.", name))
			}
		}
		return resp
	}
	resp.State, resp.ProtocolType = string(g.state), g.typ
	stable := g.state == stateStable
	if stable {
		resp.Protocol = *g.protocol
	}
	for _, m := range g.members {
		described := kmsg.NewDescribeGroupsResponseGroupMember()
		described.MemberID, described.InstanceID = m.id, m.instanceID
		described.ClientID, described.ClientHost = m.clientID, m.clientHost
		described.MemberAssignment = m.assignment
		if stable {
			described.ProtocolMetadata = m.metadata(g.protocol)
		}
		resp.Members = append(resp.Members, described)
	}
	return resp
}
