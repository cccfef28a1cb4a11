package integration

import (
	"slices"
	"testing"

	paho5 "github.com/eclipse/paho.golang/paho"

	"pushhub/integration/hubtest"
)

// refusal publishes at QoS 1 and returns the reason code of the PUBACK.
func (p *pahoGo5) refusal(topic string) byte {
	p.t.Helper()
	ctx, cancel := patience(p.t)
	defer cancel()
	ack, err := p.client.Publish(ctx, &paho5.Publish{Topic: topic, Payload: []byte("refused"), QoS: 1})
	if ack == nil {
		p.t.Fatalf("paho-go-5 publishing to %s: %v", topic, err)
	}
	return ack.ReasonCode
}

func has(children []hubtest.Element, name string) bool {
	return slices.ContainsFunc(children, func(c hubtest.Element) bool { return c.Name == name || has(c.Children, name) })
}

func TestBlockingHoldsBetweenTheProtocols(t *testing.T) {
	t.Parallel()
	needSlixmpp(t)
	h := hubtest.StartHub(t)
	h.AddUser("alice", "phone")
	h.Contact("alice", "phone")
	alice := dialSlixmpp(t, h, xmppOptions{User: "alice", Resource: "desk"})
	phone := connectPahoGo5(t, h, mqttOptions{User: "phone", Client: "phone-1"})
	phone.Subscribe("$inbox/phone/#", 1)
	alice.awaitPresence("phone@localhost/phone-1", "")
	phone.Publish(mqttMessage{Topic: "$inbox/alice/phone", Payload: []byte("before"), QoS: 1})
	alice.awaitMessage("phone", []byte("before"))

	alice.Must("block", hubtest.Command{"jids": []string{jid("phone")}})
	alice.awaitPresence("phone@localhost/phone-1", "unavailable")
	if got := alice.Must("blocked", nil).Children; len(got) != 1 || got[0].Attrs["jid"] != jid("phone") {
		t.Errorf("alice's block list is %v", got)
	}
	if code := phone.refusal("$inbox/alice/phone"); code != notAuthorized {
		t.Errorf("a publish to who blocks its sender is answered with %#x", code)
	}
	alice.send("phone", "do you hear me?")
	alice.Find("an error that says blocked", func(e hubtest.Event) bool {
		return e.Event == "message" && e.Type == "error" && has(e.Children, "not-acceptable") && has(e.Children, "blocked")
	})

	// From one XMPP client to another, after the hub was killed.
	h.AddUser("bob")
	alice.Must("block", hubtest.Command{"jids": []string{jid("bob")}})
	h.Kill()
	h.Restart()
	bob := dialSlixmpp(t, h, xmppOptions{User: "bob", Resource: "desk"})
	bob.send("alice", "are you there?")
	bob.Find("service-unavailable", func(e hubtest.Event) bool {
		return e.Event == "message" && e.Type == "error" && has(e.Children, "service-unavailable")
	})

	alice = dialSlixmpp(t, h, xmppOptions{User: "alice", Resource: "later"})
	alice.Must("unblock", hubtest.Command{"jids": []string{jid("phone"), jid("bob")}})
	bob.send("alice", "and now?")
	alice.awaitMessage("bob", []byte("and now?"))
	phone = connectPahoGo5(t, h, mqttOptions{User: "phone", Client: "phone-1"})
	phone.Publish(mqttMessage{Topic: "$inbox/alice/phone", Payload: []byte("after"), QoS: 1})
	alice.awaitMessage("phone", []byte("after"))
}

func TestVCardsAreShownToOthers(t *testing.T) {
	t.Parallel()
	needSlixmpp(t)
	h := hubtest.StartHub(t)
	h.AddUser("alice", "bob")
	alice := dialSlixmpp(t, h, xmppOptions{User: "alice", Resource: "desk"})
	bob := dialSlixmpp(t, h, xmppOptions{User: "bob", Resource: "desk"})
	alice.Must("set vcard", hubtest.Command{"name": "Alice <A> & co"})
	for _, c := range []*xmppClient{alice, bob} {
		if got := c.Must("vcard", hubtest.Command{"jid": jid("alice")}).Children; len(got) != 1 || got[0].Text != "Alice <A> & co" {
			t.Errorf("the vCard says %v", got)
		}
	}
	for _, name := range []string{"bob", "nobody"} {
		if e := alice.Do("vcard", hubtest.Command{"jid": jid(name)}); e.OK || e.Error != "service-unavailable" {
			t.Errorf("the vCard of %s: %v %s", name, e.OK, e.Error)
		}
	}
}
