package handler

import (
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AllocateProducerIds: v0 (KIP-730), for nodes
func init() { registerInternal(kmsg.AllocateProducerIDs, 0, allocateProducerIDs) }

func allocateProducerIDs(h *Handlers, x *server.Exchange) {
	var req kmsg.AllocateProducerIDsRequest
	if !decode(x, &req) || !forItself(x, req.BrokerID) {
		return
	}
	resp := kmsg.NewPtrAllocateProducerIDsResponse()
	first, count, err := h.LocalController.AllocateProducerIDs(x.Context(), ids.NodeID(req.BrokerID), req.BrokerEpoch)
	if resp.ErrorCode = code(err); err == nil {
		resp.ProducerIDStart, resp.ProducerIDLen = int64(first), count
	}
	reply(x, resp)
}
