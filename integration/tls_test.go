package integration

import (
	"testing"

	"pushhub/integration/hubtest"
)

// Every client checks the hub's certificate: none is told to ignore it.

func TestMQTTOverTLS(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	h.AddUser("phone")
	for _, kind := range mqttKinds {
		t.Run(kind.name, func(t *testing.T) {
			kind.need(t)
			client := kind.dial(t, h, mqttOptions{User: "phone", Client: "tls-" + account(kind.name), TLS: true})
			topic := "tls/" + account(kind.name)
			client.Subscribe(topic, 1)
			client.Publish(mqttMessage{Topic: topic, Payload: []byte("sealed"), QoS: 1})
			client.Await("message over TLS", exactly(topic, []byte("sealed")))
			client.Quit()
		})
	}
}

func TestXMPPOverTLS(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	h.AddUser("alice")
	for _, xk := range xmppKinds {
		for _, direct := range []bool{false, true} {
			name := map[bool]string{false: " STARTTLS", true: " direct TLS"}[direct]
			t.Run(xk.name+name, func(t *testing.T) {
				xk.need(t)
				alice := xk.dial(t, h, xmppOptions{User: "alice", Resource: "desk", TLS: direct})
				alice.subscribe("tls/xmpp")
				alice.publish("tls/xmpp", `<json xmlns="urn:xmpp:json:0">{"by":"`+account(xk.name)+`"}</json>`)
				alice.awaitItem("tls/xmpp", []byte(`{"by":"`+account(xk.name)+`"}`))
				alice.Quit()
			})
		}
	}
}

func TestWrongPasswordIsRefused(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	h.AddUser("alice")
	t.Run("MQTT 5.0", func(t *testing.T) {
		raw := dialRaw(t, h.MQTT)
		raw.write(connectPacket5("c", withLogin("alice", "wrong")))
		// 0x86: bad user name or password; 0x87: not authorized [MQTT-4.12.0-1].
		raw.wantConnack(0x86, 0x87)
		raw.wantClosed()
	})
	t.Run("MQTT 3.1.1", func(t *testing.T) {
		raw := dialRaw(t, h.MQTT)
		raw.write(connectPacket4("c", withLogin("alice", "wrong")))
		raw.wantConnack(4, 5) // bad user name or password; not authorized
		raw.wantClosed()
	})
	t.Run("XMPP", func(t *testing.T) {
		s := openStream(t, h)
		s.write(saslPlain("alice", "wrong"))
		s.want("<not-authorized")
	})
}
