package faults

import (
	"fmt"
	"math/rand/v2"
	"net"
	"time"
)

// A mqttReceiver is a subscriber. What its session is at its own end, the packet
// identifiers of QoS 2 that are not released, outlives its connections.
type mqttReceiver struct {
	*link
	in      *inbox // nil: a clean session, which nobody counts
	rng     *rand.Rand
	address func() string
	client  string
	user    string
	level   byte
	clean   bool
	qos     byte
	filters []string
	ready   chan struct{} // closed by run when it has subscribed for the first time

	known bool            // the hub has acknowledged the session and its subscriptions
	held  map[uint16]bool // QoS 2 packet identifiers that are received and not released
}

func (r *mqttReceiver) run() {
	for {
		conn, ok := r.dial(r.address, r.rng)
		if !ok {
			return
		}
		err := r.session(conn)
		r.who.add("connection ended: %v", err)
	}
}

var errLeft = fmt.Errorf("left half-open")

// session serves one connection until it ends.
func (r *mqttReceiver) session(conn net.Conn) (err error) {
	o := &out{conn: conn}
	rd := &packetReader{in: newReader(conn), level: r.level}
	defer func() {
		if err != errLeft { //nolint:errorlint // it is never wrapped
			_ = conn.Close()
		}
	}()
	if err := r.open(conn, o, rd); err != nil {
		return err
	}
	var p packet
	for {
		if r.deaf() {
			return errLeft
		}
		if err := rd.next(&p); err != nil {
			return err
		}
		r.handle(o, &p)
		if p.kind == pktDisc {
			return fmt.Errorf("DISCONNECT %#02x", p.code)
		}
		if rd.in.Buffered() == 0 {
			if err := o.flush(); err != nil {
				return err
			}
		}
	}
}

// open connects, checks the session and subscribes the first time.
func (r *mqttReceiver) open(conn net.Conn, o *out, rd *packetReader) error {
	_ = conn.SetReadDeadline(time.Now().Add(ioTimeout))
	o.add(func(b []byte) []byte { return appendConnect(b, r.level, r.client, r.user, r.clean) })
	if err := o.flush(); err != nil {
		return err
	}
	p, err := connack(rd)
	if err != nil {
		return err
	}
	r.who.add("connected, session present: %v", p.present)
	if r.known && !r.clean && !p.present {
		r.in.l.violate(violation{kind: broken, who: r.who, what: r.client + ": the hub forgot the session"})
		r.known = false
	}
	if !p.present {
		clear(r.held)
	}
	if r.clean || !r.known {
		if err := r.subscribe(o, rd); err != nil {
			return err
		}
	}
	_ = conn.SetReadDeadline(time.Time{})
	return nil
}

func (r *mqttReceiver) subscribe(o *out, rd *packetReader) error {
	o.add(func(b []byte) []byte { return appendSubscribe(b, r.level, 1, r.filters, r.qos) })
	if err := o.flush(); err != nil {
		return err
	}
	var p packet
	for p.kind != pktSuback {
		if err := rd.next(&p); err != nil {
			return err
		}
		r.handle(o, &p)
	}
	for _, code := range p.codes {
		if code != r.qos {
			return fmt.Errorf("SUBACK %#02x", code)
		}
	}
	if !r.known {
		r.known = true
		select {
		case <-r.ready:
		default:
			close(r.ready)
		}
	}
	return nil
}

// handle takes one packet; what it answers is left in o.
func (r *mqttReceiver) handle(o *out, p *packet) {
	switch p.kind {
	case pktPublish:
		r.publish(o, p)
	case pktPubrel:
		delete(r.held, p.id) // [MQTT-4.3.3-10]
		o.add(func(b []byte) []byte { return appendAck(b, pktPubcomp, p.id) })
	}
}

func (r *mqttReceiver) publish(o *out, p *packet) {
	fresh := p.qos < 2 || !r.held[p.id]
	if p.qos == 2 {
		r.held[p.id] = true
	}
	if fresh && r.in != nil {
		r.in.got(p.payload, fmt.Sprintf("on %s with packet id %d at QoS %d, DUP %v", p.topic, p.id, p.qos, p.dup))
	}
	switch p.qos {
	case 1:
		o.add(func(b []byte) []byte { return appendAck(b, pktPuback, p.id) })
	case 2:
		o.add(func(b []byte) []byte { return appendAck(b, pktPubrec, p.id) })
	}
}

func connack(rd *packetReader) (p packet, err error) {
	if err := rd.next(&p); err != nil {
		return p, fmt.Errorf("waiting for CONNACK: %w", err)
	}
	if p.kind != pktConnack {
		return p, fmt.Errorf("%w: packet type %d in place of CONNACK", errWire, p.kind)
	}
	if p.code != 0 {
		return p, fmt.Errorf("CONNACK %d", p.code)
	}
	return p, nil
}
