package integration

import (
	"strconv"
	"strings"
	"testing"

	"pushhub/integration/hubtest"
)

const sysBroker = "$SYS/broker/"

func TestDashboardReadsTheSysTree(t *testing.T) {
	t.Parallel()
	needMosquitto(t)
	h := hubtest.StartHub(t, "--mqtt-sys-interval", "200ms")
	board := dialMosquitto(t, h, mqttOptions{Client: "board", Version: "3.1.1"})
	board.Subscribe("$SYS/#", 1)
	for _, name := range []string{
		"version", "uptime", "clients/total", "clients/connected", "clients/disconnected", "clients/maximum",
		"clients/expired", "messages/received", "messages/sent", "messages/stored", "bytes/received", "bytes/sent",
		"publish/messages/received", "publish/messages/sent", "publish/messages/dropped", "publish/bytes/received",
		"publish/bytes/sent", "subscriptions/count", "retained messages/count", "heap/current", "store/messages/count",
		"store/messages/bytes", "load/messages/received/1min", "load/publish/sent/5min", "load/connections/15min",
		"pushhub/dropped/slow",
	} {
		if m := board.Await(name, onTopic(sysBroker+name)); m.QoS != 0 || len(m.Payload) == 0 {
			t.Errorf("%s came as %+v", name, m)
		}
	}
	from := dialMosquitto(t, h, mqttOptions{Client: "from", Version: "3.1.1"})
	for range 3 {
		from.Publish(mqttMessage{Topic: "a", Payload: []byte("seven b"), QoS: 1})
	}
	board.Await("three publications", exactly(sysBroker+"publish/messages/received", []byte("3")))
	board.Await("their bytes", exactly(sysBroker+"publish/bytes/received", []byte("21")))
	board.Await("a number of bytes", func(m mqttMessage) bool {
		n, _ := strconv.Atoi(string(m.Payload))
		return m.Topic == sysBroker+"bytes/received" && n >= 3*(2+3+2+7)
	})
	board.Await("the board is connected", exactly(sysBroker+"clients/connected", []byte("1")))
	board.Await("uptime in seconds", func(m mqttMessage) bool {
		return m.Topic == sysBroker+"uptime" && strings.HasSuffix(string(m.Payload), " seconds")
	})
}

func TestOnlyTheHubPublishesTheSysTree(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t, "--mqtt-sys-interval", "200ms")
	raw := connected5(t, h, "liar")
	raw.write(packet(0x32, str(sysBroker+"version"), []byte{0, 1, 0}, []byte("mine")))
	if first, body := raw.wantPacket(); first != 0x40 || len(body) < 3 || body[2] != 0x87 {
		t.Errorf("got %#x % x, want PUBACK 0x87", first, body)
	}
	raw.write(packet(0x82, []byte{0, 2, 0}, str("$SYS/broker/uptime"), []byte{1}))
	// Either may come first, MQTT 5 §3.8.4.
	for granted, published := false, false; !granted || !published; {
		switch first, body := raw.wantPacket(); {
		case first == 0x90 && body[len(body)-1] == 1 && !granted:
			granted = true
		case first&^1 == 0x30:
			published = true
		default:
			t.Fatalf("got %#x % x, want SUBACK with QoS 1 and PUBLISH at QoS 0", first, body)
		}
	}
}

func TestHiddenSysTree(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t, "--mqtt-sys-interval", "200ms", "--acl-hide-sys", "true")
	raw := connected5(t, h, "curious")
	raw.write(packet(0x82, []byte{0, 2, 0}, str("$SYS/#"), []byte{1}))
	if first, body := raw.wantPacket(); first != 0x90 || body[len(body)-1] != 0x87 {
		t.Errorf("got %#x % x, want SUBACK 0x87", first, body)
	}
}

func TestSysTreeOverXMPP(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t, "--mqtt-sys-interval", "200ms")
	h.AddUser("ada")
	s := boundStream(t, h, "ada")
	s.write([]byte(`<iq type='set' id='s' to='pubsub.localhost'><pubsub xmlns='http://jabber.org/protocol/pubsub'>` +
		`<subscribe node='$SYS/broker/uptime' jid='ada@localhost/raw'/></pubsub></iq>`))
	s.want("<items node='$SYS/broker/uptime'>")
	s.want(" seconds")
}
