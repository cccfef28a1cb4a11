package integration

import (
	"bytes"
	"fmt"
	"testing"

	"pushhub/integration/hubtest"
)

// A bystander is a pair of well-behaved clients that must not notice anything.
type bystander struct {
	sender   *pahoGo3
	receiver *pahoGo5
	said     int
}

func newBystander(t testing.TB, h *hubtest.Hub) *bystander {
	t.Helper()
	b := &bystander{
		sender:   connectPahoGo3(t, h, mqttOptions{Client: "bystander-out"}),
		receiver: connectPahoGo5(t, h, mqttOptions{Client: "bystander-in"}),
	}
	b.receiver.Subscribe("bystander", 1)
	return b
}

// exchange sends one message from one to the other.
func (b *bystander) exchange(t testing.TB) {
	t.Helper()
	b.said++
	payload := fmt.Append(nil, b.said)
	b.sender.Publish(mqttMessage{Topic: "bystander", Payload: payload, QoS: 1})
	b.receiver.mail.await(t, "bystander's message", exactly("bystander", payload))
}

// The reason codes of MQTT 5 §4.13 that an attack must meet.
const (
	malformed      = 0x81
	protocolError  = 0x82
	badTopicFilter = 0x8F
	badTopicName   = 0x90
	badTopicAlias  = 0x94
	packetTooLarge = 0x95
)

// hostileFrames break the rules after a good CONNECT. Where two reasons stand,
// the specification allows both.
var hostileFrames = []struct {
	name    string
	frame   []byte
	reasons []byte
}{
	{"reserved packet type 0", packet(0x00), []byte{malformed, protocolError}},
	{"second CONNECT", connectPacket5("again", login{}), []byte{protocolError}}, // [MQTT-3.1.0-2]
	{"AUTH without a method", packet(0xF0, []byte{0x18, 0}), []byte{protocolError, malformed}},
	{"CONNACK from a client", packet(0x20, []byte{0, 0, 0}), []byte{protocolError, malformed}},
	{"SUBACK from a client", packet(0x90, []byte{0, 1, 0, 0}), []byte{protocolError, malformed}},
	{"PINGRESP from a client", packet(0xD0), []byte{protocolError, malformed}},
	{"PUBLISH at QoS 3", packet(0x36, str("a"), []byte{0, 1, 0}), []byte{malformed}}, // [MQTT-3.3.1-4]
	{"DUP at QoS 0", packet(0x38, str("a"), []byte{0}), []byte{malformed, protocolError}},
	{"wildcard in a topic name", packet(0x30, str("a/#"), []byte{0}), []byte{badTopicName, malformed, protocolError}},
	{"empty topic without alias", packet(0x30, str(""), []byte{0}), []byte{protocolError, badTopicName}},
	{"topic alias 0", packet(0x30, str("a"), []byte{3, 0x23, 0, 0}), []byte{badTopicAlias}},            // [MQTT-3.3.2-8]
	{"topic alias too high", packet(0x30, str("a"), []byte{3, 0x23, 255, 255}), []byte{badTopicAlias}}, // [MQTT-3.3.2-9]
	{"unknown topic alias", packet(0x30, str(""), []byte{3, 0x23, 0, 1}), []byte{protocolError, badTopicAlias}},
	{"NUL in a topic", packet(0x30, str("a\x00b"), []byte{0}), []byte{malformed, badTopicName}},
	{"topic that is not UTF-8", packet(0x30, str("a\xff"), []byte{0}), []byte{malformed, badTopicName}},
	{"topic longer than its packet", packet(0x30, []byte{0xff, 0xff, 'a'}), []byte{malformed}},
	{"packet identifier 0", packet(0x32, str("a"), []byte{0, 0, 0}), []byte{protocolError, malformed}}, // [MQTT-2.2.1-3]
	{"no room for the packet identifier", packet(0x32, str("a"), []byte{0}), []byte{malformed}},
	{"properties longer than the packet", packet(0x30, str("a"), []byte{0x7f, 1}), []byte{malformed}},
	{"unknown property", packet(0x30, str("a"), []byte{2, 0x7e, 0}), []byte{malformed, protocolError}},
	{"property twice", packet(0x30, str("a"), []byte{4, 0x01, 1, 0x01, 1}), []byte{protocolError, malformed}},
	{"SUBSCRIBE with wrong flags", packet(0x80, []byte{0, 1, 0}, str("a"), []byte{0}), []byte{malformed}}, // [MQTT-3.8.1-1]
	{"SUBSCRIBE without filters", packet(0x82, []byte{0, 1, 0}), []byte{protocolError, malformed}},        // [MQTT-3.8.3-2]
	{"SUBSCRIBE cut off after its filter", packet(0x82, []byte{0, 1, 0}, str("a")), []byte{malformed}},
	{"SUBSCRIBE cut off in its properties", packet(0x82, []byte{0, 1, 2, 0x0b}), []byte{malformed, protocolError}},
	{"SUBSCRIBE with reserved options", packet(0x82, []byte{0, 1, 0}, str("a"), []byte{0xC0}), []byte{malformed, protocolError}},
	{"SUBSCRIBE at QoS 3", packet(0x82, []byte{0, 1, 0}, str("a"), []byte{3}), []byte{protocolError, malformed}},
	{"subscription identifier 0", packet(0x82, []byte{0, 1, 2, 0x0b, 0}, str("a"), []byte{0}), []byte{protocolError}},
	{"UNSUBSCRIBE without filters", packet(0xA2, []byte{0, 1, 0}), []byte{protocolError, malformed}},
	{"PUBREL with wrong flags", packet(0x60, []byte{0, 1}), []byte{malformed}}, // [MQTT-3.6.1-1]
	{"PUBACK without an identifier", packet(0x40), []byte{malformed}},
	{"PINGREQ with a body", packet(0xC0, []byte{1}), []byte{malformed, protocolError}},
	{"length of five bytes", []byte{0x30, 0xff, 0xff, 0xff, 0xff, 0x7f}, []byte{malformed}}, // §1.5.5
	{"256 MiB announced", []byte{0x30, 0xff, 0xff, 0xff, 0x7f}, []byte{packetTooLarge}},     // [MQTT-3.2.2-15]
	{"2 MiB publication", packet(0x30, str("a"), []byte{0}, make([]byte, 2<<20)), []byte{packetTooLarge}},
}

func TestHostileFramesOfMQTT5(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	others := newBystander(t, h)
	for _, attack := range hostileFrames {
		t.Run(attack.name, func(t *testing.T) {
			raw := connected5(t, h, "attacker")
			raw.attack(attack.frame)
			raw.wantDisconnect(attack.reasons...)
			others.exchange(t)
		})
	}
}

// TestHostileFramesOfMQTT3: MQTT 3 has no reasons, the connection just ends.
func TestHostileFramesOfMQTT3(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	others := newBystander(t, h)
	attacks := []struct {
		name  string
		frame []byte
	}{
		{"reserved packet type 0", packet(0x00)},
		{"reserved packet type 15", packet(0xF0)},
		{"second CONNECT", connectPacket4("again", login{})}, // [MQTT-3.1.0-2]
		{"PUBLISH at QoS 3", packet(0x36, str("a"), []byte{0, 1})},
		{"wildcard in a topic name", packet(0x30, str("a/+"))}, // [MQTT-3.3.2-2]
		{"empty topic", packet(0x30, str(""))},
		{"NUL in a topic", packet(0x30, str("a\x00b"))},
		{"topic that is not UTF-8", packet(0x30, str("a\xff"))},
		{"topic longer than its packet", packet(0x30, []byte{0xff, 0xff, 'a'})},
		{"packet identifier 0", packet(0x32, str("a"), []byte{0, 0})},
		{"SUBSCRIBE with wrong flags", packet(0x80, []byte{0, 1}, str("a"), []byte{0})},
		{"SUBSCRIBE without filters", packet(0x82, []byte{0, 1})},
		{"SUBSCRIBE cut off after its filter", packet(0x82, []byte{0, 1}, str("a"))},
		{"length of five bytes", []byte{0x30, 0xff, 0xff, 0xff, 0xff, 0x7f}},
		{"256 MiB announced", []byte{0x30, 0xff, 0xff, 0xff, 0x7f}},
		{"2 MiB publication", packet(0x30, str("a"), make([]byte, 2<<20))},
	}
	for _, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			raw := dialRaw(t, h.MQTT)
			raw.write(connectPacket4("attacker", login{}))
			raw.wantConnack(0)
			raw.attack(attack.frame)
			if rest := raw.wantClosed(); len(rest) > 0 && rest[0]>>4 == 14 {
				t.Errorf("a client of MQTT 3 was sent DISCONNECT: % x", rest)
			}
			others.exchange(t)
		})
	}
}

func TestHostileFirstFrames(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	others := newBystander(t, h)
	attacks := []struct {
		name  string
		bytes []byte
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")},
		{"TLS on the plain port", []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")},
		{"XMPP", []byte(streamHeader)},
		{"PINGREQ before CONNECT", packet(0xC0)}, // [MQTT-3.1.0-1]
		{"PUBLISH before CONNECT", packet(0x30, str("a"), []byte("x"))},
		{"another protocol's name", packet(0x10, str("MQTX"), []byte{5, 2, 0, 60, 0}, str("c"))},
		{"level 9", packet(0x10, str("MQTT"), []byte{9, 2, 0, 60, 0}, str("c"))},
		{"reserved connect flag", packet(0x10, str("MQTT"), []byte{5, 3, 0, 60, 0}, str("c"))}, // [MQTT-3.1.2-3]
		{"CONNECT cut off", packet(0x10, str("MQTT"), []byte{5, 2, 0})},
		{"client id longer than the packet", packet(0x10, str("MQTT"), []byte{5, 2, 0, 60, 0}, []byte{0xff, 0xff, 'c'})},
		{"will at QoS 3", packet(0x10, str("MQTT"), []byte{5, 0x1e, 0, 60, 0}, str("c"), []byte{0}, str("w"), str("x"))},
		{"256 MiB announced", []byte{0x10, 0xff, 0xff, 0xff, 0x7f}},
		{"length of five bytes", bytes.Repeat([]byte{0xff}, 16)},
	}
	for _, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			raw := dialRaw(t, h.MQTT)
			raw.attack(attack.bytes)
			if said := raw.wantClosed(); len(said) >= 4 && said[0] == 0x20 && said[3] == 0 {
				t.Errorf("the hub welcomed it: % x", said)
			}
			others.exchange(t)
		})
	}
}

// TestTruncatedFrames leaves each prefix of good frames behind and hangs up, or
// lingers with it, while the others go on.
func TestTruncatedFrames(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	others := newBystander(t, h)
	watcher := connectPahoGo3(t, h, mqttOptions{Client: "watcher"})
	watcher.Subscribe("truncated", 1)

	connect := connectPacket5("cut", login{})
	publish := packet(0x32, str("truncated"), []byte{0, 1, 0}, []byte("payload"))
	whole := append(append([]byte(nil), connect...), publish...)
	for n := 1; n < len(whole); n++ {
		raw := dialRaw(t, h.MQTT)
		raw.write(whole[:n])
		if n%2 == 0 {
			_ = raw.Close() // the others linger to the end of the test
		}
	}
	others.exchange(t)
	others.sender.Publish(mqttMessage{Topic: "truncated", Payload: []byte("end"), QoS: 1})
	watcher.Await("end", exactly("truncated", []byte("end")))
	if n := watcher.mail.count(onTopic("truncated")); n != 1 {
		t.Errorf("%d messages arrived, want only the whole one", n)
	}
}

// TestEndlessFrame drips a frame whose end never comes: it is not hoarded.
func TestEndlessFrame(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	others := newBystander(t, h)
	raw := connected5(t, h, "endless")
	raw.seen = nil
	raw.attack([]byte{0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1, 'a', 0})
	raw.flood(make([]byte, 64<<10), 32<<20)
	if said := raw.seen; len(said) < 3 || said[0] != 0xe0 || said[2] != packetTooLarge {
		t.Errorf("the hub said % x, want a DISCONNECT with %#x", said, packetTooLarge)
	}
	others.exchange(t)
}

// TestBytewiseFramesAreWhole sends good frames a byte at a time.
func TestBytewiseFramesAreWhole(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	watcher := connectPahoGo3(t, h, mqttOptions{Client: "watcher"})
	watcher.Subscribe("slowly", 1)
	raw := dialRaw(t, h.MQTT)
	whole := append(connectPacket4("slow", login{}), packet(0x32, str("slowly"), []byte{0, 7}, []byte("payload"))...)
	for i := range whole {
		raw.write(whole[i : i+1])
	}
	raw.wantConnack(0)
	if first, body := raw.wantPacket(); first != 0x40 || !bytes.Equal(body, []byte{0, 7}) {
		t.Errorf("got packet %#x % x, want PUBACK 7", first, body)
	}
	watcher.Await("message", exactly("slowly", []byte("payload")))
}
