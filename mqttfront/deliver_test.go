package mqttfront

import (
	"bytes"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"pushhub/core"
)

func (r *rig) deliver(d core.Delivery) (core.Outcome, []byte) {
	var o core.Outcome
	out := r.flushed(func(b *core.Batch) { o = r.e.Deliver(b, d) })
	return o, out
}

func TestDeliveriesOnTheWire(t *testing.T) {
	hi := &core.Message{Topic: "a", Payload: []byte("hi")}
	old := &core.Message{Topic: "a", Payload: []byte("hi"), Expires: 1}
	for _, c := range []struct {
		name    string
		version int
		d       core.Delivery
		want    string
	}{
		{"QoS 0", 4, core.Delivery{Message: hi}, "3005 000161 6869"},
		{"QoS 0 of 5", 5, core.Delivery{Message: hi}, "3006 000161 00 6869"},
		{"QoS 1", 4, core.Delivery{Message: hi, QoS: 1, Packet: 7}, "3207 000161 0007 6869"},
		{"QoS 2 again", 4, core.Delivery{Message: hi, QoS: 2, Packet: 7, Dup: true}, "3c07 000161 0007 6869"},
		{"QoS 2 again, expired since", 5, core.Delivery{Message: old, QoS: 2, Packet: 7, Dup: true}, "3c0d 000161 0007 05 0200000001 6869"},
		{"retained", 3, core.Delivery{Message: hi, Retain: true}, "3105 000161 6869"},
		{"no DUP at QoS 0", 4, core.Delivery{Message: hi, Dup: true}, "3005 000161 6869"},
		{"identifiers", 5, core.Delivery{Message: hi, SubIDs: []uint32{1, 200}}, "300b 000161 05 0b01 0bc801 6869"},
		{"release", 4, core.Delivery{Release: true, Packet: 9}, "62020009"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, testOptions()).connected(c.version)
			o, out := r.deliver(c.d)
			if o != core.Queued {
				t.Fatalf("outcome %d", o)
			}
			r.expect("frame", out, c.want)
		})
	}
}

// What we write, another codec must read alike.
func TestPropertiesOut(t *testing.T) {
	r := newRig(t, testOptions()).connected(5)
	m := &core.Message{
		Topic: "$inbox/bob/alice", Payload: []byte("yo"), ContentType: "text/plain", ResponseTopic: "back",
		Correlation: []byte{0, 1}, UTF8: true, Expires: time.Now().UnixMilli() + 60_000,
		ID: "i1", Subject: "greet", User: []core.Property{{Key: "k", Value: "v"}, {Key: "k", Value: ""}},
	}
	o, out := r.deliver(core.Delivery{Message: m, QoS: 1, Packet: 300, SubIDs: []uint32{5}})
	if o != core.Queued {
		t.Fatalf("outcome %d", o)
	}
	f, err := nextFrame(out, 1<<20)
	if err != nil || f.size != len(out) {
		t.Fatalf("frame of %d in %d bytes: %v", f.size, len(out), err)
	}
	pk := packets.Packet{ProtocolVersion: 5}
	if err := pk.FixedHeader.Decode(out[0]); err != nil {
		t.Fatal(err)
	}
	if err := pk.PublishDecode(f.body); err != nil {
		t.Fatal(err)
	}
	p := pk.Properties
	if pk.TopicName != m.Topic || string(pk.Payload) != "yo" || pk.PacketID != 300 || p.ContentType != m.ContentType ||
		p.ResponseTopic != "back" || !bytes.Equal(p.CorrelationData, m.Correlation) || p.PayloadFormat != 1 ||
		p.MessageExpiryInterval < 59 || p.MessageExpiryInterval > 60 || len(p.SubscriptionIdentifier) != 1 {
		t.Errorf("read back as %+v", pk)
	}
	want := []packets.UserProperty{{Key: "id", Val: "i1"}, {Key: "subject", Val: "greet"}, {Key: "k", Val: "v"}, {Key: "k", Val: ""}}
	if len(p.User) != len(want) {
		t.Fatalf("user properties %v, want %v", p.User, want)
	}
	for i, u := range p.User {
		if u != want[i] {
			t.Errorf("user property %d is %v, want %v", i, u, want[i])
		}
	}
}

func TestInboxPropertiesComeBack(t *testing.T) {
	m := &core.Message{User: []core.Property{{Key: "id", Value: "1"}, {Key: "x", Value: "y"}, {Key: "subject", Value: "s"}}}
	inboxIn("$inbox/bob/alice", m)
	if m.ID != "1" || m.Subject != "s" || len(m.User) != 1 || m.User[0].Key != "x" {
		t.Errorf("got %q %q %v", m.ID, m.Subject, m.User)
	}
}

func TestDeliveriesThatTheClientCannotTake(t *testing.T) {
	r := newRig(t, testOptions())
	r.inHex("10 13 0004 4d515454 05 02 003c 05 27 00000014 0001 63")
	for _, c := range []struct {
		name string
		m    *core.Message
		want core.Outcome
	}{
		{"just fits", &core.Message{Topic: "a", Payload: make([]byte, 14)}, core.Queued},
		{"a byte too long", &core.Message{Topic: "a", Payload: make([]byte, 15)}, core.Refused},
		{"expired", &core.Message{Topic: "a", Expires: 1}, core.Refused},
		{"a topic that MQTT cannot hold", &core.Message{Topic: string(make([]byte, 65536))}, core.Refused},
		{"a property that MQTT cannot hold", &core.Message{Topic: "a", ID: string(make([]byte, 65536))}, core.Refused},
	} {
		o, out := r.deliver(core.Delivery{Message: c.m})
		if o != c.want || (o == core.Queued) != (len(out) == 20) {
			t.Errorf("%s: outcome %d, %d bytes", c.name, o, len(out))
		}
	}
}

func TestFullQueueIsReportedWhenDrained(t *testing.T) {
	r := newRig(t, testOptions()).connected(4)
	r.link.clogged = true
	m := &core.Message{Topic: "a", Payload: make([]byte, 1000)}
	outcomes := map[core.Outcome]int{}
	for i := range 6 {
		o, _ := r.deliver(core.Delivery{Message: m, QoS: 1, Packet: uint16(i + 1)})
		outcomes[o]++
	}
	if outcomes[core.Queued] != 4 || outcomes[core.Full] != 2 {
		t.Fatalf("outcomes %v", outcomes)
	}
	r.link.take(1000)
	if r.hub.session.drained != 0 {
		t.Fatal("drained while more than half full")
	}
	r.link.take(1500)
	if r.hub.session.drained != 1 {
		t.Fatalf("drained %d times, want once", r.hub.session.drained)
	}
	if o, _ := r.deliver(core.Delivery{Message: m}); o != core.Queued {
		t.Errorf("QoS 0 into the free half: %d", o)
	}
}
