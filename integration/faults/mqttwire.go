package faults

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The control packets of MQTT, by the high half of their first byte.
const (
	pktConnect   = 1
	pktConnack   = 2
	pktPublish   = 3
	pktPuback    = 4
	pktPubrec    = 5
	pktPubrel    = 6
	pktPubcomp   = 7
	pktSubscribe = 8
	pktSuback    = 9
	pktDisc      = 14
)

var errWire = errors.New("the hub broke the protocol")

// A packet is what the hub sent.
type packet struct {
	kind    byte
	dup     bool
	qos     byte
	id      uint16
	code    byte // of an acknowledgement; of CONNACK
	present bool // of CONNACK
	topic   string
	payload []byte // valid until the next read
	codes   []byte // of SUBACK
}

// appendFrame writes a packet whose body write appends; bodies are below 16 KiB.
func appendFrame(b []byte, first byte, write func([]byte) []byte) []byte {
	at := len(b)
	b = write(append(b, first, 0, 0))
	n := len(b) - at - 3
	b[at+1], b[at+2] = byte(n)|0x80, byte(n>>7) // the length in two bytes, always
	if n < 128 {
		b[at+1] = byte(n)
		b = append(b[:at+2], b[at+3:]...)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func appendConnect(b []byte, level byte, client, user string, clean bool) []byte {
	return appendFrame(b, pktConnect<<4, func(b []byte) []byte {
		flags := byte(0xC0) // user name and password
		if clean {
			flags |= 2
		}
		b = append(appendText(b, "MQTT"), level, flags, 0, 0)
		if level == 5 && !clean {
			b = append(b, 5, 0x11, 0, 1, 0x51, 0x80) // Session Expiry Interval: a day
		} else if level == 5 {
			b = append(b, 0)
		}
		return appendText(appendText(appendText(b, client), user), Password)
	})
}

func appendPublish(b []byte, level byte, dup bool, qos byte, topic string, id uint16, stream, seq int) []byte {
	first := byte(pktPublish<<4) | qos<<1
	if dup {
		first |= 8
	}
	return appendFrame(b, first, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint16(appendText(b, topic), id)
		if level == 5 {
			b = append(b, 0)
		}
		return appendPayload(b, stream, seq)
	})
}

func appendAck(b []byte, kind byte, id uint16) []byte {
	first := kind << 4
	if kind == pktPubrel {
		first |= 2
	}
	return append(b, first, 2, byte(id>>8), byte(id))
}

func appendSubscribe(b []byte, level byte, id uint16, filters []string, qos byte) []byte {
	return appendFrame(b, pktSubscribe<<4|2, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint16(b, id)
		if level == 5 {
			b = append(b, 0)
		}
		for _, f := range filters {
			b = append(appendText(b, f), qos)
		}
		return b
	})
}

// A packetReader reads what the hub sends.
type packetReader struct {
	in    *bufio.Reader
	level byte
	body  []byte
}

func (r *packetReader) next(p *packet) error {
	first, err := r.in.ReadByte()
	if err != nil {
		return err
	}
	n, shift := 0, 0
	for {
		c, err := r.in.ReadByte()
		if err != nil {
			return err
		}
		n |= int(c&0x7F) << shift
		if c < 0x80 {
			break
		}
		if shift += 7; shift > 21 {
			return fmt.Errorf("%w: a length of five bytes", errWire)
		}
	}
	if n > 1<<20 {
		return fmt.Errorf("%w: a packet of %d bytes", errWire, n)
	}
	if cap(r.body) < n {
		r.body = make([]byte, n)
	}
	body := r.body[:n]
	if _, err := io.ReadFull(r.in, body); err != nil {
		return err
	}
	*p = packet{kind: first >> 4, dup: first&8 != 0, qos: first >> 1 & 3}
	return r.decode(p, body)
}

func (r *packetReader) decode(p *packet, body []byte) error {
	d := decoder{rest: body}
	switch p.kind {
	case pktPublish:
		p.topic = string(d.take(int(d.uint16())))
		if p.qos > 0 {
			p.id = d.uint16()
		}
		if r.level == 5 {
			d.take(d.varint())
		}
		p.payload = d.rest
	case pktConnack:
		p.present, p.code = d.byte()&1 != 0, d.byte()
	case pktPuback, pktPubrec, pktPubrel, pktPubcomp:
		p.id = d.uint16()
		if len(d.rest) > 0 {
			p.code = d.byte()
		}
	case pktSuback:
		p.id = d.uint16()
		if r.level == 5 {
			d.take(d.varint())
		}
		p.codes = d.rest
	case pktDisc:
		if len(d.rest) > 0 {
			p.code = d.byte()
		}
	default:
		return fmt.Errorf("%w: a packet of type %d", errWire, p.kind)
	}
	if d.bad {
		return fmt.Errorf("%w: a packet of type %d is too short", errWire, p.kind)
	}
	return nil
}

// A decoder takes fields off a packet; bad is set when it ends too early.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.bad, d.rest = true, nil
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint16() uint16 {
	if b := d.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) varint() int {
	n := 0
	for shift := 0; shift < 28; shift += 7 {
		c := d.byte()
		n |= int(c&0x7F) << shift
		if c < 0x80 {
			break
		}
	}
	return n
}
