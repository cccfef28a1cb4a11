package integration

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"pushhub/integration/hubtest"
)

// A PUBACK is a promise: what was acknowledged before kill -9 arrives after the restart.

func TestAcknowledgedMessageSurvivesKillForOfflineMQTTSession(t *testing.T) {
	t.Parallel()
	for _, kind := range mqttKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			kind.need(t)
			h := hubtest.StartHub(t)
			// A persistent session that is offline when the message comes.
			kind.dial(t, h, mqttOptions{Client: "warm"}).Quit()
			sleeper := kind.dial(t, h, mqttOptions{Client: "sleeper", Keep: true})
			sleeper.Subscribe("offline/#", 1)
			sleeper.Quit()

			publisher := kind.dial(t, h, mqttOptions{Client: "publisher"})
			for _, qos := range []byte{1, 2} {
				topic := fmt.Sprintf("offline/%d", qos)
				publisher.Publish(mqttMessage{Topic: topic, Payload: []byte("acknowledged"), QoS: qos})
			}
			h.Kill()
			h.Restart()

			woken := kind.dial(t, h, mqttOptions{Client: "sleeper", Keep: true})
			if _, needsFilter := woken.(*mosquitto); needsFilter {
				woken.Subscribe("offline/#", 1) // mosquitto_sub does not connect without one
			}
			for _, qos := range []byte{1, 2} {
				woken.Await("acknowledged message", exactly(fmt.Sprintf("offline/%d", qos), []byte("acknowledged")))
			}
		})
	}
}

func TestAcknowledgedMessageSurvivesKillForOfflineXMPPAccount(t *testing.T) {
	t.Parallel()
	needMosquitto(t)
	for _, xk := range xmppKinds {
		t.Run(xk.name, func(t *testing.T) {
			xk.need(t)
			h := hubtest.StartHub(t)
			h.AddUser("alice", "phone")
			phone := dialMosquitto(t, h, mqttOptions{User: "phone", Client: "phone-1"})
			phone.Publish(mqttMessage{Topic: "$inbox/alice/phone", Payload: []byte("acknowledged"), QoS: 1})
			h.Kill()
			h.Restart()
			alice := xk.dial(t, h, xmppOptions{User: "alice", Resource: "desk"})
			alice.awaitMessage("phone", []byte("acknowledged"))
		})
	}
}

func TestPublishedItemSurvivesKillForOfflineMQTTSession(t *testing.T) {
	t.Parallel()
	for _, xk := range xmppKinds {
		t.Run(xk.name, func(t *testing.T) {
			xk.need(t)
			h := hubtest.StartHub(t)
			h.AddUser("alice", "phone")
			for _, filter := range []string{"offline/#", "$inbox/phone/#"} {
				sleeper := connectPahoGo3(t, h, mqttOptions{User: "phone", Client: "sleeper", Keep: true})
				sleeper.Subscribe(filter, 1)
				sleeper.Quit()
			}
			alice := xk.dial(t, h, xmppOptions{User: "alice", Resource: "desk"})
			alice.send("phone", "to the inbox")
			alice.publish("offline/item", `<json xmlns="urn:xmpp:json:0">{"n":1}</json>`)
			h.Kill()
			h.Restart()
			woken := connectPahoGo3(t, h, mqttOptions{User: "phone", Client: "sleeper", Keep: true})
			if !woken.present {
				t.Error("the hub forgot the session")
			}
			woken.Await("published item", exactly("offline/item", []byte(`{"n":1}`)))
			woken.Await("direct message", exactly("$inbox/phone/alice", []byte("to the inbox")))
		})
	}
}

// TestEveryAcknowledgedMessageSurvivesKill kills the hub in the middle of a
// flood that comes faster than any disk takes it: all that was acknowledged is
// there after the restart, in order.
func TestEveryAcknowledgedMessageSurvivesKill(t *testing.T) {
	t.Parallel()
	for _, enough := range []int{1, 100, 700} {
		t.Run(fmt.Sprintf("after %d acknowledgements", enough), func(t *testing.T) {
			h := hubtest.StartHub(t)
			sleeper := connectPahoGo5(t, h, mqttOptions{Client: "sleeper", Keep: true})
			sleeper.Subscribe("stream", 1)
			sleeper.Quit()
			acknowledged := floodUntilKilled(t, h, enough)
			h.Restart()

			woken := connectPahoGo5(t, h, mqttOptions{Client: "sleeper", Keep: true})
			if !woken.present {
				t.Error("the hub forgot the session")
			}
			woken.Await(fmt.Sprintf("message %d, the last that was acknowledged", acknowledged-1), func(m mqttMessage) bool {
				return streamNumber(t, m) == acknowledged-1
			})
			assertOrder(t, woken.mail)
		})
	}
}

// streamMessage is the publication of message n, counted from 0, with a filling.
func streamMessage(n int) []byte {
	return packet(0x32, str("stream"), binary.BigEndian.AppendUint16(nil, uint16(n+1)), fmt.Appendf(nil, "%d %4096d", n, 0))
}

func streamNumber(t *testing.T, m mqttMessage) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(string(m.Payload), &n); err != nil || m.Topic != "stream" {
		t.Fatalf("unexpected message %.20q on %s", m.Payload, m.Topic)
	}
	return n
}

// floodUntilKilled publishes messages 0, 1, 2 … without waiting, kills the hub
// as soon as enough are acknowledged, and returns how many were when the
// connection had ended.
func floodUntilKilled(t *testing.T, h *hubtest.Hub, enough int) (acknowledged int) {
	t.Helper()
	const messages = 4000
	var flood []byte
	for n := range messages {
		flood = append(flood, streamMessage(n)...)
	}
	raw := dialRaw(t, h.MQTT)
	raw.write(connectPacket4("publisher", login{}))
	raw.wantConnack(0)
	written := make(chan struct{}) // closed by the writer when the connection took all or broke
	go func() {
		defer close(written)
		raw.attack(flood)
	}()
	puback := make([]byte, 4)
	for {
		if _, err := io.ReadFull(raw, puback); err != nil {
			break // the hub is gone
		}
		acknowledged++
		if want := packet(0x40, binary.BigEndian.AppendUint16(nil, uint16(acknowledged))); !bytes.Equal(puback, want) {
			t.Fatalf("got % x, want the PUBACK % x", puback, want) // in order [MQTT-4.6.0-2]
		}
		if acknowledged == enough {
			h.Kill()
		}
	}
	<-written
	if acknowledged < enough || acknowledged == messages {
		t.Fatalf("%d messages were acknowledged, which proves nothing", acknowledged)
	}
	return acknowledged
}

// assertOrder checks that the messages of the stream came in the order in which
// they were published and without a gap, duplicates aside.
func assertOrder(t *testing.T, b *mailbox) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	next := 0
	for _, m := range b.arrived {
		n := streamNumber(t, m)
		if n > next {
			t.Fatalf("message %d came before message %d", n, next)
		}
		next = max(next, n+1)
	}
}
