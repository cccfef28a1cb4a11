// Package wire owns byte streams: accepting connections, reading what arrives in
// batches, and writing bounded out-queues without ever making one peer wait for
// another. It knows no protocol: the bytes go to a Handler, which is an engine of
// mqttfront or xmppfront. It must never look inside the bytes.
//
// Lock order: a Conn's mu is a leaf; nothing is called while it is held.
package wire

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pushhub/core"
)

// A Handler is the protocol engine of one connection: bytes in, bytes out.
type Handler interface {
	// Input takes all bytes that have arrived and were not used yet, and returns
	// how many it used; the rest is given again with more behind. data is valid
	// during the call only. The error may be ErrPause or ErrStartTLS; any other
	// ends the connection once the out-queue is written. Calls do not overlap.
	Input(b *core.Batch, data []byte) (n int, err error)
	// Written is told how many bytes were written in total, after each write, by
	// whoever wrote; it may append more and call the router.
	Written(b *core.Batch, total uint64)
	// Tick is called about once a second, beside Input; an error ends the connection.
	Tick(now time.Time) error
	// Closed is the last call, after the last Input: why the connection ended.
	Closed(b *core.Batch, err error)
}

var (
	// ErrPause is returned by Input to get no more input until Conn.Resume.
	ErrPause = errors.New("wire: input is paused")
	// ErrStartTLS is returned by Input when what is queued shall be written and
	// TLS negotiated next. Bytes that came after what Input used end the connection.
	ErrStartTLS = errors.New("wire: TLS is next")
	// ErrClosed is why a connection ended when its peer, or Close(nil), ended it.
	ErrClosed = errors.New("wire: connection closed")
	// ErrInjected is why STARTTLS failed: bytes were sent before the handshake.
	ErrInjected = errors.New("wire: bytes before the TLS handshake")
)

const (
	readSize    = 64 << 10        // one read of a plain connection
	tlsReadSize = 4 << 10         // one read of a TLS connection, which holds it while idle
	lingerTime  = 2 * time.Second // for the last bytes and the peer's own close
	shakeTime   = 10 * time.Second
)

// A Conn is one connection. Append to its out-queue between Begin and End; what
// was appended is written by Flush.
type Conn struct {
	server  *Server
	handler Handler       // set once, before the connection is known to anybody
	resume  chan struct{} // sent by Resume, received by the reader; capacity 1; never closed
	gone    chan struct{} // closed when the socket is to be closed for good
	last    atomic.Int64  // when input came last, Unix nanoseconds
	tls     atomic.Pointer[tls.Conn]

	// The reader's own.
	rest    []byte             // what the handler has not used yet
	own     *input             // of a connection that is read blocking
	tryRead func(uintptr) bool // c.readable, made once
	next    verdict            // what readable came to
	readErr error

	// The writer's own: whoever has set busy.
	batch    core.Batch
	tryWrite func(uintptr) bool // c.writable, made once
	unsent   []byte             // what writable shall write
	wrote    int                // what it came to
	writeErr error

	mu      sync.Mutex // guards what follows
	nc      net.Conn
	raw     syscall.RawConn // nil: writes block, a goroutine makes them
	out     *buffer
	busy    bool // somebody writes: Flush has nothing to do
	dirty   bool // something was appended since the last Flush
	closing bool // no more is appended; hang up when all is written
	hungUp  bool
	cause   error
	queued  int // bytes in out and in the hands of the writer
	written uint64
}

func newConn(s *Server, nc net.Conn) *Conn {
	c := &Conn{server: s, nc: nc, resume: make(chan struct{}, 1), gone: make(chan struct{})}
	c.last.Store(time.Now().UnixNano())
	if sc, ok := nc.(syscall.Conn); ok {
		c.raw, _ = sc.SyscallConn()
	}
	c.tryRead, c.tryWrite = c.readable, c.writable
	return c
}

// Begin locks the out-queue and returns it to be appended to and given to End.
// It reports false, and locks nothing, when n more bytes do not fit the bound or
// the connection is closing. n == 0 asks for what must be sent whatever the bound.
// A message of any size fits an empty queue.
func (c *Conn) Begin(n int) ([]byte, bool) {
	c.mu.Lock()
	if c.closing || (n > 0 && c.queued > 0 && c.queued+n > c.server.opt.QueueBytes) {
		c.mu.Unlock()
		return nil, false
	}
	if c.out == nil {
		c.out = newBuffer(max(n, spare))
	} else {
		c.out = c.out.reserve(n)
	}
	return c.out.b, true
}

// End takes the appended queue back. It reports true when the connection was
// clean before: the caller then touches its batch.
func (c *Conn) End(b []byte) bool {
	c.queued += len(b) - len(c.out.b)
	c.out.b = b
	first := !c.dirty
	c.dirty = true
	c.mu.Unlock()
	return first
}

// Total is how many bytes were appended so far; call it between Begin and End
// with what Begin returned, grown, to learn the offset at which Written will have passed it.
func (c *Conn) Total(b []byte) uint64 {
	return c.written + uint64(c.queued) + uint64(len(b)-len(c.out.b))
}

// Queued is how many bytes are appended and not yet written.
func (c *Conn) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued
}

// Flush writes what was appended, without blocking: what the socket does not
// take at once, a goroutine writes.
func (c *Conn) Flush() {
	c.mu.Lock()
	c.dirty = false
	if c.busy || c.hungUp || (c.out == nil && !c.closing) {
		c.mu.Unlock()
		return
	}
	c.busy = true
	if c.raw == nil {
		c.mu.Unlock()
		c.server.wg.Go(func() { c.write(nil, true) })
		return
	}
	c.mu.Unlock()
	c.write(nil, false)
}

// write empties the out-queue; the caller has set busy. rest is what an earlier
// write left. When it may not block and the socket is full, it hands over to a goroutine.
func (c *Conn) write(rest *buffer, block bool) {
	off := 0
	for {
		if rest == nil {
			c.mu.Lock()
			if c.out == nil {
				break
			}
			rest, c.out, off = c.out, nil, 0
			c.mu.Unlock()
		}
		n, err := c.writeSome(rest.b[off:], block)
		off += n
		total := c.account(n)
		if err != nil {
			rest.free()
			c.mu.Lock()
			c.closing = true
			c.fail(err)
			break
		}
		if off < len(rest.b) && !block {
			left := rest
			left.b = left.b[:copy(left.b, left.b[off:])]
			c.server.wg.Go(func() { c.write(left, true) })
			return
		}
		if off == len(rest.b) {
			rest.free()
			rest = nil
		}
		c.handler.Written(&c.batch, total)
		c.batch.Flush()
	}
	c.busy = false
	hangUp := c.closing && !c.hungUp
	c.mu.Unlock()
	if hangUp {
		c.hangUp()
	}
}

func (c *Conn) account(n int) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queued -= n
	c.written += uint64(n)
	return c.written
}

// writeSome writes once. Without block it returns 0, nil when the socket is full.
func (c *Conn) writeSome(p []byte, block bool) (n int, err error) {
	if block {
		return c.conn().Write(p)
	}
	c.unsent = p
	if err := c.raw.Write(c.tryWrite); err != nil {
		return 0, err
	}
	return c.wrote, c.writeErr
}

func (c *Conn) writable(fd uintptr) (done bool) {
	for {
		n, err := syscall.Write(int(fd), c.unsent)
		if err == syscall.EINTR {
			continue
		}
		if err == syscall.EAGAIN {
			err = nil
		}
		c.unsent, c.wrote, c.writeErr = nil, max(n, 0), err
		return true
	}
}

func (c *Conn) conn() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nc
}

// Resume gives input again after ErrPause. It may be called early, and from anywhere.
func (c *Conn) Resume() {
	select {
	case c.resume <- struct{}{}:
	default:
	}
}

// Close writes what is queued and hangs up; nothing more is appended. It never
// blocks: the peer gets two seconds to take the rest.
func (c *Conn) Close(cause error) {
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return
	}
	c.closing = true
	if c.cause == nil {
		c.cause = cause
	}
	c.mu.Unlock()
	time.AfterFunc(lingerTime, c.kill)
	c.Flush()
}

// fail notes the first cause; the caller holds mu.
func (c *Conn) fail(err error) {
	if c.cause == nil {
		c.cause = err
	}
}

// hangUp ends our direction when all is written; the reader ends on the peer's.
func (c *Conn) hangUp() {
	c.mu.Lock()
	done := c.hungUp
	c.hungUp = true
	nc := c.nc
	c.mu.Unlock()
	if done {
		return
	}
	if cw, ok := nc.(interface{ CloseWrite() error }); ok && cw.CloseWrite() == nil {
		c.Resume()
		return
	}
	c.kill()
}

// kill closes the socket, whatever is left to write. The reader calls it last,
// so that a later call finds nothing to do.
func (c *Conn) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.gone:
		return
	default:
		close(c.gone)
	}
	c.closing, c.hungUp = true, true
	nc := c.nc
	c.server.wg.Go(func() { nc.Close() }) // a TLS close writes to the socket, which may block
}

// LastInput is when input came last.
func (c *Conn) LastInput() time.Time { return time.Unix(0, c.last.Load()) }

// RemoteAddr is the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.conn().RemoteAddr() }

// TLS returns the connection's TLS state, or nil where there is none.
func (c *Conn) TLS() *tls.ConnectionState {
	t := c.tls.Load()
	if t == nil {
		return nil
	}
	s := t.ConnectionState()
	return &s
}
