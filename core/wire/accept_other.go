//go:build !linux

package wire

import "net"

// A loop is Linux's; elsewhere goroutines serve all connections.
type loop struct{}

func (*Server) acceptPolled(*net.TCPListener) (served bool) { return false }

func (*Server) stopLoops() {}

func (*Server) adopt(net.Conn, net.Addr) bool { return false }
