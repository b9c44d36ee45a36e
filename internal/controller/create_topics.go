package controller

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/metadata"
)

// CreateTopics decides on versions 2 to 7.
//
// What is checked, in the order in which one error hides another (Java: ControllerApis,
// ReplicationControlManager.createTopics): duplicates in the request, the size of the
// request, the name, collisions with existing topics, existence, configurations,
// assignments or counts, placement, the number of records. Two topics of one request
// may collide with each other, as in Kafka. Answers come in the order of the request,
// duplicates last.
func (c *Core) CreateTopics(req *kmsg.CreateTopicsRequest) (*kmsg.CreateTopicsResponse, []metadata.Record) {
	resp := kmsg.NewPtrCreateTopicsResponse()
	topics, duplicates := withoutDuplicates(req.Topics, func(t *kmsg.CreateTopicsRequestTopic) string { return t.Topic })
	prohibited := slices.IndexFunc(topics, func(t *kmsg.CreateTopicsRequestTopic) bool { return t.Topic == metadataTopic })
	if prohibited >= 0 {
		topics = slices.Delete(topics, prohibited, prohibited+1)
	}
	if n := c.countPartitions(topics); n > recordsMax {
		return CreateTopicsRefused(req, refuseTooMany(n)), nil
	}
	var recs []metadata.Record
	placed := c.placed
	for _, t := range topics {
		result, made, refusal := c.createTopic(t, placed, req.Version >= 5)
		if refusal != nil {
			resp.Topics = append(resp.Topics, createTopicRefused(t.Topic, refusal))
			continue
		}
		resp.Topics = append(resp.Topics, result)
		recs = append(recs, made...)
		placed += int(result.NumPartitions)
		if len(recs) > recordsMax {
			return CreateTopicsRefused(req, refuseTooMany(len(recs))), nil
		}
	}
	for _, name := range duplicates {
		resp.Topics = append(resp.Topics, createTopicRefused(name, refuse(kerr.InvalidRequest, "topic %q is in the request more than once", name)))
	}
	if prohibited >= 0 {
		resp.Topics = append(resp.Topics, createTopicRefused(metadataTopic, refuse(kerr.InvalidRequest, "topic %s is the controller's own and cannot be created", metadataTopic)))
	}
	if req.ValidateOnly {
		recs = nil
	}
	return resp, recs
}

// withoutDuplicates returns the elements whose names are in the list once, in order,
// and each name that is in it more often, once.
func withoutDuplicates[T any](list []T, name func(*T) string) (single []*T, duplicates []string) {
	count := make(map[string]int, len(list))
	for i := range list {
		n := name(&list[i])
		if count[n]++; count[n] == 2 {
			duplicates = append(duplicates, n)
		}
	}
	for i := range list {
		if count[name(&list[i])] == 1 {
			single = append(single, &list[i])
		}
	}
	return single, duplicates
}

func (c *Core) countPartitions(topics []*kmsg.CreateTopicsRequestTopic) int {
	total := 0
	for _, t := range topics {
		switch {
		case len(t.ReplicaAssignment) > 0:
			total += len(t.ReplicaAssignment)
		case t.NumPartitions == -1:
			total += int(c.config.NumPartitions)
		case t.NumPartitions > 0:
			total += int(t.NumPartitions)
		}
	}
	return total
}

// createTopic decides on one topic; placed counts the partitions placed before it, and
// describe tells whether the answer shows its configurations.
func (c *Core) createTopic(t *kmsg.CreateTopicsRequestTopic, placed int, describe bool) (kmsg.CreateTopicsResponseTopic, []metadata.Record, *Refusal) {
	none := kmsg.CreateTopicsResponseTopic{}
	if refusal := c.checkNewTopic(t.Topic); refusal != nil {
		return none, nil, refusal
	}
	configs, refusal := c.newTopicConfigs(t)
	if refusal != nil {
		return none, nil, refusal
	}
	parts, refusal := c.newTopicPartitions(t, placed)
	if refusal != nil {
		return none, nil, refusal
	}
	id := c.newID()
	recs := make([]metadata.Record, 0, 1+len(configs)+len(parts))
	recs = append(recs, &metadata.TopicRecord{Name: t.Topic, TopicID: id})
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		value := configs[name]
		recs = append(recs, &metadata.ConfigRecord{
			Resource: metadata.ConfigResource{Type: metadata.ResourceTopic, Name: t.Topic}, Name: name, Value: &value,
		})
	}
	recs = append(recs, partitionRecords(id, 0, parts)...)

	result := kmsg.NewCreateTopicsResponseTopic()
	result.Topic = t.Topic
	result.TopicID = id
	result.NumPartitions = int32(len(parts))
	result.ReplicationFactor = int16(len(parts[0].Replicas))
	if describe {
		result.Configs = c.describeNewTopic(configs, len(parts[0].Replicas))
	}
	return result, recs, nil
}

func (c *Core) checkNewTopic(name string) *Refusal {
	if refusal := checkTopicName(name); refusal != nil {
		return refusal
	}
	if _, ok := c.pending.Topic(name); ok {
		return refuse(kerr.TopicAlreadyExists, "topic %q exists already", name)
	}
	if other, ok := collidingTopic(c.pending, name); ok {
		return refuse(kerr.InvalidTopicException, "topic %q collides with topic %q: '.' and '_' are the same in names of metrics", name, other)
	}
	return nil
}

// newTopicConfigs returns what is set for a new topic. Of a name that is there twice
// the last value holds.
func (c *Core) newTopicConfigs(t *kmsg.CreateTopicsRequestTopic) (map[string]string, *Refusal) {
	configs := make(map[string]string, len(t.Configs))
	var nulls []string
	for i := range t.Configs {
		cfg := &t.Configs[i]
		switch {
		case cfg.Value == nil:
			nulls = append(nulls, cfg.Name)
		case len(*cfg.Value) > configValueBytesMax:
			return nil, refuseLongValue(cfg.Name, len(*cfg.Value))
		default:
			configs[cfg.Name] = *cfg.Value
		}
	}
	if nulls != nil {
		return nil, refuse(kerr.InvalidConfig, "topic %q is given no value for %s", t.Topic, strings.Join(nulls, ", "))
	}
	if len(configs) == 0 {
		return nil, nil
	}
	if err := c.schema.ValidateTopic(t.Topic, configs); err != nil {
		return nil, refuse(kerr.InvalidConfig, "%v", err)
	}
	return configs, nil
}

func refuseLongValue(name string, size int) *Refusal {
	return refuse(kerr.InvalidConfig, "the value of %s has %d bytes, at most %d are allowed", name, size, configValueBytesMax)
}

func (c *Core) newTopicPartitions(t *kmsg.CreateTopicsRequestTopic, placed int) ([]metadata.Partition, *Refusal) {
	if len(t.ReplicaAssignment) > 0 {
		return c.assignedPartitions(t)
	}
	factor, count := t.ReplicationFactor, t.NumPartitions
	if factor == 0 || factor < -1 {
		return nil, refuse(kerr.InvalidReplicationFactor, "replication factor %d is not positive; -1 stands for the default", factor)
	}
	if count == 0 || count < -1 {
		return nil, refuse(kerr.InvalidPartitions, "partition count %d is not positive; -1 stands for the default", count)
	}
	if factor == -1 {
		factor = c.config.ReplicationFactor
	}
	if count == -1 {
		count = c.config.NumPartitions
	}
	return c.place(int(count), factor, placed)
}

func (c *Core) assignedPartitions(t *kmsg.CreateTopicsRequestTopic) ([]metadata.Partition, *Refusal) {
	if t.ReplicationFactor != -1 {
		return nil, refuse(kerr.InvalidRequest, "partitions are assigned by hand, so the replication factor must be -1, not %d", t.ReplicationFactor)
	}
	if t.NumPartitions != -1 {
		return nil, refuse(kerr.InvalidRequest, "partitions are assigned by hand, so their number must be -1, not %d", t.NumPartitions)
	}
	parts := make([]metadata.Partition, len(t.ReplicaAssignment))
	assigned := make(map[int32]bool, len(parts))
	factor := 0
	for i := range t.ReplicaAssignment {
		a := &t.ReplicaAssignment[i]
		if assigned[a.Partition] {
			return nil, refuse(kerr.InvalidReplicaAssignment, "partition %d is assigned twice", a.Partition)
		}
		assigned[a.Partition] = true
		p, refusal := c.assign(a.Replicas, factor)
		if refusal != nil {
			return nil, refusal
		}
		factor = len(a.Replicas)
		if a.Partition >= 0 && int(a.Partition) < len(parts) {
			parts[a.Partition] = p
		}
	}
	for i := range parts {
		if !assigned[int32(i)] {
			return nil, refuse(kerr.InvalidReplicaAssignment, "partition %d is not assigned: partitions are numbered from 0 without gaps", i)
		}
	}
	return parts, nil
}

// minISRConfig is the one configuration whose default depends on the topic.
const minISRConfig = "min.insync.replicas"

// sourceDefault is Kafka's ConfigSource of a default.
const sourceDefault int8 = 5

// describeNewTopic returns the configurations that the answer of version 5 and later
// shows (KIP-525), sorted by name.
func (c *Core) describeNewTopic(overrides map[string]string, factor int) []kmsg.CreateTopicsResponseTopicConfig {
	all := c.schema.TopicConfigs(overrides)
	out := make([]kmsg.CreateTopicsResponseTopicConfig, len(all))
	for i := range all {
		cfg := kmsg.NewCreateTopicsResponseTopicConfig()
		cfg.Name, cfg.Value, cfg.Source = all[i].Name, all[i].Value, all[i].Source
		cfg.ReadOnly, cfg.IsSensitive = all[i].ReadOnly, all[i].Sensitive
		if cfg.Name == minISRConfig && cfg.Source == sourceDefault {
			value := strconv.Itoa(metadata.DefaultMinISR(factor))
			cfg.Value = &value
		}
		if cfg.IsSensitive {
			cfg.Value = nil
		}
		out[i] = cfg
	}
	slices.SortFunc(out, func(a, b kmsg.CreateTopicsResponseTopicConfig) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func createTopicRefused(name string, refusal *Refusal) kmsg.CreateTopicsResponseTopic {
	t := kmsg.NewCreateTopicsResponseTopic()
	t.Topic = name
	t.ErrorCode, t.ErrorMessage = refusal.wire()
	t.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
	return t
}

// CreateTopicsRefused answers every topic of a request alike.
func CreateTopicsRefused(req *kmsg.CreateTopicsRequest, refusal *Refusal) *kmsg.CreateTopicsResponse {
	resp := kmsg.NewPtrCreateTopicsResponse()
	for i := range req.Topics {
		resp.Topics = append(resp.Topics, createTopicRefused(req.Topics[i].Topic, refusal))
	}
	return resp
}
