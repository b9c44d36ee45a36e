package handler

import (
	"testing"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/metadata"
)

// A node that is a broker alone does not know how many brokers are still to come: the topic of the groups is made with as many
// replicas as it is to have. A controller waits for the other voters, and does with fewer where there are no more nodes.
func TestReplicasOfTheOffsetsTopic(t *testing.T) {
	const voters = "1@localhost:1,2@localhost:2,3@localhost:3"
	for _, c := range []struct {
		node, roles, voters, replicas string
		want                          int16
	}{
		{"1", "broker,controller", "", "3", 1},
		{"1", "broker,controller", voters, "3", 3},
		{"1", "broker,controller", voters, "5", 3},
		{"7", "broker", voters, "3", 3},
		{"7", "broker", voters, "5", 5},
		{"7", "broker", "1@localhost:1", "1", 1},
	} {
		listeners := "PLAINTEXT://localhost:9"
		if c.voters != "" && c.roles != "broker" {
			listeners += ",CONTROLLER://localhost:1"
		}
		cfg, err := config.New([]config.Entry{
			{Name: "node.id", Value: c.node}, {Name: "process.roles", Value: c.roles}, {Name: "controller.quorum.voters", Value: c.voters},
			{Name: "listeners", Value: listeners}, {Name: "controller.listener.names", Value: "CONTROLLER"}, {Name: "offsets.topic.replication.factor", Value: c.replicas},
		})
		if c.voters == "" && err != nil { // a lone node has no listener of controllers
			cfg, err = config.New([]config.Entry{{Name: "node.id", Value: c.node}, {Name: "offsets.topic.replication.factor", Value: c.replicas}})
		}
		if err != nil {
			t.Fatal(err)
		}
		img := metadata.NewDelta(nil)
		if err := img.Replay(&metadata.RegisterBrokerRecord{BrokerID: 7}); err != nil {
			t.Fatal(err)
		}
		h := &Handlers{Deps: Deps{Config: func() *config.Broker { return cfg }, Image: func() *metadata.Image { return img.Apply(1, 1) }}}
		if got := h.offsetsTopic().ReplicationFactor; got != c.want {
			t.Errorf("%s of %q, %s wanted: %d replicas, want %d", c.roles, c.voters, c.replicas, got, c.want)
		}
	}
}
