// Package websocket owns the server's side of RFC 6455 for protocols that are
// streams of bytes: a Conn reads as the payload of the client's binary frames, and
// each Write is one binary frame. There is no text, no compression and no message:
// frames are borders that nobody sees [MQTT-6.0.0-2]. It must never hold more of
// what a client sends than one frame's header.
package websocket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	upgradeTime = 10 * time.Second       // for the request, and TLS underneath
	partingTime = 500 * time.Millisecond // for a Close frame that is the last one
	joined      = 16 << 10               // longer frames are not copied behind their header
)

// frames are for putting a header and a payload together.
var frames = sync.Pool{New: func() any {
	b := make([]byte, 0, maxHeader+joined)
	return &b
}}

// errNotOpen is what writing comes to before the upgrade and after the closing.
var errNotOpen = fmt.Errorf("websocket: not open: %w", net.ErrClosed)

// A Conn is a net.Conn; Server makes one. One goroutine may read and one may
// write at a time; Close may be called beside them.
type Conn struct {
	nc  net.Conn
	opt *Options

	// The reader's own.
	upgraded bool
	early    []byte // what came behind the request
	decoder
	failed error // what every later Read returns

	mu   sync.Mutex // held around writing to nc, which is what it is for; guards what follows
	open bool       // between the upgrade and our Close frame
}

// Server makes a Conn of an accepted one. The first Read answers the client's
// request to upgrade, as opt has it; its error is a *Refusal when the request was refused.
func Server(nc net.Conn, opt *Options) *Conn { return &Conn{nc: nc, opt: opt} }

// Read returns payload of binary frames. It answers Pings on its way. io.EOF says
// that the peer closed.
func (c *Conn) Read(p []byte) (n int, err error) {
	if !c.upgraded {
		if err := c.upgrade(); err != nil {
			c.failed = err
		}
		c.upgraded = true
	}
	for n == 0 && len(p) > 0 && c.failed == nil {
		if n, err = c.receive(p); n == 0 && err != nil {
			c.failed = err
			break
		}
		n = c.take(p[:n])
	}
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, c.failed
}

// receive returns bytes as they are on the wire.
func (c *Conn) receive(p []byte) (int, error) {
	if len(c.early) == 0 {
		return c.nc.Read(p)
	}
	n := copy(p, c.early)
	if c.early = c.early[n:]; len(c.early) == 0 {
		c.early = nil
	}
	return n, nil
}

// take decodes p in place and returns how much payload it held.
func (c *Conn) take(p []byte) int {
	n, err := c.decode(p)
	if c.pinged {
		c.pinged = false
		_ = c.send(opPong, c.pong[:c.ponged]) // §5.5.2; after our Close none is due
	}
	if err != nil {
		c.failed = c.parted(err)
	}
	return n
}

// parted answers what ends the connection; it returns what reading comes to.
func (c *Conn) parted(err error) error {
	var end *closing
	if !errors.As(err, &end) {
		return err
	}
	_ = c.part(end.code) // the peer may have gone
	if end.why == "" {
		return io.EOF
	}
	return err
}

// Write sends p as one binary frame [MQTT-6.0.0-1]. It returns len(p) or an error.
func (c *Conn) Write(p []byte) (int, error) {
	if err := c.send(opBinary, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *Conn) send(kind byte, p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return errNotOpen
	}
	return c.frame(kind, p)
}

// frame writes a frame; the caller holds mu.
func (c *Conn) frame(kind byte, p []byte) error {
	buf := frames.Get().(*[]byte)
	defer frames.Put(buf)
	head := append((*buf)[:0], kind|finalBit)
	switch n := len(p); {
	case n <= maxControl:
		head = append(head, byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	if len(p) > joined {
		if _, err := c.nc.Write(head); err != nil {
			return err
		}
		_, err := c.nc.Write(p)
		return err
	}
	_, err := c.nc.Write(append(head, p...))
	return err
}

// part says why we close, once, after which nothing more is sent (§5.5.1).
func (c *Conn) part(code uint16) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return errNotOpen
	}
	c.open = false
	return c.frame(opClose, binary.BigEndian.AppendUint16(nil, code))
}

// CloseWrite begins the closing handshake; Read ends when the peer has answered.
func (c *Conn) CloseWrite() error { return c.part(closeNormal) }

// Close ends the connection, with a Close frame if the peer takes it at once.
func (c *Conn) Close() error {
	// The deadline ends a Write that waits for the peer, and bounds our own.
	_ = c.nc.SetWriteDeadline(time.Now().Add(partingTime))
	_ = c.part(closeNormal) // it may be open no more
	return c.nc.Close()
}

// LocalAddr is that of the connection underneath, as are the others.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr is the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// SetDeadline bounds reads and writes. A write that it cuts off spoils the connection.
func (c *Conn) SetDeadline(t time.Time) error { return c.nc.SetDeadline(t) }

// SetReadDeadline bounds reads.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.nc.SetReadDeadline(t) }

// SetWriteDeadline bounds writes; see SetDeadline.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.nc.SetWriteDeadline(t) }

// welcome writes the answer to the request, behind which frames may follow.
func (c *Conn) welcome(answer string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := io.WriteString(c.nc, answer)
	c.open = err == nil
	return err
}
