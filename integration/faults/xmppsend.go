package faults

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// An xmppSender publishes items, each acknowledged by the result of its request;
// or, with messages set, sends messages that XEP-0198 acknowledges. What is not
// acknowledged is sent again under the same identifiers.
type xmppSender struct {
	*link
	*outlet
	l        *ledger
	rng      *rand.Rand
	address  func() string
	user     string
	resource string
	messages bool

	mu      sync.Mutex // guards what follows
	flights []*flight  // in the order in which they were sent
	state   management // of messages
	wake    chan struct{}
}

func (s *xmppSender) run() {
	for {
		conn, ok := s.dial(s.address, s.rng)
		if !ok {
			return
		}
		err := s.session(conn)
		s.who.add("connection ended: %v", err)
	}
}

func (s *xmppSender) session(conn net.Conn) error {
	c := newXMPPConn(conn)
	if err := s.open(c); err != nil {
		_ = conn.Close()
		return err
	}
	ended := make(chan error, 1) // sender: the reader, once
	go func() { ended <- s.read(c) }()
	err := s.write(c, ended)
	if err == errLeft { //nolint:errorlint // it is never wrapped
		return err
	}
	_ = conn.Close()
	if why := <-ended; err == nil {
		return why
	}
	return err
}

// open logs in and sends again what is not acknowledged.
func (s *xmppSender) open(c *xmppConn) error {
	if err := c.login(s.user); err != nil {
		return err
	}
	if err := s.begin(c); err != nil {
		return err
	}
	_ = c.conn.SetReadDeadline(time.Time{})
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.flights {
		if f.stream != nil {
			f.stream.again(f.seq)
		}
		c.add(func(b []byte) []byte { return s.append(b, f) })
	}
	s.ask(c)
	return c.flush()
}

// begin resumes, or binds anew.
func (s *xmppSender) begin(c *xmppConn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.messages {
		s.who.add("connected, unacknowledged: %d", len(s.flights))
		return c.bind(s.resource)
	}
	resumed, h, err := s.state.resume(c)
	if err != nil {
		return err
	}
	s.who.add("connected, resumed: %v at h=%d of %d, unacknowledged: %d", resumed, h, s.state.out, len(s.flights))
	if resumed {
		return s.take(h)
	}
	if err := c.bind(s.resource); err != nil {
		return err
	}
	return s.state.enable(c, func(*element) {})
}

// ask requests an acknowledgement of messages. mu is held.
func (s *xmppSender) ask(c *xmppConn) {
	if s.messages && len(s.flights) > 0 {
		c.say("<r xmlns='%s'/>", nsSM)
	}
}

// take notes that the hub has h of our stanzas. mu is held.
func (s *xmppSender) take(h uint32) error {
	n := int(h - s.state.out)
	if n < 0 || n > len(s.flights) {
		err := fmt.Errorf("%w: the hub acknowledges %d stanzas, %d are out after %d", errWire, h, len(s.flights), s.state.out)
		s.l.violate(violation{kind: broken, who: s.who, what: s.user + ": " + err.Error()})
		s.state.id = "" // there is no trust in this stream any more
		return err
	}
	for _, f := range s.flights[:n] {
		if f.stream != nil {
			f.stream.acked(f.seq, s.l.stamp())
		}
	}
	s.flights = slices.Delete(s.flights, 0, n)
	s.state.out = h
	return nil
}

// transient are the options of an item that is not kept. XEP-0060 §7.1.5
const transient = "<publish-options><x xmlns='jabber:x:data' type='submit'>" +
	"<field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>" +
	"<field var='pubsub#persist_items'><value>0</value></field></x></publish-options>"

// chaff is counted by XEP-0198 though nothing of it is to be stored.
const chaff = "<presence><show>away</show></presence>"

func (s *xmppSender) append(b []byte, f *flight) []byte {
	if f.stream == nil {
		return append(b, chaff...)
	}
	id := fmt.Sprintf("m-%d-%d", f.stream.index, f.seq)
	if s.messages {
		b = fmt.Appendf(b, "<message type='chat' id='%s' to='%s@%s'><origin-id xmlns='urn:xmpp:sid:0' id='%s'/><body>", id, f.stream.address, Domain, id)
		return append(appendPayload(b, f.stream.index, f.seq), "</body></message>"...)
	}
	b = fmt.Appendf(b, "<iq type='set' id='%s' to='pubsub.%s'><pubsub xmlns='%s'><publish node='%s'><item id='%s'><payload xmlns='urn:pushhub:payload:0' type='text/plain'>",
		id, Domain, nsPubsub, f.stream.address, id)
	b = appendPayload(b, f.stream.index, f.seq)
	return append(b, "</payload></item></publish>"+transient+"</pubsub></iq>"...)
}

// write sends new messages until the connection ends: nil then.
func (s *xmppSender) write(c *xmppConn, ended chan error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait := s.fill(c)
		if err := c.flush(); err != nil {
			return err
		}
		timer.Reset(wait)
		select {
		case err := <-ended:
			ended <- err
			if err == errLeft { //nolint:errorlint // it is never wrapped
				return err
			}
			return nil
		case <-s.wake:
		case <-timer.C:
		}
	}
}

func (s *xmppSender) fill(c *xmppConn) (wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	turns, wait := s.draw(s.window - len(s.flights))
	for _, st := range turns {
		f := &flight{stream: st, seq: st.next(s.l.stamp())}
		s.flights = append(s.flights, f)
		c.add(func(b []byte) []byte { return s.append(b, f) })
		if s.messages && f.seq%7 == 0 {
			f := &flight{}
			s.flights = append(s.flights, f)
			c.add(func(b []byte) []byte { return s.append(b, f) })
		}
	}
	if len(turns) > 0 {
		s.ask(c)
	}
	return wait
}

func (s *xmppSender) read(c *xmppConn) error {
	for {
		if s.deaf() {
			return errLeft
		}
		e, err := c.next()
		if err != nil {
			return err
		}
		if err := s.handle(c, e); err != nil {
			return err
		}
		if c.in.Buffered() > 0 {
			continue
		}
		if err := c.flush(); err != nil {
			return err
		}
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (s *xmppSender) handle(c *xmppConn, e *element) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e.XMLName.Local {
	case "iq":
		s.state.in++
		s.result(e)
	case "message":
		s.state.in++
		s.returned(e)
	case "presence":
		s.state.in++
	case "r":
		c.say("<a xmlns='%s' h='%d'/>", nsSM, s.state.in)
	case "a":
		h, err := count(e)
		if err != nil {
			return err
		}
		return s.take(h)
	case "error":
		return fmt.Errorf("stream error: %s", describe(e))
	}
	return nil
}

// result takes the answer to a publish.
func (s *xmppSender) result(e *element) {
	stream, seq, ok := parseID(e.attr("id"))
	i := slices.IndexFunc(s.flights, func(f *flight) bool { return f.stream != nil && f.stream.index == stream && f.seq == seq })
	if !ok || i < 0 {
		return
	}
	f, now := s.flights[i], s.l.stamp()
	if e.attr("type") == "result" {
		f.stream.acked(seq, now)
	} else {
		s.who.add("message %d of stream %d refused: %s", seq, stream, describe(e))
		f.stream.refused(seq, now)
	}
	s.flights = slices.Delete(s.flights, i, i+1)
}

// returned takes a message that came back as an error.
func (s *xmppSender) returned(e *element) {
	stream, seq, ok := parseID(e.attr("id"))
	if !ok || e.attr("type") != "error" {
		return
	}
	for _, st := range s.streams {
		if st.index == stream {
			s.who.add("message %d of stream %d came back: %s", seq, stream, describe(e))
			st.refused(seq, s.l.stamp())
		}
	}
}

// parseID reads the identifier of a stanza of ours.
func parseID(id string) (stream, seq int, ok bool) {
	rest, ok := strings.CutPrefix(id, "m-")
	if !ok {
		return 0, 0, false
	}
	n, err := fmt.Sscanf(rest, "%d-%d", &stream, &seq)
	return stream, seq, n == 2 && err == nil
}

func (s *xmppSender) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.flights) == 0 && s.drawn()
}

func (s *xmppSender) unfinished() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.flights) == 0 {
		return ""
	}
	return fmt.Sprintf("%s/%s waits for %d acknowledgements, message %d is the first", s.user, s.resource, len(s.flights), s.flights[0].seq)
}
