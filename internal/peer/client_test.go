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
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/wire"
)

// asking is a client of node 1 and node 2, which does with each connection what serve says.
type asking struct {
	*Client
	t     *testing.T
	local Local // of node 2
	serve func(*asked)

	mu struct {
		sync.Mutex
		down   bool // nobody gets through
		dials  []time.Time
		logged bytes.Buffer
	}
}

// asked is a connection as node 2 has it.
type asked struct {
	net.Conn
	from Identity
}

func newAsking(t *testing.T, serve func(*asked)) *asking {
	a := &asking{t: t, local: local(2, "c", Secret{}), serve: serve}
	a.Client = NewClient(ClientConfig{
		Local: func() Local { return local(1, "c", Secret{}) }, Dial: a.dial,
		RequestsMax: 100, QueueBytesMax: 1 << 20, ResponseBytesMax: 1 << 20, Logger: slog.New(slog.NewTextHandler(a, nil)),
	})
	return a
}

func (a *asking) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mu.logged.Write(p)
}

func (a *asking) log() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Split(strings.TrimSuffix(a.mu.logged.String(), "\n"), "\n")
}

func (a *asking) dials() []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.mu.dials)
}

func (a *asking) setDown(down bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.down = down
}

func (a *asking) dial(_ context.Context, to ids.NodeID) (net.Conn, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.dials = append(a.mu.dials, time.Now())
	if to != 2 || a.mu.down {
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}
	left, right := net.Pipe()
	go a.accept(right)
	return left, nil
}

// accept does what a listener does with a connection.
func (a *asking) accept(conn net.Conn) {
	defer conn.Close()
	hello, err := readFrame(conn)
	if err != nil {
		return
	}
	if channel, ok := HelloChannel(hello); !ok || channel != ChannelBroker {
		a.t.Errorf("a hello for channel %d, %v", channel, ok)
	}
	if from, _, err := Accept(conn, hello, a.local, nil); err == nil {
		a.serve(&asked{conn, from})
	}
}

// take reads a request.
func (c *asked) take() (*kmsg.BrokerHeartbeatRequest, wire.RequestHeader, error) {
	frame, err := receive(c, 1<<20)
	if err != nil {
		return nil, wire.RequestHeader{}, err
	}
	h, err := wire.ReadRequestHeader(frame)
	if err != nil {
		return nil, h, err
	}
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.Version = h.Version
	return req, h, req.ReadFrom(h.Body)
}

// answer answers a heartbeat with its number.
func (c *asked) answer(req *kmsg.BrokerHeartbeatRequest, h wire.RequestHeader) {
	resp := kmsg.NewPtrBrokerHeartbeatResponse()
	resp.Version, resp.ThrottleMillis = req.Version, int32(req.BrokerEpoch)
	c.send(resp.AppendTo(wire.AppendResponseHeader(nil, h.Key, h.Version, h.CorrelationID)))
}

func (c *asked) send(frame []byte) {
	_, _ = c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...))
}

// answerAll answers until the connection ends.
func answerAll(c *asked) {
	for {
		req, h, err := c.take()
		if err != nil {
			return
		}
		c.answer(req, h)
	}
}

func heartbeat(n int) *kmsg.BrokerHeartbeatRequest {
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.Version, req.BrokerID, req.BrokerEpoch = 1, 1, int64(n)
	return req
}

// ask sends heartbeat n and checks that its answer comes back.
func (a *asking) ask(ctx context.Context, n int) error {
	resp, err := a.Request(ctx, 2, heartbeat(n))
	if err != nil {
		if resp != nil {
			a.t.Errorf("%d: an answer and %v", n, err)
		}
		return err
	}
	if got := resp.(*kmsg.BrokerHeartbeatResponse).ThrottleMillis; got != int32(n) {
		a.t.Errorf("request %d has got the answer to %d", n, got)
	}
	return nil
}

// begin asks in the background.
func (a *asking) begin(ctx context.Context, n int) <-chan error {
	done := make(chan error, 1)
	go func() { done <- a.ask(ctx, n) }()
	synctest.Wait()
	return done
}

func (a *asking) wantError(err error, want error, says string) {
	a.t.Helper()
	if !errors.Is(err, want) || !strings.Contains(fmt.Sprint(err), says) {
		a.t.Errorf("%v, want %v that says %q", err, want, says)
	}
}

// Requests do not wait for the answers to others, and each gets its own.
func TestClientPipelines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsking(t, func(c *asked) {
			if c.from != local(1, "c", Secret{}).Identity {
				t.Errorf("a connection of %v", c.from)
			}
			var reqs []*kmsg.BrokerHeartbeatRequest
			var heads []wire.RequestHeader
			for range 3 {
				req, h, err := c.take()
				if err != nil {
					t.Error(err)
					return
				}
				if slices.ContainsFunc(heads, func(other wire.RequestHeader) bool { return other.CorrelationID == h.CorrelationID }) {
					t.Errorf("correlation id %d comes twice", h.CorrelationID)
				}
				reqs, heads = append(reqs, req), append(heads, h)
			}
			for i := range reqs {
				c.answer(reqs[i], heads[i])
			}
			answerAll(c)
		})
		defer a.Close()
		var done []<-chan error
		for n := range 3 {
			done = append(done, a.begin(t.Context(), n))
		}
		for _, d := range done {
			if err := <-d; err != nil {
				t.Error(err)
			}
		}
		for n := range 50 {
			if err := a.ask(t.Context(), 100+n); err != nil {
				t.Error(err)
			}
		}
		if got := len(a.dials()); got != 1 {
			t.Errorf("%d connections", got)
		}
		if l := a.log(); l[0] != "" {
			t.Errorf("logged %q", l)
		}
	})
}

// Over a real connection many ask at once.
func TestClientOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := newAsking(t, answerAll)
	a.Client.cfg.Dial = func(ctx context.Context, _ ids.NodeID) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		a.accept(conn)
	}()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for n := range 200 {
				if err := a.ask(t.Context(), 1000*g+n); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	a.Close()
	<-served
	l.Close()
}

// What is no answer to the oldest request ends the connection; the next request opens another.
func TestClientRefusesWhatIsNoAnswer(t *testing.T) {
	header := func(id int32) []byte { return wire.AppendResponseHeader(nil, 63, 1, id) }
	for _, c := range []struct {
		name  string
		reply func(c *asked, h wire.RequestHeader)
		says  string
	}{
		{"the answer to another request", func(c *asked, h wire.RequestHeader) { c.send(header(h.CorrelationID + 1)) }, "where that to"},
		{"no header", func(c *asked, _ wire.RequestHeader) { c.send([]byte("ab")) }, "malformed"},
		{"no tags", func(c *asked, h wire.RequestHeader) { c.send(header(h.CorrelationID)[:4]) }, "malformed"},
		{"too long an answer", func(c *asked, _ wire.RequestHeader) { _, _ = c.Write([]byte("\x00\x10\x00\x01")) }, "the limit is 1048576"},
		{"half an answer", func(c *asked, _ wire.RequestHeader) { _, _ = c.Write([]byte("\x00\x10\x00\x00abc")); c.Close() }, "unexpected EOF"},
		{"the end", func(c *asked, _ wire.RequestHeader) { c.Close() }, "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad := true
				a := newAsking(t, func(conn *asked) {
					if !bad {
						answerAll(conn)
						return
					}
					bad = false
					_, h, err := conn.take()
					if err == nil {
						_, _, err = conn.take()
					}
					if err != nil {
						t.Error(err)
					}
					c.reply(conn, h)
					_, _ = io.Copy(io.Discard, conn)
				})
				defer a.Close()
				first, second := a.begin(t.Context(), 1), a.begin(t.Context(), 2)
				a.wantError(<-first, ErrUnanswered, c.says)
				a.wantError(<-second, ErrUnanswered, c.says)
				if err := a.ask(t.Context(), 3); err != nil {
					t.Error(err)
				}
				if got := len(a.dials()); got != 2 {
					t.Errorf("%d connections", got)
				}
				synctest.Wait()
				if l := a.log(); len(l) != 1 && len(l) != 2 || !strings.Contains(l[0], c.says) {
					t.Errorf("logged %q", l)
				}
			})
		})
	}
}

// An answer to no request ends the connection, which nobody misses.
func TestClientRefusesAnAnswerToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := 0
		a := newAsking(t, func(c *asked) {
			req, h, _ := c.take()
			c.answer(req, h)
			c.send(wire.AppendResponseHeader(nil, 63, 1, h.CorrelationID+1))
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("there is another request")
			}
			ended++
		})
		defer a.Close()
		for n := range 3 {
			if err := a.ask(t.Context(), n); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if ended != n+1 {
				t.Fatalf("%d connections have ended", ended)
			}
		}
		if l := a.log(); l[0] != "" {
			t.Errorf("logged %q", l)
		}
	})
}

// An answer that cannot be decoded fails its own request alone.
func TestClientWithAnAnswerThatCannotBeDecoded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsking(t, func(c *asked) {
			_, h, _ := c.take()
			c.send(append(wire.AppendResponseHeader(nil, 63, 1, h.CorrelationID), 1, 2))
			answerAll(c)
		})
		defer a.Close()
		a.wantError(a.ask(t.Context(), 1), ErrFrame, "BrokerHeartbeat to node 2")
		if err := a.ask(t.Context(), 2); err != nil {
			t.Error(err)
		}
		if got := len(a.dials()); got != 1 {
			t.Errorf("%d connections", got)
		}
	})
}

// Who gives a request up does not disturb others: before it was sent it never is, afterwards its answer is dropped.
func TestClientRequestsAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		var got []int64
		a := newAsking(t, func(c *asked) {
			for {
				req, h, err := c.take()
				if err != nil {
					return
				}
				got = append(got, req.BrokerEpoch)
				<-gate
				c.answer(req, h)
			}
		})
		defer a.Close()
		over, cancelOver := context.WithCancel(t.Context())
		cancelOver()
		a.wantError(a.ask(over, 0), context.Canceled, "")
		if got := len(a.dials()); got != 0 {
			t.Errorf("%d connections", got)
		}

		sent, cancelSent := context.WithCancel(t.Context())
		first := a.begin(sent, 1)
		waiting := a.begin(t.Context(), 2) // being written: nobody reads it
		began := time.Now()
		timed, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		third := a.begin(timed, 3) // in the queue
		fourth := a.begin(t.Context(), 4)
		a.wantError(<-third, context.DeadlineExceeded, "BrokerHeartbeat to node 2")
		if d := time.Since(began); d != time.Second {
			t.Errorf("given up after %v", d)
		}
		cancelSent()
		a.wantError(<-first, context.Canceled, "")
		close(gate)
		for _, d := range []<-chan error{waiting, fourth} {
			if err := <-d; err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if !slices.Equal(got, []int64{1, 2, 4}) {
			t.Errorf("requests %v were sent", got)
		}
		time.Sleep(2 * unansweredTimeout) // the deadline has gone with the request that was given up
		if err := a.ask(t.Context(), 5); err != nil {
			t.Error(err)
		}
		if got := len(a.dials()); got != 1 {
			t.Errorf("%d connections", got)
		}
	})
}

// Where no answer comes at all a connection is given up, and who waits on it fails. While answers come it is kept.
func TestClientGivesAMuteNodeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mute := false
		a := newAsking(t, func(c *asked) {
			for {
				req, h, err := c.take()
				if err != nil {
					return
				}
				if mute {
					_, _ = io.Copy(io.Discard, c)
					return
				}
				time.Sleep(unansweredTimeout - time.Second)
				c.answer(req, h)
			}
		})
		defer a.Close()
		slow, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var given []<-chan error
		for n := range 3 {
			given = append(given, a.begin(slow, n))
		}
		last := a.begin(t.Context(), 9)
		for _, d := range given {
			a.wantError(<-d, context.DeadlineExceeded, "")
		}
		if err := <-last; err != nil { // after four times less than unansweredTimeout
			t.Error(err)
		}

		mute = true
		began := time.Now()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		first, second := a.begin(short, 10), a.begin(t.Context(), 11)
		a.wantError(<-first, context.DeadlineExceeded, "")
		a.wantError(<-second, ErrUnanswered, "timeout")
		if d := time.Since(began); d != time.Second+unansweredTimeout {
			t.Errorf("given up after %v", d)
		}
		mute = false
		if err := a.ask(t.Context(), 12); err != nil {
			t.Error(err)
		}
		if got := len(a.dials()); got != 2 {
			t.Errorf("%d connections", got)
		}
	})
}

// A node that takes nothing is hung up on.
func TestClientHangsUpOnANodeThatStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		a := newAsking(t, func(*asked) { <-gate })
		defer a.Close()
		defer close(gate)
		began := time.Now()
		a.wantError(a.ask(t.Context(), 1), ErrUnanswered, "sending")
		if d := time.Since(began); d != stallTimeout {
			t.Errorf("after %v", d)
		}
	})
}

// A node that is away fails each request after an attempt, with growing pauses, and costs one line in the log.
func TestClientOfANodeThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsking(t, answerAll)
		defer a.Close()
		a.setDown(true)
		for n := range 8 {
			a.wantError(a.ask(t.Context(), n), ErrUnreachable, "connection refused")
		}
		dials := a.dials()
		for i, pause := 1, backoffMin; i < len(dials); i++ {
			if d := dials[i].Sub(dials[i-1]); d != pause {
				t.Errorf("attempt %d came after %v, want %v", i, d, pause)
			}
			pause = min(2*pause, backoffMax)
		}
		if len(dials) != 8 {
			t.Errorf("%d attempts", len(dials))
		}
		a.setDown(false)
		if err := a.ask(t.Context(), 9); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if l := a.log(); len(l) != 2 || !strings.Contains(l[0], "connection refused") || !strings.Contains(l[1], "reached again") {
			t.Errorf("logged %q", l)
		}
		if _, err := a.Request(t.Context(), 3, heartbeat(1)); !errors.Is(err, ErrUnreachable) {
			t.Errorf("an unknown node: %v", err)
		}
	})
}

// A connection that ends is opened again by what is asked next. One that ends at each request is not opened in a hurry.
func TestClientConnectsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := 1
		a := newAsking(t, func(c *asked) {
			for range answers {
				req, h, err := c.take()
				if err != nil {
					t.Error(err)
					return
				}
				c.answer(req, h)
			}
			if answers == 0 {
				_, _, _ = c.take()
			}
		})
		defer a.Close()
		began := time.Now()
		for n := range 3 {
			if err := a.ask(t.Context(), n); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		if d := time.Since(began); d != 0 || len(a.dials()) != 3 {
			t.Errorf("%d connections in %v", len(a.dials()), d)
		}
		if l := a.log(); l[0] != "" {
			t.Errorf("logged %q", l)
		}
		answers = 0
		for n := range 6 {
			a.wantError(a.ask(t.Context(), n), ErrUnanswered, "EOF")
		}
		dials := a.dials()
		if d := dials[8].Sub(dials[7]); len(dials) != 9 || d != backoffMax {
			t.Errorf("%d connections, the last after %v", len(dials), d)
		}
		if l := a.log(); len(l) != 1 {
			t.Errorf("logged %q", l)
		}
	})
}

// A handshake that is refused fails what waits for it, and says why.
func TestClientIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsking(t, func(*asked) { t.Error("the connection is open") })
		defer a.Close()
		a.local = local(2, "c", NewSecret())
		for n := range 3 {
			err := a.ask(t.Context(), n)
			a.wantError(err, ErrUnreachable, "cluster.secret.file")
			a.wantError(err, ErrRefused, "")
		}
		if l := a.log(); len(l) != 1 || !strings.Contains(l[0], "node 1 has none") {
			t.Errorf("logged %q", l)
		}
		a.local = local(3, "c", Secret{})
		a.wantError(a.ask(t.Context(), 4), ErrWrongNode, "node 2 was dialled and node 3 answers")
	})
}

// No more waits for a node than is allowed, whether it is sent or not.
func TestClientIsBounded(t *testing.T) {
	for _, c := range []struct {
		name     string
		requests int // RequestsMax
		bytes    int // QueueBytesMax
		fit      int // so many requests
	}{
		{"requests", 3, 1 << 20, 3},
		{"bytes", 100, 2*len(newCall(heartbeat(0)).frame) + 1, 2 + 3}, // two are sent
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gate := make(chan struct{})
				a := newAsking(t, func(conn *asked) {
					req, h, _ := conn.take()
					<-gate
					conn.answer(req, h)
					answerAll(conn)
				})
				defer a.Close()
				a.Client.cfg.RequestsMax, a.Client.cfg.QueueBytesMax = c.requests, c.bytes
				var fit []<-chan error
				for n := range c.fit {
					if n == c.fit-1 { // what is given up takes no room
						for range 5 {
							ctx, cancel := context.WithCancel(t.Context())
							given := a.begin(ctx, n)
							cancel()
							a.wantError(<-given, context.Canceled, "")
						}
					}
					fit = append(fit, a.begin(t.Context(), n))
				}
				for range 3 {
					a.wantError(a.ask(t.Context(), 99), ErrBusy, "")
				}
				close(gate)
				for _, d := range fit {
					if err := <-d; err != nil {
						t.Error(err)
					}
				}
				if err := a.ask(t.Context(), 100); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A connection may end when the next request is on its way to it already.
func TestClientLosesARequestToAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		a := newAsking(t, func(*asked) { <-gate })
		defer a.Close()
		r := newRemote(a.Client, 2)
		if err := r.connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		close(gate)
		<-r.conn.ended
		x := newCall(heartbeat(1))
		if err := r.put(x); err != nil {
			t.Fatal(err)
		}
		err := write(r.conn, r.take())
		if err == nil {
			t.Fatal("it was sent")
		}
		r.abandon(newCall(heartbeat(2))) // of which nothing is known
		r.abandon(x)
		r.hangUp(err)
		<-x.done
		a.wantError(x.err, ErrUnanswered, "sending")
		if r.mu.cause != nil || r.mu.abandoned != 0 {
			t.Errorf("left: %v, %d", r.mu.cause, r.mu.abandoned)
		}
	})
}

// Close ends whatever goes on; the bubble finds a goroutine that is left.
func TestClientCloses(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(*asked)
		setUp func(*asking)
	}{
		{name: "while an answer is awaited", serve: func(c *asked) { _, _ = io.Copy(io.Discard, c) }},
		{name: "while it writes", serve: func(c *asked) { _, _ = c.Read(make([]byte, 1)); time.Sleep(time.Second) }},
		{name: "in the handshake", setUp: func(a *asking) {
			a.Client.cfg.Dial = func(context.Context, ids.NodeID) (net.Conn, error) {
				left, right := net.Pipe()
				go io.Copy(io.Discard, right)
				return left, nil
			}
		}},
		{name: "while it dials", setUp: func(a *asking) {
			a.Client.cfg.Dial = func(ctx context.Context, _ ids.NodeID) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		}},
		{name: "in a pause", setUp: func(a *asking) {
			a.setDown(true)
			_ = a.ask(context.Background(), 0)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAsking(t, c.serve)
				if c.setUp != nil {
					c.setUp(a)
				}
				first, second := a.begin(t.Context(), 1), a.begin(t.Context(), 2)
				late, err := a.remote(2)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				a.Close()
				if d := time.Since(began); d != 0 {
					t.Errorf("Close took %v", d)
				}
				a.wantError(<-first, ErrClosed, "")
				a.wantError(<-second, ErrClosed, "")
				a.wantError(a.ask(t.Context(), 3), ErrClosed, "")
				a.wantError(late.put(newCall(heartbeat(4))), ErrClosed, "")
				if l := a.log(); len(l) > 1 {
					t.Errorf("logged %q", l)
				}
				time.Sleep(time.Minute) // node 2 ends too
			})
		})
	}
	NewClient(ClientConfig{}).Close()
}

func TestHelloChannel(t *testing.T) {
	for _, channel := range []Channel{ChannelQuorum, ChannelBroker, 77} {
		if got, ok := HelloChannel(NewDialer(local(1, "c", Secret{}), 2, channel).Hello()); !ok || got != channel {
			t.Errorf("channel %d: %d, %v", channel, got, ok)
		}
	}
	for _, bad := range []string{"", Magic, Magic + "\x01", Magic + "\x02"} {
		if _, ok := HelloChannel([]byte(bad)); ok {
			t.Errorf("%q is a hello", bad)
		}
	}
}
