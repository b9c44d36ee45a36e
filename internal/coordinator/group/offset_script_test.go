package group

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
	"github.com/moldau/moldau/internal/ids"
)

// TestOffsetScripts plays testdata/offsets/*.txt: requests for offsets, and after each its answer, the records that it
// writes, and when the shard is due. Run with -rewrite to accept new output.
func TestOffsetScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/offsets", func(t *testing.T, path string) {
		s := &offsetScript{t: t, shard: newOffsetShard(), groups: make(map[string]testGroup), now: testStart}
		datadriven.RunTest(t, path, s.run)
	})
}

type offsetScript struct {
	t      *testing.T
	shard  *Shard
	groups map[string]testGroup // that members made; their records are none of this script
	now    time.Time
	log    []runtime.Record
}

func (s *offsetScript) run(t *testing.T, d *datadriven.TestData) string {
	lines, records := s.command(d)
	for _, r := range records {
		lines = append(lines, "  "+printRecord(t, r))
	}
	s.log = append(s.log, records...)
	replayAll(t, s.shard, records)
	switch due := s.shard.expiryDue(); {
	case due.IsZero():
		lines = append(lines, "never due")
	case !due.After(s.now):
		lines = append(lines, "due")
	default:
		lines = append(lines, "due in "+due.Sub(s.now).String())
	}
	return strings.Join(lines, "\n") + "\n"
}

func (s *offsetScript) command(d *datadriven.TestData) ([]string, []runtime.Record) {
	switch d.Cmd {
	case "group":
		s.group(d)
		return nil, nil
	case "commit":
		resp, records := s.shard.offsetCommit(s.commit(d), s.now)
		return printCommit(resp), records
	case "fetch":
		return printFetch(s.shard.offsetFetch(s.fetch(d))), nil
	case "delete":
		m := kmsg.NewPtrOffsetDeleteRequest()
		m.Group = s.text(d, "group", "")
		for _, f := range fieldsOf(d) {
			m.Topics = append(m.Topics, deleteOf("", f[0], int32(s.number(f[1]))).Topics...)
		}
		resp, records := s.shard.offsetDelete(m)
		return printDelete(resp), records
	case "topic-deleted":
		topic := DeletedTopic{Name: s.text(d, "topic", ""), ID: s.id(d)}
		return nil, s.shard.topicsDeleted(&TopicsDeleted{Topics: []DeletedTopic{topic}})
	case "delete-group":
		name := s.text(d, "group", "")
		delete(s.groups, name)
		return nil, append(s.shard.offsetTombstones(name), s.shard.groups[name].tombstones()[0])
	case "wait":
		by, err := time.ParseDuration(d.CmdArgs[0].String())
		if err != nil {
			d.Fatalf(s.t, "%v", err)
		}
		s.now = s.now.Add(by)
		return nil, nil
	case "tick":
		return nil, s.shard.expireOffsets(s.now)
	case "reload":
		s.shard = newOffsetShard()
		replayAll(s.t, s.shard, s.log)
		for name, g := range s.groups {
			putGroup(s.shard, name, g)
		}
		return []string{fmt.Sprintf("%d records", len(s.log))}, nil
	default:
		d.Fatalf(s.t, "unknown command")
		return nil, nil
	}
}

// group makes one as its members would: member=NAME generation=N stable topics=(a,b), or empty.
func (s *offsetScript) group(d *datadriven.TestData) {
	g := testGroup{protocol: s.text(d, "protocol", "consumer"), member: s.text(d, "member", "")}
	g.generation = int32(s.number(s.text(d, "generation", "0")))
	g.stable = d.HasArg("stable")
	if d.HasArg("topics") {
		arg, _ := d.Arg("topics")
		g.topics = append([]string{}, arg.Vals...)
	}
	if g.member == "" {
		g.emptySince = s.now
		g.topics = []string{}
	}
	name := s.text(d, "group", "")
	s.groups[name] = g
	putGroup(s.shard, name, g)
}

// commit reads lines of TOPIC PARTITION OFFSET [LEADER-EPOCH] [METADATA].
func (s *offsetScript) commit(d *datadriven.TestData) *kmsg.OffsetCommitRequest {
	m := kmsg.NewPtrOffsetCommitRequest()
	m.Version = int16(s.number(s.text(d, "version", "10")))
	m.Group, m.MemberID = s.text(d, "group", ""), s.text(d, "member", "")
	m.Generation = int32(s.number(s.text(d, "generation", "-1")))
	if d.HasArg("retention") {
		by, err := time.ParseDuration(s.text(d, "retention", ""))
		if err != nil {
			d.Fatalf(s.t, "%v", err)
		}
		m.RetentionTimeMillis = by.Milliseconds()
	}
	for _, f := range fieldsOf(d) {
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic, t.TopicID = f[0], s.id(d)
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = int32(s.number(f[1])), s.number(f[2])
		if len(f) > 3 {
			p.LeaderEpoch = int32(s.number(f[3]))
		}
		if len(f) > 4 {
			p.Metadata = &f[4]
		}
		t.Partitions = append(t.Partitions, p)
		m.Topics = append(m.Topics, t)
	}
	return m
}

// fetch reads lines of TOPIC PARTITION; none for all.
func (s *offsetScript) fetch(d *datadriven.TestData) *kmsg.OffsetFetchRequest {
	m := fetchOf(10, s.text(d, "group", ""))
	for _, f := range fieldsOf(d) {
		askFor(m, f[0], s.id(d), int32(s.number(f[1])))
	}
	return m
}

func (s *offsetScript) text(d *datadriven.TestData, key, otherwise string) string {
	if d.HasArg(key) {
		d.ScanArgs(s.t, key, &otherwise)
	}
	return otherwise
}

// id reads id=N, the last byte of the id of a topic.
func (s *offsetScript) id(d *datadriven.TestData) ids.TopicID {
	return ids.TopicID{15: byte(s.number(s.text(d, "id", "0")))}
}

func (s *offsetScript) number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func fieldsOf(d *datadriven.TestData) [][]string {
	var all [][]string
	for line := range strings.Lines(d.Input) {
		if f := strings.Fields(line); len(f) > 0 {
			all = append(all, f)
		}
	}
	return all
}

// The scripts print codes; these are the names of those that they use.
func TestOffsetScriptCodes(t *testing.T) {
	for code, want := range map[int16]error{
		12: kerr.OffsetMetadataTooLarge, 22: kerr.IllegalGeneration, 24: kerr.InvalidGroupID, 25: kerr.UnknownMemberID,
		68: kerr.NonEmptyGroup, 69: kerr.GroupIDNotFound, 86: kerr.GroupSubscribedToTopic,
	} {
		if got := kerr.ErrorForCode(code); got != want {
			t.Errorf("%d is %v, not %v", code, got, want)
		}
	}
}
