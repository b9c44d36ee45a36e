package broker

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// split is a cluster of controllers and brokers that are nodes of their own: controllers have the ids 1 and up, brokers 11 and up.
type split struct {
	t           *testing.T
	controllers int
	nodes       map[int]*splitNode
	settings    []string // of every node, NAME=VALUE
}

type splitNode struct {
	address string
	disk    *vfs.Mem
	*Broker // nil while it does not run
}

func newSplit(t *testing.T, controllers int, settings ...string) *split {
	t.Helper()
	s := &split{t: t, controllers: controllers, nodes: make(map[int]*splitNode), settings: settings}
	for id := 1; id <= controllers; id++ {
		s.node(id)
	}
	t.Cleanup(func() {
		for id, n := range s.nodes { // brokers first: they hand over to nobody otherwise
			if n.Broker != nil && id > 10 {
				s.stop(id)
			}
		}
		for id, n := range s.nodes {
			if n.Broker != nil {
				s.stop(id)
			}
		}
	})
	return s
}

func (s *split) node(id int) *splitNode {
	s.t.Helper()
	if s.nodes[id] == nil {
		s.nodes[id] = &splitNode{address: freeAddress(s.t), disk: vfs.NewMem()}
	}
	return s.nodes[id]
}

// properties are those of a node. Brokers find lone controllers by their addresses alone.
func (s *split) properties(id int) []string {
	var voters, addresses []string
	for c := 1; c <= s.controllers; c++ {
		voters = append(voters, fmt.Sprintf("%d@%s", c, s.nodes[c].address))
		addresses = append(addresses, s.nodes[c].address)
	}
	lines := []string{fmt.Sprintf("node.id=%d", id), "controller.listener.names=CONTROLLER", "log.dirs=/data", "controller.quorum.voters=" + strings.Join(voters, ",")}
	switch {
	case id <= s.controllers:
		return append(lines, "process.roles=controller", "listeners=CONTROLLER://"+s.node(id).address)
	case s.controllers == 1:
		lines[3] = "controller.quorum.bootstrap.servers=" + strings.Join(addresses, ",")
	}
	return append(lines, "process.roles=broker", "listeners=PLAINTEXT://"+s.node(id).address)
}

// make makes a node that is not started.
func (s *split) make(id int) *Broker {
	s.t.Helper()
	var entries []config.Entry
	for _, line := range append(s.properties(id), s.settings...) {
		name, value, _ := strings.Cut(line, "=")
		entries = append(entries, config.Entry{Name: name, Value: value, Where: "test"})
	}
	cfg, err := config.New(entries)
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := New(cfg, Deps{FS: s.node(id).disk, Listen: net.Listen, Dial: new(net.Dialer).DialContext, Logger: slog.New(slog.NewTextHandler(s.t.Output(), nil)).With("node", id)})
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// start starts nodes at the same time and returns once all are there.
func (s *split) start(nodes ...int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	errs := make(chan error, len(nodes))
	for _, id := range nodes {
		b := s.make(id)
		s.nodes[id].Broker = b
		go func() { errs <- b.Start(ctx) }()
	}
	for range nodes {
		if err := <-errs; err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *split) stop(id int) {
	s.t.Helper()
	if err := s.nodes[id].Stop(context.Background()); err != nil {
		s.t.Errorf("node %d: %v", id, err)
	}
	s.nodes[id].Broker = nil
}

// client is a client that knows one broker only.
func (s *split) client(id int, opts ...kgo.Opt) *kgo.Client {
	s.t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(s.nodes[id].address))...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(cl.Close)
	return cl
}

// sees waits until a broker tells clients of just these brokers.
func (s *split) sees(id int, want ...int32) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var seen []int32
		for b := range s.nodes[id].metadata.Image().Brokers() {
			if !b.Fenced {
				seen = append(seen, int32(b.ID))
			}
		}
		slices.Sort(seen)
		if slices.Equal(seen, want) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("node %d sees the brokers %v, want %v", id, seen, want)
		}
	}
}

// create creates a topic through a broker.
func (s *split) create(id int, topic string, partitions int32, replicas int16) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 40*time.Second)
	defer cancel()
	if _, err := kadm.NewClient(s.client(id)).CreateTopic(ctx, partitions, replicas, nil, topic); err != nil {
		s.t.Fatalf("topic %s through broker %d: %v", topic, id, err)
	}
}

// write writes a record to each partition of a topic and reads all that there are, of which there have to be so many.
func (s *split) write(id int, topic string, partitions int32, records int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 40*time.Second)
	defer cancel()
	cl := s.client(id, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for p := range partitions {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: p, Value: []byte("hello")}).FirstErr(); err != nil {
			s.t.Fatalf("partition %d of %s through broker %d: %v", p, topic, id, err)
		}
	}
	for n := 0; n < records; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			s.t.Fatalf("%d of %d records of %s: %v", n, records, topic, err)
		}
		n += fetches.NumRecords()
	}
}

// Three controllers and three brokers, and a fourth broker that comes and goes: controllers are no brokers, nothing is placed on
// them, and brokers take any request of an administrator.
func TestRolesApart(t *testing.T) {
	s := newSplit(t, 3)
	s.start(11, 3, 1, 12, 2, 13)
	for _, id := range []int{1, 2, 3, 11, 12, 13} {
		s.sees(id, 11, 12, 13)
	}
	for i, id := range []int{11, 12, 13} {
		topic := fmt.Sprint("through-", id)
		s.create(id, topic, 6, 3)
		s.write(11+(i+1)%3, topic, 6, 6)
	}
	s.start(24)
	s.sees(11, 11, 12, 13, 24)
	s.create(24, "on-four", 4, 4)
	s.write(12, "on-four", 4, 4)
	s.stop(24)
	s.sees(12, 11, 12, 13)
	s.write(12, "on-four", 4, 8)
	cluster := s.nodes[1].metadata.Image().ClusterID()
	for id, n := range s.nodes {
		if n.Broker == nil {
			continue
		}
		if got := n.store.ClusterID(); got != cluster || cluster == "" {
			t.Errorf("node %d is of cluster %q, others of %q", id, got, cluster)
		}
		if _, known := n.metadata.Image().Broker(ids.NodeID(id)); known != (id > 10) {
			t.Errorf("node %d is registered as a broker: %v", id, known)
		}
		if (n.table != nil) != (id > 10) || (n.coordinators != nil) != (id > 10) {
			t.Errorf("node %d has partitions: %v", id, n.table != nil)
		}
	}
}

// What clients are told of roles: brokers alone are brokers, any of them is named as the controller, and the quorum's members
// are its voters, with the brokers as observers.
func TestRolesAreDescribed(t *testing.T) {
	s := newSplit(t, 3)
	s.start(1, 2, 3, 11, 12)
	s.sees(11, 11, 12)
	cl := s.client(12)
	resp, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(t.Context(), cl)
	if err != nil || len(resp.Brokers) != 2 || resp.ControllerID < 11 {
		t.Fatalf("%+v, %v", resp, err)
	}
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
	quorum, err := req.RequestWith(t.Context(), cl)
	if err != nil || quorum.ErrorCode != 0 || len(quorum.Topics) != 1 || len(quorum.Nodes) != 3 {
		t.Fatalf("%+v, %v", quorum, err)
	}
	p := quorum.Topics[0].Partitions[0]
	if p.LeaderID < 1 || p.LeaderID > 3 || len(p.CurrentVoters) != 3 || len(p.Observers) != 2 || p.Observers[0].ReplicaID != 11 || p.Observers[1].ReplicaID != 12 {
		t.Errorf("%+v", p)
	}
	for _, o := range p.Observers {
		if o.LogEndOffset <= 0 || time.Since(time.UnixMilli(o.LastFetchTimestamp)) > 10*time.Second || ids.DirectoryID(o.ReplicaDirectoryID) != s.nodes[int(o.ReplicaID)].store.MetadataDirectory() {
			t.Errorf("%+v", o)
		}
	}
}

// A lone controller, which brokers know by its address alone, and two brokers: each is stopped and comes back, on the disk that it
// had, and nothing is lost.
func TestLoneControllerOfTwoBrokers(t *testing.T) {
	s := newSplit(t, 1, "metadata.log.max.record.bytes.between.snapshots=2000")
	s.start(11, 12, 1)
	s.sees(12, 11, 12)
	s.create(11, "t", 4, 2)
	records := 4
	s.write(12, "t", 4, records)
	for n, id := range []int{1, 11, 12, 1} {
		s.stop(id)
		if id > 10 {
			other := 23 - id
			s.sees(other, int32(other))
			for i := range 30 { // more than a snapshot's worth
				s.create(other, fmt.Sprintf("away-%d-%d", n, i), 1, 1)
			}
		}
		s.start(id)
		s.sees(11, 11, 12)
		s.sees(12, 11, 12)
		records += 4
		s.write(11+n%2, "t", 4, records)
		s.create(11+n%2, fmt.Sprint("after-", n), 2, 2)
		s.write(12-n%2, fmt.Sprint("after-", n), 2, 2)
	}
}

// The listener of a controller answers nodes, about what controllers decide: anything else ends the connection, and nothing more.
func TestControllerListenerServesControllers(t *testing.T) {
	s := newSplit(t, 1)
	s.start(1, 11)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ask := func(req kmsg.Request) (kmsg.Response, error) { return s.nodes[11].nodes.requests.Request(ctx, 1, req) }
	fetch := kmsg.NewPtrFetchRequest()
	fetch.Version = 17
	fetch.Topics = []kmsg.FetchRequestTopic{{TopicID: [16]byte{9}, Partitions: []kmsg.FetchRequestTopicPartition{{}}}}
	for key := range int16(kmsg.MaxKey + 1) {
		req := kmsg.RequestForKey(key)
		if req == nil || key == int16(kmsg.ApiVersions) {
			continue
		}
		switch kmsg.Key(key) {
		case kmsg.Produce, kmsg.ListOffsets, kmsg.Metadata, kmsg.OffsetCommit, kmsg.FindCoordinator, kmsg.JoinGroup, kmsg.DescribeLogDirs, kmsg.AlterReplicaLogDirs, kmsg.DescribeProducers:
			req.SetVersion(req.MaxVersion())
		case kmsg.Fetch:
			req = fetch // as replica -1, which is another's name
		default:
			continue
		}
		if resp, err := ask(req); err == nil {
			t.Errorf("%s is answered: %+v", kmsg.NameForKey(key), resp)
		}
	}
	fetch.ReplicaState.ID = 11
	if resp, err := ask(fetch); err != nil || resp.(*kmsg.FetchResponse).ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("a fetch of another topic: %+v, %v", resp, err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.nodes[1].address))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	asking, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	if err := cl.Ping(asking); err == nil {
		t.Error("a client is served")
	}
	s.create(11, "afterwards", 1, 1)
}

// Another controller decides when the active one ends, brokers follow it and stay unfenced.
func TestControllersFailOver(t *testing.T) {
	s := newSplit(t, 3)
	s.start(1, 2, 3, 11, 12)
	s.sees(11, 11, 12)
	epoch := s.nodes[11].metadata.epoch.Load()
	for n := range 3 {
		leader := int(s.nodes[11].quorum.Status().Leader)
		s.stop(leader)
		s.create(11, fmt.Sprint("without-", n), 2, 2)
		s.write(12, fmt.Sprint("without-", n), 2, 2)
		s.start(leader)
	}
	s.sees(12, 11, 12)
	if now := s.nodes[11].metadata.epoch.Load(); now != epoch {
		t.Errorf("broker 11 had to register again: epoch %d, before %d", now, epoch)
	}
}

// A broker whose process ends without a word is fenced at once, although it has no listener of controllers to be asked at.
func TestLostBrokerIsFenced(t *testing.T) {
	s := newSplit(t, 1, "broker.session.timeout.ms=60000", "broker.heartbeat.interval.ms=200")
	s.start(1, 11, 12)
	s.sees(12, 11, 12)
	lost := s.nodes[11].Broker
	for _, l := range lost.listeners { // as the end of its process does: what it listens on is closed, and its connections
		l.Close()
	}
	lost.lifecycle.stop()
	lost.nodes.close()
	s.sees(12, 12)
	lost.quorum.Stop()
}

// The controllers of one cluster do not take in a broker with the disk of another.
func TestBrokerOfAnotherCluster(t *testing.T) {
	one, other := newSplit(t, 1), newSplit(t, 1)
	one.start(1, 11)
	other.start(1)
	one.stop(11)
	// The broker's disk of one cluster, and the controllers of another.
	other.node(11).disk = one.nodes[11].disk
	b := other.make(11)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := b.Start(ctx); err == nil {
		t.Error("a broker of another cluster was taken in")
		_ = b.Stop(t.Context())
	}
	if got := other.nodes[1].metadata.Image(); got.ClusterID() == one.nodes[1].metadata.Image().ClusterID() {
		t.Error("two clusters have one id")
	} else if _, known := got.Broker(11); known {
		t.Error("the broker is registered")
	}
}

// A broker counts as gone where connections to it are refused. Where the network may be why there is none, only a controller, which
// has to be reached there, does.
func TestProbe(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	lost := &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
	for _, c := range []struct {
		what     string
		errs     []error // of attempts; the last for ever; nil: the node is there
		filtered bool
		gone     bool
	}{
		{"a controller that is not there", []error{refused}, false, true},
		{"a controller that is not reached", []error{lost}, false, true},
		{"a broker that is not there", []error{refused}, true, true},
		{"a broker that is not reached", []error{lost}, true, false},
		{"a broker that is slow to come back", []error{refused, refused, nil}, true, false},
		{"a broker that is there", []error{nil}, true, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := &nodes{dialer: func(context.Context, string, string) (net.Conn, error) {
				err := c.errs[0]
				if len(c.errs) > 1 {
					c.errs = c.errs[1:]
				}
				if err != nil {
					return nil, err
				}
				conn, other := net.Pipe()
				t.Cleanup(func() { other.Close() })
				return conn, nil
			}}
			n.probes.ctx, n.probes.cancel = context.WithCancel(t.Context())
			gone := false
			n.probe("broker:9092", c.filtered, func() { gone = true })
			n.probes.Wait()
			n.probes.cancel()
			if gone != c.gone {
				t.Errorf("%s: gone %v, want %v", c.what, gone, c.gone)
			}
		})
	}
}
