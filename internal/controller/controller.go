package controller

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// Quorum is the log that decisions go to.
type Quorum interface {
	// Propose puts data at the end of the log as one entry, behind those of every
	// earlier call, and returns before it is durable. An error says that the entry is
	// not in the log and never will be: this node does not lead in epoch any more, or
	// cannot take more now. It must not wait for Applied or LeaderChanged to return, and
	// must not change data, which the controller keeps until it is applied.
	Propose(epoch ids.LeaderEpoch, data []byte) error
}

// Config is what a Controller is made of.
type Config struct {
	CoreConfig
	// Founding is asked, by the loop, what goes into the first entry of a new cluster.
	Founding func() (clusterID string, voters []metadata.Voter)
}

// Deps are what a Controller works with.
type Deps struct {
	Quorum Quorum
	Schema ConfigSchema
	Logger *slog.Logger
}

// Controller decides while this node leads the quorum, and answers NOT_CONTROLLER
// while it does not. Its methods block until the decision is committed and applied
// on this node, or the context ends (REQUEST_TIMED_OUT; a decision that was made by
// then stands). They are safe for concurrent use.
//
// The strings of a request go into the metadata, so they must not share memory with a
// buffer that is used again. The rest of the request is not looked at after the return.
type Controller struct {
	deps     Deps
	config   Config
	requests chan *operation
	wake     chan struct{} // has an element while mu.events has some
	stopping chan struct{} // closed by Stop
	stopped  chan struct{} // closed when loop has returned
	stopOnce sync.Once

	mu struct {
		sync.Mutex
		events []event       // what the quorum told, in order; the loop takes all at once
		ready  chan struct{} // closed while decisions can be made
	}

	loopState // loop's
}

// New returns a Controller that does not lead and knows no metadata.
func New(config Config, deps Deps) *Controller {
	c := &Controller{
		deps:     deps,
		config:   config,
		requests: make(chan *operation),
		wake:     make(chan struct{}, 1),
		stopping: make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	c.mu.ready = make(chan struct{})
	c.core = NewCore(config.CoreConfig, deps.Schema, ids.NewUUID)
	return c
}

// Start starts the loop. It is called once, before anything else.
func (c *Controller) Start() { go c.loop() }

// Stop ends the loop; requests that wait, and later ones, get NOT_CONTROLLER.
func (c *Controller) Stop() {
	c.stopOnce.Do(func() { close(c.stopping) })
	<-c.stopped
}

// Applied tells that this node's image is now img, the one after the entry of
// img.Offset, whose envelope data is, or after a snapshot, with data nil. Every entry
// that has an envelope is told, in order and after whoever else follows the metadata
// on this node has seen it. It does not block.
func (c *Controller) Applied(img *metadata.Image, data []byte) {
	c.tell(event{image: img, data: data})
}

// LeaderChanged tells that this node leads in epoch and has been told by Applied of
// everything that was committed in earlier ones, which it knows once the first entry
// of its own epoch is committed; or that it does not lead any more. It does not block.
func (c *Controller) LeaderChanged(leader bool, epoch ids.LeaderEpoch) {
	c.tell(event{leader: leader, epoch: epoch})
}

// BrokerGone tells that the connection of a broker's process is closed and that it
// cannot be reached any more: it is fenced without waiting for the end of its session.
// It does not block.
func (c *Controller) BrokerGone(node ids.NodeID, epoch int64) {
	c.tell(event{gone: &goneBroker{node, epoch}})
}

// event is what was told: a broker that is gone, else an applied image, else who leads.
type event struct {
	gone   *goneBroker
	image  *metadata.Image
	data   []byte
	leader bool
	epoch  ids.LeaderEpoch
}

type goneBroker struct {
	node  ids.NodeID
	epoch int64
}

func (c *Controller) tell(e event) {
	c.mu.Lock()
	c.mu.events = append(c.mu.events, e)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// WaitReady returns once this node leads, so that requests are decided.
func (c *Controller) WaitReady(ctx context.Context) error {
	c.mu.Lock()
	ready := c.mu.ready
	c.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.stopping:
		return refuseNotController()
	}
}

// operation is one request on its way through the loop.
type operation struct {
	why string // what is asked, for the log where leaders or in-sync replicas change
	// decide runs on the loop's goroutine, at most once.
	decide func(*Core) []metadata.Record
	// committed, where not nil, runs on the loop's goroutine with the image after the
	// entry of the operation.
	committed func(*metadata.Image)

	taken   atomic.Bool   // by the loop, which will decide, or by a caller who went away
	decided chan struct{} // closed when decide has returned
	done    chan error    // capacity 1
}

// do has the loop decide, and waits for the outcome.
func (c *Controller) do(ctx context.Context, o *operation) *Refusal {
	o.decided, o.done = make(chan struct{}), make(chan error, 1)
	select {
	case c.requests <- o:
	case <-ctx.Done():
		return refuseTimedOut()
	case <-c.stopping:
		return refuseNotController()
	}
	select {
	case err := <-o.done:
		return asRefusal(err)
	case <-ctx.Done():
	}
	if !o.taken.CompareAndSwap(false, true) {
		// The loop reads the request right now, or has: it is the caller's again after that.
		select {
		case <-o.decided:
		case err := <-o.done:
			return asRefusal(err)
		}
	}
	return refuseTimedOut()
}

func asRefusal(err error) *Refusal {
	if err == nil {
		return nil
	}
	if r, ok := err.(*Refusal); ok {
		return r
	}
	return refuse(kerr.UnknownServerError, "%v", err)
}

func refuseTimedOut() *Refusal {
	return refuse(kerr.RequestTimedOut, "the controller did not commit the request in time; it may still do so")
}

func refuseNotController() *Refusal {
	return refuse(kerr.NotController, "this node is not the active controller; ask again")
}

// decided has a request of a client decided upon, and returns the answer, or what a refusal answers.
func decided[Req, Resp any](ctx context.Context, c *Controller, req Req, refused func(Req, *Refusal) Resp, decide func(*Core) (Resp, []metadata.Record)) Resp {
	return decidedFor(ctx, c, "a client asked", req, refused, decide)
}

// decidedFor is decided with a reason for the log.
func decidedFor[Req, Resp any](ctx context.Context, c *Controller, why string, req Req, refused func(Req, *Refusal) Resp, decide func(*Core) (Resp, []metadata.Record)) Resp {
	var resp Resp
	refusal := c.do(ctx, &operation{why: why, decide: func(core *Core) (recs []metadata.Record) {
		resp, recs = decide(core)
		return recs
	}})
	if refusal != nil {
		return refused(req, refusal)
	}
	return resp
}

// CreateTopics creates topics: see Core.CreateTopics.
func (c *Controller) CreateTopics(ctx context.Context, req *kmsg.CreateTopicsRequest) *kmsg.CreateTopicsResponse {
	return decided(ctx, c, req, CreateTopicsRefused, func(core *Core) (*kmsg.CreateTopicsResponse, []metadata.Record) {
		return core.CreateTopics(req)
	})
}

// DeleteTopics deletes topics: see Core.DeleteTopics.
func (c *Controller) DeleteTopics(ctx context.Context, req *kmsg.DeleteTopicsRequest) *kmsg.DeleteTopicsResponse {
	return decided(ctx, c, req, DeleteTopicsRefused, func(core *Core) (*kmsg.DeleteTopicsResponse, []metadata.Record) {
		return core.DeleteTopics(req)
	})
}

// CreatePartitions adds partitions to topics: see Core.CreatePartitions.
func (c *Controller) CreatePartitions(ctx context.Context, req *kmsg.CreatePartitionsRequest) *kmsg.CreatePartitionsResponse {
	return decided(ctx, c, req, CreatePartitionsRefused, func(core *Core) (*kmsg.CreatePartitionsResponse, []metadata.Record) {
		return core.CreatePartitions(req)
	})
}

// ElectLeaders elects leaders of partitions: see Core.ElectLeaders.
func (c *Controller) ElectLeaders(ctx context.Context, req *kmsg.ElectLeadersRequest) *kmsg.ElectLeadersResponse {
	return decided(ctx, c, req, ElectLeadersRefused, func(core *Core) (*kmsg.ElectLeadersResponse, []metadata.Record) {
		return core.ElectLeaders(req)
	})
}

// AlterPartitionReassignments moves partitions: see Core.AlterPartitionReassignments.
func (c *Controller) AlterPartitionReassignments(ctx context.Context, req *kmsg.AlterPartitionAssignmentsRequest) *kmsg.AlterPartitionAssignmentsResponse {
	return decided(ctx, c, req, AlterPartitionReassignmentsRefused, func(core *Core) (*kmsg.AlterPartitionAssignmentsResponse, []metadata.Record) {
		return core.AlterPartitionReassignments(req), nil
	})
}

// UpdateFeatures changes the levels of features: see Core.UpdateFeatures.
func (c *Controller) UpdateFeatures(ctx context.Context, req *kmsg.UpdateFeaturesRequest) *kmsg.UpdateFeaturesResponse {
	return decided(ctx, c, req, UpdateFeaturesRefused, func(core *Core) (*kmsg.UpdateFeaturesResponse, []metadata.Record) {
		return core.UpdateFeatures(req)
	})
}

// UnregisterBroker forgets a broker: see Core.UnregisterBroker.
func (c *Controller) UnregisterBroker(ctx context.Context, req *kmsg.UnregisterBrokerRequest) *kmsg.UnregisterBrokerResponse {
	return decided(ctx, c, req, UnregisterBrokerRefused, func(core *Core) (*kmsg.UnregisterBrokerResponse, []metadata.Record) {
		return core.UnregisterBroker(req)
	})
}

// IncrementalAlterConfigs alters what is configured: see Core.IncrementalAlterConfigs.
func (c *Controller) IncrementalAlterConfigs(ctx context.Context, node ids.NodeID, req *kmsg.IncrementalAlterConfigsRequest) *kmsg.IncrementalAlterConfigsResponse {
	return decided(ctx, c, req, IncrementalAlterConfigsRefused, func(core *Core) (*kmsg.IncrementalAlterConfigsResponse, []metadata.Record) {
		return core.IncrementalAlterConfigs(node, req)
	})
}

// AlterConfigs replaces what is configured: see Core.AlterConfigs.
func (c *Controller) AlterConfigs(ctx context.Context, node ids.NodeID, req *kmsg.AlterConfigsRequest) *kmsg.AlterConfigsResponse {
	return decided(ctx, c, req, AlterConfigsRefused, func(core *Core) (*kmsg.AlterConfigsResponse, []metadata.Record) {
		return core.AlterConfigs(node, req)
	})
}

// AllocateProducerIDs hands out a block of producer ids: see Core.AllocateProducerIDs.
// An error is a *Refusal.
func (c *Controller) AllocateProducerIDs(ctx context.Context, node ids.NodeID, brokerEpoch int64) (first ids.ProducerID, count int32, err error) {
	var out struct {
		first   ids.ProducerID
		count   int32
		refusal *Refusal
	}
	refusal := c.do(ctx, &operation{decide: func(core *Core) (recs []metadata.Record) {
		out.first, out.count, recs, out.refusal = core.AllocateProducerIDs(node, brokerEpoch)
		return recs
	}})
	if refusal == nil {
		refusal = out.refusal
	}
	if refusal != nil {
		return ids.NoProducerID, 0, refusal
	}
	return out.first, out.count, nil
}

// BrokerRegistration admits a broker and answers its epoch: see Core.BrokerRegistration.
// RegistrationError returns the text of a refusal.
func (c *Controller) BrokerRegistration(ctx context.Context, req *kmsg.BrokerRegistrationRequest) *kmsg.BrokerRegistrationResponse {
	var refused *Refusal
	resp := kmsg.NewPtrBrokerRegistrationResponse()
	id, incarnation := ids.NodeID(req.BrokerID), ids.UUID(req.IncarnationID)
	refusal := c.do(ctx, &operation{
		why: fmt.Sprintf("broker %d started again", id),
		decide: func(core *Core) (recs []metadata.Record) {
			recs, refused = core.BrokerRegistration(req, time.Now())
			return recs
		},
		committed: func(img *metadata.Image) {
			if refused != nil {
				return
			}
			now, ok := img.Broker(id)
			if !ok || now.Incarnation != incarnation {
				refused = refuse(kerr.DuplicateBrokerRegistration, "another process registered as broker %d at the same time", id)
				return
			}
			resp.BrokerEpoch = now.Epoch
		},
	})
	if refusal == nil && refused != nil {
		refusal = refused
		c.deps.Logger.Warn("broker may not register", "broker", int32(id), "incarnation", incarnation.String(), "err", refused)
	}
	if refusal != nil {
		return BrokerRegistrationRefused(req, refusal)
	}
	return resp
}

// BrokerHeartbeat says that a broker is alive and what it wants to be: see Core.BrokerHeartbeat.
func (c *Controller) BrokerHeartbeat(ctx context.Context, req *kmsg.BrokerHeartbeatRequest) *kmsg.BrokerHeartbeatResponse {
	return decidedFor(ctx, c, heartbeatWhy(req), req, BrokerHeartbeatRefused, func(core *Core) (*kmsg.BrokerHeartbeatResponse, []metadata.Record) {
		return core.BrokerHeartbeat(req, time.Now())
	})
}

// AlterPartition changes who is in sync: see Core.AlterPartition.
func (c *Controller) AlterPartition(ctx context.Context, req *kmsg.AlterPartitionRequest) *kmsg.AlterPartitionResponse {
	return decidedFor(ctx, c, fmt.Sprintf("broker %d, the leader, asked", req.BrokerID), req, AlterPartitionRefused, func(core *Core) (*kmsg.AlterPartitionResponse, []metadata.Record) {
		return core.AlterPartition(req)
	})
}

// AssignReplicasToDirs notes where a broker has replicas: see Core.AssignReplicasToDirs.
func (c *Controller) AssignReplicasToDirs(ctx context.Context, req *kmsg.AssignReplicasToDirsRequest) *kmsg.AssignReplicasToDirsResponse {
	return decidedFor(ctx, c, assignWhy(req), req, AssignReplicasToDirsRefused, func(core *Core) (*kmsg.AssignReplicasToDirsResponse, []metadata.Record) {
		return core.AssignReplicasToDirs(req)
	})
}

// AdoptTopic registers a topic whose files are there already: see Core.AdoptTopic. An
// error is a *Refusal.
func (c *Controller) AdoptTopic(ctx context.Context, a *AdoptTopic) error {
	var refused *Refusal
	refusal := c.do(ctx, &operation{decide: func(core *Core) (recs []metadata.Record) {
		recs, refused = core.AdoptTopic(a)
		return recs
	}})
	if refusal == nil {
		refusal = refused
	}
	if refusal != nil {
		return refusal
	}
	return nil
}
