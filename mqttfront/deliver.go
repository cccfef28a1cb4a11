package mqttfront

import (
	"encoding/binary"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"pushhub/core"
)

const (
	// maxRemaining is the largest remaining length, MQTT 5 §2.1.4.
	maxRemaining = 268435455
	// maxString is the longest string or binary, MQTT 5 §1.5.4.
	maxString = 65535
)

// Deliver writes a delivery straight into the out-queue.
func (e *engine) Deliver(b *core.Batch, d core.Delivery) core.Outcome {
	if d.Release {
		return e.deliverRelease(b, d.Packet)
	}
	m := d.Message
	fixed := 2 + len(m.Payload)
	if d.QoS > 0 {
		fixed += 2
	}
	remaining := fixed + len(m.Topic)
	props := outProps{again: d.Dup}
	if e.version == 5 {
		if !props.measure(m, d.SubIDs) {
			e.front.count.refusedByClient.Add(1)
			return core.Refused
		}
		remaining += lengthSize(props.size) + props.size
	}
	size := 1 + lengthSize(remaining) + remaining
	if len(m.Topic) > maxString || remaining > maxRemaining || (e.packetMax > 0 && size > e.packetMax) {
		e.front.count.refusedByClient.Add(1)
		return core.Refused // [MQTT-3.1.2-24] [MQTT-3.1.2-25]
	}
	aliased := e.aliasMost > 0 && worthAlias(m.Topic)
	room := size
	if aliased {
		room += aliasSize + 2
	}
	buf, ok := e.room(b, room, d.QoS)
	if !ok {
		return core.Full
	}
	name := m.Topic
	if aliased {
		name = e.alias(name, &props, size)
		remaining = fixed + len(name) + lengthSize(props.size) + props.size
	}
	buf = append(buf, publishHead(d))
	buf = appendLength(buf, remaining)
	buf = binary.BigEndian.AppendUint16(buf, uint16(len(name)))
	buf = append(buf, name...)
	if d.QoS > 0 {
		buf = binary.BigEndian.AppendUint16(buf, d.Packet)
	}
	if e.version == 5 {
		buf = props.append(buf, m, d.SubIDs)
	}
	buf = append(buf, m.Payload...)
	e.end(b, buf)
	e.sent.publication(len(m.Payload))
	return core.Queued
}

func publishHead(d core.Delivery) byte {
	head := packets.Publish<<4 | d.QoS<<1
	if d.Retain {
		head |= 1
	}
	if d.Dup && d.QoS > 0 { // [MQTT-3.3.1-2]
		head |= 8
	}
	return head
}

// room is begin for a delivery. When a durable one finds no room, Written tells
// the core later that there is some.
func (e *engine) room(b *core.Batch, size int, level core.QoS) ([]byte, bool) {
	buf, ok := e.begin(b, size)
	if ok {
		return buf, true
	}
	if level == 0 {
		e.front.count.full.Add(1)
		return nil, false
	}
	e.full.Store(true)
	if e.conn.Queued() > e.front.opt.QueueBytes/2 {
		return nil, false
	}
	return e.begin(b, size) // it was drained before it was marked
}

func (e *engine) deliverRelease(b *core.Batch, packet uint16) core.Outcome {
	buf, ok := e.begin(b, 0)
	if !ok {
		return core.Full
	}
	e.sent.other.Add(1)
	e.end(b, appendAck(buf, packets.Pubrel<<4|2, packet, 0)) // [MQTT-4.3.3-5]
	return core.Queued
}

// outProps are the properties of a PUBLISH to a client.
type outProps struct {
	size   int
	expiry uint32 // seconds; 0: none
	again  bool   // the message was sent before
	alias  uint16 // 0: none
}

// measure reports false when the message has expired, or does not fit MQTT.
func (o *outProps) measure(m *core.Message, ids []uint32) bool {
	for _, id := range ids {
		o.size += 1 + lengthSize(int(id))
	}
	if m.Expires != 0 {
		left := m.Expires - time.Now().UnixMilli()
		if left <= 0 && !o.again {
			return false // [MQTT-3.3.2-5]
		}
		left = max(left, 1) // what was sent does not expire any more [MQTT-4.3.3-7]
		o.expiry = uint32(min((left+999)/1000, never))
		o.size += 5
	}
	if m.UTF8 {
		o.size += 2
	}
	if len(m.ContentType)|len(m.ResponseTopic)|len(m.Correlation)|len(m.ID)|len(m.Type)|len(m.Subject)|len(m.User) == 0 && m.Correlation == nil {
		return true
	}
	return o.measureStrings(m)
}

func (o *outProps) measureStrings(m *core.Message) bool {
	longest := 0
	add := func(extra int, lengths ...int) {
		o.size += extra
		for _, n := range lengths {
			o.size += 2 + n
			longest = max(longest, n)
		}
	}
	if m.ContentType != "" {
		add(1, len(m.ContentType))
	}
	if m.ResponseTopic != "" {
		add(1, len(m.ResponseTopic))
	}
	if m.Correlation != nil {
		add(1, len(m.Correlation))
	}
	for _, p := range ownProps(m) {
		if p.Value != "" {
			add(1, len(p.Key), len(p.Value))
		}
	}
	for _, p := range m.User {
		add(1, len(p.Key), len(p.Value))
	}
	return longest <= maxString
}

func ownProps(m *core.Message) [3]core.Property {
	return [3]core.Property{{Key: propID, Value: m.ID}, {Key: propType, Value: m.Type}, {Key: propSubject, Value: m.Subject}}
}

func (o *outProps) append(b []byte, m *core.Message, ids []uint32) []byte {
	b = appendLength(b, o.size)
	if o.size == 0 {
		return b
	}
	if m.UTF8 {
		b = append(b, packets.PropPayloadFormat, 1) // [MQTT-3.3.2-4]
	}
	if o.expiry != 0 {
		b = binary.BigEndian.AppendUint32(append(b, packets.PropMessageExpiryInterval), o.expiry) // [MQTT-3.3.2-6]
	}
	if m.ContentType != "" {
		b = appendString(append(b, packets.PropContentType), m.ContentType) // [MQTT-3.3.2-20]
	}
	if m.ResponseTopic != "" {
		b = appendString(append(b, packets.PropResponseTopic), m.ResponseTopic) // [MQTT-3.3.2-15]
	}
	if m.Correlation != nil {
		b = appendString(append(b, packets.PropCorrelationData), m.Correlation) // [MQTT-3.3.2-16]
	}
	if o.alias != 0 {
		b = binary.BigEndian.AppendUint16(append(b, packets.PropTopicAlias), o.alias)
	}
	for _, id := range ids {
		b = appendLength(append(b, packets.PropSubscriptionIdentifier), int(id)) // [MQTT-3.3.4-3]
	}
	for _, p := range ownProps(m) {
		if p.Value != "" {
			b = appendPair(b, p)
		}
	}
	for _, p := range m.User {
		b = appendPair(b, p) // [MQTT-3.3.2-17] [MQTT-3.3.2-18]
	}
	return b
}

func appendPair(b []byte, p core.Property) []byte {
	b = append(b, packets.PropUser)
	return appendString(appendString(b, p.Key), p.Value)
}

func appendString[S string | []byte](b []byte, s S) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}
