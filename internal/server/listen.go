package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// keepAlive has the system find peers that have vanished, without a word to each idle
// one every few seconds.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 2 * time.Minute, Interval: 30 * time.Second, Count: 4}

// Listen returns a TCP listener on an address of the form host:port.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	l, err := lc.Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("cannot listen on %s: another process has that port; end it, or give another port in listeners: %w", address, err)
	case err != nil:
		return nil, fmt.Errorf("cannot listen on %s: check the address in listeners: %w", address, err)
	}
	if tcp := l.(*net.TCPListener); tcp.Addr().(*net.TCPAddr).IP.IsLoopback() {
		unpace(tcp)
	}
	return l, nil
}
