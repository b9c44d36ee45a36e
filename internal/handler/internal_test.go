package handler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/peer"
)

const otherNode = ids.NodeID(7)

// noController is what must not be asked: every method panics.
type noController struct{ Controller }

func nodeLocal(node ids.NodeID) peer.Local {
	return peer.Local{Identity: peer.Identity{Cluster: testCluster, Node: node, Epoch: -1}}
}

// Admit admits every node.
func (b *broker) Admit(nc net.Conn, _ string, hello []byte) (peer.Identity, bool, error) {
	from, _, err := peer.Accept(nc, hello, nodeLocal(testNode), nil)
	return from, false, err
}

// Write takes the server's log.
func (b *broker) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.logged.Write(p)
}

// wantLogged checks that the server, which is stopped, has said why it closed a connection.
func (b *broker) wantLogged(format string, args ...any) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if text := fmt.Sprintf(format, args...); !strings.Contains(b.mu.logged.String(), text) {
		b.t.Errorf("not logged: %s", text)
	}
}

// dialAsNode connects as another node.
func (b *broker) dialAsNode() *client {
	b.t.Helper()
	c := b.dial()
	if _, err := peer.Dial(c.conn, nodeLocal(otherNode), testNode, peer.ChannelBroker); err != nil {
		b.t.Fatal(err)
	}
	return c
}

func (b *broker) asked(req kmsg.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.nodes = append(b.mu.nodes, req)
}

// BrokerRegistration answers with the epoch after the one before.
func (b *broker) BrokerRegistration(_ context.Context, req *kmsg.BrokerRegistrationRequest) *kmsg.BrokerRegistrationResponse {
	b.asked(req)
	resp := kmsg.NewPtrBrokerRegistrationResponse()
	resp.BrokerEpoch = req.PreviousBrokerEpoch + 1
	return resp
}

// BrokerHeartbeat fences as the broker wants.
func (b *broker) BrokerHeartbeat(_ context.Context, req *kmsg.BrokerHeartbeatRequest) *kmsg.BrokerHeartbeatResponse {
	b.asked(req)
	resp := kmsg.NewPtrBrokerHeartbeatResponse()
	resp.IsFenced = req.WantFence
	return resp
}

// AlterPartition refuses.
func (b *broker) AlterPartition(_ context.Context, req *kmsg.AlterPartitionRequest) *kmsg.AlterPartitionResponse {
	b.asked(req)
	resp := kmsg.NewPtrAlterPartitionResponse()
	resp.ErrorCode = kerr.NotController.Code
	return resp
}

// AssignReplicasToDirs refuses.
func (b *broker) AssignReplicasToDirs(_ context.Context, req *kmsg.AssignReplicasToDirsRequest) *kmsg.AssignReplicasToDirsResponse {
	b.asked(req)
	resp := kmsg.NewPtrAssignReplicasToDirsResponse()
	resp.ErrorCode = kerr.NotController.Code
	return resp
}

// internalRequests are the requests that nodes ask of each other, of one broker.
func internalRequests(broker ids.NodeID) []kmsg.Request {
	registration := kmsg.NewPtrBrokerRegistrationRequest()
	registration.Version, registration.BrokerID, registration.ClusterID, registration.PreviousBrokerEpoch = 4, int32(broker), testCluster, 11
	registration.IncarnationID = ids.NewUUID()
	registration.LogDirs = [][16]byte{ids.NewUUID()}
	heartbeat := kmsg.NewPtrBrokerHeartbeatRequest()
	heartbeat.Version, heartbeat.BrokerID, heartbeat.BrokerEpoch, heartbeat.WantFence = 1, int32(broker), 12, true
	alter := kmsg.NewPtrAlterPartitionRequest()
	alter.Version, alter.BrokerID, alter.BrokerEpoch = 3, int32(broker), 12
	alter.Topics = []kmsg.AlterPartitionRequestTopic{{TopicID: ids.NewUUID(), Partitions: []kmsg.AlterPartitionRequestTopicPartition{{
		Partition: 3, LeaderEpoch: 4, NewEpochISR: []kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{{BrokerID: 7, BrokerEpoch: 12}},
	}}}}
	allocate := kmsg.NewPtrAllocateProducerIDsRequest()
	allocate.BrokerID, allocate.BrokerEpoch = int32(broker), 12
	assign := kmsg.NewPtrAssignReplicasToDirsRequest()
	assign.BrokerID, assign.BrokerEpoch = int32(broker), 12
	assign.Directories = []kmsg.AssignReplicasToDirsRequestDirectory{{ID: ids.NewUUID(), Topics: []kmsg.AssignReplicasToDirsRequestDirectoryTopic{{
		TopicID: ids.NewUUID(), Partitions: []kmsg.AssignReplicasToDirsRequestDirectoryTopicPartition{{Partition: 3}},
	}}}}
	return []kmsg.Request{registration, heartbeat, alter, allocate, assign}
}

// Another node's requests reach the controller of this one as they were sent.
func TestInternalAPIs(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.handlers.LocalController, b.handlers.Controller = b, noController{}
	c := b.dialAsNode()
	defer c.close()
	reqs := internalRequests(otherNode)
	if got := ask[*kmsg.BrokerRegistrationResponse](c, reqs[0]); got.BrokerEpoch != 12 {
		t.Errorf("%+v", got)
	}
	if got := ask[*kmsg.BrokerHeartbeatResponse](c, reqs[1]); !got.IsFenced {
		t.Errorf("%+v", got)
	}
	wantCode(t, "AlterPartition", ask[*kmsg.AlterPartitionResponse](c, reqs[2]).ErrorCode, kerr.NotController)
	for i, req := range reqs[:3] {
		if got := b.mu.nodes[i]; !reflect.DeepEqual(got, req) {
			t.Errorf("%+v has arrived as %+v", req, got)
		}
	}
	first := b.image.Load().NextProducerID()
	got := ask[*kmsg.AllocateProducerIDsResponse](c, reqs[3])
	if got.ErrorCode != 0 || got.ProducerIDStart != int64(first) || got.ProducerIDLen != producerIDBlock {
		t.Errorf("%+v", got)
	}
	b.handlers.LocalController = refusing{}
	got = ask[*kmsg.AllocateProducerIDsResponse](c, reqs[3])
	wantCode(t, "AllocateProducerIDs", got.ErrorCode, kerr.StaleBrokerEpoch)
	if got.ProducerIDLen != 0 {
		t.Errorf("%+v", got)
	}
}

// The client that nodes have and the server of a node understand each other.
func TestInternalAPIsThroughAClient(t *testing.T) {
	b := startBroker(t)
	b.handlers.LocalController, b.handlers.Controller = b, noController{}
	c := peer.NewClient(peer.ClientConfig{
		Local: func() peer.Local { return nodeLocal(otherNode) },
		Dial: func(context.Context, ids.NodeID) (net.Conn, error) {
			near, far := net.Pipe()
			b.listener.conns <- far
			return near, nil
		},
		RequestsMax: 100, QueueBytesMax: 1 << 20, ResponseBytesMax: 1 << 20, Logger: slog.New(slog.DiscardHandler),
	})
	reqs := internalRequests(otherNode)
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Version, create.TimeoutMillis = 7, 60_000
	create.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "forwarded"}}
	for _, req := range append(reqs, create) {
		resp, err := c.Request(t.Context(), testNode, req)
		if err != nil || resp.Key() != req.Key() {
			t.Errorf("%+v, %v", resp, err)
		}
	}
	if _, ok := b.image.Load().Topic("forwarded"); !ok {
		t.Error("the topic was not created")
	}
	// A connection that the server closes is no reason not to ask again.
	if _, err := c.Request(t.Context(), testNode, internalRequests(otherNode + 1)[0]); !errors.Is(err, peer.ErrUnanswered) {
		t.Errorf("for another broker: %v", err)
	}
	if _, err := c.Request(t.Context(), testNode, reqs[1]); err != nil {
		t.Error(err)
	}
	c.Close()
	b.stop()
}

// refusing is a controller that hands out no producer ids.
type refusing struct{ Controller }

func (refusing) AllocateProducerIDs(_ context.Context, node ids.NodeID, epoch int64) (ids.ProducerID, int32, error) {
	return 5, 6, fmt.Errorf("node %d, epoch %d: %w", node, epoch, kerr.StaleBrokerEpoch)
}

// A client reaches none of it.
func TestInternalAPIsAreNotForClients(t *testing.T) {
	if len(internal) != 5 {
		t.Errorf("%d APIs", len(internal))
	}
	for _, a := range internal {
		b := startBroker(t)
		for version := range kmsg.RequestForKey(int16(a.Key)).MaxVersion() + 1 {
			c := b.dial()
			req := kmsg.RequestForKey(int16(a.Key))
			req.SetVersion(version)
			c.send(req)
			c.wantClosed()
			c.close()
		}
		b.stop()
		for version := range kmsg.RequestForKey(int16(a.Key)).MaxVersion() + 1 {
			b.wantLogged("%s version %d is not served", a.Key.Name(), version)
		}
		if len(b.mu.nodes) != 0 {
			t.Errorf("the controller was asked %v", b.mu.nodes)
		}
	}
}

// Nobody is told that there is something for nodes.
func TestInternalAPIsAreNotAdvertised(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	for _, c := range []*client{b.dial(), b.dialAsNode()} {
		for version := int16(0); version <= apiVersionsMax; version++ {
			req := kmsg.NewPtrApiVersionsRequest()
			req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = version, "a", "1"
			for _, k := range ask[*kmsg.ApiVersionsResponse](c, req).ApiKeys {
				if lookup(internal, k.ApiKey) != nil {
					t.Errorf("%s is advertised", kmsg.NameForKey(k.ApiKey))
				}
			}
		}
		c.close()
	}
	for _, a := range APIs() {
		if lookup(internal, int16(a.Key)) != nil {
			t.Errorf("%s is for everybody", a.Key.Name())
		}
	}
}

// A node speaks for itself alone.
func TestInternalAPIsOfAnotherBroker(t *testing.T) {
	for _, broker := range []ids.NodeID{testNode, otherNode + 1, -1} {
		b := startBroker(t)
		b.handlers.LocalController = b
		for _, req := range internalRequests(broker) {
			c := b.dialAsNode()
			c.send(req)
			c.wantClosed()
			c.close()
		}
		b.stop()
		for _, req := range internalRequests(broker) {
			b.wantLogged("%s of broker %d by node %d", kmsg.NameForKey(req.Key()), broker, otherNode)
		}
		if len(b.mu.nodes) != 0 {
			t.Errorf("the controller was asked %v", b.mu.nodes)
		}
		if next := b.image.Load().NextProducerID(); next != 0 {
			t.Errorf("producer ids below %d are handed out", next)
		}
	}
}

// Versions that no node uses are not served, to nodes either.
func TestInternalAPIVersions(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	for _, req := range internalRequests(otherNode) {
		for version := int16(-1); version <= req.MaxVersion()+1; version++ {
			if got := b.handlers.Serves(req.Key(), version, true); got != (version == req.GetVersion()) {
				t.Errorf("%s version %d: %v", kmsg.NameForKey(req.Key()), version, got)
			}
		}
	}
}

// What a node forwards is decided by the controller here, for that node, and never forwarded again.
func TestForwardedRequests(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.handlers.LocalController, b.handlers.Controller = b, noController{}
	c := b.dialAsNode()
	defer c.close()
	asked := 0
	for _, a := range APIs() {
		req := kmsg.RequestForKey(int16(a.Key))
		// What kmsg says is for a controller, and two that it takes for the broker's.
		if _, admin := req.(kmsg.AdminRequest); !admin && a.Key != kmsg.AlterConfigs && a.Key != kmsg.IncrementalAlterConfigs {
			continue
		}
		asked++
		for version := a.Min; version <= a.Max; version++ {
			req.SetVersion(version)
			resp := ask[kmsg.Response](c, req)
			switch resp := resp.(type) {
			case *kmsg.IncrementalAlterConfigsResponse:
				if got := resp.Resources[0].ResourceName; got != fmt.Sprint(otherNode) {
					t.Errorf("configs of broker %s", got)
				}
			case *kmsg.AlterConfigsResponse:
				if got := resp.Resources[0].ResourceName; got != fmt.Sprint(otherNode) {
					t.Errorf("configs of broker %s", got)
				}
			}
		}
	}
	if asked < 10 {
		t.Errorf("%d APIs", asked)
	}
}
