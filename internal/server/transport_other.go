//go:build !linux

package server

import "net"

func newTransport(c *Conn, _ net.Conn) transport { return newStream(c) }
