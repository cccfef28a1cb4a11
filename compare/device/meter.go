package device

import (
	"net"
	"sync/atomic"
)

// Traffic is what crossed a wire: bytes as the transport carried them (with
// TLS its records, handshake included; without TCP's own headers), and how
// many calls wrote and read them.
type Traffic struct {
	Up     int64 `json:"up"`     // bytes from the device
	Down   int64 `json:"down"`   // bytes to the device
	Writes int64 `json:"writes"` // calls that wrote; small ones are a packet each
	Reads  int64 `json:"reads"`  // calls that read something
}

// Minus is what was added since an earlier reading.
func (t Traffic) Minus(earlier Traffic) Traffic {
	return Traffic{t.Up - earlier.Up, t.Down - earlier.Down, t.Writes - earlier.Writes, t.Reads - earlier.Reads}
}

// Meter counts the traffic of one or more connections. The zero value is ready;
// it is safe for concurrent use.
type Meter struct{ up, down, writes, reads atomic.Int64 }

// Traffic returns what was counted so far.
func (m *Meter) Traffic() Traffic {
	return Traffic{m.up.Load(), m.down.Load(), m.writes.Load(), m.reads.Load()}
}

// Conn returns c with its traffic counted by m.
func (m *Meter) Conn(c net.Conn) net.Conn { return &metered{c, m} }

type metered struct {
	net.Conn
	meter *Meter
}

// Read implements net.Conn.
func (c *metered) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.meter.down.Add(int64(n))
		c.meter.reads.Add(1)
	}
	return n, err
}

// Write implements net.Conn.
func (c *metered) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.meter.up.Add(int64(n))
		c.meter.writes.Add(1)
	}
	return n, err
}
