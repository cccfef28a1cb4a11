package integration

import (
	"encoding/json"
	"strings"
	"testing"

	"pushhub/integration/hubtest"
)

// deviceState is what a $presence/… topic holds.
type deviceState struct {
	State  string `json:"state"`
	Status string `json:"status"`
}

func state(topicPrefix, want string) func(mqttMessage) bool {
	return func(m mqttMessage) bool {
		var s deviceState
		return strings.HasPrefix(m.Topic, topicPrefix) && json.Unmarshal(m.Payload, &s) == nil && s.State == want
	}
}

func online(topicPrefix string) func(mqttMessage) bool  { return state(topicPrefix, "online") }
func offline(topicPrefix string) func(mqttMessage) bool { return state(topicPrefix, "offline") }

func TestRosterShowsMQTTDevice(t *testing.T) {
	t.Parallel()
	for _, xk := range xmppKinds {
		t.Run(xk.name, func(t *testing.T) {
			xk.need(t)
			h := hubtest.StartHub(t)
			h.AddUser("alice", "phone")
			h.Contact("alice", "phone")
			alice := xk.dial(t, h, xmppOptions{User: "alice", Resource: "desk"})

			phone := connectPahoGo3(t, h, mqttOptions{User: "phone", Client: "phone-1"})
			alice.awaitPresence("phone@localhost/phone-1", "")
			phone.Quit()
			alice.awaitPresence("phone@localhost/phone-1", "unavailable")
		})
	}
}

func TestRosterShowsMQTTDeviceThatWasThereBefore(t *testing.T) {
	t.Parallel()
	for _, xk := range xmppKinds {
		t.Run(xk.name, func(t *testing.T) {
			xk.need(t)
			h := hubtest.StartHub(t)
			h.AddUser("alice", "phone")
			h.Contact("alice", "phone")
			connectPahoGo5(t, h, mqttOptions{User: "phone", Client: "phone-1"})
			alice := xk.dial(t, h, xmppOptions{User: "alice", Resource: "desk"})
			alice.awaitPresence("phone@localhost/phone-1", "")
		})
	}
}

func TestPresenceTopicShowsXMPPClient(t *testing.T) {
	t.Parallel()
	needMosquitto(t)
	for _, xk := range xmppKinds {
		t.Run(xk.name, func(t *testing.T) {
			xk.need(t)
			h := hubtest.StartHub(t)
			h.AddUser("alice", "phone")
			h.Contact("alice", "phone")
			watcher := dialMosquitto(t, h, mqttOptions{User: "phone", Client: "watcher"})
			watcher.Subscribe("$presence/alice/#", 1)

			alice := xk.dial(t, h, xmppOptions{User: "alice", Resource: "desk"})
			watcher.Await("alice online", online("$presence/alice/desk"))

			late := dialMosquitto(t, h, mqttOptions{User: "phone", Client: "late"})
			late.Subscribe("$presence/alice/#", 1)
			if m := late.Await("retained presence", online("$presence/alice/desk")); !m.Retain {
				t.Error("a late subscriber got the presence without the retain flag")
			}

			alice.Quit()
			watcher.Await("alice offline", offline("$presence/alice/desk"))
		})
	}
}

func TestPresenceIsHiddenFromStrangers(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	h.AddUser("alice", "friend", "stranger")
	h.Contact("alice", "friend")
	friend := connectPahoGo3(t, h, mqttOptions{User: "friend", Client: "friend-1"})
	friend.Subscribe("$presence/#", 1)
	stranger := connectPahoGo5(t, h, mqttOptions{User: "stranger", Client: "stranger-1"})
	subscribeMaybe(stranger, "$presence/alice/#")

	alice := connectPahoGo3(t, h, mqttOptions{User: "alice", Client: "alice-1"})
	friend.Await("alice online", online("$presence/alice/alice-1"))
	// What alice publishes after her presence shows that the stranger's queue has passed it.
	stranger.Subscribe("after/#", 1)
	alice.Publish(mqttMessage{Topic: "after/presence", Payload: []byte("x"), QoS: 1})
	stranger.Await("message after the presence", onTopic("after/presence"))
	if n := stranger.mail.count(online("$presence/alice/")); n != 0 {
		t.Errorf("a stranger saw alice's presence %d times", n)
	}
}
