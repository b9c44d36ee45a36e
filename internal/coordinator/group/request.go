package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
)

// Request is one request of a client for one group of this shard. Where Kafka's message names several groups
// (DescribeGroups, ConsumerGroupDescribe, DeleteGroups, OffsetFetch v8), the caller makes one Request for each, with a message that names
// that one alone, and puts the answers together.
//
// Message is one of *kmsg.JoinGroupRequest, SyncGroupRequest, HeartbeatRequest, LeaveGroupRequest,
// OffsetCommitRequest, OffsetFetchRequest (always in the form of version 8: Groups of length one; the topic names are filled in
// where the client gave ids), DescribeGroupsRequest, DeleteGroupsRequest, OffsetDeleteRequest, ConsumerGroupHeartbeatRequest,
// ConsumerGroupDescribeRequest. The reply is the kmsg
// response of the same version; for OffsetFetch a response with Groups of length one.
type Request struct {
	ClientID   string
	ClientHost string // as Kafka prints it: "/127.0.0.1"
	Message    kmsg.Request
}

// ListGroups asks a shard for its groups, filtered as ListGroups v5 says. The reply is a []kmsg.ListGroupsResponseGroup.
type ListGroups struct {
	States []string // empty for all; compared without regard to case
	Types  []string
}

// TopicsDeleted tells a shard that topics are gone: their offsets go too. It has no reply.
type TopicsDeleted struct {
	Topics []DeletedTopic
}

// DeletedTopic is a topic of TopicsDeleted.
type DeletedTopic struct {
	Name string
	ID   ids.TopicID
}

// Config is what a shard needs of the broker's configuration; Kafka's names are in the comments. It may change between events.
type Config struct {
	MinSessionTimeoutMs     int32 // group.min.session.timeout.ms
	MaxSessionTimeoutMs     int32 // group.max.session.timeout.ms
	MaxSize                 int32 // group.max.size
	InitialRebalanceDelayMs int32 // group.initial.rebalance.delay.ms
	OffsetMetadataMaxBytes  int32 // offset.metadata.max.bytes
	OffsetsRetentionMs      int64 // offsets.retention.minutes
	OffsetsCheckIntervalMs  int64 // offsets.retention.check.interval.ms

	ConsumerSessionTimeoutMs       Bounded  // group.consumer.session.timeout.ms
	ConsumerHeartbeatIntervalMs    Bounded  // group.consumer.heartbeat.interval.ms
	ConsumerAssignmentIntervalMs   Bounded  // group.consumer.assignment.interval.ms
	ConsumerRegexRefreshIntervalMs int32    // group.consumer.regex.refresh.interval.ms
	ConsumerMaxSize                int32    // group.consumer.max.size
	ConsumerAssignors              []string // group.consumer.assignors; at least one
	ConsumerMigrationPolicy        string   // group.consumer.migration.policy
}

// Bounded is a setting that a group may change for itself, within bounds of the broker.
type Bounded struct {
	Default, Min, Max int32
}
