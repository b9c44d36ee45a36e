package history

import "fmt"

// A Verdict is what a history shows.
type Verdict struct {
	Sent, Acked, Read int
	Seen              int     // by a reader while things happened
	Unacked           int     // read although never acknowledged: allowed
	Commits, Answers  int     // acknowledged commits, and answers to who asked for a group's offsets
	KeysSent          int     // to the compacted topic
	KeysRead          int     // what compaction left
	Deleted           int     // topics
	Notes             int     // to applications, of what they need not act on
	Stalls            []Stall // the longest of each application
	Violations        []Violation
}

// A Violation is one broken promise.
type Violation struct {
	Kind string // "lost", "moved", "doubled", "reordered", "torn", "unsent", "gap", "one offset, two records", "acknowledged twice", "acknowledged unsent",
	// of a reader while things happened "torn", "seen out of turn", "seen and gone",
	// of groups "skipped", "not consumed", "committed ahead", "offset went back", "offset of nobody", "answered unasked", of a compacted topic
	// "key lost", "stale", "back from the dead", of applications "error"
	Text string
}

func (v Violation) String() string { return v.Kind + ": " + v.Text }

// OK tells whether every promise was kept.
func (v *Verdict) OK() bool { return len(v.Violations) == 0 }

func (v *Verdict) add(kind, format string, args ...any) {
	v.Violations = append(v.Violations, Violation{kind, fmt.Sprintf(format, args...)})
}

// Judge compares what was read with what was promised. Producers are idempotent and without transactions, so that a
// partition has no gaps and no record twice.
func (h *History) Judge() *Verdict {
	v := &Verdict{Sent: len(h.Sent), Acked: len(h.Acked), Read: len(h.Reads), Seen: len(h.Seen)}
	sent := make(map[ID]bool, len(h.Sent))
	for _, id := range h.Sent {
		sent[id] = true
	}
	acked := h.acks(v, sent)
	at := h.reads(v, sent, acked)
	for _, a := range h.Acked {
		offset, ok := at[a.ID]
		switch {
		case !ok:
			v.add("lost", "%v was acknowledged at %d and is not there", a.ID, a.Offset)
		case offset != a.Offset:
			v.add("moved", "%v was acknowledged at %d and is at %d", a.ID, a.Offset, offset)
		}
	}
	h.seen(v)
	h.groups(v)
	h.keys(v)
	h.topics(v)
	h.applications(v)
	return v
}

// acks checks the acknowledgements among themselves.
func (h *History) acks(v *Verdict, sent map[ID]bool) map[ID]int64 {
	type place struct {
		partition int32
		offset    int64
	}
	acked, taken := make(map[ID]int64, len(h.Acked)), make(map[place]ID, len(h.Acked))
	for _, a := range h.Acked {
		if !sent[a.ID] {
			v.add("acknowledged unsent", "%v", a.ID)
		}
		if _, twice := acked[a.ID]; twice {
			v.add("acknowledged twice", "%v", a.ID)
		}
		acked[a.ID] = a.Offset
		p := place{a.ID.Partition, a.Offset}
		if other, ok := taken[p]; ok && other != a.ID {
			v.add("one offset, two records", "%v and %v were both acknowledged at %d", other, a.ID, a.Offset)
		}
		taken[p] = a.ID
	}
	return acked
}

// reads checks what was read, in its order, and returns where each record was found first.
func (h *History) reads(v *Verdict, sent map[ID]bool, acked map[ID]int64) map[ID]int64 {
	type stream struct{ producer, partition int32 }
	at, last, next := make(map[ID]int64, len(h.Reads)), map[stream]int64{}, map[int32]int64{}
	for _, r := range h.Reads {
		if want, ok := next[r.Partition]; ok && r.Offset != want {
			v.add("gap", "partition %d: offset %d where %d was due", r.Partition, r.Offset, want)
		}
		next[r.Partition] = r.Offset + 1
		if r.Torn {
			v.add("torn", "partition %d, offset %d", r.Partition, r.Offset)
			continue
		}
		if !sent[r.ID] {
			v.add("unsent", "%v at %d", r.ID, r.Offset)
		}
		if first, twice := at[r.ID]; twice {
			v.add("doubled", "%v at %d and %d", r.ID, first, r.Offset)
			continue
		}
		at[r.ID] = r.Offset
		s := stream{r.ID.Producer, r.Partition}
		if before, ok := last[s]; ok && r.ID.Seq < before {
			v.add("reordered", "%v at %d follows number %d", r.ID, r.Offset, before)
		}
		last[s] = r.ID.Seq
		if _, ok := acked[r.ID]; !ok {
			v.Unacked++
		}
	}
	return at
}

// seen checks what a reader was given while things happened: each partition from its start on, one offset after the other, and
// nothing that is not there at the end. A record that was read is committed.
func (h *History) seen(v *Verdict) {
	type place struct {
		partition int32
		offset    int64
	}
	there, next := make(map[place]ID, len(h.Reads)), map[int32]int64{}
	for _, r := range h.Reads {
		there[place{r.Partition, r.Offset}] = r.ID
	}
	for _, r := range h.Seen {
		if want := next[r.Partition]; r.Offset != want {
			v.add("seen out of turn", "partition %d: offset %d where %d was due", r.Partition, r.Offset, want)
		}
		next[r.Partition] = r.Offset + 1
		if r.Torn {
			v.add("torn", "partition %d, offset %d, while it was read", r.Partition, r.Offset)
			continue
		}
		if id, ok := there[place{r.Partition, r.Offset}]; !ok || id != r.ID {
			v.add("seen and gone", "%v was read at %d, where %v is at the end (there is one: %v)", r.ID, r.Offset, id, ok)
		}
	}
}
