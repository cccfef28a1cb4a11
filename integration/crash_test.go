package integration

import (
	"fmt"
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
// stream of messages: all that were acknowledged are there, in order.
func TestEveryAcknowledgedMessageSurvivesKill(t *testing.T) {
	t.Parallel()
	const window, enough = 50, 500
	h := hubtest.StartHub(t)
	sleeper := connectPahoGo5(t, h, mqttOptions{Client: "sleeper", Keep: true})
	sleeper.Subscribe("stream", 1)
	sleeper.Quit()

	publisher := connectPahoGo3(t, h, mqttOptions{Client: "publisher"})
	acknowledged := publishUntilKilled(h, publisher, window, enough)
	if acknowledged < enough {
		t.Fatalf("%d messages acknowledged before the kill, want at least %d", acknowledged, enough)
	}
	h.Restart()

	woken := connectPahoGo5(t, h, mqttOptions{Client: "sleeper", Keep: true})
	if !woken.present {
		t.Error("the hub forgot the session")
	}
	for n := range acknowledged {
		woken.Await("acknowledged message", exactly("stream", fmt.Append(nil, n)))
	}
	assertOrder(t, woken.mail, "stream")
}

// publishUntilKilled publishes 0, 1, 2 … with a window of unacknowledged
// messages, kills the hub once enough are acknowledged, and returns the number
// of messages that were acknowledged without a gap.
func publishUntilKilled(h *hubtest.Hub, p *pahoGo3, window, enough int) int {
	type pending = interface {
		Done() <-chan struct{}
		Error() error
	}
	var tokens []pending
	for n := range enough + window {
		tokens = append(tokens, p.client.Publish("stream", 1, false, fmt.Append(nil, n)))
		if n >= window {
			<-tokens[n-window].Done()
		}
	}
	h.Kill()
	acknowledged := 0
	for _, token := range tokens {
		<-token.Done() // at the latest when Paho sees the broken connection
		if token.Error() != nil {
			break
		}
		acknowledged++
	}
	return acknowledged
}

// assertOrder checks that the messages of one topic came in the order in which
// they were published, duplicates aside.
func assertOrder(t *testing.T, b *mailbox, topic string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	next := 0
	for _, m := range b.arrived {
		var n int
		if _, err := fmt.Sscan(string(m.Payload), &n); err != nil || m.Topic != topic {
			t.Fatalf("unexpected message %q on %s", m.Payload, m.Topic)
		}
		if n > next {
			t.Fatalf("message %d came before message %d", n, next)
		}
		next = max(next, n+1)
	}
}
