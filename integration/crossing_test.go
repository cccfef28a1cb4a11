package integration

import (
	"fmt"
	"strings"
	"testing"

	"pushhub/integration/hubtest"
)

// everyPair runs a test for each pair of an MQTT and an XMPP client. Each client
// connects once; its account is named for it.
func everyPair(t *testing.T, test func(t *testing.T, m mqttClient, mUser string, x *xmppClient, xUser string)) {
	t.Helper()
	var h *hubtest.Hub
	for _, xk := range xmppKinds {
		t.Run(xk.name, func(t *testing.T) {
			xk.need(t)
			h = hubtest.StartHub(t)
			xUser := account(xk.name)
			h.AddUser(xUser)
			x := xk.dial(t, h, xmppOptions{User: xUser, Resource: "desk"})
			for _, mk := range mqttKinds {
				t.Run(mk.name, func(t *testing.T) {
					mk.need(t)
					mUser := account(mk.name)
					h.AddUser(mUser)
					m := mk.dial(t, h, mqttOptions{User: mUser, Client: mUser + "-1"})
					test(t, m, mUser, x.within(t), xUser)
					m.Quit()
				})
			}
		})
	}
}

// account makes an account's name of a client's.
func account(client string) string {
	return strings.NewReplacer(".", "", "-", "").Replace(client)
}

func TestTopicsCrossBetweenProtocols(t *testing.T) {
	t.Parallel()
	everyPair(t, func(t *testing.T, m mqttClient, mUser string, x *xmppClient, _ string) {
		topic := "plant/" + mUser + "/temp"
		x.subscribe(topic)
		m.Subscribe(topic, 1)

		fromMQTT := []byte(fmt.Sprintf(`{"by":%q,"celsius":21.5}`, mUser))
		m.Publish(mqttMessage{Topic: topic, Payload: fromMQTT, QoS: 1})
		x.awaitItem(topic, fromMQTT)

		const fromXMPP = `{"by":"xmpp","celsius":-3}`
		x.publish(topic, `<json xmlns="urn:xmpp:json:0">`+fromXMPP+`</json>`)
		m.Await("item as a message", exactly(topic, []byte(fromXMPP)))
	})
}

func TestWildcardsReachNodes(t *testing.T) {
	t.Parallel()
	everyPair(t, func(t *testing.T, m mqttClient, mUser string, x *xmppClient, _ string) {
		x.subscribe("wild/" + mUser + "/+/#")
		topic := "wild/" + mUser + "/a/b/c"
		m.Publish(mqttMessage{Topic: topic, Payload: []byte("text"), QoS: 1})
		x.awaitItem(topic, []byte("text"))
	})
}

func TestDirectMessagesCrossBetweenProtocols(t *testing.T) {
	t.Parallel()
	everyPair(t, func(t *testing.T, m mqttClient, mUser string, x *xmppClient, xUser string) {
		m.Subscribe("$inbox/"+mUser+"/#", 1)

		text := []byte("from " + mUser + " <&> é 漢")
		m.Publish(mqttMessage{Topic: "$inbox/" + xUser + "/" + mUser, Payload: text, QoS: 1})
		x.awaitMessage(mUser, text)

		x.send(mUser, "to "+mUser+" <&> é 漢")
		m.Await("direct message", exactly("$inbox/"+mUser+"/"+xUser, []byte("to "+mUser+" <&> é 漢")))
	})
}

func TestGoSendXMPPReachesMQTT(t *testing.T) {
	t.Parallel()
	needGoSendXMPP(t)
	h := hubtest.StartHub(t)
	h.AddUser("alice", "phone")
	phone := connectPahoGo3(t, h, mqttOptions{User: "phone", Client: "phone-1"})
	phone.Subscribe("$inbox/phone/#", 1)

	goSendXMPP(t, h, "alice", "phone", "a line & <another>")
	phone.Await("direct message", func(m mqttMessage) bool {
		return m.Topic == "$inbox/phone/alice" && strings.TrimRight(string(m.Payload), "\n") == "a line & <another>"
	})
}

func TestMQTTReachesGoSendXMPP(t *testing.T) {
	t.Parallel()
	needGoSendXMPP(t)
	h := hubtest.StartHub(t)
	h.AddUser("alice", "phone")
	h.Contact("alice", "phone")
	phone := connectPahoGo3(t, h, mqttOptions{User: "phone", Client: "phone-1"})
	phone.Subscribe("$presence/alice/#", 0)

	listener := goListenXMPP(t, h, "alice")
	phone.Await("alice online", online("$presence/alice/"))
	phone.Publish(mqttMessage{Topic: "$inbox/alice/phone", Payload: []byte("hello from mqtt"), QoS: 1})
	listener.WaitLine("message", func(line string) bool { return strings.Contains(line, "hello from mqtt") })
}

func TestInboxRefusesAForgedSender(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	h.AddUser("alice", "mallory")
	alice := connectPahoGo3(t, h, mqttOptions{User: "alice", Client: "a"})
	alice.Subscribe("$inbox/alice/#", 1)
	mallory := connectPahoGo3(t, h, mqttOptions{User: "mallory", Client: "m", Version: "3.1.1"})
	mallory.client.Publish("$inbox/alice/bank", 1, false, []byte("forged")).WaitTimeout(hubtest.Patience)

	// The hub may have closed the connection of who tried: a new one proves the order.
	again := connectPahoGo3(t, h, mqttOptions{User: "mallory", Client: "m2"})
	again.Publish(mqttMessage{Topic: "$inbox/alice/mallory", Payload: []byte("honest"), QoS: 1})
	alice.Await("honest message", exactly("$inbox/alice/mallory", []byte("honest")))
	if n := alice.mail.count(onTopic("$inbox/alice/bank")); n != 0 {
		t.Errorf("alice got %d messages from an account that did not send them", n)
	}
}
