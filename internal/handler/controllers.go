package handler

import (
	"context"

	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ReadableLog is the committed metadata log, for brokers that follow it and have no vote.
type ReadableLog interface {
	Fetch(ctx context.Context, who quorum.Identity, req *kmsg.FetchRequest) *kmsg.FetchResponse
	FetchSnapshot(*kmsg.FetchSnapshotRequest) *kmsg.FetchSnapshotResponse
}

// Controllers answers on the listeners of controllers: what brokers ask, who forward what their clients ask, and nothing
// that takes a broker to answer. There, a Fetch is one of the metadata log (Java: ControllerApis).
type Controllers struct {
	handlers *Handlers
	log      ReadableLog
}

// NewControllers returns the handler of a controller's listeners.
func NewControllers(h *Handlers, log ReadableLog) *Controllers { return &Controllers{h, log} }

// atControllers are the APIs of registry and internal that controllers decide on.
var atControllers = map[kmsg.Key]bool{
	kmsg.CreateTopics: true, kmsg.DeleteTopics: true, kmsg.CreatePartitions: true, kmsg.AlterConfigs: true, kmsg.IncrementalAlterConfigs: true,
	kmsg.ElectLeaders: true, kmsg.AlterPartitionAssignments: true, kmsg.UpdateFeatures: true, kmsg.UnregisterBroker: true, kmsg.AllocateProducerIDs: true,
	kmsg.BrokerRegistration: true, kmsg.BrokerHeartbeat: true, kmsg.AlterPartition: true, kmsg.AssignReplicasToDirs: true, kmsg.DescribeQuorum: true,
}

// Serves implements server.Handler.
func (c *Controllers) Serves(key, version int16, node bool) bool {
	switch kmsg.Key(key) {
	case kmsg.Fetch:
		return node && version == quorum.FetchVersion
	case kmsg.FetchSnapshot:
		return node && version == quorum.FetchSnapshotVersion
	}
	return atControllers[kmsg.Key(key)] && c.handlers.Serves(key, version, node)
}

// Serve implements server.Handler.
func (c *Controllers) Serve(x *server.Exchange) {
	switch kmsg.Key(x.Key) {
	case kmsg.Fetch:
		c.fetch(x)
	case kmsg.FetchSnapshot:
		c.fetchSnapshot(x)
	default:
		c.handlers.Serve(x)
	}
}

func (c *Controllers) fetch(x *server.Exchange) {
	var req kmsg.FetchRequest
	if !decode(x, &req) || !forItself(x, req.ReplicaState.ID) {
		return
	}
	from, _ := x.Conn.Node()
	x.Park()
	reply(x, c.log.Fetch(x.Context(), quorum.Identity{Node: from.Node, Directory: from.Directory}, &req))
}

func (c *Controllers) fetchSnapshot(x *server.Exchange) {
	var req kmsg.FetchSnapshotRequest
	if !decode(x, &req) || !forItself(x, req.ReplicaID) {
		return
	}
	reply(x, c.log.FetchSnapshot(&req))
}
