package handler

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/log"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/server"
	"github.com/moldau/moldau/internal/vfs"
)

const (
	testNode     = ids.NodeID(4)
	testCluster  = "wzfeT1BvQ5C-sWlyGfvXRg"
	testListener = "PLAINTEXT"
	testHost     = "broker.test"
	testPort     = 9092
)

// broker is everything below the handlers, over files in memory as a rule, and a server above them.
type broker struct {
	t        testing.TB
	fs       *vfs.Fault // nil on the files of the operating system
	store    *log.Store
	table    *replica.Table
	mover    *replica.Mover
	handlers *Handlers
	srv      *server.Server
	listener *memListener
	image    atomic.Pointer[metadata.Image]
	config   *config.Broker
	quorum   quorumAt
	// controller answers what is passed on to the active controller; nil: nobody is known to be that.
	controller func(kmsg.Request) kmsg.Response

	// mu guards what changes the image.
	mu struct {
		sync.Mutex
		offset    ids.Offset
		requested []kmsg.CreateTopicsRequestTopic // of the controller
		nodes     []kmsg.Request                  // of other nodes
		logged    bytes.Buffer                    // by the server
	}
}

// quorumAt is a quorum as it is described.
type quorumAt struct{ quorum.Description }

func (q *quorumAt) Describe(context.Context) (quorum.Description, error) { return q.Description, nil }

func (b *broker) toController(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
	if b.controller == nil {
		return nil, kerr.NotController
	}
	return b.controller(req), nil
}

// startBroker starts a broker without topics. settings are NAME, VALUE pairs.
func startBroker(t testing.TB, settings ...string) *broker {
	t.Helper()
	return startBrokerOn(t, vfs.NewMem(), "/data", settings...)
}

// startBrokerOn starts a broker on a directory of a file system, or on several with colons between.
func startBrokerOn(t testing.TB, fs vfs.FS, dirs string, settings ...string) *broker {
	t.Helper()
	entries := []config.Entry{{Name: "node.id", Value: fmt.Sprint(testNode)}, {Name: "log.dirs", Value: strings.Join(filepath.SplitList(dirs), ",")}}
	for i := 0; i < len(settings); i += 2 {
		entries = append(entries, config.Entry{Name: settings[i], Value: settings[i+1]})
	}
	cfg, err := config.New(entries)
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{t: t, config: cfg, listener: newMemListener()}
	if _, memory := fs.(*vfs.Mem); memory {
		b.fs = vfs.NewFault(fs)
		fs = b.fs
	}
	b.image.Store(metadata.NewDelta(nil).Apply(0, 0))
	discard := slog.New(slog.DiscardHandler)
	b.store, err = log.OpenStore(log.StoreConfig{
		FS: fs, Dirs: filepath.SplitList(dirs), NodeID: testNode, ClusterID: testCluster, Logger: discard,
		Config: func(string) log.Config { return log.DefaultConfig() },
	})
	if err != nil {
		t.Fatal(err)
	}
	b.table = replica.NewTable(replica.Config{Node: testNode, Logs: b.store, Settings: b.settings, Logger: discard})
	b.apply(
		&metadata.ClusterRecord{ClusterID: testCluster, Voters: testVoters},
		&metadata.FeatureLevelRecord{Name: metadata.VersionFeature, FeatureLevel: metadata.LatestVersion},
		&metadata.RegisterBrokerRecord{
			BrokerID: testNode, IncarnationID: ids.NewUUID(), BrokerEpoch: metadata.EpochOfEntry,
			Endpoints: []metadata.Endpoint{{Listener: testListener, Host: testHost, Port: testPort}},
		})
	b.mover = replica.NewMover(b.table, b.store, discard)
	b.handlers = New(Deps{
		Node: testNode, Image: b.image.Load, Partitions: b.table, LogDirs: b.store, MoveReplica: b.mover.Move, Controller: b,
		LocalController: noController{}, Nodes: b, Counts: func() bool { return true }, Quorum: &b.quorum, ToController: b.toController, Config: func() *config.Broker { return b.config }, Logger: discard,
	})
	if b.srv, err = server.New(server.DefaultConfig(), server.Deps{Handler: b.handlers, Peers: b, Logger: slog.New(slog.NewTextHandler(b, nil))}); err != nil {
		t.Fatal(err)
	}
	go b.srv.Serve(b.listener, testListener)
	return b
}

// stop ends everything and checks that nobody holds anything.
func (b *broker) stop() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := b.srv.Stop(ctx); err != nil {
		b.t.Error(err)
	}
	b.handlers.Stop()
	b.mover.Stop()
	b.table.CloseAll(kerr.NotLeaderForPartition)
	if s := b.srv.Stats(); s.MemoryBytes != 0 {
		b.t.Errorf("left after the stop: %+v", s)
	}
	_ = b.store.Close() // a test may have made its disk fail
}

// settings is what the configs of a topic mean for its partitions.
func (b *broker) settings(img *metadata.Image, topic string) (log.Config, partition.Policy) {
	t := b.config.Topic(img.Config(metadata.ConfigResource{Type: metadata.ResourceTopic, Name: topic}))
	policy := partition.Policy{
		MinInSyncReplicas: t.MinISR(1), MaxMessageBytes: t.Log.MaxMessageBytes, SegmentBytes: t.Log.SegmentBytes,
		TimestampBeforeMaxMs: t.TimestampBeforeMaxMs, TimestampAfterMaxMs: t.TimestampAfterMaxMs,
		LogAppendTime: t.LogAppendTime, Recompress: t.Recompress, Codec: t.Codec, Level: t.Level,
	}
	switch t.AckDurability {
	case config.DurabilityFsync:
		policy.Durability = partition.DurabilityFsync
	case config.DurabilityOS:
		policy.Durability = partition.DurabilityOS
	}
	return t.Log, policy
}

// apply commits records as one entry of the metadata.
func (b *broker) apply(records ...metadata.Record) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	delta := metadata.NewDelta(b.image.Load())
	for _, r := range records {
		if err := delta.Replay(r); err != nil {
			b.t.Error(err)
			return
		}
	}
	b.mu.offset++
	img := delta.Apply(b.mu.offset, 1)
	b.table.Apply(delta, img)
	b.image.Store(img)
}

// leads is a partition that this broker leads alone.
func leads(id ids.TopicID, number int32, epoch ids.LeaderEpoch) *metadata.PartitionRecord {
	self := []ids.NodeID{testNode}
	return &metadata.PartitionRecord{TopicID: id, PartitionID: number, Partition: metadata.Partition{
		Replicas: self, ISR: self, Leader: testNode, LeaderEpoch: epoch, Directories: []ids.DirectoryID{metadata.UnassignedDirectory},
	}}
}

// create makes a topic. settings are NAME, VALUE pairs.
func (b *broker) create(name string, partitions int, settings ...string) ids.TopicID {
	b.t.Helper()
	id := ids.NewUUID()
	records := []metadata.Record{&metadata.TopicRecord{Name: name, TopicID: id}}
	for p := range partitions {
		records = append(records, leads(id, int32(p), 0))
	}
	for i := 0; i < len(settings); i += 2 {
		records = append(records, setting(name, settings[i], settings[i+1]))
	}
	b.apply(records...)
	return id
}

func setting(topic, name, value string) *metadata.ConfigRecord {
	return &metadata.ConfigRecord{Resource: metadata.ConfigResource{Type: metadata.ResourceTopic, Name: topic}, Name: name, Value: &value}
}

// newEpoch has this broker elected once more.
func (b *broker) newEpoch(id ids.TopicID, number int32) {
	b.t.Helper()
	b.apply(&metadata.PartitionChangeRecord{TopicID: id, PartitionID: number, Leader: testNode})
}

func (b *broker) partition(topic string, number int32) *partition.Partition {
	b.t.Helper()
	p, err := b.table.ByName([]byte(topic), number)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// CreateTopics makes the topics with one partition each: the broker is its own controller.
func (b *broker) CreateTopics(_ context.Context, req *kmsg.CreateTopicsRequest) *kmsg.CreateTopicsResponse {
	b.mu.Lock()
	b.mu.requested = append(b.mu.requested, req.Topics...)
	b.mu.Unlock()
	resp := kmsg.NewPtrCreateTopicsResponse()
	for i := range req.Topics {
		out := kmsg.NewCreateTopicsResponseTopic()
		out.Topic = req.Topics[i].Topic
		if _, exists := b.image.Load().Topic(out.Topic); exists {
			out.ErrorCode = kerr.TopicAlreadyExists.Code
		} else {
			out.TopicID = b.create(out.Topic, 1)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// requested returns the topics that the controller was asked to create.
func (b *broker) requested() []kmsg.CreateTopicsRequestTopic {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.requested
}

// untilTopic waits for a topic that is created behind an answer, and until no other is on its way.
func (b *broker) untilTopic(name string) {
	b.t.Helper()
	onTheWay := func() int {
		c := b.handlers.creator
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.mu.inFlight)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, ok := b.image.Load().Topic(name); ok && onTheWay() == 0 {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("topic %s is not created", name)
		}
	}
}

// DeleteTopics deletes by name.
func (b *broker) DeleteTopics(_ context.Context, req *kmsg.DeleteTopicsRequest) *kmsg.DeleteTopicsResponse {
	resp := kmsg.NewPtrDeleteTopicsResponse()
	names := req.TopicNames // below version 6
	for i := range req.Topics {
		names = append(names, *req.Topics[i].Topic)
	}
	for i := range names {
		out := kmsg.NewDeleteTopicsResponseTopic()
		out.Topic = &names[i]
		if t, ok := b.image.Load().Topic(*out.Topic); ok {
			b.apply(&metadata.RemoveTopicRecord{TopicID: t.ID})
		} else {
			out.ErrorCode = kerr.UnknownTopicOrPartition.Code
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// CreatePartitions answers for no topic.
func (b *broker) CreatePartitions(context.Context, *kmsg.CreatePartitionsRequest) *kmsg.CreatePartitionsResponse {
	return kmsg.NewPtrCreatePartitionsResponse()
}

// IncrementalAlterConfigs answers with the node that it was asked by as the resource's name.
func (b *broker) IncrementalAlterConfigs(_ context.Context, node ids.NodeID, _ *kmsg.IncrementalAlterConfigsRequest) *kmsg.IncrementalAlterConfigsResponse {
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	out := kmsg.NewIncrementalAlterConfigsResponseResource()
	out.ResourceName = fmt.Sprint(node)
	resp.Resources = append(resp.Resources, out)
	return resp
}

// AlterConfigs answers with the node that it was asked by as the resource's name.
func (b *broker) AlterConfigs(_ context.Context, node ids.NodeID, _ *kmsg.AlterConfigsRequest) *kmsg.AlterConfigsResponse {
	resp := kmsg.NewPtrAlterConfigsResponse()
	out := kmsg.NewAlterConfigsResponseResource()
	out.ResourceName = fmt.Sprint(node)
	resp.Resources = append(resp.Resources, out)
	return resp
}

// ElectLeaders answers with a topic that is called like the election's type.
func (b *broker) ElectLeaders(_ context.Context, req *kmsg.ElectLeadersRequest) *kmsg.ElectLeadersResponse {
	resp := kmsg.NewPtrElectLeadersResponse()
	out := kmsg.NewElectLeadersResponseTopic()
	out.Topic = fmt.Sprint(req.ElectionType)
	resp.Topics = append(resp.Topics, out)
	return resp
}

// AlterPartitionReassignments tells whether the replication factor may change.
func (b *broker) AlterPartitionReassignments(_ context.Context, req *kmsg.AlterPartitionAssignmentsRequest) *kmsg.AlterPartitionAssignmentsResponse {
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	return resp
}

// UpdateFeatures answers for the features asked for, with what else the request says.
func (b *broker) UpdateFeatures(_ context.Context, req *kmsg.UpdateFeaturesRequest) *kmsg.UpdateFeaturesResponse {
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	text := fmt.Sprintf("validate only %v", req.ValidateOnly)
	resp.ErrorMessage = &text
	for _, u := range req.FeatureUpdates {
		out := kmsg.NewUpdateFeaturesResponseResult()
		out.Feature, out.ErrorCode = u.Feature, int16(u.UpgradeType)
		resp.Results = append(resp.Results, out)
	}
	return resp
}

// UnregisterBroker knows no broker.
func (b *broker) UnregisterBroker(_ context.Context, req *kmsg.UnregisterBrokerRequest) *kmsg.UnregisterBrokerResponse {
	resp := kmsg.NewPtrUnregisterBrokerResponse()
	text := fmt.Sprintf("broker %d", req.BrokerID)
	resp.ErrorCode, resp.ErrorMessage = kerr.BrokerIDNotRegistered.Code, &text
	return resp
}

const producerIDBlock = 3

// AllocateProducerIDs hands out blocks of three.
func (b *broker) AllocateProducerIDs(_ context.Context, node ids.NodeID, epoch int64) (ids.ProducerID, int32, error) {
	first := b.image.Load().NextProducerID()
	b.apply(&metadata.ProducerIdsRecord{BrokerID: node, BrokerEpoch: epoch, NextProducerID: first + producerIDBlock})
	return first, producerIDBlock, nil
}

// memListener is a listener within the process.
type memListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemListener() *memListener {
	return &memListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memListener) Addr() net.Addr { return &net.TCPAddr{} }

// client is one connection.
type client struct {
	t         testing.TB
	conn      net.Conn
	id        string
	next      int32 // correlation id of the next request
	read      int32 // and of the next answer
	sentBytes int   // of the last request, with its length
}

func (b *broker) dial() *client {
	near, far := net.Pipe()
	b.listener.conns <- far
	return &client{t: b.t, conn: near, id: "test"}
}

func (c *client) close() { c.conn.Close() }

// send writes a request in its version.
func (c *client) send(req kmsg.Request) {
	c.t.Helper()
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID(c.id)).AppendRequest(nil, req, c.next)
	c.next++
	c.sentBytes = len(frame)
	if _, err := c.conn.Write(frame); err != nil {
		c.t.Errorf("send %T: %v", req, err)
	}
}

// receive reads the next answer, which is one to req.
func (c *client) receive(req kmsg.Request) (kmsg.Response, error) {
	c.t.Helper()
	var length [4]byte
	if _, err := io.ReadFull(c.conn, length[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(length[:]))
	if _, err := io.ReadFull(c.conn, frame); err != nil {
		return nil, err
	}
	if id := int32(binary.BigEndian.Uint32(frame)); id != c.read {
		c.t.Errorf("answer %d, want that to request %d", id, c.read)
	}
	c.read++
	frame = frame[4:]
	if req.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
		frame = frame[1:]
	}
	resp := req.ResponseKind()
	if err := resp.ReadFrom(frame); err != nil {
		c.t.Errorf("answer to %T v%d cannot be decoded: %v", req, req.GetVersion(), err)
	}
	return resp, nil
}

// ask sends a request and returns its answer.
func ask[R kmsg.Response](c *client, req kmsg.Request) R {
	c.t.Helper()
	c.send(req)
	return answer[R](c, req)
}

// answer reads the answer to a request that was sent.
func answer[R kmsg.Response](c *client, req kmsg.Request) R {
	c.t.Helper()
	resp, err := c.receive(req)
	if err != nil {
		c.t.Fatalf("no answer to %T v%d: %v", req, req.GetVersion(), err)
	}
	return resp.(R)
}

// wantClosed checks that the connection ends without another answer.
func (c *client) wantClosed() {
	c.t.Helper()
	if n, err := c.conn.Read(make([]byte, 1)); n != 0 || err == nil {
		c.t.Errorf("%d bytes, %v; want the connection closed", n, err)
	}
}

// wantCode checks an error code.
func wantCode(t testing.TB, what string, got int16, want *kerr.Error) {
	t.Helper()
	code := int16(0)
	if want != nil {
		code = want.Code
	}
	if got != code {
		t.Errorf("%s: error %d (%v), want %d (%v)", what, got, kerr.ErrorForCode(got), code, kerr.ErrorForCode(code))
	}
}

// applyTopic makes a topic of the partitions given.
func (b *broker) applyTopic(name string, id ids.TopicID, partitions ...*metadata.PartitionRecord) {
	b.t.Helper()
	records := []metadata.Record{&metadata.TopicRecord{Name: name, TopicID: id}}
	for _, p := range partitions {
		records = append(records, p)
	}
	b.apply(records...)
}
