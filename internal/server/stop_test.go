package server

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Stop lets requests in progress end, wakes those that wait, and closes the rest.
func TestStopFinishesWhatIsInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startMem(t, DefaultConfig(), func(x *Exchange) {
			switch x.Key {
			case keyProduce:
				x.Later()
				time.AfterFunc(time.Second, func() { echo(x) })
			case keyFetch:
				body := string(x.Body)
				<-x.Park()
				x.ReplyBody(append(x.Buffer(), body...), nil)
			default:
				time.Sleep(time.Second)
				echo(x)
			}
		})
		idle, half, produce, fetch, metadata := h.dial(), h.dial(), h.dial(), h.dial(), h.dial()
		mustWrite(t, half, request(keyProduce, 1, 1, "half")[:15])
		mustWrite(t, produce, append(request(keyProduce, 1, 1, "a"), request(keyProduce, 1, 2, "b")...))
		mustWrite(t, fetch, request(keyFetch, 1, 3, "c"))
		mustWrite(t, metadata, append(request(keyMetadata, 1, 4, "d"), request(keyMetadata, 1, 5, "never served")...))
		synctest.Wait()
		begin := time.Now()
		stopped := make(chan struct{})
		go func() {
			h.stop()
			close(stopped)
		}()
		wantAnswer(t, fetch, 3, "c")
		if d := time.Since(begin); d != 0 {
			t.Errorf("the waiting Fetch was answered after %v", d)
		}
		done := make(chan struct{})
		go func() {
			wantAnswer(t, produce, 1, "a")
			wantAnswer(t, produce, 2, "b")
			close(done)
		}()
		wantAnswer(t, metadata, 4, "d")
		<-done
		<-stopped
		for i, nc := range []net.Conn{idle, half, produce, fetch, metadata} {
			if _, err := nc.Read(make([]byte, 1)); err == nil {
				t.Errorf("connection %d is open", i)
			}
		}
		if lines := h.log.lines(); lines[0] != "" {
			t.Errorf("log: %q", lines)
		}
	})
}

// Stop does not wait longer than it may.
func TestStopIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stuck *Exchange
		h := startMem(t, DefaultConfig(), func(x *Exchange) {
			x.Later()
			stuck = x
		})
		nc := h.dial()
		mustWrite(t, nc, request(keyProduce, 1, 1, "a"))
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		if err := h.srv.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop: %v", err)
		}
		if d := time.Since(begin); d != 5*time.Second {
			t.Errorf("Stop took %v", d)
		}
		echo(stuck) // an answer after the end is dropped
		synctest.Wait()
		if s := h.srv.Stats(); s.MemoryBytes != 0 || s.Connections != 0 {
			t.Errorf("left: %+v", s)
		}
	})
}

// A peer that asks and ends its side still gets its answers.
func TestAnswersAfterTheLastRequest(t *testing.T) {
	h := startTCP(t, DefaultConfig(), func(x *Exchange) {
		x.Later()
		time.AfterFunc(10*time.Millisecond, func() { echo(x) })
	})
	nc := h.dial().(*net.TCPConn)
	mustWrite(t, nc, append(request(keyProduce, 1, 1, "a"), request(keyProduce, 1, 2, "b")...))
	nc.CloseWrite()
	wantAnswer(t, nc, 1, "a")
	wantAnswer(t, nc, 2, "b")
	nc.Close()
	h.stop()
}

// failingListener fails so often before it accepts.
type failingListener struct {
	*memListener
	failures int
	err      error
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, l.err
	}
	return l.memListener.Accept()
}

func TestAcceptBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startMem(t, DefaultConfig(), echo)
		l := &failingListener{newMemListener(), 20, &net.OpError{Op: "accept", Err: syscall.EMFILE}}
		begin := time.Now()
		go h.srv.Serve(l, "POOR")
		nc := l.dial()
		if d := time.Since(begin); d < 10*time.Second || d > 20*time.Second {
			t.Errorf("accepting again after %v", d)
		}
		lines := h.log.lines()
		if len(lines) > 2*(logLinesMax+1) || !strings.Contains(lines[0], "too many open files") {
			t.Errorf("log: %q", lines)
		}
		nc.Close()
		h.stop()
	})
}

func TestConnectionLimits(t *testing.T) {
	for _, c := range []struct {
		name   string
		config func(*Config)
	}{
		{"max.connections", func(c *Config) { c.ConnectionsMax = 2 }},
		{"max.connections.per.ip", func(c *Config) { c.ConnectionsPerIPMax = 2 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := DefaultConfig()
			c.config(&config)
			h := startTCP(t, config, echo)
			ask := func(nc net.Conn) {
				t.Helper()
				mustWrite(t, nc, request(keyMetadata, 1, 1, "x"))
				wantAnswer(t, nc, 1, "x")
			}
			a, b := h.dial(), h.dial()
			ask(a)
			ask(b)
			over := h.dial()
			if _, err := over.Read(make([]byte, 1)); err == nil {
				t.Error("a third connection is served")
			}
			a.Close()
			for h.srv.Stats().Connections == 2 {
				time.Sleep(time.Millisecond)
			}
			again := h.dial()
			ask(again)
			for _, nc := range []net.Conn{b, over, again} {
				nc.Close()
			}
			h.stop()
			if lines := h.log.lines(); len(lines) != 1 || !strings.Contains(lines[0], c.name+" is 2") || !strings.Contains(lines[0], "127.0.0.1") {
				t.Errorf("log: %q", lines)
			}
		})
	}
}

func TestConfigIsValidated(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"socket.request.max.bytes": func(c *Config) { c.RequestBytesMax = 10 },
		"queued.max.request.bytes": func(c *Config) { c.MemoryBytes = 1 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestListenSaysWhatToDo(t *testing.T) {
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for address, says := range map[string]string{l.Addr().String(): "another process has that port", "256.0.0.1:x": "check the address"} {
		if _, err := Listen(t.Context(), address); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
