package broker

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

// cluster is three nodes on the loopback interface, each with a disk that outlives it.
type cluster struct {
	t       *testing.T
	clients [3]string // addresses of the listeners for clients
	voters  string    // controller.quorum.voters
	control [3]string
	disks   [3]*vfs.Mem
	faults  [3]*vfs.Fault // over disks, where a test has a disk fail; else nil
	nodes   [3]*Broker    // nil while it does not run
	// settings are those of every node, NAME, VALUE pairs.
	settings []string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t}
	var voters []string
	for i := range c.nodes {
		c.clients[i], c.control[i], c.disks[i] = freeAddress(t), freeAddress(t), vfs.NewMem()
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, c.control[i]))
	}
	c.voters = strings.Join(voters, ",")
	t.Cleanup(c.stopAll)
	return c
}

// freeAddress returns an address whose port the system gives to nobody who dials: a node that is dialled
// again after its end must not be found to be its dialer.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// broker makes node i, with settings over those that it has by itself.
func (c *cluster) broker(i int, settings ...string) *Broker {
	c.t.Helper()
	set := map[string]string{
		"node.id": fmt.Sprint(i + 1), "process.roles": "broker,controller", "log.dirs": "/data",
		"controller.quorum.voters": c.voters, "controller.listener.names": "CONTROLLER",
		"listeners":                      "PLAINTEXT://" + c.clients[i] + ",CONTROLLER://" + c.control[i],
		"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
	}
	settings = append(slices.Clone(c.settings), settings...)
	for j := 0; j < len(settings); j += 2 {
		set[settings[j]] = settings[j+1]
	}
	var entries []config.Entry
	for name, value := range set {
		entries = append(entries, config.Entry{Name: name, Value: value, Where: "test"})
	}
	cfg, err := config.New(entries, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	var disk vfs.FS = c.disks[i]
	if c.faults[i] != nil {
		disk = c.faults[i]
	}
	b, err := New(cfg, Deps{FS: disk, Listen: net.Listen, Dial: new(net.Dialer).DialContext, Logger: slog.New(slog.NewTextHandler(c.t.Output(), nil)).With("node", i+1)})
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// start starts nodes at the same time and returns once all serve clients.
func (c *cluster) start(nodes ...int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	errs := make(chan error, len(nodes))
	for _, i := range nodes {
		c.nodes[i] = c.broker(i)
		go func() { errs <- c.nodes[i].Start(ctx) }()
	}
	for range nodes {
		if err := <-errs; err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *cluster) stop(i int) {
	c.t.Helper()
	if err := c.nodes[i].Stop(context.Background()); err != nil {
		c.t.Errorf("node %d: %v", i+1, err)
	}
	c.nodes[i] = nil
}

func (c *cluster) stopAll() {
	for i, b := range c.nodes {
		if b != nil {
			c.stop(i)
		}
	}
}

// client is a client that knows one node only.
func (c *cluster) client(i int, opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(c.clients[i]))...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(cl.Close)
	return cl
}

// leading waits until one of the nodes that run is the active controller, as each of them sees it.
func (c *cluster) leading() int {
	c.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		seen := map[ids.NodeID]bool{}
		for _, b := range c.nodes {
			if b != nil {
				seen[b.quorum.Status().Leader] = true
			}
		}
		for leader := range seen {
			if len(seen) == 1 && leader != ids.NoNode && c.nodes[leader-1] != nil {
				return int(leader - 1)
			}
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("the nodes see %v lead", seen)
		}
	}
}

// unfenced waits until node i sees just these brokers at work.
func (c *cluster) unfenced(i int, want ...int32) {
	c.t.Helper()
	cl := c.client(i)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var seen []int32
		for _, b := range c.metadata(cl, "").Brokers {
			seen = append(seen, b.NodeID)
		}
		slices.Sort(seen)
		if slices.Equal(seen, want) {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("node %d sees the brokers %v, want %v", i+1, seen, want)
		}
	}
}

// Three nodes with nothing on their disks become one cluster; topics are created through each of them, and each finds what
// it has created. Their partitions are spread, and clients find all of them wherever they begin.
func TestThreeNodesFormACluster(t *testing.T) {
	c := newCluster(t)
	c.start(2, 0, 1)
	c.unfenced(0, 1, 2, 3)
	id := c.nodes[0].metadata.Image().ClusterID()
	for i := range c.nodes {
		if got := c.nodes[i].store.ClusterID(); got != id || id == "" {
			t.Errorf("node %d has cluster id %q on its disk, the cluster is %q", i+1, got, id)
		}
		topic := fmt.Sprintf("through-%d", i+1)
		cl := c.client(i, kgo.RecordPartitioner(kgo.ManualPartitioner()))
		admin := kadm.NewClient(cl)
		if _, err := admin.CreateTopic(t.Context(), 6, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
		led := c.leaders(cl, topic) // whoever has created a topic finds it there at once
		if len(led) != 3 || led[1] != 2 || led[2] != 2 {
			t.Errorf("six partitions are led by %v", led)
		}
		for p := range int32(6) {
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: p, Value: []byte("hello")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	reader := c.client(1, kgo.ConsumeTopics("through-1", "through-2", "through-3"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for n := 0; n < 18; {
		fetches := reader.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		n += fetches.NumRecords()
	}
}

// metadata asks the node of a client, and no other, once for a topic, or for none.
func (c *cluster) metadata(cl *kgo.Client, topic string) *kmsg.MetadataResponse {
	c.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	if topic != "" {
		asked := kmsg.NewMetadataRequestTopic()
		asked.Topic = &topic
		req.Topics = append(req.Topics, asked)
	}
	resp, err := cl.SeedBrokers()[0].Request(c.t.Context(), req)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.(*kmsg.MetadataResponse)
}

// leaders returns how many partitions of a topic each broker leads, as the node of a client sees it.
func (c *cluster) leaders(cl *kgo.Client, topic string) map[int32]int {
	c.t.Helper()
	led := map[int32]int{}
	for _, p := range c.metadata(cl, topic).Topics[0].Partitions {
		led[p.Leader]++
	}
	return led
}

// Another node decides once the active controller has ended, and what was decided before is known to it.
func TestControllerFailsOver(t *testing.T) {
	c := newCluster(t)
	c.start(0, 1, 2)
	for n := range 3 {
		ended := c.leading()
		c.stop(ended)
		other := (ended + 1) % 3
		c.leading()
		admin := kadm.NewClient(c.client(other))
		topic := fmt.Sprintf("t%d", n)
		if _, err := admin.CreateTopic(t.Context(), 2, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
		c.start(ended)
		c.unfenced(ended, 1, 2, 3)
		for back, m := c.client(ended), 0; m <= n; m++ {
			if led := c.leaders(back, fmt.Sprintf("t%d", m)); len(led) != 2 {
				t.Fatalf("after its %d. return node %d sees the leaders %v of t%d", n, ended+1, led, m)
			}
		}
	}
}

// A node whose disk was emptied joins again as a new member and broker, and has a vote once more.
func TestEmptiedNodeJoinsAgain(t *testing.T) {
	c := newCluster(t)
	c.start(0, 1, 2)
	if _, err := kadm.NewClient(c.client(0)).CreateTopic(t.Context(), 2, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	c.stop(1)
	c.disks[1] = vfs.NewMem()
	c.start(1)
	c.unfenced(1, 1, 2, 3)
	for deadline := time.Now().Add(30 * time.Second); c.nodes[1].quorum.Status().Leader == ids.NoNode || !c.votes(1); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the new directory has no vote")
		}
	}
	// It is needed for a majority now.
	c.stop(0)
	c.leading()
	if _, err := kadm.NewClient(c.client(2)).CreateTopic(t.Context(), 1, 1, nil, "u"); err != nil {
		t.Fatal(err)
	}
}

// votes tells whether the leader counts the directory that node i has now.
func (c *cluster) votes(i int) bool {
	d, err := c.nodes[c.leading()].quorum.Describe(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	for _, v := range d.Voters {
		if v.Node == ids.NodeID(i+1) && v.Directory == c.nodes[i].store.MetadataDirectory() {
			return true
		}
	}
	return false
}
