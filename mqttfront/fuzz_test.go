package mqttfront

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"pushhub/core"
	"pushhub/core/auth"
)

// FuzzInput gives whole engines hostile bytes in pieces. Nothing may panic, what
// comes out must be whole packets, and it must not depend on how the input was cut.
func FuzzInput(f *testing.F) {
	for _, g := range goldens {
		f.Add(fromHex(f, connects[g.version]+g.in), uint16(3), false)
	}
	for _, g := range greetings {
		f.Add(fromHex(f, g.in), uint16(1), true)
	}
	f.Add(slices.Concat(authConnect(authBytes(auth.SHA256, []byte("n,,n=alice,r=abc")), ""), authOf(0x18, auth.SHA256, []byte("c=biws"))), uint16(7), false)
	f.Add(slices.Concat(authConnect(authBytes(auth.SHA1, nil), "alice"), authOf(0x19, auth.SHA1, nil)), uint16(2), false)
	f.Fuzz(func(t *testing.T, data []byte, cut uint16, pending bool) {
		whole := converse(t, data, len(data), pending)
		pieces := converse(t, data, int(cut), pending)
		if !bytes.Equal(frameKinds(t, whole), frameKinds(t, pieces)) && !pending {
			t.Errorf("in one piece %x, in pieces of %d %x", whole, cut, pieces)
		}
	})
}

// converse is one connection from its first byte to its end.
func converse(t *testing.T, data []byte, cut int, pending bool) []byte {
	r := newRig(t, testOptions())
	r.hub.session = &fakeSession{pending: pending, quiet: true, hub: r.hub}
	var out []byte
	for len(data) > 0 && !r.link.closed {
		n := min(max(cut, 1), len(data))
		out = append(out, r.in(data[:n])...)
		data = data[n:]
		if len(r.rest) > max(connectLimit, 4096)+len(data)+n+5 {
			t.Fatalf("%d bytes are held back", len(r.rest))
		}
	}
	for _, token := range r.hub.session.tokens {
		out = append(out, r.flushed(func(b *core.Batch) { r.e.Stored(b, token, nil) })...)
	}
	_ = r.e.Tick(time.Now())
	var b core.Batch
	r.e.Closed(&b, nil)
	b.Flush()
	if n := r.e.ring.Len(); n > 8 {
		t.Fatalf("the ring holds %d answers", n)
	}
	out = append(out, r.flushed(func(b *core.Batch) {
		r.e.Deliver(b, core.Delivery{Message: &core.Message{Topic: "late"}})
	})...)
	return out
}

// frameKinds checks that b is whole packets of a server and sorts their first
// bytes: acknowledgements are grouped by read.
func frameKinds(t *testing.T, b []byte) []byte {
	var kinds [256]byte
	for len(b) > 0 {
		f, err := nextFrame(b, 1<<20)
		if err != nil || f.size == 0 {
			t.Fatalf("the output is not whole packets: %x, %v", b, err)
		}
		switch f.kind {
		case packets.Connect, packets.Subscribe, packets.Unsubscribe, packets.Pingreq, packets.Reserved:
			t.Fatalf("the server sent a client's packet: %x", b)
		}
		kinds[b[0]]++
		b = b[f.size:]
	}
	return kinds[:]
}

func FuzzConnect(f *testing.F) {
	for _, g := range greetings {
		if data := fromHex(f, g.in); len(data) > 2 {
			f.Add(data[2:])
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		g, err := decodeConnect(body)
		if err != nil {
			return
		}
		if g.version < 3 || g.version > 5 {
			t.Fatalf("accepted version %d", g.version)
		}
		if g.will != nil && g.will.QoS > 2 {
			t.Fatalf("accepted a will of QoS %d", g.will.QoS)
		}
		if g.version == 3 {
			return // more lenient than the library
		}
		// What we accept, the library accepts as well, but for its known faults.
		pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect, Remaining: len(body)}}
		if err := pk.ConnectDecode(body); err != nil {
			t.Skip()
		}
		if pk.Connect.ClientIdentifier != g.clientID || string(pk.Connect.Username) != g.user ||
			string(pk.Connect.Password) != g.password || pk.Connect.Clean != g.clean {
			t.Fatalf("read %+v, the library reads %+v", g, pk.Connect)
		}
	})
}

func FuzzPublish(f *testing.F) {
	f.Add(byte(2), byte(5), []byte("\x00\x01a\x00\x07\x03\x23\x00\x01hi"))
	f.Add(byte(0), byte(4), []byte("\x00\x01ahi"))
	f.Fuzz(func(t *testing.T, flags, level byte, body []byte) {
		level = 3 + level%3
		var p publication
		if err := decodePublish(&p, frame{kind: packets.Publish, flags: flags & 15, body: body}, level); err != nil {
			return
		}
		var m core.Message
		var alias topicAlias
		_, err := readMessageProps(&m, &p.props, &alias, time.Time{})
		pk := packets.Packet{ProtocolVersion: level, FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: p.qos, Remaining: len(body)}}
		if lib := pk.PublishDecode(body); err != nil || lib != nil {
			return
		}
		if pk.TopicName != string(p.topic) || !bytes.Equal(pk.Payload, p.payload) || pk.PacketID != p.packet ||
			pk.Properties.ContentType != m.ContentType || len(pk.Properties.User) != len(m.User) {
			t.Fatalf("read %+v, the library reads %+v", p, pk)
		}
	})
}

func FuzzSubscribe(f *testing.F) {
	f.Add(byte(5), []byte("\x00\x01\x02\x0b\x05\x00\x01a\x2e"))
	f.Add(byte(4), []byte("\x00\x01\x00\x01a\x01"))
	f.Fuzz(func(t *testing.T, level byte, body []byte) {
		level = 3 + level%3
		if _, subs, err := decodeSubscribe(body, level); err == nil && len(subs) == 0 {
			t.Fatal("a SUBSCRIBE for nothing")
		}
		if _, filters, err := decodeUnsubscribe(body, level); err == nil && len(filters) == 0 {
			t.Fatal("an UNSUBSCRIBE from nothing")
		}
	})
}

func FuzzSmallPackets(f *testing.F) {
	f.Add(byte(5), []byte("\x00\x07\x10\x04\x1f\x00\x01a"))
	f.Add(byte(5), []byte("\x00\x05\x11\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, level byte, body []byte) {
		kind := packets.Puback + level>>2%4
		level = 3 + level%3
		packet, code, err := decodeAck(kind, body, level)
		if err == nil && (packet == 0 || !validAck(kind, code)) {
			t.Fatalf("packet id %d, reason code %#x", packet, code)
		}
		_, _, _ = decodeDisconnect(body, level)
	})
}
