package controller

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// recordsMax bounds what one request may change (Java: MAX_RECORDS_PER_USER_OP).
const recordsMax = 10_000

// configValueBytesMax is what a string of the older protocol versions can hold.
const configValueBytesMax = 32767

// ConfigSchema knows the configurations of topics, brokers and groups: their names, types,
// ranges and defaults.
type ConfigSchema interface {
	// ValidateTopic judges everything that is set for a topic. The error's text goes to the client.
	ValidateTopic(name string, overrides map[string]string) error
	// ValidateBroker judges everything that is set dynamically for one broker, or for
	// all of them where clusterDefault is true. The error's text goes to the client.
	ValidateBroker(clusterDefault bool, overrides map[string]string) error
	// ValidateGroup judges everything that is set for a group. The error's text goes to the client.
	ValidateGroup(overrides map[string]string) error
	// TopicConfigs lists every configuration of a topic for which overrides is set.
	TopicConfigs(overrides map[string]string) []TopicConfig
	// IsList tells whether a configuration is a list that can be appended to, and
	// whether the name is known at all.
	IsList(resourceType int8, name string) (list, known bool)
	// ListDefault is what a list holds by default, elements separated by commas: the
	// base of an APPEND or SUBTRACT where nothing is set.
	ListDefault(resourceType int8, name string) string
	// MinISR is min.insync.replicas of a topic of that many replicas for which overrides is set.
	MinISR(overrides map[string]string, replicas int) int
	// UncleanElection is unclean.leader.election.enable of a topic for which overrides is set.
	UncleanElection(overrides map[string]string) bool
}

// TopicConfig is one configuration of a topic as CreateTopics answers it. Source is
// one of Kafka's ConfigSource numbers.
type TopicConfig = struct {
	Name                string
	Value               *string
	Source              int8
	ReadOnly, Sensitive bool
}

// CoreConfig is what the decisions depend on besides the metadata.
type CoreConfig struct {
	NumPartitions     int32 // num.partitions
	ReplicationFactor int16 // default.replication.factor
	DeleteTopicEnable bool  // delete.topic.enable

	ReplicationMax  int16         // the highest replication factor that is granted, 0 for any
	SessionTimeout  time.Duration // broker.session.timeout.ms: silence of that length fences a broker; positive
	BalanceInterval time.Duration // leader.imbalance.check.interval.seconds, 0 where leaders are not balanced
}

// Core decides. Its methods take a request and return the response and the records
// that make the response true; they change nothing but what is known of the brokers'
// sessions. Whoever takes the records calls Accept, in the order of the decisions.
// Times only ever go forward.
type Core struct {
	config CoreConfig
	schema ConfigSchema
	newID  func() ids.UUID // makes topic ids

	// committed is the image that this node has applied, pending the one after every
	// record accepted since. Each decision is made on pending.
	committed, pending *metadata.Image

	// placed counts the partitions placed so far, the state of the round robin.
	placed int

	sessions map[ids.NodeID]*session
	looked   time.Time // the last Look
	balanced time.Time // when Balance last had nothing left to do
}

// NewCore returns a Core that knows an empty image. newID makes the ids of topics.
func NewCore(config CoreConfig, schema ConfigSchema, newID func() ids.UUID) *Core {
	c := &Core{config: config, schema: schema, newID: newID, sessions: make(map[ids.NodeID]*session)}
	c.Reset(metadata.NewDelta(nil).Apply(0, 0))
	return c
}

// Reset drops every decision that img does not hold.
func (c *Core) Reset(img *metadata.Image) {
	c.committed, c.pending = img, img
	c.placed = img.PartitionCount()
	for _, s := range c.sessions {
		s.silent, s.left = false, 0
	}
}

// Commit takes the image after one entry of this Core's own records. Where last is
// true nothing else is in flight, so that it is the pending image too.
func (c *Core) Commit(img *metadata.Image, last bool) {
	c.committed = img
	if last {
		c.pending = img
	}
}

// Pending returns the image that decisions are made on.
func (c *Core) Pending() *metadata.Image { return c.pending }

// Accept makes the records of a decision part of the pending image, as part of the
// entry that will have offset. An error means a bug in the decision: its records
// must not be proposed.
func (c *Core) Accept(recs []metadata.Record, offset ids.Offset, epoch ids.LeaderEpoch) error {
	d := metadata.NewDelta(c.pending)
	for _, rec := range recs {
		if err := d.Replay(rec); err != nil {
			return err
		}
		if need, level := metadata.Level(rec), max(d.Level(), 1); need > level {
			return fmt.Errorf("%T needs %s %d, the cluster has %d", rec, metadata.VersionFeature, need, level)
		}
		if _, ok := rec.(*metadata.PartitionRecord); ok {
			c.placed++
		}
	}
	c.pending = d.Apply(offset, epoch)
	return nil
}

// Bootstrap returns the records of the first entry of a cluster, none where it has been.
func (c *Core) Bootstrap(clusterID string, voters []metadata.Voter) []metadata.Record {
	if c.pending.ClusterID() != "" {
		return nil
	}
	recs := []metadata.Record{&metadata.ClusterRecord{ClusterID: clusterID, Voters: voters}}
	for _, f := range metadata.SupportedFeatures() {
		recs = append(recs, &metadata.FeatureLevelRecord{Name: f.Name, FeatureLevel: f.Max})
	}
	return recs
}

// level is the finalized level of moldau.version.
func (c *Core) level() int16 { return c.pending.Features()[metadata.VersionFeature] }

// replicates tells whether brokers are fenced and leaders elected: the records of that
// are of moldau.version 2.
func (c *Core) replicates() bool { return c.level() >= metadata.ReplicationVersion }

// Refusal is why a request, or a part of one, is not granted: the code that the
// client gets and a text for people.
type Refusal struct {
	Code    *kerr.Error
	Message string
}

func (r *Refusal) Error() string { return r.Code.Message + ": " + r.Message }

// Unwrap makes errors.Is find the Kafka error.
func (r *Refusal) Unwrap() error { return r.Code }

func refuse(code *kerr.Error, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, args...)}
}

// wire returns what a response says: code 0 and no text where r is nil.
func (r *Refusal) wire() (int16, *string) {
	if r == nil {
		return 0, nil
	}
	return r.Code.Code, &r.Message
}

func refuseTooMany(count int) *Refusal {
	return refuse(kerr.PolicyViolation, "the request makes %d changes, at most %d are allowed at once: send several smaller requests",
		count, recordsMax)
}
