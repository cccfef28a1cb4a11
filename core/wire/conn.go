// Package wire owns byte streams: accepting connections, reading what arrives in
// batches, and writing bounded out-queues without ever making one peer wait for
// another. It knows no protocol: the bytes go to a Handler, which is an engine of
// mqttfront or xmppfront. It must never look inside the bytes.
//
// Lock order: Server.mu, then a Conn's mu, which is a leaf; nothing is called while it is held.
package wire

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"pushhub/core"
)

// A Handler is the protocol engine of one connection: bytes in, bytes out.
type Handler interface {
	// Input takes all bytes that have arrived and were not used yet, and returns
	// how many it used; the rest is given again with more behind. data is valid
	// during the call only. The error may be ErrPause or ErrStartTLS; any other
	// ends the connection once the out-queue is written, one that wraps ErrGoodbye
	// without waiting for the peer's end. Calls do not overlap.
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
	// ErrGoodbye is returned by Input when the peer has said that it sends and
	// expects nothing more.
	ErrGoodbye = errors.New("wire: the peer has said goodbye")
	// ErrClosed is why a connection ended when its peer, or Close(nil), ended it.
	ErrClosed = errors.New("wire: connection closed")
	// ErrInjected is why STARTTLS failed: bytes were sent before the handshake.
	ErrInjected = errors.New("wire: bytes before the TLS handshake")
)

const (
	readSize   = 64 << 10        // one read
	lingerTime = 2 * time.Second // for the last bytes and the peer's own close
	shakeTime  = 10 * time.Second
)

// A Conn is one connection. Append to its out-queue between Begin and End; what
// was appended is written by Flush.
type Conn struct {
	server  *Server
	from    netip.Addr    // see From; set once
	handler Handler       // set once, before the connection is known to anybody
	last    atomic.Int64  // when input came last, Unix nanoseconds
	in      atomic.Uint64 // bytes read; the reader alone writes it
	tls     atomic.Pointer[tls.Conn]
	rest    []byte     // the reader's own: what the handler has not used yet
	batch   core.Batch // the writer's own: whoever has set busy

	mu      sync.Mutex // guards what follows
	t       transport  // becomes another when TLS begins
	out     *buffer
	busy    bool // somebody writes: Flush has nothing to do
	clogged bool // the socket takes no more; the transport writes on when it does
	dirty   bool // something was appended since the last Flush
	closing bool // no more is appended; hang up when all is written
	hungUp  bool
	goodbye bool // the peer waits for nothing more
	killed  bool // the socket is to be closed, whatever is left to write
	cause   error
	queued  int // bytes in out and in the hands of the writer
	written uint64
}

// A transport moves a connection's bytes. Its methods may be called from anywhere,
// and never block.
type transport interface {
	// flush writes the out-queue; the caller has set busy, and flush clears it.
	flush()
	// resume gives input again after ErrPause.
	resume()
	// hangUp ends our direction when all is written.
	hangUp() error
	// kill closes the socket. It is called once.
	kill()
	remote() net.Addr
}

func newConn(s *Server) *Conn {
	c := &Conn{server: s}
	c.last.Store(time.Now().UnixNano())
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

// Flush writes what was appended, without blocking.
func (c *Conn) Flush() {
	c.mu.Lock()
	c.dirty = false
	if c.busy || c.clogged || c.hungUp || (c.out == nil && !c.closing) {
		c.mu.Unlock()
		return
	}
	c.busy = true
	t := c.t
	c.mu.Unlock()
	t.flush()
}

// take gives the writer what is queued; nil when there is nothing, and the writer
// is then one no longer.
func (c *Conn) take() *buffer {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.out
	c.out = nil
	if b != nil && len(b.b) == 0 {
		b.free()
		b = nil
	}
	if b == nil {
		c.busy = false
	}
	return b
}

// wrote accounts for n bytes and tells the handler.
func (c *Conn) wrote(n int) {
	if n <= 0 {
		return
	}
	c.mu.Lock()
	c.queued -= n
	c.written += uint64(n)
	total := c.written
	c.mu.Unlock()
	c.handler.Written(&c.batch, total)
	c.batch.Flush()
}

// broken notes that the peer can be written to no more. The writer is one no longer.
func (c *Conn) broken(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing, c.busy = true, false
	c.fail(err)
}

// settle is called by who was the writer: it hangs up when that is due. Where the
// peer waits for nothing, the socket is closed instead.
func (c *Conn) settle() {
	c.mu.Lock()
	due := c.closing && !c.hungUp && !c.busy && !c.clogged
	c.hungUp = c.hungUp || due
	t, goodbye := c.t, c.goodbye
	c.mu.Unlock()
	if !due {
		return
	}
	if goodbye || t.hangUp() != nil {
		c.kill()
		return
	}
	t.resume() // a reader that was paused sees the peer's end
}

// give hands data to the handler and keeps what it did not use; the caller
// flushes b. At the end of the connection only the peer's own is of interest.
func (c *Conn) give(b *core.Batch, data []byte) verdict {
	if c.isClosing() {
		c.rest = nil
		return readOn
	}
	n, err := c.handler.Input(b, data)
	c.rest = keep(c.rest, data[n:])
	switch {
	case err == nil:
		return readOn
	case errors.Is(err, ErrPause):
		return waitForResume
	case errors.Is(err, ErrStartTLS):
		return negotiateTLS
	}
	c.rest = nil
	if errors.Is(err, ErrGoodbye) {
		c.mu.Lock()
		c.goodbye = true
		c.mu.Unlock()
	}
	b.Flush() // the last bytes, in order
	c.Close(err)
	return readOn
}

// ended is the reader's last call.
func (c *Conn) ended(b *core.Batch, err error) {
	c.mu.Lock()
	c.closing = true
	c.fail(err)
	cause := c.cause
	c.mu.Unlock()
	c.handler.Closed(b, cause)
	b.Flush()
	c.kill()
}

func (c *Conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// dead reports whether the socket is to be closed.
func (c *Conn) dead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.killed
}

// heard notes that n bytes came.
func (c *Conn) heard(n int) {
	c.last.Store(time.Now().UnixNano())
	c.in.Store(c.in.Load() + uint64(n))
}

// Resume gives input again after ErrPause. It may be called from anywhere.
func (c *Conn) Resume() { c.transport().resume() }

func (c *Conn) transport() transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
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
	c.Flush()
	if !c.dead() {
		time.AfterFunc(lingerTime, c.kill)
	}
}

// fail notes the first cause; the caller holds mu.
func (c *Conn) fail(err error) {
	if c.cause == nil {
		c.cause = err
	}
}

// kill closes the socket, whatever is left to write.
func (c *Conn) kill() {
	c.mu.Lock()
	if c.killed {
		c.mu.Unlock()
		return
	}
	c.killed, c.closing, c.hungUp = true, true, true
	t := c.t
	c.mu.Unlock()
	t.kill()
}

// LastInput is when input came last.
func (c *Conn) LastInput() time.Time { return time.Unix(0, c.last.Load()) }

// Bytes is how many bytes were read and written so far.
func (c *Conn) Bytes() (in, out uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.Load(), c.written
}

// RemoteAddr is the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.transport().remote() }

// TLS returns the connection's TLS state, or nil where there is none.
func (c *Conn) TLS() *tls.ConnectionState {
	t := c.tls.Load()
	if t == nil {
		return nil
	}
	s := t.ConnectionState()
	return &s
}
