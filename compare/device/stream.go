package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"pushhub/xmppfront/framer"
)

const (
	nsStreams = framer.NSStreams
	nsTLS     = "urn:ietf:params:xml:ns:xmpp-tls"
	nsStanzas = "urn:ietf:params:xml:ns:xmpp-stanzas"
	nsErrors  = "urn:ietf:params:xml:ns:xmpp-streams"
)

// maxStanza bounds one stanza of the server, in bytes.
const maxStanza = 16 << 20

// stream is an XMPP stream from the client's end: what XMPP and Androidpn share.
type stream struct {
	opt    Endpoint
	conn   net.Conn
	framer *framer.Framer
	buf    []byte // what was read and not yet passed
	used   int    // bytes of buf that the last event was made of
	id     string // that the server gave the stream
	answer func(iq *framer.Stanza) string
	bye    string // what to say before </stream:stream>

	incoming chan Event    // sender and closer: read; capacity Endpoint.Queue, read waits when full
	stop     chan struct{} // closed by end
	done     chan struct{} // closed when read has returned

	write sync.Mutex // one piece at a time onto conn

	mu       sync.Mutex // guards what follows
	waiting  map[string]chan reply
	next     int
	err      error
	stopping bool
}

// reply is the answer to an IQ.
type reply struct {
	stanza *framer.Stanza
	err    error
}

func newStream(ctx context.Context, opt Endpoint) (*stream, error) {
	opt.defaults()
	conn, err := opt.dial(ctx)
	if err != nil {
		return nil, err
	}
	return &stream{
		opt: opt, conn: conn, framer: framer.New(framer.Limits{StanzaBytes: maxStanza, Depth: 128, Attrs: 128}),
		incoming: make(chan Event, opt.Queue), stop: make(chan struct{}), done: make(chan struct{}),
		waiting: map[string]chan reply{},
	}, nil
}

// part reads the next part of the stream. What it yields is valid until the next call.
func (s *stream) part() (framer.Event, error) {
	s.buf, s.used = s.buf[s.used:], 0
	for {
		ev, n, err := s.framer.Next(s.buf)
		if err != nil {
			return ev, fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		if ev.Kind != framer.NeedMore {
			s.used = n
			return ev, nil
		}
		s.buf = s.buf[n:]
		if err := s.fill(); err != nil {
			return ev, err
		}
	}
}

// fill reads more behind what is in buf.
func (s *stream) fill() error {
	const room = 4096
	if cap(s.buf)-len(s.buf) < room {
		s.buf = append(make([]byte, 0, 2*len(s.buf)+room), s.buf...)
	}
	n, err := s.conn.Read(s.buf[len(s.buf):cap(s.buf)])
	s.buf = s.buf[:len(s.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// element reads the next first-level element during the negotiation.
func (s *stream) element() (*framer.Stanza, error) {
	ev, err := s.part()
	if err != nil {
		return nil, err
	}
	if ev.Kind != framer.WholeStanza {
		return nil, fmt.Errorf("%w: the stream ended during the login", ErrClosed)
	}
	var st framer.Stanza
	if err := framer.Parse(append([]byte(nil), ev.Raw...), framer.NSClient, &st); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if string(st.Space) == nsStreams && string(st.Name) == "error" {
		return nil, streamError(st.Element)
	}
	return &st, nil
}

// open sends a stream header, takes the server's, and returns its features.
func (s *stream) open(header string) (framer.Element, error) {
	if err := s.send(header); err != nil {
		return framer.Element{}, err
	}
	ev, err := s.part()
	if err != nil {
		return framer.Element{}, fmt.Errorf("waiting for the stream header: %w", err)
	}
	if ev.Kind != framer.StreamOpen {
		return framer.Element{}, fmt.Errorf("%w: no stream header", ErrProtocol)
	}
	s.id = ev.Header.ID
	st, err := s.element()
	if err != nil {
		return framer.Element{}, fmt.Errorf("waiting for the stream features: %w", err)
	}
	if string(st.Space) != nsStreams || string(st.Name) != "features" {
		return framer.Element{}, fmt.Errorf("%w: <%s/> in place of the stream features", ErrProtocol, st.Name)
	}
	return st.Element, nil
}

// startTLS turns the stream's connection into a TLS one. RFC 6120 §5.4.2
func (s *stream) startTLS(ctx context.Context, features framer.Element) error {
	if _, ok := child(features, nsTLS, "starttls"); !ok {
		return &Refusal{What: "STARTTLS", Code: "no such feature"}
	}
	if err := s.send("<starttls xmlns='" + nsTLS + "'/>"); err != nil {
		return err
	}
	st, err := s.element()
	if err != nil {
		return err
	}
	if string(st.Name) != "proceed" || string(st.Space) != nsTLS {
		return &Refusal{What: "STARTTLS", Code: string(st.Name)}
	}
	if len(s.buf) > s.used { // RFC 6120 §5.4.3.3: nothing may be smuggled in before TLS
		return fmt.Errorf("%w: bytes between <proceed/> and TLS", ErrProtocol)
	}
	s.conn, err = s.opt.secure(ctx, s.conn)
	s.framer.Reset()
	return err
}

// send writes a piece of the stream.
func (s *stream) send(xml string) error {
	s.write.Lock()
	defer s.write.Unlock()
	if _, err := s.conn.Write([]byte(xml)); err != nil {
		return fmt.Errorf("writing to the stream: %w", err)
	}
	return nil
}

// say is send with a deadline, once the negotiation is over.
func (s *stream) say(xml string) error {
	_ = s.conn.SetWriteDeadline(time.Now().Add(s.opt.Timeout))
	return s.send(xml)
}

// ask sends an IQ with that identifier and waits for its answer.
func (s *stream) ask(ctx context.Context, what, id, iq string) (*framer.Stanza, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	answers := make(chan reply, 1) // sender: read or lost, once
	s.mu.Lock()
	s.waiting[id] = answers
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.waiting, id)
		s.mu.Unlock()
	}()
	if err := s.say(iq); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	select {
	case r := <-answers:
		if r.err != nil {
			return nil, fmt.Errorf("%s: %w", what, r.err)
		}
		return r.stanza, iqError(what, r.stanza)
	case <-s.done:
		return nil, fmt.Errorf("%s: %w", what, s.whyClosed())
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", what, waited(ctx))
	}
}

// exchange is ask during the negotiation, when nobody reads yet.
func (s *stream) exchange(what, id, iq string) (*framer.Stanza, error) {
	if err := s.send(iq); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	st, err := s.element()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if string(st.Name) != "iq" || string(st.ID) != id {
		return nil, fmt.Errorf("%s: %w: <%s id='%s'/> in place of the answer", what, ErrProtocol, st.Name, st.ID)
	}
	return st, iqError(what, st)
}

func (s *stream) whyClosed() error {
	if err := s.Err(); err != nil {
		return err
	}
	return ErrClosed
}

// newID makes an identifier for a stanza, unique in the stream.
func (s *stream) newID(prefix string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return fmt.Sprintf("%s%d", prefix, s.next-1)
}

// Events yields what arrives, in order. It is closed when the stream has ended.
func (s *stream) Events() <-chan Event { return s.incoming }

// Traffic is what the device's meter has counted.
func (s *stream) Traffic() Traffic { return s.opt.Meter.Traffic() }

// Done is closed when the stream has ended; Err then says why.
func (s *stream) Done() <-chan struct{} { return s.done }

// Err is why the stream ended: nil while it lasts and after Close.
func (s *stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close ends the stream as RFC 6120 §4.4 wants it, and waits for the server's
// end of it for as long as for an answer.
func (s *stream) Close() error { return s.end(true) }

// Kill cuts the connection, as a dead battery does.
func (s *stream) Kill() { _ = s.end(false) }

func (s *stream) end(graceful bool) error {
	s.mu.Lock()
	already := s.stopping
	s.stopping = true
	s.mu.Unlock()
	var err error
	if !already {
		close(s.stop)
		if graceful {
			err = s.farewell()
		}
		_ = s.conn.Close()
	}
	<-s.done
	return err
}

func (s *stream) farewell() error {
	select {
	case <-s.done: // the server went first
		return nil
	default:
	}
	if err := s.say(s.bye + "</stream:stream>"); err != nil {
		return err
	}
	timer := time.NewTimer(s.opt.Timeout)
	defer timer.Stop()
	select {
	case <-s.done:
		return nil
	case <-timer.C:
		return fmt.Errorf("closing the stream: %w", ErrNoAnswer)
	}
}

// lost notes why the stream ended.
func (s *stream) lost(err error) {
	_ = s.conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return
	}
	s.err = err
	if errors.Is(err, io.EOF) {
		s.err = fmt.Errorf("%w by the server", ErrClosed)
	}
}
