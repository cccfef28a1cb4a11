package integration

import (
	"testing"

	"pushhub/integration/hubtest"
)

func TestWillArrivesAsMessageAndAsUnavailablePresence(t *testing.T) {
	t.Parallel()
	needMosquitto(t)
	for _, xk := range xmppKinds {
		t.Run(xk.name, func(t *testing.T) {
			xk.need(t)
			h := hubtest.StartHub(t)
			h.AddUser("alice", "phone")
			h.Contact("alice", "phone")
			alice := xk.dial(t, h, xmppOptions{User: "alice", Resource: "desk"})
			alice.subscribe("wills/phone")
			watcher := connectPahoGo3(t, h, mqttOptions{User: "alice", Client: "watcher"})
			watcher.Subscribe("wills/#", 1)
			watcher.Subscribe("$presence/phone/#", 1)

			phone := &mosquitto{t: t, hub: h, o: mqttOptions{
				User: "phone", Client: "phone-1",
				Will: &mqttMessage{Topic: "wills/phone", Payload: []byte("lost"), QoS: 1},
			}}
			phone.Subscribe("nothing", 0)
			alice.awaitPresence("phone@localhost/phone-1", "")
			phone.cut()

			alice.awaitItem("wills/phone", []byte("lost"))
			alice.awaitPresence("phone@localhost/phone-1", "unavailable")
			watcher.Await("will", exactly("wills/phone", []byte("lost")))
			watcher.Await("phone offline", offline("$presence/phone/phone-1"))
		})
	}
}

func TestNoWillAfterDisconnect(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	watcher := connectPahoGo3(t, h, mqttOptions{Client: "watcher"})
	watcher.Subscribe("wills/#", 1)
	leaver := dialRaw(t, h.MQTT)
	const cleanStartAndWillAtQoS1 = 0x0E
	leaver.write(packet(0x10, str("MQTT"), []byte{5, cleanStartAndWillAtQoS1, 0, 60, 0}, str("leaver"), []byte{0}, str("wills/leaver"), str("no")))
	leaver.wantConnack(0)
	leaver.write(packet(0xE0))
	leaver.wantClosed() // the hub has read the DISCONNECT [MQTT-3.14.4-3]
	// Another's will: whatever the first connection left behind would come before it.
	breaker := connectPahoGo5(t, h, mqttOptions{Client: "breaker", Will: &mqttMessage{Topic: "wills/end", Payload: []byte("yes"), QoS: 1}})
	breaker.cut()
	watcher.Await("will of the connection that broke", exactly("wills/end", []byte("yes")))
	if n := watcher.mail.count(onTopic("wills/leaver")); n != 0 {
		t.Errorf("a client that disconnected has left a will %d times", n)
	}
}
