package replica

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/deferred"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/vfs"
)

const self = ids.NodeID(1)

// fixture is a table over a store in memory, and the metadata that it follows.
type fixture struct {
	*Table
	t      *testing.T
	fs     *vfs.Fault
	store  *log.Store
	image  *metadata.Image
	offset ids.Offset
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, fs: vfs.NewFault(vfs.NewMem())}
	f.open()
	return f
}

// open opens the store and makes an empty table.
func (f *fixture) open() {
	f.t.Helper()
	discard := slog.New(slog.DiscardHandler)
	store, err := log.OpenStore(log.StoreConfig{
		FS: f.fs, Dirs: []string{"/data", "/more"}, NodeID: self, ClusterID: "wzfeT1BvQ5C-sWlyGfvXRg", Logger: discard,
		Config: func(string) log.Config { return log.DefaultConfig() },
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.store, f.image = store, metadata.NewDelta(nil).Apply(0, 0)
	f.Table = NewTable(Config{Node: self, Logs: store, Settings: settings, Logger: discard})
}

// restart closes the store cleanly and follows the whole metadata again, as a broker does.
func (f *fixture) restart() {
	f.t.Helper()
	before := f.image
	f.CloseAll(kerr.NotLeaderForPartition)
	if err := f.store.Close(); err != nil {
		f.t.Fatal(err)
	}
	f.open()
	var all []metadata.Record
	for r := range before.Records() {
		all = append(all, r)
	}
	f.apply(all...)
}

// settings have max.message.bytes alone.
func settings(img *metadata.Image, topic string) (log.Config, partition.Policy) {
	cfg := log.DefaultConfig()
	for _, r := range []metadata.ConfigResource{{Type: metadata.ResourceBroker}, {Type: metadata.ResourceTopic, Name: topic}} {
		if v := img.Config(r)["max.message.bytes"]; v != "" {
			cfg.MaxMessageBytes = int32(len(v)) // any number will do
		}
	}
	return cfg, partition.Policy{MaxMessageBytes: cfg.MaxMessageBytes, SegmentBytes: cfg.SegmentBytes, MinInSyncReplicas: 1}
}

func (f *fixture) apply(records ...metadata.Record) {
	f.t.Helper()
	delta := metadata.NewDelta(f.image)
	for _, r := range records {
		if err := delta.Replay(r); err != nil {
			f.t.Fatal(err)
		}
	}
	f.offset++
	f.image = delta.Apply(f.offset, 1)
	f.Apply(delta, f.image)
}

// topicOf are the records that make a topic of partitions which the leaders given lead alone.
func topicOf(name string, id ids.TopicID, leaders ...ids.NodeID) []metadata.Record {
	records := []metadata.Record{&metadata.TopicRecord{Name: name, TopicID: id}}
	for i, leader := range leaders {
		records = append(records, partitionOf(id, int32(i), leader))
	}
	return records
}

func partitionOf(id ids.TopicID, number int32, leader ids.NodeID) *metadata.PartitionRecord {
	who := []ids.NodeID{leader}
	return &metadata.PartitionRecord{TopicID: id, PartitionID: number, Partition: metadata.Partition{
		Replicas: who, ISR: who, Leader: leader, Directories: []ids.DirectoryID{ids.NewUUID()},
	}}
}

func (f *fixture) partition(name string, number int32) *partition.Partition {
	f.t.Helper()
	p, err := f.ByName([]byte(name), number)
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

// put appends one record.
func put(t *testing.T, p *partition.Partition) {
	t.Helper()
	b := record.NewBuilder().Append(time.Now().UnixMilli(), nil, []byte("x")).MustBuild()
	if _, err := p.AppendAsLeader(b, 1); err != nil {
		t.Fatal(err)
	}
}

// want checks which error names a partition; nil is none.
func (f *fixture) want(name string, id ids.TopicID, number int32, byName, byID *kerr.Error) {
	f.t.Helper()
	_, err := f.ByName([]byte(name), number)
	if byName == nil && err != nil || byName != nil && !errors.Is(err, byName) {
		f.t.Errorf("%s-%d by name: %v, want %v", name, number, err, byName)
	}
	_, err = f.ByID(id, number)
	if byID == nil && err != nil || byID != nil && !errors.Is(err, byID) {
		f.t.Errorf("%s-%d by id: %v, want %v", name, number, err, byID)
	}
}

func TestCreateAndFind(t *testing.T) {
	f := newFixture(t)
	id := ids.NewUUID()
	f.want("t", id, 0, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID)
	f.apply(topicOf("t", id, self, self+1, self)...)
	f.want("t", id, 0, nil, nil)
	f.want("t", id, 1, kerr.NotLeaderForPartition, kerr.NotLeaderForPartition)
	f.want("t", id, 2, nil, nil)
	f.want("t", id, 3, kerr.UnknownTopicOrPartition, kerr.UnknownTopicOrPartition)
	f.want("t", id, -1, kerr.UnknownTopicOrPartition, kerr.UnknownTopicOrPartition)
	if p := f.partition("t", 2); p.TopicPartition().Partition != 2 || p.TopicID() != id {
		t.Errorf("%v of %v", p.TopicPartition(), p.TopicID())
	}
	put(t, f.partition("t", 0))
}

func TestMorePartitions(t *testing.T) {
	f := newFixture(t)
	id := ids.NewUUID()
	f.apply(topicOf("t", id, self)...)
	first := f.partition("t", 0)
	put(t, first)
	f.apply(partitionOf(id, 1, self), partitionOf(id, 2, self))
	f.want("t", id, 2, nil, nil)
	if f.partition("t", 0) != first || first.Log().EndOffset() != 1 {
		t.Error("the first partition is another one now")
	}
}

func TestDelete(t *testing.T) {
	f := newFixture(t)
	id := ids.NewUUID()
	f.apply(topicOf("t", id, self, self)...)
	f.apply(topicOf("other", ids.NewUUID(), self)...)
	p, watch := f.partition("t", 1), partition.NewWatch()
	put(t, p)
	p.Watch(watch, 4)
	var told error
	p.WhenCommitted(99, deferred.Func(func(err error) { told = err }))
	f.apply(&metadata.RemoveTopicRecord{TopicID: id})
	f.want("t", id, 0, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID)
	if !errors.Is(told, kerr.UnknownTopicOrPartition) || len(watch.Take(nil)) != 1 {
		t.Errorf("those who wait were told %v", told)
	}
	if f.store.Log(ids.TopicPartition{Topic: "t", Partition: 1}) != nil {
		t.Error("the log is still there")
	}
	put(t, f.partition("other", 0))
}

// TestRecreate: a topic of the same name is another topic, whether the metadata says so in
// one entry or in two.
func TestRecreate(t *testing.T) {
	for _, together := range []bool{false, true} {
		f := newFixture(t)
		first, second := ids.NewUUID(), ids.NewUUID()
		f.apply(topicOf("t", first, self, self)...)
		old := f.partition("t", 0)
		put(t, old)
		records := append([]metadata.Record{&metadata.RemoveTopicRecord{TopicID: first}}, topicOf("t", second, self)...)
		if together {
			f.apply(records...)
		} else {
			f.apply(records[0])
			f.apply(records[1:]...)
		}
		f.want("t", second, 0, nil, nil)
		f.want("t", first, 1, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID)
		if p := f.partition("t", 0); p == old || p.Log().EndOffset() != 0 || p.TopicID() != second {
			t.Errorf("together %v: the new topic has the records of the old one", together)
		}
		put(t, f.partition("t", 0))
		f.restart()
		if end := f.partition("t", 0).Log().EndOffset(); end != 1 {
			t.Errorf("together %v: ends at %d after a restart", together, end)
		}
	}
}

func TestRestart(t *testing.T) {
	f := newFixture(t)
	id := ids.NewUUID()
	f.apply(topicOf("t", id, self, self)...)
	put(t, f.partition("t", 0))
	put(t, f.partition("t", 0))
	f.restart()
	if end, hw := f.partition("t", 0).Log().EndOffset(), f.partition("t", 0).Log().HighWatermark(); end != 2 || hw != 2 {
		t.Errorf("ends at %d, high watermark %d", end, hw)
	}
	if end := f.partition("t", 1).Log().EndOffset(); end != 0 {
		t.Errorf("the empty partition ends at %d", end)
	}
	put(t, f.partition("t", 0))
}

// TestLogOfAnEarlierTopic: what is on disk under the name but of another topic id, because the
// broker was down when that was deleted, is deleted and not served.
func TestLogOfAnEarlierTopic(t *testing.T) {
	f := newFixture(t)
	f.apply(topicOf("t", ids.NewUUID(), self)...)
	put(t, f.partition("t", 0))
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}
	f.open()
	second := ids.NewUUID()
	f.apply(topicOf("t", second, self)...)
	if p := f.partition("t", 0); p.Log().EndOffset() != 0 || p.Log().TopicID() != second {
		t.Errorf("ends at %d, topic id %s", p.Log().EndOffset(), p.Log().TopicID())
	}
	put(t, f.partition("t", 0))
}

func TestConfigChange(t *testing.T) {
	value := func(of metadata.ConfigResource, v string) *metadata.ConfigRecord {
		return &metadata.ConfigRecord{Resource: of, Name: "max.message.bytes", Value: &v}
	}
	topic, broker := metadata.ConfigResource{Type: metadata.ResourceTopic, Name: "t"}, metadata.ConfigResource{Type: metadata.ResourceBroker}
	f := newFixture(t)
	f.apply(append(topicOf("t", ids.NewUUID(), self, self), value(topic, "*****"))...)
	f.apply(topicOf("u", ids.NewUUID(), self)...)
	check := func(when string, t0, u0 int32) {
		t.Helper()
		for name, want := range map[string]int32{"t": t0, "u": u0} {
			p := f.partition(name, 0)
			if got := p.Policy().MaxMessageBytes; got != want || p.Log().Config().MaxMessageBytes != want {
				t.Errorf("%s: %s has %d and %d, want %d", when, name, got, p.Log().Config().MaxMessageBytes, want)
			}
		}
	}
	unset := log.DefaultConfig().MaxMessageBytes
	check("with the topic", 5, unset)
	f.apply(value(topic, "***"))
	check("changed", 3, unset)
	f.apply(value(broker, "**"))
	check("of all brokers", 3, 2)
	f.apply(&metadata.ConfigRecord{Resource: topic, Name: "max.message.bytes"})
	check("removed", 2, 2)
	f.apply(value(metadata.ConfigResource{Type: metadata.ResourceTopic, Name: "t"}, "*******"), partitionOf(f.topicID("t"), 2, self))
	if got := f.partition("t", 2).Policy().MaxMessageBytes; got != 7 {
		t.Errorf("a new partition has %d", got)
	}
}

func (f *fixture) topicID(name string) ids.TopicID {
	f.t.Helper()
	topic, ok := f.image.Topic(name)
	if !ok {
		f.t.Fatalf("no topic %s", name)
	}
	return topic.ID
}

// failingLogs cannot make logs while fail is set.
type failingLogs struct {
	Logs
	fail bool
}

func (l *failingLogs) Create(tp ids.TopicPartition, id ids.TopicID, cfg log.Config) (*log.Log, error) {
	if l.fail {
		return nil, kerr.KafkaStorageError
	}
	return l.Logs.Create(tp, id, cfg)
}

// TestPartitionThatCannotBeOpened: it is offline, the others are served, and its
// deletion leaves nothing behind.
func TestPartitionThatCannotBeOpened(t *testing.T) {
	f := newFixture(t)
	logs := &failingLogs{Logs: f.store, fail: true}
	f.Table = NewTable(Config{Node: self, Logs: logs, Settings: settings, Logger: slog.New(slog.DiscardHandler)})
	id := ids.NewUUID()
	f.apply(topicOf("t", id, self)...)
	f.want("t", id, 0, kerr.KafkaStorageError, kerr.KafkaStorageError)
	logs.fail = false
	f.apply(topicOf("u", ids.NewUUID(), self)...)
	put(t, f.partition("u", 0))
	f.apply(&metadata.RemoveTopicRecord{TopicID: id})
	f.want("t", id, 0, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID)
	again := ids.NewUUID()
	f.apply(topicOf("t", again, self)...)
	put(t, f.partition("t", 0))
}

// TestOpenedAtTheNextChange: a partition that could not be opened gets another try when the
// metadata says something new of it.
func TestOpenedAtTheNextChange(t *testing.T) {
	f := newFixture(t)
	logs := &failingLogs{Logs: f.store, fail: true}
	f.Table = NewTable(Config{Node: self, Logs: logs, Settings: settings, Logger: slog.New(slog.DiscardHandler)})
	id := ids.NewUUID()
	f.apply(topicOf("t", id, self)...)
	logs.fail = false
	f.apply(&metadata.PartitionChangeRecord{TopicID: id, PartitionID: 0, Leader: self})
	put(t, f.partition("t", 0))
}

func TestCloseAll(t *testing.T) {
	f := newFixture(t)
	f.apply(topicOf("t", ids.NewUUID(), self)...)
	f.apply(topicOf("u", ids.NewUUID(), self)...)
	told := 0
	for _, name := range []string{"t", "u"} {
		f.partition(name, 0).WhenCommitted(9, deferred.Func(func(err error) {
			if errors.Is(err, kerr.NotLeaderForPartition) {
				told++
			}
		}))
	}
	f.CloseAll(kerr.NotLeaderForPartition)
	if told != 2 {
		t.Errorf("%d of 2 were told", told)
	}
}
