package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func ptr(s string) *string { return &s }

func sampleTopic(replicas ...int32) kadm.TopicDetail {
	return kadm.TopicDetail{Topic: "orders", ID: kadm.TopicID{1}, Partitions: kadm.PartitionDetails{
		0: {Topic: "orders", Partition: 0, Leader: 1, Replicas: replicas, ISR: replicas[:1]},
		1: {Topic: "orders", Partition: 1, Leader: -1, Replicas: replicas},
	}}
}

// TestDescribeTable: configs that differ from the default with who set them, and the
// row of promises that applies.
func TestDescribeTable(t *testing.T) {
	configs := []kadm.Config{
		{Key: "ack.durability", Value: ptr("auto"), Source: kmsg.ConfigSourceDefaultConfig},
		{Key: "retention.ms", Value: ptr("5"), Source: kmsg.ConfigSourceDynamicTopicConfig},
		{Key: "segment.ms", Value: ptr("6"), Source: kmsg.ConfigSourceStaticBrokerConfig},
		{Key: "secret", Sensitive: true, Source: kmsg.ConfigSourceDynamicBrokerConfig},
		{Key: "min.insync.replicas", Value: ptr("2"), Source: kmsg.ConfigSourceDefaultConfig},
	}
	var out bytes.Buffer
	p := &Program{Stdout: &out}
	if err := p.printDescribed([]describedTopic{describeTopic(sampleTopic(1, 2, 3), configs, false)}, &outputFlag{}); err != nil {
		t.Fatal(err)
	}
	want := `Topic orders, id AQAAAAAAAAAAAAAAAAAAAA

PARTITION  LEADER  REPLICAS  IN SYNC
0          1       1,2,3     1
1          none    1,2,3     none

CONFIG        VALUE     SET BY
retention.ms  5         topic
segment.ms    6         broker's file
secret        (hidden)  broker, set while running

What an acknowledgement promises (ack.durability auto):
ACKS  ANSWERED WHEN  SURVIVES
all  the operating system of every in-sync replica has it; where only one is in sync, once that one has synced it to disk; refused where fewer than 2 are in sync  a killed process; the loss of any one machine, disk included
1  the leader's operating system has it  a killed process; lost with the leader's machine
0  never  nothing is promised
`
	if got := squeeze(out.String()); got != squeeze(want) {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if all := describeTopic(sampleTopic(1), configs, true); len(all.Configs) != len(configs) {
		t.Errorf("%d configs with --all, want %d", len(all.Configs), len(configs))
	}
}

// TestDescribeCompaction: what a compacted topic keeps, when it is cleaned, and how long tombstones stay.
func TestDescribeCompaction(t *testing.T) {
	const day = "86400000"
	for _, c := range []struct {
		policy, ratio, least, most, tombstones string
		want                                   compaction
	}{
		{"compact", "0.5", "0", "9223372036854775807", day, compaction{"the last record of each key",
			"more than 0.5 of a log is new since the last time", "stay for 24h0m0s after the first cleaning that sees them"}},
		{"compact,delete", "0.01", "60000", day, "0", compaction{"the last record of each key, until retention deletes it",
			"more than 0.01 of a log is new since the last time; records younger than 1m0s are left out; at the latest 24h0m0s after a record was written",
			"stay for 0s after the first cleaning that sees them"}},
	} {
		values := map[string]string{"cleanup.policy": c.policy, "min.cleanable.dirty.ratio": c.ratio, "min.compaction.lag.ms": c.least,
			"max.compaction.lag.ms": c.most, "delete.retention.ms": c.tombstones}
		got := compactionOf(values)
		if got == nil || *got != c.want {
			t.Errorf("%v: %+v", values, got)
		}
		var out bytes.Buffer
		if err := (&Program{Stdout: &out}).printDescribedTopic(&describedTopic{Compaction: got}); err != nil {
			t.Fatal(err)
		}
		want := squeeze("\nWhat compaction does:\nKEEPS CLEANED WHEN TOMBSTONES\n" + c.want.Keeps + " " + c.want.Cleaned + " " + c.want.Tombstones + "\n")
		if !strings.HasSuffix(squeeze(out.String()), want) {
			t.Errorf("%s\nwant at the end\n%s", out.String(), want)
		}
	}
	if got := compactionOf(map[string]string{"cleanup.policy": "delete"}); got != nil {
		t.Errorf("of a topic that is not compacted: %+v", got)
	}
}

// squeeze makes every run of blanks one, so that a test is no matter of columns.
func squeeze(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.Join(strings.Fields(l), " ")
	}
	return strings.Join(lines, "\n")
}

// TestPromises: each row of the design's table of acknowledgements.
func TestPromises(t *testing.T) {
	for _, c := range []struct {
		configs            map[string]string
		replicas           int
		answered, survives string // of acks=all
	}{
		{map[string]string{"ack.durability": "auto"}, 1, "its one replica has synced it to disk", "a killed process; power loss"},
		{map[string]string{"ack.durability": "auto"}, 2, "the operating system of every in-sync replica has it; where only one", "a killed process; the loss of one machine while both are in sync"},
		{map[string]string{"ack.durability": "auto"}, 3, "the operating system of every in-sync replica has it; where only one", "a killed process; the loss of any one machine, disk included"},
		{map[string]string{"ack.durability": "fsync"}, 3, "every in-sync replica has synced it to disk", "a killed process; power loss of the whole site"},
		{map[string]string{"ack.durability": "os", "flush.messages": "1"}, 1, "every in-sync replica has synced it to disk", "a killed process; power loss of the whole site"},
		{map[string]string{"ack.durability": "os"}, 1, "the operating system of every in-sync replica has it", "a killed process; lost with the power of its machine"},
		{nil, 3, "the operating system of every in-sync replica has it", "a killed process; the loss of a machine while another is in sync"},
		{map[string]string{"ack.durability": "fsync", "min.insync.replicas": "2"}, 3, "every in-sync replica has synced it to disk; refused where fewer than 2 are in sync", "a killed process; power loss of the whole site"},
	} {
		rows := promises(c.configs, c.replicas)
		if all := rows[0]; len(rows) != 3 || all.Acks != "all" || !strings.HasPrefix(all.Answered, c.answered) || all.Survives != c.survives {
			t.Errorf("%v, %d replicas: %+v", c.configs, c.replicas, rows)
		}
	}
}

func TestListTables(t *testing.T) {
	var out bytes.Buffer
	p := &Program{Stdout: &out}
	topics := []kadm.TopicDetail{sampleTopic(1, 2, 3)}
	if err := p.printTopics(topics, &outputFlag{}); err != nil || out.String() != "NAME    PARTITIONS  REPLICAS\norders  2           3\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	out.Reset()
	if err := p.printTopics(nil, &outputFlag{"json"}); err != nil || out.String() != "[]\n" {
		t.Errorf("no topics: %q, %v", out.String(), err)
	}
}

// TestResultsOfTopics: what could be done is printed, what could not is an error.
func TestResultsOfTopics(t *testing.T) {
	var out bytes.Buffer
	p := &Program{Stdout: &out}
	created := []kadm.CreateTopicResponse{{Topic: "a", NumPartitions: 3, ReplicationFactor: 1}, {Topic: "b", Err: kerr.TopicAlreadyExists},
		{Topic: "c", Err: kerr.InvalidConfig, ErrMessage: "no such thing"}}
	err := p.printCreated(created, &createFlags{ifNotExists: true}, &outputFlag{})
	if want := "NAME PARTITIONS REPLICAS RESULT\na 3 1 created\nb - - was there already\n"; squeeze(out.String()) != want {
		t.Errorf("%s", out.String())
	}
	if err == nil || err.Error() != `topic "c": no such thing (INVALID_CONFIG)` {
		t.Errorf("%v", err)
	}
	if err := p.printCreated(created[1:2], &createFlags{}, &outputFlag{}); err == nil {
		t.Error("a topic that is there already is no error")
	}
	out.Reset()
	deleted := kadm.DeleteTopicResponses{"a": {Topic: "a"}, "b": {Topic: "b", Err: kerr.UnknownTopicOrPartition}}
	if err := p.printDeleted(deleted, true, &outputFlag{}); err != nil || squeeze(out.String()) != "NAME RESULT\na deleted\nb was not there\n" {
		t.Errorf("%s %v", out.String(), err)
	}
	if err := p.printDeleted(deleted, false, &outputFlag{}); err == nil || !strings.HasPrefix(err.Error(), `there is no topic "b"; moldau topic ls`) {
		t.Errorf("%v", err)
	}
}
