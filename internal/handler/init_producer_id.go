package handler

import (
	"context"
	"fmt"

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

	// turn has a token while nobody uses what follows. It is kept while a block is fetched: whoever needs an id meanwhile needs
	// that block. A lock would not let go of those whose client has gone.
	turn  chan struct{}
	first ids.ProducerID // the next id
	left  int32
}

func newProducerIDs(allocate func(context.Context) (ids.ProducerID, int32, error)) *producerIDs {
	p := &producerIDs{allocate: allocate, turn: make(chan struct{}, 1)}
	p.turn <- struct{}{}
	return p
}

func (p *producerIDs) next(ctx context.Context) (ids.ProducerID, error) {
	select {
	case <-p.turn:
	case <-ctx.Done():
		return ids.NoProducerID, fmt.Errorf("waiting for a block of producer ids: %w", kerr.RequestTimedOut)
	}
	defer func() { p.turn <- struct{}{} }()
	if p.left == 0 {
		first, count, err := p.allocate(ctx)
		if err != nil {
			return ids.NoProducerID, err
		}
		p.first, p.left = first, count
	}
	id := p.first
	p.first++
	p.left--
	return id, nil
}
