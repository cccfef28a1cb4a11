package xmppfront

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"pushhub/core"
)

// What a stanza declares once each of its children may have to declare by itself
// when they are kept or passed on: that must not make a small stanza a huge one.
func TestNamespacesDoNotMultiply(t *testing.T) {
	h := lovers(t, Options{}, core.Options{})
	c := h.login("romeo", "montague", "r")
	c.available()
	space, many := strings.Repeat("u", 100<<10), strings.Repeat("<u:a/>", 100)
	kept := `<k xmlns='urn:k'>` + strings.Repeat("k", 100<<10) + `</k>`
	c.send(`<iq type='set' id='k'><query xmlns='jabber:iq:private'>` + kept + `</query></iq>`)
	c.expect(`<iq type='result' id='k'{}/>`)
	for name, stanza := range map[string]string{
		"message":      `<message to='juliet@hub.example' type='headline' id='x' xmlns:u='` + space + `'>` + many + `</message>`,
		"presence":     `<presence id='x' xmlns:u='` + space + `'>` + many + `</presence>`,
		"subscription": `<presence id='x' type='subscribe' to='juliet@hub.example' xmlns:u='` + space + `'>` + many + `</presence>`,
		"private get":  `<iq type='get' id='x'><query xmlns='jabber:iq:private' xmlns:u='` + space + `'>` + many + `</query></iq>`,
		"private set":  `<iq type='set' id='x'><query xmlns='jabber:iq:private' xmlns:u='` + space + `'>` + strings.Repeat("<u:a>x</u:a>", 100) + `</query></iq>`,
		"kept, often":  `<iq type='get' id='x'><query xmlns='jabber:iq:private'>` + strings.Repeat("<k xmlns='urn:k'/>", 100) + `</query></iq>`,
	} {
		t.Run(name, func(t *testing.T) {
			c.send(stanza)
			c.expect(`<{} id='x'{}<policy-violation{}</error></{}>`)
		})
	}
	c.send(`<iq type='get' id='p' to='hub.example'><ping xmlns='urn:xmpp:ping'/></iq>`)
	c.expect(`<iq type='result' id='p'{}/>`)
}

// A client that is logging in knows of no address of its own, and of no stream that
// stanzas belong to.
func TestNoPresenceComesBeforeTheSuccess(t *testing.T) {
	h := lovers(t, Options{}, core.Options{})
	d := h.device("romeo", "d")
	stop, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			var b core.Batch
			d.att.SetPresence(&b, &core.Presence{Kind: core.Available, Status: fmt.Sprint(i)})
			b.Flush()
			runtime.Gosched()
		}
	}()
	defer func() { close(stop); <-over }()
	for range 30 {
		c := h.login2(`<bind xmlns='urn:xmpp:bind:0'><enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>`)
		for len(c.buf) < len("<success") {
			if err := c.read(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
		}
		if got := string(c.buf[:min(len(c.buf), 100)]); !strings.HasPrefix(got, "<success") {
			t.Fatalf("before <success/> came %s", got)
		}
		c.conn.Close()
	}
}
