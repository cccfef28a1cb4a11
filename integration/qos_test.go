package integration

import (
	"fmt"
	"testing"

	"pushhub/integration/hubtest"
)

// TestEveryVersionAndQoS sends from each client to each at every QoS.
func TestEveryVersionAndQoS(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	clients := map[string]mqttClient{}
	for _, kind := range mqttKinds {
		found := false
		t.Run("with "+kind.name, func(t *testing.T) {
			kind.need(t)
			found = true
		})
		if found {
			clients[kind.name] = kind.dial(t, h, mqttOptions{Client: account(kind.name)})
			clients[kind.name].Subscribe("qos/#", 2)
		}
	}
	sent := map[string]byte{}
	for name, from := range clients {
		for qos := range byte(3) {
			topic := fmt.Sprintf("qos/%s/%d", account(name), qos)
			from.Publish(mqttMessage{Topic: topic, Payload: []byte("x"), QoS: qos})
			sent[topic] = qos
		}
	}
	for name, to := range clients {
		for topic, qos := range sent {
			if got := to.Await(name+", "+topic, onTopic(topic)); got.QoS != qos {
				t.Errorf("%s: %s arrived at QoS %d", name, topic, got.QoS)
			}
		}
		to.Quit()
	}
}

func TestSubscriptionLowersQoS(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	sender := connectPahoGo3(t, h, mqttOptions{Client: "sender"})
	for granted := range byte(3) {
		receiver := connectPahoGo5(t, h, mqttOptions{Client: fmt.Sprintf("granted-%d", granted)})
		receiver.Subscribe("lower", granted)
		for sent := range byte(3) {
			payload := fmt.Append(nil, granted, sent)
			sender.Publish(mqttMessage{Topic: "lower", Payload: payload, QoS: sent})
			got := receiver.Await("message", exactly("lower", payload))
			if want := min(granted, sent); got.QoS != want { // [MQTT-3.8.4-8]
				t.Errorf("sent %d, granted %d: arrived at QoS %d, want %d", sent, granted, got.QoS, want)
			}
		}
		receiver.Quit()
	}
}

func TestQoS2ArrivesOnce(t *testing.T) {
	t.Parallel()
	const messages = 300
	h := hubtest.StartHub(t)
	receiver := connectPahoGo3(t, h, mqttOptions{Client: "receiver"})
	receiver.Subscribe("stream", 2)
	sender := connectPahoGo3(t, h, mqttOptions{Client: "sender"})
	for n := range messages {
		sender.Publish(mqttMessage{Topic: "stream", Payload: fmt.Append(nil, n), QoS: 2})
	}
	receiver.Await("last message", exactly("stream", fmt.Append(nil, messages-1)))
	if n := receiver.mail.count(onTopic("stream")); n != messages {
		t.Errorf("%d messages arrived, want %d", n, messages)
	}
	assertOrder(t, receiver.mail)
}

func TestTakeoverClosesTheOlderConnection(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	older := connected5(t, h, "same")
	newer := connected5(t, h, "same")
	older.wantDisconnect(0x8E) // session taken over [MQTT-3.1.4-3]
	newer.write(packet(0xC0))
	if first, _ := newer.wantPacket(); first != 0xD0 {
		t.Errorf("got packet %#x, want PINGRESP", first)
	}
}
