package controller

import (
	"testing"

	"github.com/moldau/moldau/internal/ids"
)

// The full disk of the only broker is written to for nothing that nobody can act on.
func TestFullDiskOfALoneBroker(t *testing.T) {
	for brokers, want := range map[int]int{1: 0, 2: 1} {
		c := coreWithBrokers(t, brokers)
		req := heartbeat(c, 1)
		b, _ := c.pending.Broker(1)
		SetFullLogDirs(req, b.Dirs)
		if _, recs := c.BrokerHeartbeat(req, testTime); len(recs) != want {
			t.Errorf("%d brokers: %v", brokers, recs)
		}
	}
}

// What a heartbeat says of directories survives its way over the wire.
func TestFullLogDirs(t *testing.T) {
	c := coreWithBrokers(t, 1)
	req := heartbeat(c, 1)
	req.Version = 1
	want := []ids.DirectoryID{ids.NewUUID(), ids.NewUUID()}
	SetFullLogDirs(req, want)
	back := *req
	if err := back.ReadFrom(req.AppendTo(nil)); err != nil {
		t.Fatal(err)
	}
	if got := directories(fullLogDirs(&back)); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%v arrive as %v", want, got)
	}
}
