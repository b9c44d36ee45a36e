package config

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moldau/moldau/internal/coordinator/group"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/peer"
)

// Listener is one address to listen on or to tell clients.
type Listener struct {
	Name string // in capitals
	Host string // without brackets; "" is every interface, or, advertised, this machine's name
	Port int32  // 0 lets the system choose
}

// Address returns HOST:PORT as package net takes it.
func (l Listener) Address() string {
	return net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port)))
}

func (l Listener) String() string { return l.Name + "://" + l.Address() }

// Broker is the configuration of one broker, with the dynamic configs that With laid
// over the static ones. It is immutable.
type Broker struct {
	NodeID ids.NodeID
	Rack   string // "" where none is set
	Roles  Roles

	Listeners           []Listener // to open, those of controllers not among them; none of a controller alone
	Advertised          []Listener // in the order of Listeners
	ControllerListeners []Listener // to open but on a lone node
	ControllerAt        Listener   // where advertised.listeners has other nodes reach a controller alone; zero where it does not say
	InterBrokerListener string
	Voters              []Voter       // all, this node among them if it is a controller; where a controller names none it is the only one, and its Host is ""
	Bootstrap           []string      // HOST:PORT of controllers, where a broker names no Voters
	Secret              peer.Secret   // of cluster.secret.file
	SessionTimeout      time.Duration // a broker that is silent for longer is fenced
	HeartbeatInterval   time.Duration

	LogDirs        []string
	MetadataLogDir string // of a broker alone, which has no metadata log, the directory by whose id it goes

	NumPartitions            int32
	DefaultReplicationFactor int16
	AutoCreateTopics         bool
	DeleteTopicEnable        bool

	OffsetsTopicPartitions        int32
	OffsetsTopicReplicationFactor int16
	OffsetsTopicSegmentBytes      int32
	Groups                        group.Config
	ConsumerProtocol              bool // group.coordinator.rebalance.protocols has consumer

	ConnectionsMaxIdle    time.Duration // 0 is for ever
	SocketRequestMaxBytes int32
	MaxConnections        int32
	MaxConnectionsPerIP   int32
	MaxConnectionsByIP    map[string]int32 // overrides of MaxConnectionsPerIP; never changed

	FetchMaxBytes     int32
	FetchSessionSlots int32

	RecoveryThreads               int
	RetentionCheckInterval        time.Duration
	FlushCheckInterval            time.Duration // 0 is never
	RecoveryCheckpointInterval    time.Duration
	StartOffsetCheckpointInterval time.Duration
	HighWatermarkCheckpoint       time.Duration
	SnapshotBytes                 int64 // metadata.log.max.record.bytes.between.snapshots
	ProducerIDExpirationMs        int64
	Cleaner                       log.CleanerConfig
	Replication                   Replication

	// WithoutEffect are the names that were given and do nothing yet, sorted.
	WithoutEffect []string
	// Warnings are sentences about what is probably not meant as it is written.
	Warnings []string

	values values
	where  map[string]string // where each static name was given
}

// With returns b with other dynamic configs; those that it had do not count any more.
func (b *Broker) With(d Dynamic) *Broker {
	next := *b
	next.values.dynamic = d
	next.values.merge()
	next.resolveDynamic()
	return &next
}

// resolve fills the fields from the values; what several settings say together is
// judged here.
func (b *Broker) resolve() error {
	b.resolveDynamic()
	b.resolveStatic()
	return errors.Join(b.resolveNode(), b.resolveDirs(), b.resolveListeners(), b.resolveCluster(), b.checkOverrides(), b.checkGroups(), b.checkCleaner())
}

func (b *Broker) resolveStatic() {
	v := &b.values
	b.Rack = v.str("broker.rack")
	b.NumPartitions = int32(v.number("num.partitions"))
	b.DefaultReplicationFactor = int16(min(v.number("default.replication.factor"), 1<<15-1))
	b.AutoCreateTopics = v.flag("auto.create.topics.enable")
	b.DeleteTopicEnable = v.flag("delete.topic.enable")
	b.resolveGroups()
	b.SocketRequestMaxBytes = int32(v.number("socket.request.max.bytes"))
	if n := v.number("connections.max.idle.ms"); n >= 0 {
		b.ConnectionsMaxIdle = max(time.Millisecond, milliseconds(n)) // 0 is at once, and 0 of the field for ever
	}
	b.FetchMaxBytes = int32(v.number("fetch.max.bytes"))
	b.FetchSessionSlots = int32(v.number("max.incremental.fetch.session.cache.slots"))
	b.RecoveryThreads = int(v.number("num.recovery.threads.per.data.dir"))
	b.RetentionCheckInterval = milliseconds(v.number("log.retention.check.interval.ms"))
	if n := v.number("log.flush.scheduler.interval.ms"); n > 0 && milliseconds(n) < maxInterval {
		b.FlushCheckInterval = milliseconds(n)
	}
	b.RecoveryCheckpointInterval = milliseconds(v.number("log.flush.offset.checkpoint.interval.ms"))
	b.StartOffsetCheckpointInterval = milliseconds(v.number("log.flush.start.offset.checkpoint.interval.ms"))
	b.HighWatermarkCheckpoint = milliseconds(v.number("replica.high.watermark.checkpoint.interval.ms"))
	b.SnapshotBytes = v.number("metadata.log.max.record.bytes.between.snapshots")
	b.resolveReplication()
}

func (b *Broker) resolveGroups() {
	v := &b.values
	b.OffsetsTopicPartitions = int32(v.number("offsets.topic.num.partitions"))
	b.OffsetsTopicReplicationFactor = int16(v.number("offsets.topic.replication.factor"))
	b.OffsetsTopicSegmentBytes = int32(v.number("offsets.topic.segment.bytes"))
	b.Groups = group.Config{
		MinSessionTimeoutMs:     int32(v.number("group.min.session.timeout.ms")),
		MaxSessionTimeoutMs:     int32(v.number("group.max.session.timeout.ms")),
		MaxSize:                 int32(v.number("group.max.size")),
		InitialRebalanceDelayMs: int32(v.number("group.initial.rebalance.delay.ms")),
		OffsetMetadataMaxBytes:  int32(v.number("offset.metadata.max.bytes")),
		OffsetsRetentionMs:      v.number("offsets.retention.minutes") * time.Minute.Milliseconds(),
		OffsetsCheckIntervalMs:  v.number("offsets.retention.check.interval.ms"),

		ConsumerSessionTimeoutMs:       v.bounded("group.consumer.session.timeout.ms"),
		ConsumerHeartbeatIntervalMs:    v.bounded("group.consumer.heartbeat.interval.ms"),
		ConsumerAssignmentIntervalMs:   v.bounded("group.consumer.assignment.interval.ms"),
		ConsumerRegexRefreshIntervalMs: int32(v.number("group.consumer.regex.refresh.interval.ms")),
		ConsumerMaxSize:                int32(v.number("group.consumer.max.size")),
		ConsumerMigrationPolicy:        strings.ToLower(v.str("group.consumer.migration.policy")),
	}
	assignors, _ := v.get("group.consumer.assignors")
	b.Groups.ConsumerAssignors = assignors.list
	protocols, _ := v.get("group.coordinator.rebalance.protocols")
	b.ConsumerProtocol = slices.Contains(protocols.list, "consumer")
}

// resolveDynamic fills the fields that can change while the broker runs.
func (b *Broker) resolveDynamic() {
	v := &b.values
	b.Groups.ConsumerAssignmentIntervalMs = v.bounded("group.consumer.assignment.interval.ms")
	b.MaxConnections = int32(v.number("max.connections"))
	b.MaxConnectionsPerIP = int32(v.number("max.connections.per.ip"))
	b.MaxConnectionsByIP, _ = parseIPLimits(v.str("max.connections.per.ip.overrides"))
	b.ProducerIDExpirationMs = v.number("producer.id.expiration.ms")
	b.Cleaner = log.CleanerConfig{
		Enable:            v.flag("log.cleaner.enable"),
		Threads:           int(v.number("log.cleaner.threads")),
		DedupeBufferBytes: v.number("log.cleaner.dedupe.buffer.size"),
		LoadFactor:        v.double("log.cleaner.io.buffer.load.factor"),
		IOBufferBytes:     int(v.number("log.cleaner.io.buffer.size")),
		IOBytesPerSecond:  v.double("log.cleaner.io.max.bytes.per.second"),
		Backoff:           milliseconds(v.number("log.cleaner.backoff.ms")),
	}
}

// checkCleaner wants what a cleaner thread needs to come anywhere (Java: KafkaConfig.validateValues).
func (b *Broker) checkCleaner() error {
	const name, least = "log.cleaner.dedupe.buffer.size", 1 << 20
	if c := &b.Cleaner; c.Threads > 0 && c.DedupeBufferBytes/int64(c.Threads) <= least {
		return b.problem(name, "it must be more than %d bytes for each of log.cleaner.threads, which is %d", least, c.Threads)
	}
	return nil
}

// maxInterval is the longest time.Duration, some 292 years.
const maxInterval = time.Duration(1<<63 - 1)

func milliseconds(n int64) time.Duration {
	if n > int64(maxInterval/time.Millisecond) {
		return maxInterval
	}
	return time.Duration(n) * time.Millisecond
}

// problem is an error about one setting, with the place where it was given.
func (b *Broker) problem(name, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if where := b.where[name]; where != "" {
		return fmt.Errorf("%s: %s: %s", where, name, text)
	}
	return fmt.Errorf("%s: %s", name, text)
}

func (b *Broker) resolveNode() error {
	b.Roles = Roles{Broker: true, Controller: true}
	if roles, ok := b.values.get("process.roles"); ok && len(roles.list) > 0 {
		b.Roles = Roles{Broker: slices.Contains(roles.list, "broker"), Controller: slices.Contains(roles.list, "controller")}
	}
	id, ok := b.values.get("node.id")
	if !ok {
		return b.problem("node.id", "it must be set; add the line node.id=1")
	}
	b.NodeID = ids.NodeID(id.n)
	return errors.Join(b.resolveVoters(), b.resolveBootstrap())
}

func (b *Broker) resolveDirs() error {
	name := "log.dirs"
	if !b.values.explicit(name) {
		name = "log.dir"
	}
	b.LogDirs = b.values.list(name)
	if len(b.LogDirs) == 0 || slices.Contains(b.LogDirs, "") {
		return b.problem(name, "it must name at least one directory, and none may be empty")
	}
	if b.MetadataLogDir = b.values.str("metadata.log.dir"); b.MetadataLogDir == "" || !b.Roles.Controller {
		b.MetadataLogDir = b.LogDirs[0]
	}
	if !b.Roles.Broker {
		b.LogDirs = []string{b.MetadataLogDir} // it has no other data
	}
	return nil
}

func (b *Broker) checkOverrides() error {
	const name = "max.connections.per.ip.overrides"
	if _, err := parseIPLimits(b.values.str(name)); err != nil {
		return b.problem(name, "%v", err)
	}
	return nil
}

// parseIPLimits reads HOST:COUNT elements.
func parseIPLimits(text string) (map[string]int32, error) {
	limits := make(map[string]int32)
	for _, e := range splitList(strings.TrimSpace(text)) {
		host, count, err := splitHostPort(e)
		if err != nil || host == "" {
			return nil, fmt.Errorf("%q is not HOST:COUNT", e)
		}
		limits[host] = count
	}
	return limits, nil
}

// splitHostPort reads HOST:NUMBER, an IPv6 address in brackets.
func splitHostPort(text string) (host string, number int32, err error) {
	at := strings.LastIndexByte(text, ':')
	if at < 0 {
		return "", 0, fmt.Errorf("%q has no colon", text)
	}
	n, err := strconv.ParseInt(text[at+1:], 10, 32)
	if err != nil || n < 0 {
		return "", 0, fmt.Errorf("%q does not end in a number", text)
	}
	host = text[:at]
	if inner, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(inner, "]") {
		host = inner[:len(inner)-1]
	}
	return host, int32(n), nil
}
