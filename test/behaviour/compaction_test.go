package behaviour

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A hoard is a compacted topic whose segments are an hour of record time each. It is written from ten days ago on.
type hoard struct {
	b     *broker
	topic string
	clock time.Time // of the records that are written next
}

// hoard makes a topic that is compacted as soon as anything in it can be.
func (b *broker) hoard(configs ...string) *hoard {
	b.Helper()
	all := append([]string{"cleanup.policy=compact", "segment.ms=3600000", "min.cleanable.dirty.ratio=0", "retention.ms=-1"}, configs...)
	// Of a config that is named twice the last one is meant.
	slices.Reverse(all)
	seen := map[string]bool{}
	all = slices.DeleteFunc(all, func(config string) bool {
		name, _, _ := strings.Cut(config, "=")
		defer func() { seen[name] = true }()
		return seen[name]
	})
	return &hoard{b, b.topic(1, all...), time.Now().Add(-10 * day)}
}

// put writes records, each a batch of its own, into the present segment.
func (h *hoard) put(records ...string) *hoard {
	h.b.Helper()
	for _, r := range records {
		h.write(recs(r))
	}
	return h
}

func (h *hoard) write(one batch) *hoard {
	h.b.Helper()
	h.b.append(h.topic, one.at(h.clock))
	h.clock = h.clock.Add(time.Second)
	return h
}

// roll lets the next record begin a segment.
func (h *hoard) roll() *hoard { h.clock = h.clock.Add(2 * time.Hour); return h }

// becomes waits until the log holds these records.
func (h *hoard) becomes(records ...string) {
	h.b.Helper()
	want, got := list(records...), ""
	for deadline := time.Now().Add(patience); got != want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.b.Fatalf("the log is %s, not %s, after %v", got, want, patience)
		}
		got = texts(h.b.read(h.topic))
	}
}

// stays fails the case if compaction changes what the log holds.
func (h *hoard) stays() {
	h.b.Helper()
	before := texts(h.b.read(h.topic))
	h.b.compacts()
	same(h.b, "the log after compaction of others", texts(h.b.read(h.topic)), before)
}

// compacts returns once the broker has looked through all logs for what compaction can do, after this call.
func (b *broker) compacts() {
	b.Helper()
	for range 2 {
		h := b.hoard()
		h.put("k=1", "k=2").roll().put("end=0")
		h.becomes("1:k=2", "2:end=0")
	}
}

var compactionScenarios = []scenario{
	{name: "the last value of each key survives, under its offset", run: func(b *broker) {
		h := b.hoard()
		h.put("a=1", "b=1", "a=2", "c=1", "b=2", "a=3").roll().put("end=0")
		h.becomes("3:c=1", "4:b=2", "5:a=3", "6:end=0")
	}},
	{name: "a value in a later segment takes the place of one in an earlier", run: func(b *broker) {
		h := b.hoard()
		h.put("a=1", "b=1").roll().put("a=2").roll().put("c=1").roll().put("end=0")
		h.becomes("1:b=1", "2:a=2", "3:c=1", "4:end=0")
	}},
	{name: "a log is compacted again when more has come", run: func(b *broker) {
		h := b.hoard()
		h.put("a=1", "a=2").roll().put("b=1")
		h.becomes("1:a=2", "2:b=1")
		h.put("a=3").roll().put("end=0")
		h.becomes("2:b=1", "3:a=3", "4:end=0")
	}},
	{name: "the segment that is written to is not compacted", run: func(b *broker) {
		h := b.hoard()
		h.put("a=1", "a=2").roll().put("b=1", "b=2", "a=3")
		h.becomes("1:a=2", "2:b=1", "3:b=2", "4:a=3")
		h.stays()
	}},
	{name: "a value that only the segment that is written to replaces is kept", run: func(b *broker) {
		h := b.hoard()
		h.put("a=1", "b=1", "b=2").roll().put("a=2")
		h.becomes("0:a=1", "2:b=2", "3:a=2")
		h.stays()
	}},
	{name: "offsets that compaction frees are not given again", run: func(b *broker) {
		h := b.hoard()
		h.put("a=1", "a=2", "a=3").roll().put("b=1")
		h.becomes("2:a=3", "3:b=1")
		same(b, "the end of the log", b.latest(h.topic), 4)
		same(b, "the next offset", b.append(h.topic, recs("c=1").at(h.clock)), 4)
	}},
	{name: "compaction does not move the start of the log", run: func(b *broker) {
		h := b.hoard()
		h.put("a=1", "a=2", "a=3").roll().put("b=1")
		h.becomes("2:a=3", "3:b=1")
		same(b, "the start of the log", b.earliest(h.topic), 0)
		b.is("fetching from it", b.fetchOne(h.topic, 0).ErrorCode, nil)
	}},
	{name: "a fetch in a gap goes on behind it", run: func(b *broker) {
		h := b.hoard()
		h.put("a=1", "b=1", "b=2", "b=3", "c=1").roll().put("end=0")
		h.becomes("0:a=1", "3:b=3", "4:c=1", "5:end=0")
		for from, want := range []string{"0:a=1, 3:b=3, 4:c=1, 5:end=0", "3:b=3, 4:c=1, 5:end=0", "3:b=3, 4:c=1, 5:end=0", "3:b=3, 4:c=1, 5:end=0", "4:c=1, 5:end=0"} {
			same(b, "what is read", texts(b.readFrom(h.topic, int64(from))), want)
		}
	}},
	{name: "a consumer with an offset in a gap reads on", run: func(b *broker) {
		h, group := b.hoard(), b.newGroup()
		h.put("a=1", "b=1", "b=2", "b=3").roll().put("end=0")
		h.becomes("0:a=1", "3:b=3", "4:end=0")
		b.is("committing", b.commit(group, h.topic, 2), nil)
		r := b.reader(group, kgo.ConsumeTopics(h.topic))
		b.until("the rest is read", func() bool { return len(r.values()) >= 2 })
		same(b, "what was read", list(r.values()...), list("3", "0"))
	}},
	{name: "a tombstone takes the key's value and is read until delete.retention.ms", run: func(b *broker) {
		h := b.hoard("delete.retention.ms=3600000")
		h.put("a=1", "b=1", "a").roll().put("end=0")
		h.becomes("1:b=1", "2:a", "3:end=0")
		h.stays()
	}},
	{name: "a tombstone is gone after delete.retention.ms", run: func(b *broker) {
		h := b.hoard("delete.retention.ms=100")
		h.put("a=1", "b=1", "a").roll().put("end=0")
		b.until("it is gone, by the second compaction at the earliest", func() bool {
			h.roll().put("end=0")
			return strings.HasPrefix(h.keys(), "b1 end0")
		})
	}},
	{name: "a key that is written again after its tombstone is there", run: func(b *broker) {
		h := b.hoard("delete.retention.ms=100")
		h.put("a=1", "a", "a=2").roll().put("end=0")
		h.becomes("2:a=2", "3:end=0")
		h.stays()
	}},
	{name: "a record without a key is refused with its whole batch", run: func(b *broker) {
		h := b.hoard()
		p := b.refused(h.topic, recs("a=1", "=nothing", "b=1").at(h.clock), kerr.InvalidRecord)
		same(b, "the record that is told", only(b, p.ErrorRecords).RelativeOffset, 1)
		h.put("a=1")
		same(b, "what is there", texts(b.read(h.topic)), "0:a=1")
	}},
	{name: "a record without a key is refused in one partition, and the other is written", run: func(b *broker) {
		topic := b.topic(2, "cleanup.policy=compact")
		got := b.produce(topic, recs("=nothing"), recs("a=1"))
		for _, p := range got {
			want := kerr.InvalidRecord
			if p.Partition == 1 {
				want = nil
			}
			b.is("writing", p.ErrorCode, want)
		}
		same(b, "the end of the other", b.lookup(topic, 1, -1, -1).Offset, 1)
	}},
	{name: "an empty key is a key", run: func(b *broker) {
		h := b.hoard()
		for _, value := range []string{"1", "2"} {
			h.write(batch{records: []*kgo.Record{{Key: []byte{}, Value: []byte(value)}}})
		}
		h.roll().put("end=0")
		h.becomes("1:=2", "2:end=0")
	}},
	{name: "records younger than min.compaction.lag.ms are not compacted, older ones are", run: func(b *broker) {
		h := b.hoard("min.compaction.lag.ms=86400000")
		h.put("a=1", "a=2").roll().put("end=0")
		h.clock = time.Now().Add(-20 * time.Hour)
		h.put("b=1", "b=2").roll().put("c=1", "c=2").roll().put("end=1")
		h.becomes("1:a=2", "2:end=0", "3:b=1", "4:b=2", "5:c=1", "6:c=2", "7:end=1")
		h.stays()
	}},
	{name: "a log that is not dirty enough is not compacted", run: func(b *broker) {
		h := b.hoard("min.cleanable.dirty.ratio=0.9")
		h.write(batch{records: []*kgo.Record{{Key: []byte("large"), Value: payload(10 << 10)}}}).put("a=1", "a=2").roll().put("b=1")
		b.until("the first time all is dirty", func() bool { return !strings.Contains(h.keys(), "a1") })
		h.put("b=2").roll().put("end=0")
		h.stays()
		same(b, "both are there", strings.Contains(h.keys(), "b1 b2"), true)
		b.set(h.topic, "min.cleanable.dirty.ratio=0.001")
		b.until("it is dirty enough", func() bool { return !strings.Contains(h.keys(), "b1") })
	}},
	{name: "max.compaction.lag.ms has a log compacted however clean it is", run: func(b *broker) {
		h := b.hoard("min.cleanable.dirty.ratio=1")
		h.put("a=1", "a=2").roll().put("end=0")
		h.stays()
		b.set(h.topic, "max.compaction.lag.ms=1000")
		h.becomes("1:a=2", "2:end=0")
	}},
	{name: "a topic that is compacted and deleted loses old values and old segments", run: func(b *broker) {
		h := b.hoard("cleanup.policy=compact,delete", "retention.ms=864000000")
		h.clock = time.Now().Add(-11 * day)
		h.put("a=1").roll().put("b=1")
		b.startsAt(h.topic, 2) // before compaction puts them into one segment with what is young
		h.clock = time.Now().Add(-5 * day)
		h.put("c=1", "c=2").roll().put("end=0")
		h.becomes("3:c=2", "4:end=0")
	}},
	{name: "a producer's batches are known as duplicates after compaction", run: func(b *broker) {
		h, p := b.hoard(), newProducer(b, b)
		for i := range int32(3) {
			h.write(recs(fmt.Sprintf("a=%d", i)).by(p, i))
		}
		h.roll().put("a=9").roll().put("end=0")
		h.becomes("3:a=9", "4:end=0")
		same(b, "where its last batch stays, empty", b.lastOf(h.topic, p), 2)
		same(b, "the offset of the last again", b.append(h.topic, recs("a=2").at(h.clock).by(p, 2)), 2)
		b.refused(h.topic, recs("a=4").at(h.clock).by(p, 4), kerr.OutOfOrderSequenceNumber)
		same(b, "the offset of the next", b.append(h.topic, recs("a=3").at(h.clock).by(p, 3)), 5)
	}},
	{name: "a time is found at the first record that is left of it", run: func(b *broker) {
		h := b.hoard()
		start := h.clock.UnixMilli()
		h.put("a=1", "b=1", "a=2", "b=2", "c=1").roll().put("end=0")
		h.becomes("2:a=2", "3:b=2", "4:c=1", "5:end=0")
		b.lookedUp(h.topic, start, 2, start+2000)
		b.lookedUp(h.topic, start+3000, 3, start+3000)
		b.lookedUp(h.topic, start+3001, 4, start+4000)
	}},
	{name: "what is left of a batch keeps times, headers and codec", run: func(b *broker) {
		h := b.hoard()
		kept := rec("b=2")
		kept.Headers = []kgo.RecordHeader{{Key: "h", Value: []byte("1")}}
		kept.Timestamp = h.clock.Add(5 * time.Second).Truncate(time.Millisecond)
		one := batch{records: []*kgo.Record{rec("a=1"), rec("b=1"), kept, rec("a=2")}}.packed(kgo.ZstdCompression())
		h.write(one).roll().put("end=0")
		h.becomes("2:b=2", "3:a=2", "4:end=0")
		got := b.read(h.topic)[0]
		same(b, "the time", got.Timestamp.Equal(kept.Timestamp), true)
		same(b, "the codec", got.Attrs.CompressionType(), 4)
		same(b, "the header", fmt.Sprint(got.Headers), fmt.Sprint(kept.Headers))
	}},
	{name: "a topic that becomes compacted is compacted from its start, and keyless records go", run: func(b *broker) {
		h := b.hoard("cleanup.policy=delete")
		h.put("a=1", "=nothing", "a=2").roll().put("end=0")
		h.stays()
		b.set(h.topic, "cleanup.policy=compact")
		h.becomes("2:a=2", "3:end=0")
	}},
	{name: "many keys over many segments are each there once", run: func(b *broker) {
		h := b.hoard()
		var want []string
		for round := range 5 {
			var all batch
			for key := range 200 {
				all.records = append(all.records, rec(fmt.Sprintf("%d=%d", key, round)))
				if round == 4 {
					want = append(want, fmt.Sprintf("%d:%d=%d", 800+key, key, round))
				}
			}
			h.write(all).roll()
		}
		h.put("end=0")
		h.becomes(append(want, "1000:end=0")...)
	}},
}

// lastOf returns the offset of the one batch that is left of a producer, without records.
func (b *broker) lastOf(topic string, p *producer) int64 {
	b.Helper()
	raw, last := b.fetchOne(topic, 0).RecordBatches, []int64{}
	for len(raw) > 0 {
		var kb kmsg.RecordBatch
		b.must("reading", kb.ReadFrom(raw))
		if kb.ProducerID == p.id {
			same(b, "records of the producer's batch", kb.NumRecords, 0)
			last = append(last, kb.FirstOffset+int64(kb.LastOffsetDelta))
		}
		raw = raw[12+kb.Length:]
	}
	return only(b, last)
}

// policyScenarios need no compaction, but that a topic may have it.
var policyScenarios = []scenario{
	{name: "records of a topic that is only compacted cannot be deleted", run: func(b *broker) {
		topic := ten(b, "cleanup.policy=compact")
		b.is("deleting", b.deleteRecords(topic, 5).ErrorCode, kerr.PolicyViolation)
		same(b, "the start of the log", b.earliest(topic), 0)
	}},
	{name: "records of a topic that is compacted and deleted can be deleted", run: func(b *broker) {
		topic := ten(b, "cleanup.policy=compact,delete")
		b.is("deleting", b.deleteRecords(topic, 5).ErrorCode, nil)
		same(b, "the start of the log", b.earliest(topic), 5)
	}},
	{name: "a policy that is changed from compact to delete goes for what there is", run: func(b *broker) {
		topic := b.topic(1, "cleanup.policy=compact", "retention.ms=1000")
		b.append(topic, recs("a=1").at(time.Now().Add(-time.Hour)))
		b.keeps(topic)
		b.set(topic, "cleanup.policy=delete")
		b.startsAt(topic, 1)
	}},
	{name: "a list of policies grows by what is appended", run: func(b *broker) {
		topic := b.topic(1, "cleanup.policy=delete")
		b.is("appending", b.alter(topic, op{add, "cleanup.policy", "compact"}).ErrorCode, nil)
		b.configured(topic, "cleanup.policy", "delete,compact")
		b.is("appending it again", b.alter(topic, op{add, "cleanup.policy", "compact"}).ErrorCode, nil)
		b.configured(topic, "cleanup.policy", "delete,compact")
	}},
	{name: "what is appended to a list of policies that is not set goes behind the default", run: func(b *broker) {
		topic := b.topic(1)
		b.is("appending", b.alter(topic, op{add, "cleanup.policy", "compact"}).ErrorCode, nil)
		b.configured(topic, "cleanup.policy", "delete,compact")
	}},
	{name: "a list of policies shrinks by what is subtracted", run: func(b *broker) {
		topic := b.topic(1, "cleanup.policy=compact,delete")
		b.is("subtracting", b.alter(topic, op{subtract, "cleanup.policy", "compact"}).ErrorCode, nil)
		b.configured(topic, "cleanup.policy", "delete")
		b.is("subtracting what is not there", b.alter(topic, op{subtract, "cleanup.policy", "compact"}).ErrorCode, nil)
		b.configured(topic, "cleanup.policy", "delete")
	}},
	{name: "the topic of committed offsets is compacted", run: func(b *broker) {
		b.newGroup()
		same(b, "the cleanup policy", b.config(offsetsTopic, "cleanup.policy"), "compact")
	}},
}

// keys are the keys with their values, large ones left out.
func (h *hoard) keys() string {
	h.b.Helper()
	var all []string
	for _, r := range h.b.read(h.topic) {
		if len(r.Value) < 10 {
			all = append(all, string(r.Key)+string(r.Value))
		}
	}
	return strings.Join(all, " ")
}
