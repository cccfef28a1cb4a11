package faults

import (
	"bufio"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	nsSM     = "urn:xmpp:sm:3" // XEP-0198
	nsSASL   = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsBind   = "urn:ietf:params:xml:ns:xmpp-bind"
	nsPubsub = "http://jabber.org/protocol/pubsub"
)

// An element is a part of a stanza.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []element  `xml:",any"`
}

func (e *element) attr(name string) string {
	for i := range e.Attrs {
		if e.Attrs[i].Name.Local == name {
			return e.Attrs[i].Value
		}
	}
	return ""
}

// find is the first element of that name, e itself included, at any depth.
func (e *element) find(space, name string) *element {
	if e.XMLName.Local == name && (space == "" || e.XMLName.Space == space) {
		return e
	}
	for i := range e.Children {
		if c := e.Children[i].find(space, name); c != nil {
			return c
		}
	}
	return nil
}

// payload is the first text within that one of our senders wrote.
func (e *element) payload() (string, bool) {
	if _, _, ok := parsePayload([]byte(e.Text)); ok {
		return e.Text, true
	}
	for i := range e.Children {
		if p, ok := e.Children[i].payload(); ok {
			return p, true
		}
	}
	return "", false
}

// An xmppConn is a stream.
type xmppConn struct {
	conn net.Conn
	*out
	in       *bufio.Reader
	dec      *xml.Decoder
	features *element // of the stream that is open
}

func newXMPPConn(conn net.Conn) *xmppConn {
	return &xmppConn{conn: conn, out: &out{conn: conn}, in: newReader(conn)}
}

func (c *xmppConn) say(format string, args ...any) {
	c.add(func(b []byte) []byte { return fmt.Appendf(b, format, args...) })
}

// open opens a stream, and takes the server's features.
func (c *xmppConn) open() error {
	c.say("<?xml version='1.0'?><stream:stream to='%s' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>", Domain)
	if err := c.flush(); err != nil {
		return err
	}
	c.dec = xml.NewDecoder(c.in)
	for {
		t, err := c.dec.Token()
		if err != nil {
			return fmt.Errorf("waiting for the stream: %w", err)
		}
		if start, ok := t.(xml.StartElement); ok {
			if start.Name.Local != "stream" {
				return fmt.Errorf("%w: <%s/> in place of a stream", errWire, start.Name.Local)
			}
			break
		}
	}
	var err error
	c.features, err = c.expect("features")
	return err
}

// next reads an element of the stream's first level.
func (c *xmppConn) next() (*element, error) {
	for {
		t, err := c.dec.Token()
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			e := new(element)
			return e, c.dec.DecodeElement(e, &t)
		case xml.EndElement:
			return nil, fmt.Errorf("the stream was closed: %w", io.EOF)
		}
	}
}

// expect reads elements up to one of that name; a failure of any kind is an error.
func (c *xmppConn) expect(name string) (*element, error) {
	for {
		e, err := c.next()
		if err != nil {
			return nil, fmt.Errorf("waiting for <%s/>: %w", name, err)
		}
		switch e.XMLName.Local {
		case name:
			return e, nil
		case "failure", "error":
			return nil, fmt.Errorf("waiting for <%s/>: the hub answered %s", name, describe(e))
		}
	}
}

// describe is an element in few words.
func describe(e *element) string {
	s := "<" + e.XMLName.Local
	for i := range e.Children {
		s += " " + describe(&e.Children[i])
	}
	if e.Text != "" {
		s += " " + e.Text
	}
	return s + ">"
}

// login takes the stream as far as binding or resuming.
func (c *xmppConn) login(user string) error {
	_ = c.conn.SetReadDeadline(time.Now().Add(ioTimeout))
	if err := c.open(); err != nil {
		return err
	}
	c.say("<auth xmlns='%s' mechanism='PLAIN'>%s</auth>", nsSASL,
		base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+Password)))
	if err := c.flush(); err != nil {
		return err
	}
	if _, err := c.expect("success"); err != nil {
		return err
	}
	return c.open()
}

// managed reports whether the hub offers XEP-0198.
func (c *xmppConn) managed() bool { return c.features.find(nsSM, "sm") != nil }

// bind binds a resource. RFC 6120 §7
func (c *xmppConn) bind(resource string) error {
	_, err := c.request("bind", "", "<bind xmlns='"+nsBind+"'><resource>"+resource+"</resource></bind>")
	return err
}

// request sends an IQ and waits for its answer, when nothing else is to be read.
func (c *xmppConn) request(id, to, inner string) (*element, error) {
	if to != "" {
		to = " to='" + to + "'"
	}
	c.say("<iq type='set' id='%s'%s>%s</iq>", id, to, inner)
	if err := c.flush(); err != nil {
		return nil, err
	}
	for {
		e, err := c.next()
		if err != nil {
			return nil, fmt.Errorf("waiting for the answer to %s: %w", id, err)
		}
		if e.XMLName.Local != "iq" || e.attr("id") != id {
			continue
		}
		if e.attr("type") != "result" {
			return nil, fmt.Errorf("%s: the hub answered %s", id, describe(e))
		}
		return e, nil
	}
}

// A management is the state of XEP-0198 that outlives a connection.
type management struct {
	id  string // of the stream that may be resumed; empty: none
	in  uint32 // stanzas of the hub's that were handled
	out uint32 // stanzas of ours that the hub has acknowledged
}

var errUnmanaged = errors.New("the hub offers no stream management")

// resume tries to go on with the stream of the last connection: true when the
// hub let it, h then is how many of our stanzas it has. XEP-0198 §5
func (m *management) resume(c *xmppConn) (resumed bool, h uint32, err error) {
	if m.id == "" {
		return false, 0, nil
	}
	c.say("<resume xmlns='%s' previd='%s' h='%d'/>", nsSM, m.id, m.in)
	if err := c.flush(); err != nil {
		return false, 0, err
	}
	e, err := c.next()
	if err != nil {
		return false, 0, fmt.Errorf("waiting for <resumed/>: %w", err)
	}
	switch e.XMLName.Local {
	case "resumed":
		h, err := count(e)
		return true, h, err
	case "failed":
		m.id = ""
		return false, 0, nil
	}
	return false, 0, fmt.Errorf("%w: %s in place of <resumed/>", errWire, describe(e))
}

// enable begins anew on a bound stream. other takes what comes before the
// management does: the hub counts that as delivered. XEP-0198 §3
func (m *management) enable(c *xmppConn, other func(*element)) error {
	if !c.managed() {
		return errUnmanaged
	}
	c.say("<enable xmlns='%s' resume='true'/>", nsSM)
	if err := c.flush(); err != nil {
		return err
	}
	for {
		e, err := c.next()
		if err != nil {
			return fmt.Errorf("waiting for <enabled/>: %w", err)
		}
		switch e.XMLName.Local {
		case "enabled":
			*m = management{id: e.attr("id")}
			return nil
		case "failed", "error":
			return fmt.Errorf("waiting for <enabled/>: the hub answered %s", describe(e))
		}
		other(e)
	}
}

// count is the h of an element.
func count(e *element) (uint32, error) {
	var h uint32
	if _, err := fmt.Sscan(e.attr("h"), &h); err != nil {
		return 0, fmt.Errorf("%w: <%s h='%s'/>", errWire, e.XMLName.Local, e.attr("h"))
	}
	return h, nil
}
