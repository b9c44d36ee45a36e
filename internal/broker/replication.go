package broker

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/replica"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// replication has this broker follow the leaders of partitions, and tell the controller who follows it.
type replication struct {
	fetchers *replica.Fetchers
	isr      *replica.ISRSender
	fetches  *peer.Client // to the inter-broker listeners of leaders
	changes  *peer.Client // of in-sync replicas, to the controller
}

// replicate makes what follows and is followed, before there is a partition.
func (b *Broker) replicate() {
	cfg := &b.cfg.Replication
	r := &replication{}
	r.fetches = peer.NewClient(peer.ClientConfig{
		Local: b.identity, Dial: b.dialBroker, RequestsMax: requestsMax, QueueBytesMax: requestBytesMax,
		ResponseBytesMax: max(int(cfg.FetchResponseBytes), int(b.cfg.SocketRequestMaxBytes)) + responseBytesMax, Logger: b.deps.Logger,
	})
	r.changes = b.nodes.newClient(b.deps)
	r.fetchers = replica.NewFetchers(replica.FetchersConfig{
		FetcherConfig: replica.FetcherConfig{
			Node: b.cfg.NodeID, MaxBytes: cfg.FetchResponseBytes, PartitionBytes: cfg.FetchBytes, MinBytes: cfg.FetchMinBytes,
			MaxWait: cfg.FetchWait, Backoff: cfg.FetchBackoff,
		},
		Requester: r.fetches, BrokerEpoch: b.metadata.epoch.Load, Logger: b.deps.Logger,
	})
	r.isr = replica.NewISRSender(replica.ISRSenderConfig{
		Node: b.cfg.NodeID, BrokerEpoch: b.metadata.epoch.Load, Controller: isrController{b}, LagMax: cfg.LagMax, Logger: b.deps.Logger,
	})
	b.replication = r
	b.onStop(func(context.Context) error {
		r.isr.Stop()
		r.fetchers.Stop()
		r.changes.Close()
		r.fetches.Close()
		return nil
	})
}

// brokersChanged has leaders look again at who may be in sync.
func (b *Broker) brokersChanged() {
	if b.replication != nil {
		b.replication.isr.WantAll()
	}
}

// dialBroker reaches the inter-broker listener of another broker.
func (b *Broker) dialBroker(ctx context.Context, node ids.NodeID) (net.Conn, error) {
	known, ok := b.metadata.Image().Broker(node)
	if !ok {
		return nil, fmt.Errorf("broker %d is not registered", node)
	}
	e, ok := known.Endpoint(b.cfg.InterBrokerListener)
	if !ok {
		return nil, fmt.Errorf("broker %d has no listener %s, which inter.broker.listener.name names here", node, b.cfg.InterBrokerListener)
	}
	return b.deps.Dial(ctx, "tcp", net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port))))
}

// isrController asks the active controller, wherever it is, once: whoever asks knows what an answer that is lost may mean.
type isrController struct{ b *Broker }

// AlterPartition implements replica.ISRController.
func (c isrController) AlterPartition(ctx context.Context, req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
	leader := c.b.quorum.Status().Leader
	if leader == c.b.cfg.NodeID {
		return c.b.controller.AlterPartition(ctx, req), nil
	}
	if leader == ids.NoNode {
		return nil, fmt.Errorf("no controller is known")
	}
	resp, err := c.b.replication.changes.Request(ctx, leader, req)
	if err != nil {
		return nil, err
	}
	return resp.(*kmsg.AlterPartitionResponse), nil
}

// brokersOnly is Peers of the listeners for clients: other brokers fetch over the one of inter.broker.listener.name.
type brokersOnly struct {
	nodes       *nodes
	interBroker string
}

// Admit implements server.Peers.
func (p brokersOnly) Admit(nc net.Conn, listener string, hello []byte) (peer.Identity, bool, error) {
	if channel, ok := peer.HelloChannel(hello); listener != p.interBroker || !ok || channel != peer.ChannelBroker {
		return peer.Identity{}, false, fmt.Errorf("a node has come to the listener %s for what is not served there; brokers fetch over %s", listener, p.interBroker)
	}
	return p.nodes.Admit(nc, listener, hello)
}
