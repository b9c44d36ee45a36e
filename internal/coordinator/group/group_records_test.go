package group

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
)

// unspaced puts together bytes that are written in fields.
func unspaced(fields string) string { return strings.Join(strings.Fields(fields), "") }

// The bytes are those of GroupMetadataKey and GroupMetadataValue of Apache Kafka 4.3.1, which writes
// values of version 3.
func TestGroupRecordBytes(t *testing.T) {
	h := newHarness(t)
	fresh := h.shard.newGroup("g", epoch)
	grown := h.shard.newGroup("g", epoch)
	grown.generation, grown.protocol = 7, kmsg.StringPtr("range")
	grown.add(&member{
		id: "c-1", clientID: "c", clientHost: "/10.0.0.1", rebalanceTimeoutMs: 60000, sessionTimeoutMs: 10000,
		protocols: []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("m")}},
	}, "consumer")
	grown.add(&member{
		id: "i-2", instanceID: kmsg.StringPtr("i"), rebalanceTimeoutMs: 1, sessionTimeoutMs: 2,
		protocols: []kmsg.JoinGroupRequestProtocol{{Name: "range"}},
	}, "consumer")
	emptied := h.shard.newGroup("g", epoch)
	emptied.generation, emptied.typ = 8, "consumer"
	for _, c := range []struct {
		name string
		rec  runtime.Record
		want string
	}{
		{"a new group", newGroupRecord(fresh), "0003 0000 00000000 ffff ffff 0000018bcfe56800 00000000"},
		{"a group that was left", groupRecord(emptied, nil), "0003 0008636f6e73756d6572 00000008 ffff ffff 0000018bcfe56800 00000000"},
		{"a generation", groupRecord(grown, func(m *member) []byte { return []byte(m.id[:1]) }), `
			0003 0008636f6e73756d6572 00000007 000572616e6765 0003632d31 0000018bcfe56800 00000002
			0003632d31 ffff 000163 00092f31302e302e302e31 0000ea60 00002710 000000016d 0000000163
			0003692d32 000169 0000 0000 00000001 00000002 00000000 0000000169`},
		{"a group that is removed", fresh.tombstones()[0], ""},
	} {
		if got := hex.EncodeToString(c.rec.Key); got != "0002000167" {
			t.Errorf("%s: key %s", c.name, got)
		}
		if got := hex.EncodeToString(c.rec.Value); got != unspaced(c.want) {
			t.Errorf("%s:\n%s, want\n%s", c.name, got, unspaced(c.want))
		}
		if removed := c.want == ""; removed != (c.rec.Value == nil) {
			t.Errorf("%s: value %v", c.name, c.rec.Value)
		}
	}
}

// What cannot be read is an error, and leaves what there was.
func TestReplayOfUnreadableRecords(t *testing.T) {
	const generation = "0003 0008636f6e73756d6572 00000007 000572616e6765 0003632d31 0000018bcfe56800 "
	const one = "0003632d31 ffff 000163 0000 0000ea60 00002710 000000016d 0000000163 "
	const static = "0003632d32 000169 000163 0000 0000ea60 00002710 000000016d 0000000163 "
	for _, c := range []struct{ name, key, value, want string }{
		{"no key", "", "00", "too short"},
		{"a key that is cut off", "0002 0005 67", "00", "the key of a group"},
		{"an offset's key that is cut off", "0001 0005 67", "00", "the key of a committed offset"},
		{"an offset that is cut off", "0001 000167 000174 00000000", "0003 00", "group \"g\", t-0"},
		{"no value", "0002 000167", "", "the record of group \"g\""},
		{"a value that is cut off", "0002 000167", generation + "00000001 0003632d", "the record of group \"g\""},
		{"too many members", "0002 000167", generation + "7fffffff", "the record of group \"g\""},
		{"a value to come", "0002 000167", "0005 01 00000000 00 00 0000018bcfe56800 01 00", "version 5"},
		{"a member twice", "0002 000167", generation + "00000002" + one + one, "\"c-1\" more than once"},
		{"an instance twice", "0002 000167", generation + "00000002" + static + strings.Replace(static, "632d32", "632d33", 1), "\"c-3\" more than once"},
	} {
		s := newHarness(t).newShard()
		key, err := hex.DecodeString(unspaced(c.key))
		if err != nil {
			t.Fatal(err)
		}
		value, err := hex.DecodeString(unspaced(c.value))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Replay(key, value, 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
		if len(s.groups) > 0 {
			t.Errorf("%s: it made a group", c.name)
		}
	}
}

// Versions that older brokers wrote are read; what they lack is filled in as Kafka does.
func TestReplayOfOlderRecords(t *testing.T) {
	for version, fields := range []string{
		"0000 0008636f6e73756d6572 00000007 000572616e6765 0003632d31 00000001 0003632d31 000163 0000 00002710 000000016d 0000000161",
		"0001 0008636f6e73756d6572 00000007 000572616e6765 0003632d31 00000001 0003632d31 000163 0000 00002710 00002710 000000016d 0000000161",
		"0002 0008636f6e73756d6572 00000007 000572616e6765 0003632d31 ffffffffffffffff 00000001 0003632d31 000163 0000 00002710 00002710 000000016d 0000000161",
	} {
		s := newHarness(t).newShard()
		value, err := hex.DecodeString(unspaced(fields))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Replay(groupKey("g"), value, 0); err != nil {
			t.Fatal(err)
		}
		g := s.groups["g"]
		if g == nil || g.state != stateStable || g.generation != 7 || g.leader != "c-1" || !g.since.IsZero() {
			t.Fatalf("version %d: %+v", version, g)
		}
		if m := g.members[0]; m.rebalanceTimeoutMs != 10000 || m.sessionTimeoutMs != 10000 || string(m.assignment) != "a" || string(m.metadata(g.protocol)) != "m" {
			t.Errorf("version %d: %+v", version, m)
		}
	}
}
