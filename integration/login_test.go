package integration

import (
	"strings"
	"testing"

	"pushhub/integration/hubtest"
)

// @xmpp/client logs in by SASL2 with Bind 2 and stream management within it, and
// asks for its stream again along with the next login: what it had subscribed to
// goes on, which a new bind would have ended, also after a restart of the hub.
func TestLoginBringsTheResourceAndTheEarlierStream(t *testing.T) {
	t.Parallel()
	needXMPPJS(t)
	h := hubtest.StartHub(t)
	h.AddUser("alice", "phone")
	alice := dialXMPPJS(t, h, xmppOptions{User: "alice", Resource: "desk"})
	if jid := alice.Ready().JID; !strings.HasPrefix(jid, "alice@"+hubtest.Domain+"/desk/") {
		t.Errorf("bound as %s, want the tag and something of the hub's", jid)
	}
	alice.subscribe("goes/on")
	h.Kill()
	h.Restart()
	phone := dialMosquitto(t, h, mqttOptions{User: "phone", Client: "phone-1"})
	phone.Publish(mqttMessage{Topic: "goes/on", Payload: []byte(`{"n":1}`), QoS: 1})
	alice.awaitItem("goes/on", []byte(`{"n":1}`))
}
