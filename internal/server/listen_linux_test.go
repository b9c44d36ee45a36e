package server

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOnlyLoopbackIsNotPaced looks at the congestion control of accepted connections.
func TestOnlyLoopbackIsNotPaced(t *testing.T) {
	system, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	if err != nil {
		t.Skip(err)
	}
	for address, want := range map[string]string{
		"127.0.0.1:0": "reno",
		"0.0.0.0:0":   strings.TrimSpace(string(system)),
	} {
		l, err := Listen(context.Background(), address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		client, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		nc, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if got := congestionControl(t, nc.(*net.TCPConn)); got != want {
			t.Errorf("a connection of a listener on %s uses %q, want %q", address, got, want)
		}
	}
}

func congestionControl(t *testing.T, nc *net.TCPConn) (name string) {
	t.Helper()
	raw, err := nc.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			name, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(name, "\x00")
}
