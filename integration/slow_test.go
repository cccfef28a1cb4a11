package integration

import (
	"bytes"
	"fmt"
	"net"
	"testing"
	"time"

	"pushhub/integration/hubtest"
)

// TestSlowReaderDelaysNobody: one client stops reading while the topic that it
// subscribes to goes on; the publisher and the other subscriber do not notice.
func TestSlowReaderDelaysNobody(t *testing.T) {
	t.Parallel()
	const messages, size, prompt = 400, 64 << 10, 5 * time.Second
	cases := []struct {
		name string
		stop func(t *testing.T, h *hubtest.Hub)
	}{
		{"MQTT at QoS 0", func(t *testing.T, h *hubtest.Hub) { stopReadingMQTT(t, h, 0) }},
		{"MQTT at QoS 1", func(t *testing.T, h *hubtest.Hub) { stopReadingMQTT(t, h, 1) }},
		{"XMPP", stopReadingXMPP},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := hubtest.StartHub(t)
			h.AddUser("slow")
			c.stop(t, h)
			sender := connectPahoGo3(t, h, mqttOptions{Client: "sender"})
			receiver := connectPahoGo5(t, h, mqttOptions{Client: "receiver"})
			receiver.Subscribe("flood", 1)
			filling := bytes.Repeat([]byte("x"), size)
			for n := range messages {
				began := time.Now()
				payload := fmt.Appendf(nil, "%d %s", n, filling)
				sender.Publish(mqttMessage{Topic: "flood", Payload: payload, QoS: 1})
				receiver.Await("message", exactly("flood", payload))
				if took := time.Since(began); took > prompt {
					t.Fatalf("message %d took %v beside a reader that stopped", n, took)
				}
			}
		})
	}
}

// smallBuffer makes the kernel take little for a client that does not read.
func smallBuffer(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatalf("shrinking the receive buffer: %v", err)
	}
}

func stopReadingMQTT(t *testing.T, h *hubtest.Hub, qos byte) {
	t.Helper()
	raw := connected5(t, h, "slow")
	smallBuffer(t, raw.Conn)
	raw.write(packet(0x82, []byte{0, 1, 0}, str("flood"), []byte{qos}))
	if first, body := raw.wantPacket(); first != 0x90 || body[len(body)-1] != qos {
		t.Fatalf("got packet %#x % x, want SUBACK with QoS %d", first, body, qos)
	}
}

func stopReadingXMPP(t *testing.T, h *hubtest.Hub) {
	t.Helper()
	s := boundStream(t, h, "slow")
	s.write([]byte(`<iq type='set' id='sub' to='pubsub.localhost'><pubsub xmlns='http://jabber.org/protocol/pubsub'>` +
		`<subscribe node='flood' jid='slow@localhost/raw'/></pubsub></iq>`))
	s.want("subscription=")
}
