package xmppfront

import (
	"testing"

	"pushhub/core"
	"pushhub/xmppfront/framer"
)

func TestWhatIsCopied(t *testing.T) {
	const (
		body    = `<body>x</body>`
		state   = `<active xmlns='http://jabber.org/protocol/chatstates'/>`
		receipt = `<received xmlns='urn:xmpp:receipts' id='1'/>`
		marker  = `<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>`
		invited = `<x xmlns='jabber:x:conference' jid='r@rooms.example'/>`
		private = `<private xmlns='urn:xmpp:carbons:2'/>`
		noCopy  = `<no-copy xmlns='urn:xmpp:hints'/>`
		noStore = `<no-store xmlns='urn:xmpp:hints'/>`
		store   = `<store xmlns='urn:xmpp:hints'/>`
	)
	for _, c := range []struct {
		typ, children string
		copied        bool
		qos           core.QoS
	}{
		{"chat", ``, true, 0},
		{"chat", body, true, 1},
		{"chat", state, true, 0},
		{"chat", state + store, true, 1},
		{"chat", `<x xmlns='urn:x'/>`, true, 1},
		{"", body, true, 1},
		{"normal", body, true, 1},
		{"normal", state, true, 0},
		{"normal", receipt, true, 1},
		{"normal", marker, true, 1},
		{"normal", invited, true, 1},
		{"normal", `<subject>x</subject>`, false, 1},
		{"normal", `<x xmlns='urn:x'><body xmlns='jabber:client'>x</body></x>`, false, 1},
		{"normal", `<body xmlns='urn:x'>x</body>`, false, 1},
		{"chat", body + private, false, 1},
		{"chat", private + noCopy + noStore, false, 0},
		{"chat", body + noStore + private + noCopy, false, 0}, // a hint does not hide another
		{"chat", body + noCopy, false, 1},
		{"chat", `<thread>t</thread>` + private, false, 0}, // nothing to keep
		{"normal", `<received xmlns='urn:xmpp:carbons:2'/>`, false, 1},
		{"headline", body, false, 0},
		{"error", body, false, 0},
	} {
		var s framer.Stanza
		if err := framer.Parse([]byte(`<message type='`+c.typ+`'>`+c.children+`</message>`), framer.NSClient, &s); err != nil {
			t.Fatal(err)
		}
		e := &engine{front: &Front{opt: Options{Domain: "hub.example", MaxStanza: 1 << 10}}}
		var m core.Message
		if err := e.readMessage(&s, &m); err != nil {
			t.Fatal(err)
		}
		if m.Copies != c.copied || m.QoS != c.qos {
			t.Errorf("%q %s: copied %t at QoS %d, want %t at %d", c.typ, c.children, m.Copies, m.QoS, c.copied, c.qos)
		}
	}
}

// copying asks for carbons.
func (c *client) copying(account, resource string) {
	c.t.Helper()
	c.send(`<iq type='set' id='copies'><enable xmlns='urn:xmpp:carbons:2'/></iq>`)
	c.expect(`<iq type='result' id='copies' to='` + account + `@hub.example/` + resource + `'/>`)
}

// A copy is counted and sent again as any stanza of a managed stream is, and the
// stream that goes on with it is one with copies.
func TestCarbonsGoOnWithAStream(t *testing.T) {
	for _, c := range []struct {
		name   string
		before bool // they are asked for before the stream is made resumable
	}{{"asked before", true}, {"asked after", false}} {
		t.Run(c.name, func(t *testing.T) {
			h := lovers(t, Options{}, core.Options{})
			phone, desk := h.login("romeo", "montague", "phone"), h.login("romeo", "montague", "desk")
			if c.before {
				desk.copying("romeo", "desk")
				desk.enable()
			} else {
				desk.enable()
				desk.copying("romeo", "desk")
			}
			phone.send(`<message to='juliet@hub.example' type='chat'><body>one</body></message>`)
			desk.expect(`<message to='romeo@hub.example/desk' from='romeo@hub.example' type='chat'><sent{}<body>one</body></message></forwarded></sent></message>`)
			desk.drop()
			await(t, "the stream to be suspended", func() bool { return h.front.streams.len() == 1 })
			handled := 1 // the result, where it was counted
			if c.before {
				handled = 0
			}
			desk, _ = h.resume("romeo", "montague", desk, handled)
			desk.expect(`<message to='romeo@hub.example/desk' from='romeo@hub.example' type='chat'><sent{}<body>one</body></message></forwarded></sent></message>`)
			phone.send(`<message to='juliet@hub.example' type='chat'><body>two</body></message>`)
			desk.expect(`<message to='romeo@hub.example/desk' from='romeo@hub.example' type='chat'><sent{}<body>two</body></message></forwarded></sent></message>`)
			if bodies, n := desk.texts("p"); len(bodies) > 0 || n != 1 {
				t.Errorf("%d stanzas more: %v", n, bodies)
			}
		})
	}
}

// Who sends a message that is refused has not sent it, for the account's other devices either.
func TestCarbonsFollowWhatIsStored(t *testing.T) {
	h := lovers(t, Options{}, core.Options{})
	phone, desk := h.login("romeo", "montague", "phone"), h.login("romeo", "montague", "desk")
	desk.copying("romeo", "desk")
	h.mem.Hold()
	phone.send(`<message to='juliet@hub.example' type='chat'><body>held</body></message><iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>`)
	phone.expect(`<iq type='result' id='p' to='romeo@hub.example/phone'/>`)
	if bodies, _ := desk.texts("q"); len(bodies) > 0 {
		t.Errorf("copied before it was stored: %v", bodies)
	}
	h.mem.Release()
	desk.expect(`<message {}<sent{}<body>held</body></message></forwarded></sent></message>`)
	phone.send(`<message to='nobody@hub.example' type='chat' id='m'><body>refused</body></message>`)
	phone.expect(`<message type='error' id='m'{}</message>`)
	if bodies, _ := desk.texts("r"); len(bodies) > 0 {
		t.Errorf("copied though it was refused: %v", bodies)
	}
	if n := h.front.Stats().CarbonsOut; n != 1 {
		t.Errorf("%d copies are counted", n)
	}
}

// A message from MQTT is for the whole account, and no chat of people.
func TestMessagesFromMQTTAreNotCopied(t *testing.T) {
	h := lovers(t, Options{}, core.Options{})
	phone, desk := h.login("romeo", "montague", "phone"), h.login("romeo", "montague", "desk")
	desk.copying("romeo", "desk")
	mqtt := h.device("juliet", "sensor")
	mqtt.say("romeo", "from MQTT")
	phone.available()
	phone.expect(`<message{}<body>from MQTT</body></message>`)
	desk.expect(`<presence{}/>`)
	if bodies, _ := desk.texts("q"); len(bodies) > 0 {
		t.Errorf("copied: %v", bodies)
	}
}

// After a restart the hub does not know what the client had asked for.
func TestStreamsThatSurviveTheHubHaveCarbons(t *testing.T) {
	h := lovers(t, Options{}, core.Options{})
	desk := h.login("romeo", "montague", "desk")
	desk.copying("romeo", "desk")
	desk.enable()
	h = h.kill()
	desk.drop()
	desk, _ = h.resume("romeo", "montague", desk, 0)
	phone := h.login("romeo", "montague", "phone")
	phone.send(`<message to='juliet@hub.example' type='chat'><body>hello</body></message>`)
	desk.expect(`{}<message to='romeo@hub.example/desk' from='romeo@hub.example' type='chat'><sent{}<body>hello</body></message></forwarded></sent></message>`)
}
