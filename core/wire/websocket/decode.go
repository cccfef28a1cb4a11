package websocket

import (
	"encoding/binary"
	"fmt"
)

// The kinds of frames, RFC 6455 §5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA

	finalBit  = 0x80
	reserved  = 0x70
	maskedBit = 0x80

	maxControl = 125 // bytes of a control frame, §5.5
	maxHeader  = 14  // bytes before the payload, masked
)

// The reasons for closing that are used here, RFC 6455 §7.4.1.
const (
	closeNormal      = 1000
	closeProtocol    = 1002
	closeUnsupported = 1003
)

// A closing ends a connection: code is what the Close frame says to the peer.
type closing struct {
	code uint16
	why  string // "": the peer wished it
}

func (c *closing) Error() string {
	if c.why == "" {
		return "websocket: closed by the peer"
	}
	return "websocket: " + c.why
}

func violation(format string, args ...any) error {
	return &closing{closeProtocol, fmt.Sprintf(format, args...)}
}

// A decoder turns a client's frames, in portions of any size, into the payload
// of its binary messages. It holds a header and a control frame, never a message.
type decoder struct {
	head   [maxHeader]byte
	have   int    // bytes of head that have come
	inside bool   // the header is complete; what follows is payload
	left   uint64 // bytes of it that are still to come
	key    [4]byte
	turn   int // which byte of key is next
	kind   byte
	final  bool
	open   bool // a message is in fragments
	note   [maxControl]byte
	noted  int // bytes of note: the payload of a control frame
	pong   [maxControl]byte
	ponged int  // bytes of pong: the payload of the last Ping
	pinged bool // which is not answered yet
}

// decode takes bytes off the wire and moves the payload among them to the front
// of p: n bytes. The error is a *closing; the n bytes before it are good.
func (d *decoder) decode(p []byte) (n int, err error) {
	for used := 0; used < len(p); {
		if !d.inside {
			took, err := d.header(p[used:])
			used += took
			if err != nil || !d.inside {
				return n, err
			}
		}
		part := p[used:]
		if uint64(len(part)) > d.left {
			part = part[:d.left]
		}
		used += len(part)
		d.left -= uint64(len(part))
		d.unmask(part)
		if d.kind >= opClose {
			d.noted += copy(d.note[d.noted:], part)
		} else {
			n += copy(p[n:], part)
		}
		if d.left > 0 {
			return n, nil
		}
		d.inside, d.have = false, 0
		if err := d.finish(); err != nil {
			return n, err
		}
	}
	return n, nil
}

// header takes bytes of a frame's header until it is complete.
func (d *decoder) header(p []byte) (took int, err error) {
	for {
		want := 2
		if d.have >= 2 {
			if want, err = d.size(); err != nil {
				return took, err
			}
		}
		got := copy(d.head[d.have:want], p[took:])
		d.have += got
		took += got
		switch {
		case d.have < want:
			return took, nil
		case want > 2:
			return took, d.begin(want)
		}
	}
}

// size is the length of a header whose first two bytes have come. They are checked.
func (d *decoder) size() (int, error) {
	kind, size := d.head[0]&0xF, int(d.head[1]&^maskedBit)
	final := d.head[0]&finalBit != 0
	switch {
	case d.head[0]&reserved != 0:
		return 0, violation("a reserved bit is set") // §5.2
	case d.head[1]&maskedBit == 0:
		return 0, violation("a frame is not masked") // §5.1
	case kind == opText:
		return 0, &closing{closeUnsupported, "a text frame"} // [MQTT-6.0.0-1]
	case kind > opBinary && kind < opClose, kind > opPong:
		return 0, violation("opcode %#x", kind)
	case kind >= opClose && (!final || size > maxControl):
		return 0, violation("a control frame is fragmented or long") // §5.5
	case kind == opContinuation && !d.open, kind == opBinary && d.open:
		return 0, violation("fragments are out of order") // §5.4
	}
	switch size {
	case 126:
		return 2 + 2 + 4, nil
	case 127:
		return 2 + 8 + 4, nil
	}
	return 2 + 4, nil
}

// begin notes what a complete header says.
func (d *decoder) begin(size int) error {
	d.kind, d.final = d.head[0]&0xF, d.head[0]&finalBit != 0
	d.left = uint64(d.head[1] &^ maskedBit)
	least := uint64(0)
	switch size {
	case 2 + 2 + 4:
		d.left, least = uint64(binary.BigEndian.Uint16(d.head[2:])), 126
	case 2 + 8 + 4:
		d.left, least = binary.BigEndian.Uint64(d.head[2:]), 1<<16
	}
	if d.left < least || d.left > 1<<63-1 {
		return violation("a length of %d in %d bytes", d.left, size) // §5.2
	}
	copy(d.key[:], d.head[size-4:size])
	d.turn, d.inside = 0, true
	if d.kind >= opClose {
		d.noted = 0
	}
	return nil
}

// finish acts on the end of a frame.
func (d *decoder) finish() error {
	switch d.kind {
	case opClose:
		return d.closed()
	case opPing:
		// §5.5.3: several that came together may be answered as one.
		d.pinged, d.ponged = true, copy(d.pong[:], d.note[:d.noted])
	case opPong:
	default:
		d.open = !d.final
	}
	return nil
}

// closed is the closing that answers the peer's, with its own code (§5.5.1).
func (d *decoder) closed() error {
	if d.noted == 0 {
		return &closing{code: closeNormal}
	}
	if d.noted == 1 {
		return violation("a Close frame of one byte")
	}
	code := binary.BigEndian.Uint16(d.note[:])
	// §7.4: the others are not for sending.
	if code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999 {
		return &closing{code: code}
	}
	return violation("close code %d", code)
}

// unmask undoes the client's masking, §5.3.
func (d *decoder) unmask(p []byte) {
	for len(p) > 0 && d.turn != 0 {
		p[0] ^= d.key[d.turn]
		d.turn = (d.turn + 1) & 3
		p = p[1:]
	}
	if len(p) == 0 {
		return
	}
	key := uint64(binary.LittleEndian.Uint32(d.key[:]))
	key |= key << 32
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^key)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= d.key[i&3]
	}
	d.turn = len(p) & 3
}
