package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// fromKind says how --from names a place.
type fromKind int

const (
	fromStart  fromKind = iota
	fromEnd             // offset records before it
	fromNumber          // offset
	fromTime            // the first record at time or later
)

// fromOffset is a parsed --from.
type fromOffset struct {
	kind   fromKind
	offset int64
	time   time.Time
}

func parseFrom(text string) (fromOffset, error) {
	switch {
	case text == "start":
		return fromOffset{kind: fromStart}, nil
	case text == "end":
		return fromOffset{kind: fromEnd}, nil
	case strings.HasPrefix(text, "@"):
		t, err := parseTime(text[1:], time.Now())
		return fromOffset{kind: fromTime, time: t}, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fromOffset{}, usagef("--from %s: it must be start, end, an offset, -N or @TIME", text)
	}
	if n < 0 {
		return fromOffset{kind: fromEnd, offset: -n}, nil
	}
	return fromOffset{kind: fromNumber, offset: n}, nil
}

func parseTime(text string, now time.Time) (time.Time, error) {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms >= 0 {
		return time.UnixMilli(ms), nil
	}
	if d, err := time.ParseDuration(text); err == nil && d < 0 {
		return now.Add(d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--from @%s: it must be a date (2026-01-31), RFC 3339 (2026-01-31T12:00:00Z), milliseconds since 1970, or -15m for so long ago", text)
}

// readRange is what is to be read of one partition; end is exclusive and was the log's
// end before the reading began.
type readRange struct{ next, end int64 }

// readRanges are the ranges by topic and partition.
type readRanges map[string]map[int32]*readRange

func newReadRanges(topics []string, partitions []int32, from fromOffset, starts, ends, times kadm.ListedOffsets) (readRanges, error) {
	ranges := make(readRanges)
	for _, topic := range topics {
		ranges[topic] = make(map[int32]*readRange)
		for _, wanted := range partitions {
			if _, ok := ends[topic][wanted]; !ok {
				return nil, fmt.Errorf("topic %q has no partition %d, it has %d of them", topic, wanted, len(ends[topic]))
			}
		}
		for partition, end := range ends[topic] {
			if len(partitions) > 0 && !slices.Contains(partitions, partition) {
				continue
			}
			start := starts[topic][partition].Offset
			next := start
			switch from.kind {
			case fromEnd:
				next = end.Offset - from.offset
			case fromNumber:
				next = from.offset
			case fromTime:
				if next = times[topic][partition].Offset; next < 0 {
					next = end.Offset
				}
			}
			ranges[topic][partition] = &readRange{min(max(next, start), end.Offset), end.Offset}
		}
	}
	return ranges, nil
}

// offsets is where a client begins to read.
func (r readRanges) offsets() map[string]map[int32]kgo.Offset {
	m := make(map[string]map[int32]kgo.Offset)
	for topic, partitions := range r {
		m[topic] = make(map[int32]kgo.Offset)
		for partition, rr := range partitions {
			m[topic][partition] = kgo.NewOffset().At(rr.next)
		}
	}
	return m
}

// read notes that a record was read and tells whether it is beyond its partition's range.
func (r readRanges) read(topic string, partition int32, offset int64) (beyond bool) {
	rr := r[topic][partition]
	if rr == nil {
		return false
	}
	rr.next = max(rr.next, offset+1)
	return offset >= rr.end
}

// unread counts the partitions of which something is left to read.
func (r readRanges) unread() int {
	n := 0
	for _, partitions := range r {
		for _, rr := range partitions {
			if rr.next < rr.end {
				n++
			}
		}
	}
	return n
}
