package integration

import (
	"bytes"
	"testing"

	"pushhub/integration/hubtest"
)

func TestRetainedValueReachesLateXMPPSubscriber(t *testing.T) {
	t.Parallel()
	needMosquitto(t)
	value := []byte(`{"celsius":21.5}`)
	for _, xk := range xmppKinds {
		t.Run(xk.name, func(t *testing.T) {
			xk.need(t)
			h := hubtest.StartHub(t)
			h.AddUser("alice")
			sensor := dialMosquitto(t, h, mqttOptions{Client: "sensor"})
			sensor.Publish(mqttMessage{Topic: "plant/7/temp", Payload: []byte("stale"), QoS: 1, Retain: true})
			sensor.Publish(mqttMessage{Topic: "plant/7/temp", Payload: value, QoS: 1, Retain: true})

			alice := xk.dial(t, h, xmppOptions{User: "alice", Resource: "desk"})
			got := alice.Must("items", hubtest.Command{"node": "plant/7/temp"})
			if len(got.Items) != 1 || got.Items[0].Payload == nil || !bytes.Equal(decode(*got.Items[0].Payload), value) {
				t.Errorf("the node's items are %+v, want the retained value alone", got.Items)
			}
			alice.subscribe("plant/7/temp")
			alice.awaitItem("plant/7/temp", value)
		})
	}
}

func TestLastItemReachesLateMQTTSubscriber(t *testing.T) {
	t.Parallel()
	needMosquitto(t)
	for _, xk := range xmppKinds {
		t.Run(xk.name, func(t *testing.T) {
			xk.need(t)
			h := hubtest.StartHub(t)
			h.AddUser("alice")
			alice := xk.dial(t, h, xmppOptions{User: "alice", Resource: "desk"})
			alice.publish("plant/8/temp", `<json xmlns="urn:xmpp:json:0">{"celsius":5}</json>`)

			late := dialMosquitto(t, h, mqttOptions{Client: "late"})
			late.Subscribe("plant/8/#", 1)
			m := late.Await("last item", exactly("plant/8/temp", []byte(`{"celsius":5}`)))
			if !m.Retain {
				t.Error("the node's last item came without the retain flag")
			}
		})
	}
}

func TestRetainedValueSurvivesKill(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	sensor := connectPahoGo3(t, h, mqttOptions{Client: "sensor"})
	sensor.Publish(mqttMessage{Topic: "plant/9", Payload: []byte("kept"), QoS: 1, Retain: true})
	h.Kill()
	h.Restart()
	late := connectPahoGo5(t, h, mqttOptions{Client: "late"})
	late.Subscribe("plant/#", 1)
	if m := late.Await("retained value", exactly("plant/9", []byte("kept"))); !m.Retain {
		t.Error("the retained value came without the retain flag")
	}
}

func TestEmptyRetainedMessageClears(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	sensor := connectPahoGo3(t, h, mqttOptions{Client: "sensor"})
	sensor.Publish(mqttMessage{Topic: "clear/a", Payload: []byte("gone"), QoS: 1, Retain: true})
	sensor.Publish(mqttMessage{Topic: "clear/a", QoS: 1, Retain: true}) // [MQTT-3.3.1-6]
	sensor.Publish(mqttMessage{Topic: "clear/b", Payload: []byte("here"), QoS: 1, Retain: true})
	late := connectPahoGo3(t, h, mqttOptions{Client: "late"})
	late.Subscribe("clear/#", 1)
	late.Await("the other value", onTopic("clear/b"))
	sensor.Publish(mqttMessage{Topic: "clear/end", QoS: 1})
	late.Await("end", onTopic("clear/end"))
	if n := late.mail.count(onTopic("clear/a")); n != 0 {
		t.Errorf("a cleared value was delivered %d times", n)
	}
}
