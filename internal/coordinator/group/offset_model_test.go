package group

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/coordinator/runtime"
	"github.com/moldau/moldau/internal/ids"
)

type modelKey struct {
	group string
	partitionOf
}

type modelOffset struct {
	offset    int64
	epoch     int32
	metadata  string
	committed time.Time
	expires   time.Time // zero for none of its own
	id        ids.TopicID
}

// offsetModel is one flat map beside a shard that is given the same. Group "e" has been a consumer group without members from
// the start, and comes back when it is gone; the others are simple.
type offsetModel struct {
	shard   *Shard
	offsets map[modelKey]modelOffset
	now     time.Time
	log     []runtime.Record // everything that was ever written
}

var modelGroups = []string{"e", "g", "h"}

func (m *offsetModel) write(t *rapid.T, records []runtime.Record) {
	m.log = append(m.log, records...)
	replayAll(t, m.shard, records)
	m.keepEmptyGroup()
}

func (m *offsetModel) keepEmptyGroup() {
	putGroup(m.shard, "e", testGroup{protocol: "consumer", topics: []string{}, emptySince: testStart})
}

func (m *offsetModel) commit(t *rapid.T) {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version = rapid.Int16Range(2, 10).Draw(t, "version")
	req.Group = rapid.SampledFrom(modelGroups).Draw(t, "group")
	expires := time.Time{}
	if rapid.Bool().Draw(t, "own retention") {
		req.RetentionTimeMillis = rapid.Int64Range(0, 2*testRetention.Milliseconds()).Draw(t, "retention")
		if req.Version <= 4 {
			expires = m.now.Add(time.Duration(req.RetentionTimeMillis) * time.Millisecond)
		}
	}
	accepted := make(map[modelKey]modelOffset)
	for range rapid.IntRange(1, 3).Draw(t, "topics") {
		topic := kmsg.NewOffsetCommitRequestTopic()
		topic.Topic = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "topic")
		topic.TopicID = [16]byte{15: rapid.SampledFrom([]byte{0, 101, 102}).Draw(t, "id")}
		for range rapid.IntRange(1, 3).Draw(t, "partitions") {
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.Partition = rapid.Int32Range(0, 3).Draw(t, "partition")
			p.Offset = rapid.Int64Range(0, 1000).Draw(t, "offset")
			p.LeaderEpoch = rapid.Int32Range(-1, 3).Draw(t, "epoch")
			metadata := rapid.SampledFrom([]string{"", "note", "much too long"}).Draw(t, "metadata")
			p.Metadata = &metadata
			topic.Partitions = append(topic.Partitions, p)
			if metadata == "much too long" {
				continue
			}
			o := modelOffset{p.Offset, p.LeaderEpoch, metadata, m.now, expires, topic.TopicID}
			if !expires.IsZero() {
				o.epoch, o.id = -1, ids.TopicID{}
			}
			accepted[modelKey{req.Group, partitionOf{topic.Topic, p.Partition}}] = o
		}
		req.Topics = append(req.Topics, topic)
	}
	_, records := m.shard.offsetCommit(req, m.now)
	if rapid.IntRange(0, 9).Draw(t, "the append fails") == 0 {
		return
	}
	m.write(t, records)
	maps.Copy(m.offsets, accepted)
}

func (m *offsetModel) delete(t *rapid.T) {
	group := rapid.SampledFrom(modelGroups).Draw(t, "group")
	topic := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "topic")
	partitions := rapid.SliceOfNDistinct(rapid.Int32Range(0, 3), 1, 4, rapid.ID[int32]).Draw(t, "partitions")
	_, known := m.shard.groups[group]
	resp, records := m.shard.offsetDelete(deleteOf(group, topic, partitions...))
	if (resp.ErrorCode == 0) != known {
		t.Fatalf("known: %v, answered %d", known, resp.ErrorCode)
	}
	m.write(t, records)
	for _, p := range partitions {
		delete(m.offsets, modelKey{group, partitionOf{topic, p}})
	}
}

func (m *offsetModel) deleteTopic(t *rapid.T) {
	deleted := DeletedTopic{
		Name: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "topic"),
		ID:   ids.TopicID{15: rapid.SampledFrom([]byte{0, 101, 102}).Draw(t, "id")},
	}
	m.write(t, m.shard.topicsDeleted(&TopicsDeleted{Topics: []DeletedTopic{deleted}}))
	maps.DeleteFunc(m.offsets, func(k modelKey, o modelOffset) bool {
		return k.topic == deleted.Name && (o.id.IsZero() || deleted.ID.IsZero() || o.id == deleted.ID)
	})
}

func (m *offsetModel) deleteGroup(t *rapid.T) {
	group := rapid.SampledFrom(modelGroups).Draw(t, "group")
	records := m.shard.offsetTombstones(group)
	if g, ok := m.shard.groups[group]; ok {
		records = append(records, g.tombstones()[0])
	}
	m.write(t, records)
	maps.DeleteFunc(m.offsets, func(k modelKey, _ modelOffset) bool { return k.group == group })
}

func (m *offsetModel) wait(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.Int64Range(1, testRetention.Milliseconds()).Draw(t, "ms")) * time.Millisecond)
}

func (m *offsetModel) expire(t *rapid.T) {
	m.shard.offsets.nextCheck = m.now
	m.write(t, m.shard.expireOffsets(m.now))
	maps.DeleteFunc(m.offsets, func(k modelKey, o modelOffset) bool {
		end := o.committed.Add(testRetention)
		if k.group == "e" {
			end = testStart.Add(testRetention)
		}
		if !o.expires.IsZero() {
			end = o.expires
		}
		return !m.now.Before(end)
	})
	for _, group := range modelGroups[1:] {
		if _, ok := m.shard.groups[group]; ok != m.shard.hasOffsets(group) {
			t.Fatalf("after a check the simple group %s is there: %v, has offsets: %v", group, ok, !ok)
		}
	}
}

// reload makes a new shard of the log, or of what compaction leaves of it: the last record of each key.
func (m *offsetModel) reload(t *rapid.T) {
	if rapid.Bool().Draw(t, "compact") {
		last := make(map[string]int)
		for i, r := range m.log {
			last[string(r.Key)] = i
		}
		kept := slices.Sorted(maps.Values(last))
		var log []runtime.Record
		for _, i := range kept {
			if m.log[i].Value != nil || rapid.Bool().Draw(t, "the tombstone is still there") {
				log = append(log, m.log[i])
			}
		}
		m.log = log
	}
	m.shard = newOffsetShard()
	replayAll(t, m.shard, m.log)
	m.keepEmptyGroup()
}

func (m *offsetModel) check(t *rapid.T) {
	want := make(map[string][]string)
	for _, k := range slices.SortedFunc(maps.Keys(m.offsets), func(a, b modelKey) int { return comparePartitions(a.partitionOf, b.partitionOf) }) {
		o := m.offsets[k]
		want[k.group] = append(want[k.group], fmt.Sprintf("%s-%d: %d epoch %d %q", k.topic, k.partition, o.offset, o.epoch, o.metadata))
	}
	for _, group := range modelGroups {
		if got := printFetch(m.shard.offsetFetch(fetchOf(8, group))); !slices.Equal(got, want[group]) {
			t.Fatalf("group %s has %q, not %q", group, got, want[group])
		}
		if m.shard.hasOffsets(group) != (len(want[group]) > 0) {
			t.Fatalf("group %s has offsets: %v", group, m.shard.hasOffsets(group))
		}
	}
	for k, o := range m.offsets {
		asked := ids.TopicID{15: 101}
		told := o.offset
		if !o.id.IsZero() && o.id != asked {
			told = -1
		}
		resp := m.shard.offsetFetch(askFor(fetchOf(10, k.group), k.topic, asked, k.partition))
		if got := resp.Groups[0].Topics[0].Partitions[0].Offset; got != told {
			t.Fatalf("%v of topic id %v: %d, not %d", k, o.id, got, told)
		}
	}
}

// A shard is a map of what was committed and not deleted or expired since, whatever is made anew of its records.
func TestOffsetsAreAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &offsetModel{shard: newOffsetShard(), offsets: make(map[modelKey]modelOffset), now: testStart}
		m.keepEmptyGroup()
		t.Repeat(map[string]func(*rapid.T){
			"commit":       m.commit,
			"commit again": m.commit,
			"delete":       m.delete,
			"delete topic": m.deleteTopic,
			"delete group": m.deleteGroup,
			"wait":         m.wait,
			"expire":       m.expire,
			"reload":       m.reload,
			"":             m.check,
		})
	})
}
