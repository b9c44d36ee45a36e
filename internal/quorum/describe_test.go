package quorum

import (
	"testing"
	"time"

	"github.com/moldau/moldau/internal/ids"
)

// The leader knows how far every voter is and when it has heard of it last; the others know who leads, and themselves.
func TestDescribe(t *testing.T) {
	nodes := wire(t)
	for _, n := range nodes {
		n.start(t, nodes)
	}
	all := []*wired{nodes[1], nodes[2], nodes[3]}
	before := time.Now()
	decide(t, []string{"a", "b"}, all...)
	l := leader(t, all...)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		d, err := l.Describe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		caughtUp := d.Leader == l.id && d.ClusterID != "" && len(d.Voters) == 3 && len(d.Observers) == 0
		for i, v := range d.Voters {
			known := v.Node == ids.NodeID(i+1) && v.Directory == ids.UUID{15: byte(v.Node)} && v.Endpoint == nodes[v.Node].ln.Addr().String()
			caughtUp = caughtUp && known && v.LogEnd == d.LogEnd && v.LogEnd >= d.HighWatermark && !v.Heard.Before(before)
		}
		if caughtUp {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", d)
		}
	}
	for _, n := range all {
		if d, err := n.Describe(t.Context()); n != l && (err != nil || d.Leader != l.id || len(d.Voters) != 3 || d.Voters[(int(n.id))%3].LogEnd != ids.NoOffset || d.Voters[n.id-1].LogEnd < d.HighWatermark) {
			t.Errorf("node %d, which does not lead: %+v, %v", n.id, d, err)
		}
		n.end(t)
		n.ln.Close()
		if _, err := n.Describe(t.Context()); err == nil {
			t.Error("a node that is over describes the quorum")
		}
	}
}

// A new leader says of one that has not answered it yet that nothing is known, as Apache Kafka does, and not that it has the first entry.
func TestDescribeUnheard(t *testing.T) {
	nodes := wire(t)
	for _, n := range nodes {
		n.start(t, nodes)
	}
	dead := leader(t, nodes[1], nodes[2], nodes[3])
	decide(t, []string{"a"}, nodes[1], nodes[2], nodes[3])
	dead.end(t)
	dead.ln.Close()
	var rest []*wired
	for _, n := range nodes {
		if n != dead {
			rest = append(rest, n)
		}
	}
	decide(t, []string{"a", "b"}, rest...)
	d, err := leader(t, rest...).Describe(t.Context())
	if err != nil || len(d.Voters) != 3 {
		t.Fatalf("%+v, %v", d, err)
	}
	if v := d.Voters[dead.id-1]; v.Node != dead.id || v.LogEnd != ids.NoOffset || !v.Heard.IsZero() {
		t.Errorf("the one that runs no more: %+v", v)
	}
	for _, n := range rest {
		n.end(t)
		n.ln.Close()
	}
}

// A lone voter describes itself.
func TestDescribeAlone(t *testing.T) {
	cfg := testConfig(newDisk(t))
	cfg.DirectoryID = ids.UUID{15: 9}
	m := newMachine()
	n := open(t, cfg, m)
	defer n.Stop()
	m.lead(t, n)
	d, err := n.Describe(t.Context())
	if err != nil || d.Leader != cfg.NodeID || len(d.Voters) != 1 || d.Voters[0].Identity != (Identity{cfg.NodeID, cfg.DirectoryID}) || d.Voters[0].LogEnd != d.LogEnd {
		t.Errorf("%+v, %v", d, err)
	}
}
