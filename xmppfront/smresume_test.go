package xmppfront

import (
	"fmt"
	"net"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"pushhub/bus"
	"pushhub/core"
)

// drop lets the link die.
func (c *client) drop() {
	_ = c.conn.(*net.TCPConn).SetLinger(0)
	_ = c.conn.Close()
}

// enable makes the stream resumable; the id is in c.vars.
func (c *client) enable() {
	c.t.Helper()
	c.send(`<enable xmlns='urn:xmpp:sm:3' resume='true'/>`)
	c.expect(`<enabled xmlns='urn:xmpp:sm:3' id='{id}' resume='true' max='{max}'/>`)
}

// resume goes on with another client's stream; it returns the h of the answer.
func (h *hub) resume(account, password string, old *client, handled int) (c *client, acked int) {
	h.t.Helper()
	c = h.stream(account, password)
	c.vars["id"] = old.vars["id"]
	c.send(fmt.Sprintf(`<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='%d'/>`, handled))
	c.expect(`<resumed xmlns='urn:xmpp:sm:3' h='{h}' previd='{id}'/>`)
	acked, _ = strconv.Atoi(c.vars["h"])
	delete(c.vars, "h")
	return c, acked
}

// await waits until a condition holds.
func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// texts reads stanzas up to an answer to a ping, and returns the bodies and how many stanzas came.
func (c *client) texts(id string) (bodies []string, stanzas int) {
	c.t.Helper()
	c.send(`<iq type='get' id='` + id + `'><ping xmlns='urn:xmpp:ping'/></iq>`)
	deadline := time.Now().Add(patience)
	re := regexp.MustCompile(`(?s)^.*?<iq type='result' id='` + id + `'[^>]*/>`)
	for re.Find(c.buf) == nil {
		if err := c.read(deadline); err != nil {
			c.t.Fatalf("%v after %s", err, c.buf)
		}
	}
	got := re.Find(c.buf)
	c.buf = c.buf[len(got):]
	for _, m := range regexp.MustCompile(`<body>([^<]*)</body>`).FindAllSubmatch(got, -1) {
		bodies = append(bodies, string(m[1]))
	}
	return bodies, len(regexp.MustCompile(`<(message|presence|iq) `).FindAll(got, -1))
}

func (d *device) say(to, text string) {
	d.t.Helper()
	d.publish(&core.Message{Topic: "$inbox/" + to + "/" + d.att.Address().Account, Payload: []byte(text), QoS: 1})
}

func lovers(t *testing.T, opt Options, own core.Options) *hub {
	opt.PlainWithoutTLS = true
	h := hubOn(t, bus.NewMemory(), own, opt)
	h.account("romeo", "montague")
	h.account("juliet", "capulet")
	return h
}

// After a dead link nothing is lost and nothing comes twice.
func TestDeadLinksAreResumed(t *testing.T) {
	h := lovers(t, Options{}, core.Options{})
	mqtt := h.device("juliet", "sensor")
	other := h.login("romeo", "montague", "watch")
	other.send(`<presence><priority>-1</priority></presence>`)
	other.expect(`<presence{}</presence>`)
	c := h.login("romeo", "montague", "r")
	c.send(`<iq type='set' id='s' to='pubsub.hub.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><subscribe node='t' jid='romeo@hub.example/r'/></pubsub></iq>`)
	c.expect(`<iq type='result' id='s'{}</iq>`)
	c.enable()
	c.send(`<presence/>`)
	c.expect(`<presence from='romeo@hub.example/r' to='romeo@hub.example'/><presence{}watch{}</presence>`)
	other.expect(`<presence from='romeo@hub.example/r' to='romeo@hub.example'/>`)
	mqtt.say("romeo", "1")
	mqtt.say("romeo", "2")
	c.expect(`<message{}<body>1</body></message><message{}<body>2</body></message>`)
	c.drop()
	await(t, "the stream to be suspended", func() bool { return h.front.streams.len() == 1 })
	mqtt.say("romeo", "3")
	mqtt.publish(&core.Message{Topic: "t", Payload: []byte("4"), QoS: 1})
	c, acked := h.resume("romeo", "montague", c, 3) // two presences and the first message
	if acked != 1 {
		t.Errorf("h is %d, want 1", acked)
	}
	c.expect(`<message to='romeo@hub.example' from='juliet@hub.example/sensor'><body>2</body></message><message to='romeo@hub.example' from='juliet@hub.example/sensor'><body>3</body></message>`)
	c.expect(`<message to='romeo@hub.example/r' from='pubsub.hub.example'>{}<items node='t'>{}</message>`)
	c.send(`<a xmlns='urn:xmpp:sm:3' h='6'/>`)
	if bodies, n := c.texts("p"); len(bodies) > 0 || n != 1 {
		t.Errorf("%d stanzas more: %v", n, bodies)
	}
	if bodies, n := other.texts("p"); n != 1 {
		t.Errorf("the other device saw %d stanzas: %v", n, bodies)
	}
	if n := h.front.Stats().Resumed; n != 1 {
		t.Errorf("%d streams were resumed", n)
	}
}

// What the core does not deliver again, the stream does: answers and presence.
func TestAnswersSurviveADeadLink(t *testing.T) {
	h := lovers(t, Options{}, core.Options{})
	c := h.login("romeo", "montague", "r")
	c.enable()
	const item = `<iq type='set' id='%d' to='pubsub.hub.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n'><item id='i'><x xmlns='u'/></item></publish></pubsub></iq>`
	h.mem.Hold()
	c.send(fmt.Sprintf(item, 1) + `<iq type='get' id='2'><ping xmlns='urn:xmpp:ping'/></iq>`)
	c.expect(`<iq type='result' id='2' to='romeo@hub.example/r'/>`)
	c.drop()
	await(t, "the stream to be suspended", func() bool { return h.front.streams.len() == 1 })
	h.mem.Release() // the result of the first is made when nobody is there
	c, acked := h.resume("romeo", "montague", c, 0)
	if acked != 2 {
		t.Errorf("h is %d, want 2", acked)
	}
	c.expect(`<iq type='result' id='2' to='romeo@hub.example/r'/><iq type='result' id='1' {}</iq>`)
	c.send(`<a xmlns='urn:xmpp:sm:3' h='2'/>`)
	c.drop()
	await(t, "the stream to be suspended", func() bool { return h.front.streams.len() == 1 })
	c, _ = h.resume("romeo", "montague", c, 2)
	if _, n := c.texts("p"); n != 1 {
		t.Errorf("what was acknowledged came again")
	}
}

// A stream whose old connection has not noticed its end is taken over; its
// device does not seem to go.
func TestHalfOpenStreamsEndInConflict(t *testing.T) {
	h := lovers(t, Options{}, core.Options{})
	mqtt := h.device("juliet", "sensor")
	c := h.login("romeo", "montague", "r")
	c.enable()
	c.available()
	mqtt.say("romeo", "1")
	c.expect(`<message{}<body>1</body></message>`)
	again, acked := h.resume("romeo", "montague", c, 1)
	if acked != 1 {
		t.Errorf("h is %d, want 1", acked)
	}
	again.expect(`<message{}<body>1</body></message>`)
	c.expect(`<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>`)
	c.expectEnd()
	c.conn.Close()
	mqtt.say("romeo", "2")
	again.expect(`<message{}<body>2</body></message>`)
	await(t, "the old connection to end", func() bool { return h.front.Stats().Conns == 1 })
	if ps := h.router.DevicesOf("romeo"); len(ps) != 1 || ps[0].Kind != core.Available {
		t.Errorf("present are %v", ps)
	}
	again.drop()
	await(t, "the stream to be suspended", func() bool { return h.front.streams.len() == 1 })
	_, _ = h.resume("romeo", "montague", again, 3)
}

// The hub is killed between messages: what the client resends from the h of
// <resumed/> is exactly what was not stored, and it is sent all that it has not
// acknowledged.
func TestStreamsSurviveTheHub(t *testing.T) {
	h := lovers(t, Options{}, core.Options{Flush: time.Millisecond})
	c := h.login("romeo", "montague", "r")
	c.enable()
	c.available()
	handled, counted := 1, 1 // by the client, by the hub
	var got []string
	next := func(n int) {
		bodies, stanzas := c.texts(fmt.Sprint("p", n))
		got = append(got, bodies...)
		handled += stanzas
	}
	for round := range 4 {
		mqtt := h.device("juliet", "sensor")
		mqtt.say("romeo", fmt.Sprint(round, "a"))
		c.expect(`<message{}<body>` + fmt.Sprint(round, "a") + `</body>{}</message>`)
		got = append(got, fmt.Sprint(round, "a"))
		handled++
		c.send(fmt.Sprintf(`<a xmlns='urn:xmpp:sm:3' h='%d'/><message to='juliet@hub.example' id='%d'><body>x</body></message><r xmlns='urn:xmpp:sm:3'/>`, handled, round))
		counted++
		c.expectAck(counted)
		out := h.front.Stats().MessagesOut
		mqtt.say("romeo", fmt.Sprint(round, "b")) // written, and lost on the way
		await(t, "the message to be written", func() bool { return h.front.Stats().MessagesOut > out })
		h.mem.Hold()
		c.send(`<message to='juliet@hub.example' id='lost'><body>lost</body></message><iq type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq>`)
		c.expect(`{}<iq type='result' id='q' to='romeo@hub.example/r'/>`)
		old := c
		// The cursor of what was acknowledged follows lazily.
		h = h.kill()
		old.drop()
		h.mem.Release()
		var acked int
		c, acked = h.resume("romeo", "montague", old, handled)
		if acked != counted {
			t.Fatalf("round %d: h is %d, want %d", round, acked, counted)
		}
		next(round)
		counted++ // the ping
	}
	seen := map[string]bool{}
	for _, text := range got {
		seen[text] = true
	}
	for round := range 4 {
		for _, text := range []string{fmt.Sprint(round, "a"), fmt.Sprint(round, "b")} {
			if !seen[text] {
				t.Errorf("%s was lost", text)
			}
		}
	}
}

// What was told stands after a crash, also of what is no message.
func TestCountsOutliveTheHub(t *testing.T) {
	h := lovers(t, Options{}, core.Options{})
	c := h.login("romeo", "montague", "r")
	c.enable()
	c.send(`<message to='juliet@hub.example'><body>x</body></message><presence/><r xmlns='urn:xmpp:sm:3'/>`)
	c.expectAck(2)
	c.send(`<presence><show>away</show></presence>`)
	c.skip(`<show>away</show></presence>`)
	c.drop()
	await(t, "the stream to be suspended", func() bool { return h.front.streams.len() == 1 })
	again, acked := h.resume("romeo", "montague", c, 0)
	if acked != 3 {
		t.Errorf("h is %d, want 3", acked)
	}
	h = h.kill()
	again.drop()
	if _, acked := h.resume("romeo", "montague", c, 0); acked != 3 {
		t.Errorf("after the crash h is %d, want 3", acked)
	}
}

// A client that never comes back: what it has not acknowledged is its account's,
// and comes late.
func TestWhatALostDeviceOwesGoesToTheNext(t *testing.T) {
	late := func() time.Time { return time.Now().Add(lateAfter) }
	h := lovers(t, Options{ResumeTimeout: time.Millisecond, now: late}, core.Options{Flush: time.Millisecond})
	mqtt := h.device("juliet", "sensor")
	c := h.login("romeo", "montague", "r")
	c.enable()
	c.available()
	mqtt.say("romeo", "1")
	mqtt.say("romeo", "2")
	c.expect(`<message{}<body>1</body>{}</message><message{}<body>2</body>{}</message>`)
	c.send(`<a xmlns='urn:xmpp:sm:3' h='2'/>`)
	if _, n := c.texts("p"); n != 1 {
		t.Fatalf("%d stanzas", n)
	}
	c.drop()
	await(t, "the stream to be suspended", func() bool { return h.front.streams.len() == 1 })
	mqtt.say("romeo", "3")
	await(t, "the session to expire", func() bool {
		again := h.stream("romeo", "montague")
		defer again.conn.Close()
		again.send(`<resume xmlns='urn:xmpp:sm:3' previd='` + c.vars["id"] + `' h='2'/>`)
		deadline := time.Now().Add(patience)
		for {
			switch text := string(again.buf); {
			case strings.Contains(text, `<item-not-found`):
				return true
			case strings.Contains(text, `<resumed`):
				again.drop()
				return false
			}
			if err := again.read(deadline); err != nil {
				t.Fatal(err)
			}
		}
	})
	c = h.login("romeo", "montague", "other")
	c.send(`<presence/>`)
	var got []string
	for n := 0; len(got) < 2 && n < 100; n++ {
		bodies, _ := c.texts(fmt.Sprint("q", n))
		got = append(got, bodies...)
	}
	if fmt.Sprint(got) != "[2 3]" {
		t.Errorf("the next device got %v", got)
	}
}

// A resumption that claims too much ends; the stream can be resumed still.
func TestResumptionsThatClaimTooMuch(t *testing.T) {
	h := lovers(t, Options{}, core.Options{})
	c := h.login("romeo", "montague", "r")
	c.enable()
	c.available()
	c.drop()
	await(t, "the stream to be suspended", func() bool { return h.front.streams.len() == 1 })
	bad := h.stream("romeo", "montague")
	bad.send(`<resume xmlns='urn:xmpp:sm:3' previd='` + c.vars["id"] + `' h='7'/>`)
	bad.expect(`<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>{}<handled-count-too-high xmlns='urn:xmpp:sm:3' h='7' send-count='1'/></stream:error></stream:stream>`)
	bad.expectEnd()
	other := h.stream("juliet", "capulet")
	other.send(`<resume xmlns='urn:xmpp:sm:3' previd='` + c.vars["id"] + `' h='1'/>`)
	other.expect(`<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>`)
	again, acked := h.resume("romeo", "montague", c, 0)
	if acked != 1 {
		t.Errorf("h is %d", acked)
	}
	again.expect(`<presence from='romeo@hub.example/r' to='romeo@hub.example'/>`)
}
