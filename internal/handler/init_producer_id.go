package handler

import (
	"context"
	"sync"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// InitProducerId: v0-v5, for producers without a transactional id (KIP-98)
//
//	v3 producer id and epoch to go on from (KIP-360); v4 PRODUCER_FENCED; v5 TRANSACTION_ABORTABLE (KIP-890)
//
// Gap: with a transactional id it answers UNSUPPORTED_VERSION until transactions are built.
func init() {
	register(kmsg.InitProducerID, 0, 5, initProducerID,
		"without a transactional id; with one it answers 35 until transactions are built")
}

func initProducerID(h *Handlers, x *server.Exchange) {
	var req kmsg.InitProducerIDRequest
	if !decode(x, &req) {
		return
	}
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = int64(ids.NoProducerID), int16(ids.NoProducerEpoch)
	switch {
	case (req.ProducerID == int64(ids.NoProducerID)) != (req.ProducerEpoch == int16(ids.NoProducerEpoch)):
		resp.ErrorCode = kerr.InvalidRequest.Code
	case req.TransactionalID == nil:
		id, err := h.producerIDs.next(x.Context())
		if resp.ErrorCode = code(err); err == nil {
			resp.ProducerID, resp.ProducerEpoch = int64(id), 0
		}
	case *req.TransactionalID == "":
		resp.ErrorCode = kerr.InvalidRequest.Code
	default:
		resp.ErrorCode = kerr.UnsupportedVersion.Code
	}
	reply(x, resp)
}

// producerIDs hands out the producer ids of one block of this broker after the other (KIP-730).
type producerIDs struct {
	allocate func(context.Context) (ids.ProducerID, int32, error)

	// mu is held while a block is fetched: whoever needs an id meanwhile needs that block.
	mu struct {
		sync.Mutex
		first ids.ProducerID // the next id
		left  int32
	}
}

func (p *producerIDs) next(ctx context.Context) (ids.ProducerID, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.left == 0 {
		first, count, err := p.allocate(ctx)
		if err != nil {
			return ids.NoProducerID, err
		}
		p.mu.first, p.mu.left = first, count
	}
	id := p.mu.first
	p.mu.first++
	p.mu.left--
	return id, nil
}
