package metadata

import (
	"reflect"
	"testing"

	"github.com/moldau/moldau/internal/ids"
)

// throughSnapshot is what the delta between base and img says where img came as a snapshot, which shares no memory with base.
func throughSnapshot(t *testing.T, base, img *Image) *Delta {
	t.Helper()
	copied, err := ReadSnapshot(img.AppendSnapshot(nil), img.Offset, img.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	d := Between(base, copied)
	if d.Apply(99, 99) != copied || d.Base() != base {
		t.Fatal("the delta leads to another image")
	}
	return d
}

// A broker that got a snapshot does what it would have done after the records.
func wantSameThroughSnapshot(t *testing.T, d *Delta, node ids.NodeID) {
	t.Helper()
	want := d.LocalChanges(node)
	if got := throughSnapshot(t, d.Base(), d.Apply(2, 1)).LocalChanges(node); !reflect.DeepEqual(got, want) {
		t.Errorf("through a snapshot %+v, want %+v", got, want)
	}
}

func TestBetweenConfigsAndBrokers(t *testing.T) {
	a, b := ConfigResource{ResourceTopic, "a"}, ConfigResource{ResourceBroker, "1"}
	base := mustApply(t, nil, &TopicRecord{Name: "a", TopicID: testID(1)}, &ConfigRecord{a, "n", ptr("1")}, &ConfigRecord{b, "n", ptr("1")})
	tests := []struct {
		name    string
		recs    []Record
		configs []ConfigResource
		brokers bool
	}{
		{name: "nothing"},
		{name: "another value", recs: []Record{&ConfigRecord{a, "n", ptr("2")}}, configs: []ConfigResource{a}},
		{name: "none any more", recs: []Record{&ConfigRecord{b, "n", nil}}, configs: []ConfigResource{b}},
		{name: "a new resource", recs: []Record{&ConfigRecord{ConfigResource{ResourceBroker, ""}, "n", ptr("2")}}, configs: []ConfigResource{{ResourceBroker, ""}}},
		{name: "a broker", recs: []Record{&RegisterBrokerRecord{BrokerID: 1, IncarnationID: testID(5), BrokerEpoch: EpochOfEntry}}, brokers: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := throughSnapshot(t, base, mustApply(t, base, tt.recs...))
			if got := d.ChangedConfigs(); len(got)+len(tt.configs) > 0 && !reflect.DeepEqual(got, tt.configs) {
				t.Errorf("configs of %v, want %v", got, tt.configs)
			}
			if d.BrokersChanged() != tt.brokers {
				t.Errorf("brokers changed: %v", d.BrokersChanged())
			}
		})
	}
}
