package broker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/ids"
)

// How long a broker may be silent before it is fenced, and how often it says that it is there.
const (
	sessionTimeout    = 3 * time.Second
	heartbeatInterval = 500 * time.Millisecond
)

// registrar is whoever decides which brokers there are: the active controller.
type registrar interface {
	BrokerRegistration(context.Context, *kmsg.BrokerRegistrationRequest) *kmsg.BrokerRegistrationResponse
	BrokerHeartbeat(context.Context, *kmsg.BrokerHeartbeatRequest) *kmsg.BrokerHeartbeatResponse
}

// lifecycle makes this node a broker and keeps it one: it registers, waits until it is
// unfenced, and says from then on that it is there (Java: BrokerLifecycleManager).
type lifecycle struct {
	to     registrar
	node   ids.NodeID
	offset func() ids.Offset // how far this node's metadata is
	lost   func(error)       // told why the node is no broker any more; must not block
	logger *slog.Logger

	epoch  int64 // set by register
	beats  sync.WaitGroup
	cancel context.CancelFunc // ends beats
}

// register registers this process, fenced.
func (l *lifecycle) register(ctx context.Context, req *kmsg.BrokerRegistrationRequest) error {
	resp := l.to.BrokerRegistration(ctx, req)
	if err := controller.RegistrationError(resp); err != nil {
		return fmt.Errorf("broker %d cannot register: %w", l.node, err)
	}
	l.epoch = resp.BrokerEpoch
	return nil
}

// start returns once the broker is unfenced, and keeps it so until stop.
func (l *lifecycle) start(ctx context.Context) error {
	wait := time.NewTicker(heartbeatInterval)
	defer wait.Stop()
	for fenced := true; fenced; {
		resp := l.beat(ctx)
		if err := gone(l.node, resp.ErrorCode); err != nil {
			return err
		}
		if fenced = resp.ErrorCode != 0 || resp.IsFenced; !fenced {
			break
		}
		select {
		case <-wait.C:
		case <-ctx.Done():
			return fmt.Errorf("broker %d is not unfenced: %w", l.node, ctx.Err())
		}
	}
	beating, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.beats.Go(func() { l.run(beating) })
	return nil
}

// stop ends the heartbeats.
func (l *lifecycle) stop() {
	l.cancel()
	l.beats.Wait()
}

func (l *lifecycle) run(ctx context.Context) {
	tick := time.NewTicker(heartbeatInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		resp := l.beat(ctx)
		if err := gone(l.node, resp.ErrorCode); err != nil {
			l.lost(err)
			return
		}
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil && ctx.Err() == nil {
			l.logger.Warn("heartbeat was not taken; it is sent again", "err", err)
		}
	}
}

// beat says once that the broker is there and wants to be unfenced.
func (l *lifecycle) beat(ctx context.Context) *kmsg.BrokerHeartbeatResponse {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = int32(l.node), l.epoch, int64(l.offset())
	return l.to.BrokerHeartbeat(ctx, req)
}

// gone returns an error where a heartbeat was refused because the registration is no more.
func gone(node ids.NodeID, code int16) error {
	switch code {
	case kerr.StaleBrokerEpoch.Code:
		return fmt.Errorf("another process has registered as broker %d", node)
	case kerr.BrokerIDNotRegistered.Code:
		return fmt.Errorf("broker %d was unregistered", node)
	}
	return nil
}
