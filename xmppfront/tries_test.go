package xmppfront

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"pushhub/bus"
	"pushhub/core"
)

// scramLogin logs in on a new connection; expect is what the proof is answered by.
func scramLogin(t *testing.T, h *hub, password, expect string) {
	t.Helper()
	user, err := scram.SHA256.NewClient("romeo", password, "")
	if err != nil {
		t.Fatal(err)
	}
	conv := user.NewConversation()
	first, _ := conv.Step("")
	c := h.dial()
	c.send(streamOpen + `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>` + base64.StdEncoding.EncodeToString([]byte(first)) + `</auth>`)
	c.expect(`{}</stream:features><challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{challenge}</challenge>`)
	challenge, _ := base64.StdEncoding.DecodeString(c.vars["challenge"])
	final, err := conv.Step(string(challenge))
	if err != nil {
		t.Fatal(err)
	}
	c.send(`<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>` + base64.StdEncoding.EncodeToString([]byte(final)) + `</response>`)
	c.expect(expect)
}

func TestWrongProofsDelayTheNextLogin(t *testing.T) {
	const (
		refused = `<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>`
		welcome = `<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{}</success>`
	)
	h := hubOn(t, bus.NewMemory(), core.Options{LoginDelay: 500 * time.Millisecond}, Options{PlainWithoutTLS: true})
	h.account("romeo", "montague")
	for range 3 {
		scramLogin(t, h, "capulet", refused)
	}
	scramLogin(t, h, "montague", welcome)
	if n := h.router.Counters.LoginsDelayed.Load(); n != 1 {
		t.Errorf("%d logins were delayed, want the one after three wrong ones", n)
	}
	scramLogin(t, h, "montague", welcome)
	h.login("romeo", "montague", "r") // PLAIN
	if n := h.router.Counters.LoginsDelayed.Load(); n != 1 {
		t.Errorf("%d logins were delayed after a good one", n-1)
	}
}
