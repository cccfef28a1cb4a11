package xmppfront

import (
	"strings"
	"testing"
)

const overPolicyIQ = `<error type='modify'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>{}</error></iq>`

func TestVCardsAreBounded(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true})
	h.account("romeo", "montague")
	c := h.login("romeo", "montague", "balcony")
	set := func(id string, n int) {
		t.Helper()
		c.send(`<iq type='set' id='` + id + `'><vCard xmlns='vcard-temp'><BINVAL>` + strings.Repeat("A", n) + `</BINVAL></vCard></iq>`)
	}
	set("1", 1000)
	c.expect(`<iq type='result' id='1' to='romeo@hub.example/balcony'/>`)
	set("2", 128<<10)
	c.expect(`<iq type='error' id='2' to='romeo@hub.example/balcony'>` + overPolicyIQ)
	c.send(`<iq type='get' id='3'><vCard xmlns='vcard-temp'/></iq>`)
	c.expect(`<iq type='result' id='3' to='romeo@hub.example/balcony'><vCard xmlns='vcard-temp'><BINVAL>` + strings.Repeat("A", 1000) + `</BINVAL></vCard></iq>`)
}

func TestPrivateStorageIsBounded(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true})
	h.account("romeo", "montague")
	c := h.login("romeo", "montague", "balcony")
	set := func(id, name string) {
		t.Helper()
		c.send(`<iq type='set' id='` + id + `'><query xmlns='jabber:iq:private'><` + name + ` xmlns='storage'>` +
			strings.Repeat("x", 150<<10) + `</` + name + `></query></iq>`)
	}
	set("1", "a")
	c.expect(`<iq type='result' id='1' to='romeo@hub.example/balcony'/>`)
	set("2", "b")
	c.expect(`<iq type='error' id='2' to='romeo@hub.example/balcony'>` + overPolicyIQ)
	set("3", "a") // in the place of itself
	c.expect(`<iq type='result' id='3' to='romeo@hub.example/balcony'/>`)
}

func TestWhatAnAccountKeepsOutlivesTheHub(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true})
	h.account("romeo", "montague")
	c := h.login("romeo", "montague", "balcony")
	c.send(`<iq type='set' id='1'><vCard xmlns='vcard-temp'><FN>Romeo</FN></vCard></iq>`)
	c.expect(`<iq type='result' id='1' to='romeo@hub.example/balcony'/>`)
	h = h.kill()
	c = h.login("romeo", "montague", "orchard")
	c.send(`<iq type='get' id='2'><vCard xmlns='vcard-temp'/></iq>`)
	c.expect(`<iq type='result' id='2' to='romeo@hub.example/orchard'><vCard xmlns='vcard-temp'><FN>Romeo</FN></vCard></iq>`)
}
