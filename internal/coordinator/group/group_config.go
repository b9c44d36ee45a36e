package group

import (
	"strconv"

	"github.com/moldau/moldau/internal/metadata"
)

// Names of what a consumer group may set for itself: configurations of the resource type GROUP.
const (
	SessionTimeoutMs     = "consumer.session.timeout.ms"
	HeartbeatIntervalMs  = "consumer.heartbeat.interval.ms"
	AssignmentIntervalMs = "consumer.assignment.interval.ms"
)

// groupConfig is what holds for one group.
type groupConfig struct {
	sessionTimeoutMs, heartbeatIntervalMs, assignmentIntervalMs int32
}

func (s *Shard) groupConfig(name string) groupConfig {
	cfg := s.cfg()
	set := s.image().Config(metadata.ConfigResource{Type: metadata.ResourceGroup, Name: name})
	return groupConfig{
		sessionTimeoutMs:     cfg.ConsumerSessionTimeoutMs.of(set[SessionTimeoutMs]),
		heartbeatIntervalMs:  cfg.ConsumerHeartbeatIntervalMs.of(set[HeartbeatIntervalMs]),
		assignmentIntervalMs: cfg.ConsumerAssignmentIntervalMs.of(set[AssignmentIntervalMs]),
	}
}

// of returns what a group has set, where it has. The bounds may be others than when it did.
func (b Bounded) of(set string) int32 {
	n, err := strconv.ParseInt(set, 10, 32)
	if err != nil {
		return b.Default
	}
	return max(b.Min, min(int32(n), b.Max))
}
