package quorum

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/moldau/moldau/internal/ids"
)

func peerOf(node ids.NodeID, directory byte) Peer {
	return Peer{Identity{node, ids.DirectoryID{directory}}, fmt.Sprintf("host%d:9093", node)}
}

func foundingData(clusterID string) []byte {
	return appendPeers(nil, clusterID, map[uint64]Peer{1: peerOf(0, 1), 2: peerOf(1, 1), 3: peerOf(2, 1)})
}

func admissionData(p Peer) []byte { return appendPeers(nil, "", map[uint64]Peer{0: p}) }

func changeData(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A life of a quorum: it is founded, a node's directory is replaced, and what comes twice changes nothing.
func TestMembership(t *testing.T) {
	m := firstMembership([]ids.NodeID{2, 0, 1})
	steps := []struct {
		kind byte
		data []byte
		want string
	}{
		{kindFounding, foundingData("c"), "c [1 2 3] [] [1 2 3]"},
		{kindFounding, foundingData("other"), "c [1 2 3] [] [1 2 3]"},
		{kindAdmission, admissionData(peerOf(2, 2)), "c [1 2 3] [] [1 2 3 65539]"},
		{kindAdmission, admissionData(peerOf(2, 3)), "c [1 2 3] [] [1 2 3 65540]"}, // the one before never voted
		{kindConfiguration, changeData(t, replacement(3, 65540, peerOf(2, 3))), "c [1 2 65540] [1 2 3] [1 2 3 65540]"},
		{kindConfiguration, nil, "c [1 2 65540] [] [1 2 65540]"},
		{kindAdmission, admissionData(peerOf(2, 3)), "c [1 2 65540] [] [1 2 65540 65543]"}, // the same directory again
		{kindConfiguration, changeData(t, replacement(65540, 65543, peerOf(2, 3))), "c [1 2 65543] [1 2 65540] [1 2 65540 65543]"},
		{kindConfiguration, nil, "c [1 2 65543] [] [1 2 65543]"},
		{kindAdmission, admissionData(peerOf(1, 4)), "c [1 2 65543] [] [1 2 65543 65546]"},
		{kindAdmission, admissionData(peerOf(1, 5)), "c [1 2 65543] [] [1 2 65543 65547]"},
		{kindConfiguration, changeData(t, replacement(2, 65546, peerOf(1, 4))), "c [1 65543 65546] [1 2 65543] [1 2 65543 65546 65547]"}, // proposed before the last one
		{kindConfiguration, nil, "c [1 65543 65546] [] [1 65543 65546 65547]"},
	}
	for i, s := range steps {
		if err := m.apply(&Committed{Position{uint64(i + 1), 1}, s.kind, s.data}); err != nil {
			t.Fatal(i+1, err)
		}
		if got := fmt.Sprint(m.ClusterID, " ", m.Conf.GetVoters(), " ", m.Conf.GetVotersOutgoing(), " ", slices.Sorted(maps.Keys(m.Peers))); got != s.want {
			t.Errorf("after step %d: %s, want %s", i+1, got, s.want)
		}
	}
	if id := m.voterOf(1); id != 65546 || m.Peers[id] != peerOf(1, 4) {
		t.Errorf("node 1 votes as %d, %v", id, m.Peers[id])
	}
	if id := m.admitted(peerOf(2, 3).Identity); id != 65543 || m.voterOf(2) != id || m.nodeOf(id) != 2 || m.nodeOf(3) != 2 || m.nodeOf(99999) != ids.NoNode {
		t.Errorf("node 2 was admitted as %d", id)
	}
}

func TestMembershipRefuses(t *testing.T) {
	for what, c := range map[string]Committed{
		"a founding that ends early":      {Kind: kindFounding, Data: foundingData("c")[:20]},
		"a founding of no cluster":        {Kind: kindFounding, Data: foundingData("")},
		"a founding with bytes behind":    {Kind: kindFounding, Data: append(foundingData("c"), 0)},
		"an admission of three":           {Kind: kindAdmission, Data: foundingData("")},
		"an admission of nobody":          {Kind: kindAdmission, Data: appendPeers(nil, "", nil)},
		"a change that is none":           {Kind: kindConfiguration, Data: []byte{0xff}},
		"the end of a change that is not": {Kind: kindConfiguration},
		"a change that leaves no voter":   {Kind: kindConfiguration, Data: []byte{0x12, 4, 8, 1, 16, 1}},
	} {
		m := firstMembership([]ids.NodeID{0})
		if err := m.apply(&c); err == nil {
			t.Errorf("%s: no error, members %v", what, m)
		}
	}
}

func FuzzPeers(f *testing.F) {
	f.Add(foundingData("cluster"))
	f.Add(admissionData(peerOf(1, 9)))
	f.Fuzz(func(t *testing.T, b []byte) {
		clusterID, peers, rest, err := readPeers(b)
		if err != nil {
			return
		}
		again := append(appendPeers(nil, clusterID, peers), rest...)
		id, back, _, err := readPeers(again)
		if err != nil || id != clusterID || !maps.Equal(back, peers) {
			t.Fatalf("%x is read as %v, %v", b, peers, err)
		}
	})
}

func FuzzMemberFile(f *testing.F) {
	f.Add(string(standing{peerOf(1, 1).Identity, voter, 2, []Peer{peerOf(0, 1), peerOf(1, 1), peerOf(2, 1)}}.encode()))
	f.Add(string(standing{peerOf(1, 1).Identity, forming, 0, nil}.encode()))
	f.Fuzz(func(t *testing.T, text string) {
		s, err := decodeStanding(text)
		if err == nil && string(s.encode()) != text {
			t.Fatalf("%q is read as %+v", text, s)
		}
	})
}

func TestMemberFileRefuses(t *testing.T) {
	good := string(standing{peerOf(1, 1).Identity, voter, 2, []Peer{peerOf(0, 1), peerOf(1, 1)}}.encode())
	for what, text := range map[string]string{
		"nothing":            "",
		"half of it":         good[:len(good)/2],
		"another id":         strings.Replace(good, "id 2", "id 3", 1),
		"no id of a voter":   string(standing{peerOf(1, 1).Identity, voter, 0, nil}.encode()),
		"a role of later":    string(standing{peerOf(1, 1).Identity, "learner", 0, nil}.encode()),
		"a version of later": strings.Replace(good, "version 1", "version 2", 1),
	} {
		if s, err := decodeStanding(text); err == nil {
			t.Errorf("%s is read as %+v", what, s)
		}
	}
}

// The example of docs/format/quorum.md.
func TestMemberFileAsDocumented(t *testing.T) {
	p := func(node ids.NodeID) Peer { return peerOf(node, byte(100+5*node)) }
	want := standing{p(1).Identity, voter, 2, []Peer{p(0), p(1), p(2)}}
	text := `version 1
node 1
directory aQAAAAAAAAAAAAAAAAAAAA
role voter
id 2
with 0 ZAAAAAAAAAAAAAAAAAAAAA "host0:9093"
with 1 aQAAAAAAAAAAAAAAAAAAAA "host1:9093"
with 2 bgAAAAAAAAAAAAAAAAAAAA "host2:9093"
crc 028f052c
`
	got, err := decodeStanding(text)
	if err != nil || got.Identity != want.Identity || got.role != want.role || got.id != want.id || !slices.Equal(got.with, want.with) {
		t.Errorf("%+v, %v", got, err)
	}
}
