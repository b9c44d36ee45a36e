package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/ids"
)

const (
	// forwardMax bounds how long a request looks for a controller that decides on it (Kafka: request.timeout.ms of a broker).
	forwardMax = 30 * time.Second
	// forwardPause is between two attempts: about a tenth of an election.
	forwardPause = 50 * time.Millisecond
	// seenMax bounds how long an answer waits until this broker knows what it tells of.
	seenMax = time.Second
)

// forwarder has the active controller decide, wherever it is. A request whose answer was lost on the way is sent again,
// as Kafka's brokers do, so that it may find its own work done.
type forwarder struct {
	node   ids.NodeID
	local  *controller.Controller
	leader func() ids.NodeID // of the metadata quorum, NoNode where none is known
	ask    func(ctx context.Context, to ids.NodeID, req kmsg.Request) (kmsg.Response, error)
	// seen returns once this node knows everything that was decided before it was called. nil: nobody waits for that.
	seen   func(context.Context) error
	logger *slog.Logger
}

// forwarded has a request decided. Where that takes too long it answers what refused makes of the reason.
func forwarded[Req kmsg.Request, Resp kmsg.Response](ctx context.Context, f *forwarder, req Req,
	local func(context.Context, Req) Resp, refused func(Req, *controller.Refusal) Resp,
) Resp {
	ctx, cancel := context.WithTimeout(ctx, forwardMax)
	defer cancel()
	for {
		leader := f.leader()
		switch leader {
		case ids.NoNode:
		case f.node:
			if resp := local(ctx, req); !notController(resp) {
				return resp
			}
		default:
			resp, err := f.askLeading(ctx, leader, req)
			if answer, ok := resp.(Resp); err == nil && ok && !notController(resp) {
				f.waitSeen(ctx)
				return answer
			}
			if err != nil {
				f.logger.Debug("the controller was not reached", "controller", leader, "api", kmsg.NameForKey(req.Key()), "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return refused(req, unreached(ctx, leader))
		case <-time.After(forwardPause):
		}
	}
}

// askLeading asks a node for as long as it is known to lead: one that hangs does not answer.
func (f *forwarder) askLeading(ctx context.Context, leader ids.NodeID, req kmsg.Request) (kmsg.Response, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		tick := time.NewTicker(forwardPause)
		defer tick.Stop()
		for f.leader() == leader {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
		cancel()
	}()
	return f.ask(ctx, leader, req)
}

// waitSeen has the asker find here what was decided for it elsewhere: a client creates a topic and produces to it at once.
func (f *forwarder) waitSeen(ctx context.Context) {
	if f.seen == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, seenMax)
	defer cancel()
	if err := f.seen(ctx); err != nil && !errors.Is(err, context.Canceled) {
		f.logger.Debug("answered before this broker has seen the change", "err", err)
	}
}

func unreached(ctx context.Context, leader ids.NodeID) *controller.Refusal {
	refusal := &controller.Refusal{Code: kerr.RequestTimedOut, Message: "no controller was elected in time: is a majority of controller.quorum.voters running?"}
	if leader != ids.NoNode {
		refusal.Message = "the active controller did not answer in time; it may still do so"
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		refusal.Message = "the request was given up"
	}
	return refusal
}

// notController tells whether a node has answered that it does not decide.
func notController(resp kmsg.Response) bool {
	code, found := firstCode(resp)
	return found && code == kerr.NotController.Code
}

// firstCode returns the first error code of an answer: one that is not granted as a whole has the same everywhere.
func firstCode(resp kmsg.Response) (code int16, found bool) {
	switch r := resp.(type) {
	case *kmsg.CreateTopicsResponse:
		return of(r.Topics, func(t *kmsg.CreateTopicsResponseTopic) int16 { return t.ErrorCode })
	case *kmsg.DeleteTopicsResponse:
		return of(r.Topics, func(t *kmsg.DeleteTopicsResponseTopic) int16 { return t.ErrorCode })
	case *kmsg.CreatePartitionsResponse:
		return of(r.Topics, func(t *kmsg.CreatePartitionsResponseTopic) int16 { return t.ErrorCode })
	case *kmsg.IncrementalAlterConfigsResponse:
		return of(r.Resources, func(t *kmsg.IncrementalAlterConfigsResponseResource) int16 { return t.ErrorCode })
	case *kmsg.AlterConfigsResponse:
		return of(r.Resources, func(t *kmsg.AlterConfigsResponseResource) int16 { return t.ErrorCode })
	case *kmsg.ElectLeadersResponse:
		if r.ErrorCode != 0 || len(r.Topics) == 0 {
			return r.ErrorCode, true
		}
		return of(r.Topics[0].Partitions, func(p *kmsg.ElectLeadersResponseTopicPartition) int16 { return p.ErrorCode })
	case *kmsg.AlterPartitionAssignmentsResponse:
		return r.ErrorCode, true
	case *kmsg.UpdateFeaturesResponse:
		return r.ErrorCode, true
	case *kmsg.UnregisterBrokerResponse:
		return r.ErrorCode, true
	case *kmsg.AllocateProducerIDsResponse:
		return r.ErrorCode, true
	case *kmsg.BrokerRegistrationResponse:
		return r.ErrorCode, true
	case *kmsg.BrokerHeartbeatResponse:
		return r.ErrorCode, true
	}
	return 0, false
}

func of[T any](items []T, code func(*T) int16) (int16, bool) {
	if len(items) == 0 {
		return 0, false
	}
	return code(&items[0]), true
}

func (f *forwarder) CreateTopics(ctx context.Context, req *kmsg.CreateTopicsRequest) *kmsg.CreateTopicsResponse {
	return forwarded(ctx, f, req, f.local.CreateTopics, controller.CreateTopicsRefused)
}

func (f *forwarder) DeleteTopics(ctx context.Context, req *kmsg.DeleteTopicsRequest) *kmsg.DeleteTopicsResponse {
	return forwarded(ctx, f, req, f.local.DeleteTopics, controller.DeleteTopicsRefused)
}

func (f *forwarder) CreatePartitions(ctx context.Context, req *kmsg.CreatePartitionsRequest) *kmsg.CreatePartitionsResponse {
	return forwarded(ctx, f, req, f.local.CreatePartitions, controller.CreatePartitionsRefused)
}

func (f *forwarder) IncrementalAlterConfigs(ctx context.Context, node ids.NodeID, req *kmsg.IncrementalAlterConfigsRequest) *kmsg.IncrementalAlterConfigsResponse {
	local := func(ctx context.Context, req *kmsg.IncrementalAlterConfigsRequest) *kmsg.IncrementalAlterConfigsResponse {
		return f.local.IncrementalAlterConfigs(ctx, node, req)
	}
	return forwarded(ctx, f, req, local, controller.IncrementalAlterConfigsRefused)
}

func (f *forwarder) AlterConfigs(ctx context.Context, node ids.NodeID, req *kmsg.AlterConfigsRequest) *kmsg.AlterConfigsResponse {
	local := func(ctx context.Context, req *kmsg.AlterConfigsRequest) *kmsg.AlterConfigsResponse {
		return f.local.AlterConfigs(ctx, node, req)
	}
	return forwarded(ctx, f, req, local, controller.AlterConfigsRefused)
}

func (f *forwarder) ElectLeaders(ctx context.Context, req *kmsg.ElectLeadersRequest) *kmsg.ElectLeadersResponse {
	return forwarded(ctx, f, req, f.local.ElectLeaders, controller.ElectLeadersRefused)
}

func (f *forwarder) AlterPartitionReassignments(ctx context.Context, req *kmsg.AlterPartitionAssignmentsRequest) *kmsg.AlterPartitionAssignmentsResponse {
	return forwarded(ctx, f, req, f.local.AlterPartitionReassignments, controller.AlterPartitionReassignmentsRefused)
}

func (f *forwarder) UpdateFeatures(ctx context.Context, req *kmsg.UpdateFeaturesRequest) *kmsg.UpdateFeaturesResponse {
	return forwarded(ctx, f, req, f.local.UpdateFeatures, controller.UpdateFeaturesRefused)
}

func (f *forwarder) UnregisterBroker(ctx context.Context, req *kmsg.UnregisterBrokerRequest) *kmsg.UnregisterBrokerResponse {
	return forwarded(ctx, f, req, f.local.UnregisterBroker, controller.UnregisterBrokerRefused)
}

// AllocateProducerIDs gets a block of producer ids for this broker.
func (f *forwarder) AllocateProducerIDs(ctx context.Context, node ids.NodeID, brokerEpoch int64) (ids.ProducerID, int32, error) {
	req := kmsg.NewPtrAllocateProducerIDsRequest()
	req.BrokerID, req.BrokerEpoch = int32(node), brokerEpoch
	resp := forwarded(ctx, f, req, f.allocateHere, func(_ *kmsg.AllocateProducerIDsRequest, r *controller.Refusal) *kmsg.AllocateProducerIDsResponse {
		resp := kmsg.NewPtrAllocateProducerIDsResponse()
		resp.ErrorCode = r.Code.Code
		return resp
	})
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return ids.NoProducerID, 0, err
	}
	return ids.ProducerID(resp.ProducerIDStart), resp.ProducerIDLen, nil
}

func (f *forwarder) allocateHere(ctx context.Context, req *kmsg.AllocateProducerIDsRequest) *kmsg.AllocateProducerIDsResponse {
	resp := kmsg.NewPtrAllocateProducerIDsResponse()
	first, count, err := f.local.AllocateProducerIDs(ctx, ids.NodeID(req.BrokerID), req.BrokerEpoch)
	if refusal := new(controller.Refusal); errors.As(err, &refusal) {
		resp.ErrorCode = refusal.Code.Code
		return resp
	}
	resp.ProducerIDStart, resp.ProducerIDLen = int64(first), count
	return resp
}

// BrokerRegistration registers this broker.
func (f *forwarder) BrokerRegistration(ctx context.Context, req *kmsg.BrokerRegistrationRequest) *kmsg.BrokerRegistrationResponse {
	return forwarded(ctx, f, req, f.local.BrokerRegistration, func(_ *kmsg.BrokerRegistrationRequest, r *controller.Refusal) *kmsg.BrokerRegistrationResponse {
		resp := kmsg.NewPtrBrokerRegistrationResponse()
		resp.ErrorCode = r.Code.Code
		return resp
	})
}

// BrokerHeartbeat tells the controller that this broker is at work.
func (f *forwarder) BrokerHeartbeat(ctx context.Context, req *kmsg.BrokerHeartbeatRequest) *kmsg.BrokerHeartbeatResponse {
	return forwarded(ctx, f, req, f.local.BrokerHeartbeat, func(_ *kmsg.BrokerHeartbeatRequest, r *controller.Refusal) *kmsg.BrokerHeartbeatResponse {
		resp := kmsg.NewPtrBrokerHeartbeatResponse()
		resp.ErrorCode = r.Code.Code
		return resp
	})
}

// toController has the active controller, which is another node, answer a request as it is. It does not try again.
func (f *forwarder) toController(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	leader := f.leader()
	if leader == ids.NoNode || leader == f.node {
		return nil, fmt.Errorf("no other node is known to be the active controller: %w", kerr.NotController)
	}
	return f.ask(ctx, leader, req)
}
