package mqttfront

import (
	"bytes"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// encode writes one of the rare packets by mochi's codec. These encoders fail
// only for a missing packet identifier of a client's packet.
func encode(kind, version byte, fill func(*packets.Packet)) []byte {
	p := packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, ProtocolVersion: version}
	fill(&p)
	var buf bytes.Buffer
	switch kind {
	case packets.Connack:
		_ = p.ConnackEncode(&buf)
	case packets.Suback:
		_ = p.SubackEncode(&buf)
	case packets.Unsuback:
		_ = p.UnsubackEncode(&buf)
	case packets.Disconnect:
		_ = p.DisconnectEncode(&buf)
	case packets.Auth:
		_ = p.AuthEncode(&buf)
	}
	return buf.Bytes()
}

// connack is the CONNACK of a client that is let in.
func (e *engine) connack(present bool) []byte {
	g, opt := e.greeting, &e.front.opt
	return encode(packets.Connack, e.version, func(p *packets.Packet) {
		p.SessionPresent = present
		p.Properties.ReceiveMaximum = opt.ReceiveMax
		p.Properties.MaximumPacketSize = uint32(opt.MaxPacketSize)
		p.Properties.TopicAliasMaximum = aliasMax
		if g.enhanced { // [MQTT-4.12.0-5]
			p.Properties.AuthenticationMethod, p.Properties.AuthenticationData = g.authMethod, g.authData
		}
		if g.assigned {
			p.Properties.AssignedClientID = g.clientID // [MQTT-3.1.3-7]
		}
		if g.lowered {
			p.Properties.ServerKeepAlive, p.Properties.ServerKeepAliveFlag = uint16(g.keepalive/time.Second), true
		}
		granted := g.sessionExpiry(opt.SessionExpiryMax) / time.Second
		if g.version == 5 && granted != time.Duration(g.expiry) {
			p.Properties.SessionExpiryInterval, p.Properties.SessionExpiryIntervalFlag = uint32(min(granted, never)), true
		}
	})
}

// refusal is the CONNACK of a client that is not let in, or nothing where the
// version has no code for it.
func refusal(version byte, err error) []byte {
	if version == 5 {
		c := codeOf(err)
		return encode(packets.Connack, version, func(p *packets.Packet) {
			p.ReasonCode, p.Properties.ReasonString = c.Code, c.Reason
		})
	}
	code, ok := connack3(err)
	if !ok {
		return nil
	}
	return []byte{packets.Connack << 4, 2, 0, code} // [MQTT-3.2.2-4] of 3.1.1: no session present
}

// disconnectPacket says why we hang up; the text is left out where it could
// break the client's Maximum Packet Size [MQTT-3.14.2-3].
func disconnectPacket(c packets.Code, limit int) []byte {
	return encode(packets.Disconnect, 5, func(p *packets.Packet) {
		p.ReasonCode = c.Code
		if limit == 0 || limit > 128 {
			p.Properties.ReasonString = c.Reason
		}
	})
}

// suback is SUBACK or UNSUBACK, which MQTT 3 has without codes [MQTT-3.11.3-1].
func suback(version, kind byte, packet uint16, codes []byte) []byte {
	return encode(kind, version, func(p *packets.Packet) { p.PacketID, p.ReasonCodes = packet, codes })
}
