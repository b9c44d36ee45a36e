package metadata

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/ids"
)

func ptr[T any](v T) *T { return &v }

// everyRecord has one record of each type, with every field set.
func everyRecord() []Record {
	id := func(b byte) ids.UUID { return ids.UUID{0: b, 15: 200} }
	return []Record{
		&ClusterRecord{ClusterID: "c", Voters: []Voter{{1, id(1)}, {2, id(2)}}},
		&FeatureLevelRecord{Name: VersionFeature, FeatureLevel: 1},
		&RegisterBrokerRecord{
			BrokerID: 1, IncarnationID: id(3), BrokerEpoch: EpochOfEntry,
			Endpoints: []Endpoint{{"PLAINTEXT", "h", 9092, 0}, {"SSL", "", 0, 1}},
			Rack:      ptr(""), LogDirs: []ids.DirectoryID{id(1)}, Fenced: true, CleanShutdown: true,
		},
		&UnregisterBrokerRecord{BrokerID: 1, BrokerEpoch: 300},
		&TopicRecord{Name: "t", TopicID: id(4)},
		&PartitionRecord{TopicID: id(4), PartitionID: 0, Partition: Partition{
			Replicas: []ids.NodeID{1, 2}, ISR: []ids.NodeID{}, Leader: ids.NoNode, LeaderEpoch: 5, PartitionEpoch: 6,
			Directories: []ids.DirectoryID{UnassignedDirectory, id(1)},
		}},
		&PartitionChangeRecord{TopicID: id(4), PartitionID: 0, Leader: NoLeaderChange, ISR: []ids.NodeID{2}},
		&RemoveTopicRecord{TopicID: id(4)},
		&ConfigRecord{Resource: ConfigResource{ResourceBroker, ""}, Name: "n", Value: ptr("")},
		&ConfigRecord{Resource: ConfigResource{ResourceTopic, "t"}, Name: "n"},
		&ProducerIdsRecord{BrokerID: 1, BrokerEpoch: 300, NextProducerID: 1000},
		&RegisterBrokerRecord{BrokerID: 2, IncarnationID: id(5), BrokerEpoch: 301, InControlledShutdown: true},
		&PartitionRecord{TopicID: id(4), PartitionID: 0, Partition: Partition{
			Replicas: []ids.NodeID{1, 2}, ISR: []ids.NodeID{}, Leader: ids.NoNode, ELR: []ids.NodeID{2}, LastKnownELR: []ids.NodeID{1},
		}},
		&PartitionChangeRecord{TopicID: id(4), PartitionID: 0, Leader: 2, ELR: []ids.NodeID{}},
		&PartitionChangeRecord{TopicID: id(4), PartitionID: 0, Leader: 2, LastKnownELR: []ids.NodeID{1}},
		&BrokerChangeRecord{BrokerID: 1, BrokerEpoch: 300, Fenced: true, InControlledShutdown: true},
		&BrokerChangeRecord{BrokerID: 1, BrokerEpoch: 300, OfflineDirs: []ids.DirectoryID{id(6)}, FullDirs: []ids.DirectoryID{}},
		&RegisterBrokerRecord{BrokerID: 2, IncarnationID: id(5), BrokerEpoch: 301, FullDirs: []ids.DirectoryID{id(6), id(7)}},
	}
}

func TestEnvelopeRoundTrip(t *testing.T) {
	seen := map[recordType]bool{}
	for _, rec := range everyRecord() {
		kind, _ := rec.kind()
		seen[kind] = true
		back, err := ReadEnvelope(AppendEnvelope(nil, []Record{rec}))
		if err != nil || !reflect.DeepEqual(back, []Record{rec}) {
			t.Errorf("%T: read back %+v, %v; wrote %+v", rec, back, err, rec)
		}
	}
	for kind := recordType(1); kind <= typeLast; kind++ {
		if !seen[kind] || newRecord(kind) == nil {
			t.Errorf("record type %d is not tested or not readable", kind)
		}
	}
	all := everyRecord()
	back, err := ReadEnvelope(AppendEnvelope(nil, all))
	if err != nil || !reflect.DeepEqual(back, all) {
		t.Fatalf("all in one envelope: %v", err)
	}
	if back, err := ReadEnvelope(AppendEnvelope(nil, nil)); err != nil || len(back) != 0 {
		t.Fatalf("an empty envelope: %v, %v", back, err)
	}
}

// The bytes are a format: they may change only with a version. docs/format/metadata.md
// walks through the same envelope.
func TestEnvelopeBytes(t *testing.T) {
	recs := []Record{
		&FeatureLevelRecord{Name: VersionFeature, FeatureLevel: 1},
		&ConfigRecord{Resource: ConfigResource{ResourceTopic, "t"}, Name: "n"},
	}
	const want = "0102" + "020011" + "0e" + "6d6f6c6461752e76657273696f6e" + "02" + "00" +
		"090007" + "02" + "0174" + "016e" + "00" + "00"
	if got := hex.EncodeToString(AppendEnvelope(nil, recs)); got != want {
		t.Fatalf("bytes\n%s, want\n%s", got, want)
	}
}

func TestEnvelopeRefuses(t *testing.T) {
	good := AppendEnvelope(nil, []Record{&RemoveTopicRecord{}})
	edit := func(at int, b byte) []byte { c := bytes.Clone(good); c[at] = b; return c }
	tests := []struct {
		name string
		b    []byte
		want error
		text string
	}{
		{"nothing", nil, ErrCorrupt, ""},
		{"format 0", edit(0, 0), ErrCorrupt, "format 0"},
		{"a later format", edit(0, 2), ErrNewer, "moldau.version"},
		{"record type 0", edit(2, 0), ErrCorrupt, "type 0"},
		{"an unknown record type", edit(2, byte(typeLast)+1), ErrNewer, "moldau.version"},
		{"a huge record type", []byte{1, 1, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 1, 0}, ErrNewer, "moldau.version"},
		{"a later version of a record", edit(3, 1), ErrNewer, "type 8 of version 1"},
		{"a later version of another", []byte{1, 1, byte(typePartition), 2, 1, 0}, ErrNewer, "type 6 of version 2"},
		{"a body that is too short", edit(4, 16), ErrCorrupt, ""},
		{"a body that is too long", edit(4, 18), ErrCorrupt, ""},
		{"bytes behind the last record", append(bytes.Clone(good), 0), ErrCorrupt, "follow the last record"},
		{"fewer records than bytes", edit(1, 0), ErrCorrupt, "follow the last record"},
		{"more records than bytes", edit(1, 100), ErrCorrupt, "announced"},
		{"2^63 records", []byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, ErrCorrupt, "announced"},
		{"a number without end", bytes.Repeat([]byte{1, 0xff}, 20), ErrCorrupt, ""},
		{"too many bytes", make([]byte, MaxEnvelopeBytes+1), ErrCorrupt, "at most"},
		{"too many records", append([]byte{1, 0xa1, 0xc2, 0x1e}, make([]byte, 4*(MaxEnvelopeRecords+1))...), ErrCorrupt, "at most"},
		{"a truth value of 2", []byte{1, 1, 3, 0, 25, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0}, ErrCorrupt, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			recs, err := ReadEnvelope(tt.b)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("ReadEnvelope = %v, %v; want %v with %q", recs, err, tt.want, tt.text)
			}
		})
	}
	for n := range good {
		if _, err := ReadEnvelope(good[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}

// What level 1 of moldau.version knows is written as it always was: a release that
// knows no other reads it.
func TestLevels(t *testing.T) {
	for i, want := range []int16{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3} {
		rec := everyRecord()[i]
		kind, version := rec.kind()
		if got := Level(rec); got != want {
			t.Errorf("%T of version %d needs level %d, want %d", rec, version, got, want)
		}
		if old := want == 1; old && version != 0 || version > latestVersion(kind) {
			t.Errorf("%T is written in version %d", rec, version)
		}
	}
}

// A later release may add tagged fields that this one skips.
func TestEnvelopeSkipsTags(t *testing.T) {
	body := append((&FeatureLevelRecord{Name: "f", FeatureLevel: 3}).appendBody(nil), 2 /*tags*/, 0, 1, 'x', 7, 2, 'y', 'z')
	b := append([]byte{1, 1, byte(typeFeatureLevel), 0, byte(len(body))}, body...)
	recs, err := ReadEnvelope(b)
	if err != nil || !reflect.DeepEqual(recs, []Record{&FeatureLevelRecord{Name: "f", FeatureLevel: 3}}) {
		t.Fatalf("%v, %v", recs, err)
	}
	b[len(b)-4] = 0 // both tags are 0 now
	if _, err := ReadEnvelope(b); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("the same tag twice: %v", err)
	}
}

// FuzzReadEnvelope: no input panics; errors are ErrCorrupt or ErrNewer; what is read
// can be written and read again to the same; memory is bounded by the input.
func FuzzReadEnvelope(f *testing.F) {
	for _, rec := range everyRecord() {
		f.Add(AppendEnvelope(nil, []Record{rec}))
	}
	f.Add(AppendEnvelope(nil, everyRecord()))
	f.Fuzz(func(t *testing.T, b []byte) {
		recs, err := ReadEnvelope(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		back, err := ReadEnvelope(AppendEnvelope(nil, recs))
		if err != nil || !reflect.DeepEqual(recs, back) {
			t.Fatalf("%+v became %+v, %v", recs, back, err)
		}
		d := NewDelta(nil)
		for _, rec := range recs {
			if err := d.Replay(rec); err != nil && !errors.Is(err, ErrInconsistent) {
				t.Fatalf("error of no kind: %v", err)
			}
		}
	})
}

// FuzzReadSnapshot: no input panics; an image that is read can be written and read
// again to the same records.
func FuzzReadSnapshot(f *testing.F) {
	f.Add((&Image{}).AppendSnapshot(nil))
	d := NewDelta(nil)
	for _, rec := range everyRecord() {
		if _, isRemove := rec.(*RemoveTopicRecord); !isRemove && d.Replay(rec) != nil {
			continue
		}
	}
	f.Add(d.Apply(1, 1).AppendSnapshot(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		img, err := ReadSnapshot(b, 1, 1)
		if err != nil {
			return
		}
		again := img.AppendSnapshot(nil)
		back, err := ReadSnapshot(again, 1, 1)
		if err != nil || !bytes.Equal(back.AppendSnapshot(nil), again) {
			t.Fatalf("snapshot does not read back: %v", err)
		}
	})
}
