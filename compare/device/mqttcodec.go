package device

import (
	"bytes"
	"fmt"

	"github.com/mochi-mqtt/server/v2/packets"
)

// encode writes what a client may send.
func encode(pk *packets.Packet, buf *bytes.Buffer) error {
	switch pk.FixedHeader.Type {
	case packets.Connect:
		return pk.ConnectEncode(buf)
	case packets.Publish:
		return pk.PublishEncode(buf)
	case packets.Puback:
		return pk.PubackEncode(buf)
	case packets.Pubrec:
		return pk.PubrecEncode(buf)
	case packets.Pubrel:
		return pk.PubrelEncode(buf)
	case packets.Pubcomp:
		return pk.PubcompEncode(buf)
	case packets.Subscribe:
		return pk.SubscribeEncode(buf)
	case packets.Unsubscribe:
		return pk.UnsubscribeEncode(buf)
	case packets.Pingreq:
		return pk.PingreqEncode(buf)
	case packets.Disconnect:
		return pk.DisconnectEncode(buf)
	}
	return packets.ErrNoValidPacketAvailable
}

// decode reads what a server may send.
func decode(pk *packets.Packet, body []byte) error {
	switch pk.FixedHeader.Type {
	case packets.Connack:
		return pk.ConnackDecode(body)
	case packets.Publish:
		return pk.PublishDecode(body)
	case packets.Puback:
		return pk.PubackDecode(body)
	case packets.Pubrec:
		return pk.PubrecDecode(body)
	case packets.Pubrel:
		return pk.PubrelDecode(body)
	case packets.Pubcomp:
		return pk.PubcompDecode(body)
	case packets.Suback:
		return pk.SubackDecode(body)
	case packets.Unsuback:
		return pk.UnsubackDecode(body)
	case packets.Pingresp:
		return pk.PingrespDecode(body)
	case packets.Disconnect:
		return pk.DisconnectDecode(body)
	}
	return packets.ErrNoValidPacketAvailable
}

// connackError says what a CONNACK refuses; nil when it accepts.
func (m *MQTT) connackError(pk packets.Packet) error {
	if pk.ReasonCode == 0 {
		return nil
	}
	if m.opt.Level == 5 {
		return refusedCode("connect", pk.ReasonCode, pk)
	}
	r := &Refusal{What: "connect", Code: fmt.Sprintf("CONNACK %d", pk.ReasonCode), Denied: pk.ReasonCode == 4 || pk.ReasonCode == 5}
	if int(pk.ReasonCode) < len(connectCodes) {
		r.Text = connectCodes[pk.ReasonCode]
	}
	return r
}

// connectCodes are the return codes of MQTT 3.1.1, table 3.1.
var connectCodes = []string{
	1: "unacceptable protocol version", 2: "client identifier rejected", 3: "server unavailable",
	4: "bad user name or password", 5: "not authorized",
}

func refusedCode(what string, code byte, pk packets.Packet) *Refusal {
	pk.ReasonCode = code
	return &Refusal{What: what, Code: fmt.Sprintf("%#02x", code), Text: reasonText(pk), Denied: deniedCode(code)}
}

// deniedCode: "bad user name or password", "not authorized", "banned". MQTT 5 §2.4
func deniedCode(code byte) bool { return code == 0x86 || code == 0x87 || code == 0x8A }

// reasonText is what the server says about its reason code, or the standard does.
func reasonText(pk packets.Packet) string {
	if pk.Properties.ReasonString != "" {
		return pk.Properties.ReasonString
	}
	return reasons[pk.ReasonCode]
}

// reasons are the names of MQTT 5 §2.4.
var reasons = map[byte]string{
	0x80: "unspecified error", 0x81: "malformed packet", 0x82: "protocol error", 0x83: "implementation specific error",
	0x84: "unsupported protocol version", 0x85: "client identifier not valid", 0x86: "bad user name or password",
	0x87: "not authorized", 0x88: "server unavailable", 0x89: "server busy", 0x8A: "banned", 0x8B: "server shutting down",
	0x8C: "bad authentication method", 0x8D: "keep alive timeout", 0x8E: "session taken over", 0x8F: "topic filter invalid",
	0x90: "topic name invalid", 0x91: "packet identifier in use", 0x92: "packet identifier not found",
	0x93: "receive maximum exceeded", 0x94: "topic alias invalid", 0x95: "packet too large", 0x96: "message rate too high",
	0x97: "quota exceeded", 0x98: "administrative action", 0x99: "payload format invalid", 0x9A: "retain not supported",
	0x9B: "QoS not supported", 0x9C: "use another server", 0x9D: "server moved", 0x9E: "shared subscriptions not supported",
	0x9F: "connection rate exceeded", 0xA0: "maximum connect time", 0xA1: "subscription identifiers not supported",
	0xA2: "wildcard subscriptions not supported",
}
