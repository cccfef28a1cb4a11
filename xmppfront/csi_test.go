package xmppfront

import (
	"fmt"
	"strings"
	"testing"

	"pushhub/core"
)

// What is held back is not counted before it goes out, and is not lost with the link.
func TestHeldBackStanzasOfAManagedStream(t *testing.T) {
	h := lovers(t, Options{}, core.Options{})
	c, other := h.login("romeo", "montague", "r"), h.login("romeo", "montague", "o")
	c.enable()
	c.send(`<presence/><inactive xmlns='urn:xmpp:csi:0'/>`)
	c.expect(`<presence from='romeo@hub.example/r' to='romeo@hub.example'/>`)
	other.expect(`<presence from='romeo@hub.example/r' to='romeo@hub.example'/>`)
	for _, status := range []string{"one", "two"} {
		other.send(`<presence><status>` + status + `</status></presence>`)
		other.expect(`{}<status>` + status + `</status></presence>`)
	}
	c.send(`<a xmlns='urn:xmpp:sm:3' h='1'/><r xmlns='urn:xmpp:sm:3'/>`)
	c.expectAck(1) // and no presence before it
	if n := h.front.Stats().Superseded; n != 1 {
		t.Errorf("%d states gave way to newer ones, want 1", n)
	}
	c.drop()
	await(t, "the stream to be suspended", func() bool { return h.front.streams.len() == 1 })
	old := c
	c = h.stream("romeo", "montague")
	c.vars["id"] = old.vars["id"]
	c.send(`<inactive xmlns='urn:xmpp:csi:0'/><resume xmlns='urn:xmpp:sm:3' previd='{id}' h='1'/>`) // XEP-0352 §6: in vain
	c.expect(`<resumed xmlns='urn:xmpp:sm:3' h='1' previd='{id}'/>`)
	c.expect(`<presence from='romeo@hub.example/o' to='romeo@hub.example'><status>two</status></presence>`)
	other.send(`<presence><status>three</status></presence>`) // it is active again
	c.expect(`<presence from='romeo@hub.example/o' to='romeo@hub.example'><status>three</status></presence>`)
	c.send(`<a xmlns='urn:xmpp:sm:3' h='3'/>`)
	if _, n := c.texts("p"); n != 1 {
		t.Errorf("%d stanzas more", n)
	}
}

func TestHeldBackStanzasAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name   string
		length int
		most   int // stanzas that are held back
	}{
		{"many", 10, maxHeldBack},
		{"large", 6 << 10, maxHeldBackBytes / (6 << 10)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := lovers(t, Options{}, core.Options{})
			c := h.login("romeo", "montague", "r")
			c.send(`<inactive xmlns='urn:xmpp:csi:0'/><iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>`)
			c.expect(`<iq type='result' id='p'{}/>`)
			for i := range tt.most + 1 {
				d := h.device("romeo", fmt.Sprint("d", i))
				var b core.Batch
				d.att.SetPresence(&b, &core.Presence{Kind: core.Available, Status: strings.Repeat("x", tt.length)})
				b.Flush()
			}
			c.expect(`<presence from='romeo@hub.example/d0'{}<presence from='romeo@hub.example/` + fmt.Sprint("d", tt.most-1) + `'{}</presence>`)
			if n := h.front.Stats().Superseded; n < uint64(tt.most) {
				t.Errorf("%d states gave way to newer ones: they were sent", n)
			}
		})
	}
}
