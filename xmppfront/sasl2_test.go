package xmppfront

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"pushhub/bus"
	"pushhub/core"
	"pushhub/xmppfront/framer"
)

const sasl2Refused = `<failure xmlns='urn:xmpp:sasl:2'><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>`

// authenticate logs in by SCRAM and XEP-0388 on a new connection, asking for more
// along with it; expect is what the proof is answered by.
func (h *hub) authenticate(account, password, more, expect string) *client {
	h.t.Helper()
	user, err := scram.SHA256.NewClient(account, password, "")
	if err != nil {
		h.t.Fatal(err)
	}
	conv := user.NewConversation()
	first, _ := conv.Step("")
	c := h.dial()
	c.send(streamOpen + `<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-256'><initial-response>` +
		base64.StdEncoding.EncodeToString([]byte(first)) + `</initial-response>` + more + `</authenticate>`)
	c.expect(`{}</stream:features><challenge xmlns='urn:xmpp:sasl:2'>{challenge}</challenge>`)
	challenge, _ := base64.StdEncoding.DecodeString(c.vars["challenge"])
	final, err := conv.Step(string(challenge))
	if err != nil {
		h.t.Fatal(err)
	}
	c.send(`<response xmlns='urn:xmpp:sasl:2'>` + base64.StdEncoding.EncodeToString([]byte(final)) + `</response>`)
	c.expect(expect)
	if proof, ok := c.vars["proof"]; ok { // RFC 5802 §3: the server proves itself, too
		data, _ := base64.StdEncoding.DecodeString(proof)
		if _, err := conv.Step(string(data)); err != nil || !conv.Valid() {
			h.t.Errorf("the server's proof %q: %v", data, err)
		}
	}
	return c
}

func TestSCRAMLoginWithItsBindProvesTheServerToo(t *testing.T) {
	h := newHub(t, Options{})
	h.account("romeo", "montague")
	c := h.authenticate("romeo", "montague", `<bind xmlns='urn:xmpp:bind:0'><tag>Test</tag></bind>`,
		`<success xmlns='urn:xmpp:sasl:2'><additional-data>{proof}</additional-data>`+
			`<authorization-identifier>romeo@hub.example/Test/{r}</authorization-identifier><bound xmlns='urn:xmpp:bind:0'></bound></success>`+
			`<stream:features><sm xmlns='urn:xmpp:sm:3'/><csi xmlns='urn:xmpp:csi:0'/><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:pushhub' ver='{}'/></stream:features>`)
	c.available()
	other := h.device("romeo", "other")
	other.publish(&core.Message{Topic: core.InboxTopic("romeo", "romeo"), Payload: []byte("wherefore"), UTF8: true})
	c.expect(`{}<body>wherefore</body></message>`)
}

func TestWrongProofsDelayTheNextLoginOfEitherProfile(t *testing.T) {
	h := hubOn(t, bus.NewMemory(), core.Options{LoginDelay: 500 * time.Millisecond}, Options{})
	h.account("romeo", "montague")
	for range 3 {
		h.authenticate("romeo", "capulet", `<bind xmlns='urn:xmpp:bind:0'/>`, sasl2Refused)
	}
	scramLogin(t, h, "montague", `<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{}</success>`)
	if n := h.router.Counters.LoginsDelayed.Load(); n != 1 {
		t.Errorf("%d logins were delayed, want the one after three wrong ones", n)
	}
}

// What was asked for along with a login that fails is not done.
func TestFailedLoginBindsNothing(t *testing.T) {
	h := newHub(t, Options{})
	h.account("romeo", "montague")
	c := h.authenticate("romeo", "capulet", `<bind xmlns='urn:xmpp:bind:0'><enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>`, sasl2Refused)
	c.send(`<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>`)
	c.expect(`<iq type='error' id='b'>{}<not-authorized{}</iq>`)
	if n := len(h.router.DevicesOf("romeo")); n != 0 {
		t.Errorf("%d devices of an account that nobody logged in to", n)
	}
}

func TestStreamFromMustBeWhoLogsIn(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true})
	h.account("romeo", "montague")
	for _, row := range []struct{ name, from, expect string }{
		{"the same", "romeo@hub.example", `<success xmlns='urn:xmpp:sasl:2'>{}</success>`},
		{"another", "juliet@hub.example", `<failure xmlns='urn:xmpp:sasl:2'><invalid-authzid xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>`},
		{"another host's", "juliet@else.example", `<success xmlns='urn:xmpp:sasl:2'>{}</success>`},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := h.dial()
			c.send(strings.Replace(header, "<stream:stream ", "<stream:stream from='"+row.from+"' ", 1))
			c.send(`<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>` + plainOf("romeo", "montague") + `</initial-response></authenticate>`)
			c.expect(`<?xml{}</stream:features>` + row.expect)
		})
	}
}

func TestOversizedAuthenticateEndsTheStream(t *testing.T) {
	h := newHub(t, Options{})
	for _, row := range []struct{ name, inside string }{
		{"text", strings.Repeat("A", loginStanza)},
		{"children", strings.Repeat("<bind xmlns='u'/>", loginStanza/10)},
		{"depth", strings.Repeat("<x xmlns='u'>", maxDepth+1)},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := h.dial()
			c.send(header)
			c.expect(`<?xml{}</stream:features>`)
			c.send(`<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-1'><initial-response>` + row.inside)
			c.expect(`<stream:error><policy-violation{}</stream:stream>`)
		})
	}
}

// A login that cannot be given its resource has failed, and may be tried again.
func TestLoginFailsWhereItsResourceCannotBeBound(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true})
	h.account("romeo", "montague")
	h.killed.Store(true)
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_ = h.mem.Close(now) // no session can be made durable any more
	c := h.dial()
	c.send(header)
	c.expect(`<?xml{}</stream:features>`)
	ask := `<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>` + plainOf("romeo", "montague") + `</initial-response>`
	c.send(ask + `<bind xmlns='urn:xmpp:bind:0'><enable xmlns='urn:xmpp:sm:3' resume='true'/></bind></authenticate>`)
	c.expect(`<failure xmlns='urn:xmpp:sasl:2'><temporary-auth-failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>`)
	c.send(`<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>`)
	c.expect(`<iq type='error' id='b'>{}<not-authorized{}</iq>`)
	c.send(ask + `</authenticate>`)
	c.expect(`<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>romeo@hub.example</authorization-identifier></success>`)
}

func TestResourceOfAClientIsStableAndTellsNothing(t *testing.T) {
	h := newHub(t, Options{})
	of := func(account, tag, agent string) string {
		e := &engine{front: h.front, account: account}
		return e.resourceOf(tag, agent)
	}
	const agent = "d4565fa7-4d72-4749-b3d3-740edbf87770"
	mine := of("romeo", "Test", agent)
	if again := of("romeo", "Test", agent); again != mine {
		t.Errorf("the same client got %q and %q", mine, again)
	}
	if !strings.HasPrefix(mine, "Test/") || strings.Contains(mine, agent) {
		t.Errorf("the resource is %q", mine)
	}
	for _, row := range []struct{ name, account, tag, agent string }{
		{"another account", "juliet", "Test", agent},
		{"another tag", "romeo", "Tes", agent},
		{"another client", "romeo", "Test", agent[1:]},
		{"no client", "romeo", "Test", ""},
		{"nothing", "romeo", "", ""},
		{"a tag unfit for a resource", "romeo", "\x7f\u0378", agent},
	} {
		got := of(row.account, row.tag, row.agent)
		if _, id, _ := strings.Cut(mine, "/"); got == "" || strings.HasSuffix(got, id) {
			t.Errorf("%s: %q beside %q", row.name, got, mine)
		}
	}
}

// FuzzAuthenticate: whatever is asked for along with a login is bounded, and never
// more than one thing of a kind.
func FuzzAuthenticate(f *testing.F) {
	for _, line := range playLines(f) {
		f.Add([]byte(line))
	}
	f.Add([]byte(`<authenticate xmlns='urn:xmpp:sasl:2' mechanism='X'><initial-response>AA==</initial-response><user-agent id='1'/>` +
		`<resume xmlns='urn:xmpp:sm:3' previd='AXJ0dHR0dHR0dHR0dHR0dHR0' h='1'/><bind xmlns='urn:xmpp:bind:0'><tag>t</tag>` +
		`<enable xmlns='urn:xmpp:sm:3' resume='1' max='9'/></bind></authenticate>`))
	h := newHub(f, Options{})
	f.Fuzz(func(t *testing.T, in []byte) {
		var s framer.Stanza
		if framer.Parse(in, framer.NSClient, &s) != nil {
			return
		}
		a, cond := parseAuthenticate(s.Element)
		if (a == nil) == (cond == "") {
			t.Fatalf("%q: %v, %q", in, a, cond)
		}
		if a == nil {
			return
		}
		if len(a.agent) > maxAgent || a.resume != nil && a.resume.wrong == "" && len(a.resume.tag) != tagBytes {
			t.Fatalf("%q: %+v, %+v", in, a, a.resume)
		}
		if a.bind == nil {
			return
		}
		e := &engine{front: h.front, account: "romeo"}
		if r := e.resourceOf(a.bind.tag, a.agent); r == "" || len(r) > maxPart || len(a.bind.tag) > maxTag {
			t.Fatalf("%q: the resource is %q", in, r)
		}
	})
}

// login2 logs in by PLAIN and XEP-0388, asking for more along with it.
func (h *hub) login2(more string) *client {
	h.t.Helper()
	c := h.dial()
	c.send(header + `<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>` + plainOf("romeo", "montague") +
		`</initial-response><user-agent id='one'/>` + more + `</authenticate>`)
	c.expect(`<?xml{}</stream:features>`)
	return c
}

func TestClientTakesThePlaceOfItsOwnConnection(t *testing.T) {
	const (
		ask   = `<bind xmlns='urn:xmpp:bind:0'><tag>Test</tag><enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>`
		bound = `<bound xmlns='urn:xmpp:bind:0'><enabled xmlns='urn:xmpp:sm:3' id='{id}' resume='true' max='{max}'/></bound></success><stream:features><csi xmlns='urn:xmpp:csi:0'/><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:pushhub' ver='{}'/></stream:features>`
		over  = `<stream:error><conflict {}</stream:stream>`
	)
	h := newHub(t, Options{PlainWithoutTLS: true})
	h.account("romeo", "montague")
	first := h.login2(ask)
	first.expect(`<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>{jid}</authorization-identifier>` + bound)
	second := h.login2(ask)
	second.vars["jid"] = first.vars["jid"]
	second.expect(`<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>{jid}</authorization-identifier>` + bound)
	first.expect(over)
	// The first one's stream is no more; what goes on is the second's.
	third := h.login2(`<resume xmlns='urn:xmpp:sm:3' previd='` + first.vars["id"] + `' h='0'/>`)
	third.expect(`<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>romeo@hub.example</authorization-identifier><failed xmlns='urn:xmpp:sm:3'{}<item-not-found {}</failed></success><stream:features><bind {}</stream:features>`)
	fourth := h.login2(`<resume xmlns='urn:xmpp:sm:3' previd='` + second.vars["id"] + `' h='0'/>` + ask)
	fourth.vars["jid"] = first.vars["jid"]
	fourth.expect(`<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>{jid}</authorization-identifier><resumed {}/></success><stream:features><csi xmlns='urn:xmpp:csi:0'/><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:pushhub' ver='{}'/></stream:features>`)
	second.expect(over)
	fourth.send(`<iq type='get' id='p' to='hub.example'><ping xmlns='urn:xmpp:ping'/></iq>`)
	fourth.expect(`<iq type='result' id='p' to='{jid}' from='hub.example'/>`)
}

// XEP-0198 §4: who acknowledges what was never sent is not welcome, whoever it is.
func TestResumeWithACountTooHighEndsTheLogin(t *testing.T) {
	h := newHub(t, Options{PlainWithoutTLS: true})
	h.account("romeo", "montague")
	first := h.login2(`<bind xmlns='urn:xmpp:bind:0'><enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>`)
	first.expect(`<success {}id='{id}'{}</stream:features>`)
	first.drop()
	await(t, "the stream to be suspended", func() bool { return h.front.streams.len() == 1 })
	second := h.login2(`<resume xmlns='urn:xmpp:sm:3' previd='` + first.vars["id"] + `' h='7'/><bind xmlns='urn:xmpp:bind:0'/>`)
	second.expect(`<stream:error><undefined-condition {}<handled-count-too-high {}</stream:stream>`)
	second.expectEnd()
}
