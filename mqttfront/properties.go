package mqttfront

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A property is one of MQTT 5's, in place.
type property struct {
	id    byte
	num   uint32 // of a number
	data  []byte // of a string or binary; the key of a pair
	value []byte // of a pair
}

// propKind is how a property is encoded, MQTT 5 §2.2.2.2.
type propKind uint8

const (
	noProp propKind = iota
	boolProp
	byteProp
	u16Prop
	u32Prop
	lengthProp
	stringProp
	binaryProp
	pairProp
)

var propKinds = [64]propKind{
	packets.PropPayloadFormat: boolProp, packets.PropMessageExpiryInterval: u32Prop,
	packets.PropContentType: stringProp, packets.PropResponseTopic: stringProp,
	packets.PropCorrelationData: binaryProp, packets.PropSubscriptionIdentifier: lengthProp,
	packets.PropSessionExpiryInterval: u32Prop, packets.PropAssignedClientID: stringProp,
	packets.PropServerKeepAlive: u16Prop, packets.PropAuthenticationMethod: stringProp,
	packets.PropAuthenticationData: binaryProp, packets.PropRequestProblemInfo: boolProp,
	packets.PropWillDelayInterval: u32Prop, packets.PropRequestResponseInfo: boolProp,
	packets.PropResponseInfo: stringProp, packets.PropServerReference: stringProp,
	packets.PropReasonString: stringProp, packets.PropReceiveMaximum: u16Prop,
	packets.PropTopicAliasMaximum: u16Prop, packets.PropTopicAlias: u16Prop,
	packets.PropMaximumQos: byteProp, packets.PropRetainAvailable: boolProp,
	packets.PropUser: pairProp, packets.PropMaximumPacketSize: u32Prop,
	packets.PropWildcardSubAvailable: boolProp, packets.PropSubIDAvailable: boolProp,
	packets.PropSharedSubAvailable: boolProp,
}

// A propSet is a set of property identifiers, all of which are below 64.
type propSet uint64

func props(ids ...byte) (s propSet) {
	for _, id := range ids {
		s |= 1 << id
	}
	return s
}

// What each packet of a client may carry.
var (
	publishProps = props(packets.PropPayloadFormat, packets.PropMessageExpiryInterval, packets.PropContentType,
		packets.PropResponseTopic, packets.PropCorrelationData, packets.PropTopicAlias, packets.PropUser)
	willProps = props(packets.PropPayloadFormat, packets.PropMessageExpiryInterval, packets.PropContentType,
		packets.PropResponseTopic, packets.PropCorrelationData, packets.PropWillDelayInterval, packets.PropUser)
	connectProps = props(packets.PropSessionExpiryInterval, packets.PropAuthenticationMethod,
		packets.PropAuthenticationData, packets.PropRequestProblemInfo, packets.PropRequestResponseInfo,
		packets.PropReceiveMaximum, packets.PropTopicAliasMaximum, packets.PropUser, packets.PropMaximumPacketSize)
	subscribeProps   = props(packets.PropSubscriptionIdentifier, packets.PropUser)
	unsubscribeProps = props(packets.PropUser)
	ackProps         = props(packets.PropReasonString, packets.PropUser)
	authProps        = props(packets.PropAuthenticationMethod, packets.PropAuthenticationData, packets.PropReasonString, packets.PropUser)
	disconnectProps  = props(packets.PropSessionExpiryInterval, packets.PropReasonString, packets.PropUser)
)

// A propReader walks through properties. It allocates nothing.
type propReader struct {
	rest          []byte
	allowed, seen propSet
}

// takeProps splits the properties, with their length before them, off body.
func takeProps(body []byte, allowed propSet) (r propReader, rest []byte, err error) {
	n, size, ok := readLength(body)
	if !ok || len(body)-size < n {
		return r, nil, packets.ErrMalformedProperties
	}
	end := size + n
	return propReader{rest: body[size:end:end], allowed: allowed}, body[end:], nil
}

// next reads one property into p; more is false at the end. Only user properties
// may come twice [MQTT-3.1.2-13 and its like].
func (r *propReader) next(p *property) (more bool, err error) {
	if len(r.rest) == 0 {
		return false, nil
	}
	id := r.rest[0]
	if id >= 64 || propKinds[id] == noProp {
		return false, packets.ErrMalformedBadProperty // [MQTT-2.2.2.2]
	}
	bit := propSet(1) << id
	if r.allowed&bit == 0 {
		return false, packets.ErrProtocolViolationUnsupportedProperty
	}
	if r.seen&bit != 0 && id != packets.PropUser {
		return false, packets.ErrProtocolViolation
	}
	r.seen |= bit
	*p = property{id: id}
	rest, ok := p.read(propKinds[id], r.rest[1:])
	if !ok {
		return false, packets.ErrMalformedProperties
	}
	if propKinds[id] == boolProp && p.num > 1 {
		return false, packets.ErrProtocolViolation
	}
	r.rest = rest
	return true, nil
}

// read decodes one value and returns what follows it.
func (p *property) read(kind propKind, b []byte) (rest []byte, ok bool) {
	switch kind {
	case boolProp, byteProp:
		if len(b) < 1 {
			return nil, false
		}
		p.num = uint32(b[0])
		return b[1:], true
	case u16Prop:
		if len(b) < 2 {
			return nil, false
		}
		p.num = uint32(binary.BigEndian.Uint16(b))
		return b[2:], true
	case u32Prop:
		if len(b) < 4 {
			return nil, false
		}
		p.num = binary.BigEndian.Uint32(b)
		return b[4:], true
	case lengthProp:
		n, size, ok := readLength(b)
		p.num = uint32(n)
		return b[size:], ok
	case binaryProp:
		p.data, rest, ok = takeBytes(b)
		return rest, ok
	case stringProp:
		p.data, rest, ok = takeString(b)
		return rest, ok
	}
	if p.data, rest, ok = takeString(b); ok {
		p.value, rest, ok = takeString(rest)
	}
	return rest, ok
}

// check walks through properties of which only the validity matters.
func (r *propReader) check() error {
	var p property
	for {
		if more, err := r.next(&p); !more {
			return err
		}
	}
}

// readLength reads a variable byte integer and how many bytes it took.
func readLength(b []byte) (n, size int, ok bool) {
	for size < len(b) && size < 4 {
		c := b[size]
		n |= int(c&0x7F) << (7 * size)
		size++
		if c < 0x80 {
			return n, size, size == 1 || c != 0 // [MQTT-1.5.5-1]
		}
	}
	return 0, 0, false
}

// takeBytes splits binary data, with its length before it, off b.
func takeBytes(b []byte) (data, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < n {
		return nil, nil, false
	}
	return b[2:n:n], b[n:], true
}

// takeString is takeBytes for UTF-8 without U+0000 [MQTT-1.5.4-1] [MQTT-1.5.4-2].
func takeString(b []byte) (data, rest []byte, ok bool) {
	data, rest, ok = takeBytes(b)
	return data, rest, ok && validString(data)
}

func validString(b []byte) bool {
	for _, c := range b {
		if c == 0 {
			return false
		}
	}
	return utf8.Valid(b)
}
