package history

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// good is a history of two producers on two partitions in which everything went well: the second record of producer 1
// was never acknowledged and is there, the third was not and is not.
func good() *History {
	h := &History{}
	for p := range int32(2) {
		for seq := range int64(4) {
			for producer := range int32(2) {
				h.Sent = append(h.Sent, ID{producer, p, seq})
			}
		}
		offset := int64(0)
		for seq := range int64(4) {
			for producer := range int32(2) {
				id := ID{producer, p, seq}
				if producer == 1 && seq == 3 {
					continue
				}
				if producer != 1 || seq != 2 {
					h.Acked = append(h.Acked, Ack{id, offset})
				}
				h.Reads = append(h.Reads, Read{Partition: p, Offset: offset, ID: id})
				offset++
			}
		}
	}
	h.Seen = slices.Clone(h.Reads)
	return h
}

func TestAGoodHistoryPasses(t *testing.T) {
	v := good().Judge()
	if !v.OK() {
		t.Fatalf("%v", v.Violations)
	}
	if v.Sent != 16 || v.Acked != 12 || v.Read != 14 || v.Seen != 14 || v.Unacked != 2 {
		t.Errorf("%+v", v)
	}
}

func TestBadHistoriesAreCaught(t *testing.T) {
	renumber := func(h *History, from int) { // close the gap that taking a read away left
		for i := from; i < len(h.Reads) && h.Reads[i].Partition == h.Reads[from-1].Partition; i++ {
			h.Reads[i].Offset = h.Reads[i-1].Offset + 1
		}
	}
	for _, c := range []struct {
		name, kind string
		spoil      func(*History)
	}{
		{"an acknowledged record is not there", "lost", func(h *History) { h.Reads = slices.Delete(h.Reads, 3, 4) }},
		{"the last acknowledged record is not there", "lost", func(h *History) { h.Reads = h.Reads[:len(h.Reads)-1] }},
		{"a whole partition is not there", "lost", func(h *History) { h.Reads = h.Reads[:7] }},
		{"a record is there twice", "doubled", func(h *History) { h.Reads = slices.Insert(h.Reads, 3, h.Reads[2]); renumber(h, 3) }},
		{"an unacknowledged record is there twice", "doubled", func(h *History) { h.Reads = slices.Insert(h.Reads, 6, h.Reads[5]); renumber(h, 6) }},
		{"two records have changed places", "moved", func(h *History) { h.Reads[0].ID, h.Reads[2].ID = h.Reads[2].ID, h.Reads[0].ID }},
		{"unacknowledged records out of order", "reordered", func(h *History) {
			h.Acked = nil
			h.Reads[0].ID, h.Reads[2].ID = h.Reads[2].ID, h.Reads[0].ID
		}},
		{"a record of nobody", "unsent", func(h *History) { h.Reads[6].ID.Seq = 99 }},
		{"a torn record", "torn", func(h *History) { h.Reads[6] = Read{Partition: 0, Offset: 6, Torn: true} }},
		{"an offset is left out", "gap", func(h *History) { h.Reads[6].Offset = 9 }},
		{"an offset goes back", "gap", func(h *History) { h.Reads[6].Offset = 2 }},
		{"a record that was read is not there", "seen and gone", func(h *History) { h.Reads, h.Acked = h.Reads[:len(h.Reads)-1], nil }},
		{"a reader was given another record", "seen and gone", func(h *History) { h.Seen[6].ID.Seq = 2 }},
		{"a reader was given a torn record", "torn", func(h *History) { h.Seen[6] = Read{Partition: 0, Offset: 6, Torn: true} }},
		{"a reader was given a record twice", "seen out of turn", func(h *History) { h.Seen = slices.Insert(h.Seen, 3, h.Seen[2]) }},
		{"a reader was given the first record late", "seen out of turn", func(h *History) { h.Seen = h.Seen[1:] }},
		{"a reader was not given one", "seen out of turn", func(h *History) { h.Seen = slices.Delete(h.Seen, 3, 4) }},
		{"two acknowledgements of one offset", "one offset, two records", func(h *History) { h.Acked[1].Offset = h.Acked[0].Offset }},
		{"two acknowledgements of one record", "acknowledged twice", func(h *History) { h.Acked = append(h.Acked, h.Acked[0]) }},
		{"an acknowledgement of nothing sent", "acknowledged unsent", func(h *History) { h.Acked[0].ID.Seq = 99 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := good()
			c.spoil(h)
			v := h.Judge()
			if !slices.ContainsFunc(v.Violations, func(v Violation) bool { return v.Kind == c.kind }) {
				t.Errorf("not noticed as %s: %v", c.kind, v.Violations)
			}
		})
	}
}

func TestAFileKeepsAHistory(t *testing.T) {
	h := good()
	h.Reads = append(h.Reads, Read{Partition: 1, Offset: 7, Torn: true})
	var file bytes.Buffer
	w := NewWriter(&file)
	for _, id := range h.Sent {
		w.Sent(id)
	}
	for _, a := range h.Acked {
		w.Acked(a.ID, a.Offset)
	}
	for _, r := range h.Reads {
		w.Read(r)
	}
	h.Seen = append(h.Seen, Read{Partition: 1, Offset: 7, Torn: true})
	for _, r := range h.Seen {
		w.Seen(r)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	got, err := Parse(&file)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Sent, h.Sent) || !slices.Equal(got.Acked, h.Acked) || !slices.Equal(got.Reads, h.Reads) || !slices.Equal(got.Seen, h.Seen) {
		t.Error("another history came back")
	}
	for _, bad := range []string{"Q 1 2 3", "S 1 2", "A 1 2 3", "R 1", "nonsense"} {
		if _, err := Parse(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestOpenRefusesWhatNobodyWrote(t *testing.T) {
	id := ID{3, 5, 1 << 40}
	value := Value(id, 100)
	if got, ok := Open(5, value); !ok || got != id {
		t.Fatalf("%v %v", got, ok)
	}
	for i := range value {
		torn := bytes.Clone(value)
		torn[i] ^= 1
		if _, ok := Open(5, torn); ok {
			t.Fatalf("byte %d changed and nothing noticed", i)
		}
	}
	for n := range value {
		if _, ok := Open(5, value[:n]); ok {
			t.Fatalf("%d bytes are no record", n)
		}
	}
	if _, ok := Open(6, value); ok {
		t.Error("a record of another partition")
	}
}
