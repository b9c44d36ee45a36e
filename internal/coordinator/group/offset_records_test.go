package group

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The bytes are those that the message classes of Apache Kafka 4.3.1 write.
func TestOffsetRecordBytes(t *testing.T) {
	const key = "0001 0005 67726f7570 0005 746f706963 00000003"
	for _, c := range []struct {
		name  string
		c     committedOffset
		value string
	}{
		{"plain", committedOffset{offset: 42, leaderEpoch: -1, commitTimestampMs: 1000, expireTimestampMs: noTimestamp},
			"0004 000000000000002a ffffffff 01 00000000000003e8 00"},
		{"all", committedOffset{offset: 42, leaderEpoch: 7, metadata: "note", commitTimestampMs: 1000, expireTimestampMs: noTimestamp, topicID: topicOne},
			"0004 000000000000002a 00000007 05 6e6f7465 00000000000003e8 01 00 10 00000000000000000000000000000065"},
		{"with its own expiry", committedOffset{offset: 42, leaderEpoch: 7, metadata: "note", commitTimestampMs: 1000, expireTimestampMs: 2000, topicID: topicOne},
			"0001 000000000000002a 0004 6e6f7465 00000000000003e8 00000000000007d0"},
	} {
		r := offsetRecord("group", "topic", 3, c.c)
		if !bytes.Equal(r.Key, fromHex(t, key)) || !bytes.Equal(r.Value, fromHex(t, c.value)) {
			t.Errorf("%s:\n  key %x\nvalue %x\n want %s", c.name, r.Key, r.Value, c.value)
		}
	}
	if r := offsetTombstone("group", "topic", 3); !bytes.Equal(r.Key, fromHex(t, key)) || r.Value != nil {
		t.Errorf("tombstone %x %x", r.Key, r.Value)
	}
}

func TestDecodeKey(t *testing.T) {
	for _, c := range []struct {
		name string
		key  string
		want any // nil for errUnknownKey, an error for any other
	}{
		{"offset", "0001 0001 67 0001 74 00000003", &kmsg.OffsetCommitKey{Version: 1, Group: "g", Topic: "t", Partition: 3}},
		{"offset of old", "0000 0001 67 0001 74 00000003", &kmsg.OffsetCommitKey{Group: "g", Topic: "t", Partition: 3}},
		{"group", "0002 0001 67", &kmsg.GroupMetadataKey{Version: 2, Group: "g"}},
		{"consumer group", "0003 0001 67", &consumerKey{kind: 3, group: "g"}},
		{"member of a consumer group", "0005 0001 67 0001 6d", &consumerKey{kind: 5, group: "g", name: "m"}},
		{"member cut", "0005 0001 67 0001", errors.ErrUnsupported},
		{"share group", "000b 0001 67", nil},
		{"from the future", "7fff", nil},
		{"negative", "ffff 0001 67", nil},
		{"nothing", "", errors.ErrUnsupported},
		{"half a version", "00", errors.ErrUnsupported},
		{"offset cut", "0001 0001 67 0001 74 000000", errors.ErrUnsupported},
		{"offset with a group of null", "0001 ffff 0001 74 00000003", errors.ErrUnsupported},
		{"group cut", "0002 7fff 67", errors.ErrUnsupported},
	} {
		got, err := decodeKey(fromHex(t, c.key))
		switch {
		case c.want == nil:
			if !errors.Is(err, errUnknownKey) {
				t.Errorf("%s: %v, %v", c.name, got, err)
			}
		case c.want == errors.ErrUnsupported:
			if err == nil || errors.Is(err, errUnknownKey) {
				t.Errorf("%s: %v, %v", c.name, got, err)
			}
		case err != nil || !reflect.DeepEqual(got, c.want):
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

// Every version of the value that a broker has ever written.
func TestDecodeOffsetValue(t *testing.T) {
	for _, c := range []struct {
		name  string
		value string
		want  *kmsg.OffsetCommitValue // nil for an error
	}{
		{"0", "0000 000000000000002a 0001 6d 00000000000003e8", &kmsg.OffsetCommitValue{Offset: 42, LeaderEpoch: -1, Metadata: "m", CommitTimestamp: 1000, ExpireTimestamp: -1}},
		{"1", "0001 000000000000002a 0001 6d 00000000000003e8 00000000000007d0", &kmsg.OffsetCommitValue{Version: 1, Offset: 42, LeaderEpoch: -1, Metadata: "m", CommitTimestamp: 1000, ExpireTimestamp: 2000}},
		{"2", "0002 000000000000002a 0001 6d 00000000000003e8", &kmsg.OffsetCommitValue{Version: 2, Offset: 42, LeaderEpoch: -1, Metadata: "m", CommitTimestamp: 1000, ExpireTimestamp: -1}},
		{"3", "0003 000000000000002a 00000007 0001 6d 00000000000003e8", &kmsg.OffsetCommitValue{Version: 3, Offset: 42, LeaderEpoch: 7, Metadata: "m", CommitTimestamp: 1000, ExpireTimestamp: -1}},
		{"4", "0004 000000000000002a 00000007 02 6d 00000000000003e8 01 00 10 00000000000000000000000000000065", &kmsg.OffsetCommitValue{Version: 4, Offset: 42, LeaderEpoch: 7, Metadata: "m", CommitTimestamp: 1000, ExpireTimestamp: -1, TopicID: topicOne}},
		{"5", "0005 000000000000002a 00000007 02 6d 00000000000003e8 00", nil},
		{"negative", "ffff 000000000000002a 0001 6d 00000000000003e8", nil},
		{"empty", "", nil},
		{"cut", "0003 000000000000002a 00000007 0001 6d 000000000000", nil},
		{"metadata longer than the value", "0003 000000000000002a 00000007 7fff 6d 00000000000003e8", nil},
		{"tags without end", "0004 000000000000002a 00000007 02 6d 00000000000003e8 ffffffff0f", nil},
	} {
		got, err := decodeOffsetValue(fromHex(t, c.value))
		if (err != nil) != (c.want == nil) || c.want != nil && !reflect.DeepEqual(got, c.want) {
			t.Errorf("version %s: %+v, %v", c.name, got, err)
		}
	}
}

// FuzzReplayOffset gives any bytes to what loading a partition calls.
//   - Nothing panics, and what is decoded is no longer than its bytes.
//   - An offset that is read is the one that is told, and is written and read back the same.
//   - Its tombstone leaves nothing.
func FuzzReplayOffset(f *testing.F) {
	for _, c := range []committedOffset{
		{offset: 42, leaderEpoch: 7, metadata: "note", commitTimestampMs: 1000, expireTimestampMs: noTimestamp, topicID: topicOne},
		{offset: 42, leaderEpoch: noLeaderEpoch, commitTimestampMs: 1000, expireTimestampMs: 2000},
	} {
		r := offsetRecord("group", "topic", 3, c)
		f.Add(r.Key, r.Value)
	}
	f.Add(fromHex(f, "0002 0001 67"), []byte(nil))
	f.Add(fromHex(f, "0000 0001 67 0001 74 00000003"), fromHex(f, "0000 000000000000002a 0001 6d 00000000000003e8"))
	f.Add(fromHex(f, "0001 0000 0000 ffffffff"), fromHex(f, "0004 000000000000002a 00000007 02 6d 00000000000003e8 02 05 01 00 00 10 00000000000000000000000000000065"))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		decoded, err := decodeKey(key)
		k, ok := decoded.(*kmsg.OffsetCommitKey)
		if err != nil || !ok {
			return
		}
		v, err := decodeOffsetValue(value)
		if err != nil {
			return
		}
		if len(k.Group)+len(k.Topic) > len(key) || len(v.Metadata) > len(value) {
			t.Fatalf("%d bytes are read as %+v, %d as %+v", len(key), k, len(value), v)
		}
		s := newOffsetShard()
		if err := s.replayOffset(k, v, 0); err != nil {
			t.Fatal(err)
		}
		c := s.offsets.get(k.Group, k.Topic, k.Partition)
		if c == nil || c.offset != v.Offset || c.leaderEpoch != v.LeaderEpoch || c.metadata != v.Metadata {
			t.Fatalf("%+v is kept as %+v", v, c)
		}
		want := *c
		if c.expireTimestampMs != noTimestamp {
			want.leaderEpoch, want.topicID = noLeaderEpoch, [16]byte{}
		}
		replayAll(t, s, writtenAgain(k, c))
		if got := s.offsets.get(k.Group, k.Topic, k.Partition); got == nil || *got != want {
			t.Fatalf("%+v is written and read as %+v", want, got)
		}
		replayAll(t, s, s.offsetTombstones(k.Group))
		if s.hasOffsets(k.Group) || len(s.offsets.groups) != 0 {
			t.Fatalf("a tombstone leaves %v", s.offsets.groups)
		}
	})
}
