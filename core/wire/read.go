package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
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

const (
	keepRest  = 4 << 10  // a shorter rest does not hold on to
	looseRest = 16 << 10 // memory larger than this
)

// A verdict is what the reader does next.
type verdict uint8

const (
	readOn verdict = iota
	waitForResume
	negotiateTLS
)

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
	v := readOn
	for {
		var err error
		switch v {
		case readOn:
			v, err = c.fill()
		case waitForResume:
			v, err = c.wait()
		case negotiateTLS:
			v, err = readOn, c.startTLS()
		}
		if err != nil {
			return err
		}
	}
}

// fill reads until something else is to be done.
func (c *Conn) fill() (verdict, error) {
	c.mu.Lock()
	nc, raw := c.nc, c.raw
	c.mu.Unlock()
	if raw == nil {
		return c.fillBlocking(nc)
	}
	if err := raw.Read(c.tryRead); err != nil {
		return readOn, closeCause(err)
	}
	return c.next, c.readErr
}

// readable is called by the poller when the socket may have something to read. It
// serves the handler from inside that call: leaving it and coming back would cost
// one more system call, which only tells that nothing is there yet.
func (c *Conn) readable(fd uintptr) (done bool) {
	for {
		in := inputs.Get().(*input)
		buf, held := c.place(in)
		n, err := readFD(int(fd), buf[held:])
		if errors.Is(err, syscall.EAGAIN) {
			in.free()
			return false
		}
		if n <= 0 {
			in.free()
			if err == nil {
				err = io.EOF
			}
			c.next, c.readErr = readOn, closeCause(err)
			return true
		}
		c.last.Store(time.Now().UnixNano())
		c.next = c.give(&in.batch, buf[:held+n])
		in.free()
		if c.next != readOn {
			c.readErr = nil
			return true
		}
		// A short read is not the end of it: the poller tells of data and of the
		// peer's close that came with it but once.
	}
}

// readFD returns n <= 0 and no error at the end of the stream.
func readFD(fd int, p []byte) (n int, err error) {
	for {
		n, err = syscall.Read(fd, p)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// place returns a buffer that begins with what the handler has not used yet. A
// large rest, of a packet that takes many reads, grows where it is.
func (c *Conn) place(in *input) (buf []byte, held int) {
	held = len(c.rest)
	if held <= readSize/2 {
		copy(in.buf, c.rest)
		return in.buf, held
	}
	c.rest = slices.Grow(c.rest, max(readSize, held))
	return c.rest[:cap(c.rest)], held
}

// fillBlocking reads once from a connection that has no descriptor to poll.
func (c *Conn) fillBlocking(nc net.Conn) (verdict, error) {
	if c.own == nil {
		c.own = &input{buf: make([]byte, tlsReadSize)}
	}
	n, err := nc.Read(c.own.buf)
	if n == 0 && err != nil {
		return readOn, closeCause(err)
	}
	c.last.Store(time.Now().UnixNano())
	data := c.own.buf[:n]
	if len(c.rest) > 0 {
		c.rest = append(c.rest, data...)
		data = c.rest
	}
	return c.give(&c.own.batch, data), nil
}

// wait gives the handler its input again after Resume.
func (c *Conn) wait() (verdict, error) {
	select {
	case <-c.resume:
	case <-c.gone:
		return readOn, ErrClosed
	}
	in := inputs.Get().(*input)
	defer in.free()
	return c.give(&in.batch, c.rest), nil
}

// give hands data to the handler, keeps what it did not use, and writes what it caused.
func (c *Conn) give(b *core.Batch, data []byte) verdict {
	if c.isClosing() {
		c.rest = nil
		return readOn // only the peer's close is of interest now
	}
	n, err := c.handler.Input(b, data)
	c.rest = keep(c.rest, data[n:])
	b.Flush()
	switch {
	case err == nil:
		return readOn
	case errors.Is(err, ErrPause):
		return waitForResume
	case errors.Is(err, ErrStartTLS):
		return negotiateTLS
	}
	c.rest = nil
	c.Close(err)
	return readOn
}

func (c *Conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

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

// startTLS waits until what is queued is written, then turns the connection into a TLS one.
func (c *Conn) startTLS() error {
	if len(c.rest) > 0 {
		return ErrInjected
	}
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
