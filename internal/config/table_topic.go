package config

// Durability is what has to be true before acks=all is answered (ack.durability).
type Durability string

// The values of ack.durability.
const (
	DurabilityAuto  Durability = "auto"  // in memory of every in-sync replica; on disk where only one is in sync
	DurabilityFsync Durability = "fsync" // on disk of every in-sync replica
	DurabilityOS    Durability = "os"    // in memory of every in-sync replica, as Apache Kafka does it
)

const forever = "9223372036854775807" // Long.MAX_VALUE, Kafka's way to say never

// minISR is the one topic setting whose default depends on the topic: see metadata.DefaultMinISR.
const minISR = "min.insync.replicas"

// topicSettings are the settings of a topic, in the order of the alphabet (LogConfig, TopicConfig).
var topicSettings = []Setting{
	{Name: "ack.durability", Type: String, Default: "auto", Valid: oneOf("auto", "fsync", "os"), Synonyms: []string{"log.ack.durability"}, Ours: true,
		Doc: "What an acks=all answer waits for: fsync (on disk of every in-sync replica), os (handed to the operating system of each, Apache Kafka's way), auto (os, but fsync where only one replica is in sync)."},
	{Name: "cleanup.policy", Type: List, Default: "delete", Valid: someOf("compact", "delete"), Synonyms: []string{"log.cleanup.policy"},
		Doc: "What happens to old segments: delete removes them by age and size, compact keeps the last record of each key; both do both, and empty keeps everything."},
	{Name: "compression.gzip.level", Type: Int, Default: "-1", Valid: betweenOr(1, 9, -1), Synonyms: []string{"compression.gzip.level"},
		Doc: "The gzip level where the broker compresses; -1 is the library's own choice."},
	{Name: "compression.lz4.level", Type: Int, Default: "9", Valid: between(1, 17), Synonyms: []string{"compression.lz4.level"},
		Doc: "The lz4 level where the broker compresses."},
	{Name: "compression.type", Type: String, Default: "producer", Valid: codecs, Synonyms: []string{"compression.type"},
		Doc: "The codec of stored batches: the broker compresses those that came with another one again. producer keeps each as it came."},
	{Name: "compression.zstd.level", Type: Int, Default: "3", Valid: between(-131072, 22), Synonyms: []string{"compression.zstd.level"},
		Doc: "The zstd level where the broker compresses."},
	{Name: "delete.retention.ms", Type: Long, Unit: "ms", Default: "86400000", Valid: atLeast(0), Synonyms: []string{"log.cleaner.delete.retention.ms"},
		Doc: "How long a compacted topic keeps the tombstone of a deleted key, from the first compaction that sees it."},
	{Name: "file.delete.delay.ms", Type: Long, Unit: "ms", Default: "60000", Valid: atLeast(0), Synonyms: []string{"log.segment.delete.delay.ms"},
		Doc: "How long a removed segment stays on disk under another name."},
	{Name: "flush.messages", Type: Long, Default: forever, Valid: atLeast(1), Synonyms: []string{"log.flush.interval.messages"},
		Doc: "Sync the log to disk after this many records. 1 makes every acks=all answer wait for the disk."},
	{Name: "flush.ms", Type: Long, Unit: "ms", Default: forever, Valid: atLeast(0), Synonyms: []string{"log.flush.interval.ms", "log.flush.scheduler.interval.ms"},
		Doc: "Sync the log to disk when something in it has waited this long."},
	{Name: "follower.replication.throttled.replicas", Type: List, Default: "", Valid: throttledReplicas(), NoEffect: true,
		Doc: "Which replicas the replication throttle holds back on the followers' side."},
	{Name: "index.interval.bytes", Type: Int, Unit: "bytes", Default: "4096", Valid: atLeast(0), Synonyms: []string{"log.index.interval.bytes"},
		Doc: "How many bytes of log lie between two entries of the offset index."},
	{Name: "internal.segment.bytes", Type: Int, Unit: "bytes", NoValue: true, Internal: true,
		Doc: "segment.bytes without its lower bound, for tests."},
	{Name: "leader.replication.throttled.replicas", Type: List, Default: "", Valid: throttledReplicas(), NoEffect: true,
		Doc: "Which replicas the replication throttle holds back on the leaders' side."},
	{Name: "local.retention.bytes", Type: Long, Unit: "bytes", Default: "-2", Valid: atLeast(-2), Synonyms: []string{"log.local.retention.bytes"}, NoEffect: true,
		Doc: "How much of a tiered partition stays on this disk; -2 is retention.bytes."},
	{Name: "local.retention.ms", Type: Long, Unit: "ms", Default: "-2", Valid: atLeast(-2), Synonyms: []string{"log.local.retention.ms"}, NoEffect: true,
		Doc: "How long a tiered partition stays on this disk; -2 is retention.ms."},
	{Name: "max.compaction.lag.ms", Type: Long, Unit: "ms", Default: forever, Valid: atLeast(1), Synonyms: []string{"log.cleaner.max.compaction.lag.ms"},
		Doc: "The longest that a record stays out of compaction, whatever min.cleanable.dirty.ratio says; also the longest age of an active segment."},
	{Name: "max.message.bytes", Type: Int, Unit: "bytes", Default: "1048588", Valid: atLeast(0), Synonyms: []string{"message.max.bytes"},
		Doc: "The largest batch that is accepted, after compression."},
	{Name: "message.timestamp.after.max.ms", Type: Long, Unit: "ms", Default: "3600000", Valid: atLeast(0), Synonyms: []string{"log.message.timestamp.after.max.ms"},
		Doc: "How far a record's timestamp may be ahead of the broker's clock."},
	{Name: "message.timestamp.before.max.ms", Type: Long, Unit: "ms", Default: forever, Valid: atLeast(0), Synonyms: []string{"log.message.timestamp.before.max.ms"},
		Doc: "How far a record's timestamp may be behind the broker's clock."},
	{Name: "message.timestamp.type", Type: String, Default: "CreateTime", Valid: oneOf("CreateTime", "LogAppendTime"), Synonyms: []string{"log.message.timestamp.type"},
		Doc: "Whose clock stamps the records: the producer's with CreateTime, the broker's with LogAppendTime."},
	{Name: "min.cleanable.dirty.ratio", Type: Double, Default: "0.5", Valid: fraction(), Synonyms: []string{"log.cleaner.min.cleanable.ratio"},
		Doc: "A log is compacted when more than this part of it is new since the last time."},
	{Name: "min.compaction.lag.ms", Type: Long, Unit: "ms", Default: "0", Valid: atLeast(0), Synonyms: []string{"log.cleaner.min.compaction.lag.ms"},
		Doc: "The shortest that a record stays out of compaction."},
	{Name: minISR, Type: Int, Default: "1", Valid: atLeast(1), Synonyms: []string{minISR},
		Doc: "How many replicas must be in sync for acks=all to be accepted. Where nothing is set it is 2 for topics of three replicas or more."},
	{Name: "preallocate", Type: Boolean, Default: "false", Synonyms: []string{"log.preallocate"},
		Doc: "Reserve the whole size of a segment when it is made."},
	{Name: "remote.log.copy.disable", Type: Boolean, Default: "false", NoEffect: true,
		Doc: "Stop copying a tiered topic to remote storage."},
	{Name: "remote.log.delete.on.disable", Type: Boolean, Default: "false", NoEffect: true,
		Doc: "Remove what remote storage holds when tiering of the topic ends."},
	{Name: "remote.storage.enable", Type: Boolean, Default: "false", NotBuilt: "tiered storage",
		Doc: "Copy sealed segments to remote storage. true is not built yet."},
	{Name: "retention.bytes", Type: Long, Unit: "bytes", Default: "-1", Synonyms: []string{"log.retention.bytes"},
		Doc: "Old segments go while a partition is larger than this; -1 is no limit."},
	{Name: "retention.ms", Type: Long, Unit: "ms", Default: "604800000", Valid: atLeast(-1), Synonyms: []string{"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
		Doc: "Segments whose newest record is older than this go; -1 keeps them for ever."},
	{Name: "segment.bytes", Type: Int, Unit: "bytes", Default: "1073741824", Valid: atLeast(1048576), Synonyms: []string{"log.segment.bytes"},
		Doc: "The size at which a new segment begins. Retention removes whole segments."},
	{Name: "segment.index.bytes", Type: Int, Unit: "bytes", Default: "10485760", Valid: atLeast(4), Synonyms: []string{"log.index.size.max.bytes"},
		Doc: "The size of an index at which a new segment begins."},
	{Name: "segment.jitter.ms", Type: Long, Unit: "ms", Default: "0", Valid: atLeast(0), Synonyms: []string{"log.roll.jitter.ms", "log.roll.jitter.hours"},
		Doc: "The most that chance takes off segment.ms, so that partitions do not roll all at once."},
	{Name: "segment.ms", Type: Long, Unit: "ms", Default: "604800000", Valid: atLeast(1), Synonyms: []string{"log.roll.ms", "log.roll.hours"},
		Doc: "The age at which a new segment begins."},
	{Name: "unclean.leader.election.enable", Type: Boolean, Default: "false", Synonyms: []string{"unclean.leader.election.enable"},
		Doc: "Let a replica that is not in sync lead where no other is left, which loses records."},
}

var codecs = oneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer")
