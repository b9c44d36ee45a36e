package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestParseTime(t *testing.T) {
	now := time.UnixMilli(1_000_000_000_000)
	for text, want := range map[string]time.Time{
		"1700000000000":             time.UnixMilli(1700000000000),
		"-15m":                      now.Add(-15 * time.Minute),
		"2026-01-31T12:00:00Z":      time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
		"2026-01-31T12:00:00+02:00": time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC),
		"2026-01-31":                time.Date(2026, 1, 31, 0, 0, 0, 0, time.Local),
		"2026-01-31 12:30:00":       time.Date(2026, 1, 31, 12, 30, 0, 0, time.Local),
	} {
		if got, err := parseTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "15m", "-1", "31.1.2026", "2026-13-01"} {
		if got, err := parseTime(text, now); err == nil {
			t.Errorf("%s is %v", text, got)
		}
	}
}

func listed(offsets ...int64) kadm.ListedOffsets {
	l := kadm.ListedOffsets{"t": {}}
	for partition, o := range offsets {
		l["t"][int32(partition)] = kadm.ListedOffset{Topic: "t", Partition: int32(partition), Offset: o}
	}
	return l
}

func TestReadRanges(t *testing.T) {
	starts, ends, times := listed(0, 5, 7), listed(10, 10, 7), listed(3, -1, 7)
	for _, c := range []struct {
		from       string
		partitions []int32
		want       []int64 // of partitions 0, 1, 2; -1 is not read
		unread     int
	}{
		{"start", nil, []int64{0, 5, 7}, 2},
		{"end", nil, []int64{10, 10, 7}, 0},
		{"-3", nil, []int64{7, 7, 7}, 2},
		{"-99", nil, []int64{0, 5, 7}, 2},
		{"6", nil, []int64{6, 6, 7}, 2},
		{"99", nil, []int64{10, 10, 7}, 0},
		{"@1", nil, []int64{3, 10, 7}, 1},
		{"start", []int32{1, 2}, []int64{-1, 5, 7}, 1},
	} {
		from, err := parseFrom(c.from)
		if err != nil {
			t.Fatal(err)
		}
		ranges, err := newReadRanges([]string{"t"}, c.partitions, from, starts, ends, times)
		if err != nil {
			t.Fatal(err)
		}
		for partition, want := range c.want {
			got := int64(-1)
			if rr := ranges["t"][int32(partition)]; rr != nil {
				got = rr.next
			}
			if got != want {
				t.Errorf("from %s %v: partition %d begins at %d, want %d", c.from, c.partitions, partition, got, want)
			}
		}
		if ranges.unread() != c.unread {
			t.Errorf("from %s %v: %d partitions to read, want %d", c.from, c.partitions, ranges.unread(), c.unread)
		}
	}
	if _, err := newReadRanges([]string{"t"}, []int32{3}, fromOffset{}, starts, ends, nil); err == nil {
		t.Error("a partition that is not there is read")
	}
}

// fetched makes what a client returns: records of partition 0 with these offsets.
func fetched(offsets ...int64) kgo.Fetches {
	p := kgo.FetchPartition{Partition: 0}
	for _, o := range offsets {
		p.Records = append(p.Records, &kgo.Record{Topic: "t", Offset: o, Value: []byte{byte('a' + o)}})
	}
	return kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "t", Partitions: []kgo.FetchPartition{p}}}}}
}

// TestCatStops: -e at the end as it was, -n after as many records, neither never.
func TestCatStops(t *testing.T) {
	for _, c := range []struct {
		rule  string
		flags catFlags
		want  string
		done  bool
	}{
		{"follow", catFlags{}, "a b c d ", false},
		{"at the end", catFlags{exitAtEnd: true}, "a b c ", true},
		{"after two", catFlags{count: 2}, "a b ", true},
		{"after two, before the end", catFlags{count: 2, exitAtEnd: true}, "a b ", true},
		{"more than there is", catFlags{count: 9}, "a b c d ", false},
	} {
		var out bytes.Buffer
		c.flags.format = "%v "
		p, err := c.flags.printer(&out, &outputFlag{})
		if err != nil {
			t.Fatal(err)
		}
		ranges, left := readRanges{"t": {0: &readRange{0, 3}}}, c.flags.count
		done, err := p.printFetches(fetched(0, 1, 2, 3), ranges, &c.flags, &left)
		p.out.Flush()
		if err != nil || done != c.done || out.String() != c.want {
			t.Errorf("%s: %q, done %v, %v; want %q, %v", c.rule, out.String(), done, err, c.want, c.done)
		}
	}
}
