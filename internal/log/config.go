package log

import "math"

// Config is what one log is told, resolved from its topic's and its broker's configs and
// validated before. The names are those of Kafka's topic configs.
type Config struct {
	SegmentBytes       int32 // segment.bytes: a segment does not grow beyond this
	IndexBytes         int32 // segment.index.bytes: a segment rolls when an index would
	IndexIntervalBytes int32 // index.interval.bytes: log bytes between two index entries
	MaxMessageBytes    int32 // max.message.bytes: the largest batch, its 12 byte prefix included

	SegmentMs         int64 // segment.ms, between batch timestamps
	SegmentJitterMs   int64 // segment.jitter.ms: taken off SegmentMs, at random per segment
	RetentionMs       int64 // retention.ms; -1 keeps for ever
	RetentionBytes    int64 // retention.bytes; -1 keeps all
	FileDeleteDelayMs int64 // file.delete.delay.ms
	FlushMessages     int64 // flush.messages
	FlushMs           int64 // flush.ms

	DeletePolicy  bool // cleanup.policy holds delete: retention applies
	CompactPolicy bool // cleanup.policy holds compact: the cleaner applies
	Preallocate   bool // preallocate

	MinCleanableRatio  float64 // min.cleanable.dirty.ratio
	DeleteRetentionMs  int64   // delete.retention.ms: how long tombstones and markers stay once they were cleaned
	MinCompactionLagMs int64   // min.compaction.lag.ms
	MaxCompactionLagMs int64   // max.compaction.lag.ms (KIP-354)

	ProducerExpirationMs int64 // producer.id.expiration.ms, a broker config
}

// rollMs is the age at which a new segment begins: a segment that is to be cleaned must not be the active one any more.
func (c *Config) rollMs() int64 {
	if c.CompactPolicy {
		return min(c.SegmentMs, c.MaxCompactionLagMs)
	}
	return c.SegmentMs
}

// DefaultConfig returns Kafka's defaults.
func DefaultConfig() Config {
	const hourMs = 3600 * 1000
	return Config{
		SegmentBytes:         1 << 30,
		IndexBytes:           10 << 20,
		IndexIntervalBytes:   4096,
		MaxMessageBytes:      1<<20 + 12,
		SegmentMs:            7 * 24 * hourMs,
		RetentionMs:          7 * 24 * hourMs,
		RetentionBytes:       -1,
		FileDeleteDelayMs:    60 * 1000,
		FlushMessages:        math.MaxInt64,
		FlushMs:              math.MaxInt64,
		DeletePolicy:         true,
		MinCleanableRatio:    0.5,
		DeleteRetentionMs:    24 * hourMs,
		MaxCompactionLagMs:   math.MaxInt64,
		ProducerExpirationMs: 24 * hourMs,
	}
}
