package group

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaveGroup: v0-v5
//
//	v3 several members, static ones by their instance id alone too (KIP-345); v5 reason (KIP-800)
func (s *Shard) leaveGroup(ev *event, m *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	resp := kmsg.NewPtrLeaveGroupResponse()
	resp.Version = m.Version
	if m.Group == "" {
		resp.ErrorCode = kerr.InvalidGroupID.Code
		return resp
	}
	leaving := m.Members
	if m.Version < 3 {
		leaving = []kmsg.LeaveGroupRequestMember{{MemberID: m.MemberID}}
	}
	var errs []error
	if g, ok := s.consumers[m.Group]; ok {
		errs = s.leaveMembers(ev, g, leaving)
	} else {
		errs = s.leave(ev, s.groups[m.Group], leaving)
	}
	if m.Version < 3 {
		resp.ErrorCode = errorCode(errs[0])
		return resp
	}
	resp.Members = make([]kmsg.LeaveGroupResponseMember, len(leaving))
	for i := range leaving {
		resp.Members[i].Default()
		resp.Members[i].MemberID, resp.Members[i].InstanceID = leaving[i].MemberID, leaving[i].InstanceID
		resp.Members[i].ErrorCode = errorCode(errs[i])
	}
	return resp
}

// leave removes members from a group, which may be nil, and gives an error, or nil, for each.
func (s *Shard) leave(ev *event, g *classicGroup, leaving []kmsg.LeaveGroupRequestMember) []error {
	errs := make([]error, len(leaving))
	left, reason := 0, ""
	for i := range leaving {
		who, err := g.whoLeaves(&leaving[i])
		if err != nil {
			errs[i] = err
			continue
		}
		if m := g.byID[who]; m != nil {
			s.removeMember(ev, g, m)
		}
		g.dropPending(who)
		if left++; left == 1 {
			reason = fmt.Sprintf("member %s left; client reason: %s", who, clientReason(leaving[i].Reason))
		}
	}
	if left > 1 {
		reason = fmt.Sprintf("%s; %d more left with it", reason, left-1)
	}
	if left > 0 {
		s.afterRemoval(ev, g, reason)
	}
	return errs
}

// whoLeaves returns the id of a member, or of one that has not joined yet, that a request names.
func (g *classicGroup) whoLeaves(leaving *kmsg.LeaveGroupRequestMember) (string, error) {
	if g == nil {
		return "", kerr.UnknownMemberID
	}
	if leaving.MemberID == "" { // an operator removes a static member
		if leaving.InstanceID == nil {
			return "", kerr.UnknownMemberID
		}
		id, ok := g.static[*leaving.InstanceID]
		if !ok {
			return "", kerr.UnknownMemberID
		}
		return id, nil
	}
	if _, ok := g.pending[leaving.MemberID]; ok {
		return leaving.MemberID, nil
	}
	return leaving.MemberID, g.checkMember(leaving.MemberID, leaving.InstanceID)
}
