package group

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
)

func fetchedShard(t *testing.T) *Shard {
	s := newOffsetShard()
	m := commitOf(10, "g", map[partitionOf]int64{{"b", 10}: 30, {"b", 9}: 29, {"a", 0}: 10})
	m.Topics[0].TopicID = topicOne
	m.Topics[0].Partitions[0].LeaderEpoch = 4
	m.Topics[0].Partitions[0].Metadata = kmsg.StringPtr("note")
	mustCommit(t, s, m, testStart)
	return s
}

func TestOffsetFetch(t *testing.T) {
	s := fetchedShard(t)
	const none = `: -1 epoch -1 ""`
	for _, c := range []struct {
		name string
		m    *kmsg.OffsetFetchRequest
		want []string
	}{
		{"named, in the order asked", askFor(askFor(fetchOf(8, "g"), "b", ids.TopicID{}, 10, 3, 9), "a", ids.TopicID{}, 0),
			[]string{`b-10: 30 epoch -1 ""`, "b-3" + none, `b-9: 29 epoch -1 ""`, `a-0: 10 epoch 4 "note"`}},
		{"unknown topic", askFor(fetchOf(8, "g"), "x", ids.TopicID{}, 0), []string{"x-0" + none}},
		{"unknown group", askFor(fetchOf(8, "x"), "a", ids.TopicID{}, 0, 1), []string{"a-0" + none, "a-1" + none}},
		{"all, by name and number", fetchOf(8, "g"), []string{`a-0: 10 epoch 4 "note"`, `b-9: 29 epoch -1 ""`, `b-10: 30 epoch -1 ""`}},
		{"all of an unknown group", fetchOf(8, "x"), nil},
		{"its topic id", askFor(fetchOf(10, "g"), "a", topicOne, 0), []string{`a-0: 10 epoch 4 "note" id 101`}},
		{"another life of the topic", askFor(fetchOf(10, "g"), "a", topicTwo, 0), []string{"a-0" + none + " id 102"}},
		{"committed without an id", askFor(fetchOf(10, "g"), "b", topicTwo, 9), []string{`b-9: 29 epoch -1 "" id 102`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp := s.offsetFetch(c.m)
			equalLines(t, "answer", printFetch(resp), c.want)
			if resp.Version != c.m.Version || len(resp.Groups) != 1 || resp.Groups[0].Group != c.m.Groups[0].Group {
				t.Fatalf("answer %+v", resp)
			}
		})
	}
}

// An empty list asks for nothing; a null one for everything.
func TestOffsetFetchOfNoTopics(t *testing.T) {
	m := fetchOf(8, "g")
	m.Groups[0].Topics = []kmsg.OffsetFetchRequestGroupTopic{}
	equalLines(t, "answer", printFetch(fetchedShard(t).offsetFetch(m)), nil)
}

// Nothing is part of a transaction, so that what must be stable is told like the rest (KIP-447).
func TestOffsetFetchRequireStable(t *testing.T) {
	m := askFor(fetchOf(7, "g"), "b", ids.TopicID{}, 9)
	m.RequireStable = true
	equalLines(t, "answer", printFetch(fetchedShard(t).offsetFetch(m)), []string{`b-9: 29 epoch -1 ""`})
}

// A reader of old offsets is told them until the check has removed them.
func TestOffsetFetchOfOldOffsets(t *testing.T) {
	s := fetchedShard(t)
	late := testStart.Add(10 * testRetention)
	m := askFor(fetchOf(8, "g"), "b", ids.TopicID{}, 9)
	equalLines(t, "before", printFetch(s.offsetFetch(m)), []string{`b-9: 29 epoch -1 ""`})
	s.expireOffsets(late)
	replayAll(t, s, s.expireOffsets(late.Add(testInterval)))
	equalLines(t, "after", printFetch(s.offsetFetch(m)), []string{`b-9: -1 epoch -1 ""`})
}

// The response of every version can be written and read back.
func TestOffsetFetchResponsesEncode(t *testing.T) {
	s := fetchedShard(t)
	for version := int16(8); version <= 10; version++ {
		resp := s.offsetFetch(askFor(fetchOf(version, "g"), "a", topicOne, 0))
		back := kmsg.NewPtrOffsetFetchResponse()
		back.Version = version
		if err := back.ReadFrom(resp.AppendTo(nil)); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if p := back.Groups[0].Topics[0].Partitions[0]; p.Offset != 10 || p.LeaderEpoch != 4 || *p.Metadata != "note" {
			t.Fatalf("version %d: %+v", version, p)
		}
	}
}
