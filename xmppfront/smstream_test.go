package xmppfront

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pushhub/core"
)

// XEP-0198 §4: h is a promise. It covers a message when that is stored, and
// nothing behind one that is not; more is told as it comes.
func TestAcknowledgementsWaitForTheJournal(t *testing.T) {
	h := lovers(t, Options{}, core.Options{})
	c := h.login("romeo", "montague", "r")
	c.enable()
	h.mem.Hold()
	c.send(`<presence type='unavailable'/><message to='juliet@hub.example'><body>1</body></message><message to='juliet@hub.example'><body>2</body></message>` +
		`<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq><r xmlns='urn:xmpp:sm:3'/>`)
	c.expect(`<iq type='result' id='p' to='romeo@hub.example/r'/><a xmlns='urn:xmpp:sm:3' h='0'/>`)
	h.mem.Release()
	c.expectAck(4)
	h.mem.FailAppend(fmt.Errorf("the disk is full"))
	c.send(`<message to='juliet@hub.example' id='e'><body>3</body></message><r xmlns='urn:xmpp:sm:3'/>`)
	c.skip(`<message type='error' id='e' `)
	h.mem.FailAppend(nil)
	c.send(`<r xmlns='urn:xmpp:sm:3'/>`)
	c.expectAck(5)
}

// A client that does not say what it has handled is gone.
func TestSilentClientsAreSuspended(t *testing.T) {
	h := lovers(t, Options{AckTimeout: time.Millisecond}, core.Options{})
	c := h.login("romeo", "montague", "r")
	c.enable()
	c.available()
	c.expect(`<r xmlns='urn:xmpp:sm:3'/>`)
	c.send(`<a xmlns='urn:xmpp:sm:3' h='1'/><iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>`)
	c.expect(`<iq type='result' id='p' to='romeo@hub.example/r'/><r xmlns='urn:xmpp:sm:3'/>`)
	c.expect(`<stream:error><connection-timeout xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>{}</stream:error></stream:stream>`)
	c.expectEnd()
	c, acked := h.resume("romeo", "montague", c, 1)
	if acked != 2 {
		t.Errorf("h is %d", acked)
	}
	c.expect(`<iq type='result' id='p' to='romeo@hub.example/r'/>`)
}

// The client is asked after every few stanzas.
func TestClientsAreAskedWhatTheyHandled(t *testing.T) {
	h := lovers(t, Options{}, core.Options{})
	c := h.login("romeo", "montague", "r")
	c.enable()
	for i := range askEvery {
		c.send(fmt.Sprintf(`<iq type='get' id='%d'><ping xmlns='urn:xmpp:ping'/></iq>`, i))
	}
	c.expect(`{}<iq type='result' id='9' to='romeo@hub.example/r'/><r xmlns='urn:xmpp:sm:3'/>`)
}

// XEP-0184, XEP-0333: what has no body is a message too, and stored.
func TestReceiptsAreDelivered(t *testing.T) {
	h := lovers(t, Options{}, core.Options{})
	c := h.login("romeo", "montague", "r")
	c.enable()
	for i, payload := range []string{
		`<received xmlns='urn:xmpp:receipts' id='m'/>`,
		`<displayed xmlns='urn:xmpp:chat-markers:0' id='m'/>`,
		`<displayed xmlns='urn:xmpp:chat-markers:0' id='m'/><store xmlns='urn:xmpp:hints'/>`,
	} {
		for _, to := range []string{"juliet@hub.example", "juliet@hub.example/chamber"} {
			c.send(fmt.Sprintf(`<message to='%s' id='%d'>%s</message>`, to, i, payload))
		}
	}
	c.send(`<r xmlns='urn:xmpp:sm:3'/>`)
	c.expectAck(6)
	h = h.kill()
	j := h.login("juliet", "capulet", "chamber")
	j.send(`<presence/>`)
	j.expect(`<presence{}/>`)
	for i := range 3 {
		j.expect(fmt.Sprintf(`<message to='juliet@hub.example' from='romeo@hub.example/r' id='%d'>{}</message><message to='juliet@hub.example/chamber' from='romeo@hub.example/r' id='%d'>{}</message>`, i, i))
	}
}

// A device that is too slow, or dead, does not hold up its account's others for
// longer than it is there.
func TestDeadDevicesHoldUpNobody(t *testing.T) {
	h := lovers(t, Options{QueueBytes: 32 << 10}, core.Options{})
	mqtt := h.device("juliet", "sensor")
	for _, managed := range []bool{false, true} {
		t.Run(fmt.Sprint("managed=", managed), func(t *testing.T) {
			one := h.login("romeo", "montague", "one")
			if managed {
				one.enable()
			}
			one.available()
			two := h.login("romeo", "montague", "two")
			two.send(`<presence/>`)
			two.expect(`<presence{}/><presence{}/>`)
			one.t, two.t = t, t
			full := h.front.Stats()
			for n := uint64(0); h.front.Stats().QueueFull == full.QueueFull; n++ {
				mqtt.publish(&core.Message{Topic: "$inbox/romeo/juliet", Payload: make([]byte, 64<<10), QoS: 1, Resource: "one"})
				await(t, "the message to go out, or not to fit", func() bool {
					now := h.front.Stats()
					return now.MessagesOut > full.MessagesOut+n || now.QueueFull > full.QueueFull
				})
			}
			mqtt.say("romeo", "for both")
			one.drop()
			two.skip("<body>for both</body>")
			two.send(`</stream:stream>`)
		})
	}
}

// skip reads up to a text, whatever comes before.
func (c *client) skip(text string) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		if _, rest, ok := strings.Cut(string(c.buf), text); ok {
			c.buf = []byte(rest)
			return
		}
		c.buf = c.buf[max(0, len(c.buf)-len(text)):]
		if err := c.read(deadline); err != nil {
			c.t.Fatalf("no %s: %v", text, err)
		}
	}
}

// expectAck reads up to the acknowledgement of so many stanzas.
func (c *client) expectAck(h int) {
	c.t.Helper()
	want := fmt.Sprintf(`<a xmlns='urn:xmpp:sm:3' h='%d'/>`, h)
	deadline := time.Now().Add(patience)
	for !strings.Contains(string(c.buf), want) {
		if err := c.read(deadline); err != nil {
			c.t.Fatalf("no %s in %s: %v", want, c.buf, err)
		}
	}
	_, rest, _ := strings.Cut(string(c.buf), want)
	c.buf = []byte(rest)
}

// Two devices of an account: each gets what was sent to it, though the other was
// quicker to acknowledge.
func TestTwoDevicesResumeApart(t *testing.T) {
	h := lovers(t, Options{}, core.Options{})
	mqtt := h.device("juliet", "sensor")
	one := h.login("romeo", "montague", "one")
	one.enable()
	one.available()
	two := h.login("romeo", "montague", "two")
	two.send(`<presence/>`)
	two.expect(`<presence{}/><presence{}/>`)
	one.expect(`<presence{}/>`)
	mqtt.say("romeo", "both")
	mqtt.publish(&core.Message{Topic: "$inbox/romeo/juliet", Payload: []byte("for one"), QoS: 1, Resource: "one"})
	one.expect(`<message to='romeo@hub.example' {}<body>both</body></message><message to='romeo@hub.example/one' {}<body>for one</body></message>`)
	if bodies, _ := two.texts("p"); fmt.Sprint(bodies) != "[both]" {
		t.Errorf("two got %v", bodies)
	}
	one.drop()
	await(t, "the stream to be suspended", func() bool { return h.front.streams.len() == 1 })
	one, _ = h.resume("romeo", "montague", one, 2)
	if bodies, _ := one.texts("p"); fmt.Sprint(bodies) != "[both for one]" {
		t.Errorf("one got %v", bodies)
	}
	if bodies, n := two.texts("q"); n != 1 {
		t.Errorf("two got %d stanzas: %v", n, bodies)
	}
	one.send(`<a xmlns='urn:xmpp:sm:3' h='5'/>`)
	if bodies, _ := one.texts("q"); len(bodies) > 0 {
		t.Errorf("one got %v again", bodies)
	}
}
