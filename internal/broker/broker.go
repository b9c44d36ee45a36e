package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/server"
	"github.com/moldau/moldau/internal/vfs"
)

// Deps is the world that a broker lives in.
type Deps struct {
	FS     vfs.FS
	Listen func(network, address string) (net.Listener, error)
	// Dial reaches other nodes; a lone one needs none.
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Logger *slog.Logger
}

// following is how a node has the committed metadata: as a voter of the quorum, or as an observer.
type following interface {
	Start()
	Stop()
	Done() <-chan struct{}
	Err() error
	Status() quorum.Status
	ReadIndex(context.Context) error
	Describe(context.Context) (quorum.Description, error)
}

// Broker is one node: a broker, a controller or both. Its methods belong to one goroutine, but for Addr and Failed.
type Broker struct {
	cfg  *config.Broker
	deps Deps

	listeners    []net.Listener // as in cfg.Listeners
	forNodes     []net.Listener // as in cfg.ControllerListeners; none on a lone node
	newCluster   string         // what a cluster is called that begins with this node
	store        *log.Store
	metadata     *metadataLog
	current      atomic.Pointer[config.Broker] // cfg with the dynamic configs of the image; stored by the metadata log
	table        *replica.Table
	mover        *replica.Mover
	controller   *controller.Controller
	lifecycle    *lifecycle
	coordinators *coordinators
	quorum       following
	voter        *quorum.Node // quorum of a controller, nil on other nodes
	nodes        *nodes       // nil on a lone node
	replication  *replication // nil on a lone node, and on one that is no broker
	handlers     *handler.Handlers
	forward      *forwarder
	server       *server.Server

	assigner *replica.Assigner
	dirNews  chan struct{} // has a token when a data directory has failed, is full or has room again, and no heartbeat has said so

	stop   []func(context.Context) error // what Stop does, last started first
	serve  sync.WaitGroup                // one for each listener
	watch  sync.WaitGroup                // of the quorum
	failed chan error                    // capacity 1: why the node cannot go on
}

// New returns a broker that has not touched anything yet.
func New(cfg *config.Broker, deps Deps) (*Broker, error) {
	if deps.FS == nil || deps.Listen == nil || deps.Logger == nil {
		return nil, errors.New("a broker needs a file system, a way to listen and a logger")
	}
	b := &Broker{cfg: cfg, deps: deps, newCluster: ids.NewUUID().String(), dirNews: make(chan struct{}, 1), failed: make(chan error, 1)}
	if !cfg.Lone() && deps.Dial == nil {
		return nil, errors.New("a node that is not its whole cluster needs a way to dial")
	}
	return b, nil
}

// Start starts the node and returns once it serves clients, or, as a controller alone, once the quorum decides. Addresses
// are taken before any file is touched, so that a port in use leaves the data as it was. After an error everything that
// was started is stopped again.
func (b *Broker) Start(ctx context.Context) error {
	steps := []func(context.Context) error{b.listen, b.open, b.join, b.belong}
	if b.cfg.Roles.Broker {
		steps = append(steps, b.register, b.settle, b.unfence, b.accept, b.mayLeave)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return errors.Join(err, b.Stop(context.WithoutCancel(ctx)))
		}
	}
	return nil
}

// Stop stops the node: first clients, then decisions, then the logs.
func (b *Broker) Stop(ctx context.Context) error {
	var err error
	for len(b.stop) > 0 {
		last := b.stop[len(b.stop)-1]
		b.stop = b.stop[:len(b.stop)-1]
		err = errors.Join(err, last(ctx))
	}
	return err
}

func (b *Broker) onStop(f func(context.Context) error) { b.stop = append(b.stop, f) }

// Failed tells why the node cannot go on, when it cannot; the caller stops it then.
func (b *Broker) Failed() <-chan error { return b.failed }

func (b *Broker) fail(err error) {
	select {
	case b.failed <- err:
	default:
	}
}

// Addr is the address of the first listener for clients; of a controller alone, of the first one for nodes.
func (b *Broker) Addr() string {
	if !b.cfg.Roles.Broker {
		return b.forNodes[0].Addr().String()
	}
	return b.listeners[0].Addr().String()
}

func (b *Broker) listen(context.Context) (err error) {
	if b.listeners, err = b.listenAt(b.cfg.Listeners); err != nil || b.cfg.Lone() {
		return err
	}
	b.forNodes, err = b.listenAt(b.cfg.ControllerListeners)
	return err
}

func (b *Broker) listenAt(at []config.Listener) (listeners []net.Listener, err error) {
	for _, l := range at {
		nl, err := b.deps.Listen("tcp", l.Address())
		if err != nil {
			return listeners, fmt.Errorf("listener %s: %w", l.Name, err)
		}
		listeners = append(listeners, nl)
		b.onStop(func(context.Context) error {
			if err := nl.Close(); !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		})
	}
	return listeners, nil
}

// open opens the data directories.
func (b *Broker) open(context.Context) error {
	store, err := log.OpenStore(log.StoreConfig{
		FS:                            b.deps.FS,
		Dirs:                          b.cfg.LogDirs,
		MetadataDir:                   b.cfg.MetadataLogDir,
		NodeID:                        b.cfg.NodeID,
		RecoveryThreads:               b.cfg.RecoveryThreads,
		RetentionCheckInterval:        b.cfg.RetentionCheckInterval,
		FlushCheckInterval:            b.cfg.FlushCheckInterval,
		RecoveryCheckpointInterval:    b.cfg.RecoveryCheckpointInterval,
		StartOffsetCheckpointInterval: b.cfg.StartOffsetCheckpointInterval,
		ReservedBytes:                 reservedBytes,
		Cleaner:                       func() log.CleanerConfig { return b.current.Load().Cleaner },
		Config:                        func(string) log.Config { return b.cfg.Topic(nil).Log },
		Logger:                        b.deps.Logger,
		OnDirFailure:                  b.dirFailed,
		OnRoom:                        b.dirsChanged,
		OnDamage:                      func(tp ids.TopicPartition, cause error) { b.table.Damaged(tp, cause) },
		Check:                         b.checkMetadata,
	})
	if err != nil {
		return err
	}
	b.store = store
	b.onStop(func(context.Context) error { return store.Close() })
	return nil
}

// checkMetadata refuses to start on a damaged metadata log while no file of a partition has been touched.
func (b *Broker) checkMetadata(directory ids.DirectoryID) error {
	switch {
	case !b.cfg.Roles.Controller:
		return nil
	case directory.IsZero() && !b.cfg.SoleVoter():
		return nil // a directory without an id is a new one, and the quorum knows how to take that
	}
	return quorum.Check(b.quorumConfig(directory))
}

func (b *Broker) quorumConfig(directory ids.DirectoryID) quorum.Config {
	return quorum.Config{
		NodeID:        b.cfg.NodeID,
		Voters:        voterIDs(b.cfg),
		DirectoryID:   directory,
		ClusterID:     b.clusterID(),
		Endpoint:      b.controllerEndpoint(),
		FS:            b.deps.FS,
		Dir:           b.cfg.MetadataLogDir,
		SnapshotBytes: b.cfg.SnapshotBytes,
		Logger:        b.deps.Logger,
	}
}

// reservedBytes is what each data directory keeps in reserve for the day when its disk is full.
const reservedBytes = 16 << 20

// join opens the metadata log, takes part in the quorum, and follows what is decided.
func (b *Broker) join(ctx context.Context) error {
	proposals := &proposer{}
	b.current.Store(b.cfg)
	b.metadata = newMetadataLog(b.cfg.NodeID, b.deps.Logger)
	if !b.cfg.Lone() {
		b.nodes = newNodes(b.cfg, b.deps, b.identity)
		b.onStop(func(context.Context) error { b.nodes.close(); return nil })
		if b.cfg.Roles.Broker {
			b.replicate()
		}
	}
	b.follow(proposals)
	if err := b.openQuorum(proposals); err != nil {
		return err
	}
	b.serveRequests()
	if err := b.serveNodes(); err != nil {
		b.quorum.Stop()
		return err
	}
	b.quorum.Start()
	b.onStop(func(context.Context) error { b.quorum.Stop(); return nil })
	b.watch.Go(func() {
		<-b.quorum.Done()
		if err := b.quorum.Err(); err != nil {
			b.fail(fmt.Errorf("metadata quorum: %w", err))
		}
	})
	return nil
}

// openQuorum makes this node's part in the quorum: a controller has a vote, a broker alone observes.
func (b *Broker) openQuorum(proposals *proposer) error {
	if !b.cfg.Roles.Controller {
		b.quorum = quorum.NewObserver(quorum.ObserverConfig{
			Self:        quorum.Identity{Node: b.cfg.NodeID, Directory: b.store.MetadataDirectory()},
			Controllers: b.nodes.controllers,
			Ask:         b.nodes.metadata.Request,
			AskNow:      b.nodes.reads.Request,
			LeaderFound: b.nodes.leaderFound,
			Logger:      b.deps.Logger,
		}, b.metadata)
		return nil
	}
	var transport quorum.Transport // of several voters
	if b.nodes != nil && b.nodes.network != nil {
		transport = b.nodes.network
	}
	node, err := quorum.Open(b.quorumConfig(b.store.MetadataDirectory()), b.metadata, transport)
	if err != nil {
		return err
	}
	b.quorum, b.voter, proposals.node = node, node, node
	return nil
}

// follow makes everything that follows the metadata. The controller of a broker alone never decides.
func (b *Broker) follow(proposals *proposer) {
	b.controller = controller.New(controller.Config{
		CoreConfig: controller.CoreConfig{
			NumPartitions:     b.cfg.NumPartitions,
			ReplicationFactor: b.cfg.DefaultReplicationFactor,
			DeleteTopicEnable: b.cfg.DeleteTopicEnable,
			ReplicationMax:    math.MaxInt16,
			BalanceInterval:   b.cfg.Replication.BalanceInterval,
			SessionTimeout:    b.cfg.SessionTimeout,
		},
		Founding: b.founding,
	}, controller.Deps{
		Quorum: proposals,
		Schema: config.NewSchema(b.current.Load),
		Logger: b.deps.Logger,
	})
	b.metadata.followers = followers{configs: b, controller: b.controller, elected: b.probeBrokers, brokers: b.brokersChanged}
	if b.cfg.Roles.Broker {
		b.followPartitions()
	}
	b.controller.Start()
	b.onStop(func(context.Context) error { b.controller.Stop(); return nil })
}

// followPartitions makes what a broker has: partitions, and coordinators on them.
func (b *Broker) followPartitions() {
	table := replica.Config{Node: b.cfg.NodeID, Logs: b.store, Settings: b.settings, Logger: b.deps.Logger}
	if r := b.replication; r != nil {
		table.Peers = partition.Peers{ISRWanted: r.isr.Want}
		table.Standing = b.metadata.standing
		table.Followers = r.fetchers
	}
	b.assign(&table)
	b.table = replica.NewTable(table)
	if r := b.replication; r != nil {
		r.isr.Start(b.table)
	}
	b.mover = replica.NewMover(b.table, b.store, b.deps.Logger)
	b.onStop(func(context.Context) error { b.mover.Stop(); return nil })
	b.coordinators = newCoordinators(b.cfg.NodeID, b.table, b.current.Load, b.metadata.Image, b.deps.Logger)
	b.onStop(func(context.Context) error { b.coordinators.groups.Stop(); return nil })
	b.metadata.followers.partitions, b.metadata.followers.coordinators = b.table, b.coordinators
}

// founding says what a cluster is called that this node is the first to decide for, and who its voters are.
func (b *Broker) founding() (clusterID string, voters []metadata.Voter) {
	if b.cfg.SoleVoter() {
		return b.clusterID(), []metadata.Voter{{NodeID: b.cfg.NodeID, DirectoryID: b.store.MetadataDirectory()}}
	}
	d, err := b.voter.Describe(context.Background())
	if err != nil {
		return "", nil // the quorum has stopped
	}
	for _, v := range d.Voters {
		voters = append(voters, metadata.Voter{NodeID: v.Node, DirectoryID: v.Directory})
	}
	return d.ClusterID, voters
}

// proposer lets the controller be made before the node that it proposes to.
type proposer struct{ node *quorum.Node }

func (p *proposer) Propose(epoch ids.LeaderEpoch, data []byte) error {
	return p.node.Propose(epoch, data)
}

// clusterID is the id for a cluster that begins with this node: that of the data it has
// already, such as partitions that Apache Kafka wrote, or a new one.
func (b *Broker) clusterID() string {
	if b.store != nil {
		if id := b.store.ClusterID(); id != "" {
			return id
		}
	}
	return b.newCluster
}

// Reconfigure takes over what is set dynamically for this broker, and for all, in img.
func (b *Broker) Reconfigure(img *metadata.Image) {
	b.current.Store(b.cfg.With(config.Dynamic{
		Broker:         img.Config(metadata.ConfigResource{Type: metadata.ResourceBroker, Name: strconv.Itoa(int(b.cfg.NodeID))}),
		ClusterDefault: img.Config(metadata.ConfigResource{Type: metadata.ResourceBroker}),
	}))
}

// settings says what the configs of a topic mean for its partitions.
func (b *Broker) settings(img *metadata.Image, topic string) (log.Config, partition.Policy) {
	replicas := 1
	if t, ok := img.Topic(topic); ok && len(t.Partitions) > 0 {
		replicas = len(t.Partitions[0].Replicas)
	}
	t := b.current.Load().Topic(img.Config(metadata.ConfigResource{Type: metadata.ResourceTopic, Name: topic}))
	return t.Log, partition.Policy{
		Durability:           durabilities[t.AckDurability],
		MinInSyncReplicas:    t.MinISR(replicas),
		MaxMessageBytes:      t.Log.MaxMessageBytes,
		SegmentBytes:         t.Log.SegmentBytes,
		TimestampBeforeMaxMs: t.TimestampBeforeMaxMs,
		TimestampAfterMaxMs:  t.TimestampAfterMaxMs,
		LogAppendTime:        t.LogAppendTime,
		ReplicaLagMax:        b.cfg.Replication.LagMax,
		Compact:              t.Log.CompactPolicy,
		Recompress:           t.Recompress,
		Codec:                t.Codec,
		Level:                t.Level,
	}
}

var durabilities = map[config.Durability]partition.Durability{
	config.DurabilityAuto:  partition.DurabilityAuto,
	config.DurabilityFsync: partition.DurabilityFsync,
	config.DurabilityOS:    partition.DurabilityOS,
}

// settle begins the upkeep of the logs, once it is known which are in use, and goes on with what was being moved.
func (b *Broker) settle(context.Context) error {
	b.reportStrays()
	b.store.Start()
	b.mover.Resume()
	return nil
}

// serveRequests makes what answers requests, of clients and of nodes.
func (b *Broker) serveRequests() {
	deps := handler.Deps{
		Node:            b.cfg.NodeID,
		Image:           b.metadata.Image,
		Controller:      b.controller,
		LocalController: b.controller,
		Nodes:           b.controller,
		Quorum:          b.quorum,
		Config:          b.current.Load,
		Logger:          b.deps.Logger,
	}
	if b.cfg.Roles.Broker {
		b.forward = &forwarder{
			node: b.cfg.NodeID, local: b.controller, leader: func() ids.NodeID { return b.quorum.Status().Leader },
			seen: b.quorum.ReadIndex, logger: b.deps.Logger,
		}
		if b.nodes != nil {
			b.forward.ask = b.nodes.requests.Request
		}
		deps.Partitions, deps.LogDirs, deps.MoveReplica = located{b.table, b.metadata.Image}, b.store, b.mover.Move
		deps.Controller, deps.ToController, deps.Groups = b.forward, b.forward.toController, b.coordinators.groups
		deps.Counts = func() bool { return b.cfg.Lone() || b.lifecycle.counts() }
	}
	b.handlers = handler.New(deps)
	b.onStop(func(context.Context) error { b.handlers.Stop(); return nil })
}

func (b *Broker) limits() server.Config {
	limits := server.DefaultConfig()
	limits.RequestBytesMax = int(b.cfg.SocketRequestMaxBytes)
	limits.IdleMax = b.cfg.ConnectionsMaxIdle
	limits.ConnectionsMax = int(b.cfg.MaxConnections)
	limits.ConnectionsPerIPMax = int(b.cfg.MaxConnectionsPerIP)
	return limits
}

// serveNodes has a controller serve the other nodes, with a memory of their own.
func (b *Broker) serveNodes() error {
	if b.voter == nil || b.nodes == nil {
		return nil
	}
	srv, err := server.New(server.DefaultConfig(), server.Deps{
		Handler: handler.NewControllers(b.handlers, b.voter), Peers: b.nodes, NodeGone: b.nodeGone, Logger: b.deps.Logger,
	})
	if err != nil {
		return err
	}
	var serving sync.WaitGroup
	for i, l := range b.forNodes {
		serving.Go(func() {
			b.watchListener(srv.ServeNodes(l, b.cfg.ControllerListeners[i].Name), b.cfg.ControllerListeners[i])
		})
	}
	b.onStop(func(ctx context.Context) error {
		b.nodes.closeNetwork() // its connections are the server's too
		err := srv.Stop(ctx)
		serving.Wait()
		return err
	})
	return nil
}

func (b *Broker) watchListener(err error, l config.Listener) {
	if err != nil && !errors.Is(err, server.ErrStopped) {
		b.fail(fmt.Errorf("listener %s: %w", l.Name, err))
	}
}

// accept serves clients.
func (b *Broker) accept(context.Context) error {
	deps := server.Deps{Handler: b.handlers, Logger: b.deps.Logger}
	if b.nodes != nil {
		deps.Peers = brokersOnly{b.nodes, b.cfg.InterBrokerListener}
	}
	srv, err := server.New(b.limits(), deps)
	if err != nil {
		return err
	}
	b.server = srv
	for i, l := range b.listeners {
		b.serve.Go(func() { b.watchListener(srv.Serve(l, b.cfg.Listeners[i].Name), b.cfg.Listeners[i]) })
	}
	stopCheckpoints := b.checkpointHighWatermarks()
	b.onStop(func(ctx context.Context) error {
		stopCheckpoints()
		b.coordinators.groups.Stop() // who waits for a rebalance is answered, or the server would wait with him
		err := srv.Stop(ctx)
		b.serve.Wait()
		return err
	})
	return nil
}

// checkpointHighWatermarks writes replication-offset-checkpoint now and then, until the
// function that it returns is called.
func (b *Broker) checkpointHighWatermarks() (stop func()) {
	done := make(chan struct{})
	b.serve.Go(func() {
		tick := time.NewTicker(max(b.cfg.HighWatermarkCheckpoint, time.Second))
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if err := b.store.CheckpointHighWatermarks(); err != nil {
					b.deps.Logger.Error("high watermarks cannot be written", "err", err)
				}
			}
		}
	})
	return sync.OnceFunc(func() { close(done) })
}
