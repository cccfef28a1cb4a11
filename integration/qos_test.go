package integration

import (
	"fmt"
	"testing"

	"pushhub/integration/hubtest"
)

// TestEveryVersionAndQoS sends from each client to each other at every QoS.
func TestEveryVersionAndQoS(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	for _, to := range mqttKinds {
		t.Run("to "+to.name, func(t *testing.T) {
			to.need(t)
			receiver := to.dial(t, h, mqttOptions{Client: "to-" + account(to.name)})
			base := "qos/" + account(to.name)
			receiver.Subscribe(base+"/#", 2)
			for _, topic := range publishFromAll(t, h, base) {
				want := topic[len(topic)-1] - '0'
				if got := receiver.Await(topic, onTopic(topic)); got.QoS != want {
					t.Errorf("%s arrived at QoS %d", topic, got.QoS)
				}
			}
			receiver.Quit()
		})
	}
}

// publishFromAll publishes from each client at each QoS and returns the topics, which end with the QoS.
func publishFromAll(t *testing.T, h *hubtest.Hub, base string) (topics []string) {
	t.Helper()
	for _, from := range mqttKinds {
		t.Run("from "+from.name, func(t *testing.T) {
			from.need(t)
			sender := from.dial(t, h, mqttOptions{Client: "from-" + account(from.name)})
			for qos := range byte(3) {
				topic := fmt.Sprintf("%s/%s/%d", base, account(from.name), qos)
				sender.Publish(mqttMessage{Topic: topic, Payload: []byte("x"), QoS: qos})
				topics = append(topics, topic)
			}
			sender.Quit()
		})
	}
	return topics
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
