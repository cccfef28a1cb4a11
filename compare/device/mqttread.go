package device

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// maxPacket bounds one packet of the server, in bytes.
const maxPacket = 64 << 20

// readPacket takes the next packet off the wire.
func (m *MQTT) readPacket(in *bufio.Reader) (packets.Packet, error) {
	pk := packets.Packet{ProtocolVersion: m.opt.Level}
	first, err := in.ReadByte()
	if err != nil {
		return pk, err
	}
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, fmt.Errorf("%w: fixed header %#02x: %w", ErrProtocol, first, err)
	}
	n, _, err := packets.DecodeLength(in)
	if err != nil {
		return pk, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if n > maxPacket {
		return pk, fmt.Errorf("%w: a packet of %d bytes", ErrProtocol, n)
	}
	// Grows as bytes arrive: a length alone claims no memory.
	var body bytes.Buffer
	if _, err := io.CopyN(&body, in, int64(n)); err != nil {
		return pk, err
	}
	pk.FixedHeader.Remaining = n
	if err := decode(&pk, body.Bytes()); err != nil {
		return pk, fmt.Errorf("%w: %s: %w", ErrProtocol, packets.PacketNames[pk.FixedHeader.Type], err)
	}
	return pk, nil
}

// read is the device's reading goroutine; it ends with the connection.
func (m *MQTT) read(in *bufio.Reader) {
	defer close(m.done)
	defer close(m.incoming)
	for {
		if k := m.opt.KeepAlive; k > 0 { // a server that owes PINGRESP is not silent for so long
			_ = m.conn.SetReadDeadline(time.Now().Add(k + m.opt.Timeout))
		}
		pk, err := m.readPacket(in)
		if err == nil {
			err = m.handle(pk)
		}
		if err != nil {
			m.lost(err)
			return
		}
	}
}

// lost notes why the connection ended, and lets go of who waits.
func (m *MQTT) lost(err error) {
	_ = m.conn.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.stopping {
		m.err = err
		if errors.Is(err, io.EOF) {
			m.err = fmt.Errorf("%w by the server", ErrClosed)
		}
	}
	for id, c := range m.waiting {
		close(c)
		delete(m.waiting, id)
	}
}

// handle acts on one packet.
func (m *MQTT) handle(pk packets.Packet) error {
	switch pk.FixedHeader.Type {
	case packets.Publish:
		return m.deliver(pk)
	case packets.Pubrel: // [MQTT-4.3.3-10]
		m.mu.Lock()
		delete(m.unended, pk.PacketID)
		m.mu.Unlock()
		return m.send(ackPacket(packets.Pubcomp, pk.PacketID))
	case packets.Puback, packets.Pubrec, packets.Pubcomp, packets.Suback, packets.Unsuback:
		m.answer(pk)
		return nil
	case packets.Pingresp:
		return nil
	case packets.Disconnect: // [MQTT-3.14.4-3]
		return &Refusal{What: "the session", Code: fmt.Sprintf("DISCONNECT %#02x", pk.ReasonCode), Text: reasonText(pk), Denied: deniedCode(pk.ReasonCode)}
	}
	return fmt.Errorf("%w: %s", ErrProtocol, packets.PacketNames[pk.FixedHeader.Type])
}

// deliver hands a message on, then acknowledges it.
func (m *MQTT) deliver(pk packets.Packet) error {
	m.mu.Lock()
	again := pk.FixedHeader.Qos == 2 && m.unended[pk.PacketID]
	if pk.FixedHeader.Qos == 2 {
		m.unended[pk.PacketID] = true
	}
	m.mu.Unlock()
	if !again { // [MQTT-4.3.3-10]: the same QoS 2 message once only
		msg := messageOf(pk)
		select {
		case m.incoming <- msg:
		default: // full
			select {
			case m.incoming <- msg:
			case <-m.stop:
				return ErrClosed
			}
		}
	}
	switch pk.FixedHeader.Qos {
	case 1:
		return m.send(ackPacket(packets.Puback, pk.PacketID)) // [MQTT-4.3.2-4]
	case 2:
		return m.send(ackPacket(packets.Pubrec, pk.PacketID)) // [MQTT-4.3.3-8]
	}
	return nil
}

// answer gives an acknowledgement to who waits for it; nobody may, after a timeout.
func (m *MQTT) answer(pk packets.Packet) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.waiting[pk.PacketID]
	if c == nil {
		return
	}
	select {
	case c <- pk:
	default: // the server answered twice
	}
}

// keepalive pings at half the time that was promised. [MQTT-3.1.2-20]
func (m *MQTT) keepalive() {
	defer close(m.beat)
	if m.opt.KeepAlive <= 0 {
		return
	}
	tick := time.NewTicker(m.opt.KeepAlive / 2)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-m.done:
			return
		case <-tick.C:
			// When it cannot be written the reader learns why.
			_ = m.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
		}
	}
}
