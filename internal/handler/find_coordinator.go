package handler

import (
	"fmt"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// FindCoordinator: v0-v6
//
//	v1 key types; v4 several keys (KIP-699); v5 TRANSACTION_ABORTABLE (KIP-890); v6 share groups (KIP-932)
//
// Where the topic of the coordinator is not there yet, it is made behind the answer, COORDINATOR_NOT_AVAILABLE, and the
// client asks again.
//
// Gap: key types 1, transactions, and 2, share groups, answer UNSUPPORTED_VERSION.
func init() {
	register(kmsg.FindCoordinator, 0, 6, findCoordinator, "of consumer groups; transactions and share groups answer 35 until they are built")
}

// The kinds of coordinators.
const (
	keyTypeGroup       int8 = 0
	keyTypeTransaction int8 = 1
	keyTypeShare       int8 = 2
)

func findCoordinator(h *Handlers, x *server.Exchange) {
	var req kmsg.FindCoordinatorRequest
	if !decode(x, &req) {
		return
	}
	resp := kmsg.NewPtrFindCoordinatorResponse()
	if x.Version < 4 {
		c := h.findCoordinator(x, req.CoordinatorType, req.CoordinatorKey)
		resp.ErrorCode, resp.ErrorMessage, resp.NodeID, resp.Host, resp.Port = c.ErrorCode, c.ErrorMessage, c.NodeID, c.Host, c.Port
		reply(x, resp)
		return
	}
	for _, key := range req.CoordinatorKeys {
		resp.Coordinators = append(resp.Coordinators, h.findCoordinator(x, req.CoordinatorType, key))
	}
	reply(x, resp)
}

func (h *Handlers) findCoordinator(x *server.Exchange, keyType int8, key string) kmsg.FindCoordinatorResponseCoordinator {
	c := kmsg.NewFindCoordinatorResponseCoordinator()
	c.Key, c.NodeID, c.Port = key, int32(ids.NoNode), -1
	node, endpoint, err := h.coordinatorOf(x, keyType, key)
	c.ErrorCode = code(err)
	if err != nil {
		c.ErrorMessage = kmsg.StringPtr(err.Error())
		return c
	}
	c.ErrorMessage = kmsg.StringPtr("")
	if x.Version < 4 {
		c.ErrorMessage = kmsg.StringPtr("NONE") // Kafka says so
	}
	c.NodeID, c.Host, c.Port = int32(node), endpoint.Host, int32(endpoint.Port)
	return c
}

func (h *Handlers) coordinatorOf(x *server.Exchange, keyType int8, key string) (ids.NodeID, metadata.Endpoint, error) {
	var none metadata.Endpoint
	switch keyType {
	case keyTypeGroup:
	case keyTypeTransaction, keyTypeShare:
		return ids.NoNode, none, fmt.Errorf("coordinators of key type %d are not built yet: %w", keyType, kerr.UnsupportedVersion)
	default:
		return ids.NoNode, none, fmt.Errorf("coordinators have the key types 0 to 2, not %d: %w", keyType, kerr.InvalidRequest)
	}
	img := h.Image()
	if _, ok := img.Topic(config.OffsetsTopic); !ok {
		h.createOnDemand(x, config.OffsetsTopic)
		return ids.NoNode, none, fmt.Errorf("%s is being created: %w", config.OffsetsTopic, kerr.CoordinatorNotAvailable)
	}
	p, ok := img.Partition(ids.TopicPartition{Topic: config.OffsetsTopic, Partition: h.groupPartition(key)})
	if !ok || p.Leader == ids.NoNode {
		return ids.NoNode, none, fmt.Errorf("the partition of %s has no leader: %w", config.OffsetsTopic, kerr.CoordinatorNotAvailable)
	}
	b, ok := img.Broker(p.Leader)
	if ok {
		if e, ok := b.Endpoint(x.Conn.Listener()); ok {
			return p.Leader, e, nil
		}
	}
	return ids.NoNode, none, fmt.Errorf("broker %d has no listener %s: %w", p.Leader, x.Conn.Listener(), kerr.CoordinatorNotAvailable)
}
