package mqttfront

import (
	"encoding/binary"
	"errors"

	"github.com/mochi-mqtt/server/v2/packets"

	"pushhub/core"
	"pushhub/core/qos"
)

// validAck tells whether PUBACK, PUBREC, PUBREL or PUBCOMP can have a reason code
// [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1].
func validAck(kind, code byte) bool {
	if kind == packets.Pubrel || kind == packets.Pubcomp {
		return code == 0x00 || code == 0x92
	}
	switch code {
	case 0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99:
		return true
	}
	return false
}

// decodeAck reads the body of PUBACK, PUBREC, PUBREL or PUBCOMP.
func decodeAck(kind byte, body []byte, level byte) (packet uint16, code byte, err error) {
	if len(body) < 2 {
		return 0, 0, packets.ErrMalformedPacketID
	}
	packet = binary.BigEndian.Uint16(body)
	if packet == 0 {
		return 0, 0, packets.ErrProtocolViolationNoPacketID // [MQTT-2.2.1-3]
	}
	switch {
	case len(body) == 2:
		return packet, 0, nil
	case level != 5:
		return 0, 0, packets.ErrMalformedPacket
	case !validAck(kind, body[2]):
		return 0, 0, packets.ErrProtocolViolationInvalidReason
	case len(body) == 3:
		return packet, body[2], nil
	}
	r, rest, err := takeProps(body[3:], ackProps)
	if err != nil {
		return 0, 0, err
	}
	if len(rest) > 0 {
		return 0, 0, packets.ErrMalformedPacket
	}
	return packet, body[2], r.check()
}

// acked handles what a subscriber says of a delivery: PUBACK, PUBREC, PUBCOMP.
// One that is not out (any more) is no fault: it may have crossed our own.
func (e *engine) acked(b *core.Batch, f frame) error {
	packet, code, err := decodeAck(f.kind, f.body, e.version)
	if err != nil {
		return err
	}
	if f.kind != packets.Pubrec || code >= packets.ErrUnspecifiedError.Code {
		err = e.session.Ack(b, packet)
	} else {
		err = e.session.Received(b, packet)
	}
	if err == nil {
		return nil
	}
	if f.kind == packets.Pubrec && errors.Is(err, core.ErrNotFound) {
		e.releaseUnknown(b, packet)
	}
	e.front.opt.Log.Debug("acknowledgement of an unknown delivery", "client", e.clientID, "packet", packet, "err", err)
	return nil
}

// releaseUnknown answers the PUBREC of a delivery that is not out, so that the
// client can forget it, MQTT 5 §3.6.2.1.
func (e *engine) releaseUnknown(b *core.Batch, packet uint16) {
	buf, ok := e.begin(b, 0)
	if !ok {
		return
	}
	code := byte(0)
	if e.version == 5 {
		code = packets.ErrPacketIdentifierNotFound.Code
	}
	e.sent.other.Add(1)
	e.end(b, e.appendAnswer(buf, packets.Pubrel<<4|2, packet, code))
}

// release handles PUBREL, the second half of a publication of QoS 2.
func (e *engine) release(b *core.Batch, f frame) error {
	packet, _, err := decodeAck(f.kind, f.body, e.version)
	if err != nil {
		return err
	}
	e.mu.Lock()
	token, err := e.pushLocked(b, packet, qos.ReplyComplete)
	e.mu.Unlock()
	if err != nil {
		return err
	}
	pending, err := e.session.Release(b, packet, token)
	return e.outcome(token, pending, err)
}

// answerHeads are the first bytes of the answers to a publisher.
var answerHeads = [...]byte{
	qos.ReplyAck:      packets.Puback << 4,
	qos.ReplyReceived: packets.Pubrec << 4,
	qos.ReplyComplete: packets.Pubcomp << 4,
}

// answer sends the acknowledgements that are due, in order [MQTT-4.6.0-2] [MQTT-4.6.0-3].
func (e *engine) answer(b *core.Batch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answerLocked(b)
}

func (e *engine) answerLocked(b *core.Batch) {
	if !e.ring.Ready() {
		return
	}
	buf, ok := e.begin(b, 0)
	answers := uint64(0)
	for {
		a, more := e.ring.Take()
		if !more {
			break
		}
		answers++
		if e.version < 5 {
			a.Code = 0
		}
		if ok {
			buf = e.appendAnswer(buf, answerHeads[a.Kind], a.Packet, a.Code)
		}
	}
	if ok {
		e.sent.other.Add(answers)
		e.end(b, buf)
	}
}

// appendAnswer is appendAck with a text about a code that says no, if the client wants
// it [MQTT-3.1.2-29] and takes a packet that large [MQTT-3.4.2-2] and its like.
func (e *engine) appendAnswer(b []byte, head byte, packet uint16, code byte) []byte {
	if code < packets.ErrUnspecifiedError.Code {
		return appendAck(b, head, packet, code)
	}
	text := e.problem(ackTexts[code])
	remaining := 2 + 1 + 1 + 3 + len(text)
	if text == "" || (e.packetMax > 0 && 2+remaining > e.packetMax) {
		return appendAck(b, head, packet, code)
	}
	b = append(b, head, byte(remaining), byte(packet>>8), byte(packet), code, byte(3+len(text)))
	return appendString(append(b, packets.PropReasonString), text)
}

// appendAck writes PUBACK, PUBREC, PUBREL or PUBCOMP; success needs no reason code.
func appendAck(b []byte, head byte, packet uint16, code byte) []byte {
	if code == 0 {
		return append(b, head, 2, byte(packet>>8), byte(packet))
	}
	return append(b, head, 3, byte(packet>>8), byte(packet), code)
}

// Stored is called by the core when a publication or release is durable, or failed.
func (e *engine) Stored(b *core.Batch, token uint64, err error) {
	if err := e.settle(token, err); err != nil {
		e.abort(b, err)
		return
	}
	e.answer(b)
	e.wake()
}
