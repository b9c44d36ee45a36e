package history

import "fmt"

// A GroupEvent is something that happened to a group. Unlike producers', groups' events are judged in the order in
// which the file has them.
type GroupEvent struct {
	Kind      byte // 'D', 'C', 'B' or 'O', as in the file
	Group     int32
	Partition int32 // of D, C and O
	Number    int64 // of B and O: the question
	// From and To are the first and the last offset that were consumed. To alone is the offset that was committed, or
	// that an answer gave.
	From, To int64
}

// Consumed records that a member of a group was given the records from an offset to another.
func (w *Writer) Consumed(group, partition int32, first, last int64) {
	w.line("D %d %d %d %d\n", group, partition, first, last)
}

// Committed records that the broker acknowledged a commit.
func (w *Writer) Committed(group, partition int32, offset int64) {
	w.line("C %d %d %d\n", group, partition, offset)
}

// Asked records that a group's offsets are about to be asked for. Numbers are unique to their group.
func (w *Writer) Asked(group int32, number int64) { w.line("B %d %d\n", group, number) }

// Answered records the answer: the offset of each partition that has one.
func (w *Writer) Answered(group int32, number int64, offsets map[int32]int64) {
	for p := range offsets {
		w.line("O %d %d %d %d\n", group, number, p, offsets[p])
	}
	w.line("E %d %d\n", group, number)
}

// groupEvent parses a line about a group.
func groupEvent(kind byte, n int, a, b, c, d int64) (GroupEvent, bool) {
	switch {
	case kind == 'D' && n == 5:
		return GroupEvent{Kind: kind, Group: int32(a), Partition: int32(b), From: c, To: d}, true
	case kind == 'C' && n == 4:
		return GroupEvent{Kind: kind, Group: int32(a), Partition: int32(b), To: c}, true
	case (kind == 'B' || kind == 'E') && n == 3:
		return GroupEvent{Kind: kind, Group: int32(a), Number: b}, true
	case kind == 'O' && n == 5:
		return GroupEvent{Kind: kind, Group: int32(a), Number: b, Partition: int32(c), To: d}, true
	}
	return GroupEvent{}, false
}

// groupPartition is where a group has an offset.
type groupPartition struct{ group, partition int32 }

// question is one that waits for its answer.
type question struct {
	committed map[groupPartition]int64 // when it was asked
	answered  map[int32]int64
}

// groupJudge goes through the events of groups.
type groupJudge struct {
	v         *Verdict
	consumed  map[groupPartition]int64 // everything below was given to the group
	committed map[groupPartition]int64 // the highest that was acknowledged
	questions map[[2]int64]*question   // by group and number
}

// groups checks that no group was passed over, and that no offset went back.
func (h *History) groups(v *Verdict) {
	j := &groupJudge{v: v, consumed: map[groupPartition]int64{}, committed: map[groupPartition]int64{}, questions: map[[2]int64]*question{}}
	for _, e := range h.Groups {
		j.event(e)
	}
	for _, a := range h.Acked { // every group is given everything before the end
		for _, at := range j.everyGroup(a.ID.Partition) {
			if j.consumed[at] <= a.Offset {
				v.add("not consumed", "%v at %d was not given to group %d", a.ID, a.Offset, at.group)
			}
		}
	}
}

func (j *groupJudge) everyGroup(partition int32) []groupPartition {
	var all []groupPartition
	for at := range j.consumed {
		if at.partition == partition {
			all = append(all, at)
		}
	}
	return all
}

func (j *groupJudge) event(e GroupEvent) {
	at, asked := groupPartition{e.Group, e.Partition}, [2]int64{int64(e.Group), e.Number}
	switch e.Kind {
	case 'D':
		if e.From > j.consumed[at] {
			j.v.add("skipped", "group %d, partition %d: offset %d follows %d", e.Group, e.Partition, e.From, j.consumed[at]-1)
		}
		j.consumed[at] = max(j.consumed[at], e.To+1)
	case 'C':
		j.v.Commits++
		if e.To > j.consumed[at] {
			j.v.add("committed ahead", "group %d, partition %d: %d was committed, and read was below %d", e.Group, e.Partition, e.To, j.consumed[at])
		}
		j.committed[at] = max(j.committed[at], e.To)
	case 'B':
		q := &question{committed: map[groupPartition]int64{}, answered: map[int32]int64{}}
		for k, o := range j.committed {
			if k.group == e.Group {
				q.committed[k] = o
			}
		}
		j.questions[asked] = q
	case 'O':
		if q := j.questions[asked]; q != nil {
			q.answered[e.Partition] = e.To
		}
	case 'E':
		j.v.Answers++
		j.answer(e.Group, j.questions[asked])
		delete(j.questions, asked)
	}
}

// answer compares an answer with what had been committed when it was asked for.
func (j *groupJudge) answer(group int32, q *question) {
	if q == nil {
		j.v.add("answered unasked", "group %d", group)
		return
	}
	for at, committed := range q.committed {
		if got, ok := q.answered[at.partition]; !ok || got < committed {
			j.v.add("offset went back", "group %d, partition %d: %d was committed, the answer is %s", group, at.partition, committed, orNone(got, ok))
		}
	}
	for p, got := range q.answered {
		if at := (groupPartition{group, p}); got > j.consumed[at] {
			j.v.add("offset of nobody", "group %d, partition %d: the answer is %d, and read was below %d", group, p, got, j.consumed[at])
		}
	}
}

func orNone(o int64, ok bool) string {
	if !ok {
		return "none"
	}
	return fmt.Sprint(o)
}
