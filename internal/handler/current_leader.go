package handler

import (
	"slices"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/server"
	"github.com/moldau/moldau/internal/wire"
)

// leaderHints are the brokers that an answer sends a client to, each once (KIP-951).
type leaderHints struct{ nodes []wire.NodeEndpoint }

// leaderOf returns who leads a partition as far as this broker knows, and notes where the client of x finds that one.
// A topic that has no name has an id.
func (n *leaderHints) leaderOf(h *Handlers, x *server.Exchange, name string, id ids.TopicID, number int32) wire.LeaderIDAndEpoch {
	img := h.Image()
	t, known := img.TopicByID(id)
	if name != "" {
		t, known = img.Topic(name)
	}
	if !known || number < 0 || int(number) >= len(t.Partitions) || t.Partitions[number].Leader == ids.NoNode {
		return wire.LeaderIDAndEpoch{}
	}
	p := &t.Partitions[number]
	n.note(img, p.Leader, x.Conn.Listener())
	return wire.LeaderIDAndEpoch{Known: true, ID: p.Leader, Epoch: p.LeaderEpoch}
}

func (n *leaderHints) note(img *metadata.Image, leader ids.NodeID, listener string) {
	b, known := img.Broker(leader)
	if !known || slices.ContainsFunc(n.nodes, func(e wire.NodeEndpoint) bool { return e.ID == leader }) {
		return
	}
	if e, ok := b.Endpoint(listener); ok {
		n.nodes = append(n.nodes, wire.NodeEndpoint{ID: leader, Host: e.Host, Port: int32(e.Port), Rack: b.Rack})
	}
}
