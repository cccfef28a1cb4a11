package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"pushhub/core"
)

// streamReadSize is one read of a stream, which holds that much while idle.
const streamReadSize = 4 << 10

// A stream is the transport of whatever net.Conn there is: TLS, WebSocket, unix
// sockets. A goroutine reads it, and another writes while there is something to write.
type stream struct {
	c       *Conn
	nc      net.Conn
	resumed chan struct{} // sent by resume, received by the reader; capacity 1; never closed
	gone    chan struct{} // closed by kill
	idle    chan struct{} // sent by the writer when it has written all; capacity 1; never closed

	// The reader's own.
	batch core.Batch
	buf   []byte
}

func newStream(c *Conn, nc net.Conn) *stream {
	return &stream{c: c, nc: nc, resumed: make(chan struct{}, 1), gone: make(chan struct{}), idle: make(chan struct{}, 1)}
}

func (s *stream) flush() { s.c.server.wg.Go(s.write) }

// write empties the out-queue.
func (s *stream) write() {
	c := s.c
	for b := c.take(); b != nil; b = c.take() {
		n, err := s.nc.Write(b.b)
		b.free()
		c.wrote(n)
		if err != nil {
			c.broken(err)
			break
		}
	}
	signal(s.idle)
	c.settle()
}

// signal sends on a channel of capacity 1 whose receiver looks at everything.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func (s *stream) resume() { signal(s.resumed) }

func (s *stream) hangUp() error {
	if cw, ok := s.nc.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (s *stream) kill() {
	close(s.gone)
	s.c.server.wg.Go(func() { s.nc.Close() }) // a TLS close writes to the socket, which may block
}

func (s *stream) remote() net.Addr { return s.nc.RemoteAddr() }

// serve runs the connection until its end.
func (s *stream) serve() {
	err := s.shake()
	if err == nil {
		err = s.read()
	}
	if next := s.c.transport(); next != s {
		next.(*stream).serve() // TLS has begun
		return
	}
	s.c.ended(&s.batch, err)
}

// shake does the handshake of a connection that begins with TLS.
func (s *stream) shake() error {
	t, ok := s.nc.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), shakeTime)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	s.c.tls.Store(t)
	return nil
}

// errUpgraded ends the reading of a stream that goes on over TLS.
var errUpgraded = errors.New("wire: TLS has begun")

// read feeds the handler until the connection ends; it returns why.
func (s *stream) read() error {
	v := readOn
	for {
		var err error
		switch v {
		case readOn:
			v, err = s.fill()
		case waitForResume:
			v, err = s.wait()
		case negotiateTLS:
			s.drain()
			if err = s.c.upgrade(s.nc); err == nil {
				return errUpgraded
			}
		}
		if err != nil {
			return err
		}
	}
}

// fill reads once.
func (s *stream) fill() (verdict, error) {
	if s.buf == nil {
		s.buf = make([]byte, streamReadSize)
	}
	n, err := s.nc.Read(s.buf)
	if n == 0 && err != nil {
		return readOn, closeCause(err)
	}
	c := s.c
	c.heard(n)
	data := s.buf[:n]
	if len(c.rest) > 0 {
		c.rest = append(c.rest, data...)
		data = c.rest
	}
	return s.give(data), nil
}

// drain waits until all is written, but not for ever.
func (s *stream) drain() {
	limit := time.NewTimer(shakeTime)
	defer limit.Stop()
	for s.c.Queued() > 0 {
		select {
		case <-s.idle:
		case <-s.gone:
			return
		case <-limit.C:
			return
		}
	}
}

// wait gives the handler its input again after resume.
func (s *stream) wait() (verdict, error) {
	select {
	case <-s.resumed:
	case <-s.gone:
		return readOn, ErrClosed
	}
	return s.give(s.c.rest), nil
}

func (s *stream) give(data []byte) verdict {
	v := s.c.give(&s.batch, data)
	s.batch.Flush()
	return v
}

// upgrade turns a connection into a TLS one over nc. All that is queued must have
// been written, and nothing may have come that was not used.
func (c *Conn) upgrade(nc net.Conn) error {
	if len(c.rest) > 0 {
		return ErrInjected
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.killed || c.busy || c.clogged || c.out != nil {
		return errors.New("wire: the peer did not take the answer to STARTTLS")
	}
	c.t = newStream(c, secure(nc, c.server.opt.TLS))
	return nil
}

// A verdict is what the reader does next.
type verdict uint8

const (
	readOn verdict = iota
	waitForResume
	negotiateTLS
)

const (
	keepRest  = 4 << 10  // a shorter rest does not hold on to
	looseRest = 16 << 10 // memory larger than this
)

// keep copies data, which may lie in rest, to the front of rest.
func keep(rest, data []byte) []byte {
	switch {
	case len(data) == 0:
		return nil
	case len(data) < keepRest && cap(rest) > looseRest:
		rest = nil
	}
	return append(rest[:0], data...)
}

func closeCause(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}
