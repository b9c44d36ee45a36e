package group

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator/runtime"
)

// TestConsumerRecords: the bytes of each record, which kafka-dump-log of Apache Kafka 4.3.1 reads (test/files), and that
// they are read back as they were.
func TestConsumerRecords(t *testing.T) {
	g := newConsumerGroup("g")
	m := &consumerMember{
		id: "m", instanceID: kmsg.StringPtr("i"), clientID: "c", clientHost: "/h", topics: []string{"a", "b"}, rebalanceTimeoutMs: 30000,
		epoch: 3, previousEpoch: 2, state: memberUnrevoked,
		assigned: assignment{{topicID("a"), []int32{0, 2}, []int32{2, 3}}}, revoking: assignment{{topicID("b"), []int32{1}, []int32{2}}},
	}
	old := newConsumerMember("o")
	old.rackID, old.regex, old.assignor = kmsg.StringPtr("r"), "a.*", kmsg.StringPtr("range")
	old.classic = &classicMetadata{sessionTimeoutMs: 45000, protocols: []kmsg.JoinGroupRequestProtocol{{Name: "p", Metadata: []byte{7}}}}
	a, b := "61"+zeros(15), "62"+zeros(15)
	for _, c := range []struct {
		name       string
		rec        runtime.Record
		key, value string
	}{
		{"epoch", g.epochRecord(5, 0), "0003 000167", "0000 00000005 00"},
		{"epoch with a hash", g.epochRecord(5, -2), "0003 000167", "0000 00000005 01 00 08 fffffffffffffffe"},
		{"member", g.memberRecord(m), "0005 000167 00016d", "0000 0269 00 0263 032f68 03 0261 0262 01 00007530 00 00"},
		{"classic member", g.memberRecord(old), "0005 000167 00016f", "0000 00 0272 01 01 01 04612e2a ffffffff 0672616e6765 01 00 0c 01 0000afc8 02 0270 0207 00 00"},
		{"target epoch", g.targetEpochRecord(5, 0), "0006 000167", "0000 00000005 00"},
		{"target epoch with a time", g.targetEpochRecord(5, 9), "0006 000167", "0000 00000005 01 00 08 0000000000000009"},
		{"target", g.targetRecord("m", m.assigned.bare()), "0007 000167 00016d", "0000 02 " + a + " 03 00000000 00000002 00 00"},
		{"no target", g.targetRecord("m", nil), "0007 000167 00016d", "0000 01 00"},
		{"current", g.currentRecord(m), "0008 000167 00016d", "0000 00000003 00000002 01" +
			"02 " + a + " 03 00000000 00000002 01 00 09 03 00000002 00000003" +
			"02 " + b + " 02 00000001 01 00 05 02 00000002 00"},
		{"regex", g.regexRecord("a.*", &resolvedRegex{topics: []string{"a"}, version: 7, timestampMs: 8}), "0010 000167 0003612e2a",
			"0000 02 0261 0000000000000007 0000000000000008 00"},
	} {
		if got := hex.EncodeToString(c.rec.Key); got != unspaced(c.key) {
			t.Errorf("%s: key %s, want %s", c.name, got, unspaced(c.key))
		}
		if got := hex.EncodeToString(c.rec.Value); got != unspaced(c.value) {
			t.Errorf("%s:\n%s, want\n%s", c.name, got, unspaced(c.value))
		}
		for cut := range len(c.rec.Value) {
			s := newOffsetShard()
			if err := s.Replay(c.rec.Key, c.rec.Value[:cut], 0); err == nil || len(s.consumers) > 0 {
				t.Errorf("%s: %d of %d bytes are read: %v", c.name, cut, len(c.rec.Value), err)
			}
		}
		s := newOffsetShard()
		if err := s.Replay(c.rec.Key, c.rec.Value, 0); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if again := consumerWrittenAgain(t, s.consumers["g"], c.rec.Key); !bytes.Equal(again, c.rec.Value) {
			t.Errorf("%s: read and written again it is %x", c.name, again)
		}
	}
}

func zeros(n int) string { return string(bytes.Repeat([]byte("00"), n)) }

// consumerWrittenAgain writes the record of a key from what the group has become by it.
func consumerWrittenAgain(t *testing.T, g *consumerGroup, key []byte) []byte {
	decoded, err := decodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	k := decoded.(*consumerKey)
	switch k.kind {
	case consumerGroupKeyVersion:
		return g.epochRecord(g.epoch, g.metadataHash).Value
	case consumerMemberKeyVersion:
		return g.memberRecord(g.members[k.name]).Value
	case targetMetadataKeyVersion:
		return g.targetEpochRecord(g.targetEpoch, g.targetMs).Value
	case targetMemberKeyVersion:
		return g.targetRecord(k.name, g.target[k.name]).Value
	case currentAssignmentKeyVersion:
		return g.currentRecord(g.members[k.name]).Value
	default:
		return g.regexRecord(k.name, g.resolved[k.name]).Value
	}
}

// FuzzConsumerRecord: a record that another program wrote is read or refused.
func FuzzConsumerRecord(f *testing.F) {
	for kind := range int16(17) {
		f.Add(consumerKey{kind, "g", "m"}.appendTo(), []byte{0, 0, 2, 2, 'a', 0xff, 0xff, 0xff, 0xff, 0x0f, 0})
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		s := newOffsetShard()
		for range 2 {
			_ = s.Replay(key, value, 0)
		}
		_ = s.Replay(key, nil, 0)
	})
}
