package server

import (
	"net"

	"golang.org/x/sys/unix"
)

// unpace gives the connections of a loopback listener a congestion control that does not
// pace. BBR, the default of many systems, paces loopback with a timer for every 64 KiB,
// which costs three times what sending the bytes does, and there is nothing to pace for: a
// full receive window already stops the sender (ADR 0013). Reno is allowed to everybody. A
// connection must be born with it: pacing that was once on stays on.
func unpace(l *net.TCPListener) {
	raw, err := l.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno") // slower without, no more
	})
}
