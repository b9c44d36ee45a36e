package quorum

import (
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/ids"
)

func TestForm(t *testing.T) {
	dir := func(node ids.NodeID, n byte) Peer {
		return Peer{Identity: Identity{node, ids.DirectoryID{byte(node + 1), n}}}
	}
	a, b, c := dir(0, 1), dir(1, 1), dir(2, 1)
	emptiedA, emptiedB := dir(0, 2), dir(1, 2)
	report := func(p Peer, formed bool, with ...Peer) Report { return Report{p.Identity, "", formed, with} }
	for _, tt := range []struct {
		rule    string
		self    Peer
		reports []Report
		want    verdict
	}{
		{"nobody has said anything", a, nil, wait},
		{"one report is missing", a, []Report{report(b, false, a, b)}, wait},
		{"one report is missing, though the quorum has begun with this directory", a, []Report{report(b, true, a, b, c)}, wait},
		{"all are empty", a, []Report{report(b, false, a, b), report(c, false, a, c)}, vote},
		{"one has begun, with this directory", a, []Report{report(b, true, a, b, c), report(c, false, a)}, vote},
		{"both have begun, with this directory", a, []Report{report(b, true, a, b, c), report(c, true, a, b, c)}, vote},
		{"both have begun, and this directory was emptied", emptiedA, []Report{report(b, true, a, b, c), report(c, true, a, b, c)}, observe},
		{"one report that it has begun without this directory is enough", emptiedA, []Report{report(b, true, a, b, c)}, observe},
		{"an empty node has seen another directory of this one, which may have voted", emptiedA, []Report{report(b, false, a, b), report(c, false, emptiedA, c)}, observe},
		{"somebody was admitted later", a, []Report{report(emptiedB, true), report(c, false, a, c)}, observe},
		{"somebody else was emptied, and follows", a, []Report{report(emptiedB, false), report(c, true, a, b, c)}, vote},
		{"its own report and a stranger's count for nothing", a, []Report{report(a, true), report(dir(7, 1), true), report(b, false, a, b)}, wait},
	} {
		reports := make(map[ids.NodeID]Report)
		for _, r := range tt.reports {
			reports[r.Node] = r
		}
		if got := form(tt.self.Identity, []ids.NodeID{0, 1, 2}, reports); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.rule, got, tt.want)
		}
	}
}

func TestFirstSeen(t *testing.T) {
	p := func(node ids.NodeID, n byte) Peer { return Peer{Identity: Identity{node, ids.DirectoryID{n}}} }
	var with []Peer
	for _, tt := range []struct {
		peer  Peer
		added bool
	}{{p(2, 1), true}, {p(0, 1), true}, {p(2, 2), false}, {p(1, 1), true}, {p(0, 1), false}} {
		before := slices.Clone(with)
		all, added := firstSeen(with, tt.peer)
		if added != tt.added || !slices.Equal(before, with) {
			t.Errorf("%v: %v", tt.peer, added)
		}
		with = all
	}
	if !slices.Equal(with, []Peer{p(0, 1), p(1, 1), p(2, 1)}) {
		t.Errorf("%v", with)
	}
}
