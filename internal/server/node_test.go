package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/peer"
)

func nodeLocal(node ids.NodeID) peer.Local {
	return peer.Local{Identity: peer.Identity{Cluster: "c", Node: node, Directory: ids.UUID{15: byte(node)}, Epoch: int64(node) * 10}}
}

// cluster is node 2 with a listener for clients and one for nodes, both with connections within the process.
type cluster struct {
	*harness
	clients, nodes *memListener

	// use, where it is set, has the connections that are admitted.
	use func(nc net.Conn) error

	mu struct {
		sync.Mutex
		gone []string
	}
}

// Admit admits nodes to the listener for nodes and to that called BROKER.
func (k *cluster) Admit(nc net.Conn, listener string, hello []byte) (peer.Identity, bool, error) {
	from, _, err := peer.Accept(nc, hello, nodeLocal(2), func(peer.Identity, peer.Channel) error {
		if listener != "BROKER" && listener != "CONTROLLER" {
			return fmt.Errorf("nodes connect to another listener than %s", listener)
		}
		return nil
	})
	if err == nil && k.use != nil {
		return from, true, k.use(nc)
	}
	return from, false, err
}

func (k *cluster) gone() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.mu.gone, ", ")
}

// startCluster serves; its clients' listener has a name. Each request is answered with who asks.
func startCluster(t testing.TB, config Config, clients string, serve func(*Exchange)) *cluster {
	k := &cluster{clients: newMemListener(), nodes: newMemListener()}
	k.harness = startWith(t, config, Deps{Handler: &testHandler{serve}, Peers: k, NodeGone: func(from peer.Identity) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.mu.gone = append(k.mu.gone, from.String())
	}}, slog.LevelInfo)
	go k.srv.Serve(k.clients, clients)
	go k.srv.ServeNodes(k.nodes, "CONTROLLER")
	return k
}

// tellAsker answers with who asks.
func tellAsker(x *Exchange) {
	who := "a client"
	if id, ok := x.Conn.Node(); ok {
		who = fmt.Sprintf("%v on %s", id, x.Conn.Listener())
	}
	x.ReplyBody(append(x.Buffer(), who...), nil)
}

// join has node 1 do its side of the handshake.
func join(t testing.TB, nc net.Conn) {
	t.Helper()
	if _, err := peer.Dial(nc, nodeLocal(1), 2, peer.ChannelBroker); err != nil {
		t.Fatal(err)
	}
}

func wantClosed(t testing.TB, nc net.Conn) {
	t.Helper()
	if n, err := nc.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d, %v: want the end", n, err)
	}
}

// ask sends a request and checks the answer.
func ask(t testing.TB, nc net.Conn, key int16, want string) {
	t.Helper()
	mustWrite(t, nc, request(key, 1, 7, "x"))
	wantAnswer(t, nc, 7, want)
}

// A node is known by its handshake for as long as its connection lasts, on either kind of listener; nobody else is
// taken for it, and what is for nodes is refused to clients.
func TestNodesAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := startCluster(t, DefaultConfig(), "BROKER", tellAsker)
		for _, c := range []struct {
			l    *memListener
			name string
		}{{k.clients, "BROKER"}, {k.nodes, "CONTROLLER"}} {
			nc := c.l.dial()
			join(t, nc)
			who := fmt.Sprintf("%v on %s", nodeLocal(1).Identity, c.name)
			for range 3 {
				ask(t, nc, keyInternal, who)
				ask(t, nc, keyMetadata, who)
			}
			client := k.clients.dial()
			ask(t, client, keyMetadata, "a client")
			go client.Write(request(keyInternal, 0, 1, ""))
			wantClosed(t, client)
			ask(t, nc, keyInternal, who)
			nc.Close()
		}
		synctest.Wait()
		who := nodeLocal(1).Identity.String()
		if got := k.gone(); got != who+", "+who {
			t.Errorf("gone: %q", got)
		}
		k.stop()
		if lines := k.log.lines(); len(lines) != 2 || !strings.Contains(lines[1], "LeaderAndISR version 0 is not served") {
			t.Errorf("log: %q", lines)
		}
	})
}

// The same over sockets, whose bytes the server reads itself.
func TestNodesAreKnownOverTCP(t *testing.T) {
	for _, toNodes := range []bool{false, true} {
		k := startCluster(t, DefaultConfig(), "BROKER", tellAsker)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		name := "BROKER"
		if toNodes {
			name = "CONTROLLER"
			go k.srv.ServeNodes(l, name)
		} else {
			go k.srv.Serve(l, name)
		}
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		join(t, nc)
		for range 3 {
			ask(t, nc, keyInternal, fmt.Sprintf("%v on %s", nodeLocal(1).Identity, name))
		}
		k.stop()
		wantClosed(t, nc)
		nc.Close()
		if got := k.gone(); got != "" {
			t.Errorf("gone: %q, but it was the server that stopped", got)
		}
	}
}

func frame(body string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + body
}

// What is no node's hello ends a connection to a listener for nodes, and most of it is worth a line.
func TestListenerForNodesRefuses(t *testing.T) {
	hello := frame(string(peer.NewDialer(nodeLocal(1), 2, peer.ChannelBroker).Hello()))
	for _, c := range []struct {
		name, sent string
		hangUp     bool
		cause      string // "" for no line
	}{
		{name: "a client", sent: string(request(keyMetadata, 1, 1, "x")), cause: "Metadata version 1 on a listener that is for nodes alone"},
		{name: "ApiVersions", sent: string(request(18, 3, 1, "x")), cause: "ApiVersions version 3 on a listener that is for nodes alone"},
		{name: "what only nodes may ask", sent: string(request(keyInternal, 0, 1, "x")), cause: "LeaderAndISR version 0 on a listener"},
		{name: "a large Produce", sent: string(request(keyProduce, 1, 1, pattern(1<<20))), cause: "Produce version 1 on a listener"},
		{name: "garbage", sent: "\x00\x00\x10\x00" + strings.Repeat("\xff", 100), cause: "API key -1 version -1 on a listener"},
		{name: "TLS", sent: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on", cause: "TLS hello on a plaintext listener"},
		{name: "HTTP", sent: "GET / HTTP/1.1\r\n\r\n", cause: "HTTP request"},
		{name: "no length", sent: "\x00\x00\x00\x00", cause: "impossible frame length"},
		{name: "another frame of the handshake", sent: frame(peer.Magic + "\x03" + strings.Repeat("x", 32)), cause: "it is no hello"},
		{name: "a hello that cannot be read", sent: frame(peer.Magic + "\x01and more"), cause: "it is no hello"},
		{name: "a hello that is too long", sent: frame(peer.Magic + "\x01" + pattern(peer.FrameBytesMax)), cause: "a hello of 1033 bytes, the limit is 1024"},
		{name: "a hello and more", sent: hello + hello, cause: "more than a hello before the handshake"},
		{name: "half a hello", sent: hello[:20], hangUp: true, cause: "closed in the middle of a frame, after 20 bytes"},
		{name: "half a hello and then nothing", sent: hello[:20], cause: "no hello came in 5s"},
		{name: "a hello and then nothing", sent: hello, cause: "receiving a handshake: read pipe: i/o timeout"},
		{name: "nothing", sent: "", cause: "no hello came in 5s"},
		{name: "the end", sent: "", hangUp: true},
		{name: "a hello and the end", sent: hello, hangUp: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := startCluster(t, DefaultConfig(), "BROKER", func(*Exchange) { t.Error("a request is served") })
				nc := k.nodes.dial()
				began := time.Now()
				go func() {
					nc.Write([]byte(c.sent))
					if c.hangUp {
						nc.Close()
					}
				}()
				_, _ = io.Copy(io.Discard, nc)
				if d := time.Since(began); d > handshakeTimeout {
					t.Errorf("closed after %v", d)
				}
				nc.Close()
				k.stop()
				lines := k.log.lines()
				if len(lines) != 1 || !strings.Contains(lines[0], c.cause) || (lines[0] == "") != (c.cause == "") {
					t.Errorf("log: %q", lines)
				}
				if c.cause != "" && !strings.Contains(lines[0], "listener=CONTROLLER") {
					t.Errorf("log: %q", lines)
				}
				if got := k.gone(); got != "" {
					t.Errorf("gone: %q", got)
				}
			})
		})
	}
}

// On a clients' listener a hello may come first, where Peers admits nodes, and is refused otherwise.
func TestHelloOnAClientsListener(t *testing.T) {
	hello := frame(string(peer.NewDialer(nodeLocal(1), 2, peer.ChannelBroker).Hello()))
	for _, c := range []struct {
		name  string
		dial  func(t *testing.T, k *cluster) net.Conn // up to what is refused
		cause string
	}{
		{"after a client's request", func(t *testing.T, k *cluster) net.Conn {
			nc := k.clients.dial()
			ask(t, nc, keyMetadata, "a client")
			go nc.Write([]byte(hello))
			return nc
		}, "may only be the first frame"},
		{"after another hello", func(t *testing.T, k *cluster) net.Conn {
			nc := k.clients.dial()
			join(t, nc)
			go nc.Write([]byte(hello))
			return nc
		}, "may only be the first frame"},
		{"too long", func(_ *testing.T, k *cluster) net.Conn {
			nc := k.clients.dial()
			go nc.Write([]byte(frame(peer.Magic + "\x01" + pattern(5<<20))))
			return nc
		}, "the limit is 1024"},
		{"that does not come", func(_ *testing.T, k *cluster) net.Conn {
			nc := k.clients.dial()
			go nc.Write([]byte(hello[:20]))
			return nc
		}, "no hello came in 5s"},
		{"of a handshake that stalls", func(t *testing.T, k *cluster) net.Conn {
			nc := k.clients.dial()
			mustWrite(t, nc, []byte(hello))
			if _, err := io.ReadFull(nc, make([]byte, 50)); err != nil {
				t.Error(err)
			}
			return nc
		}, "i/o timeout"},
		{"on a listener without nodes", func(t *testing.T, k *cluster) net.Conn {
			l := newMemListener()
			go k.srv.Serve(l, "EXTERNAL")
			nc := l.dial()
			if _, err := peer.Dial(nc, nodeLocal(1), 2, peer.ChannelBroker); !errors.Is(err, peer.ErrRefused) {
				t.Errorf("%v", err)
			}
			return nc
		}, "nodes connect to another listener than EXTERNAL"},
		{"on a server without nodes", func(_ *testing.T, k *cluster) net.Conn {
			k.srv.peers = nil
			nc := k.clients.dial()
			go nc.Write([]byte(hello))
			return nc
		}, "no other nodes are known here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := startCluster(t, DefaultConfig(), "BROKER", tellAsker)
				nc := c.dial(t, k)
				began := time.Now()
				_, _ = io.Copy(io.Discard, nc)
				if d := time.Since(began); d > handshakeTimeout {
					t.Errorf("closed after %v", d)
				}
				nc.Close()
				k.stop()
				if lines := k.log.lines(); len(lines) != 1 || !strings.Contains(lines[0], c.cause) {
					t.Errorf("log: %q", lines)
				}
			})
		})
	}
}

// Peers may use a connection for something else, as long as it likes.
func TestConnectionsThatPeersUse(t *testing.T) {
	for _, c := range []struct {
		name  string
		ends  error // of Peers, when the other side has ended
		cause string
	}{
		{"that end", io.EOF, ""},
		{"that end for no reason", nil, ""},
		{"that end for a reason", errors.New("a frame of 2 GiB"), "a frame of 2 GiB"},
		{"that are cut", fmt.Errorf("receiving: %w", io.ErrUnexpectedEOF), "level=INFO"},
		{"that break", &net.OpError{Op: "read", Err: errors.New("no route to host")}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := DefaultConfig()
				k := startCluster(t, config, "BROKER", func(*Exchange) { t.Error("a request is served") })
				k.use = func(nc net.Conn) error {
					for err := os.ErrDeadlineExceeded; errors.Is(err, os.ErrDeadlineExceeded); { // only closing ends it
						nc.SetDeadline(time.Time{})
						_, err = io.Copy(io.Discard, nc)
					}
					return c.ends
				}
				a, b := k.nodes.dial(), k.clients.dial()
				join(t, a)
				join(t, b)
				if s := k.srv.Stats(); s.MemoryBytes != 0 {
					t.Errorf("%d bytes are held", s.MemoryBytes)
				}
				time.Sleep(3 * config.IdleMax)
				mustWrite(t, a, []byte("anything"))
				a.Close()
				synctest.Wait()
				if lines := k.log.lines(); len(lines) != 1 || !strings.Contains(lines[0], c.cause) || (lines[0] == "") != (c.cause == "") {
					t.Errorf("log: %q", lines)
				}
				before := time.Now()
				k.stop()
				if d := time.Since(before); d != 0 {
					t.Errorf("the stop took %v", d)
				}
				wantClosed(t, b)
				if lines := k.log.lines(); len(lines) != 1 {
					t.Errorf("log: %q", lines)
				}
				if got := k.gone(); got != "" {
					t.Errorf("gone: %q", got)
				}
			})
		})
	}
}

// A stop does not wait for a handshake, wherever that is.
func TestStopDuringAHandshake(t *testing.T) {
	hello := frame(string(peer.NewDialer(nodeLocal(1), 2, peer.ChannelBroker).Hello()))
	for _, sent := range []string{"", hello[:30], hello} {
		synctest.Test(t, func(t *testing.T) {
			k := startCluster(t, DefaultConfig(), "BROKER", tellAsker)
			a, b := k.nodes.dial(), k.clients.dial()
			for _, nc := range []net.Conn{a, b} {
				go func() {
					nc.Write([]byte(sent))
					io.Copy(io.Discard, nc)
				}()
			}
			synctest.Wait()
			began := time.Now()
			k.stop()
			if d := time.Since(began); d != 0 {
				t.Errorf("%d bytes of the hello: the stop took %v", len(sent), d)
			}
			if lines := k.log.lines(); lines[0] != "" {
				t.Errorf("log: %q", lines)
			}
		})
	}
}

// Peers gets no connection once the server stops: nobody would end it.
func TestPeersGetNothingAfterAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := startCluster(t, DefaultConfig(), "BROKER", tellAsker)
		near, far := net.Pipe()
		defer near.Close()
		c := newConn(k.srv, far, 1, "CONTROLLER", true)
		c.stop()
		if _, _, err := c.lend(peer.NewDialer(nodeLocal(1), 2, peer.ChannelBroker).Hello()); !errors.Is(err, errStopped) {
			t.Errorf("%v", err)
		}
		c.setDeadline(time.Time{})
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the stop's deadline has gone: %v", err)
		}
		k.stop()
	})
}

// A node's connection is not ended for being idle, which would say that the node has gone; but one that stalls is.
func TestNodesMayBeIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := DefaultConfig()
		k := startCluster(t, config, "BROKER", tellAsker)
		client, a, b := k.clients.dial(), k.clients.dial(), k.nodes.dial()
		join(t, a)
		join(t, b)
		ask(t, client, keyMetadata, "a client")
		for range 3 {
			time.Sleep(config.IdleMax)
			ask(t, a, keyInternal, fmt.Sprintf("%v on BROKER", nodeLocal(1).Identity))
			time.Sleep(config.IdleMax)
			ask(t, b, keyInternal, fmt.Sprintf("%v on CONTROLLER", nodeLocal(1).Identity))
		}
		wantClosed(t, client)
		mustWrite(t, b, request(keyInternal, 1, 1, "x")[:8])
		time.Sleep(stallTimeout + 2*sweepInterval)
		wantClosed(t, b)
		if got := k.gone(); got != nodeLocal(1).Identity.String() {
			t.Errorf("gone: %q", got)
		}
		a.Close()
		k.stop()
	})
}

// What clients may have is theirs: connections and memory for nodes are counted apart.
func TestClientsCannotKeepNodesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := DefaultConfig()
		config.MemoryBytes = memoryBytesMin
		done := make(chan struct{})
		k := startCluster(t, config, "BROKER", func(x *Exchange) {
			if x.Key != keyProduce {
				tellAsker(x)
				return
			}
			x.Later()
			go func() {
				<-done
				x.NoReply()
			}()
		})
		a, b := k.nodes.dial(), k.clients.dial()
		join(t, a)
		join(t, b)
		conns := []net.Conn{a, b}
		for !k.srv.memory.pressed() {
			nc := k.clients.dial()
			go nc.Write(request(keyProduce, 1, 1, "x"))
			synctest.Wait()
			conns = append(conns, nc)
		}
		k.srv.config.ConnectionsMax = len(conns) // one more: that to the listener for nodes does not count
		conns = append(conns, k.clients.dial())
		synctest.Wait()
		if n := k.srv.Stats().Connections; n != len(conns) {
			t.Errorf("%d connections, want %d", n, len(conns))
		}
		over := k.clients.dial()
		wantClosed(t, over)
		for _, nc := range []net.Conn{a, b} {
			mustWrite(t, nc, request(keyInternal, 1, 1, pattern(chunkBytes[1])))
			if _, _, err := readAnswer(nc); err != nil {
				t.Error(err)
			}
		}
		more := k.nodes.dial()
		join(t, more)
		if !k.srv.memory.pressed() {
			t.Error("clients have got memory meanwhile")
		}
		for _, nc := range append(conns, more) {
			nc.Close()
		}
		close(done)
		k.stop()
	})
}

// Nor can whoever reaches a listener for nodes open connections without end.
func TestConnectionsToListenersForNodesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := startCluster(t, DefaultConfig(), "BROKER", tellAsker)
		conns := make([]net.Conn, nodeConnectionsMax)
		for i := range conns {
			conns[i] = k.nodes.dial()
		}
		over := k.nodes.dial()
		wantClosed(t, over)
		client := k.clients.dial()
		ask(t, client, keyMetadata, "a client")
		conns[0].Close()
		synctest.Wait()
		nc := k.nodes.dial()
		join(t, nc)
		for _, nc := range slices.Concat(conns, []net.Conn{nc, client}) {
			nc.Close()
		}
		k.stop()
		if lines := k.log.lines(); len(lines) != 1 || !strings.Contains(lines[0], "1000 connections to listeners for nodes") {
			t.Errorf("log: %q", lines)
		}
	})
}
