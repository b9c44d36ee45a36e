package controller

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// BrokerHeartbeat decides on what a broker wants to be (Java:
// BrokerHeartbeatManager.calculateNextBrokerState). A fenced broker is unfenced once
// its metadata holds its own registration. A broker that wants to leave leads nothing
// any more, and may go when every other broker knows. What it says of its directories counts as directoriesTold has it.
func (c *Core) BrokerHeartbeat(req *kmsg.BrokerHeartbeatRequest, now time.Time) (*kmsg.BrokerHeartbeatResponse, []metadata.Record) {
	id := ids.NodeID(req.BrokerID)
	if refusal := c.checkBrokerEpoch(id, req.BrokerEpoch); refusal != nil {
		return BrokerHeartbeatRefused(req, refusal), nil
	}
	c.session(id, now).hear(now, ids.Offset(req.CurrentMetadataOffset))
	resp := kmsg.NewPtrBrokerHeartbeatResponse()
	resp.IsCaughtUp = req.CurrentMetadataOffset >= req.BrokerEpoch
	b, ok := c.settled(id)
	if !ok || !c.replicates() {
		// Nothing can be said of a registration yet whose epoch is not known everywhere;
		// below moldau.version 2 nobody is fenced, and nobody is waited for.
		resp.IsFenced = b.Fenced
		resp.ShouldShutdown = ok && req.WantShutdown
		return resp, nil
	}
	recs, fenced, shutdown := c.nextState(b, req, resp.IsCaughtUp)
	if len(recs) == 0 { // the next heartbeat says it again
		recs = c.directoriesTold(b, req)
	}
	resp.IsFenced, resp.ShouldShutdown = fenced, shutdown
	return resp, recs
}

// nextState decides what a broker becomes, and whether it may stop.
func (c *Core) nextState(b *metadata.Broker, req *kmsg.BrokerHeartbeatRequest, caughtUp bool) (recs []metadata.Record, fenced, shutdown bool) {
	switch {
	case b.Fenced && (req.WantFence || req.WantShutdown || !caughtUp):
		return nil, true, req.WantShutdown
	case b.Fenced:
		return c.unfence(b), false, false
	case req.WantFence:
		return c.fence(b), true, req.WantShutdown
	case !req.WantShutdown && !b.InControlledShutdown:
		return nil, false, false
	case !b.InControlledShutdown && c.leads(b.ID):
		return c.beginShutdown(b), false, false
	case c.othersKnow(b):
		return c.fence(b), true, true
	}
	return nil, false, false
}

// beginShutdown hands over what a broker leads.
func (c *Core) beginShutdown(b *metadata.Broker) []metadata.Record {
	return c.withdrawAll([]metadata.Record{&metadata.BrokerChangeRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch, InControlledShutdown: true}}, b.ID)
}

// othersKnow tells whether every broker at work has the metadata in which b, which asks
// now, leads nothing, so that no client is sent to it any more.
func (c *Core) othersKnow(b *metadata.Broker) bool {
	if !b.InControlledShutdown {
		return true // it led nothing when it asked
	}
	own := c.sessions[b.ID]
	if own.left == 0 {
		own.left = c.pending.Offset
	}
	for other := range c.pending.Brokers() {
		if other.ID == b.ID || !other.Active() {
			continue
		}
		if s := c.sessions[other.ID]; s == nil || s.offset < own.left {
			return false
		}
	}
	return true
}

// BrokerHeartbeatRefused answers a request that is not granted.
func BrokerHeartbeatRefused(_ *kmsg.BrokerHeartbeatRequest, refusal *Refusal) *kmsg.BrokerHeartbeatResponse {
	resp := kmsg.NewPtrBrokerHeartbeatResponse()
	resp.ErrorCode, _ = refusal.wire()
	return resp
}
