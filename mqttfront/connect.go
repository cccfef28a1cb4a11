package mqttfront

import (
	"encoding/binary"
	"time"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"

	"pushhub/core"
	"pushhub/core/topic"
)

// A greeting is what a CONNECT says; it keeps nothing of the packet's bytes.
type greeting struct {
	version   byte // 3, 4, 5
	clean     bool
	keepalive time.Duration
	clientID  string
	will      *core.Message
	willDelay time.Duration

	user, password       string
	hasUser, hasPassword bool

	// MQTT 5; the zero value of each stands for its default.
	expiry        uint32 // seconds
	receiveMax    uint16
	packetMax     uint32
	aliasMost     uint16
	enhanced      bool // it has an authentication method
	authMethod    string
	authData      []byte // nil: none; once it is over, the last message to the client
	wantsResponse bool   // Request Response Information is 1
	noProblems    bool   // Request Problem Information is 0

	// What became of it.
	assigned bool // the client id is ours
	lowered  bool // so is the keepalive
}

// The bits of the connect flags, MQTT 3.1.1 §3.1.2.3.
const (
	flagReserved = 1 << iota
	flagClean
	flagWill
	_
	_
	flagWillRetain
	flagPassword
	flagUser
)

// never is the session expiry interval that stands for no end, MQTT 5 §3.1.2.11.2.
const never = 0xFFFFFFFF

// decodeConnect reads the body of a CONNECT. When it fails, the greeting's version
// is set as far as it is known, so that the answer can be in the client's terms;
// 0 means that none is due.
func decodeConnect(body []byte) (greeting, error) {
	var g greeting
	rest, err := g.version3or5(body)
	if err != nil {
		return g, err
	}
	if len(rest) < 3 {
		return g, packets.ErrMalformedFlags
	}
	flags := rest[0]
	g.keepalive = time.Duration(binary.BigEndian.Uint16(rest[1:])) * time.Second
	rest = rest[3:]
	if err := g.checkFlags(flags); err != nil {
		return g, err
	}
	g.clean = flags&flagClean != 0
	if g.version == 5 {
		if rest, err = g.properties(rest); err != nil {
			return g, err
		}
	}
	id, rest, ok := takeBytes(rest)
	if !ok {
		return g, packets.ErrMalformedPacket // [MQTT-3.1.3-3]
	}
	switch {
	case validString(id): // [MQTT-3.1.3-4]
	case g.version == 5:
		return g, packets.ErrMalformedPacket // 0x85 is for what is a string, [MQTT-1.5.4-1]
	default:
		return g, packets.ErrClientIdentifierNotValid
	}
	g.clientID = string(id)
	if flags&flagWill != 0 {
		if rest, err = g.readWill(rest, flags); err != nil {
			return g, err
		}
	}
	return g, g.credentials(rest, flags)
}

func (g *greeting) version3or5(body []byte) (rest []byte, err error) {
	name, rest, ok := takeString(body)
	if !ok || len(rest) == 0 {
		return nil, packets.ErrMalformedProtocolName
	}
	level := rest[0]
	switch {
	case string(name) == "MQIsdp" && level == 3, string(name) == "MQTT" && (level == 4 || level == 5):
		g.version = level
		return rest[1:], nil
	case string(name) == "MQTT" && level > 5:
		g.version = 5
	case string(name) == "MQTT" || string(name) == "MQIsdp":
		g.version = 4
	default:
		return nil, packets.ErrProtocolViolationProtocolName // [MQTT-3.1.2-1]
	}
	return nil, packets.ErrUnsupportedProtocolVersion // [MQTT-3.1.2-2]
}

func (g *greeting) checkFlags(flags byte) error {
	if g.version == 3 {
		return nil // MQTT 3.1 has no reserved bit, and clients that set it (SAM for PHP)
	}
	switch will, qos := flags&flagWill != 0, willQoS(flags); {
	case flags&flagReserved != 0:
		return packets.ErrProtocolViolationReservedBit // [MQTT-3.1.2-3]
	case qos == 3, !will && qos != 0:
		return packets.ErrProtocolViolationQosOutOfRange // [MQTT-3.1.2-11] [MQTT-3.1.2-12]
	case !will && flags&flagWillRetain != 0:
		return packets.ErrProtocolViolationWillFlagSurplusRetain // [MQTT-3.1.2-13]
	case g.version == 4 && flags&flagUser == 0 && flags&flagPassword != 0:
		return packets.ErrProtocolViolationPasswordNoFlag // [MQTT-3.1.2-22]
	}
	return nil
}

func willQoS(flags byte) byte { return flags >> 3 & 3 }

func (g *greeting) properties(body []byte) (rest []byte, err error) {
	r, rest, err := takeProps(body, connectProps)
	if err != nil {
		return nil, err
	}
	var p property
	for {
		more, err := r.next(&p)
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		switch p.id {
		case packets.PropSessionExpiryInterval:
			g.expiry = p.num
		case packets.PropReceiveMaximum:
			if p.num == 0 {
				return nil, packets.ErrProtocolViolation // §3.1.2.11.3
			}
			g.receiveMax = uint16(p.num)
		case packets.PropMaximumPacketSize:
			if p.num == 0 {
				return nil, packets.ErrProtocolViolation // §3.1.2.11.4
			}
			g.packetMax = p.num
		case packets.PropTopicAliasMaximum:
			g.aliasMost = uint16(p.num)
		case packets.PropRequestResponseInfo:
			g.wantsResponse = p.num == 1
		case packets.PropRequestProblemInfo:
			g.noProblems = p.num == 0
		case packets.PropAuthenticationMethod:
			g.enhanced, g.authMethod = true, string(p.data)
		case packets.PropAuthenticationData:
			g.authData = append([]byte{}, p.data...)
		}
	}
	if g.authData != nil && !g.enhanced {
		return nil, packets.ErrProtocolViolation // §3.1.2.11.10
	}
	return rest, nil
}

func (g *greeting) readWill(b []byte, flags byte) (rest []byte, err error) {
	m := &core.Message{QoS: min(willQoS(flags), 2), Retain: flags&flagWillRetain != 0}
	if g.version == 5 {
		r, after, err := takeProps(b, willProps)
		if err != nil {
			return nil, err
		}
		// A will's expiry begins when it is published, §3.1.3.2.4.
		if g.willDelay, err = readMessageProps(m, &r, nil, time.UnixMilli(0)); err != nil {
			return nil, err
		}
		b = after
	}
	name, b, ok := takeString(b)
	if !ok {
		return nil, packets.ErrMalformedWillTopic // [MQTT-3.1.3-11]
	}
	if topic.ValidateNameBytes(name) != nil {
		return nil, packets.ErrTopicNameInvalid
	}
	payload, b, ok := takeBytes(b)
	if !ok {
		return nil, packets.ErrMalformedWillPayload
	}
	if m.UTF8 && !utf8.Valid(payload) {
		return nil, packets.ErrPayloadFormatInvalid // §3.1.3.2.3
	}
	m.Topic, m.Payload = string(name), append([]byte{}, payload...)
	g.will = m
	return b, nil
}

func (g *greeting) credentials(b []byte, flags byte) error {
	if g.version == 3 && len(b) == 0 {
		return nil // MQTT 3.1 §3.1: the remaining length takes precedence over the flags
	}
	if flags&flagUser != 0 {
		user, rest, ok := takeString(b)
		if !ok {
			return packets.ErrMalformedUsername // [MQTT-3.1.3-12]
		}
		g.user, g.hasUser, b = string(user), true, rest
	}
	if flags&flagPassword != 0 && !(g.version == 3 && len(b) == 0) {
		password, rest, ok := takeBytes(b)
		if !ok {
			return packets.ErrMalformedPassword
		}
		g.password, g.hasPassword, b = string(password), true, rest
	}
	if len(b) > 0 && g.version != 3 {
		return packets.ErrMalformedPacket
	}
	return nil
}

// checkID tells whether the client id will do, and makes one where the client
// leaves it to the server.
func (g *greeting) checkID(fresh func() string) (assigned bool, err error) {
	switch {
	case len(g.clientID) > clientIDMax:
		return false, packets.ErrClientIdentifierNotValid
	case g.clientID != "":
		return false, nil
	case g.version == 3, g.version == 4 && !g.clean:
		return false, packets.ErrClientIdentifierNotValid // [MQTT-3.1.3-8]
	}
	g.clientID = fresh() // [MQTT-3.1.3-6] [MQTT-3.1.3-7]
	return true, nil
}

// sessionExpiry is how long the session shall outlive the connection.
func (g *greeting) sessionExpiry(most time.Duration) time.Duration {
	switch {
	case g.version == 5:
		return limitExpiry(g.expiry, most)
	case g.clean:
		return 0
	}
	return most // MQTT 3 cannot say; its persistent sessions end when they are forgotten
}

func limitExpiry(seconds uint32, most time.Duration) time.Duration {
	if seconds == never {
		return most
	}
	return min(time.Duration(seconds)*time.Second, most)
}
