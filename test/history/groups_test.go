package history

import (
	"bytes"
	"slices"
	"testing"
)

// goodGroups is what good and these calls of a Writer leave in a file: a group that reads everything, a commit that nobody saw
// acknowledged, a compacted topic of two keys, and a topic that was deleted.
func goodGroups(t *testing.T) *History {
	t.Helper()
	var file bytes.Buffer
	w := NewWriter(&file)
	w.Asked(1, 0)
	w.Consumed(1, 0, 0, 3)
	w.Answered(1, 0, nil)
	w.Committed(1, 0, 4)
	w.Asked(1, 1)
	w.Consumed(1, 0, 4, 6) // committed before the answer, unseen
	w.Answered(1, 1, map[int32]int64{0: 7})
	w.Consumed(1, 0, 4, 6) // again, by another member
	w.Consumed(1, 1, 0, 6)
	w.Committed(1, 1, 7)
	w.Asked(1, 2)
	w.Answered(1, 2, map[int32]int64{0: 7, 1: 7})
	for seq := range int64(3) {
		w.KeySent(5, seq+1)
		w.KeySent(6, seq+1)
	}
	w.KeyAcked(5, 3)
	w.KeyAcked(6, 2)
	w.KeyRead(5, 1, 10)
	w.KeyRead(5, 3, 12)
	w.KeyRead(6, 3, 13)
	w.TopicDeleted(1)
	w.TopicThere(2)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	parsed, err := Parse(&file)
	if err != nil {
		t.Fatal(err)
	}
	h := good()
	h.Groups, h.Keys, h.Topics = parsed.Groups, parsed.Keys, parsed.Topics
	return h
}

func TestGoodGroupsPass(t *testing.T) {
	v := goodGroups(t).Judge()
	if !v.OK() {
		t.Fatal(v.Violations)
	}
	if v.Commits != 2 || v.Answers != 3 || v.KeysSent != 6 || v.KeysRead != 3 || v.Deleted != 1 {
		t.Errorf("%+v", v)
	}
}

func TestBadGroupsAreCaught(t *testing.T) {
	event := func(h *History, kind byte, nth int) *GroupEvent {
		for i := range h.Groups {
			if h.Groups[i].Kind == kind {
				if nth--; nth < 0 {
					return &h.Groups[i]
				}
			}
		}
		t.Fatalf("no event %c", kind)
		return nil
	}
	for _, c := range []struct {
		name, kind string
		spoil      func(*History)
	}{
		{"an offset goes back", "offset went back", func(h *History) { event(h, 'O', 0).To = 3 }},
		{"an offset is gone", "offset went back", func(h *History) { event(h, 'O', 0).Partition = 9 }},
		{"an offset that nobody committed", "offset of nobody", func(h *History) { event(h, 'O', 0).To = 8 }},
		{"records are passed over", "skipped", func(h *History) { event(h, 'D', 1).From = 5 }},
		{"the last records are never given", "not consumed", func(h *History) { event(h, 'D', 3).To = 5 }},
		{"a commit of what was not read", "committed ahead", func(h *History) { event(h, 'C', 0).To = 5 }},
		{"an answer to no question", "answered unasked", func(h *History) { event(h, 'E', 0).Number = 9 }},
		{"a key has lost its last value", "key lost", func(h *History) {
			h.Keys = slices.DeleteFunc(h.Keys, func(e KeyEvent) bool { return e.Kind == 'X' && e.Seq == 3 })
		}},
		{"a key is gone", "key lost", func(h *History) {
			h.Keys = slices.DeleteFunc(h.Keys, func(e KeyEvent) bool { return e.Kind == 'X' && e.Key == 6 })
		}},
		{"an old value comes last", "stale", func(h *History) { h.Keys = append(h.Keys, KeyEvent{Kind: 'X', Key: 5, Seq: 2, Offset: 14}) }},
		{"a value that nobody sent", "unsent", func(h *History) { h.Keys = append(h.Keys, KeyEvent{Kind: 'X', Key: 5, Seq: 4, Offset: 14}) }},
		{"a deleted topic is there", "back from the dead", func(h *History) { h.Topics = append(h.Topics, TopicEvent{Kind: 'Y', Number: 1}) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := goodGroups(t)
			c.spoil(h)
			v := h.Judge()
			if !slices.ContainsFunc(v.Violations, func(v Violation) bool { return v.Kind == c.kind }) {
				t.Errorf("not noticed as %s: %v", c.kind, v.Violations)
			}
		})
	}
}
