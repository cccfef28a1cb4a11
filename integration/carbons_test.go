package integration

import (
	"testing"

	"pushhub/integration/hubtest"
)

// awaitCarbon waits for a copy that the client itself takes for one (XEP-0280).
func (x *xmppClient) awaitCarbon(kind, from, to, body string) {
	x.t.Helper()
	x.Find(kind+" copy from "+from+" to "+to+": "+body, func(e hubtest.Event) bool {
		return e.Event == "carbon" && e.Kind == kind && e.From == from && e.To == to && e.Body == body
	})
}

func TestDevicesSeeBothSidesOfAConversation(t *testing.T) {
	t.Parallel()
	needSlixmpp(t)
	h := hubtest.StartHub(t)
	h.AddUser("alice", "bob")
	phone := dialSlixmpp(t, h, xmppOptions{User: "alice", Resource: "phone"})
	desk := dialSlixmpp(t, h, xmppOptions{User: "alice", Resource: "desk"})
	bob := dialSlixmpp(t, h, xmppOptions{User: "bob", Resource: "car"})
	desk.Must("carbons", nil)

	phone.send("bob", "to the account")
	bob.awaitMessage("alice", []byte("to the account"))
	desk.awaitCarbon("sent", "alice@localhost/phone", "bob@localhost", "to the account")

	bob.send("alice", "to all")
	phone.awaitMessage("bob", []byte("to all"))
	desk.awaitMessage("bob", []byte("to all"))

	bob.Must("send", hubtest.Command{"to": jid("alice") + "/phone", "body": "to the phone"})
	phone.awaitMessage("bob", []byte("to the phone"))
	desk.awaitCarbon("received", "bob@localhost/car", "alice@localhost/phone", "to the phone")

	phone.Must("send", hubtest.Command{"to": jid("bob") + "/car", "body": "secret", "xml": `<private xmlns="urn:xmpp:carbons:2"/>`})
	bob.awaitMessage("alice", []byte("secret"))
	// A copy comes once its message is stored: this one, behind, tells that there is none of that.
	phone.send("bob", "last")
	desk.Find("the last copy", func(e hubtest.Event) bool {
		if e.Event == "carbon" && (e.Body == "secret" || e.Body == "to all") {
			t.Errorf("a copy of %q came", e.Body)
		}
		return e.Event == "carbon" && e.Body == "last"
	})
}
