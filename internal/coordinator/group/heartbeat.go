package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// heartbeat: v0-v4
//
//	v3 static members (KIP-345)
func (s *Shard) heartbeat(ev *event, m *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.Version = m.Version
	resp.ErrorCode = errorCode(s.beat(ev, m))
	return resp
}

// beat lets the session of a member go on, and tells it where it has to join again.
func (s *Shard) beat(ev *event, m *kmsg.HeartbeatRequest) error {
	if m.Group == "" {
		return kerr.InvalidGroupID
	}
	if g, ok := s.consumers[m.Group]; ok {
		return s.beatClassicMember(ev, g, m)
	}
	g, ok := s.groups[m.Group]
	if !ok {
		return kerr.UnknownMemberID
	}
	if err := g.checkMember(m.MemberID, m.InstanceID); err != nil {
		return err
	}
	if m.Generation != g.generation {
		return kerr.IllegalGeneration
	}
	g.refreshSession(g.byID[m.MemberID], ev.now)
	if g.state == statePreparingRebalance {
		return kerr.RebalanceInProgress
	}
	return nil
}
