package xmppfront

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"pushhub/core"
	"pushhub/xmppfront/framer"
)

const streamOpen = `<stream:stream to='hub.example' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>`

func TestStreamErrorsComeAfterOurHeader(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true})
	h.account("romeo", "montague")
	const ours = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='{}' from='{}' xml:lang='en' version='1.0'>`
	tests := []struct{ name, in, want string }{
		{"not XML", "GET / HTTP/1.1\r\n\r\n", "bad-format"},
		{"not a stream", "<policy-file-request/>", "bad-format"},
		{"a wrong stream namespace", `<stream:stream to='hub.example' xmlns='jabber:client' xmlns:stream='urn:x' version='1.0'>`, "invalid-namespace"},
		{"a wrong content namespace", strings.Replace(streamOpen, "jabber:client", "jabber:server", 1), "invalid-namespace"},
		{"an unknown host", strings.Replace(streamOpen, "hub.example", "other.example", 1), "host-unknown"},
		{"a malformed version", strings.Replace(streamOpen, "1.0", "one", 1), "unsupported-version"},
		{"an encoding but UTF-8", `<?xml version='1.0' encoding='ISO-8859-1'?>` + streamOpen, "unsupported-encoding"},
		{"tags that do not match", streamOpen + "<iq></presence>", "not-well-formed"},
		{"a comment", streamOpen + "<!-- x -->", "restricted-xml"},
		{"an undeclared prefix", streamOpen + "<a:iq/>", "not-well-formed"},
		{"a prefix of the header", strings.Replace(streamOpen, " version", " xmlns:x='urn:x' version", 1) + "<x:iq/>", "bad-namespace-prefix"},
		{"a large stanza before login", streamOpen + "<iq>" + strings.Repeat("x", loginStanza), "policy-violation"},
		{"too much before login", streamOpen + strings.Repeat("<iq type='result' id='"+strings.Repeat("x", 1000)+"'/>", 65), "policy-violation"},
		{"deep nesting", streamOpen + strings.Repeat("<a>", maxDepth+1), "policy-violation"},
		{"a message before login", streamOpen + "<message/>", "not-authorized"},
		{"an unknown stanza before login", streamOpen + "<stanza/>", "unsupported-stanza-type"},
		{"an unknown element before login", streamOpen + "<r xmlns='urn:xmpp:sm:3'/>", "not-authorized"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := h.dial()
			c.t = t
			c.send(tt.in)
			c.expect(ours + `{}<stream:error><` + tt.want + ` xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>{}</stream:error></stream:stream>`)
			c.expectEnd()
		})
	}
}

func TestStreamErrorsAfterLogin(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true, MaxStanza: 20 << 10})
	h.account("romeo", "montague")
	tests := []struct{ name, in, want string }{
		{"an unknown stanza", "<stanza/>", "unsupported-stanza-type"},
		{"an unknown element", "<r xmlns='urn:xmpp:sm:3'/>", "unsupported-stanza-type"},
		{"a stanza that is too large", "<message>" + strings.Repeat("x", 20<<10), "policy-violation"},
		{"a forged from", "<presence from='juliet@hub.example'/>", "invalid-from"},
		{"a forged resource", "<iq from='romeo@hub.example/other' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>", "invalid-from"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := h.login("romeo", "montague", fmt.Sprint("r", i))
			c.t = t
			c.send(tt.in)
			c.expect(`<stream:error><` + tt.want + ` xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>{}</stream:error></stream:stream>`)
			c.expectEnd()
		})
	}
}

func TestEachReasonHasItsStreamError(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{core.ErrTakenOver, "conflict"},
		{core.ErrStopped, "system-shutdown"},
		{core.ErrEnded, "not-authorized"},
		{core.ErrQuota, "policy-violation"},
		{errLoginSlow, "connection-timeout"},
		{&framer.SyntaxError{Kind: framer.ErrRestrictedXML}, "restricted-xml"},
		{errors.New("whatever"), "internal-server-error"},
	}
	for _, tt := range tests {
		if got := streamErrorOf(fmt.Errorf("ending: %w", tt.err)).Err; got != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
	}
}

func TestHostsThatClientsMayCall(t *testing.T) {
	h := newHub(t, Options{Aliases: []string{"Push.example"}})
	for host, want := range map[string]bool{
		"hub.example": true, "HUB.example": true, "push.EXAMPLE": true, "localhost": true,
		"127.0.0.1": true, "10.1.2.3": true, "[::1]": true, "::1": true,
		"other.example": false, "pubsub.hub.example": false, "": false,
	} {
		if got := h.front.isHost(host); got != want {
			t.Errorf("isHost(%q) = %v", host, got)
		}
	}
}

// RFC 6120 §4.7.5, XEP-0078: a stream without a version has no features.
func TestOldStreamsLogInWithoutFeatures(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true})
	h.account("romeo", "montague")
	c := h.dial()
	c.send(strings.Replace(streamOpen, " version='1.0'", "", 1))
	c.expect(`<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='{}' from='hub.example' xml:lang='en'>`)
	c.send(`<iq type='set' id='1'><query xmlns='jabber:iq:auth'><username>romeo</username><resource>r</resource></query></iq>`)
	c.expect(`<iq type='error' id='1'><error type='modify' code='406'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`)
	c.send(`<iq type='set' id='2'><query xmlns='jabber:iq:auth'><username>romeo</username><password>montague</password><resource>r</resource></query></iq>`)
	c.expect(`<iq type='result' id='2' to='romeo@hub.example/r'/>`)
}

func TestRegistrationIsRefusedUnlessOffered(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true})
	c := h.dial()
	c.send(streamOpen + `<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>`)
	c.expect(`{}</stream:features><iq type='error' id='1'><error type='cancel' code='405'><not-allowed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`)
}

func TestSCRAMLogsIn(t *testing.T) {
	h := newHub(t, Options{})
	h.account("romeo", "montague")
	for name, hash := range map[string]scram.HashGeneratorFcn{"SCRAM-SHA-1": scram.SHA1, "SCRAM-SHA-256": scram.SHA256} {
		t.Run(name, func(t *testing.T) {
			user, err := hash.NewClient("romeo", "montague", "romeo@hub.example")
			if err != nil {
				t.Fatal(err)
			}
			conv := user.NewConversation()
			first, _ := conv.Step("")
			c := h.dial()
			c.t = t
			c.send(streamOpen + `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='` + name + `'>` + base64.StdEncoding.EncodeToString([]byte(first)) + `</auth>`)
			c.expect(`{}</stream:features><challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{challenge}</challenge>`)
			challenge, _ := base64.StdEncoding.DecodeString(c.vars["challenge"])
			final, err := conv.Step(string(challenge))
			if err != nil {
				t.Fatal(err)
			}
			// The new stream is sent without waiting.
			c.send(`<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>` + base64.StdEncoding.EncodeToString([]byte(final)) + `</response>` + streamOpen)
			c.expect(`<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{success}</success><?xml{}<bind {}</stream:features>`)
			success, _ := base64.StdEncoding.DecodeString(c.vars["success"])
			if _, err := conv.Step(string(success)); err != nil || !conv.Valid() {
				t.Errorf("the server's proof: %v", err)
			}
		})
	}
}

func TestSlowLoginsEnd(t *testing.T) {
	h := newHub(t, Options{LoginTimeout: time.Nanosecond})
	c := h.dial()
	c.expect(`<?xml{}<stream:error><connection-timeout xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>{}</stream:stream>`)
	c.expectEnd()
}

func TestSilentClientsArePingedAndThenDropped(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true, IdleTimeout: time.Millisecond})
	h.account("romeo", "montague")
	c := h.login("romeo", "montague", "r")
	c.expect(`<iq type='get' id='ping-1' from='hub.example' to='romeo@hub.example/r'><ping xmlns='urn:xmpp:ping'/></iq>`)
	c.send(`<iq type='result' id='ping-1'/>`)
	c.expect(`<iq type='get' id='ping-2' from='hub.example' to='romeo@hub.example/r'><ping xmlns='urn:xmpp:ping'/></iq>`)
	c.expect(`<stream:error><connection-timeout xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>{}</stream:stream>`)
	c.expectEnd()
}

func TestShutdownSaysSo(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true})
	h.account("romeo", "montague")
	c := h.login("romeo", "montague", "r")
	early := h.dial()
	early.send(streamOpen)
	early.expect(`<?xml{}</stream:features>`)
	done := make(chan error, 1)
	go func() { done <- h.front.Shutdown(context.Background()) }()
	for _, c := range []*client{c, early} {
		c.expect(`<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>`)
		c.expectEnd()
		c.conn.Close()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSTARTTLSWithoutTLSFails(t *testing.T) {
	h := newHub(t, Options{})
	c := h.dial()
	c.send(streamOpen + `<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`)
	c.expect(`{}</stream:features><failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>`)
	c.expectEnd()
}

// RFC 6120 §5.3.5 and the STARTTLS injection of CVE-2011-0411: nothing that was
// sent in the clear is taken for what TLS protects.
func TestBytesBehindSTARTTLSEndTheConnection(t *testing.T) {
	h := newHub(t, Options{TLS: testTLS(t)})
	c := h.dial()
	c.send(streamOpen + `<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><iq type='get' id='1'/>`)
	c.expect(`{}</stream:features><proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`)
	c.expectEnd()
}
