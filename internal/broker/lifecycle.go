package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/ids"
)

// registrar is whoever decides which brokers there are: the active controller.
type registrar interface {
	BrokerRegistration(context.Context, *kmsg.BrokerRegistrationRequest) *kmsg.BrokerRegistrationResponse
	BrokerHeartbeat(context.Context, *kmsg.BrokerHeartbeatRequest) *kmsg.BrokerHeartbeatResponse
}

// lifecycle makes this node a broker and keeps it one: it registers, waits until it is
// unfenced, and says from then on that it is there (Java: BrokerLifecycleManager).
type lifecycle struct {
	to      registrar
	node    ids.NodeID
	every   time.Duration     // between heartbeats
	session time.Duration     // broker.session.timeout.ms
	offset  func() ids.Offset // how far this node's metadata is
	dirs    func() (offline, full []ids.DirectoryID)
	news    <-chan struct{} // has a token when dirs says something else
	lost    func(error)     // told why the node is no broker any more; must not block
	logger  *slog.Logger

	epoch  int64                     // set by register
	taken  atomic.Pointer[time.Time] // when the latest heartbeat was sent that the controller has taken; nil before the first
	beats  sync.WaitGroup
	cancel context.CancelFunc // ends beats
}

// register registers this process, fenced. The process before it may count as being at work for a while: one that
// still does after two sessions is another node with the same id.
func (l *lifecycle) register(ctx context.Context, req *kmsg.BrokerRegistrationRequest) error {
	for began := time.Now(); ; {
		resp := l.to.BrokerRegistration(ctx, req)
		err := controller.RegistrationError(resp)
		switch {
		case err == nil:
			l.epoch = resp.BrokerEpoch
			return nil
		case errors.Is(err, kerr.RequestTimedOut):
			l.logger.Warn("no controller has taken the registration yet; it is sent again", "err", err)
		case !errors.Is(err, kerr.DuplicateBrokerRegistration) || time.Since(began) > 2*l.session:
			return fmt.Errorf("broker %d cannot register: %w", l.node, err)
		}
		select {
		case <-time.After(l.every):
		case <-ctx.Done():
			return fmt.Errorf("broker %d has not registered: %w", l.node, context.Cause(ctx))
		}
	}
}

// start returns once the broker is unfenced, and keeps it so until stop.
func (l *lifecycle) start(ctx context.Context) error {
	wait := time.NewTicker(l.every)
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
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-l.news:
		}
		resp := l.beat(ctx)
		if err := gone(l.node, resp.ErrorCode); err != nil {
			l.lost(err)
			return
		}
		err := kerr.ErrorForCode(resp.ErrorCode)
		switch {
		case err != nil && ctx.Err() == nil && !failing:
			l.logger.Warn("heartbeat was not taken; it is sent again", "err", err)
		case err == nil && failing:
			l.logger.Info("heartbeats are taken again")
		}
		failing = err != nil
	}
}

// beat says once that the broker is there and wants to be unfenced.
func (l *lifecycle) beat(ctx context.Context) *kmsg.BrokerHeartbeatResponse {
	return l.say(ctx, false)
}

func (l *lifecycle) say(ctx context.Context, wantShutDown bool) *kmsg.BrokerHeartbeatResponse {
	ctx, cancel := context.WithTimeout(ctx, 2*l.every)
	defer cancel()
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.Version, req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = 1, int32(l.node), l.epoch, int64(l.offset())
	req.WantShutdown = wantShutDown
	offline, full := l.dirs()
	for _, dir := range offline {
		req.OfflineLogDirs = append(req.OfflineLogDirs, dir)
	}
	controller.SetFullLogDirs(req, full)
	sent := time.Now()
	resp := l.to.BrokerHeartbeat(ctx, req)
	if resp.ErrorCode == 0 && !resp.IsFenced {
		l.taken.Store(&sent)
	}
	return resp
}

// counts tells whether the broker's session lasts: for as long as it does no controller has fenced the broker for its silence and made
// another the leader of what it leads. It has to be asked for what is answered from memory; what is written waits for other replicas.
func (l *lifecycle) counts() bool {
	sent := l.taken.Load()
	return sent != nil && time.Since(*sent) < l.session
}

const (
	// handOverMax bounds a controlled shutdown: what nobody has taken over by then is without a leader for a while.
	handOverMax = 5 * time.Second
	// handOverPause is between two questions whether all is taken over.
	handOverPause = 20 * time.Millisecond
)

// handOver returns once others lead what this broker has led, as far as there are any (Kafka: controlled shutdown).
func (l *lifecycle) handOver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, handOverMax)
	defer cancel()
	for {
		resp := l.say(ctx, true)
		if resp.ShouldShutdown {
			return
		}
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			l.logger.Warn("this broker stops before others have taken over what it leads", "err", err)
			return
		}
		select {
		case <-time.After(handOverPause):
		case <-ctx.Done():
			l.logger.Warn("this broker stops before others have taken over what it leads", "waited", handOverMax)
			return
		}
	}
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
