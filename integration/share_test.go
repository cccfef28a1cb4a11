package integration

import (
	"fmt"
	"testing"

	"pushhub/integration/hubtest"
)

// TestGroupSharesMessages has two members of each client's kind share a filter:
// each message goes to one of them (MQTT 5 §4.8.2).
func TestGroupSharesMessages(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	sender := connectPahoGo3(t, h, mqttOptions{Client: "sender"})
	for _, kind := range mqttKinds {
		for _, keep := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s keep %t", kind.name, keep), func(t *testing.T) {
				kind.need(t)
				base := fmt.Sprintf("shared/%s/%t", account(kind.name), keep)
				var members []mqttClient
				for i := range 2 {
					m := kind.dial(t, h, mqttOptions{Client: fmt.Sprintf("%s-%t-%d", kind.name, keep, i), Keep: keep})
					m.Subscribe("$share/g/"+base+"/#", 2)
					members = append(members, m)
				}
				want := map[string]int{}
				for i := range 12 {
					payload := fmt.Sprint(i)
					sender.Publish(mqttMessage{Topic: base + "/x", Payload: []byte(payload), QoS: byte(i % 3)})
					want[payload]++
				}
				for range members { // they take turns
					sender.Publish(mqttMessage{Topic: base + "/end", Payload: []byte("end"), QoS: 2})
				}
				for _, m := range members {
					m.Await("end", func(got mqttMessage) bool {
						want[string(got.Payload)]--
						return got.Topic == base+"/end"
					})
					m.Quit()
				}
				delete(want, "end")
				for payload, n := range want {
					if n != 0 {
						t.Errorf("message %s was delivered %d times", payload, 1-n)
					}
				}
			})
		}
	}
}

// A PUBACK is a promise to a group, too.
func TestAcknowledgedMessageSurvivesKillForOfflineGroup(t *testing.T) {
	t.Parallel()
	for _, kind := range mqttKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			kind.need(t)
			h := hubtest.StartHub(t)
			const filter = "$share/night shift/offline/#"
			for _, name := range []string{"one", "two"} {
				sleeper := kind.dial(t, h, mqttOptions{Client: name, Keep: true})
				sleeper.Subscribe(filter, 2)
				sleeper.Quit()
			}
			publisher := kind.dial(t, h, mqttOptions{Client: "publisher"})
			for _, qos := range []byte{1, 2} {
				publisher.Publish(mqttMessage{Topic: "offline/x", Payload: fmt.Append(nil, qos), QoS: qos})
			}
			h.Kill()
			h.Restart()
			woken := kind.dial(t, h, mqttOptions{Client: "two", Keep: true})
			if _, needsFilter := woken.(*mosquitto); needsFilter {
				woken.Subscribe(filter, 2) // mosquitto_sub does not connect without one
			}
			for _, qos := range []byte{1, 2} {
				woken.Await("acknowledged message", exactly("offline/x", fmt.Append(nil, qos)))
			}
		})
	}
}
