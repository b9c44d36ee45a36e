package broker

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// waitTold is how often a node that waits for the quorum says so.
const waitTold = 5 * time.Second

// belong returns once the quorum decides. A controller alone then knows and keeps which cluster it is of.
func (b *Broker) belong(ctx context.Context) error {
	ctx, cancel := b.whileQuorum(ctx)
	defer cancel()
	if err := b.waitQuorum(ctx); err != nil {
		return fmt.Errorf("the metadata quorum does not begin: %w", err)
	}
	if b.cfg.Roles.Broker {
		return nil // its registration tells
	}
	for b.metadata.Image().ClusterID() == "" { // the first decision is on its way
		if err := b.quorum.ReadIndex(ctx); err != nil {
			return fmt.Errorf("the metadata quorum decides nothing: %w", err)
		}
	}
	return b.store.SetClusterID(b.metadata.Image().ClusterID())
}

// register makes the node a broker of the cluster, fenced.
func (b *Broker) register(ctx context.Context) error {
	ctx, cancel := b.whileQuorum(ctx)
	defer cancel()
	to := *b.forward
	if to.seen = nil; b.nodes != nil {
		to.ask = b.nodes.heartbeats.Request
	}
	b.lifecycle = &lifecycle{
		to:      &to,
		node:    b.cfg.NodeID,
		every:   b.cfg.HeartbeatInterval,
		session: b.cfg.SessionTimeout,
		offset:  func() ids.Offset { return b.metadata.Image().Offset },
		dirs:    b.troubledDirs,
		news:    b.dirNews,
		lost:    b.fail,
		logger:  b.deps.Logger,
	}
	if err := b.lifecycle.register(ctx, b.registration()); err != nil {
		return err
	}
	if err := b.waitRegistered(ctx); err != nil {
		return fmt.Errorf("broker %d waits for its registration: %w", b.cfg.NodeID, err)
	}
	b.store.SetBrokerEpoch(b.lifecycle.epoch)
	return b.store.SetClusterID(b.metadata.Image().ClusterID())
}

// whileQuorum returns a context that ends, with the reason as its cause, when this node's part in the quorum does.
func (b *Broker) whileQuorum(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-b.quorum.Done():
			cancel(b.quorum.Err())
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// waitQuorum returns once the quorum decides and this node knows all that it has.
func (b *Broker) waitQuorum(ctx context.Context) error {
	told := time.NewTicker(waitTold)
	defer told.Stop()
	done := make(chan error, 1)
	go func() {
		if b.cfg.SoleVoter() {
			done <- b.controller.WaitReady(ctx)
		} else {
			done <- b.quorum.ReadIndex(ctx)
		}
	}()
	for {
		select {
		case err := <-done:
			if cause := context.Cause(ctx); err != nil && cause != nil {
				return cause
			}
			return err
		case <-told.C:
			b.deps.Logger.Info("waiting for the metadata quorum: a majority of its voters has to run, and at its first start all of them", b.controllersTold())
		}
	}
}

// controllersTold is what this node was told of the controllers.
func (b *Broker) controllersTold() slog.Attr {
	if len(b.cfg.Bootstrap) > 0 {
		return slog.Any("controllers", b.cfg.Bootstrap)
	}
	return slog.Any("voters", b.cfg.Voters)
}

// waitRegistered returns once this node's own image has its registration: then it has opened its partitions.
func (b *Broker) waitRegistered(ctx context.Context) error {
	for !b.metadata.registered(b.metadata.Image()) {
		if err := b.quorum.ReadIndex(ctx); err != nil {
			return err
		}
	}
	return nil
}

// registration is what this process tells of itself.
func (b *Broker) registration() *kmsg.BrokerRegistrationRequest {
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.Version = 4
	req.BrokerID = int32(b.cfg.NodeID)
	req.IncarnationID = b.metadata.incarnation
	req.ClusterID = b.store.ClusterID()
	req.Rack = optional(b.cfg.Rack)
	for _, e := range b.endpoints() {
		req.Listeners = append(req.Listeners, kmsg.BrokerRegistrationRequestListener{Name: e.Listener, Host: e.Host, Port: e.Port, SecurityProtocol: e.Protocol})
	}
	for _, f := range metadata.SupportedFeatures() {
		req.Features = append(req.Features, kmsg.BrokerRegistrationRequestFeature{Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max})
	}
	for _, d := range b.store.Dirs() {
		if d.Err == nil {
			req.LogDirs = append(req.LogDirs, d.ID)
		}
	}
	req.PreviousBrokerEpoch = b.store.PreviousBrokerEpoch()
	return req
}

// unfence has the controller send clients to this node, and keeps it so.
func (b *Broker) unfence(ctx context.Context) error {
	if err := b.lifecycle.start(ctx); err != nil {
		return err
	}
	b.onStop(func(context.Context) error { b.lifecycle.stop(); return nil })
	return nil
}

// mayLeave has Stop begin with handing over, while clients are still served.
func (b *Broker) mayLeave(context.Context) error {
	if !b.cfg.Lone() {
		b.onStop(func(ctx context.Context) error {
			b.lifecycle.stop()
			b.lifecycle.handOver(ctx)
			return nil
		})
	}
	return nil
}

// endpoints is what clients are told to connect to: the port that was really taken
// where the configuration leaves it to the system.
func (b *Broker) endpoints() []metadata.Endpoint {
	var out []metadata.Endpoint
	for i, a := range b.cfg.Advertised {
		if a.Port == 0 && i < len(b.listeners) {
			if tcp, ok := b.listeners[i].Addr().(*net.TCPAddr); ok {
				a.Port = int32(tcp.Port)
			}
		}
		if a.Host == "" {
			a.Host = hostname()
		}
		out = append(out, metadata.Endpoint{Listener: a.Name, Host: a.Host, Port: uint16(a.Port)})
	}
	return out
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
