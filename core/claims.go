package core

import "sync"

// claims are the connections that wait for their sessions. Of several that want
// the same session the last one gets it, and none of the others is ever on it: a
// device that were, while a later claim is on its way to the journal, could send
// what is stored behind that claim, and would be taken at its word twice when the
// next connection repeats it.
type claims struct {
	mu     sync.Mutex // guards latest; held while claims are queued and devices bound
	latest map[Address]*Attachment
}

// awaited reports whether a connection waits for the session of an address.
func (c *claims) awaited(addr Address) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.latest[addr] != nil
}

// begin makes a connection the last one that wants its session; it returns the one
// that was that before it, nil when there was none.
func (c *claims) begin(att *Attachment) (before *Attachment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before = c.latest[att.addr]
	c.latest[att.addr] = att
	return before
}

// queue calls enqueue unless a later connection has come: ErrTakenOver. The
// journal's order is thus the order in which connections began.
func (c *claims) queue(att *Attachment, enqueue func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.latest[att.addr] != att {
		return ErrTakenOver
	}
	return enqueue()
}

// end calls bind unless a later connection has come: ErrTakenOver. One that comes
// after it finds the device bound.
func (c *claims) end(att *Attachment, bind func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.latest[att.addr] != att {
		return ErrTakenOver
	}
	delete(c.latest, att.addr)
	return bind()
}

// abandon forgets a connection that will not get its session.
func (c *claims) abandon(att *Attachment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.latest[att.addr] == att {
		delete(c.latest, att.addr)
	}
}
