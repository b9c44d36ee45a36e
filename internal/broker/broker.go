package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

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
	Logger *slog.Logger
}

// Broker is one node. Its methods belong to one goroutine, but for Addr and Failed.
type Broker struct {
	cfg  *config.Broker
	deps Deps

	listeners    []net.Listener // as in cfg.Listeners
	store        *log.Store
	metadata     *metadataLog
	current      atomic.Pointer[config.Broker] // cfg with the dynamic configs of the image; stored by the metadata log
	table        *replica.Table
	mover        *replica.Mover
	controller   *controller.Controller
	lifecycle    *lifecycle
	coordinators *coordinators
	quorum       *quorum.Node
	server       *server.Server

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
	if len(cfg.Voters) > 1 {
		return nil, errors.New("several voters in controller.quorum.voters are not built yet; name this node alone, or delete the line")
	}
	return &Broker{cfg: cfg, deps: deps, failed: make(chan error, 1)}, nil
}

// Start starts the node and returns once it serves clients. Addresses are taken before
// any file is touched, so that a port in use leaves the data as it was. After an error
// everything that was started is stopped again.
func (b *Broker) Start(ctx context.Context) error {
	for _, step := range []func(context.Context) error{b.listen, b.open, b.join, b.register, b.settle, b.unfence, b.accept} {
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

// Addr is the address of the first listener for clients.
func (b *Broker) Addr() string { return b.listeners[0].Addr().String() }

func (b *Broker) listen(context.Context) error {
	for _, l := range b.cfg.Listeners {
		nl, err := b.deps.Listen("tcp", l.Address())
		if err != nil {
			return fmt.Errorf("listener %s: %w", l.Name, err)
		}
		b.listeners = append(b.listeners, nl)
		b.onStop(func(context.Context) error {
			if err := nl.Close(); !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		})
	}
	return nil
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
func (b *Broker) checkMetadata(ids.DirectoryID) error { return quorum.Check(b.quorumConfig()) }

func (b *Broker) quorumConfig() quorum.Config {
	return quorum.Config{
		NodeID:        b.cfg.NodeID,
		Voters:        []ids.NodeID{b.cfg.NodeID},
		FS:            b.deps.FS,
		Dir:           b.cfg.MetadataLogDir,
		SnapshotBytes: b.cfg.SnapshotBytes,
		Logger:        b.deps.Logger,
	}
}

// reservedBytes is what each data directory keeps in reserve for the day when its disk is full.
const reservedBytes = 16 << 20

// dirFailed is told of a data directory that went offline. The metadata lives in one of
// them; without that one the node cannot go on.
func (b *Broker) dirFailed(dir string, id ids.DirectoryID, err error) {
	b.deps.Logger.Error("data directory is offline", "dir", dir, "directory_id", id.String(), "err", err)
	if dir == b.cfg.MetadataLogDir {
		b.fail(fmt.Errorf("the directory of the metadata log, %s, is offline: %w", dir, err))
	}
}

// join opens the metadata log, follows it up to its end, and starts to decide.
func (b *Broker) join(ctx context.Context) error {
	b.current.Store(b.cfg)
	b.metadata = newMetadataLog(b.deps.Logger)
	b.table = replica.NewTable(replica.Config{Node: b.cfg.NodeID, Logs: b.store, Settings: b.settings, Logger: b.deps.Logger})
	proposals := &proposer{}
	b.controller = controller.New(controller.Config{
		CoreConfig: controller.CoreConfig{
			NumPartitions:     b.cfg.NumPartitions,
			ReplicationFactor: b.cfg.DefaultReplicationFactor,
			DeleteTopicEnable: b.cfg.DeleteTopicEnable,
			ReplicationMax:    1,
			SessionTimeout:    sessionTimeout,
		},
		ClusterID: b.clusterID(),
		Voters:    []metadata.Voter{{NodeID: b.cfg.NodeID, DirectoryID: b.metadataDirectory()}},
	}, controller.Deps{
		Quorum: proposals,
		Schema: config.NewSchema(b.current.Load),
		Logger: b.deps.Logger,
	})
	b.mover = replica.NewMover(b.table, b.store, b.deps.Logger)
	b.onStop(func(context.Context) error { b.mover.Stop(); return nil })
	b.coordinators = newCoordinators(b.cfg.NodeID, b.table, b.current.Load, b.metadata.Image, b.deps.Logger)
	b.onStop(func(context.Context) error { b.coordinators.groups.Stop(); return nil })
	b.metadata.followers = followers{configs: b, partitions: b.table, coordinators: b.coordinators, controller: b.controller}
	b.controller.Start()
	b.onStop(func(context.Context) error { b.controller.Stop(); return nil })

	node, err := quorum.Open(b.quorumConfig(), b.metadata, nil)
	if err != nil {
		return err
	}
	b.quorum = node
	proposals.node = node
	node.Start()
	b.onStop(func(context.Context) error { node.Stop(); return nil })
	b.watch.Go(func() {
		<-node.Done()
		if err := node.Err(); err != nil {
			b.fail(fmt.Errorf("metadata quorum: %w", err))
		}
	})
	return b.waitReady(ctx)
}

// waitReady returns once decisions are made, or why they never will be.
func (b *Broker) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-b.quorum.Done():
			cancel(b.quorum.Err())
		case <-ctx.Done():
		}
	}()
	if err := b.controller.WaitReady(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("the metadata quorum does not begin: %w", err)
	}
	return nil
}

// proposer lets the controller be made before the node that it proposes to.
type proposer struct{ node *quorum.Node }

func (p *proposer) Propose(epoch ids.LeaderEpoch, data []byte) error {
	return p.node.Propose(epoch, data)
}

// clusterID is the id for a cluster that begins with this node: that of the data it has
// already, such as partitions that Apache Kafka wrote, or a new one.
func (b *Broker) clusterID() string {
	if id := b.store.ClusterID(); id != "" {
		return id
	}
	return ids.NewUUID().String()
}

func (b *Broker) metadataDirectory() ids.DirectoryID {
	for _, d := range b.store.Dirs() {
		if d.Path == b.cfg.MetadataLogDir {
			return d.ID
		}
	}
	return ids.ZeroUUID
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

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// register makes the node a broker of the cluster, fenced.
func (b *Broker) register(ctx context.Context) error {
	b.lifecycle = &lifecycle{
		to:     b.controller,
		node:   b.cfg.NodeID,
		offset: func() ids.Offset { return b.metadata.Image().Offset },
		lost:   b.fail,
		logger: b.deps.Logger,
	}
	if err := b.lifecycle.register(ctx, b.registration()); err != nil {
		return err
	}
	if err := b.store.SetClusterID(b.metadata.Image().ClusterID()); err != nil {
		return err
	}
	return nil
}

// registration is what this process tells of itself.
func (b *Broker) registration() *kmsg.BrokerRegistrationRequest {
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.Version = req.MaxVersion()
	req.BrokerID = int32(b.cfg.NodeID)
	req.IncarnationID = ids.NewUUID()
	req.ClusterID = b.store.ClusterID()
	req.Rack = optional(b.cfg.Rack)
	for _, e := range b.endpoints() {
		req.Listeners = append(req.Listeners, kmsg.BrokerRegistrationRequestListener{Name: e.Listener, Host: e.Host, Port: e.Port, SecurityProtocol: e.Protocol})
	}
	for _, f := range metadata.SupportedFeatures() {
		req.Features = append(req.Features, kmsg.BrokerRegistrationRequestFeature{Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max})
	}
	for _, d := range b.store.Dirs() {
		req.LogDirs = append(req.LogDirs, d.ID)
	}
	if before, ok := b.metadata.Image().Broker(b.cfg.NodeID); ok && b.store.CleanShutdown() {
		req.PreviousBrokerEpoch = before.Epoch
	}
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

// settle begins the upkeep of the logs, once it is known which are in use, and goes on with what was being moved.
func (b *Broker) settle(context.Context) error {
	b.reportStrays()
	b.store.Start()
	b.mover.Resume()
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

// accept serves clients.
func (b *Broker) accept(context.Context) error {
	handlers := handler.New(handler.Deps{
		Node:            b.cfg.NodeID,
		Image:           b.metadata.Image,
		Partitions:      b.table,
		LogDirs:         b.store,
		MoveReplica:     b.mover.Move,
		Controller:      b.controller,
		LocalController: b.controller,
		Groups:          b.coordinators.groups,
		Quorum:          b.quorum.Status,
		Config:          b.current.Load,
		Logger:          b.deps.Logger,
	})
	limits := server.DefaultConfig()
	limits.RequestBytesMax = int(b.cfg.SocketRequestMaxBytes)
	limits.IdleMax = b.cfg.ConnectionsMaxIdle
	limits.ConnectionsMax = int(b.cfg.MaxConnections)
	limits.ConnectionsPerIPMax = int(b.cfg.MaxConnectionsPerIP)
	srv, err := server.New(limits, server.Deps{Handler: handlers, Logger: b.deps.Logger})
	if err != nil {
		return err
	}
	b.server = srv
	for i, l := range b.listeners {
		b.serve.Go(func() {
			if err := srv.Serve(l, b.cfg.Listeners[i].Name); err != nil {
				b.fail(fmt.Errorf("listener %s: %w", b.cfg.Listeners[i].Name, err))
			}
		})
	}
	stopCheckpoints := b.checkpointHighWatermarks()
	b.onStop(func(ctx context.Context) error {
		stopCheckpoints()
		b.coordinators.groups.Stop() // who waits for a rebalance is answered, or the server would wait with him
		err := srv.Stop(ctx)
		b.serve.Wait()
		handlers.Stop()
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
