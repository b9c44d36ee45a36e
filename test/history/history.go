package history

import (
	"bufio"
	"fmt"
	"io"
	"sync"
)

// An ID names one record: the seq-th that a producer sent to a partition.
type ID struct {
	Producer  int32
	Partition int32
	Seq       int64
}

// A Read is one record found at the end. A Torn one belongs to nobody.
type Read struct {
	Partition int32
	Offset    int64
	ID        ID
	Torn      bool
}

// A History is everything that happened.
type History struct {
	Sent  []ID
	Acked []Ack
	Reads []Read
	Seen  []Read // by a reader of everything, while things happened

	Groups   []GroupEvent
	Keys     []KeyEvent
	Topics   []TopicEvent
	Progress []ProgressEvent
}

// An Ack is a promise: the record is at this offset and stays there.
type Ack struct {
	ID     ID
	Offset int64
}

// Writer appends events to a file. It is safe for concurrent use.
type Writer struct {
	mu struct {
		sync.Mutex
		w   *bufio.Writer
		err error // the first that writing gave
	}
}

// NewWriter returns a writer of events to w.
func NewWriter(w io.Writer) *Writer {
	out := &Writer{}
	out.mu.w = bufio.NewWriterSize(w, 1<<20)
	return out
}

// Sent records that a record was handed to the client.
func (w *Writer) Sent(id ID) { w.line("S %d %d %d\n", id.Producer, id.Partition, id.Seq) }

// Acked records that the broker acknowledged a record at an offset.
func (w *Writer) Acked(id ID, offset int64) {
	w.line("A %d %d %d %d\n", id.Producer, id.Partition, id.Seq, offset)
}

// Read records what was read at the end.
func (w *Writer) Read(r Read) {
	if r.Torn {
		w.line("T %d %d\n", r.Partition, r.Offset)
		return
	}
	w.line("R %d %d %d %d\n", r.Partition, r.Offset, r.ID.Producer, r.ID.Seq)
}

// Seen records what a reader of everything was given while things happened, in the order of each partition.
func (w *Writer) Seen(r Read) {
	if r.Torn {
		w.line("U %d %d\n", r.Partition, r.Offset)
		return
	}
	w.line("L %d %d %d %d\n", r.Partition, r.Offset, r.ID.Producer, r.ID.Seq)
}

func (w *Writer) line(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.err == nil {
		_, w.mu.err = fmt.Fprintf(w.mu.w, format, args...)
	}
}

// Flush writes what is buffered and returns the first error of all writing.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.err == nil {
		w.mu.err = w.mu.w.Flush()
	}
	return w.mu.err
}

// Parse reads a history back.
func Parse(r io.Reader) (*History, error) {
	h := &History{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		if err := h.event(lines.Text()); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return h, lines.Err()
}

func (h *History) event(text string) error {
	var kind byte
	var a, b, c, d int64
	n, _ := fmt.Sscanf(text, "%c %d %d %d %d", &kind, &a, &b, &c, &d)
	switch {
	case kind == 'S' && n == 4:
		h.Sent = append(h.Sent, ID{int32(a), int32(b), c})
	case kind == 'A' && n == 5:
		h.Acked = append(h.Acked, Ack{ID{int32(a), int32(b), c}, d})
	case kind == 'R' && n == 5:
		h.Reads = append(h.Reads, Read{Partition: int32(a), Offset: b, ID: ID{int32(c), int32(a), d}})
	case kind == 'T' && n == 3:
		h.Reads = append(h.Reads, Read{Partition: int32(a), Offset: b, Torn: true})
	case kind == 'L' && n == 5:
		h.Seen = append(h.Seen, Read{Partition: int32(a), Offset: b, ID: ID{int32(c), int32(a), d}})
	case kind == 'U' && n == 3:
		h.Seen = append(h.Seen, Read{Partition: int32(a), Offset: b, Torn: true})
	default:
		if e, ok := groupEvent(kind, n, a, b, c, d); ok {
			h.Groups = append(h.Groups, e)
		} else if e, ok := keyEvent(kind, n, a, b, c); ok {
			h.Keys = append(h.Keys, e)
		} else if e, ok := topicEvent(kind, n, a); ok {
			h.Topics = append(h.Topics, e)
		} else if e, ok := progressEvent(kind, n, text, a, b, c); ok {
			h.Progress = append(h.Progress, e)
		} else {
			return fmt.Errorf("%q is no event", text)
		}
	}
	return nil
}
