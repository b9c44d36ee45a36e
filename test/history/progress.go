package history

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A ProgressEvent is what an application has been told by its client.
type ProgressEvent struct {
	Kind      byte // 'P', 'F' or 'N', as in the file
	Who       int32
	Partition int32
	At        int64 // in ms of Unix time
	Text      string
}

// Progress records that an application was told of an acknowledgement, or given records, of a partition.
func (w *Writer) Progress(who, partition int32, at time.Time) {
	w.line("P %d %d %d\n", who, partition, at.UnixMilli())
}

// Failed records an error that reached an application.
func (w *Writer) Failed(who int32, err error) {
	w.line("F %d %s\n", who, strings.Join(strings.Fields(err.Error()), " "))
}

// progressEvent parses a line about an application.
func progressEvent(kind byte, n int, text string, a, b, c int64) (ProgressEvent, bool) {
	switch {
	case kind == 'P' && n == 4:
		return ProgressEvent{Kind: kind, Who: int32(a), Partition: int32(b), At: c}, true
	case (kind == 'F' || kind == 'N') && n >= 2:
		words := strings.SplitN(text, " ", 3)
		return ProgressEvent{Kind: kind, Who: int32(a), Text: words[len(words)-1]}, true
	}
	return ProgressEvent{}, false
}

// A Stall is a time for which an application was told nothing of a partition.
type Stall struct {
	Who, Partition int32
	From           time.Time
	Length         time.Duration
}

func (s Stall) String() string {
	return fmt.Sprintf("%v (partition %d from %s)", s.Length, s.Partition, s.From.UTC().Format("15:04:05.000"))
}

// applications checks that no error reached one, and finds the longest stall of each.
func (h *History) applications(v *Verdict) {
	type place struct{ who, partition int32 }
	last, longest := map[place]int64{}, map[int32]Stall{}
	for _, e := range h.Progress {
		switch e.Kind {
		case 'F':
			v.add("error", "application %d was told: %s", e.Who, e.Text)
		case 'N':
			v.Notes++
		case 'P':
			at := place{e.Who, e.Partition}
			before, ok := last[at]
			s := Stall{e.Who, e.Partition, time.UnixMilli(before), time.Duration(e.At-before) * time.Millisecond}
			if most, any := longest[e.Who]; !any || ok && s.Length > most.Length {
				if !ok {
					s.Length = 0
				}
				longest[e.Who] = s
			}
			last[at] = e.At
		}
	}
	for _, s := range longest {
		v.Stalls = append(v.Stalls, s)
	}
	slices.SortFunc(v.Stalls, func(a, b Stall) int { return int(a.Who - b.Who) })
}
