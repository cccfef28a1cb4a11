package mqttfront

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"pushhub/core"
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
	if e.version < 5 {
		packet := []byte{packets.Connack << 4, 2, 0, 0}
		if present {
			packet[2] = 1
		}
		return packet
	}
	g, opt := e.greeting, &e.front.opt
	return encode(packets.Connack, e.version, func(p *packets.Packet) {
		p.SessionPresent = present
		p.Properties.ReceiveMaximum = opt.ReceiveMax
		p.Properties.MaximumPacketSize = uint32(opt.MaxPacketSize)
		p.Properties.TopicAliasMaximum = uint16(max(opt.TopicAliasMax, 0))
		if g.enhanced { // [MQTT-4.12.0-5]
			p.Properties.AuthenticationMethod, p.Properties.AuthenticationData = g.authMethod, g.authData
		}
		if g.assigned {
			p.Properties.AssignedClientID = g.clientID // [MQTT-3.1.3-7]
		}
		if g.wantsResponse && e.account != core.Anonymous {
			p.Properties.ResponseInfo, p.Mods.AllowResponseInfo = core.InboxTopic(e.account, ""), true // [MQTT-3.1.2-28]
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

// encodeFitting encodes a packet of MQTT 5 with what may be left out, if the client
// takes a packet of that size; else without; nil when even that is too large
// [MQTT-3.1.2-24]. limit 0 takes any size.
func encodeFitting(kind byte, limit int, fill func(*packets.Packet), optional ...func(*packets.Packet)) []byte {
	for n := len(optional); n >= 0; n-- {
		packet := encode(kind, 5, func(p *packets.Packet) {
			fill(p)
			for _, more := range optional[:n] {
				more(p)
			}
		})
		if limit == 0 || len(packet) <= limit {
			return packet
		}
	}
	return nil
}

// refusal is the CONNACK of a client that is not let in, or nothing where the
// version has no code for it. Its text is left out where the client could not take
// it [MQTT-3.2.2-19].
func refusal(version byte, err error, limit int) []byte {
	if version == 5 {
		return lastPacket(packets.Connack, connackCode(err), err, limit)
	}
	code, ok := connack3(err)
	if !ok {
		return nil
	}
	return []byte{packets.Connack << 4, 2, 0, code} // [MQTT-3.2.2-4] of 3.1.1: no session present
}

// lastPacket is a CONNACK or DISCONNECT that says why we hang up [MQTT-3.14.2-3], and
// where to go instead.
func lastPacket(kind byte, c packets.Code, why error, limit int) []byte {
	optional := []func(*packets.Packet){func(p *packets.Packet) { p.Properties.ReasonString = c.Reason }}
	var to *redirect
	if errors.As(why, &to) {
		optional = slices.Insert(optional, 0, func(p *packets.Packet) { p.Properties.ServerReference = to.server })
	}
	return encodeFitting(kind, limit, func(p *packets.Packet) { p.ReasonCode = c.Code }, optional...)
}

// suback is SUBACK or UNSUBACK, which MQTT 3 has without codes [MQTT-3.11.3-1]. The
// text is about the codes that refuse [MQTT-3.9.2-1] [MQTT-3.11.2-1].
func (e *engine) suback(kind byte, packet uint16, codes []byte) []byte {
	fill := func(p *packets.Packet) { p.PacketID, p.ReasonCodes = packet, codes }
	if e.version < 5 {
		return encode(kind, e.version, fill)
	}
	text := e.filtersText(codes)
	return encodeFitting(kind, e.packetMax, fill, func(p *packets.Packet) { p.Properties.ReasonString = text })
}
