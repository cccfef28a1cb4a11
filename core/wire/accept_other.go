//go:build !linux

package wire

import "net"

// A loop is Linux's; elsewhere goroutines serve all connections.
type loop struct{}

func (*Server) polling(*net.TCPListener) (next func() error) { return nil }

func (*Server) stopLoops() {}

func (*Server) adopt(net.Conn, net.Addr) bool { return false }
