package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quorum"
)

const (
	// goneAfter is how long a node may not be reached, after a connection with it has ended, until it is taken for gone.
	goneAfter = 200 * time.Millisecond
	// probePause is between two attempts to reach it.
	probePause = 20 * time.Millisecond
	// keptFor is how long a node has to keep a connection to be taken for one that runs.
	keptFor = 100 * time.Millisecond

	// What may wait for one node, and how long one answer may be: about the largest of each kind that clients may ask for.
	requestsMax      = 1000
	requestBytesMax  = 32 << 20
	responseBytesMax = 64 << 20
)

// nodes has the connections with the other nodes of the cluster, over the listeners of controllers.
type nodes struct {
	local    func() peer.Local
	dialer   func(ctx context.Context, network, address string) (net.Conn, error)
	network  *quorum.Network // nil on a node that is none of several voters
	refusals refusals
	// requests carries what is forwarded, heartbeats what must not wait behind that. Of an observer, metadata waits for news,
	// and reads asks how far it is.
	requests, heartbeats, metadata, reads *peer.Client

	// controllers are those that a broker alone may ask. One that is known by its address alone has a negative id, as
	// Kafka's clients call brokers of which they know no more.
	controllers []ids.NodeID
	reach       struct {
		sync.Mutex                       // leaf
		at         map[ids.NodeID]string // where controllers are, this node left out
		found      map[ids.NodeID]bool   // in at, and not as configured
	}

	// probes look whether a node is still there; each has a goroutine.
	probes struct {
		sync.WaitGroup
		ctx    context.Context
		cancel context.CancelFunc
	}
}

// bootstrapIDs is where the ids of controllers begin, downwards, whose own is not known.
const bootstrapIDs ids.NodeID = -2

func newNodes(cfg *config.Broker, deps Deps, local func() peer.Local) *nodes {
	n := &nodes{local: local, dialer: deps.Dial}
	n.reach.at, n.reach.found = make(map[ids.NodeID]string), make(map[ids.NodeID]bool)
	for _, v := range cfg.Voters {
		if v.ID != cfg.NodeID {
			n.reach.at[v.ID] = v.Address()
			n.controllers = append(n.controllers, v.ID)
		}
	}
	for i, address := range cfg.Bootstrap {
		id := bootstrapIDs - ids.NodeID(i)
		n.reach.at[id] = address
		n.controllers = append(n.controllers, id)
	}
	if cfg.Roles.Controller && len(cfg.Voters) > 1 {
		n.network = quorum.NewNetwork(quorum.NetworkConfig{Local: local, Dial: n.dial, Logger: deps.Logger})
	}
	n.requests, n.heartbeats, n.metadata, n.reads = n.newClient(deps), n.newClient(deps), n.newClient(deps), n.newClient(deps)
	n.probes.ctx, n.probes.cancel = context.WithCancel(context.Background())
	return n
}

func (n *nodes) newClient(deps Deps) *peer.Client {
	return peer.NewClient(peer.ClientConfig{
		Local: n.local, Dial: n.dial, RequestsMax: requestsMax, QueueBytesMax: requestBytesMax, ResponseBytesMax: responseBytesMax, Logger: deps.Logger,
	})
}

// close ends every connection that this node has opened.
func (n *nodes) close() {
	n.probes.cancel()
	n.requests.Close()
	n.heartbeats.Close()
	n.metadata.Close()
	n.reads.Close()
	n.closeNetwork()
	n.probes.Wait()
}

func (n *nodes) closeNetwork() {
	if n.network != nil {
		n.network.Close()
	}
}

func (n *nodes) dial(ctx context.Context, node ids.NodeID) (net.Conn, error) {
	address, known := n.address(node)
	if !known {
		return nil, fmt.Errorf("node %d is none of controller.quorum.voters", node)
	}
	return n.dialer(ctx, "tcp", address)
}

// address returns where a controller is reached.
func (n *nodes) address(node ids.NodeID) (string, bool) {
	n.reach.Lock()
	defer n.reach.Unlock()
	address, known := n.reach.at[node]
	return address, known
}

// leaderFound notes where a leader is reached that is not configured: where it has answered, and otherwise where the
// controller that was asked says so.
func (n *nodes) leaderFound(leader ids.NodeID, at string, answered ids.NodeID) {
	n.reach.Lock()
	defer n.reach.Unlock()
	if _, known := n.reach.at[leader]; known && !n.reach.found[leader] {
		return
	}
	switch {
	case answered == leader:
		return
	case answered != ids.NoNode:
		at = n.reach.at[answered]
	case at == "":
		return
	}
	n.reach.at[leader], n.reach.found[leader] = at, true
}

// Admit implements server.Peers. A node that is refused comes back several times a second: one line says why, now and then.
func (n *nodes) Admit(nc net.Conn, _ string, hello []byte) (from peer.Identity, served bool, err error) {
	from, served, err = n.admit(nc, hello)
	if err != nil && n.refusals.told(err) {
		return peer.Identity{}, true, nil
	}
	return from, served, err
}

func (n *nodes) admit(nc net.Conn, hello []byte) (from peer.Identity, served bool, err error) {
	if channel, ok := peer.HelloChannel(hello); ok && channel == peer.ChannelQuorum && n.network != nil {
		return peer.Identity{}, true, n.network.Serve(nc, hello)
	}
	from, _, err = peer.Accept(nc, hello, n.local(), func(who peer.Identity, channel peer.Channel) error {
		if channel != peer.ChannelBroker {
			return fmt.Errorf("%w: channel %d is not served here", peer.ErrFrame, channel)
		}
		return nil
	})
	return from, false, err
}

const (
	// refusalEvery is how often the same refusal is logged.
	refusalEvery = time.Minute
	// refusalsMax bounds what is remembered of them.
	refusalsMax = 100
)

// refusals remembers why nodes were refused.
type refusals struct {
	mu   sync.Mutex // leaf
	last map[string]time.Time
}

// told tells whether the same was logged a short time ago; if not, it is about to be.
func (r *refusals) told(why error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if last, known := r.last[why.Error()]; known && now.Sub(last) < refusalEvery {
		return true
	}
	if len(r.last) >= refusalsMax || r.last == nil {
		r.last = make(map[string]time.Time)
	}
	r.last[why.Error()] = now
	return false
}

// probe calls gone if a node cannot be reached for goneAfter. One that hangs can: its heartbeats tell. Where a firewall may be
// in between, only a connection that is refused or dropped counts.
func (n *nodes) probe(address string, filtered bool, gone func()) {
	if n.probes.ctx.Err() != nil {
		return
	}
	n.probes.Go(func() {
		for began := time.Now(); ; time.Sleep(probePause) {
			answers, certain := n.answers(address)
			if answers || filtered && !certain || n.probes.ctx.Err() != nil {
				return
			}
			if time.Since(began) > goneAfter {
				gone()
				return
			}
		}
	})
}

// answers tells whether a node takes a connection and keeps it: one whose process is ending takes it and drops it. certain is
// false where the network may be why it does not.
func (n *nodes) answers(address string) (answers, certain bool) {
	ctx, cancel := context.WithTimeout(n.probes.ctx, goneAfter)
	defer cancel()
	conn, err := n.dialer(ctx, "tcp", address)
	if err != nil {
		return false, errors.Is(err, syscall.ECONNREFUSED)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(keptFor)); err != nil {
		return false, true
	}
	_, err = conn.Read(make([]byte, 1)) // a node says nothing before it has got a hello or a request
	return errors.Is(err, os.ErrDeadlineExceeded), true
}

// voterIDs returns the nodes of controller.quorum.voters.
func voterIDs(cfg *config.Broker) []ids.NodeID {
	var out []ids.NodeID
	for _, v := range cfg.Voters {
		out = append(out, v.ID)
	}
	slices.Sort(out)
	return out
}

// identity is how this node shows itself to others.
func (b *Broker) identity() peer.Local {
	cluster := b.metadata.Image().ClusterID()
	if cluster == "" {
		cluster = b.store.ClusterID()
	}
	return peer.Local{
		Identity: peer.Identity{Cluster: cluster, Node: b.cfg.NodeID, Directory: b.store.MetadataDirectory(), Epoch: b.metadata.epoch.Load()},
		Secret:   b.cfg.Secret,
	}
}

// controllerEndpoint is where the other nodes reach this controller, "" on a lone one.
func (b *Broker) controllerEndpoint() string {
	for _, v := range b.cfg.Voters {
		if v.ID == b.cfg.NodeID && v.Host != "" {
			return v.Address()
		}
	}
	switch {
	case len(b.forNodes) == 0:
		return ""
	case b.cfg.ControllerAt.Host != "":
		return b.cfg.ControllerAt.Address()
	}
	l := b.cfg.ControllerListeners[0]
	if ip := net.ParseIP(l.Host); l.Host == "" || ip.IsUnspecified() {
		l.Host = hostname()
	}
	if tcp, ok := b.forNodes[0].Addr().(*net.TCPAddr); ok {
		l.Port = int32(tcp.Port)
	}
	return l.Address()
}

// nodeGone looks whether a node is still there whose connection has ended.
func (b *Broker) nodeGone(from peer.Identity) {
	if b.quorum.Status().Leader == b.cfg.NodeID {
		b.probeBroker(from.Node)
	}
}

// probeBrokers has a new controller look at once which brokers are there.
func (b *Broker) probeBrokers(img *metadata.Image) {
	for broker := range img.Brokers() {
		if !broker.Fenced && broker.ID != b.cfg.NodeID {
			b.probeBroker(broker.ID)
		}
	}
}

// probeBroker has the controller fence a broker that cannot be reached, unless it registers anew meanwhile. One that is no
// controller is looked for where other brokers reach it, and nobody has promised that controllers may dial there.
func (b *Broker) probeBroker(node ids.NodeID) {
	registered, known := b.metadata.Image().Broker(node)
	if !known || b.nodes == nil {
		return
	}
	address, found := b.nodes.address(node)
	if !found && len(registered.Endpoints) > 0 {
		e := registered.Endpoints[0]
		if named, ok := registered.Endpoint(b.cfg.InterBrokerListener); ok {
			e = named
		}
		address = net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
	}
	b.nodes.probe(address, !found, func() { b.controller.BrokerGone(node, registered.Epoch) })
}
