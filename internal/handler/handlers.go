package handler

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Controller decides what changes the metadata. Every method blocks until its decision
// is committed and applied on this broker.
type Controller interface {
	CreateTopics(context.Context, *kmsg.CreateTopicsRequest) *kmsg.CreateTopicsResponse
	DeleteTopics(context.Context, *kmsg.DeleteTopicsRequest) *kmsg.DeleteTopicsResponse
	CreatePartitions(context.Context, *kmsg.CreatePartitionsRequest) *kmsg.CreatePartitionsResponse
	IncrementalAlterConfigs(context.Context, ids.NodeID, *kmsg.IncrementalAlterConfigsRequest) *kmsg.IncrementalAlterConfigsResponse
	AlterConfigs(context.Context, ids.NodeID, *kmsg.AlterConfigsRequest) *kmsg.AlterConfigsResponse
	AllocateProducerIDs(ctx context.Context, node ids.NodeID, brokerEpoch int64) (first ids.ProducerID, count int32, err error)
	Elections
	Membership
}

// Elections is the part of the Controller that decides where partitions are and who leads them.
type Elections interface {
	ElectLeaders(context.Context, *kmsg.ElectLeadersRequest) *kmsg.ElectLeadersResponse
	AlterPartitionReassignments(context.Context, *kmsg.AlterPartitionAssignmentsRequest) *kmsg.AlterPartitionAssignmentsResponse
}

// Membership is the part of the Controller that decides which brokers there are, and the features that all of them have.
type Membership interface {
	UpdateFeatures(context.Context, *kmsg.UpdateFeaturesRequest) *kmsg.UpdateFeaturesResponse
	UnregisterBroker(context.Context, *kmsg.UnregisterBrokerRequest) *kmsg.UnregisterBrokerResponse
}

// Nodes is the part of the controller that other nodes of the cluster ask. It answers NOT_CONTROLLER while it does not decide.
type Nodes interface {
	BrokerRegistration(context.Context, *kmsg.BrokerRegistrationRequest) *kmsg.BrokerRegistrationResponse
	BrokerHeartbeat(context.Context, *kmsg.BrokerHeartbeatRequest) *kmsg.BrokerHeartbeatResponse
	AlterPartition(context.Context, *kmsg.AlterPartitionRequest) *kmsg.AlterPartitionResponse
	AssignReplicasToDirs(context.Context, *kmsg.AssignReplicasToDirsRequest) *kmsg.AssignReplicasToDirsResponse
}

// Partitions finds the partitions that this broker has. The error is the Kafka error
// of a partition that it has not: unknown, known but led elsewhere, or another topic id.
type Partitions interface {
	ByName(topic []byte, partition int32) (*partition.Partition, error)
	ByID(topic ids.TopicID, partition int32) (*partition.Partition, error)
	// Led tells when this broker last began to lead a partition; next is closed when it begins to lead another one.
	Led() (began time.Time, next <-chan struct{})
}

// Deps is what the handlers need of the broker.
type Deps struct {
	Node       ids.NodeID
	Image      func() *metadata.Image
	Partitions Partitions
	LogDirs    LogDirs
	// MoveReplica begins to move a replica to a data directory, or finds that there is nothing to do.
	MoveReplica func(tp ids.TopicPartition, dir string) error
	// Controller decides, or asks the node that does. LocalController is this node's own.
	Controller      Controller
	LocalController Controller
	Nodes           Nodes // nil where no other nodes are admitted
	Groups          Groups
	Counts          func() bool // whether no others can lead yet what this broker leads
	Quorum          Quorum
	// ToController has the active controller, which is another node, answer a request as it is.
	ToController func(context.Context, kmsg.Request) (kmsg.Response, error)
	Config       func() *config.Broker // of now, dynamic configs included
	Logger       *slog.Logger
}

// Handlers answers every API of the registry.
type Handlers struct {
	Deps
	sessions     *fetchSessions
	creator      *topicCreator
	produceCalls produceCallPool
	producerIDs  *producerIDs
	apiVersions  apiVersionsCache
}

// New returns the handlers of one broker. They are stopped once nothing asks them any more.
func New(deps Deps) *Handlers {
	h := &Handlers{Deps: deps, sessions: newFetchSessions(int(deps.Config().FetchSessionSlots)), creator: newTopicCreator(deps.Controller.CreateTopics, deps.Logger)}
	h.producerIDs = newProducerIDs(h.allocateProducerIDs)
	return h
}

// Stop ends what goes on behind answers.
func (h *Handlers) Stop() { h.creator.stop() }

// allocateProducerIDs gets this broker's next block of producer ids.
func (h *Handlers) allocateProducerIDs(ctx context.Context) (ids.ProducerID, int32, error) {
	b, ok := h.Image().Broker(h.Node)
	if !ok {
		return ids.NoProducerID, 0, fmt.Errorf("broker %d has not registered yet: %w", h.Node, kerr.CoordinatorNotAvailable)
	}
	return h.Controller.AllocateProducerIDs(ctx, h.Node, b.Epoch)
}

// decider returns who decides what x asks for, and the broker whose client has asked. What another node has forwarded
// is that node's, and goes no further: were it forwarded again, two nodes that take each other for the controller
// would never end.
func (h *Handlers) decider(x *server.Exchange) (Controller, ids.NodeID) {
	if from, ok := x.Conn.Node(); ok {
		return h.LocalController, from.Node
	}
	return h.Controller, h.Node
}

// forItself tells whether a node asks as the broker that it is. It closes the connection of one that does not.
func forItself(x *server.Exchange, broker int32) bool {
	from, ok := x.Conn.Node()
	if ok && int32(from.Node) == broker {
		return true
	}
	x.Close(fmt.Errorf("%s of broker %d by %v", kmsg.NameForKey(x.Key), broker, from))
	return false
}

// within returns a context that ends when the request's own time-out does.
func within(x *server.Exchange, timeoutMs int32) (context.Context, context.CancelFunc) {
	return context.WithTimeout(x.Context(), time.Duration(max(timeoutMs, 0))*time.Millisecond)
}
