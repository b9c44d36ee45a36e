package machine

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pair is two processes, and a connection that the first has opened.
type pair struct {
	t            *testing.T
	net          *Network
	a, b         *Process
	dialled, got net.Conn
}

func inBubble(t *testing.T, delay time.Duration, f func(p *pair)) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		n.SetDelay("a", "b", delay)
		n.SetDelay("b", "a", delay)
		p := &pair{t: t, net: n, a: n.Start("a"), b: n.Start("b")}
		l, err := p.b.Listen("tcp", "b:1")
		if err != nil {
			t.Fatal(err)
		}
		if p.dialled, err = p.a.Dial(t.Context(), "tcp", "b:1"); err != nil {
			t.Fatal(err)
		}
		if p.got, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		f(p)
	})
}

func (p *pair) send(c net.Conn, s string) {
	p.t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		p.t.Fatal(err)
	}
}

// receive reads once, for a minute at most.
func (p *pair) receive(c net.Conn) (string, error) {
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	return string(b[:n]), err
}

func (p *pair) want(c net.Conn, want string, wantErr error) {
	p.t.Helper()
	if got, err := p.receive(c); got != want || !errors.Is(err, wantErr) {
		p.t.Errorf("read %q, %v, want %q, %v", got, err, want, wantErr)
	}
}

func TestBytesArriveInOrderAfterADelay(t *testing.T) {
	inBubble(t, time.Second, func(p *pair) {
		sent := time.Now()
		p.send(p.dialled, "one")
		p.want(p.got, "one", nil)
		if took := time.Since(sent); took < time.Second || took > 2*time.Second {
			p.t.Errorf("arrived after %v", took)
		}
		p.send(p.dialled, "two")
		p.net.SetDelay("a", "b", 0)
		p.send(p.dialled, "three")
		if p.dialled.Close() != nil {
			p.t.Error("it does not close")
		}
		time.Sleep(time.Minute)
		p.want(p.got, "twothree", nil)
		p.want(p.got, "", io.EOF)
		if _, err := p.got.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			p.t.Errorf("writing to who has closed: %v", err)
		}
	})
}

func TestCutOneWay(t *testing.T) {
	inBubble(t, 0, func(p *pair) {
		p.net.Cut("a", "b")
		p.send(p.dialled, "held")
		p.send(p.got, "back")
		p.want(p.dialled, "back", nil)
		p.want(p.got, "", os.ErrDeadlineExceeded)
		ctx, cancel := context.WithTimeout(p.t.Context(), time.Second)
		defer cancel()
		if _, err := p.a.Dial(ctx, "tcp", "b:1"); !errors.Is(err, context.DeadlineExceeded) {
			p.t.Errorf("dialling across the cut: %v", err)
		}
		p.net.Mend("a", "b")
		p.want(p.got, "held", nil)
		p.net.Cut("a", "b")
		p.send(p.dialled, "given up")
		p.dialled.Close()
		p.net.Mend("a", "b")
		p.want(p.got, "", io.EOF)
	})
}

func TestKillAndPowerOff(t *testing.T) {
	inBubble(t, 0, func(p *pair) {
		p.send(p.got, "last words")
		p.b.Kill()
		p.want(p.dialled, "last words", nil)
		p.want(p.dialled, "", io.EOF)
		if _, err := p.got.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			p.t.Errorf("a killed process writes: %v", err)
		}
		if _, err := p.a.Dial(p.t.Context(), "tcp", "b:1"); !errors.Is(err, syscall.ECONNREFUSED) {
			p.t.Errorf("dialling who was killed: %v", err)
		}
	})
	inBubble(t, 0, func(p *pair) {
		p.send(p.got, "never heard")
		p.b.PowerOff()
		p.send(p.dialled, "anybody there?")
		p.want(p.dialled, "", os.ErrDeadlineExceeded)
		ctx, cancel := context.WithTimeout(p.t.Context(), time.Second)
		defer cancel()
		if _, err := p.a.Dial(ctx, "tcp", "b:1"); !errors.Is(err, context.DeadlineExceeded) {
			p.t.Errorf("dialling a host without power: %v", err)
		}
		p.net.Start("b")
		p.want(p.dialled, "", syscall.ECONNRESET)
	})
}

func TestWriterWaitsForRoom(t *testing.T) {
	inBubble(t, 0, func(p *pair) {
		if err := p.dialled.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			p.t.Fatal(err)
		}
		n, err := p.dialled.Write(make([]byte, 2*streamBytesMax))
		if n != streamBytesMax || !errors.Is(err, os.ErrDeadlineExceeded) {
			p.t.Errorf("%d bytes, %v", n, err)
		}
		if n, err := io.ReadFull(p.got, make([]byte, streamBytesMax)); err != nil {
			p.t.Errorf("%d bytes, %v", n, err)
		}
	})
}
