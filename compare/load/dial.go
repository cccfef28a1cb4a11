package load

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
)

// sources is how many loopback addresses connections come from in turn. One
// address has 28,000 ports for one target, fewer while those of past
// connections wait.
const sources = 250

var nextSource atomic.Uint32

// source returns the next source address, or nil for a target that is not on
// IPv4 loopback and so can be reached from one address only.
func source(target net.IP) net.IP {
	if v4 := target.To4(); v4 == nil || !v4.IsLoopback() {
		return nil
	}
	return net.IPv4(127, 0, 0, 2+byte(nextSource.Add(1)%sources))
}

// dial opens a connection from one of many source addresses.
func dial(ctx context.Context, addr string) (*net.TCPConn, error) {
	var dialer net.Dialer
	if to, err := net.ResolveTCPAddr("tcp", addr); err == nil { // else the dialer says it better
		if from := source(to.IP); from != nil {
			dialer.LocalAddr = &net.TCPAddr{IP: from}
			dialer.Control = portAtConnect
		}
	}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return conn.(*net.TCPConn), nil
}

// wrap speaks TLS on a connection. The certificate is not checked: nothing
// secret is sent, and a broker under test signs its own.
func wrap(ctx context.Context, conn net.Conn) (net.Conn, error) {
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return secure, nil
}
