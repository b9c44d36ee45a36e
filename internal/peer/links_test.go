package peer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/ids"
)

// network connects the links of some nodes by pipes. Its time is that of the bubble.
type network struct {
	t     *testing.T
	nodes map[ids.NodeID]*node

	mu struct {
		sync.Mutex
		down  map[ids.NodeID]bool // nobody gets through to them
		conns []net.Conn          // the dialers' ends
	}
}

// node is one end, and what it has received and logged.
type node struct {
	*Links
	local Local

	mu struct {
		sync.Mutex
		frames []string // "1: text"
		served []error  // how connections ended
		logged bytes.Buffer
	}
}

func newNetwork(t *testing.T, locals ...Local) *network {
	w := &network{t: t, nodes: make(map[ids.NodeID]*node)}
	w.mu.down = make(map[ids.NodeID]bool)
	for _, l := range locals {
		w.add(l)
	}
	return w
}

func (w *network) add(l Local) *node {
	n := &node{local: l}
	n.Links = NewLinks(LinksConfig{
		Local: func() Local { return n.local }, Channel: ChannelQuorum, Dial: w.dial, FrameBytesMax: 4 << 20, QueueBytesMax: 1 << 10,
		Receive: func(from Identity, frame []byte) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.mu.frames = append(n.mu.frames, fmt.Sprintf("%d: %s", from.Node, frame))
		},
		Logger: slog.New(slog.NewTextHandler(n, nil)),
	})
	w.nodes[l.Identity.Node] = n
	return n
}

func (n *node) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.logged.Write(p)
}

// take returns what was received since the last call.
func (n *node) take() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	got := strings.Join(n.mu.frames, ", ")
	n.mu.frames = nil
	return got
}

func (n *node) log() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.logged.String()
}

func (n *node) ends() []error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]error(nil), n.mu.served...)
}

// listen does what a listener does with a connection.
func (n *node) listen(conn net.Conn) {
	hello, err := readFrame(conn)
	if err == nil {
		err = n.Serve(conn, hello)
	}
	conn.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.served = append(n.mu.served, err)
}

func (w *network) dial(_ context.Context, to ids.NodeID) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.nodes[to]
	if n == nil || w.mu.down[to] {
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}
	left, right := net.Pipe()
	w.mu.conns = append(w.mu.conns, left)
	go n.listen(right)
	return left, nil
}

func (w *network) setDown(id ids.NodeID, down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.down[id] = down
}

// cut ends every connection.
func (w *network) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.mu.conns {
		c.Close()
	}
	w.mu.conns = nil
}

func (w *network) close() {
	for _, n := range w.nodes {
		n.Close()
	}
}

func want(t *testing.T, n *node, frames string) {
	t.Helper()
	synctest.Wait()
	if got := n.take(); got != frames {
		t.Errorf("received %q, want %q", got, frames)
	}
}

func TestLinksCarryFramesInOrder(t *testing.T) {
	s := NewSecret()
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, local(1, "c", s), local(2, "", s), local(3, "c", s))
		defer w.close()
		one, two, three := w.nodes[1], w.nodes[2], w.nodes[3]
		one.Send(2, []byte("a"))
		one.Send(2, []byte("b"))
		one.Send(3, nil)
		two.Send(1, []byte("c"))
		want(t, two, "1: a, 1: b")
		want(t, three, "1: ")
		want(t, one, "2: c")
		for i := range 100 {
			one.Send(2, fmt.Append(nil, i))
			synctest.Wait()
		}
		if got := strings.Count(two.take(), "1: "); got != 100 {
			t.Errorf("%d of 100 frames", got)
		}
		if l := one.log() + two.log() + three.log(); l != "" {
			t.Error(l)
		}
	})
}

// A connection that ends is opened again by what is sent next.
func TestLinksConnectAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, local(1, "c", Secret{}), local(2, "c", Secret{}))
		defer w.close()
		for i := range 3 {
			w.nodes[1].Send(2, []byte("x"))
			want(t, w.nodes[2], "1: x")
			w.cut()
			synctest.Wait()
			if got := len(w.nodes[2].ends()); got != i+1 {
				t.Fatalf("%d connections have ended, want %d", got, i+1)
			}
		}
	})
}

// A node that is away costs nobody's time, a bounded queue, and one line in the log.
func TestLinksToANodeThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, local(1, "c", Secret{}), local(2, "c", Secret{}))
		defer w.close()
		one, two := w.nodes[1], w.nodes[2]
		w.setDown(2, true)
		began := time.Now()
		for range 1000 {
			one.Send(2, make([]byte, 100))
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("sending took %v", waited)
		}
		if o := one.Links.mu.out[2]; o.mu.bytes > 1<<10+100 {
			t.Errorf("%d bytes wait", o.mu.bytes)
		}
		for range 100 {
			one.Send(2, []byte("old"))
			time.Sleep(backoffMin)
		}
		w.setDown(2, false)
		time.Sleep(backoffMax)
		want(t, two, "") // what was sent meanwhile would be old
		one.Send(2, []byte("new"))
		want(t, two, "1: new")
		lines := strings.Split(strings.TrimSpace(one.log()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "connection refused") || !strings.Contains(lines[1], "reached again") {
			t.Errorf("logged %q", lines)
		}
	})
}

// Whoever does not belong here is refused, and both sides say why in one line.
func TestLinksRefuse(t *testing.T) {
	s := NewSecret()
	for _, c := range []struct {
		name         string
		other        Local
		here, inside string
	}{
		{"a wrong secret", local(1, "c", NewSecret()), "the cluster secrets differ: node 2 does not have this node's", "EOF"},
		{"no secret", local(1, "c", Secret{}), "node 1 has none", "node 1 has none"},
		{"another cluster", local(1, "d", s), "node 1 of d", "node 1 of d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newNetwork(t, c.other, local(2, "c", s))
				defer w.close()
				for range 20 {
					w.nodes[1].Send(2, []byte("x"))
					time.Sleep(backoffMax)
				}
				want(t, w.nodes[2], "")
				if got := w.nodes[1].log(); strings.Count(got, "\n") != 1 || !strings.Contains(got, c.here) {
					t.Errorf("logged %q", got)
				}
				if ends := w.nodes[2].ends(); len(ends) == 0 || !strings.Contains(ends[0].Error(), c.inside) {
					t.Errorf("ended with %v", ends)
				}
			})
		})
	}
}

// Two nodes with one id: the second is refused while the first is there. The same node may connect again at once.
func TestLinksTellNodesApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, local(1, "c", Secret{}), local(2, "c", Secret{}))
		defer w.close()
		first, two := w.nodes[1], w.nodes[2]
		first.Send(2, []byte("first"))
		want(t, two, "1: first")

		twin := local(1, "c", Secret{})
		twin.Identity.Directory = ids.UUID{15: 99}
		second := w.add(twin)
		defer first.Close()
		second.Send(2, []byte("second"))
		want(t, two, "")
		if !strings.Contains(second.log(), "two nodes have one node.id") || !errors.Is(two.ends()[0], ErrDuplicate) {
			t.Errorf("logged %q, ended with %v", second.log(), two.ends())
		}

		again := w.add(local(1, "c", Secret{})) // as after a restart that nobody has noticed
		defer second.Close()
		again.Send(2, []byte("again"))
		want(t, two, "1: again")
		if len(two.ends()) != 2 {
			t.Errorf("the connection before did not end: %v", two.ends())
		}
	})
}

// A node that takes nothing is hung up on, and holds up nobody.
func TestLinksToANodeThatStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, local(1, "c", Secret{}), local(2, "c", Secret{}))
		defer w.close()
		one, two := w.nodes[1], w.nodes[2]
		gate := make(chan struct{})
		take := two.cfg.Receive
		two.cfg.Receive = func(from Identity, frame []byte) { <-gate; take(from, frame) }
		for range 50 {
			one.Send(2, []byte("x"))
			synctest.Wait()
		}
		time.Sleep(2 * stallTimeout)
		if got := one.log(); !strings.Contains(got, "timeout") {
			t.Errorf("logged %q", got)
		}
		close(gate)
		time.Sleep(backoffMax)
		synctest.Wait()
		two.take()
		one.Send(2, []byte("y"))
		want(t, two, "1: y")
	})
}

// What is no frame ends the connection; a length is not believed before its bytes come.
func TestReceive(t *testing.T) {
	for _, c := range []struct {
		name, sent string
		err        error
	}{
		{"nothing", "", io.EOF},
		{"half a length", "\x00\x00", io.ErrUnexpectedEOF},
		{"half a frame", "\x00\x00\x00\x04ab", io.ErrUnexpectedEOF},
		{"a frame that does not come", "\x3f\xff\xff\xffx", io.ErrUnexpectedEOF},
		{"too large", "\x7f\xff\xff\xff", ErrFrame},
		{"negative", "\xff\xff\xff\xff", ErrFrame},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := receive(strings.NewReader(c.sent), 1<<30); !errors.Is(err, c.err) {
				t.Errorf("%v, want %v", err, c.err)
			}
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > 4*growBytes {
				t.Errorf("%d bytes were allocated", got)
			}
		})
	}
	whole := bytes.Repeat([]byte("0123456789"), 1<<19)
	sent := append(binary.BigEndian.AppendUint32(nil, uint32(len(whole))), whole...)
	if got, err := receive(bytes.NewReader(sent), len(whole)); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestClosedLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, local(1, "c", Secret{}), local(2, "c", Secret{}))
		w.nodes[1].Send(2, []byte("x"))
		want(t, w.nodes[2], "1: x")
		w.close() // the bubble finds a goroutine that is left
		w.nodes[1].Send(2, []byte("y"))
		left, right := net.Pipe()
		defer left.Close()
		if err := w.nodes[2].Serve(right, NewDialer(local(1, "c", Secret{}), 2, ChannelQuorum).Hello()); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}
