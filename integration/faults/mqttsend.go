package faults

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// A flight is a message that its sender has not seen to its end.
type flight struct {
	stream *stream
	seq    int
	id     uint16
	dup    bool // it was sent on an earlier connection
	rec    bool // QoS 2: PUBREC has come, PUBREL is out
}

// A mqttSender publishes with a persistent session: what is not acknowledged is
// sent again over the next connection, in order and under the same packet
// identifier. [MQTT-4.4.0-1]
type mqttSender struct {
	*link
	*outlet
	l       *ledger
	rng     *rand.Rand
	address func() string
	client  string
	user    string
	level   byte
	qos     byte

	known bool // the hub has acknowledged the session

	mu      sync.Mutex // guards what follows
	flights []*flight  // in the order in which they were sent
	lastID  uint16
	wake    chan struct{} // cap 1: there is room in the window
}

// An outlet is where a sender's new messages come from.
type outlet struct {
	streams []*stream
	pace    *pace
	window  int

	omu    sync.Mutex // guards what follows
	closed bool
	extra  int // messages on each stream, one round, still to be sent though closed
	turn   int
}

// draw takes up to n turns; wait says when to ask again if there are none.
func (o *outlet) draw(n int) (turns []*stream, wait time.Duration) {
	o.omu.Lock()
	defer o.omu.Unlock()
	const idle = 20 * time.Millisecond
	if o.closed {
		for ; n > 0 && o.extra > 0; n-- {
			o.extra--
			turns = append(turns, o.streams[o.extra])
		}
		return turns, idle
	}
	if n <= 0 {
		return nil, idle
	}
	n, wait = o.pace.take(n)
	for range n {
		turns = append(turns, o.streams[o.turn%len(o.streams)])
		o.turn++
	}
	return turns, min(wait, idle)
}

// quiet stops new messages; epilogue then sends one more on each stream.
func (o *outlet) quiet() {
	o.omu.Lock()
	defer o.omu.Unlock()
	o.closed = true
}

func (o *outlet) epilogue() {
	o.omu.Lock()
	defer o.omu.Unlock()
	o.extra = len(o.streams)
}

// drawn reports whether nothing new will be sent.
func (o *outlet) drawn() bool {
	o.omu.Lock()
	defer o.omu.Unlock()
	return o.closed && o.extra == 0
}

func (s *mqttSender) run() {
	for {
		conn, ok := s.dial(s.address, s.rng)
		if !ok {
			return
		}
		err := s.session(conn)
		s.who.add("connection ended: %v", err)
	}
}

func (s *mqttSender) session(conn *net.TCPConn) error {
	o := &out{conn: conn}
	rd := &packetReader{in: newReader(conn), level: s.level}
	if err := s.open(conn, o, rd); err != nil {
		_ = conn.Close()
		return err
	}
	ended := make(chan error, 1) // sender: the reader, once
	go func() { ended <- s.read(o, rd) }()
	err := s.write(o, ended)
	if err == errLeft { //nolint:errorlint // it is never wrapped
		return err
	}
	_ = conn.Close()
	if why := <-ended; err == nil {
		return why
	}
	return err
}

// open connects and sends again what is not acknowledged.
func (s *mqttSender) open(conn net.Conn, o *out, rd *packetReader) error {
	_ = conn.SetReadDeadline(time.Now().Add(ioTimeout))
	o.add(func(b []byte) []byte { return appendConnect(b, s.level, s.client, s.user, false) })
	if err := o.flush(); err != nil {
		return err
	}
	p, err := connack(rd)
	if err != nil {
		return err
	}
	_ = conn.SetReadDeadline(time.Time{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.who.add("connected, session present: %v, unacknowledged: %d", p.present, len(s.flights))
	if s.known && !p.present {
		s.l.violate(violation{kind: broken, who: s.who, what: s.client + ": the hub forgot the session"})
	}
	s.known = true
	for _, f := range s.flights {
		if f.rec {
			o.add(func(b []byte) []byte { return appendAck(b, pktPubrel, f.id) })
			continue
		}
		f.dup = true
		f.stream.again(f.seq)
		o.add(func(b []byte) []byte { return s.append(b, f) })
	}
	return o.flush()
}

func (s *mqttSender) append(b []byte, f *flight) []byte {
	return appendPublish(b, s.level, f.dup, s.qos, f.stream.address, f.id, f.stream.index, f.seq)
}

// write sends new messages until the connection ends: nil then.
func (s *mqttSender) write(o *out, ended chan error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait := s.fill(o)
		if err := o.flush(); err != nil {
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

// fill puts new messages into the window.
func (s *mqttSender) fill(o *out) (wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	turns, wait := s.draw(s.window - len(s.flights))
	for _, st := range turns {
		f := &flight{stream: st, seq: st.next(s.l.stamp()), id: s.freeID()}
		s.flights = append(s.flights, f)
		o.add(func(b []byte) []byte { return s.append(b, f) })
	}
	return wait
}

// freeID takes a packet identifier that is not in use. mu is held.
func (s *mqttSender) freeID() uint16 {
	for {
		s.lastID++
		if s.lastID != 0 && !slices.ContainsFunc(s.flights, func(f *flight) bool { return f.id == s.lastID }) {
			return s.lastID
		}
	}
}

// read takes acknowledgements until the connection ends.
func (s *mqttSender) read(o *out, rd *packetReader) error {
	var p packet
	for {
		if s.deaf() {
			return errLeft
		}
		if err := rd.next(&p); err != nil {
			return err
		}
		if p.kind == pktDisc {
			return fmt.Errorf("DISCONNECT %#02x", p.code)
		}
		s.ack(o, &p)
		if rd.in.Buffered() > 0 {
			continue
		}
		if err := o.flush(); err != nil {
			return err
		}
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (s *mqttSender) ack(o *out, p *packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.flights, func(f *flight) bool { return f.id == p.id })
	if i < 0 {
		s.who.add("acknowledgement type %d of unknown packet id %d", p.kind, p.id)
		return
	}
	f, now := s.flights[i], s.l.stamp()
	switch {
	case p.kind == pktPubcomp:
		if !f.rec {
			s.l.violate(violation{kind: broken, who: s.who, what: fmt.Sprintf("%s: PUBCOMP of packet id %d, for which no PUBREL was sent", s.client, p.id)})
		}
	case p.code >= 0x80:
		s.who.add("message %d of stream %d refused with %#02x", f.seq, f.stream.index, p.code)
		f.stream.refused(f.seq, now)
	case p.kind == pktPubrec:
		f.stream.acked(f.seq, now)
		f.rec = true
		o.add(func(b []byte) []byte { return appendAck(b, pktPubrel, f.id) })
		return
	default:
		f.stream.acked(f.seq, now)
	}
	s.flights = slices.Delete(s.flights, i, i+1)
}

// idle reports whether everything is sent and acknowledged.
func (s *mqttSender) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.flights) == 0 && s.drawn()
}

// unfinished describes what is not acknowledged.
func (s *mqttSender) unfinished() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.flights) == 0 {
		return ""
	}
	f := s.flights[0]
	return fmt.Sprintf("%s waits for %d acknowledgements, the first for packet id %d (message %d of stream %d, PUBREC came: %v)",
		s.client, len(s.flights), f.id, f.seq, f.stream.index, f.rec)
}
