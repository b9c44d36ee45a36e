package config

import (
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/metadata"
)

func TestTopicDefaultsAreThoseOfTheLog(t *testing.T) {
	topic := newBroker(t, properties(t, "node.id=1")).Topic(nil)
	if want := log.DefaultConfig(); topic.Log != want {
		t.Errorf("%+v\nwant %+v", topic.Log, want)
	}
	if topic.AckDurability != DurabilityAuto || topic.TimestampAfterMaxMs != 3600000 || topic.TimestampBeforeMaxMs != 1<<63-1 {
		t.Errorf("%+v", topic)
	}
}

// TestTopicPrecedence: topic, then dynamic of this broker, then of all, then static, then default.
func TestTopicPrecedence(t *testing.T) {
	const hour = 3600 * 1000
	for _, c := range []struct {
		rule, file  string
		all, broker map[string]string
		topic       map[string]string
		want        int64 // of retention.ms
	}{
		{"default", "", nil, nil, nil, 168 * hour},
		{"hours", "log.retention.hours=2", nil, nil, nil, 2 * hour},
		{"minutes over hours", "log.retention.hours=2\nlog.retention.minutes=3", nil, nil, nil, 3 * 60000},
		{"ms over minutes", "log.retention.ms=4\nlog.retention.minutes=3", nil, nil, nil, 4},
		{"for ever in hours", "log.retention.hours=-1", nil, nil, nil, -1},
		{"for ever by another number", "log.retention.minutes=-7", nil, nil, nil, -1},
		{"all brokers over static", "log.retention.ms=4", map[string]string{"log.retention.ms": "5"}, nil, nil, 5},
		{"this broker over all", "log.retention.ms=4", map[string]string{"log.retention.ms": "5"}, map[string]string{"log.retention.ms": "6"}, nil, 6},
		{"topic over this broker", "log.retention.ms=4", nil, map[string]string{"log.retention.ms": "6"}, map[string]string{"retention.ms": "7"}, 7},
		{"dynamic ms over static minutes", "log.retention.minutes=3", map[string]string{"log.retention.ms": "5"}, nil, nil, 5},
		{"read-only names do not count dynamically", "", map[string]string{"log.retention.hours": "5"}, nil, nil, 168 * hour},
	} {
		b := newBroker(t, properties(t, "node.id=1\n"+c.file)).With(Dynamic{c.all, c.broker})
		if got := b.Topic(c.topic).Log.RetentionMs; got != c.want {
			t.Errorf("%s: retention.ms is %d, want %d", c.rule, got, c.want)
		}
	}
}

func TestTopicFromBrokerSynonyms(t *testing.T) {
	b := newBroker(t, properties(t, `node.id=1
log.segment.bytes=2000000
log.index.size.max.bytes=100
log.index.interval.bytes=5
message.max.bytes=6
log.roll.hours=2
log.roll.jitter.hours=1
log.retention.bytes=-9
log.segment.delete.delay.ms=7
log.flush.interval.messages=8
log.flush.scheduler.interval.ms=9
log.preallocate=true
log.cleanup.policy=
producer.id.expiration.ms=10
log.cleaner.delete.retention.ms=13
log.cleaner.min.cleanable.ratio=0.25
log.cleaner.min.compaction.lag.ms=14
log.cleaner.max.compaction.lag.ms=15
log.ack.durability=os
log.message.timestamp.after.max.ms=11
log.message.timestamp.before.max.ms=12
`))
	want := log.Config{SegmentBytes: 2000000, IndexBytes: 100, IndexIntervalBytes: 5, MaxMessageBytes: 6, SegmentMs: 7200000, SegmentJitterMs: 3600000,
		RetentionMs: 604800000, RetentionBytes: -1, FileDeleteDelayMs: 7, FlushMessages: 8, FlushMs: 9, Preallocate: true, ProducerExpirationMs: 10,
		DeleteRetentionMs: 13, MinCleanableRatio: 0.25, MinCompactionLagMs: 14, MaxCompactionLagMs: 15}
	topic := b.Topic(nil)
	if topic.Log != want || topic.AckDurability != DurabilityOS || topic.TimestampAfterMaxMs != 11 || topic.TimestampBeforeMaxMs != 12 {
		t.Errorf("%+v\nwant %+v", topic, want)
	}
	topic = b.Topic(map[string]string{"flush.messages": "1", "internal.segment.bytes": "1000", "cleanup.policy": "delete"})
	if topic.AckDurability != DurabilityFsync || topic.Log.SegmentBytes != 1000 || !topic.Log.DeletePolicy || topic.Log.CompactPolicy {
		t.Errorf("%+v", topic)
	}
}

func TestValidateTopic(t *testing.T) {
	b := newBroker(t, base(t))
	s := NewSchema(func() *Broker { return b })
	for _, c := range []struct{ name, value, want string }{ // want "" is accepted
		{"retention.ms", "-1", ""}, {"retention.ms", " 12 ", ""}, {"retention.bytes", "-5", ""}, {"segment.index.bytes", "+5", ""},
		{"preallocate", " TRUE ", ""}, {"cleanup.policy", "", ""}, {"cleanup.policy", "delete,delete", ""}, {"local.retention.ms", "5000", ""},
		{"follower.replication.throttled.replicas", "0:1,1:2", ""}, {"leader.replication.throttled.replicas", "*", ""},
		{"unclean.leader.election.enable", "true", ""}, {"internal.segment.bytes", "1000", ""}, {"ack.durability", "fsync", ""},
		{"compression.type", "producer", ""}, {"compression.gzip.level", "-1", ""}, {"min.compaction.lag.ms", forever, ""},
		{"retention.ms", "-2", "retention.ms=-2: it must be at least -1"},
		{"retention.ms", "x", "retention.ms=x: it must be a whole number of at most 64 bits"},
		{"retention.ms", "", "retention.ms=: it must be a whole number"},
		{"segment.index.bytes", "99999999999", "segment.index.bytes=99999999999: it must be a whole number of at most 32 bits"},
		{"cleanup.policy", "bad", `cleanup.policy=bad: "bad" is not one of compact, delete`},
		{"cleanup.policy", "compact", ""}, {"cleanup.policy", "compact,delete", ""},
		{"compression.type", "bad", "compression.type=bad: it must be one of"},
		{"compression.type", "zstd", ""}, {"compression.type", "uncompressed", ""},
		{"compression.gzip.level", "0", "compression.gzip.level=0: it must be between 1 and 9, or -1"},
		{"message.timestamp.type", "LogAppendTime", ""}, {"message.timestamp.type", "Never", "message.timestamp.type=Never: it must be one of CreateTime, LogAppendTime"},
		{"preallocate", "yes", "preallocate=yes: it must be true or false"},
		{"segment.bytes", "1000", "segment.bytes=1000: it must be at least 1048576"},
		{"min.cleanable.dirty.ratio", "1.5", "min.cleanable.dirty.ratio=1.5: it must be between 0 and 1"},
		{"max.compaction.lag.ms", "0", "max.compaction.lag.ms=0: it must be at least 1"},
		{"remote.storage.enable", "true", "remote.storage.enable=true: tiered storage is not built yet"},
		{"follower.replication.throttled.replicas", "x", `follower.replication.throttled.replicas=x: "x" is not PARTITION:BROKER`},
		{"ack.durability", "disk", "ack.durability=disk: it must be one of auto, fsync, os"},
		{"min.insync.replicas", "0", "min.insync.replicas=0: it must be at least 1"},
		{"message.downconversion.enable", "true", "unknown topic config name message.downconversion.enable"},
		{"retention_m", "1", "unknown topic config name retention_m; did you mean retention.ms?"},
		{"log.retention.ms", "1", "unknown topic config name log.retention.ms: that is a config of brokers; did you mean retention.ms?"},
	} {
		err := s.ValidateTopic("t", map[string]string{c.name: c.value})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%s=%s: %v\nwant %s", c.name, c.value, err, c.want)
		}
	}
	err := s.ValidateTopic("t", map[string]string{"min.compaction.lag.ms": "9", "max.compaction.lag.ms": "8"})
	if err == nil || err.Error() != "min.compaction.lag.ms=9 is more than max.compaction.lag.ms=8" {
		t.Errorf("%v", err)
	}
}

func TestValidateBroker(t *testing.T) {
	s := NewSchema(nil)
	for _, c := range []struct{ name, value, want string }{
		{"log.retention.ms", "5", ""}, {"message.max.bytes", "5", ""}, {"log.ack.durability", "os", ""}, {"log.cleaner.min.cleanable.ratio", "1", ""},
		{"log.retention.hours", "5", "log.retention.hours cannot be changed while brokers run"},
		{"num.partitions", "5", "num.partitions cannot be changed while brokers run"},
		{"listeners", "PLAINTEXT://:1", "changing listeners while brokers run is not built yet"},
		{"log.cleaner.threads", "2", ""}, {"log.cleaner.enable", "false", "log.cleaner.enable cannot be changed while brokers run"},
		{"listener.name.x.max.connections", "2", "listener.name.x.max.connections has no effect in this version"},
		{"no.such.name", "2", "unknown broker config name no.such.name"},
		{"message.max.bytes", "-1", "message.max.bytes=-1: it must be at least 0"},
		{"log.retention.ms", "0", "log.retention.ms=0: it must be at least 1, or -1"},
		{"log.cleanup.policy", "compact", ""},
		{"max.connections.per.ip.overrides", "x", `max.connections.per.ip.overrides: "x" is not HOST:COUNT`},
	} {
		for _, all := range []bool{true, false} {
			err := s.ValidateBroker(all, map[string]string{c.name: c.value})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
				t.Errorf("%s=%s: %v\nwant %s", c.name, c.value, err, c.want)
			}
		}
	}
}

// TestTopicConfigs: a new topic's answer names where a default in another unit is from.
func TestTopicConfigs(t *testing.T) {
	b := newBroker(t, base(t), properties(t, "log.retention.hours=2\nmessage.max.bytes=9")).With(Dynamic{
		ClusterDefault: map[string]string{"log.roll.ms": "5"}, Broker: map[string]string{"log.segment.delete.delay.ms": "6"}})
	want := map[string]struct {
		value  string
		source int8
	}{
		"retention.ms": {"7200000", SourceStatic}, "max.message.bytes": {"9", SourceStatic}, "segment.ms": {"5", SourceClusterDefault},
		"file.delete.delay.ms": {"6", SourceBroker}, "flush.ms": {forever, SourceDefault}, "segment.bytes": {"2000000", SourceTopic},
	}
	all := NewSchema(func() *Broker { return b }).TopicConfigs(map[string]string{"segment.bytes": "2000000"})
	for _, c := range all {
		if w, ok := want[c.Name]; ok && (*c.Value != w.value || c.Source != w.source) {
			t.Errorf("%s=%s from %d, want %v", c.Name, *c.Value, c.Source, w)
		}
		delete(want, c.Name)
	}
	if len(want) > 0 || len(all) != len(topicSettings)-1 {
		t.Errorf("%d configs, missing %v", len(all), want)
	}
}

func TestIsList(t *testing.T) {
	s := NewSchema(nil)
	for _, c := range []struct {
		resource    int8
		name        string
		list, known bool
		byDefault   string
	}{
		{metadata.ResourceTopic, "cleanup.policy", true, true, "delete"},
		{metadata.ResourceTopic, "retention.ms", false, true, ""},
		{metadata.ResourceTopic, "no.such", false, false, ""},
		{metadata.ResourceBroker, "log.cleanup.policy", true, true, "delete"},
		{metadata.ResourceBroker, "num.io.threads", false, true, ""},
		{metadata.ResourceBroker, "no.such", false, false, ""},
	} {
		if list, known := s.IsList(c.resource, c.name); list != c.list || known != c.known || s.ListDefault(c.resource, c.name) != c.byDefault {
			t.Errorf("%d %s: %v %v %q", c.resource, c.name, list, known, s.ListDefault(c.resource, c.name))
		}
	}
}

// What the cleaner is told follows the broker's dynamic configs.
func TestCleanerConfig(t *testing.T) {
	b := newBroker(t, properties(t, "node.id=1\nlog.cleaner.threads=2\nlog.cleaner.io.max.bytes.per.second=1e6\nlog.cleaner.enable=false"))
	want := log.DefaultCleanerConfig()
	want.Threads, want.IOBytesPerSecond, want.Enable = 2, 1e6, false
	if b.Cleaner != want {
		t.Errorf("%+v, want %+v", b.Cleaner, want)
	}
	want.Backoff, want.Threads, want.LoadFactor, want.IOBufferBytes, want.DedupeBufferBytes = 5*time.Millisecond, 3, 0.5, 7, 9e6
	if got := b.With(Dynamic{ClusterDefault: map[string]string{"log.cleaner.backoff.ms": "5", "log.cleaner.threads": "3", "log.cleaner.io.buffer.load.factor": "0.5",
		"log.cleaner.io.buffer.size": "7", "log.cleaner.dedupe.buffer.size": "9000000"}}).Cleaner; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
