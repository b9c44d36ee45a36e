package controller

import (
	"math"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// producerIDBlock is how many producer ids a broker gets at once (KIP-730).
const producerIDBlock = 1000

// AllocateProducerIDs hands the next block out to a broker: count ids from first on.
// They are never handed out again, used or not.
func (c *Core) AllocateProducerIDs(node ids.NodeID, brokerEpoch int64) (first ids.ProducerID, count int32, recs []metadata.Record, refusal *Refusal) {
	if refusal := c.checkBrokerEpoch(node, brokerEpoch); refusal != nil {
		return ids.NoProducerID, 0, nil, refusal
	}
	first = c.pending.NextProducerID()
	if first > math.MaxInt64-producerIDBlock {
		return ids.NoProducerID, 0, nil, refuse(kerr.UnknownServerError, "all 2^63 producer ids are handed out")
	}
	rec := &metadata.ProducerIdsRecord{BrokerID: node, BrokerEpoch: brokerEpoch, NextProducerID: first + producerIDBlock}
	return first, producerIDBlock, []metadata.Record{rec}, nil
}

// checkBrokerEpoch refuses who is not the registered incarnation of a broker. The
// epoch is the committed one: nobody can know another.
func (c *Core) checkBrokerEpoch(node ids.NodeID, brokerEpoch int64) *Refusal {
	b, ok := c.committed.Broker(node)
	if !ok {
		return refuse(kerr.BrokerIDNotRegistered, "broker %d is not registered", node)
	}
	latest, ok := c.pending.Broker(node)
	if !ok || latest.Incarnation != b.Incarnation || b.Epoch != brokerEpoch {
		return refuse(kerr.StaleBrokerEpoch, "epoch %d is not that of the registered broker %d: another process runs under this node.id", brokerEpoch, node)
	}
	return nil
}
