package metadata

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/ids"
)

func testID(n int) ids.UUID { return ids.UUID{0: byte(n), 1: byte(n >> 8), 2: byte(n >> 16), 15: 200} }

func mustApply(t testing.TB, base *Image, recs ...Record) *Image {
	t.Helper()
	d := NewDelta(base)
	for _, rec := range recs {
		if err := d.Replay(rec); err != nil {
			t.Fatal(err)
		}
	}
	var offset ids.Offset
	if base != nil {
		offset = base.Offset
	}
	return d.Apply(offset+1, 1)
}

func onePartition(id ids.TopicID, i int32) *PartitionRecord {
	return &PartitionRecord{TopicID: id, PartitionID: i, Partition: Partition{
		Replicas: []ids.NodeID{1}, ISR: []ids.NodeID{1}, Leader: 1, Directories: []ids.DirectoryID{testID(9)},
	}}
}

func manyTopics(t testing.TB, n int) *Image {
	var recs []Record
	for i := range n {
		recs = append(recs, &TopicRecord{Name: fmt.Sprintf("topic-%05d", i), TopicID: testID(i)}, onePartition(testID(i), 0))
	}
	return mustApply(t, nil, recs...)
}

// model is the metadata as plain maps, changed in place.
type model struct {
	cluster  string
	features map[string]int16
	producer ids.ProducerID
	topics   map[string]*Topic
	brokers  map[ids.NodeID]Broker
	configs  map[ConfigResource]map[string]string
}

func newModel() *model {
	return &model{features: map[string]int16{}, topics: map[string]*Topic{}, brokers: map[ids.NodeID]Broker{},
		configs: map[ConfigResource]map[string]string{}}
}

func (m *model) topic(id ids.TopicID) *Topic {
	for _, t := range m.topics {
		if t.ID == id {
			return t
		}
	}
	return nil
}

func (m *model) replay(rec Record, offset ids.Offset) {
	switch r := rec.(type) {
	case *ClusterRecord:
		m.cluster = r.ClusterID
	case *FeatureLevelRecord:
		m.features[r.Name] = r.FeatureLevel
		if r.FeatureLevel == 0 {
			delete(m.features, r.Name)
		}
	case *ProducerIdsRecord:
		m.producer = r.NextProducerID
	case *RegisterBrokerRecord:
		m.brokers[r.BrokerID] = Broker{ID: r.BrokerID, Epoch: int64(offset), Incarnation: r.IncarnationID, Fenced: r.Fenced}
	case *BrokerChangeRecord:
		b := m.brokers[r.BrokerID]
		b.Fenced, b.InControlledShutdown = r.Fenced, r.InControlledShutdown
		m.brokers[r.BrokerID] = b
	case *UnregisterBrokerRecord:
		delete(m.brokers, r.BrokerID)
	case *TopicRecord:
		m.topics[r.Name] = &Topic{Name: r.Name, ID: r.TopicID}
	case *PartitionRecord:
		t := m.topic(r.TopicID)
		t.Partitions = append(t.Partitions, r.Partition)
	case *PartitionChangeRecord:
		p := &m.topic(r.TopicID).Partitions[r.PartitionID]
		p.PartitionEpoch++
		if r.Leader != NoLeaderChange {
			p.Leader = r.Leader
			p.LeaderEpoch++
		}
		if r.ISR != nil {
			p.ISR = r.ISR
		}
		if r.ELR != nil {
			p.ELR = append([]ids.NodeID(nil), r.ELR...)
		}
		if r.LastKnownELR != nil {
			p.LastKnownELR = append([]ids.NodeID(nil), r.LastKnownELR...)
		}
	case *RemoveTopicRecord:
		name := m.topic(r.TopicID).Name
		delete(m.topics, name)
		delete(m.configs, ConfigResource{ResourceTopic, name})
	case *ConfigRecord:
		m.replayConfig(r)
	}
}

func (m *model) replayConfig(r *ConfigRecord) {
	if m.configs[r.Resource] == nil {
		m.configs[r.Resource] = map[string]string{}
	}
	if r.Value == nil {
		delete(m.configs[r.Resource], r.Name)
	} else {
		m.configs[r.Resource][r.Name] = *r.Value
	}
	if len(m.configs[r.Resource]) == 0 {
		delete(m.configs, r.Resource)
	}
}

func (m *model) check(t *rapid.T, img *Image) {
	if img.ClusterID() != m.cluster || img.NextProducerID() != m.producer || !maps.Equal(img.Features(), m.features) {
		t.Fatalf("cluster %q, producer ids %d, features %v; model %+v", img.ClusterID(), img.NextProducerID(), img.Features(), m)
	}
	var names []string
	partitions := 0
	for topic := range img.Topics() {
		names = append(names, topic.Name)
		partitions += len(topic.Partitions)
		byID, _ := img.TopicByID(topic.ID)
		if want := m.topics[topic.Name]; byID != topic || !reflect.DeepEqual(topic, want) {
			t.Fatalf("topic %+v, by its id %+v, model %+v", topic, byID, want)
		}
	}
	if want := slices.Sorted(maps.Keys(m.topics)); !slices.Equal(names, want) || img.TopicCount() != len(want) ||
		img.topicsByID.Len() != len(want) || img.PartitionCount() != partitions {
		t.Fatalf("topics %v, want %v; %d topics, %d ids, %d partitions, want %d",
			names, want, img.TopicCount(), img.topicsByID.Len(), img.PartitionCount(), partitions)
	}
	brokers := map[ids.NodeID]Broker{}
	for b := range img.Brokers() {
		brokers[b.ID] = *b
	}
	if !reflect.DeepEqual(brokers, m.brokers) {
		t.Fatalf("brokers %v, want %v", brokers, m.brokers)
	}
	if img.configs.Len() != len(m.configs) {
		t.Fatalf("%d configs, want %v", img.configs.Len(), m.configs)
	}
	for r, want := range m.configs {
		if !maps.Equal(img.Config(r), want) {
			t.Fatalf("config of %v is %v, want %v", r, img.Config(r), want)
		}
	}
}

// genRecord draws one record that fits the model.
func genRecord(t *rapid.T, m *model, fresh *int) Record {
	existing := slices.Sorted(maps.Keys(m.topics))
	pick := func() *Topic { return m.topics[rapid.SampledFrom(existing).Draw(t, "topic")] }
	kinds := []string{"topic", "topic", "topic", "feature", "producer", "register", "brokerConfig"}
	if len(existing) > 0 {
		kinds = append(kinds, "partition", "partition", "change", "remove", "config")
	}
	if len(m.brokers) > 0 {
		kinds = append(kinds, "unregister", "brokerChange")
	}
	if m.cluster == "" {
		kinds = append(kinds, "cluster")
	}
	value := func() *string {
		if rapid.Bool().Draw(t, "delete") {
			return nil
		}
		return ptr(rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "value"))
	}
	config := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "config")
	*fresh++
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "cluster":
		return &ClusterRecord{ClusterID: "id"}
	case "feature":
		return &FeatureLevelRecord{Name: config, FeatureLevel: rapid.Int16Range(0, 2).Draw(t, "level")}
	case "producer":
		return &ProducerIdsRecord{NextProducerID: m.producer + 1000}
	case "register":
		return &RegisterBrokerRecord{BrokerID: ids.NodeID(rapid.Int32Range(0, 5).Draw(t, "broker")), BrokerEpoch: EpochOfEntry, IncarnationID: testID(*fresh)}
	case "unregister":
		b := m.brokers[rapid.SampledFrom(slices.Sorted(maps.Keys(m.brokers))).Draw(t, "broker")]
		return &UnregisterBrokerRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch}
	case "brokerChange":
		b := m.brokers[rapid.SampledFrom(slices.Sorted(maps.Keys(m.brokers))).Draw(t, "broker")]
		return &BrokerChangeRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch, Fenced: rapid.Bool().Draw(t, "fenced"), InControlledShutdown: rapid.Bool().Draw(t, "leaving")}
	case "brokerConfig":
		return &ConfigRecord{Resource: ConfigResource{ResourceBroker, rapid.SampledFrom([]string{"", "1"}).Draw(t, "broker")}, Name: config, Value: value()}
	case "partition":
		topic := pick()
		return onePartition(topic.ID, int32(len(topic.Partitions)))
	case "change":
		if topic := pick(); len(topic.Partitions) > 0 {
			return &PartitionChangeRecord{TopicID: topic.ID, PartitionID: rapid.Int32Range(0, int32(len(topic.Partitions)-1)).Draw(t, "partition"),
				Leader: rapid.SampledFrom([]ids.NodeID{NoLeaderChange, ids.NoNode, 1}).Draw(t, "leader"),
				ELR:    rapid.SampledFrom([][]ids.NodeID{nil, {}, {1}, {2, 1}}).Draw(t, "elr"), LastKnownELR: rapid.SampledFrom([][]ids.NodeID{nil, {}, {1}}).Draw(t, "last known")}
		}
	case "remove":
		return &RemoveTopicRecord{TopicID: pick().ID}
	case "config":
		return &ConfigRecord{Resource: ConfigResource{ResourceTopic, pick().Name}, Name: config, Value: value()}
	}
	name := fmt.Sprintf("t%03d", rapid.IntRange(0, 400).Draw(t, "name"))
	if m.topics[name] != nil {
		return &RemoveTopicRecord{TopicID: m.topics[name].ID}
	}
	return &TopicRecord{Name: name, TopicID: testID(*fresh)}
}

// Any sequence of records gives what plain maps would; every image stays as it was
// when later ones are made of it, several even; and its Records give it again.
func TestImageEqualsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, img, fresh := newModel(), (&Image{}), 0
		type frozen struct {
			img     *Image
			records []Record
		}
		var olds []frozen
		for range rapid.IntRange(1, 12).Draw(t, "entries") {
			d := NewDelta(img)
			offset := img.Offset + 1
			for range rapid.IntRange(0, 60).Draw(t, "records") {
				rec := genRecord(t, m, &fresh)
				if brokerEpoch(rec) == int64(offset) {
					continue // registered by this very entry: its epoch is not known before Apply
				}
				if err := d.Replay(rec); err != nil {
					t.Fatal(err)
				}
				m.replay(rec, offset)
			}
			abandoned := NewDelta(img) // another delta on the same base must not be seen
			if abandoned.Replay(&TopicRecord{Name: "abandoned", TopicID: testID(1 << 20)}) == nil {
				abandoned.Apply(offset, 9)
			}
			img = d.Apply(offset, 1)
			m.check(t, img)
			olds = append(olds, frozen{img, deepRecords(t, img)})
		}
		for _, old := range olds {
			if got := slices.Collect(old.img.Records()); !reflect.DeepEqual(got, old.records) {
				t.Fatalf("image of offset %d changed: %v, was %v", old.img.Offset, got, old.records)
			}
			back, err := ReadSnapshot(old.img.AppendSnapshot(nil), old.img.Offset, old.img.Epoch)
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.Collect(back.Records()); !reflect.DeepEqual(got, old.records) {
				t.Fatalf("snapshot of offset %d gives %v, want %v", old.img.Offset, got, old.records)
			}
		}
		back, _ := ReadSnapshot(img.AppendSnapshot(nil), img.Offset, img.Epoch)
		m.check(t, back)
	})
}

// brokerEpoch is the epoch that a record names, -1 where it names none.
func brokerEpoch(rec Record) int64 {
	switch rec := rec.(type) {
	case *UnregisterBrokerRecord:
		return rec.BrokerEpoch
	case *BrokerChangeRecord:
		return rec.BrokerEpoch
	}
	return -1
}

// deepRecords returns the records of img without memory that img could share.
func deepRecords(t *rapid.T, img *Image) []Record {
	var all []Record
	for chunk := range slices.Chunk(slices.Collect(img.Records()), 1000) {
		recs, err := ReadEnvelope(AppendEnvelope(nil, chunk))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, recs...)
	}
	return all
}

func TestReplayRefuses(t *testing.T) {
	base := mustApply(t, nil,
		&ClusterRecord{ClusterID: "c"},
		&TopicRecord{Name: "a", TopicID: testID(1)}, onePartition(testID(1), 0),
		&RegisterBrokerRecord{BrokerID: 1, BrokerEpoch: EpochOfEntry},
		&ProducerIdsRecord{NextProducerID: 1000})
	tests := []struct {
		name string
		rec  Record
	}{
		{"a second cluster id", &ClusterRecord{ClusterID: "d"}},
		{"a topic that exists", &TopicRecord{Name: "a", TopicID: testID(2)}},
		{"an id that exists", &TopicRecord{Name: "b", TopicID: testID(1)}},
		{"a topic without a name", &TopicRecord{TopicID: testID(2)}},
		{"a topic without an id", &TopicRecord{Name: "b"}},
		{"a partition of no topic", onePartition(testID(2), 0)},
		{"a partition beyond the next", onePartition(testID(1), 2)},
		{"a change of no topic", &PartitionChangeRecord{TopicID: testID(2)}},
		{"a change of no partition", &PartitionChangeRecord{TopicID: testID(1), PartitionID: 1}},
		{"a change of a negative partition", &PartitionChangeRecord{TopicID: testID(1), PartitionID: -1}},
		{"removing no topic", &RemoveTopicRecord{TopicID: testID(2)}},
		{"configuring no topic", &ConfigRecord{Resource: ConfigResource{ResourceTopic, "b"}, Name: "n"}},
		{"removing no broker", &UnregisterBrokerRecord{BrokerID: 2}},
		{"removing a broker of another epoch", &UnregisterBrokerRecord{BrokerID: 1, BrokerEpoch: 2}},
		{"changing no broker", &BrokerChangeRecord{BrokerID: 2, BrokerEpoch: 1}},
		{"changing a broker of another epoch", &BrokerChangeRecord{BrokerID: 1, BrokerEpoch: 2, Fenced: true}},
		{"producer ids that are out", &ProducerIdsRecord{NextProducerID: 1000}},
		{"nothing", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := NewDelta(base).Replay(tt.rec); !errors.Is(err, ErrInconsistent) {
				t.Fatalf("Replay = %v", err)
			}
		})
	}
	d := NewDelta(base)
	img := d.Apply(2, 1)
	if err := d.Replay(&FeatureLevelRecord{Name: "f", FeatureLevel: 1}); !errors.Is(err, ErrInconsistent) || d.Apply(3, 1) != img || img.Offset != 2 {
		t.Fatalf("an applied delta goes on: %v", err)
	}
}

func TestBrokerEpochIsTheOffsetOfItsEntry(t *testing.T) {
	d := NewDelta(&Image{Offset: 41})
	if err := d.Replay(&RegisterBrokerRecord{BrokerID: 1, BrokerEpoch: EpochOfEntry}); err != nil {
		t.Fatal(err)
	}
	if b, _ := d.Apply(42, 7).Broker(1); b.Epoch != 42 {
		t.Fatalf("epoch %d", b.Epoch)
	}
}

// One change among 10,000 topics copies a few nodes of the trees, no more.
func TestOneChangeAllocatesLittle(t *testing.T) {
	img := manyTopics(t, 10_000)
	changes := map[string]func(i int) []Record{
		"create": func(i int) []Record {
			id := testID(1<<20 + i)
			return []Record{&TopicRecord{Name: fmt.Sprintf("topic-%05d-new", i*7%10_000), TopicID: id}, onePartition(id, 0)}
		},
		"change": func(i int) []Record {
			return []Record{&PartitionChangeRecord{TopicID: testID(i * 7 % 10_000), Leader: 1}}
		},
		"config": func(i int) []Record {
			r := ConfigResource{ResourceTopic, fmt.Sprintf("topic-%05d", i*7%10_000)}
			return []Record{&ConfigRecord{Resource: r, Name: "retention.ms", Value: ptr("1")}}
		},
		"remove": func(i int) []Record { return []Record{&RemoveTopicRecord{TopicID: testID(i * 7 % 10_000)}} },
	}
	for name, change := range changes {
		const rounds = 200
		next := img
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for i := range rounds {
			next = mustApply(t, next, change(i)...)
		}
		runtime.ReadMemStats(&after)
		if perChange := (after.TotalAlloc - before.TotalAlloc) / rounds; perChange >= 10<<10 {
			t.Errorf("%s: %d bytes a change, want less than 10 KiB", name, perChange)
		} else {
			t.Logf("%s: %d bytes a change", name, perChange)
		}
	}
}

func TestLookupsAllocateNothing(t *testing.T) {
	img, id := manyTopics(t, 1000), testID(500)
	n := testing.AllocsPerRun(100, func() {
		if _, ok := img.TopicByID(id); !ok {
			t.Fatal("no such topic")
		}
		if _, ok := img.Partition(ids.TopicPartition{Topic: "topic-00500"}); !ok {
			t.Fatal("no such partition")
		}
	})
	if n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// Goroutines may read one image and make deltas of it at the same time; the race
// detector judges.
func TestImageIsShared(t *testing.T) {
	img := manyTopics(t, 200)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 50 {
				next := mustApply(t, img, &RemoveTopicRecord{TopicID: testID(g*50 + i)})
				if next.TopicCount() != 199 || img.TopicCount() != 200 {
					t.Error("an image saw the changes of another")
				}
				for range img.Topics() {
				}
			}
		})
	}
	wg.Wait()
}

func TestTopicsFromPages(t *testing.T) {
	img := manyTopics(t, 100)
	var names []string
	for cursor := ""; ; {
		page := 0
		for topic := range img.TopicsFrom(cursor) {
			if page == 7 {
				cursor = topic.Name
				break
			}
			names = append(names, topic.Name)
			page++
		}
		if page < 7 {
			break
		}
	}
	if len(names) != 100 || !slices.IsSorted(names) {
		t.Fatalf("%d names: %v", len(names), names)
	}
}

func localNames(list []LocalPartition) (out []string) {
	for _, p := range list {
		out = append(out, fmt.Sprintf("%v:%d@%d", p.TP, p.TopicID[0], p.LeaderEpoch))
	}
	return out
}

func TestLocalChanges(t *testing.T) {
	part := func(topic int, i int32, leader ids.NodeID, replicas ...ids.NodeID) *PartitionRecord {
		return &PartitionRecord{TopicID: testID(topic), PartitionID: i, Partition: Partition{Replicas: replicas, ISR: replicas, Leader: leader}}
	}
	base := mustApply(t, nil,
		&TopicRecord{Name: "a", TopicID: testID(1)}, part(1, 0, 1, 1, 2), part(1, 1, 2, 2, 1), part(1, 2, 3, 3),
		&TopicRecord{Name: "b", TopicID: testID(2)}, part(2, 0, 1, 1))
	tests := []struct {
		name                        string
		recs                        []Record
		leaders, followers, deleted []string
	}{
		{name: "nothing"},
		{name: "a change of partitions elsewhere", recs: []Record{&PartitionChangeRecord{TopicID: testID(1), PartitionID: 2, Leader: 3}}},
		{name: "a new topic", recs: []Record{&TopicRecord{Name: "c", TopicID: testID(3)}, part(3, 0, 1, 1), part(3, 1, 2, 2, 1), part(3, 2, 2, 2)},
			leaders: []string{"c-0:3@0"}, followers: []string{"c-1:3@0"}},
		{name: "more partitions", recs: []Record{part(2, 1, 1, 1)}, leaders: []string{"b-1:2@0"}},
		{name: "the same leader again", recs: []Record{&PartitionChangeRecord{TopicID: testID(2), Leader: 1}}, leaders: []string{"b-0:2@1"}},
		{name: "leader becomes follower", recs: []Record{&PartitionChangeRecord{TopicID: testID(1), Leader: 2}}, followers: []string{"a-0:1@1"}},
		{name: "a replica moves away", recs: []Record{&PartitionChangeRecord{TopicID: testID(1), Leader: 2, Replicas: []ids.NodeID{2}}}, deleted: []string{"a-0:1@0"}},
		{name: "a deleted topic", recs: []Record{&RemoveTopicRecord{TopicID: testID(1)}}, deleted: []string{"a-0:1@0", "a-1:1@0"}},
		{name: "deleted after a change", recs: []Record{&PartitionChangeRecord{TopicID: testID(2), Leader: 1}, &RemoveTopicRecord{TopicID: testID(2)}}, deleted: []string{"b-0:2@0"}},
		{name: "made and deleted", recs: []Record{&TopicRecord{Name: "c", TopicID: testID(3)}, part(3, 0, 1, 1), &RemoveTopicRecord{TopicID: testID(3)}}},
		{name: "deleted and made again", recs: []Record{&RemoveTopicRecord{TopicID: testID(2)}, &TopicRecord{Name: "b", TopicID: testID(4)}, part(4, 0, 1, 1)},
			leaders: []string{"b-0:4@0"}, deleted: []string{"b-0:2@0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := NewDelta(base)
			for _, rec := range tt.recs {
				if err := d.Replay(rec); err != nil {
					t.Fatal(err)
				}
			}
			c := d.LocalChanges(1)
			for _, l := range []struct {
				what string
				got  []LocalPartition
				want []string
			}{{"leaders", c.Leaders, tt.leaders}, {"followers", c.Followers, tt.followers}, {"deleted", c.Deleted, tt.deleted}} {
				if got := localNames(l.got); !slices.Equal(got, l.want) {
					t.Errorf("%s %v, want %v", l.what, got, l.want)
				}
			}
			if c.Empty() != (len(tt.leaders)+len(tt.followers)+len(tt.deleted) == 0) {
				t.Error("Empty is wrong")
			}
			wantSameThroughSnapshot(t, d, 1)
		})
	}
}

func TestChangedConfigs(t *testing.T) {
	base := mustApply(t, nil, &TopicRecord{Name: "a", TopicID: testID(1)},
		&ConfigRecord{Resource: ConfigResource{ResourceTopic, "a"}, Name: "n", Value: ptr("1")})
	d := NewDelta(base)
	for _, rec := range []Record{
		&RemoveTopicRecord{TopicID: testID(1)},
		&TopicRecord{Name: "a", TopicID: testID(2)},
		&ConfigRecord{Resource: ConfigResource{ResourceBroker, ""}, Name: "n", Value: ptr("1")},
	} {
		if err := d.Replay(rec); err != nil {
			t.Fatal(err)
		}
	}
	want := []ConfigResource{{ResourceTopic, "a"}, {ResourceBroker, ""}}
	if got := d.ChangedConfigs(); !slices.Equal(got, want) || d.BrokersChanged() {
		t.Fatalf("%v, brokers %v", got, d.BrokersChanged())
	}
	if img := d.Apply(2, 1); img.Config(want[0]) != nil || img.Config(want[1])["n"] != "1" {
		t.Fatal("the topic of the same name inherited a configuration")
	}
}

func TestRecordsStopEarly(t *testing.T) {
	d := NewDelta(nil)
	for _, rec := range everyRecord()[:6] {
		if _, isUnregister := rec.(*UnregisterBrokerRecord); isUnregister {
			continue
		}
		if err := d.Replay(rec); err != nil {
			t.Fatal(err)
		}
	}
	all := slices.Collect(d.Apply(1, 1).Records())
	for n := range all {
		next, stop := iter.Pull(d.Apply(1, 1).Records())
		for range n {
			next()
		}
		stop()
	}
}
