package quorum

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/moldau/moldau/internal/ids"
)

func messages() map[string]Message {
	one := Identity{1, ids.UUID{1}}
	report := Report{Identity: one, Endpoint: "a:1", Formed: true, With: []Peer{{one, "a:1"}, {Identity{2, ids.UUID{2}}, ""}}}
	return map[string]Message{
		"raft": {ClusterID: "c", From: one, To: 2, Raft: &raftpb.Message{
			Type: raftpb.MsgApp.Enum(), To: proto.Uint64(3), From: proto.Uint64(2), Term: proto.Uint64(7),
			Entries: []*raftpb.Entry{entryOf(9, 7, raftpb.EntryNormal, []byte{kindDecision, 'x'})},
		}},
		"ask of an empty node": {From: one, To: 0, Ask: &Ask{Report: Report{Identity: one}}},
		"ask":                  {ClusterID: "c", From: one, To: 3, Ask: &Ask{Report: report, Next: 1 << 40}},
		"answer":               {ClusterID: "c", From: one, To: 3, Answer: &Answer{Directory: ids.UUID{3}, Report: report, Leader: ids.NoNode}},
		"answer with entries": {ClusterID: "c", From: one, To: 3, Answer: &Answer{
			Report: report, Founded: true, RaftID: 65539, Applied: 12, Leader: 2, Tail: &Tail{Commit: 12, Batches: []byte("batches")},
		}},
		"answer with a snapshot": {From: one, To: 3, Answer: &Answer{Tail: &Tail{Commit: 12, Snapshot: bytes.Repeat([]byte("s"), 1<<20)}}},
		"answer without news":    {From: one, To: 3, Answer: &Answer{Tail: &Tail{}}},
	}
}

func TestMessageCodec(t *testing.T) {
	for name, m := range messages() {
		t.Run(name, func(t *testing.T) {
			b, err := m.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeMessage(b)
			if err != nil {
				t.Fatal(err)
			}
			if m.Raft != nil {
				if !proto.Equal(got.Raft, m.Raft) {
					t.Errorf("%v, want %v", got.Raft, m.Raft)
				}
				got.Raft = m.Raft
			}
			if !reflect.DeepEqual(got, m) {
				t.Errorf("%+v, want %+v", got, m)
			}
			clear(b)
			if a := got.Answer; a != nil && a.Tail != nil && !reflect.DeepEqual(a.Tail, m.Answer.Tail) {
				t.Error("what was decided is in the memory of the message")
			}
		})
	}
}

func TestMessageRefused(t *testing.T) {
	for name, m := range messages() {
		whole, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		head := -1 // bytes before what raft encodes
		if m.Raft != nil {
			head = len(whole) - proto.Size(m.Raft)
		}
		for n := range min(len(whole), 200) {
			if n == head {
				break // protocol buffers may end between two fields
			}
			if _, err := DecodeMessage(whole[:n]); !errors.Is(err, ErrMessage) {
				t.Fatalf("%s, cut after %d bytes: %v", name, n, err)
			}
		}
		if m.Raft == nil {
			if _, err := DecodeMessage(append(whole, 0)); !errors.Is(err, ErrMessage) {
				t.Errorf("%s, a byte more: %v", name, err)
			}
		}
		whole[0] = 2
		if _, err := DecodeMessage(whole); !errors.Is(err, ErrMessage) {
			t.Errorf("%s, of version 2: %v", name, err)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, m := range messages() {
		b, err := m.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 1000 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMessage(b)
		if err != nil {
			return
		}
		if (m.Raft != nil) == (m.Ask != nil || m.Answer != nil) || m.Ask != nil && m.Answer != nil {
			t.Fatalf("%+v", m)
		}
		again, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if m.Raft == nil && !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}
