package quorum

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/vfs"
)

// wired is a node of a quorum of three over connections of the loopback interface, with a disk that outlives it.
type wired struct {
	*Node
	id      ids.NodeID
	disk    *vfs.Mem
	secret  peer.Secret
	machine *machine
	network *Network
	ln      net.Listener
	serving sync.WaitGroup
	logged  lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// wire makes three nodes that know each other's addresses. None is started.
func wire(t *testing.T) map[ids.NodeID]*wired {
	t.Helper()
	nodes := make(map[ids.NodeID]*wired)
	secret := peer.NewSecret()
	for id := range ids.NodeID(3) {
		nodes[id+1] = &wired{id: id + 1, disk: newDisk(t), secret: secret}
		nodes[id+1].listen(t, "127.0.0.1:0")
	}
	return nodes
}

func (w *wired) listen(t *testing.T, address string) {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	w.ln = ln
}

// start begins a life of the node.
func (w *wired) start(t *testing.T, nodes map[ids.NodeID]*wired) {
	t.Helper()
	addresses := make(map[ids.NodeID]string)
	for id, n := range nodes {
		addresses[id] = n.ln.Addr().String()
	}
	logger := slog.New(slog.NewTextHandler(&w.logged, nil)).With("node", w.id)
	directory := ids.UUID{15: byte(w.id)}
	w.network = NewNetwork(NetworkConfig{
		Local: func() peer.Local {
			return peer.Local{Identity: peer.Identity{Node: w.id, Directory: directory, Epoch: -1}, Secret: w.secret}
		},
		Dial: func(ctx context.Context, node ids.NodeID) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addresses[node])
		},
		Logger: logger,
	})
	w.serving.Go(func() { w.accept(w.ln, w.network) })
	w.machine = newMachine()
	var err error
	w.Node, err = Open(Config{
		NodeID: w.id, Voters: []ids.NodeID{1, 2, 3}, FS: w.disk, Dir: testDir, DirectoryID: directory, ClusterID: fmt.Sprint("made by ", w.id),
		Endpoint: addresses[w.id], Logger: logger,
	}, w.machine, w.network)
	if err != nil {
		t.Fatal(err)
	}
	w.Node.Start()
}

func (w *wired) accept(ln net.Listener, network *Network) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		w.serving.Go(func() {
			defer conn.Close()
			hello := make([]byte, 4)
			if _, err := io.ReadFull(conn, hello); err != nil {
				return
			}
			hello = make([]byte, binary.BigEndian.Uint32(hello))
			if _, err := io.ReadFull(conn, hello); err != nil || !peer.IsHello(hello) {
				return
			}
			_ = network.Serve(conn, hello) // how it ends is in the log of who dialled
		})
	}
}

// end ends the life. The address stays the node's.
func (w *wired) end(t *testing.T) {
	t.Helper()
	address := w.ln.Addr().String()
	w.Node.Stop()
	w.ln.Close()
	w.network.Close()
	w.serving.Wait()
	if err := w.Err(); err != nil {
		t.Errorf("node %d: %v", w.id, err)
	}
	w.listen(t, address)
}

// leader waits until one of the nodes leads.
func leader(t *testing.T, nodes ...*wired) *wired {
	t.Helper()
	led := make(chan *wired, len(nodes))
	over := make(chan struct{})
	defer close(over)
	for _, n := range nodes {
		go func() {
			for {
				n.machine.mu.Lock()
				moved, leads := n.machine.mu.moved, n.machine.mu.leading >= 0
				n.machine.mu.Unlock()
				if leads {
					led <- n
					return
				}
				select {
				case <-moved:
				case <-over:
					return
				}
			}
		}()
	}
	return <-led
}

// decide has the leader among the nodes propose changes until each is applied everywhere: what is proposed to
// a leader that loses its epoch is lost.
func decide(t *testing.T, changes []string, nodes ...*wired) {
	t.Helper()
	for _, change := range changes {
		for {
			l := leader(t, nodes...)
			l.machine.mu.Lock()
			epoch := l.machine.mu.leading
			l.machine.mu.Unlock()
			if epoch < 0 || l.Propose(epoch, []byte(change)) != nil {
				continue
			}
			holds := func() bool { return slices.Contains(l.machine.mu.applied, change) }
			if l.machine.wait(l.Node, func() bool { return holds() || l.machine.mu.leading != epoch }) && slices.Contains(l.machine.state(), change) {
				break
			}
		}
	}
	for _, n := range nodes {
		last := changes[len(changes)-1]
		if !n.machine.wait(n.Node, func() bool { return slices.Contains(n.machine.mu.applied, last) }) {
			t.Fatalf("node %d is over: %v", n.id, n.Err())
		}
	}
}

// Three voters over real connections: they decide, one dies and the others go on, and it catches up.
func TestThreeVotersOverTheNetwork(t *testing.T) {
	nodes := wire(t)
	for _, n := range nodes {
		n.start(t, nodes)
	}
	all := []*wired{nodes[1], nodes[2], nodes[3]}
	changes := func(life int) (c []string) {
		for i := range 20 {
			c = append(c, fmt.Sprintf("life %d change %d", life, i))
		}
		return c
	}
	decide(t, changes(0), all...)
	for life := 1; life <= 3; life++ {
		dead := leader(t, all...)
		dead.end(t)
		rest := slices.DeleteFunc(slices.Clone(all), func(n *wired) bool { return n == dead })
		decide(t, changes(life), rest...)
		dead.start(t, nodes)
		decide(t, []string{fmt.Sprint("after life ", life)}, all...)
	}
	for _, n := range all {
		n.end(t)
		n.ln.Close()
		if want := nodes[1].machine.state(); !slices.Equal(n.machine.state(), want) || len(want) < 83 {
			t.Errorf("node %d has %d changes, node 1 %d, or others", n.id, len(n.machine.state()), len(want))
		}
	}
}

// A node with another secret is no node of this cluster, whatever it says it is. As it may be the third voter's disk that is
// missing, the quorum does not begin without it; each node says why.
func TestWrongSecretStaysOut(t *testing.T) {
	nodes := wire(t)
	nodes[3].secret = peer.NewSecret()
	for _, n := range nodes {
		n.start(t, nodes)
	}
	for _, n := range nodes {
		for !strings.Contains(n.logged.String(), "secrets differ") {
			select {
			case <-n.Done():
				t.Fatal(n.Err())
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	for _, n := range nodes {
		if st := n.Status(); st.Leader != ids.NoNode || st.HighWatermark > 1 {
			t.Errorf("node %d: %+v", n.id, st)
		}
		n.end(t)
		n.ln.Close()
	}
}

// What another node says is dropped where it cannot be read or speaks for a third one, and logged once.
func TestNetworkDropsWhatIsNotTheSenders(t *testing.T) {
	var logged lockedBuffer
	n := NewNetwork(NetworkConfig{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	defer n.Close()
	from := peer.Identity{Node: 2, Directory: ids.UUID{2}}
	send := func(m Message) {
		b, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		n.receive(from, b)
	}
	ask := &Ask{Report: Report{Identity: Identity{3, ids.UUID{3}}}}
	send(Message{From: Identity{3, ids.UUID{3}}, Ask: ask})
	send(Message{From: Identity{2, ids.UUID{9}}, Ask: ask})
	n.receive(from, []byte("garbage"))
	if len(n.received) != 0 || strings.Count(logged.String(), "\n") != 1 || !strings.Contains(logged.String(), "node 2 speaks as node 3") {
		t.Errorf("%d messages, logged %q", len(n.received), logged.String())
	}
	for range receivedMax + 10 {
		send(Message{From: Identity{2, ids.UUID{2}}, Ask: ask})
	}
	if len(n.received) != receivedMax {
		t.Errorf("%d messages wait, the bound is %d", len(n.received), receivedMax)
	}
}
