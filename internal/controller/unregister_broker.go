package controller

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// UnregisterBroker decides on version 0 (Java: QuorumController.unregisterBroker). The
// partitions of a broker that is forgotten keep it as a replica. One that is at work
// stays, unlike in Kafka: it would go on serving what nobody can find any more.
func (c *Core) UnregisterBroker(req *kmsg.UnregisterBrokerRequest) (*kmsg.UnregisterBrokerResponse, []metadata.Record) {
	id := ids.NodeID(req.BrokerID)
	b, ok := c.pending.Broker(id)
	if !ok {
		return UnregisterBrokerRefused(req, refuse(kerr.BrokerIDNotRegistered, "there is no broker %d", id)), nil
	}
	// The epoch of a registration that is not committed yet is only a guess.
	known, ok := c.committed.Broker(id)
	if !b.Fenced || !ok || known.Epoch != b.Epoch {
		return UnregisterBrokerRefused(req, refuse(kerr.InvalidRequest, "broker %d is at work: stop it before it is unregistered", id)), nil
	}
	// One that registered and never came to work may still lead what it held alone.
	recs := c.withdrawAll(nil, id)
	return kmsg.NewPtrUnregisterBrokerResponse(), append(recs, &metadata.UnregisterBrokerRecord{BrokerID: id, BrokerEpoch: b.Epoch})
}

// UnregisterBrokerRefused answers a request that is not granted.
func UnregisterBrokerRefused(_ *kmsg.UnregisterBrokerRequest, refusal *Refusal) *kmsg.UnregisterBrokerResponse {
	resp := kmsg.NewPtrUnregisterBrokerResponse()
	resp.ErrorCode, resp.ErrorMessage = refusal.wire()
	return resp
}
