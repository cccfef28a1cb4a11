package faults

import (
	"fmt"
	"math/rand/v2"
	"net"
	"time"
)

// An xmppReceiver is an account's device with stream management: what it has not
// said to have handled comes again, on the resumed stream or as offline messages.
type xmppReceiver struct {
	*link
	in      *inbox
	rng     *rand.Rand
	address func() string
	user    string
	nodes   []string      // that the account is subscribed to
	ready   chan struct{} // closed by run when it has subscribed for the first time

	known bool // it has subscribed
	state management
	said  uint32 // the last h that was sent
}

func (r *xmppReceiver) run() {
	for {
		conn, ok := r.dial(r.address, r.rng)
		if !ok {
			return
		}
		err := r.session(conn)
		r.who.add("connection ended: %v", err)
	}
}

func (r *xmppReceiver) session(conn net.Conn) (err error) {
	c := newXMPPConn(conn)
	defer func() {
		if err != errLeft { //nolint:errorlint // it is never wrapped
			_ = conn.Close()
		}
	}()
	if err := r.open(c); err != nil {
		return err
	}
	for {
		if r.deaf() {
			return errLeft
		}
		e, err := c.next()
		if err != nil {
			return err
		}
		if err := r.handle(c, e); err != nil {
			return err
		}
		if c.in.Buffered() > 0 {
			continue
		}
		const often = 8 // also unasked, XEP-0198 §4
		if r.state.in-r.said >= often {
			r.acknowledge(c)
		}
		if err := c.flush(); err != nil {
			return err
		}
	}
}

func (r *xmppReceiver) open(c *xmppConn) error {
	if err := c.login(r.user); err != nil {
		return err
	}
	resumed, _, err := r.state.resume(c)
	if err != nil {
		return err
	}
	r.who.add("connected, resumed: %v at h=%d", resumed, r.state.in)
	if !resumed {
		if err := r.begin(c); err != nil {
			return err
		}
	}
	_ = c.conn.SetReadDeadline(time.Time{})
	return nil
}

// begin makes a new session; its presence opens the account's inbox.
func (r *xmppReceiver) begin(c *xmppConn) error {
	if err := c.bind("rig"); err != nil {
		return err
	}
	if !r.known {
		for _, node := range r.nodes {
			sub := fmt.Sprintf("<pubsub xmlns='%s'><subscribe node='%s' jid='%s@%s'/></pubsub>", nsPubsub, node, r.user, Domain)
			if _, err := c.request("sub", "pubsub."+Domain, sub); err != nil {
				return err
			}
		}
	}
	if err := r.state.enable(c, r.got); err != nil {
		return err
	}
	r.said = 0
	c.say("<presence/>")
	if !r.known {
		r.known = true
		close(r.ready)
	}
	return c.flush()
}

func (r *xmppReceiver) acknowledge(c *xmppConn) {
	r.said = r.state.in
	c.say("<a xmlns='%s' h='%d'/>", nsSM, r.said)
}

func (r *xmppReceiver) handle(c *xmppConn, e *element) error {
	switch e.XMLName.Local {
	case "message":
		r.got(e)
		r.state.in++
	case "presence", "iq":
		r.state.in++
	case "r":
		r.acknowledge(c)
	case "error":
		return fmt.Errorf("stream error: %s", describe(e))
	}
	return nil
}

// got hands a message to the application.
func (r *xmppReceiver) got(e *element) {
	if e.XMLName.Local != "message" {
		return
	}
	p, ok := e.payload()
	if !ok {
		r.who.add("a message without payload: %s", describe(e))
		return
	}
	r.in.got([]byte(p), fmt.Sprintf("in stanza %d of stream %s", r.state.in+1, r.state.id))
}
