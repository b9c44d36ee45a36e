package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/record"
)

// Topic is what the partitions of one topic are told.
type Topic struct {
	Log log.Config

	AckDurability        Durability // DurabilityFsync also where flush.messages is 1
	TimestampBeforeMaxMs int64      // message.timestamp.before.max.ms
	TimestampAfterMaxMs  int64      // message.timestamp.after.max.ms

	LogAppendTime bool // message.timestamp.type

	// Recompress is false where compression.type is producer.
	Recompress bool
	Codec      record.Codec
	Level      int // of compression.gzip.level and so on

	minISR int32 // 0 where nothing is set
}

// MinISR returns min.insync.replicas of a topic of that many replicas.
func (t *Topic) MinISR(replicas int) int {
	if t.minISR > 0 {
		return int(t.minISR)
	}
	return metadata.DefaultMinISR(replicas)
}

// Topic resolves the configs of a topic. What does not pass its row is taken as not set.
func (b *Broker) Topic(overrides map[string]string) Topic {
	r := topicValues{overrides, &b.values}
	t := Topic{
		Log: log.Config{
			SegmentBytes:         int32(r.number("segment.bytes")),
			IndexBytes:           int32(r.number("segment.index.bytes")),
			IndexIntervalBytes:   int32(r.number("index.interval.bytes")),
			MaxMessageBytes:      int32(r.number("max.message.bytes")),
			SegmentMs:            r.number("segment.ms"),
			SegmentJitterMs:      r.number("segment.jitter.ms"),
			RetentionMs:          r.number("retention.ms"),
			RetentionBytes:       max(-1, r.number("retention.bytes")),
			FileDeleteDelayMs:    r.number("file.delete.delay.ms"),
			FlushMessages:        r.number("flush.messages"),
			FlushMs:              r.number("flush.ms"),
			DeleteRetentionMs:    r.number("delete.retention.ms"),
			MinCompactionLagMs:   r.number("min.compaction.lag.ms"),
			MaxCompactionLagMs:   r.number("max.compaction.lag.ms"),
			ProducerExpirationMs: b.ProducerIDExpirationMs,
		},
		TimestampBeforeMaxMs: r.number("message.timestamp.before.max.ms"),
		TimestampAfterMaxMs:  r.number("message.timestamp.after.max.ms"),
	}
	if small, set := r.get("internal.segment.bytes"); set {
		t.Log.SegmentBytes = int32(small.n)
	}
	policy, _ := r.get("cleanup.policy")
	t.Log.DeletePolicy, t.Log.CompactPolicy = slices.Contains(policy.list, "delete"), slices.Contains(policy.list, "compact")
	ratio, _ := r.get("min.cleanable.dirty.ratio")
	t.Log.MinCleanableRatio = ratio.f
	preallocate, _ := r.get("preallocate")
	t.Log.Preallocate = preallocate.b
	durability, _ := r.get("ack.durability")
	t.AckDurability = Durability(durability.s)
	if t.Log.FlushMessages == 1 {
		t.AckDurability = DurabilityFsync
	}
	stamp, _ := r.get("message.timestamp.type")
	t.LogAppendTime = stamp.s == "LogAppendTime"
	t.Recompress, t.Codec, t.Level = r.compression()
	t.minISR = r.minISR()
	return t
}

// minISR is min.insync.replicas, 0 where nothing is set.
func (r topicValues) minISR() int32 {
	if !r.explicit(minISR) {
		return 0
	}
	return int32(r.number(minISR))
}

// compression says what stored batches are compressed with; recompress is false where that is the producer's affair.
func (r topicValues) compression() (recompress bool, codec record.Codec, level int) {
	kind, _ := r.get("compression.type")
	switch kind.s {
	case "uncompressed":
		return true, record.None, 0
	case "gzip":
		return true, record.Gzip, int(r.number("compression.gzip.level"))
	case "snappy":
		return true, record.Snappy, 0
	case "lz4":
		return true, record.LZ4, int(r.number("compression.lz4.level"))
	case "zstd":
		return true, record.Zstd, int(r.number("compression.zstd.level"))
	}
	return false, record.None, 0
}

// topicValues are what is set for a topic over what its broker says.
type topicValues struct {
	overrides map[string]string
	broker    *values
}

// get returns the value of a topic's setting: its own, else that of the strongest of
// the broker's synonyms that is set, else the default.
func (r topicValues) get(name string) (parsed value, set bool) {
	row := topicByName[name]
	if text, ok := r.overrides[name]; ok {
		if parsed, err := row.parse(text); err == nil && row.built(parsed) == nil {
			return parsed, true
		}
	}
	for _, synonym := range row.Synonyms {
		if r.broker.explicit(synonym) {
			parsed, _ := r.broker.get(synonym)
			return row.convert(parsed, brokerByName[synonym]), true
		}
	}
	if row.NoValue {
		return value{}, false
	}
	parsed, _ = row.parse(row.Default)
	return parsed, true
}

// convert makes a topic's value of a broker's, which may have another unit. Every
// negative time of retention means the same.
func (s *Setting) convert(v value, from *Setting) value {
	if s.Unit == "ms" {
		v.n *= unitMs(from.Unit)
	}
	if s.Name == "retention.ms" {
		v.n = max(-1, v.n)
	}
	return v
}

// explicit tells whether anybody set it.
func (r topicValues) explicit(name string) bool {
	if _, ok := r.overrides[name]; ok {
		return true
	}
	return slices.ContainsFunc(topicByName[name].Synonyms, r.broker.explicit)
}

func (r topicValues) number(name string) int64 {
	parsed, _ := r.get(name)
	return parsed.n
}

// OffsetsTopic is the topic of the group coordinator.
const OffsetsTopic = "__consumer_offsets"

// checkTopic judges everything that is set for a topic, alone and together
// (Java: LogConfig.validate).
func checkTopic(overrides map[string]string) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		row := topicByName[name]
		if row == nil {
			errs = append(errs, unknownTopic(name))
			continue
		}
		v, err := row.parse(overrides[name])
		if err == nil {
			err = row.built(v)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

// unknownTopic points at the broker's name of a setting where that was given for a topic.
func unknownTopic(name string) error {
	for i := range topicSettings {
		if row := &topicSettings[i]; slices.Contains(row.Synonyms, name) {
			return fmt.Errorf("unknown topic config name %s: that is a config of brokers; did you mean %s?", name, row.Name)
		}
	}
	return unknown("topic", name, topicNames)
}
