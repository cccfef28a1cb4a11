package device

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"
)

// What an Endpoint field that is left zero stands for.
const (
	DefaultTimeout = 10 * time.Second
	DefaultQueue   = 256
)

// Endpoint says where a device connects, and how.
type Endpoint struct {
	Address string      // host:port
	TLS     *tls.Config // nil: no TLS; ServerName defaults to the address's host
	// StartTLS has TLS begin inside the stream rather than with the first byte
	// (XMPP only).
	StartTLS bool
	// Meter counts the traffic; nil: one for this connection alone. Give the same
	// one to follow a device over several connections.
	Meter *Meter
	// Dial replaces the network, as a link emulator or a test does; nil: TCP.
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Timeout time.Duration // for each answer of the server
	Queue   int           // capacity of the channel of what arrives
}

func (e *Endpoint) defaults() {
	if e.Meter == nil {
		e.Meter = new(Meter)
	}
	if e.Dial == nil {
		e.Dial = new(net.Dialer).DialContext
	}
	if e.Timeout <= 0 {
		e.Timeout = DefaultTimeout
	}
	if e.Queue <= 0 {
		e.Queue = DefaultQueue
	}
}

// dial opens the transport: counted, and within TLS when that comes first.
func (e *Endpoint) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	raw, err := e.Dial(ctx, "tcp", e.Address)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w: %w", e.Address, ErrUnreachable, err)
	}
	conn := e.Meter.Conn(raw)
	if e.TLS == nil || e.StartTLS {
		return conn, nil
	}
	return e.secure(ctx, conn)
}

// secure begins TLS on conn, and closes it when that fails.
func (e *Endpoint) secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	config := e.TLS.Clone()
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(e.Address)
		if err != nil {
			host = e.Address
		}
		config.ServerName = host
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS with %s: %w", e.Address, err)
	}
	return secured, nil
}

// until runs step, which reads or writes conn, and ends its IO when ctx does or
// the timeout is over.
func until(ctx context.Context, conn net.Conn, timeout time.Duration, step func() error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	interrupted := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err := step()
	if interrupted() {
		return err
	}
	if err == nil { // the deadline may be set already, so that conn is lost
		return waited(ctx)
	}
	return fmt.Errorf("%w: %w", waited(ctx), err)
}

// waited is the error for a wait that ctx ended.
func waited(ctx context.Context) error {
	if ctx.Err() == context.DeadlineExceeded {
		return ErrNoAnswer
	}
	return ctx.Err()
}
