package history

// A KeyEvent is about a key of the compacted topic. One producer writes a key, with rising numbers.
type KeyEvent struct {
	Kind   byte // 'W', 'V' or 'X', as in the file
	Key    int64
	Seq    int64
	Offset int64 // of X
}

// KeySent records that a key's next value was handed to the client.
func (w *Writer) KeySent(key, seq int64) { w.line("W %d %d\n", key, seq) }

// KeyAcked records that the broker acknowledged it.
func (w *Writer) KeyAcked(key, seq int64) { w.line("V %d %d\n", key, seq) }

// KeyRead records what was read at the end.
func (w *Writer) KeyRead(key, seq, offset int64) { w.line("X %d %d %d\n", key, seq, offset) }

func keyEvent(kind byte, n int, a, b, c int64) (KeyEvent, bool) {
	switch {
	case (kind == 'W' || kind == 'V') && n == 3:
		return KeyEvent{Kind: kind, Key: a, Seq: b}, true
	case kind == 'X' && n == 4:
		return KeyEvent{Kind: kind, Key: a, Seq: b, Offset: c}, true
	}
	return KeyEvent{}, false
}

// keys checks that each key has its last acknowledged value, or a later one that was sent, and that what was read of
// a key is in order.
func (h *History) keys(v *Verdict) {
	sent, acked, read := map[int64]int64{}, map[int64]int64{}, map[int64]int64{}
	for _, e := range h.Keys {
		switch e.Kind {
		case 'W':
			sent[e.Key] = max(sent[e.Key], e.Seq)
			v.KeysSent++
		case 'V':
			acked[e.Key] = max(acked[e.Key], e.Seq)
		case 'X':
			if before, ok := read[e.Key]; ok && e.Seq <= before {
				v.add("stale", "key %d: number %d at %d follows number %d", e.Key, e.Seq, e.Offset, before)
			}
			if e.Seq > sent[e.Key] {
				v.add("unsent", "key %d: number %d at %d", e.Key, e.Seq, e.Offset)
			}
			read[e.Key] = e.Seq
			v.KeysRead++
		}
	}
	for key, want := range acked {
		if got, ok := read[key]; !ok || got < want {
			v.add("key lost", "key %d: number %d was acknowledged, the last that is there is %s", key, want, orNone(got, ok))
		}
	}
}

// A TopicEvent is about a topic that is made to be deleted.
type TopicEvent struct {
	Kind   byte // 'Z' or 'Y', as in the file
	Number int64
}

// TopicDeleted records that the broker acknowledged the deletion.
func (w *Writer) TopicDeleted(number int64) { w.line("Z %d\n", number) }

// TopicThere records that the topic was listed at the end.
func (w *Writer) TopicThere(number int64) { w.line("Y %d\n", number) }

func topicEvent(kind byte, n int, a int64) (TopicEvent, bool) {
	return TopicEvent{Kind: kind, Number: a}, (kind == 'Z' || kind == 'Y') && n == 2
}

// topics checks that no deleted topic has come back.
func (h *History) topics(v *Verdict) {
	deleted := map[int64]bool{}
	for _, e := range h.Topics {
		switch {
		case e.Kind == 'Z':
			deleted[e.Number] = true
			v.Deleted++
		case deleted[e.Number]:
			v.add("back from the dead", "topic %d was deleted and is there", e.Number)
		}
	}
}
