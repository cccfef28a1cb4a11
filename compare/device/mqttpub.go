package device

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

var errAllTaken = errors.New("all 65535 packet identifiers are in use")

// Publish sends a message and waits until the server has taken it, as far as
// its QoS tells: not at all at 0. A refusal that MQTT 5 reports is a *Refusal;
// older servers drop the message or the connection.
func (m *MQTT) Publish(ctx context.Context, msg Message) error {
	what := "publish to " + msg.Topic
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: msg.QoS, Retain: msg.Retain},
		TopicName:   msg.Topic, Payload: msg.Payload, Properties: propertiesOf(msg),
	}
	if msg.QoS == 0 {
		return m.send(pk)
	}
	id, answers, err := m.expect()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer m.forget(id)
	pk.PacketID = id
	ack, err := m.await(ctx, what, pk, answers, firstAck(msg.QoS))
	if err != nil {
		return err
	}
	if ack.ReasonCode >= 0x80 {
		return refusedCode(what, ack.ReasonCode, ack)
	}
	if msg.QoS == 1 {
		return nil
	}
	// [MQTT-4.3.3-4]: the identifier stays the same.
	_, err = m.await(ctx, what, ackPacket(packets.Pubrel, id), answers, packets.Pubcomp)
	return err
}

func firstAck(qos byte) byte {
	if qos == 1 {
		return packets.Puback
	}
	return packets.Pubrec
}

// Subscribe subscribes to filters, all with the same QoS, and returns what the
// server granted of it for each. The first filter that it refused makes a *Refusal.
func (m *MQTT) Subscribe(ctx context.Context, qos byte, filters ...string) (granted []byte, err error) {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}}
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f, Qos: qos})
	}
	ack, err := m.ask(ctx, "subscribe", pk, packets.Suback)
	if err != nil {
		return nil, err
	}
	if len(ack.ReasonCodes) != len(filters) { // [MQTT-3.9.3-1]
		return nil, fmt.Errorf("%w: SUBACK with %d codes for %d filters", ErrProtocol, len(ack.ReasonCodes), len(filters))
	}
	for i, code := range ack.ReasonCodes {
		if code >= 0x80 {
			return ack.ReasonCodes, refusedCode("subscribe to "+filters[i], code, ack)
		}
	}
	return ack.ReasonCodes, nil
}

// Unsubscribe takes subscriptions back.
func (m *MQTT) Unsubscribe(ctx context.Context, filters ...string) error {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe, Qos: 1}}
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f})
	}
	_, err := m.ask(ctx, "unsubscribe", pk, packets.Unsuback)
	return err
}

// ask sends a packet under a new identifier and waits for the acknowledgement
// of that kind.
func (m *MQTT) ask(ctx context.Context, what string, pk packets.Packet, kind byte) (packets.Packet, error) {
	id, answers, err := m.expect()
	if err != nil {
		return pk, fmt.Errorf("%s: %w", what, err)
	}
	defer m.forget(id)
	pk.PacketID = id
	return m.await(ctx, what, pk, answers, kind)
}

// await sends a packet and waits for its acknowledgement among answers.
func (m *MQTT) await(ctx context.Context, what string, pk packets.Packet, answers <-chan packets.Packet, kind byte) (packets.Packet, error) {
	ctx, cancel := context.WithTimeout(ctx, m.opt.Timeout)
	defer cancel()
	if err := m.send(pk); err != nil {
		return pk, fmt.Errorf("%s: %w", what, err)
	}
	for {
		select {
		case ack, ok := <-answers:
			if !ok {
				return pk, fmt.Errorf("%s: %w", what, m.whyClosed())
			}
			if ack.FixedHeader.Type == kind {
				return ack, nil
			}
		case <-ctx.Done():
			return pk, fmt.Errorf("%s: %w: waiting for %s", what, waited(ctx), packets.PacketNames[kind])
		}
	}
}

// expect takes a free identifier. The channel has room for one acknowledgement;
// answer is its sender, lost its closer.
func (m *MQTT) expect() (uint16, chan packets.Packet, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.done:
		return 0, nil, ErrClosed
	default:
	}
	if len(m.waiting) == 0xFFFF {
		return 0, nil, errAllTaken
	}
	for m.last++; m.last == 0 || m.waiting[m.last] != nil; m.last++ {
	}
	c := make(chan packets.Packet, 1)
	m.waiting[m.last] = c
	return m.last, c, nil
}

func (m *MQTT) forget(id uint16) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.waiting, id)
}

func (m *MQTT) whyClosed() error {
	if err := m.Err(); err != nil {
		return err
	}
	return ErrClosed
}

func ackPacket(kind byte, id uint16) packets.Packet {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, PacketID: id}
	if kind == packets.Pubrel {
		pk.FixedHeader.Qos = 1 // [MQTT-3.6.1-1]
	}
	return pk
}

// messageOf and propertiesOf translate between a message and its packet.
func messageOf(pk packets.Packet) Message {
	p := pk.Properties
	m := Message{
		Topic: pk.TopicName, Payload: pk.Payload, QoS: pk.FixedHeader.Qos, Retain: pk.FixedHeader.Retain, Dup: pk.FixedHeader.Dup,
		ContentType: p.ContentType, ResponseTopic: p.ResponseTopic, Correlation: p.CorrelationData,
		UTF8: p.PayloadFormat == 1, Expiry: time.Duration(p.MessageExpiryInterval) * time.Second, Received: time.Now(),
	}
	for _, u := range p.User {
		m.User = append(m.User, Property{u.Key, u.Val})
	}
	return m
}

func propertiesOf(m Message) packets.Properties {
	p := packets.Properties{
		ContentType: m.ContentType, ResponseTopic: m.ResponseTopic, CorrelationData: m.Correlation,
		MessageExpiryInterval: uint32(min(m.Expiry/time.Second, 1<<32-1)),
	}
	if m.UTF8 {
		p.PayloadFormatFlag, p.PayloadFormat = true, 1
	}
	for _, u := range m.User {
		p.User = append(p.User, packets.UserProperty{Key: u.Key, Val: u.Value})
	}
	return p
}
