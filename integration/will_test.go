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
	leaver := connectPahoGo5(t, h, mqttOptions{Client: "leaver", Will: &mqttMessage{Topic: "wills/leaver", Payload: []byte("no"), QoS: 1}})
	leaver.Quit()
	// The same client id again: the hub has then seen the end of the first connection.
	again := connectPahoGo5(t, h, mqttOptions{Client: "leaver"})
	again.Publish(mqttMessage{Topic: "wills/end", QoS: 1})
	watcher.Await("end", onTopic("wills/end"))
	if n := watcher.mail.count(onTopic("wills/leaver")); n != 0 {
		t.Errorf("a client that disconnected has left a will %d times", n)
	}
}
