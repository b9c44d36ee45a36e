package behaviour

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const day = 24 * time.Hour

// third is a batch of one record of which three fit into the least segment, a MiB.
func third() batch {
	return batch{records: []*kgo.Record{{Key: []byte("k"), Value: payload(300 << 10)}}}
}

const smallSegments = "segment.bytes=1048576"

// passes returns once the broker has looked through all logs for what retention removes, after this call.
func (b *broker) passes() {
	b.Helper()
	for range 2 { // the first log removed may have been looked at before the others of its pass
		topic := b.topic(1, "retention.ms=1000")
		b.append(topic, recs("k=old").at(time.Now().Add(-day)))
		b.startsAt(topic, 1)
	}
}

// startsAt waits until the log of partition 0 starts at an offset.
func (b *broker) startsAt(topic string, offset int64) {
	b.Helper()
	b.until(fmt.Sprintf("the log starts at %d", offset), func() bool {
		got := b.earliest(topic)
		if got > offset {
			b.Fatalf("the log starts at %d, beyond %d", got, offset)
		}
		return got == offset
	})
}

// keeps fails the case if retention removes anything of a log that starts at 0.
func (b *broker) keeps(topic string) {
	b.Helper()
	b.passes()
	same(b, "the start of the log", b.earliest(topic), 0)
}

var retentionScenarios = []scenario{
	{name: "the oldest segments go as long as retention.bytes are left", run: func(b *broker) {
		topic := b.topic(1, smallSegments, "retention.bytes=1048576")
		for range 12 {
			b.append(topic, third())
		}
		b.startsAt(topic, 6) // two segments of three are more than a MiB, one is less
		b.passes()
		same(b, "the start of the log", b.earliest(topic), 6)
		same(b, "the end of the log", b.latest(topic), 12)
		same(b, "records that are left", len(b.read(topic)), 6)
		b.is("fetching below the start", b.fetchOne(topic, 5).ErrorCode, kerr.OffsetOutOfRange)
	}},
	{name: "a log of old records is emptied, and the next record follows on", run: func(b *broker) {
		topic := b.topic(1, "retention.ms=3600000")
		b.append(topic, recs("a=1", "b=2", "c=3").at(time.Now().Add(-day)))
		b.startsAt(topic, 3)
		same(b, "the end of the log", b.latest(topic), 3)
		b.is("fetching below the start", b.fetchOne(topic, 0).ErrorCode, kerr.OffsetOutOfRange)
		same(b, "the next offset", b.append(topic, recs("d=4")), 3)
		same(b, "what is there", texts(b.read(topic)), "3:d=4")
	}},
	{name: "a record of the future keeps the old ones of its segment", run: func(b *broker) {
		topic := b.topic(1, "retention.ms=1000", "message.timestamp.after.max.ms=86400000")
		b.append(topic, recs("a=1").at(time.Now().Add(time.Hour)), recs("b=2").at(time.Now().Add(-day)))
		b.keeps(topic)
	}},
	{name: "a young record keeps the old ones of its segment", run: func(b *broker) {
		topic := b.topic(1, "retention.ms=3600000")
		b.append(topic, timed(time.Now().Add(-day).UnixMilli(), time.Now().UnixMilli()), recs("c=3").at(time.Now().Add(-day)))
		b.keeps(topic)
	}},
	{name: "retention.ms of -1 keeps records of any age", run: func(b *broker) {
		topic := b.topic(1, "retention.ms=-1")
		b.append(topic, recs("a=1").at(time.UnixMilli(0)))
		b.keeps(topic)
	}},
	{name: "retention.bytes of -1 keeps any number of segments", run: func(b *broker) {
		topic := b.topic(1, smallSegments)
		for range 7 {
			b.append(topic, third())
		}
		b.keeps(topic)
	}},
	{name: "an empty cleanup.policy keeps old records", run: func(b *broker) {
		topic := b.topic(1, "retention.ms=1000", "cleanup.policy=")
		b.append(topic, recs("a=1").at(time.Now().Add(-day)))
		b.keeps(topic)
	}},
	{name: "only the segments that are old go", run: func(b *broker) {
		topic := b.topic(1, smallSegments, "retention.ms=-1")
		for range 3 {
			b.append(topic, third().at(time.Now().Add(-day)))
		}
		b.append(topic, third())
		b.set(topic, "retention.ms=3600000")
		b.startsAt(topic, 3)
		b.passes()
		same(b, "records that are left", len(b.read(topic)), 1)
	}},
	{name: "an old segment stays while a younger one before it does", run: func(b *broker) {
		topic := b.topic(1, smallSegments, "retention.ms=3600000")
		for range 3 {
			b.append(topic, third())
		}
		for range 3 {
			b.append(topic, third().at(time.Now().Add(-day)))
		}
		b.append(topic, third())
		b.keeps(topic)
	}},
	{name: "old records that were stamped on arrival are young", run: func(b *broker) {
		topic := b.topic(1, "retention.ms=3600000", "message.timestamp.type=LogAppendTime")
		b.append(topic, recs("a=1").at(time.Now().Add(-day)))
		b.keeps(topic)
	}},
	{name: "a retention that is shortened goes for what there is", run: func(b *broker) {
		topic := b.topic(1)
		b.append(topic, recs("a=1").at(time.Now().Add(-time.Hour)))
		b.keeps(topic)
		b.set(topic, "retention.ms=60000")
		b.startsAt(topic, 1)
	}},
	{name: "records further apart than segment.ms are in segments of their own", run: func(b *broker) {
		topic := b.topic(1, "retention.ms=7200000", "segment.ms=3600000")
		b.append(topic, recs("a=1").at(time.Now().Add(-4*time.Hour)), recs("b=2").at(time.Now().Add(-3*time.Hour-time.Minute)), recs("c=3"))
		b.startsAt(topic, 2)
		b.passes()
		same(b, "what is there", texts(b.read(topic)), "2:c=3")
	}},
	{name: "segments that retention removed no longer count as used", run: func(b *broker) {
		topic := b.topic(1, smallSegments, "retention.ms=-1")
		for range 6 {
			b.append(topic, third().at(time.Now().Add(-day)))
		}
		before := b.size(topic)
		same(b, "the records are there", before > 6*300<<10, true)
		b.append(topic, third())
		b.set(topic, "retention.ms=3600000")
		b.startsAt(topic, 6)
		b.until("the log is small", func() bool { return b.size(topic) < 400<<10 })
	}},
}

// deleteRecords deletes those of partition 0 below an offset.
func (b *broker) deleteRecords(topic string, before int64) kmsg.DeleteRecordsResponseTopicPartition {
	b.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	t, p := kmsg.NewDeleteRecordsRequestTopic(), kmsg.NewDeleteRecordsRequestTopicPartition()
	t.Topic, p.Partition, p.Offset = topic, 0, before
	t.Partitions = append(t.Partitions, p)
	req.Topics, req.TimeoutMillis = append(req.Topics, t), 10_000
	return only(b, only(b, ask(b, req).Topics).Partitions)
}

// ten makes a topic with ten records, keys and values 0 to 9, in batches of two.
func ten(b *broker, configs ...string) string {
	topic := b.topic(1, configs...)
	for i := 0; i < 10; i += 2 {
		b.append(topic, recs(fmt.Sprintf("%d=%[1]d", i), fmt.Sprintf("%d=%[1]d", i+1)))
	}
	return topic
}

var deleteRecordsScenarios = []scenario{
	{name: "deleting records moves the start of the log, within a batch too", run: func(b *broker) {
		topic := ten(b)
		p := b.deleteRecords(topic, 3)
		b.is("deleting", p.ErrorCode, nil)
		same(b, "the low watermark", p.LowWatermark, 3)
		same(b, "the start of the log", b.earliest(topic), 3)
		b.is("fetching below the start", b.fetchOne(topic, 2).ErrorCode, kerr.OffsetOutOfRange)
		same(b, "records that are left", len(b.read(topic)), 7)
		same(b, "the start that a fetch tells", b.fetchOne(topic, 3).LogStartOffset, 3)
	}},
	{name: "deleting up to -1 empties the log, and the next record follows on", run: func(b *broker) {
		topic := ten(b)
		same(b, "the low watermark", b.deleteRecords(topic, -1).LowWatermark, 10)
		same(b, "the start of the log", b.earliest(topic), 10)
		same(b, "the next offset", b.append(topic, recs("k=v")), 10)
		same(b, "what is there", texts(b.read(topic)), "10:k=v")
	}},
	{name: "deleting beyond the high watermark is refused and deletes nothing", run: func(b *broker) {
		topic := ten(b)
		b.is("deleting", b.deleteRecords(topic, 11).ErrorCode, kerr.OffsetOutOfRange)
		same(b, "the start of the log", b.earliest(topic), 0)
		same(b, "records", len(b.read(topic)), 10)
	}},
	{name: "deleting below the start of the log changes nothing", run: func(b *broker) {
		topic := ten(b)
		b.is("deleting", b.deleteRecords(topic, 5).ErrorCode, nil)
		p := b.deleteRecords(topic, 2)
		b.is("deleting again", p.ErrorCode, nil)
		same(b, "the low watermark", p.LowWatermark, 5)
		same(b, "the start of the log", b.earliest(topic), 5)
	}},
	{name: "records of a topic that keeps everything can be deleted", run: func(b *broker) {
		topic := ten(b, "cleanup.policy=")
		b.is("deleting", b.deleteRecords(topic, 5).ErrorCode, nil)
		same(b, "the start of the log", b.earliest(topic), 5)
	}},
	{name: "segments below the deleted offset are removed from the disk", run: func(b *broker) {
		topic := b.topic(1, smallSegments)
		for range 7 {
			b.append(topic, third())
		}
		b.is("deleting", b.deleteRecords(topic, 6).ErrorCode, nil)
		b.until("the log is small", func() bool { return b.size(topic) < 400<<10 })
		same(b, "records that are left", len(b.read(topic)), 1)
	}},
}

// lookedUp fails the case unless a time is found at an offset, with a timestamp.
func (b *broker) lookedUp(topic string, ms, offset, timestamp int64) {
	b.Helper()
	p := b.offset(topic, ms)
	same(b, "the offset", p.Offset, offset)
	same(b, "the timestamp", p.Timestamp, timestamp)
}

const greatest = -3 // the time by which the record with the greatest one is looked up

// lookupScenarios use times that are round, long past and kept.
var lookupScenarios = []scenario{
	{name: "a time is found at the first record that is not older, within a batch too", run: func(b *broker) {
		topic := b.topic(1, "retention.ms=-1")
		b.append(topic, timed(1000, 2000), timed(3000, 4000))
		for _, found := range [][3]int64{{0, 0, 1000}, {1000, 0, 1000}, {1001, 1, 2000}, {2001, 2, 3000}, {4000, 3, 4000}, {4001, -1, -1}} {
			b.lookedUp(topic, found[0], found[1], found[2])
		}
	}},
	{name: "among times out of order the first record in the log counts", run: func(b *broker) {
		topic := b.topic(1, "retention.ms=-1")
		b.append(topic, timed(5000), timed(1000), timed(7000), timed(3000))
		b.lookedUp(topic, 2000, 0, 5000)
		b.lookedUp(topic, 6000, 2, 7000)
		b.lookedUp(topic, greatest, 2, 7000)
		b.append(topic, timed(9000), timed(2000))
		b.lookedUp(topic, greatest, 4, 9000)
	}},
	{name: "deleted records are not found by their times", run: func(b *broker) {
		topic := b.topic(1, "retention.ms=-1")
		b.append(topic, timed(1000, 2000), timed(3000, 4000))
		b.is("deleting", b.deleteRecords(topic, 2).ErrorCode, nil)
		b.lookedUp(topic, 0, 2, 3000)
		b.lookedUp(topic, 1500, 2, 3000)
		b.is("deleting", b.deleteRecords(topic, 4).ErrorCode, nil)
		b.lookedUp(topic, 0, -1, -1)
	}},
	{name: "an empty log starts and ends at 0 and has no times", run: func(b *broker) {
		topic := b.topic(1)
		same(b, "the start of the log", b.earliest(topic), 0)
		same(b, "the end of the log", b.latest(topic), 0)
		b.lookedUp(topic, 0, -1, -1)
		b.lookedUp(topic, greatest, -1, -1)
	}},
	{name: "a record that was stamped on arrival is found by the broker's time", run: func(b *broker) {
		topic := b.topic(1, "message.timestamp.type=LogAppendTime")
		p := b.produceOne(topic, timed(1000))
		b.is("writing", p.ErrorCode, nil)
		b.lookedUp(topic, 2000, 0, p.LogAppendTime)
		b.lookedUp(topic, p.LogAppendTime+1, -1, -1)
	}},
	{name: "lookups go through several segments", run: func(b *broker) {
		topic := b.topic(1, "segment.ms=1000", "retention.ms=-1")
		for i := int64(1); i <= 5; i++ {
			b.append(topic, timed(i*10_000, i*10_000+1))
		}
		for i := int64(1); i <= 5; i++ {
			b.lookedUp(topic, i*10_000, 2*i-2, i*10_000)
			b.lookedUp(topic, i*10_000+1, 2*i-1, i*10_000+1)
		}
	}},
	{name: "a lookup with a leader epoch of the future is refused", run: func(b *broker) {
		topic := ten(b)
		b.is("with the epoch there is", b.lookup(topic, 0, -1, b.describeTopic(topic).Partitions[0].LeaderEpoch).ErrorCode, nil)
		b.is("with a later one", b.lookup(topic, 0, -1, 1000).ErrorCode, kerr.UnknownLeaderEpoch)
		b.is("in a partition that is not there", b.lookup(topic, 7, -1, -1).ErrorCode, kerr.UnknownTopicOrPartition)
	}},
}

// timed is a batch of records with these times.
func timed(times ...int64) batch {
	var b batch
	for _, ms := range times {
		r := rec("k=v")
		r.Timestamp = time.UnixMilli(ms)
		b.records = append(b.records, r)
	}
	return b.at(time.UnixMilli(times[0]))
}
