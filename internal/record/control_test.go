package record

import (
	"errors"
	"testing"
)

func TestEndTxnMarkers(t *testing.T) {
	for _, m := range []EndTxnMarker{
		{ProducerID: 1, ProducerEpoch: 2, Commit: true, CoordinatorEpoch: 3},
		{ProducerID: 1 << 40, ProducerEpoch: 0, Commit: false, CoordinatorEpoch: 0},
	} {
		b := m.Build(1234)
		a := b.Attributes()
		if !a.Control() || !a.Transactional() || b.BaseSequence() != NoSequence || b.Count() != 1 || b.MaxTimestamp() != 1234 || !b.CheckCRC() {
			t.Errorf("attributes %#x, sequence %d, %d records", a, b.BaseSequence(), b.Count())
		}
		got, err := b.EndTxnMarker()
		if err != nil || got != m {
			t.Errorf("%+v, %v, want %+v", got, err, m)
		}
	}
}

func TestReadControlKey(t *testing.T) {
	for _, c := range []struct {
		key  []byte
		want ControlType
		text string
	}{
		{[]byte{0, 0, 0, 0}, ControlAbort, "ABORT"},
		{[]byte{0, 0, 0, 1}, ControlCommit, "COMMIT"},
		{[]byte{0, 0, 0, 6}, ControlKRaftVoters, "KRAFT_VOTERS"},
		{[]byte{0, 5, 0, 1, 9, 9}, ControlCommit, "COMMIT"}, // a later version, longer
		{[]byte{0, 0, 0, 99}, 99, "control type 99"},
		{[]byte{0, 0, 255, 255}, -1, "control type -1"},
	} {
		got, err := ReadControlKey(c.key)
		if err != nil || got != c.want || got.String() != c.text {
			t.Errorf("% x: %v, %v, want %s", c.key, got, err, c.text)
		}
	}
	for _, key := range [][]byte{nil, {0, 0, 0}, {255, 255, 0, 0}} {
		if got, err := ReadControlKey(key); !errors.Is(err, ErrCorrupt) {
			t.Errorf("% x: %v, %v", key, got, err)
		}
	}
}

func TestNotEveryBatchIsAMarker(t *testing.T) {
	control := func(key, value []byte) Batch {
		b := NewBuilder()
		b.control = true
		return b.Append(1, key, value).MustBuild()
	}
	for _, c := range []struct {
		name string
		b    Batch
		want error
	}{
		{"data", build(t, None, 1), ErrNoMarker},
		{"leader change", control([]byte{0, 0, 0, 2}, []byte{0}), ErrNoMarker},
		{"unknown kind", control([]byte{0, 0, 0, 50}, nil), ErrNoMarker},
		{"emptied by compaction", with(control([]byte{0, 0, 0, 1}, nil), countAt, int32(0)), ErrNoMarker},
		{"no key", control(nil, nil), ErrCorrupt},
		{"no value", control([]byte{0, 0, 0, 1}, nil), ErrCorrupt},
		{"short value", control([]byte{0, 0, 0, 1}, make([]byte, 5)), ErrCorrupt},
		{"negative version", control([]byte{0, 0, 0, 1}, []byte{255, 255, 0, 0, 0, 0}), ErrCorrupt},
	} {
		if m, err := c.b.EndTxnMarker(); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v, want %v", c.name, m, err, c.want)
		}
	}
	if m, err := control([]byte{0, 0, 0, 1}, []byte{0, 9, 0, 0, 0, 7, 1}).EndTxnMarker(); err != nil || m.CoordinatorEpoch != 7 {
		t.Errorf("a later version of the value: %+v, %v", m, err)
	}
}
