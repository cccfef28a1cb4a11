package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"pushhub/core"
)

// input is what one read needs; an idle plain connection holds none.
type input struct {
	batch core.Batch
	buf   []byte
}

var inputs = sync.Pool{New: func() any { return &input{buf: make([]byte, readSize)} }}

// serve runs the connection until its end.
func (c *Conn) serve() {
	err := c.shake()
	if err == nil {
		err = c.read()
	}
	c.mu.Lock()
	c.closing = true
	c.fail(err)
	cause := c.cause
	c.mu.Unlock()
	var b core.Batch
	c.handler.Closed(&b, cause)
	b.Flush()
	c.kill()
}

// shake does the handshake of a connection that began with TLS.
func (c *Conn) shake() error {
	t, ok := c.conn().(*tls.Conn)
	if !ok {
		return nil
	}
	return c.handshake(t)
}

func (c *Conn) handshake(t *tls.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), shakeTime)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	c.tls.Store(t)
	return nil
}

// read feeds the handler until the connection ends; it returns why.
func (c *Conn) read() error {
	var rest []byte // what the handler has not used yet
	for {
		in, n, err := c.readSome()
		if n == 0 && err != nil {
			return closeCause(err)
		}
		c.last.Store(time.Now().UnixNano())
		data := in.buf[:n]
		if len(rest) > 0 {
			rest = append(rest, data...)
			data = rest
		}
		rest, err = c.feed(&in.batch, data, rest)
		in.batch.Flush()
		in.free()
		if err != nil {
			return err
		}
	}
}

// feed gives data to the handler and returns what is left of it, as a copy in the memory of rest.
func (c *Conn) feed(b *core.Batch, data, rest []byte) ([]byte, error) {
	for {
		if c.isClosing() {
			return nil, nil // only the peer's close is of interest now
		}
		n, err := c.handler.Input(b, data)
		data = data[n:]
		switch {
		case err == nil:
			return keep(rest, data), nil
		case errors.Is(err, ErrPause):
			rest = keep(rest, data)
			data = rest
			b.Flush()
			select {
			case <-c.resume:
			case <-c.gone:
				return nil, ErrClosed
			}
		case errors.Is(err, ErrStartTLS):
			if len(data) > 0 {
				return nil, ErrInjected
			}
			b.Flush()
			return nil, c.startTLS()
		default:
			b.Flush()
			c.Close(err)
			return nil, nil
		}
	}
}

func (c *Conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// keep copies data, which may lie in rest, to the front of rest.
func keep(rest, data []byte) []byte {
	if len(data) == 0 {
		return nil
	}
	return append(rest[:0], data...)
}

// startTLS waits until what is queued is written, then turns the connection into a TLS one.
func (c *Conn) startTLS() error {
	c.mu.Lock()
	plain := c.nc
	if c.busy || c.out != nil {
		c.mu.Unlock()
		return errors.New("wire: the peer did not take the answer to STARTTLS")
	}
	t := tls.Server(plain, c.server.opt.TLS)
	c.nc, c.raw = t, nil
	c.mu.Unlock()
	return c.handshake(t)
}

// readSome waits for input and reads it once. A plain connection takes a buffer
// only when there is something to read.
func (c *Conn) readSome() (*input, int, error) {
	c.mu.Lock()
	nc, raw := c.nc, c.raw
	c.mu.Unlock()
	if raw == nil {
		in := &input{buf: make([]byte, tlsReadSize)}
		n, err := nc.Read(in.buf)
		return in, n, err
	}
	var (
		in  *input
		n   int
		err error
	)
	rerr := raw.Read(func(fd uintptr) bool {
		in = inputs.Get().(*input)
		for {
			n, err = syscall.Read(int(fd), in.buf)
			if err != syscall.EINTR {
				break
			}
		}
		if err == syscall.EAGAIN {
			in.free()
			return false
		}
		return true
	})
	if rerr != nil {
		return in, 0, rerr
	}
	if n < 0 {
		n = 0
	}
	if n == 0 && err == nil {
		err = io.EOF
	}
	if n == 0 {
		in.free()
	}
	return in, n, err
}

func (in *input) free() {
	if len(in.buf) == readSize {
		inputs.Put(in)
	}
}

func closeCause(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}
