package device

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Message is an MQTT application message.
type Message struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
	Dup     bool // set by the server alone

	// MQTT 5 only; ignored on other levels.
	ContentType   string
	ResponseTopic string
	Correlation   []byte
	User          []Property
	UTF8          bool          // payload format indicator
	Expiry        time.Duration // whole seconds; 0: never

	Received time.Time // of what arrived
}

// Property is an MQTT 5 user property.
type Property struct{ Key, Value string }

// MQTTOptions of a device.
type MQTTOptions struct {
	Endpoint
	Level     byte // protocol level: 3 (MQTT 3.1), 4 (3.1.1) or 5; 0: 4
	ClientID  string
	User      string // empty: none is sent
	Password  string
	Clean     bool          // forget what an earlier connection left
	KeepAlive time.Duration // whole seconds; 0: none
	Expiry    time.Duration // of the session after the connection, MQTT 5; whole seconds, at most 2^32-2
	Will      *Message
}

// MQTT is a connected MQTT client. It is safe for concurrent use.
type MQTT struct {
	opt      MQTTOptions
	conn     net.Conn
	present  bool
	incoming chan Message // sender and closer: read; capacity Endpoint.Queue, read waits when full
	stop     chan struct{}
	done     chan struct{} // closed when read has returned
	beat     chan struct{} // closed when keepalive has returned

	write sync.Mutex // one packet at a time onto conn

	mu       sync.Mutex // guards what follows
	waiting  map[uint16]chan packets.Packet
	last     uint16
	unended  map[uint16]bool // QoS 2 deliveries whose PUBREL is owed
	err      error
	stopping bool
}

// ConnectMQTT connects and returns when the server has accepted the client.
// Errors: ErrUnreachable, *Refusal, ErrNoAnswer, ErrProtocol.
func ConnectMQTT(ctx context.Context, opt MQTTOptions) (*MQTT, error) {
	opt.defaults()
	if opt.Level == 0 {
		opt.Level = 4
	}
	conn, err := opt.dial(ctx)
	if err != nil {
		return nil, err
	}
	m := &MQTT{
		opt: opt, conn: conn, incoming: make(chan Message, opt.Queue),
		stop: make(chan struct{}), done: make(chan struct{}), beat: make(chan struct{}),
		waiting: map[uint16]chan packets.Packet{}, unended: map[uint16]bool{},
	}
	in := bufio.NewReader(conn)
	if err := until(ctx, conn, opt.Timeout, func() error { return m.handshake(in) }); err != nil {
		_ = conn.Close()
		return nil, err
	}
	go m.read(in)
	go m.keepalive()
	return m, nil
}

// handshake sends CONNECT and takes CONNACK. [MQTT-3.1.0-1] [MQTT-3.2.0-1]
func (m *MQTT) handshake(in *bufio.Reader) error {
	if err := m.send(m.connectPacket()); err != nil {
		return err
	}
	pk, err := m.readPacket(in)
	if err != nil {
		return fmt.Errorf("waiting for CONNACK: %w", err)
	}
	if pk.FixedHeader.Type != packets.Connack {
		return fmt.Errorf("%w: %s in place of CONNACK", ErrProtocol, packets.PacketNames[pk.FixedHeader.Type])
	}
	m.present = pk.SessionPresent
	if pk.Properties.ServerKeepAliveFlag { // [MQTT-3.1.2-21]
		m.opt.KeepAlive = time.Duration(pk.Properties.ServerKeepAlive) * time.Second
	}
	if id := pk.Properties.AssignedClientID; id != "" {
		m.opt.ClientID = id
	}
	return m.connackError(pk)
}

func (m *MQTT) connectPacket() packets.Packet {
	pk := packets.Packet{ProtocolVersion: m.opt.Level, FixedHeader: packets.FixedHeader{Type: packets.Connect}}
	c := &pk.Connect
	c.ProtocolName = []byte("MQTT")
	if m.opt.Level == 3 {
		c.ProtocolName = []byte("MQIsdp")
	}
	c.ClientIdentifier, c.Clean, c.Keepalive = m.opt.ClientID, m.opt.Clean, uint16(min(m.opt.KeepAlive/time.Second, math.MaxUint16))
	if m.opt.User != "" {
		c.UsernameFlag, c.Username = true, []byte(m.opt.User)
	}
	if m.opt.Password != "" {
		c.PasswordFlag, c.Password = true, []byte(m.opt.Password)
	}
	if w := m.opt.Will; w != nil {
		c.WillFlag, c.WillTopic, c.WillPayload, c.WillQos, c.WillRetain = true, w.Topic, w.Payload, w.QoS, w.Retain
		c.WillProperties = propertiesOf(*w)
	}
	if m.opt.Level == 5 && m.opt.Expiry > 0 {
		pk.Properties.SessionExpiryIntervalFlag = true
		pk.Properties.SessionExpiryInterval = uint32(min(m.opt.Expiry/time.Second, math.MaxUint32-1))
	}
	return pk
}

// send writes one packet.
func (m *MQTT) send(pk packets.Packet) error {
	pk.ProtocolVersion = m.opt.Level
	pk.Mods.AllowResponseInfo = true // else the codec leaves Response Topic out
	var buf bytes.Buffer
	if err := encode(&pk, &buf); err != nil {
		return fmt.Errorf("encoding %s: %w", packets.PacketNames[pk.FixedHeader.Type], err)
	}
	m.write.Lock()
	defer m.write.Unlock()
	if pk.FixedHeader.Type != packets.Connect { // whose deadline is the handshake's
		_ = m.conn.SetWriteDeadline(time.Now().Add(m.opt.Timeout))
	}
	if _, err := m.conn.Write(buf.Bytes()); err != nil {
		return fmt.Errorf("writing %s: %w", packets.PacketNames[pk.FixedHeader.Type], err)
	}
	return nil
}

// ClientID is the device's own identifier, or the one that the server gave it.
func (m *MQTT) ClientID() string { return m.opt.ClientID }

// SessionPresent tells whether the server had kept a session for this client.
func (m *MQTT) SessionPresent() bool { return m.present }

// Messages yields what arrives. It is closed when the connection has ended.
func (m *MQTT) Messages() <-chan Message { return m.incoming }

// Traffic is what the device's meter has counted.
func (m *MQTT) Traffic() Traffic { return m.opt.Meter.Traffic() }

// Done is closed when the connection has ended; Err then says why.
func (m *MQTT) Done() <-chan struct{} { return m.done }

// Err is why the connection ended: nil while it lasts and after Close.
func (m *MQTT) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// Close says good-bye (no will is published) and ends the connection.
func (m *MQTT) Close() error {
	return m.end(func() error {
		return m.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
	})
}

// Kill ends the connection as a dead battery does: the server publishes the will.
func (m *MQTT) Kill() { _ = m.end(func() error { return nil }) }

func (m *MQTT) end(goodbye func() error) error {
	m.mu.Lock()
	already := m.stopping
	m.stopping = true
	m.mu.Unlock()
	var err error
	if !already {
		close(m.stop)
		select {
		case <-m.done: // the server went first
		default:
			err = goodbye()
		}
		_ = m.conn.Close()
	}
	<-m.done
	<-m.beat
	return err
}
