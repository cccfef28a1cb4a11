package load

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MQTT 3.1.1 control packet types, §2.2.1.
const (
	typeConnect    = 1
	typeConnack    = 2
	typePublish    = 3
	typePuback     = 4
	typePubrec     = 5
	typePubrel     = 6
	typePubcomp    = 7
	typeSubscribe  = 8
	typeSuback     = 9
	typeDisconnect = 14
)

// ackSize is the length of PUBACK, PUBREC, PUBREL and PUBCOMP frames.
const ackSize = 4

// stampSize is the number of payload bytes that a sequence and a time take.
const stampSize = 16

// maxRemaining is the largest remaining length that four bytes express, §2.2.3.
const maxRemaining = 268_435_455

var (
	errLengthField = errors.New("remaining length takes more than four bytes")
	errShortFrame  = errors.New("frame shorter than its fields")
)

// frame is one control packet; body aliases the buffer it was found in.
type frame struct {
	head byte
	body []byte
}

func (f frame) kind() byte { return f.head >> 4 }

// delivery is a PUBLISH as a subscriber sees it; payload aliases the buffer.
type delivery struct {
	qos     byte
	id      uint16
	payload []byte
}

// nextFrame returns the first frame of buf and the bytes it takes, or 0 bytes
// when buf holds only a part of it. A frame whose body exceeds limit is an error.
func nextFrame(buf []byte, limit int) (frame, int, error) {
	size, at := 0, 1
	for shift := 0; ; shift += 7 {
		if shift > 21 {
			return frame{}, 0, errLengthField // [MQTT-2.2.3]
		}
		if at >= len(buf) {
			return frame{}, 0, nil
		}
		b := buf[at]
		at++
		size |= int(b&0x7f) << shift
		if b < 0x80 {
			break
		}
	}
	if size > limit {
		return frame{}, 0, fmt.Errorf("frame of %d bytes exceeds %d", size, limit)
	}
	if len(buf)-at < size {
		return frame{}, 0, nil
	}
	return frame{head: buf[0], body: buf[at : at+size]}, at + size, nil
}

// delivery splits the body of a PUBLISH without copying it.
func (f frame) delivery() (delivery, error) {
	d := delivery{qos: f.head >> 1 & 3}
	if d.qos == 3 {
		return d, errors.New("PUBLISH with QoS 3") // [MQTT-3.3.1-4]
	}
	if len(f.body) < 2 {
		return d, errShortFrame
	}
	rest := f.body[2:]
	topic := int(binary.BigEndian.Uint16(f.body))
	if len(rest) < topic {
		return d, errShortFrame
	}
	rest = rest[topic:]
	if d.qos > 0 {
		if len(rest) < 2 {
			return d, errShortFrame
		}
		d.id = binary.BigEndian.Uint16(rest)
		if d.id == 0 {
			return d, errors.New("PUBLISH with packet id 0") // [MQTT-2.3.1-1]
		}
		rest = rest[2:]
	}
	d.payload = rest
	return d, nil
}

// ackID returns the packet id of a PUBACK, PUBREC, PUBREL or PUBCOMP.
func (f frame) ackID() (uint16, error) {
	if len(f.body) != 2 {
		return 0, fmt.Errorf("acknowledgement of %d bytes, not 2", len(f.body))
	}
	return binary.BigEndian.Uint16(f.body), nil
}

func appendAck(dst []byte, kind byte, id uint16) []byte {
	flags := byte(0)
	if kind == typePubrel {
		flags = 2 // [MQTT-3.6.1-1]
	}
	return append(dst, kind<<4|flags, 2, byte(id>>8), byte(id))
}

func appendLength(dst []byte, n int) []byte {
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}

func appendString(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

// cleanSession is the flag of CONNECT that forgets the session on both ends of
// the connection [MQTT-3.1.2-6].
const cleanSession = 2

// appendConnect asks for a session without a keepalive.
func appendConnect(dst []byte, clientID string, login Login, persistent bool) []byte {
	flags, size := byte(cleanSession), 12+len(clientID)
	if persistent {
		flags = 0
	}
	if login.User != "" {
		flags |= 0x80
		size += 2 + len(login.User)
		if login.Password != "" {
			flags |= 0x40
			size += 2 + len(login.Password)
		}
	}
	dst = appendLength(append(dst, typeConnect<<4), size)
	dst = append(appendString(dst, "MQTT"), 4, flags, 0, 0)
	dst = appendString(dst, clientID)
	if flags&0x80 != 0 {
		dst = appendString(dst, login.User)
	}
	if flags&0x40 != 0 {
		dst = appendString(dst, login.Password)
	}
	return dst
}

// setKeepalive writes the keepalive of a CONNECT that appendConnect made, §3.1.2.10.
func setKeepalive(connect []byte, seconds uint16) {
	at := 1
	for connect[at] >= 0x80 {
		at++
	}
	binary.BigEndian.PutUint16(connect[at+1+len("..MQTT")+2:], seconds)
}

func appendSubscribe(dst []byte, id uint16, filter string, qos byte) []byte {
	dst = appendLength(append(dst, typeSubscribe<<4|2), 5+len(filter)) // [MQTT-3.8.1-1]
	dst = binary.BigEndian.AppendUint16(dst, id)
	return append(appendString(dst, filter), qos)
}

func appendDisconnect(dst []byte) []byte { return append(dst, typeDisconnect<<4, 0) }

// template is a PUBLISH encoded once; each message is a copy with its packet
// id, sequence and time patched in.
type template struct {
	bytes   []byte
	idAt    int // 0 at QoS 0
	stampAt int // 0 when the payload is too short for a stamp
}

func newTemplate(topic string, qos byte, payload int) template {
	size := 2 + len(topic) + payload
	if qos > 0 {
		size += 2
	}
	b := appendLength([]byte{typePublish<<4 | qos<<1}, size)
	b = appendString(b, topic)
	t := template{}
	if qos > 0 {
		t.idAt = len(b)
		b = append(b, 0, 0)
	}
	if payload >= stampSize {
		t.stampAt = len(b)
	}
	for i := range payload {
		b = append(b, 'a'+byte(i%26))
	}
	t.bytes = b
	return t
}

func (t *template) appendTo(dst []byte, id uint16, seq uint64, stamp int64) []byte {
	at := len(dst)
	dst = append(dst, t.bytes...)
	if t.idAt > 0 {
		binary.BigEndian.PutUint16(dst[at+t.idAt:], id)
	}
	if t.stampAt > 0 {
		binary.BigEndian.PutUint64(dst[at+t.stampAt:], seq)
		binary.BigEndian.PutUint64(dst[at+t.stampAt+8:], uint64(stamp))
	}
	return dst
}

// stampOf reads what appendTo wrote; ok is false for a payload without a stamp.
func stampOf(payload []byte) (seq uint64, stamp int64, ok bool) {
	if len(payload) < stampSize {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(payload), int64(binary.BigEndian.Uint64(payload[8:])), true
}
